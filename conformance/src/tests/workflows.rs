//! Coordinated messages (AMTP 1.0, section 7): a look at the main ways.

use std::sync::Arc;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use uuid::Uuid;

use super::signing::now;
use super::test;
use crate::bench::{DomainKey, KeyKind, txt};
use crate::context::{Agent, Context, expect_error, expect_status, expect_taken};
use crate::level::Level::{Advanced, Signatures};
use crate::runner::Test;
use crate::subject::Capability;

pub(super) fn tests() -> Vec<Test> {
    vec![
        test(
            Advanced,
            "7",
            (
                "workflow.parallel",
                "A parallel workflow is complete when all its recipients have answered",
            ),
            parallel,
        ),
        test(
            Advanced,
            "7",
            (
                "workflow.uninvolved",
                "Who is no participant answers nothing",
            ),
            uninvolved,
        ),
        test(
            Advanced,
            "7",
            (
                "workflow.strangers",
                "A workflow is shown to its initiator only",
            ),
            strangers,
        ),
        test(
            Signatures,
            "9.3",
            (
                "signature.workflow-reply",
                "The reply of another domain is verified before it changes a workflow",
            ),
            signed_reply,
        ),
    ]
}

/// Starts a workflow in which these have to answer; its id.
async fn started(context: &Context, from: &Agent, to: &[&str]) -> Result<String> {
    context.needs(Capability::Workflows)?;
    let change = json!({ "coordination": { "type": "parallel", "timeout": 300 } });
    context.submit(from, to, &change).await
}

async fn workflow(context: &Context, agent: &Agent, id: &str) -> Result<Value> {
    let path = format!("/v1/workflows/{id}");
    let answer = context.get(Some(&agent.key), &path).await?;
    expect_status(&answer, 200)?;
    Ok(answer.json())
}

async fn completed(context: &Context, agent: &Agent, id: &str) -> Result<()> {
    let look = || async {
        let view = workflow(context, agent, id).await?;
        Ok(Some(view).filter(|view| view["status"] == "completed"))
    };
    let done = context.until(look).await?;
    ensure!(
        done.is_some(),
        "still so: {}",
        workflow(context, agent, id).await?
    );
    Ok(())
}

async fn replies(context: &Context, from: &Agent, to: &Agent, id: &str) -> Result<()> {
    let change = json!({ "in_reply_to": id, "payload": { "ok": true } });
    expect_taken(&context.send(from, to, &change).await?)
}

async fn parallel(context: Arc<Context>) -> Result<()> {
    context.needs(Capability::Workflows)?;
    let (from, one, two) = (
        context.agent().await?,
        context.agent().await?,
        context.agent().await?,
    );
    let id = started(&context, &from, &[&one.address, &two.address]).await?;
    replies(&context, &one, &from, &id).await?;
    let view = workflow(&context, &from, &id).await?;
    ensure!(view["status"] != "completed", "one is missing: {view}");
    replies(&context, &two, &from, &id).await?;
    completed(&context, &from, &id).await
}

async fn uninvolved(context: Arc<Context>) -> Result<()> {
    context.needs(Capability::Workflows)?;
    let (from, one, other) = (
        context.agent().await?,
        context.agent().await?,
        context.agent().await?,
    );
    let id = started(&context, &from, &[&one.address]).await?;
    replies(&context, &other, &from, &id).await?;
    let view = workflow(&context, &from, &id).await?;
    ensure!(view["status"] != "completed", "{view}");
    Ok(())
}

async fn strangers(context: Arc<Context>) -> Result<()> {
    context.needs(Capability::Workflows)?;
    let (from, one, other) = (
        context.agent().await?,
        context.agent().await?,
        context.agent().await?,
    );
    let id = started(&context, &from, &[&one.address]).await?;
    let path = format!("/v1/workflows/{id}");
    let answer = context.get(Some(&other.key), &path).await?;
    expect_error(&answer, 404, "NOT_FOUND")
}

async fn signed_reply(context: Arc<Context>) -> Result<()> {
    context.needs(Capability::Workflows)?;
    let peer = context.peer()?;
    let key = DomainKey::new(KeyKind::Es256, "k1")?;
    let record = vec![txt(&[&key.record()])];
    context.bench()?.dns.set(&key.name(&peer.domain), record);
    let from = context.agent().await?;
    let bob = peer.address("bob");
    let id = started(&context, &from, &[&bob]).await?;
    let wire = peer.request().await?.json()["message_id"].clone();
    let reply = || {
        json!({
            "version": "1.0", "message_id": Uuid::new_v4(), "idempotency_key": Uuid::new_v4(),
            "timestamp": now(0), "sender": bob, "recipients": [from.address],
            "in_reply_to": wire, "payload": { "ok": true },
        })
    };
    context.new_name().await;
    let forged = DomainKey::new(KeyKind::Es256, "k1")?.signed(&reply())?;
    expect_taken(&context.post(None, forged.to_string()).await?)?;
    context.mail(&from, 1).await?;
    let view = workflow(&context, &from, &id).await?;
    ensure!(view["status"] != "completed", "forged, and counted: {view}");
    let good = key.signed(&reply())?;
    expect_taken(&context.post(None, good.to_string()).await?)?;
    completed(&context, &from, &id).await
}
