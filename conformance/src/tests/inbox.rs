//! Inboxes of agents that poll (AMTP 1.0, section 12.2).

use std::sync::Arc;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::test;
use crate::context::{Agent, Context, expect_error, expect_field, expect_status, id_of};
use crate::level::Level::{Amtpd, Core, Reliability};
use crate::runner::Test;

#[allow(clippy::too_many_lines, reason = "one list")]
pub(super) fn tests() -> Vec<Test> {
    vec![
        test(
            Core,
            "12.2",
            ("inbox.order", "Mail stands in the order of its acceptance"),
            order,
        ),
        test(
            Core,
            "12.2",
            ("inbox.empty", "An empty inbox is an empty list"),
            empty,
        ),
        test(
            Core,
            "12.2",
            (
                "inbox.acknowledge",
                "Acknowledged mail is gone; again answers 404",
            ),
            acknowledge,
        ),
        test(
            Core,
            "12.2",
            ("inbox.no-key", "An inbox needs a key"),
            no_key,
        ),
        test(
            Core,
            "12.2",
            (
                "inbox.other-key",
                "Another's and an unknown inbox look alike",
            ),
            other_key,
        ),
        test(
            Reliability,
            "12.2",
            ("inbox.read", "Mail handed out once is read, else unread"),
            read,
        ),
        test(
            Reliability,
            "12.2",
            (
                "inbox.pages",
                "limit, offset and cursor page through an inbox",
            ),
            pages,
        ),
        test(
            Reliability,
            "12.2",
            ("inbox.bad", "Bad parameters are refused by name"),
            bad,
        ),
        test(
            Amtpd,
            "12.2",
            ("inbox.wait", "wait answers when mail arrives"),
            wait,
        ),
        test(
            Amtpd,
            "12.2",
            ("inbox.lease", "lease hides what was handed out"),
            lease,
        ),
        test(
            Amtpd,
            "12.2",
            ("inbox.nack", "nack puts leased mail back"),
            nack,
        ),
        test(
            Amtpd,
            "12.2",
            ("inbox.bulk", "Many messages are acknowledged at once"),
            bulk,
        ),
    ]
}

async fn filled(context: &Context, count: usize) -> Result<(Agent, Vec<String>)> {
    let (from, to) = (context.agent().await?, context.agent().await?);
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(id_of(&context.send(&from, &to, &Value::Null).await?)?);
    }
    Ok((to, ids))
}

