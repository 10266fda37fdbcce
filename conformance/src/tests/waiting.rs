//! Waiting for the reply to what one sends (AMTP 1.0, section 5.2).

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use hyper::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::delivery::stranger;
use super::test;
use crate::client::{Answer, Call};
use crate::context::{Agent, Context, expect_error, expect_field, expect_status, id_of, message};
use crate::level::Level::Amtpd;
use crate::runner::{Skipped, Test};

pub(super) fn tests() -> Vec<Test> {
    vec![
        test(
            Amtpd,
            "5.2.1",
            ("wait.none", "Without a reply in time the answer is 202"),
            none,
        ),
        test(
            Amtpd,
            "5.2.1",
            (
                "wait.reply",
                "A reply in time is the answer, and a message as well",
            ),
            reply,
        ),
        test(
            Amtpd,
            "5.2.1",
            (
                "wait.acknowledge",
                "ack=1 takes the reply out of the sender's inbox",
            ),
            acknowledge,
        ),
        test(
            Amtpd,
            "5.2.1",
            (
                "wait.uninvolved",
                "Only a recipient's answer to the sender counts as the reply",
            ),
            uninvolved,
        ),
        test(
            Amtpd,
            "5.2.1",
            ("wait.bad", "A wait that is no span or too long is refused"),
            bad,
        ),
        test(
            Amtpd,
            "5.2.1",
            (
                "wait.unproven",
                "A sender that proved nothing is never shown a reply",
            ),
            unproven,
        ),
    ]
}

/// Ends the test where the gateway does not know waiting.
async fn needs_wait(context: &Context) -> Result<()> {
    match context.offers("wait").await? {
        true => Ok(()),
        false => Err(Skipped("the gateway does not offer the feature `wait`").into()),
    }
}

async fn none(context: Arc<Context>) -> Result<()> {
    needs_wait(&context).await?;
    let (from, to) = (context.agent().await?, context.agent().await?);
    let body = message(&from, &to, &Value::Null);
    let answer = context
        .post_json(&from.key, "/v1/messages?wait=1", &body)
        .await?;
    expect_status(&answer, 202)?;
    ensure!(
        answer.json()["status"] == "accepted" && answer.json().get("reply").is_none(),
        "{}",
        answer.shown()
    );
    Ok(())
}

/// Waits for mail and answers it.
async fn answer_mail(context: &Context, agent: &Agent) -> Result<String> {
    let mail = context.inbox(agent, "?wait=30s").await?;
    let asked = mail.first().context("nothing came to be answered")?;
    let change = json!({
        "recipients": [asked["sender"]], "in_reply_to": asked["message_id"],
        "payload": { "answer": 42 },
    });
    id_of(&context.send(agent, agent, &change).await?)
}

/// One asks and waits while the other answers: the asker's answer and the reply's id.
async fn ask(context: &Context, query: &str) -> Result<(Agent, Answer, String)> {
    let (from, to) = (context.agent().await?, context.agent().await?);
    let body = message(&from, &to, &Value::Null);
    let path = format!("/v1/messages?{query}");
    let (answer, replied) = tokio::join!(
        context.post_json(&from.key, &path, &body),
        answer_mail(context, &to)
    );
    let (answer, replied) = (answer?, replied?);
    expect_status(&answer, 200)?;
    let view = answer.json();
    ensure!(view["status"] == "delivered", "{view}");
    let reply = &view["reply"];
    ensure!(
        reply["message_id"] == replied.as_str() && reply["in_reply_to"] == view["message_id"],
        "{view}"
    );
    ensure!(
        reply["payload"] == json!({ "answer": 42 }) && reply["sender"] == to.address.as_str(),
        "{view}"
    );
    Ok((from, answer, replied))
}

async fn reply(context: Arc<Context>) -> Result<()> {
    needs_wait(&context).await?;
    let (from, _, replied) = ask(&context, "wait=30").await?;
    let inbox = context.inbox(&from, "").await?;
    ensure!(
        inbox.len() == 1 && inbox[0]["message_id"] == replied.as_str(),
        "{inbox:?}"
    );
    Ok(())
}

async fn acknowledge(context: Arc<Context>) -> Result<()> {
    needs_wait(&context).await?;
    let (from, answer, _) = ask(&context, "wait=30s&ack=1").await?;
    let inbox = context.inbox(&from, "").await?;
    ensure!(inbox.is_empty(), "{inbox:?} after {}", answer.shown());
    Ok(())
}

async fn uninvolved(context: Arc<Context>) -> Result<()> {
    needs_wait(&context).await?;
    let (from, to, third) = (
        context.agent().await?,
        context.agent().await?,
        context.agent().await?,
    );
    let id = Uuid::new_v4().to_string();
    let forged = json!({ "in_reply_to": id, "payload": "not asked" });
    let body = message(&from, &to, &json!({ "message_id": id }));
    expect_status(&context.send(&third, &from, &forged).await?, 202)?;
    expect_status(&context.send(&to, &third, &forged).await?, 202)?;
    let answer = context
        .post_json(&from.key, "/v1/messages?wait=1", &body)
        .await?;
    ensure!(id_of(&answer)? == id, "{}", answer.shown());
    expect_status(&answer, 202)?;
    ensure!(answer.json().get("reply").is_none(), "{}", answer.shown());
    Ok(())
}

async fn bad(context: Arc<Context>) -> Result<()> {
    needs_wait(&context).await?;
    let agent = context.agent().await?;
    let body = message(&agent, &agent, &Value::Null);
    for (query, field) in [
        ("wait=61", "wait"),
        ("wait=x", "wait"),
        ("wait=-1", "wait"),
        ("wait=2m", "wait"),
        ("wait=1&ack=2", "ack"),
    ] {
        let path = format!("/v1/messages?{query}");
        let answer = context.post_json(&agent.key, &path, &body).await?;
        expect_error(&answer, 400, "INVALID_PARAMETER")?;
        expect_field(&answer, field)?;
    }
    ensure!(
        context.inbox(&agent, "").await?.is_empty(),
        "what was refused is delivered"
    );
    Ok(())
}

async fn unproven(context: Arc<Context>) -> Result<()> {
    needs_wait(&context).await?;
    let (from, to) = (stranger(), context.agent().await?);
    let key = json!({ "idempotency_key": Uuid::new_v4().to_string() });
    let body = message(&from, &to, &key).to_string();
    let id = id_of(&context.post(None, body.clone()).await?)?;
    let secret = json!({
        "recipients": [from.address], "in_reply_to": id, "payload": "for your eyes only",
    });
    expect_status(&context.send(&to, &to, &secret).await?, 202)?;
    // The reply is there: who repeats the message and waits would get it at once.
    let call = Call::new(Method::POST, context.url("/v1/messages?wait=2")).json(body);
    let answer = context.client.send(call).await?;
    expect_status(&answer, 202)?;
    ensure!(
        !answer.text.contains("reply") && !answer.text.contains("for your eyes only"),
        "{}",
        answer.shown()
    );
    Ok(())
}
