//! What a gateway makes of a peer's answers (AMTP 1.0, sections 5.3, 8).

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::test;
use crate::bench::{Behaviour, Peer, Seen};
use crate::context::{Agent, Context};
use crate::level::Level::{Amtpd, Reliability};
use crate::runner::Test;

#[allow(clippy::too_many_lines, reason = "one list")]
pub(super) fn tests() -> Vec<Test> {
    let mut tests = vec![
        test(
            Reliability,
            "5.3",
            ("answer.backoff", "Pauses between attempts grow"),
            backoff,
        ),
        test(
            Reliability,
            "5.3",
            (
                "answer.same-id",
                "A repetition after a failure of the peer has the id and key of the first attempt",
            ),
            same_id,
        ),
        test(
            Reliability,
            "5.3",
            (
                "answer.retry-after",
                "A peer that says when to come again is not asked before",
            ),
            retry_after,
        ),
        test(
            Reliability,
            "5.3",
            (
                "answer.status",
                "The status tells of the attempts and of the next one",
            ),
            status,
        ),
        test(
            Reliability,
            "5.3",
            ("answer.slow", "A peer that is slow is waited for"),
            slow,
        ),
        test(
            Reliability,
            "5.3",
            ("answer.empty", "202 without a body is an acceptance"),
            empty,
        ),
        test(
            Amtpd,
            "5.3",
            (
                "answer.other-id",
                "A receipt for another message is no acceptance: it is sent under a fresh id",
            ),
            other_id,
        ),
        test(
            Amtpd,
            "5.3",
            (
                "answer.one-failed",
                "A recipient that the receipt reports as failed is not delivered",
            ),
            one_failed,
        ),
        test(
            Amtpd,
            "5.2",
            (
                "answer.reply",
                "A reply in a peer's answer is mail of that peer",
            ),
            reply,
        ),
        test(
            Amtpd,
            "5.3",
            (
                "answer.split",
                "A peer that refuses many recipients at once gets one request each",
            ),
            split,
        ),
    ];
    for (id, rule, behaviour) in temporary() {
        let level = if id.ends_with("bare-4xx") {
            Amtpd
        } else {
            Reliability
        };
        tests.push(test(level, "5.3", (id, rule), move |context| {
            tried_again(context, behaviour.clone())
        }));
    }
    for (id, rule, status, code) in permanent() {
        tests.push(test(Reliability, "5.3", (id, rule), move |context| {
            given_up(context, status, code)
        }));
    }
    tests
}

fn temporary() -> Vec<(&'static str, &'static str, Behaviour)> {
    vec![
        (
            "answer.500",
            "After 500 it is tried again",
            Behaviour::bare(500),
        ),
        (
            "answer.503",
            "After 503 it is tried again",
            Behaviour::error(503, "TEMPORARY_FAILURE"),
        ),
        (
            "answer.429",
            "After 429 it is tried again",
            Behaviour::error(429, "RATE_LIMIT_EXCEEDED"),
        ),
        (
            "answer.408",
            "After 408 it is tried again",
            Behaviour::bare(408),
        ),
        (
            "answer.redirect",
            "A redirect is not followed; it is tried again",
            Behaviour::Redirect("https://elsewhere.invalid/v1/messages".to_owned()),
        ),
        (
            "answer.page",
            "200 with a page for people is no acceptance",
            Behaviour::Page,
        ),
        (
            "answer.half",
            "An answer that breaks off is no failure for good",
            Behaviour::Half,
        ),
        (
            "answer.bare-4xx",
            "A 4xx without the error object is some proxy's: tried again",
            Behaviour::bare(404),
        ),
    ]
}