fn ids(messages: &[Value]) -> Vec<String> {
    messages
        .iter()
        .map(|message| {
            message["message_id"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        })
        .collect()
}

async fn order(context: Arc<Context>) -> Result<()> {
    let (agent, sent) = filled(&context, 10).await?;
    let got = ids(&context.inbox(&agent, "").await?);
    ensure!(got == sent, "{got:?} instead of {sent:?}");
    Ok(())
}

async fn empty(context: Arc<Context>) -> Result<()> {
    let agent = context.agent().await?;
    let answer = context
        .get(Some(&agent.key), &format!("/v1/inbox/{}", agent.address))
        .await?;
    let view = answer.json();
    ensure!(
        view["messages"] == json!([]) && view["count"] == 0 && view["has_more"] == false,
        "{view}"
    );
    Ok(())
}

async fn acknowledge(context: Arc<Context>) -> Result<()> {
    let (agent, sent) = filled(&context, 2).await?;
    let path = format!("/v1/inbox/{}/{}", agent.address, sent[0]);
    let answer = context.delete(Some(&agent.key), &path).await?;
    expect_status(&answer, 200)?;
    ensure!(
        answer.json()["status"] == "acknowledged",
        "{}",
        answer.shown()
    );
    expect_error(
        &context.delete(Some(&agent.key), &path).await?,
        404,
        "NOT_FOUND",
    )?;
    let left = ids(&context.inbox(&agent, "").await?);
    ensure!(left == sent[1..], "{left:?}");
    Ok(())
}

async fn no_key(context: Arc<Context>) -> Result<()> {
    let agent = context.agent().await?;
    let answer = context
        .get(None, &format!("/v1/inbox/{}", agent.address))
        .await?;
    expect_error(&answer, 401, "AUTHENTICATION_FAILED")
}

async fn other_key(context: Arc<Context>) -> Result<()> {
    let (one, other) = (context.agent().await?, context.agent().await?);
    let unknown = format!("{}@{}", context.fresh_name(), context.domain());
    for address in [&other.address, &unknown] {
        let answer = context
            .get(Some(&one.key), &format!("/v1/inbox/{address}"))
            .await?;
        expect_error(&answer, 403, "ACCESS_DENIED")?;
    }
    Ok(())
}

async fn read(context: Arc<Context>) -> Result<()> {
    let (agent, _) = filled(&context, 1).await?;
    ensure!(
        context.inbox(&agent, "").await?[0]["status"] == "unread",
        "not unread at first"
    );
    ensure!(
        context.inbox(&agent, "").await?[0]["status"] == "read",
        "not read afterwards"
    );
    ensure!(
        context.inbox(&agent, "?status=unread").await?.is_empty(),
        "still unread"
    );
    ensure!(
        context.inbox(&agent, "?status=read").await?.len() == 1,
        "not among the read"
    );
    Ok(())
}

async fn pages(context: Arc<Context>) -> Result<()> {
    let (agent, sent) = filled(&context, 5).await?;
    let mut got = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/v1/inbox/{}?limit=2&cursor={cursor}", agent.address);
        let page = context.get(Some(&agent.key), &path).await?.json();
        got.extend(ids(page["messages"].as_array().map_or(&[], Vec::as_slice)));
        match page["next_cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    ensure!(got == sent, "{got:?} instead of {sent:?}");
    ensure!(
        ids(&context.inbox(&agent, "?offset=4").await?) == sent[4..],
        "offset"
    );
    Ok(())
}

async fn bad(context: Arc<Context>) -> Result<()> {
    let agent = context.agent().await?;
    for (query, field) in [
        ("limit=0", "limit"),
        ("cursor=x", "cursor"),
        ("status=odd", "status"),
        ("wait=61s", "wait"),
        ("lease=soon", "lease"),
        ("since=1", "since"),
    ] {
        let answer = context
            .get(
                Some(&agent.key),
                &format!("/v1/inbox/{}?{query}", agent.address),
            )
            .await?;
        expect_error(&answer, 400, "INVALID_PARAMETER")?;
        expect_field(&answer, field)?;
    }
    Ok(())
}

async fn wait(context: Arc<Context>) -> Result<()> {
    let (from, to) = (context.agent().await?, context.agent().await?);
    let (mail, sent) = tokio::join!(
        context.inbox(&to, "?wait=60s"),
        context.send(&from, &to, &Value::Null)
    );
    let (mail, id) = (mail?, id_of(&sent?)?);
    ensure!(ids(&mail) == [id], "{mail:?}");
    Ok(())
}

async fn lease(context: Arc<Context>) -> Result<()> {
    let (agent, sent) = filled(&context, 2).await?;
    ensure!(
        ids(&context.inbox(&agent, "?limit=1&lease=60s").await?) == sent[..1],
        "the first lease"
    );
    ensure!(
        ids(&context.inbox(&agent, "?lease=60s").await?) == sent[1..],
        "the second lease"
    );
    ensure!(
        context.inbox(&agent, "?lease=60s").await?.is_empty(),
        "leased twice"
    );
    Ok(())
}

async fn nack(context: Arc<Context>) -> Result<()> {
    let (agent, sent) = filled(&context, 1).await?;
    context.inbox(&agent, "?lease=60s").await?;
    let path = format!("/v1/inbox/{}/nack", agent.address);
    let answer = context
        .post_json(&agent.key, &path, &json!({ "message_ids": sent }))
        .await?;
    expect_status(&answer, 200)?;
    ensure!(
        ids(&context.inbox(&agent, "").await?) == sent,
        "it did not come back"
    );
    let late = json!({ "message_ids": sent, "delay": "1h" });
    expect_status(&context.post_json(&agent.key, &path, &late).await?, 200)?;
    ensure!(
        context.inbox(&agent, "").await?.is_empty(),
        "the delay was ignored"
    );
    Ok(())
}

async fn bulk(context: Arc<Context>) -> Result<()> {
    let (agent, sent) = filled(&context, 3).await?;
    let path = format!("/v1/inbox/{}/ack", agent.address);
    let form = json!({ "message_ids": [sent[0], "missing", sent[2]] });
    let answer = context.post_json(&agent.key, &path, &form).await?;
    expect_status(&answer, 200)?;
    ensure!(
        answer.json()["not_found"] == json!(["missing"]),
        "{}",
        answer.shown()
    );
    ensure!(
        ids(&context.inbox(&agent, "").await?) == sent[1..2],
        "the wrong ones are left"
    );
    Ok(())
}
