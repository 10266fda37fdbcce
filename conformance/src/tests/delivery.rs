//! Submission, relay, receipts and recipients (AMTP 1.0, sections 3.1, 5.2).

use std::sync::Arc;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use uuid::Uuid;

use super::test;
use crate::context::{
    Agent, Context, expect_error, expect_field, expect_status, expect_taken, message,
};
use crate::level::Level::{Amtpd, Core};
use crate::runner::Test;

#[allow(clippy::too_many_lines, reason = "one list")]
pub(super) fn tests() -> Vec<Test> {
    vec![
        test(
            Core,
            "5.2",
            ("submit.no-key", "A local sender needs a credential"),
            no_key,
        ),
        test(
            Core,
            "5.2",
            ("submit.other-key", "The credential is exactly the sender's"),
            other_key,
        ),
        test(
            Core,
            "5.2",
            ("submit.bad-key", "A key nobody issued is refused"),
            bad_key,
        ),
        test(
            Core,
            "5.2",
            (
                "relay.open",
                "Foreign mail for foreign recipients is not passed on",
            ),
            open_relay,
        ),
        test(
            Core,
            "5.2",
            (
                "relay.in",
                "A foreign sender reaches our agents and is marked",
            ),
            relay_in,
        ),
        test(
            Core,
            "5.2",
            ("submit.unknown", "All recipients unknown answers 404"),
            all_unknown,
        ),
        test(
            Core,
            "5.2",
            (
                "submit.one-unknown",
                "One unknown recipient does not stop the others",
            ),
            one_unknown,
        ),
        test(
            Amtpd,
            "5.2",
            (
                "submit.accepted",
                "Who does not wait for a reply is answered 202, whatever is delivered already",
            ),
            accepted,
        ),
        test(
            Core,
            "5.2",
            (
                "submit.receipt",
                "A receipt names every recipient and its state",
            ),
            receipt,
        ),
        test(
            Core,
            "5.2",
            (
                "delivery.none-lost",
                "Of many messages that are accepted every one arrives, once",
            ),
            none_lost,
        ),
        test(
            Core,
            "4.2",
            (
                "recipients.limit",
                "Too many recipients are refused, the limit is taken",
            ),
            limit,
        ),
        test(
            Core,
            "4.2",
            (
                "recipients.collapse",
                "A recipient named twice gets one copy",
            ),
            collapse,
        ),
        test(
            Core,
            "3.1",
            (
                "address.case",
                "Domains and agent names are compared without case",
            ),
            case,
        ),
        test(
            Core,
            "3.1",
            ("address.tag", "name+tag reaches name and keeps the tag"),
            tag,
        ),
        test(
            Core,
            "3.1",
            ("address.reserved", "Reserved names are nobody's"),
            reserved,
        ),
    ]
}

async fn no_key(context: Arc<Context>) -> Result<()> {
    let agent = context.agent().await?;
    let body = message(&agent, &agent, &Value::Null).to_string();
    expect_error(
        &context.post(None, body).await?,
        401,
        "LOCAL_SENDER_AUTH_REQUIRED",
    )
}

async fn other_key(context: Arc<Context>) -> Result<()> {
    let (one, other) = (context.agent().await?, context.agent().await?);
    let body = message(&one, &one, &Value::Null).to_string();
    expect_error(
        &context.post(Some(&other.key), body).await?,
        403,
        "SENDER_CREDENTIAL_MISMATCH",
    )
}

async fn bad_key(context: Arc<Context>) -> Result<()> {
    let agent = context.agent().await?;
    let body = message(&agent, &agent, &Value::Null).to_string();
    let answer = context
        .post(Some("ak_0000000000000000_nobodys"), body)
        .await?;
    ensure!(
        matches!(answer.status.as_u16(), 401 | 403),
        "{}",
        answer.shown()
    );
    Ok(())
}

/// A sender of a domain that is not the gateway's.
pub(super) fn stranger() -> Agent {
    Agent {
        address: format!("s-{}@stranger.example", Uuid::new_v4().simple()),
        key: String::new(),
    }
}

async fn open_relay(context: Arc<Context>) -> Result<()> {
    let agent = context.agent().await?;
    let mut body = message(&stranger(), &agent, &Value::Null);
    body["recipients"] = json!([agent.address, "victim@elsewhere.example"]);
    expect_error(
        &context.post(None, body.to_string()).await?,
        403,
        "RELAY_DENIED",
    )?;
    ensure!(
        context.inbox(&agent, "").await?.is_empty(),
        "a part was delivered"
    );
    Ok(())
}

async fn relay_in(context: Arc<Context>) -> Result<()> {
    let agent = context.agent().await?;
    let body = message(&stranger(), &agent, &Value::Null).to_string();
    expect_taken(&context.post(None, body).await?)?;
    let inbox = context.inbox(&agent, "").await?;
    ensure!(inbox.len() == 1, "{} messages", inbox.len());
    ensure!(
        inbox[0]["sender_verification"]["result"] == "unsigned",
        "{}",
        inbox[0]
    );
    Ok(())
}

