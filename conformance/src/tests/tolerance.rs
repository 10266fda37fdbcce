//! What other gateways do that is not quite as written, and that must not stop mail (AMTP 1.0,
//! sections 4.2, 8.1).

use std::sync::Arc;

use anyhow::{Result, ensure};
use hyper::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::delivery::stranger;
use super::test;
use crate::client::Call;
use crate::context::{Agent, Context, expect_taken};
use crate::level::Level::{Amtpd, Core, Reliability};
use crate::runner::Test;

#[allow(clippy::too_many_lines, reason = "one list")]
pub(super) fn tests() -> Vec<Test> {
    vec![
        test(
            Core,
            "4.2",
            (
                "tolerance.null-filled",
                "A peer's message whose absent members are null or empty is taken",
            ),
            null_filled,
        ),
        test(
            Reliability,
            "8.1",
            (
                "tolerance.one-each",
                "One request for each recipient under one id and key: each gets one copy",
            ),
            one_each,
        ),
        test(
            Reliability,
            "8.1",
            (
                "tolerance.repeated",
                "A peer that sends again, because it missed the answer, delivers nothing twice",
            ),
            repeated,
        ),
        test(
            Core,
            "5.1",
            (
                "tolerance.no-version-header",
                "A peer need not say X-AMTP-Version",
            ),
            no_version,
        ),
        test(
            Amtpd,
            "4.2",
            ("tolerance.no-payload", "A peer may leave the payload out"),
            |context| change(context, json!({ "payload": crate::context::absent() })),
        ),
        test(
            Amtpd,
            "4.2",
            (
                "tolerance.headers",
                "A known header of a peer with a wrong value is ignored",
            ),
            |context| {
                change(
                    context,
                    json!({ "headers": { "priority": "asap", "expires": "soon" } }),
                )
            },
        ),
        test(
            Amtpd,
            "4.2",
            (
                "tolerance.attachment",
                "A peer's attachment may have an md5 hash and an http URL",
            ),
            |context| {
                let attachment = json!({ "filename": "a", "content_type": "text/plain", "size": 1,
                    "hash": format!("md5:{}", "a".repeat(32)), "url": "http://files.example/a" });
                change(context, json!({ "attachments": [attachment] }))
            },
        ),
        test(
            Amtpd,
            "4.2",
            (
                "tolerance.coordination",
                "A peer's coordination is plain content",
            ),
            |context| change(context, json!({ "coordination": { "type": "odd" } })),
        ),
        test(
            Amtpd,
            "4.2",
            ("tolerance.type-suffix", "The media type may name a charset"),
            charset,
        ),
    ]
}

/// A message as the first Go gateway writes it: every member there is, null or empty where absent.
fn filled(from: &str, to: &Agent) -> Value {
    json!({
        "version": "1.0", "message_id": "", "idempotency_key": Uuid::new_v4(),
        "timestamp": "2026-08-14T10:30:00Z", "sender": from, "recipients": [to.address],
        "subject": "", "schema": "", "coordination": null, "headers": null, "payload": { "n": 1 },
        "attachments": null, "signature": null, "in_reply_to": "", "response_type": "",
    })
}

async fn null_filled(context: Arc<Context>) -> Result<()> {
    let to = context.agent().await?;
    let body = filled(&stranger().address, &to);
    expect_taken(&context.post(None, body.to_string()).await?)?;
    let mail = context.mail(&to, 1).await?;
    ensure!(mail[0]["payload"] == json!({ "n": 1 }), "{}", mail[0]);
    Ok(())
}

async fn one_each(context: Arc<Context>) -> Result<()> {
    let (one, two) = (context.agent().await?, context.agent().await?);
    let mut body = filled(&stranger().address, &one);
    body["message_id"] = json!(Uuid::new_v4());
    for to in [&one, &two, &one] {
        body["recipients"] = json!([to.address]);
        expect_taken(&context.post(None, body.to_string()).await?)?;
    }
    for to in [&one, &two] {
        let count = context.mail(to, 1).await?.len();
        ensure!(count == 1, "{} has {count} copies", to.address);
    }
    Ok(())
}

async fn repeated(context: Arc<Context>) -> Result<()> {
    let to = context.agent().await?;
    let body = filled(&stranger().address, &to).to_string();
    for _ in 0..3 {
        expect_taken(&context.post(None, body.clone()).await?)?;
    }
    let count = context.mail(&to, 1).await?.len();
    ensure!(count == 1, "{count} copies");
    Ok(())
}

async fn no_version(context: Arc<Context>) -> Result<()> {
    let to = context.agent().await?;
    let body = filled(&stranger().address, &to).to_string();
    let call = Call::new(Method::POST, context.url("/v1/messages"))
        .json(body)
        .header("user-agent", "Go-http-client/2.0");
    expect_taken(&context.client.send(call).await?)
}

async fn change(context: Arc<Context>, change: Value) -> Result<()> {
    let to = context.agent().await?;
    let body = crate::context::message(&stranger(), &to, &change);
    expect_taken(&context.post(None, body.to_string()).await?)?;
    context.mail(&to, 1).await?;
    Ok(())
}

async fn charset(context: Arc<Context>) -> Result<()> {
    let to = context.agent().await?;
    let body = filled(&stranger().address, &to).to_string();
    let call = Call::new(Method::POST, context.url("/v1/messages"))
        .header("content-type", "application/json; charset=utf-8")
        .body(body);
    expect_taken(&context.client.send(call).await?)
}
