//! Mail for other domains: queued, tried, cancelled (AMTP 1.0, sections 5.2, 5.3, 12.1).

use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};

use super::delivery::stranger;
use super::test;
use crate::context::{Agent, Context, expect_error, expect_status, expect_taken, id_of, message};
use crate::level::Level::{Core, Reliability};
use crate::runner::{Skipped, Test};

pub(super) fn tests() -> Vec<Test> {
    vec![
        test(
            Core,
            "5.2",
            (
                "relay.foreign-only",
                "Foreign mail for only foreign recipients is not passed on",
            ),
            foreign_only,
        ),
        test(
            Core,
            "5.2",
            (
                "remote.queued",
                "Mail for another domain is queued and does not hold up ours",
            ),
            queued,
        ),
        test(
            Reliability,
            "5.3",
            (
                "remote.tried",
                "The status of mail for a domain that is not there tells the attempts or the fault",
            ),
            tried,
        ),
        test(
            Reliability,
            "8.2",
            (
                "remote.bounce",
                "The sender is told of mail that failed, once, by a notice",
            ),
            bounce,
        ),
        test(
            Reliability,
            "12.1",
            (
                "remote.cancel",
                "What waits can be cancelled, what has ended answers 409",
            ),
            cancel,
        ),
        test(
            Reliability,
            "12.1",
            ("remote.pending", "What waits is listed as pending"),
            pending,
        ),
    ]
}

/// A domain that nobody can have (RFC 2606).
const NOWHERE: &str = "nobody@nonexistent.invalid";

/// Words for what still waits.
const WAITING: [&str; 3] = ["queued", "delivering", "retrying"];

fn is_waiting(status: &Value) -> bool {
    status.as_str().is_some_and(|word| WAITING.contains(&word))
}

/// Mail to a domain whose DNS fails, where there is a bench: it waits. Else to one nobody answers
/// for, which may end soon.
async fn to_silence(context: &Context) -> Result<(Agent, String)> {
    let agent = context.new_agent().await?;
    let domain = match context.bench() {
        Ok(bench) => {
            let domain = bench.stranger();
            bench.dns.fail(&format!("_amtp.{domain}"));
            domain
        }
        Err(_) => format!("{}.example", context.fresh_name()),
    };
    let to = format!("nobody@{domain}");
    let change = json!({ "recipients": [to] });
    let answer = context.send(&agent, &agent, &change).await?;
    expect_taken(&answer)?;
    let id = id_of(&answer)?;
    Ok((agent, id))
}

async fn foreign_only(context: Arc<Context>) -> Result<()> {
    let change = json!({ "recipients": [NOWHERE] });
    let body = message(&stranger(), &stranger(), &change).to_string();
    expect_error(&context.post(None, body).await?, 403, "RELAY_DENIED")?;
    // Nor does one of our keys make a foreign sender ours.
    let agent = context.agent().await?;
    let body = message(&stranger(), &agent, &change).to_string();
    let refused = context.post(Some(&agent.key), body).await?;
    ensure!(refused.status.as_u16() == 403, "{}", refused.shown());
    Ok(())
}

async fn queued(context: Arc<Context>) -> Result<()> {
    let (from, to) = (context.agent().await?, context.agent().await?);
    let change = json!({ "recipients": [NOWHERE, to.address] });
    let answer = context.send(&from, &to, &change).await?;
    expect_taken(&answer)?;
    let rows = answer.json()["recipients"].clone();
    ensure!(
        rows[0]["address"] == NOWHERE && rows[0]["status"] == "queued",
        "{rows}"
    );
    ensure!(rows[1]["status"] == "delivered", "{rows}");
    let copies = context.inbox(&to, "").await?.len();
    ensure!(copies == 1, "{copies} copies here");
    let alone = json!({ "recipients": [NOWHERE] });
    let answer = context.send(&from, &to, &alone).await?;
    expect_taken(&answer)?;
    ensure!(
        answer.json()["recipients"][0]["status"] == "queued",
        "{}",
        answer.shown()
    );
    Ok(())
}

/// Whether the first row tells of an attempt.
fn tells(view: &Value) -> bool {
    let row = &view["recipients"][0];
    row["attempts"].as_u64().unwrap_or_default() > 0 || row["error_code"].is_string()
}