fn permanent() -> Vec<(&'static str, &'static str, u16, &'static str)> {
    vec![
        (
            "answer.404",
            "404 with the error object ends the delivery",
            404,
            "AGENT_UNKNOWN",
        ),
        (
            "answer.400",
            "400 with the error object ends the delivery",
            400,
            "SCHEMA_VALIDATION_FAILED",
        ),
        (
            "answer.403",
            "403 with the error object ends the delivery",
            403,
            "POLICY_DENIED",
        ),
        (
            "answer.413",
            "413 ends the delivery",
            413,
            "MESSAGE_TOO_LARGE",
        ),
    ]
}

/// A message to `bob` of a peer that does this first.
async fn sent(context: &Context, steps: &[Behaviour]) -> Result<(Peer, Agent, String)> {
    let peer = context.peer()?;
    peer.script(steps.iter().cloned());
    let agent = context.agent().await?;
    let id = context
        .submit(&agent, &[&peer.address("bob")], &Value::Null)
        .await?;
    Ok((peer, agent, id))
}

async fn tried_again(context: Arc<Context>, behaviour: Behaviour) -> Result<()> {
    let (peer, agent, id) = sent(&context, &[behaviour]).await?;
    peer.requests(2).await?;
    context.reaches(&agent, &id, "delivered").await?;
    Ok(())
}

async fn given_up(context: Arc<Context>, status: u16, code: &'static str) -> Result<()> {
    let peer = context.peer()?;
    peer.always(Behaviour::error(status, code));
    let agent = context.agent().await?;
    let to = peer.address("bob");
    let id = context.submit(&agent, &[&to], &Value::Null).await?;
    let view = context.reaches(&agent, &id, "failed").await?;
    let row = &view["recipients"][0];
    ensure!(row["error_code"] == code, "{view}");
    let count = peer.seen().len();
    ensure!(count <= 2, "it was tried {count} times");
    Ok(())
}

fn gap(seen: &[Seen], number: usize) -> Duration {
    seen[number + 1].at.duration_since(seen[number].at)
}

async fn backoff(context: Arc<Context>) -> Result<()> {
    let failing = vec![Behaviour::bare(503); 4];
    let (peer, _, _) = sent(&context, &failing).await?;
    let seen = peer.requests(5).await?;
    let (first, last) = (gap(&seen, 0), gap(&seen, 3));
    ensure!(last > first, "{first:?} at first, {last:?} at last");
    Ok(())
}

async fn same_id(context: Arc<Context>) -> Result<()> {
    let (peer, _, _) = sent(&context, &[Behaviour::bare(503)]).await?;
    let seen = peer.requests(2).await?;
    let (one, two) = (seen[0].json(), seen[1].json());
    for name in ["message_id", "idempotency_key", "timestamp", "payload"] {
        ensure!(
            one[name] == two[name],
            "{name}: {} and {}",
            one[name],
            two[name]
        );
    }
    Ok(())
}

async fn retry_after(context: Arc<Context>) -> Result<()> {
    let (peer, _, _) = sent(&context, &[Behaviour::later(503, 1)]).await?;
    let seen = peer.requests(2).await?;
    let waited = gap(&seen, 0);
    ensure!(
        waited >= Duration::from_millis(900),
        "came after {waited:?}"
    );
    Ok(())
}

async fn status(context: Arc<Context>) -> Result<()> {
    let peer = context.peer()?;
    peer.always(Behaviour::bare(503));
    let agent = context.agent().await?;
    let id = context
        .submit(&agent, &[&peer.address("bob")], &Value::Null)
        .await?;
    let waits = |view: &Value| view["status"] == "retrying" && view["next_retry"].is_string();
    let view = context.status_when((&agent, &id), waits).await?;
    let row = &view["recipients"][0];
    ensure!(row["attempts"].as_u64() > Some(0), "{view}");
    ensure!(row["error_code"].is_string(), "{view}");
    peer.always(Behaviour::Accept);
    let view = context.reaches(&agent, &id, "delivered").await?;
    ensure!(view["next_retry"].is_null(), "{view}");
    Ok(())
}