async fn all_unknown(context: Arc<Context>) -> Result<()> {
    let agent = context.agent().await?;
    let nobody = format!("{}@{}", context.fresh_name(), context.domain());
    let answer = context
        .send(&agent, &agent, &json!({ "recipients": [nobody] }))
        .await?;
    expect_error(&answer, 404, "AGENT_UNKNOWN")
}

async fn one_unknown(context: Arc<Context>) -> Result<()> {
    let agent = context.agent().await?;
    let nobody = format!("{}@{}", context.fresh_name(), context.domain());
    let answer = context
        .send(
            &agent,
            &agent,
            &json!({ "recipients": [nobody, agent.address] }),
        )
        .await?;
    expect_taken(&answer)?;
    let rows = answer.json()["recipients"].clone();
    ensure!(
        rows[0]["status"] == "failed" && rows[0]["error_code"] == "AGENT_UNKNOWN",
        "{}",
        answer.shown()
    );
    ensure!(
        context.inbox(&agent, "").await?.len() == 1,
        "the known one got nothing"
    );
    Ok(())
}

async fn accepted(context: Arc<Context>) -> Result<()> {
    let agent = context.agent().await?;
    let answer = context.send(&agent, &agent, &Value::Null).await?;
    expect_status(&answer, 202)
}

async fn receipt(context: Arc<Context>) -> Result<()> {
    let agent = context.agent().await?;
    let answer = context.send(&agent, &agent, &Value::Null).await?;
    expect_taken(&answer)?;
    let receipt = answer.json();
    ensure!(
        receipt["recipients"][0]["address"] == agent.address.as_str(),
        "{receipt}"
    );
    ensure!(
        receipt["recipients"][0]["status"] == "delivered",
        "{receipt}"
    );
    Ok(())
}

async fn none_lost(context: Arc<Context>) -> Result<()> {
    let (from, to) = (context.agent().await?, context.agent().await?);
    let mut sent = Vec::new();
    for n in 0..40 {
        let change = json!({ "payload": n });
        sent.push(context.submit(&from, &[&to.address], &change).await?);
    }
    let mail = context.inbox(&to, "?limit=1000").await?;
    let got: Vec<_> = mail.iter().map(|it| it["message_id"].clone()).collect();
    let lost = sent.iter().filter(|id| !got.contains(&json!(id))).count();
    ensure!(
        lost == 0 && got.len() == sent.len(),
        "{lost} of {} are missing, {} arrived",
        sent.len(),
        got.len()
    );
    Ok(())
}

async fn limit(context: Arc<Context>) -> Result<()> {
    let agent = context.agent().await?;
    let (local, domain) = agent.address.split_once('@').unwrap_or_default();
    let many = |n: usize| {
        (0..n)
            .map(|i| format!("{local}+{i}@{domain}"))
            .collect::<Vec<_>>()
    };
    let most = context.subject.recipients;
    let answer = context
        .send(&agent, &agent, &json!({ "recipients": many(most + 1) }))
        .await?;
    expect_error(&answer, 400, "INVALID_MESSAGE_FORMAT")?;
    expect_field(&answer, "recipients")?;
    expect_taken(
        &context
            .send(&agent, &agent, &json!({ "recipients": many(most) }))
            .await?,
    )
}

async fn collapse(context: Arc<Context>) -> Result<()> {
    let agent = context.agent().await?;
    let twice =
        json!({ "recipients": [agent.address, agent.address.to_uppercase(), agent.address] });
    expect_taken(&context.send(&agent, &agent, &twice).await?)?;
    let copies = context.inbox(&agent, "").await?.len();
    ensure!(copies == 1, "{copies} copies");
    Ok(())
}

async fn case(context: Arc<Context>) -> Result<()> {
    let agent = context.agent().await?;
    let shouted = json!({ "recipients": [agent.address.to_uppercase()] });
    expect_taken(&context.send(&agent, &agent, &shouted).await?)?;
    ensure!(
        context.inbox(&agent, "").await?.len() == 1,
        "nothing arrived"
    );
    Ok(())
}

async fn tag(context: Arc<Context>) -> Result<()> {
    let agent = context.agent().await?;
    let tagged = agent.address.replacen('@', "+orders@", 1);
    expect_taken(
        &context
            .send(&agent, &agent, &json!({ "recipients": [tagged] }))
            .await?,
    )?;
    let inbox = context.inbox(&agent, "").await?;
    ensure!(
        inbox.len() == 1 && inbox[0]["recipients"][0] == tagged.as_str(),
        "{inbox:?}"
    );
    Ok(())
}

async fn reserved(context: Arc<Context>) -> Result<()> {
    let agent = context.agent().await?;
    for name in ["mailer-daemon", "workflow", "amtp-bridge", "bounce+x"] {
        let to = format!("{name}@{}", context.domain());
        let answer = context
            .send(&agent, &agent, &json!({ "recipients": [to] }))
            .await?;
        expect_error(&answer, 404, "AGENT_UNKNOWN")?;
    }
    Ok(())
}