async fn tried(context: Arc<Context>) -> Result<()> {
    let agent = context.agent().await?;
    let change = json!({ "recipients": [NOWHERE] });
    let one = id_of(&context.send(&agent, &agent, &change).await?)?;
    let (other_agent, other) = to_silence(&context).await?;
    for (agent, id) in [(agent, one), (other_agent, other)] {
        let view = context.status_when((&agent, &id), tells).await?;
        let row = &view["recipients"][0];
        match row["status"].as_str().unwrap_or_default() {
            "failed" => ensure!(row["error_code"].is_string(), "{view}"),
            "retrying" => {
                let attempts = row["attempts"].as_u64().unwrap_or_default();
                let next = row["next_retry"].as_str().unwrap_or_default();
                ensure!(attempts > 0 && next.ends_with('Z'), "{view}");
            }
            "queued" | "delivering" => {}
            _ => bail!("{view}"),
        }
        ensure!(view.get("delivered_at").is_none(), "{view}");
    }
    Ok(())
}

async fn bounce(context: Arc<Context>) -> Result<()> {
    let agent = context.agent().await?;
    let change = json!({ "recipients": [NOWHERE] });
    let id = id_of(&context.send(&agent, &agent, &change).await?)?;
    let view = context.status_when((&agent, &id), tells).await?;
    if view["status"] != "failed" {
        return Err(Skipped("the gateway still tries; its DNS does not answer").into());
    }
    let mail = context.inbox(&agent, "?wait=30s").await?;
    ensure!(mail.len() == 1, "{mail:?}");
    let notice = &mail[0];
    ensure!(
        notice["message_type"] == "delivery_failure" && notice["in_reply_to"] == id.as_str(),
        "{notice}"
    );
    let postmaster = format!("postmaster@{}", context.domain());
    ensure!(notice["sender"] == postmaster.as_str(), "{notice}");
    let payload = &notice["payload"];
    ensure!(payload["original_message_id"] == id.as_str(), "{notice}");
    ensure!(
        payload["error_code"] == view["recipients"][0]["error_code"],
        "{notice} after {view}"
    );
    Ok(())
}

async fn cancel(context: Arc<Context>) -> Result<()> {
    let (agent, id) = to_silence(&context).await?;
    let path = format!("/v1/messages/{id}");
    let answer = context.delete(Some(&agent.key), &path).await?;
    let view = context.status(&agent, &id).await?;
    if answer.status.as_u16() == 409 {
        expect_error(&answer, 409, "CONFLICT")?;
        let word = view["status"].as_str().unwrap_or_default();
        ensure!(
            !["queued", "retrying"].contains(&word),
            "refused, but {view}"
        );
        return match word {
            "delivering" => Err(Skipped("an attempt was under way all the time").into()),
            _ => Ok(()),
        };
    }
    expect_status(&answer, 200)?;
    for view in [&answer.json(), &view] {
        ensure!(
            view["status"] == "cancelled" && view["recipients"][0]["status"] == "cancelled",
            "{view}"
        );
    }
    let again = context.delete(Some(&agent.key), &path).await?;
    expect_error(&again, 409, "CONFLICT")
}

/// The ids that a list with this status shows.
async fn listed(context: &Context, agent: &Agent, status: &str) -> Result<Vec<Value>> {
    let path = format!("/v1/messages?status={status}");
    let answer = context.get(Some(&agent.key), &path).await?;
    expect_status(&answer, 200)?;
    let view = answer.json();
    let messages = view["messages"].as_array().into_iter().flatten();
    Ok(messages.map(|it| it["message_id"].clone()).collect())
}

async fn pending(context: Arc<Context>) -> Result<()> {
    let (agent, id) = to_silence(&context).await?;
    let shown = listed(&context, &agent, "pending").await?;
    if shown != [id.as_str()] {
        let view = context.status(&agent, &id).await?;
        ensure!(!is_waiting(&view["status"]), "{shown:?} does not hold {id}");
        return Err(Skipped("the mail ended before it could be listed").into());
    }
    let path = format!("/v1/messages/{id}");
    let answer = context.delete(Some(&agent.key), &path).await?;
    if answer.status.as_u16() == 200 {
        let cancelled = listed(&context, &agent, "cancelled").await?;
        ensure!(cancelled == [id.as_str()], "{cancelled:?}");
        let shown = listed(&context, &agent, "pending").await?;
        ensure!(shown.is_empty(), "cancelled, and listed as pending");
    }
    Ok(())
}