async fn slow(context: Arc<Context>) -> Result<()> {
    let (peer, agent, id) = sent(&context, &[Behaviour::Slow(Duration::from_secs(2))]).await?;
    context.reaches(&agent, &id, "delivered").await?;
    let count = peer.seen().len();
    ensure!(count == 1, "{count} requests");
    Ok(())
}

async fn empty(context: Arc<Context>) -> Result<()> {
    let (peer, agent, id) = sent(&context, &[Behaviour::Empty]).await?;
    context.reaches(&agent, &id, "delivered").await?;
    let count = peer.seen().len();
    ensure!(count == 1, "{count} requests");
    Ok(())
}

async fn other_id(context: Arc<Context>) -> Result<()> {
    let (peer, agent, id) = sent(&context, &[Behaviour::OtherId]).await?;
    context.reaches(&agent, &id, "delivered").await?;
    let seen = peer.requests(2).await?;
    let (one, two) = (seen[0].json(), seen[1].json());
    for name in ["message_id", "idempotency_key"] {
        ensure!(one[name] != two[name], "{name} is the same again");
    }
    ensure!(one["payload"] == two["payload"], "{one} and {two}");
    Ok(())
}

async fn one_failed(context: Arc<Context>) -> Result<()> {
    let peer = context.peer_with("multi-recipient")?;
    let (bob, eve) = (peer.address("bob"), peer.address("eve"));
    peer.always(Behaviour::Fails(eve.clone()));
    let agent = context.agent().await?;
    let id = context.submit(&agent, &[&bob, &eve], &Value::Null).await?;
    let settled = |view: &Value| view["recipients"][0]["status"] == "delivered";
    let view = context.status_when((&agent, &id), settled).await?;
    ensure!(view["recipients"][1]["status"] != "delivered", "{view}");
    Ok(())
}

#[allow(clippy::disallowed_methods, reason = "a message of now")]
async fn reply(context: Arc<Context>) -> Result<()> {
    let peer = context.peer_with("wait")?;
    let agent = context.agent().await?;
    let bob = peer.address("bob");
    let id = uuid::Uuid::now_v7().to_string();
    let reply = json!({
        "version": "1.0", "message_id": uuid::Uuid::now_v7(), "idempotency_key": uuid::Uuid::new_v4(),
        "timestamp": super::signing::now(0), "sender": bob, "recipients": [agent.address],
        "in_reply_to": id, "payload": { "answer": 42 },
    });
    peer.always(Behaviour::Reply(reply));
    let asked = json!({ "message_id": id, "recipients": [bob] });
    let body = crate::context::message(&agent, &agent, &asked);
    let path = "/v1/messages?wait=20";
    let answer = context.post_json(&agent.key, path, &body).await?;
    crate::context::expect_status(&answer, 200)?;
    let found = &answer.json()["reply"]["payload"];
    ensure!(found["answer"] == 42, "{}", answer.shown());
    let mail = context.mail(&agent, 1).await?;
    ensure!(mail[0]["sender"] == bob.as_str(), "{}", mail[0]);
    Ok(())
}

async fn split(context: Arc<Context>) -> Result<()> {
    let peer = context.peer_with("multi-recipient")?;
    peer.script([Behaviour::error(400, "INVALID_MESSAGE_FORMAT")]);
    let to = ["ann", "bob"].map(|name| peer.address(name));
    let agent = context.agent().await?;
    let id = context
        .submit(&agent, &[&to[0], &to[1]], &json!({ "payload": 1 }))
        .await?;
    context.needs(crate::subject::Capability::Signing)?;
    context.reaches(&agent, &id, "delivered").await?;
    let messages = peer.messages(3).await?;
    let (one, two) = (&messages[1], &messages[2]);
    ensure!(
        one["recipients"].as_array().map(Vec::len) == Some(1),
        "{one}"
    );
    ensure!(one["message_id"] != two["message_id"], "{one} and {two}");
    Ok(())
}
