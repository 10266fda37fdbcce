//! What a restart must not lose (AMTP 1.0, sections 5.1, 8.1). These tests run alone.

use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use uuid::Uuid;

use super::test;
use crate::bench::Behaviour;
use crate::context::{Context, expect_taken, id_of};
use crate::level::Level::Reliability;
use crate::runner::{Skipped, Test};

pub(super) fn tests() -> Vec<Test> {
    let tests = vec![
        test(
            Reliability,
            "5.1",
            (
                "restart.inbox",
                "Mail that was accepted is there after a restart",
            ),
            inbox,
        ),
        test(
            Reliability,
            "5.1",
            (
                "restart.queue",
                "Mail that waited for a peer is delivered after a restart",
            ),
            queue,
        ),
        test(
            Reliability,
            "8.1",
            (
                "restart.idempotency",
                "A key is known after a restart: the repetition delivers nothing twice",
            ),
            idempotency,
        ),
    ];
    tests
        .into_iter()
        .map(|test| Test {
            alone: true,
            ..test
        })
        .collect()
}

/// Restarts the gateway, and waits until it answers.
async fn restart(context: &Context) -> Result<()> {
    let why = Skipped("the subject cannot be restarted: restart");
    let command = context.subject.restart.as_ref().ok_or(why)?;
    let command = command.clone();
    let done = tokio::task::spawn_blocking(move || {
        std::process::Command::new("sh")
            .args(["-c", &command])
            .stdin(Stdio::null())
            .status()
    });
    let done = done.await?.context("the restart command")?;
    ensure!(done.success(), "the restart command ended with {done}");
    let answers = context
        .until(|| async {
            let answer = context.get(None, "/v1/discovery/agents").await;
            Ok(answer.ok().filter(|it| it.status.is_success()).map(drop))
        })
        .await?;
    answers.context("it does not answer after the restart")
}

async fn inbox(context: Arc<Context>) -> Result<()> {
    let (from, to) = (context.agent().await?, context.agent().await?);
    let mut sent = Vec::new();
    for n in 0..5 {
        let change = json!({ "payload": n });
        sent.push(context.submit(&from, &[&to.address], &change).await?);
    }
    restart(&context).await?;
    let mail = context.mail(&to, 5).await?;
    let got: Vec<&str> = mail
        .iter()
        .map(|it| it["message_id"].as_str().unwrap_or_default())
        .collect();
    ensure!(got == sent, "{got:?} instead of {sent:?}");
    Ok(())
}

async fn queue(context: Arc<Context>) -> Result<()> {
    let peer = context.peer()?;
    peer.always(Behaviour::bare(503));
    let agent = context.agent().await?;
    let id = context
        .submit(&agent, &[&peer.address("bob")], &Value::Null)
        .await?;
    peer.request().await?;
    restart(&context).await?;
    peer.always(Behaviour::Accept);
    context.reaches(&agent, &id, "delivered").await?;
    Ok(())
}

async fn idempotency(context: Arc<Context>) -> Result<()> {
    let (from, to) = (context.agent().await?, context.agent().await?);
    let change = json!({ "idempotency_key": Uuid::new_v4() });
    let first = id_of(&context.send(&from, &to, &change).await?)?;
    restart(&context).await?;
    let again = context.send(&from, &to, &change).await?;
    expect_taken(&again)?;
    ensure!(id_of(&again)? == first, "another id: {}", again.shown());
    let count = context.mail(&to, 1).await?.len();
    ensure!(count == 1, "{count} copies");
    Ok(())
}
