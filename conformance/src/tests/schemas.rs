//! Payloads that must fit their schema (AMTP 1.0, section 6).

use std::sync::Arc;

use anyhow::{Result, ensure};
use hyper::Method;
use serde_json::json;
use uuid::Uuid;

use super::test;
use crate::context::{Agent, Context, expect_error, expect_field, expect_status, expect_taken};
use crate::level::Level::{Amtpd, Integration};
use crate::runner::Test;
use crate::subject::Capability;

pub(super) fn tests() -> Vec<Test> {
    vec![
        test(
            Integration,
            "6",
            ("schema.fits", "A payload that fits its schema is taken"),
            fits,
        ),
        test(
            Integration,
            "6",
            (
                "schema.refused",
                "A payload that does not fit is refused, each fault with its place",
            ),
            refused,
        ),
        test(
            Integration,
            "6",
            (
                "schema.peer",
                "A payload of another domain is held against the schema too",
            ),
            of_peer,
        ),
        test(
            Amtpd,
            "6",
            (
                "schema.secrecy",
                "Faults name rules and places, and no text of the payload",
            ),
            secrecy,
        ),
        test(
            Amtpd,
            "6",
            (
                "schema.validate",
                "A payload can be tried without sending it",
            ),
            validate,
        ),
        test(
            Amtpd,
            "6",
            ("schema.broken", "What is no schema is not stored"),
            broken,
        ),
    ]
}

/// Stores a schema of its own, and gives its identifier.
async fn stored(context: &Context) -> Result<String> {
    context.needs(Capability::Schemas)?;
    let name = Uuid::new_v4().simple();
    let id = format!("agntcy:conformance.c{name}.v1");
    let document = json!({
        "type": "object", "required": ["sku"],
        "properties": {
            "sku": { "type": "string", "pattern": "^[A-Z]-[0-9]+$" },
            "items": { "type": "array", "items": {
                "type": "object", "properties": { "price": { "type": "number" } } } },
        },
    });
    let form = json!({ "id": id, "document": document, "state": "required" });
    let answer = context
        .admin(Method::POST, "/v1/admin/schemas", Some(&form))
        .await?;
    expect_status(&answer, 201)?;
    Ok(id)
}

async fn scene(context: &Context) -> Result<(Agent, Agent, String)> {
    let id = stored(context).await?;
    Ok((context.agent().await?, context.agent().await?, id))
}

async fn fits(context: Arc<Context>) -> Result<()> {
    let (from, to, schema) = scene(&context).await?;
    let change = json!({ "schema": schema, "payload": { "sku": "W-1" } });
    expect_taken(&context.send(&from, &to, &change).await?)?;
    let count = context.inbox(&to, "").await?.len();
    ensure!(count == 1, "{count} messages");
    Ok(())
}

async fn refused(context: Arc<Context>) -> Result<()> {
    let (from, to, schema) = scene(&context).await?;
    let items = json!([{ "price": 1 }, { "price": "cheap" }]);
    for (payload, field) in [
        (json!({ "sku": 5 }), "sku"),
        (json!({ "sku": "W-1", "items": items }), "items[1].price"),
    ] {
        let change = json!({ "schema": schema, "payload": payload });
        let answer = context.send(&from, &to, &change).await?;
        expect_error(&answer, 400, "SCHEMA_VALIDATION_FAILED")?;
        expect_field(&answer, field)?;
    }
    ensure!(
        context.inbox(&to, "").await?.is_empty(),
        "something was delivered"
    );
    Ok(())
}

async fn of_peer(context: Arc<Context>) -> Result<()> {
    let (_, to, schema) = scene(&context).await?;
    let stranger = super::delivery::stranger();
    for (payload, status) in [(json!({ "sku": "W-1" }), 202), (json!({}), 400)] {
        let change = json!({ "schema": schema, "payload": payload });
        let body = crate::context::message(&stranger, &to, &change);
        let answer = context.post(None, body.to_string()).await?;
        expect_status(&answer, status)?;
    }
    Ok(())
}

async fn secrecy(context: Arc<Context>) -> Result<()> {
    let (from, to, schema) = scene(&context).await?;
    let change = json!({ "schema": schema, "payload": { "sku": "a-secret-word" } });
    let answer = context.send(&from, &to, &change).await?;
    expect_error(&answer, 400, "SCHEMA_VALIDATION_FAILED")?;
    ensure!(!answer.text.contains("a-secret-word"), "{}", answer.shown());
    Ok(())
}

async fn validate(context: Arc<Context>) -> Result<()> {
    let id = stored(&context).await?;
    let path = format!("/v1/admin/schemas/{id}/validate");
    for (payload, valid) in [(json!({ "sku": "W-1" }), true), (json!({}), false)] {
        let form = json!({ "payload": payload });
        let answer = context.admin(Method::POST, &path, Some(&form)).await?;
        expect_status(&answer, 200)?;
        ensure!(answer.json()["valid"] == valid, "{}", answer.shown());
    }
    Ok(())
}

async fn broken(context: Arc<Context>) -> Result<()> {
    context.needs(Capability::Schemas)?;
    let form = json!({ "id": "agntcy:conformance.broken.v1", "document": { "type": 5 } });
    let answer = context
        .admin(Method::POST, "/v1/admin/schemas", Some(&form))
        .await?;
    expect_status(&answer, 400)?;
    let answer = context
        .admin(
            Method::GET,
            "/v1/admin/schemas/agntcy:conformance.broken.v1",
            None,
        )
        .await?;
    expect_status(&answer, 404)
}
