//! Submission, idempotency, receipts, status and lists (AMTP 1.0, sections 5, 8.1, 12.1).

use std::sync::Arc;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use uuid::Uuid;

use super::test;
use crate::Level::{Amtpd, Core, Extended};
use crate::context::{Agent, Context, expect_error, expect_field, expect_status, id_of, message};
use crate::runner::Test;

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
        test(
            Extended,
            "8.1",
            (
                "idempotency.same",
                "The same key and content is one message",
            ),
            same_key,
        ),
        test(
            Extended,
            "8.1",
            (
                "idempotency.other-id",
                "Another id or time is still a duplicate",
            ),
            other_id,
        ),
        test(
            Extended,
            "8.1",
            (
                "idempotency.conflict",
                "The same key with other content answers 409",
            ),
            conflict,
        ),
        test(
            Extended,
            "8.1",
            (
                "idempotency.new-recipient",
                "A new recipient under a known key gets its copy",
            ),
            new_recipient,
        ),
        test(
            Extended,
            "8.1",
            ("idempotency.senders", "A key belongs to its sender"),
            senders,
        ),
        test(
            Extended,
            "8.1",
            ("idempotency.none", "Equal messages without a key are two"),
            no_idempotency_key,
        ),
        test(
            Amtpd,
            "8.1",
            (
                "idempotency.trace",
                "Trace headers do not make content other",
            ),
            trace,
        ),
        test(
            Amtpd,
            "8.1",
            (
                "idempotency.order",
                "The order of members does not make content other",
            ),
            member_order,
        ),
        test(
            Extended,
            "5.2.2",
            (
                "status.shape",
                "A status names recipients, times and the one word",
            ),
            status,
        ),
        test(
            Extended,
            "5.2.2",
            (
                "status.visibility",
                "A stranger sees 404, a recipient its own row",
            ),
            visibility,
        ),
        test(
            Extended,
            "5.2.2",
            ("status.unknown", "An unknown id answers 404"),
            unknown,
        ),
        test(
            Extended,
            "12.1",
            ("message.show", "A message can be shown with its status"),
            show,
        ),
        test(
            Extended,
            "12.1",
            (
                "list.newest-first",
                "Lists are newest first and page by cursor",
            ),
            list,
        ),
        test(
            Extended,
            "12.1",
            (
                "list.filters",
                "Lists filter by sender, recipient and status",
            ),
            filters,
        ),
        test(
            Extended,
            "12.1",
            ("list.bad", "Bad list parameters are refused by name"),
            bad_list,
        ),
        test(
            Extended,
            "12.1",
            ("cancel.settled", "What is delivered cannot be cancelled"),
            cancel,
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

fn stranger() -> Agent {
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
    expect_status(&context.post(None, body).await?, 202)?;
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
    expect_status(&answer, 202)?;
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

async fn receipt(context: Arc<Context>) -> Result<()> {
    let agent = context.agent().await?;
    let answer = context.send(&agent, &agent, &Value::Null).await?;
    expect_status(&answer, 202)?;
    let receipt = answer.json();
    ensure!(receipt["status"] == "accepted", "{receipt}");
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
    expect_status(
        &context
            .send(&agent, &agent, &json!({ "recipients": many(most) }))
            .await?,
        202,
    )
}

async fn collapse(context: Arc<Context>) -> Result<()> {
    let agent = context.agent().await?;
    let twice =
        json!({ "recipients": [agent.address, agent.address.to_uppercase(), agent.address] });
    expect_status(&context.send(&agent, &agent, &twice).await?, 202)?;
    let copies = context.inbox(&agent, "").await?.len();
    ensure!(copies == 1, "{copies} copies");
    Ok(())
}

async fn case(context: Arc<Context>) -> Result<()> {
    let agent = context.agent().await?;
    let shouted = json!({ "recipients": [agent.address.to_uppercase()] });
    expect_status(&context.send(&agent, &agent, &shouted).await?, 202)?;
    ensure!(
        context.inbox(&agent, "").await?.len() == 1,
        "nothing arrived"
    );
    Ok(())
}

async fn tag(context: Arc<Context>) -> Result<()> {
    let agent = context.agent().await?;
    let tagged = agent.address.replacen('@', "+orders@", 1);
    expect_status(
        &context
            .send(&agent, &agent, &json!({ "recipients": [tagged] }))
            .await?,
        202,
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

fn keyed() -> Value {
    json!({ "idempotency_key": Uuid::new_v4().to_string() })
}

async fn same_key(context: Arc<Context>) -> Result<()> {
    let (from, to) = (context.agent().await?, context.agent().await?);
    let change = keyed();
    let first = id_of(&context.send(&from, &to, &change).await?)?;
    let again = context.send(&from, &to, &change).await?;
    expect_status(&again, 202)?;
    ensure!(id_of(&again)? == first, "another id: {}", again.shown());
    ensure!(context.inbox(&to, "").await?.len() == 1, "delivered twice");
    Ok(())
}

async fn other_id(context: Arc<Context>) -> Result<()> {
    let (from, to) = (context.agent().await?, context.agent().await?);
    let mut change = keyed();
    let first = id_of(&context.send(&from, &to, &change).await?)?;
    change["message_id"] = json!(Uuid::new_v4().to_string());
    change["timestamp"] = json!("2026-01-01T00:00:00Z");
    let again = id_of(&context.send(&from, &to, &change).await?)?;
    ensure!(again == first, "answered {again}, not {first}");
    ensure!(context.inbox(&to, "").await?.len() == 1, "delivered twice");
    Ok(())
}

async fn conflict(context: Arc<Context>) -> Result<()> {
    let (from, to) = (context.agent().await?, context.agent().await?);
    let mut change = keyed();
    expect_status(&context.send(&from, &to, &change).await?, 202)?;
    change["payload"] = json!({ "n": 2 });
    expect_error(
        &context.send(&from, &to, &change).await?,
        409,
        "IDEMPOTENCY_CONFLICT",
    )
}

async fn new_recipient(context: Arc<Context>) -> Result<()> {
    let (from, to, more) = (
        context.agent().await?,
        context.agent().await?,
        context.agent().await?,
    );
    let mut change = keyed();
    expect_status(&context.send(&from, &to, &change).await?, 202)?;
    change["recipients"] = json!([to.address, more.address]);
    expect_status(&context.send(&from, &to, &change).await?, 202)?;
    let counts = (
        context.inbox(&to, "").await?.len(),
        context.inbox(&more, "").await?.len(),
    );
    ensure!(counts == (1, 1), "{counts:?}");
    Ok(())
}

async fn senders(context: Arc<Context>) -> Result<()> {
    let (one, other, to) = (
        context.agent().await?,
        context.agent().await?,
        context.agent().await?,
    );
    let mut change = keyed();
    expect_status(&context.send(&one, &to, &change).await?, 202)?;
    change["payload"] = json!("other content");
    expect_status(&context.send(&other, &to, &change).await?, 202)?;
    ensure!(context.inbox(&to, "").await?.len() == 2, "one was lost");
    Ok(())
}

async fn no_idempotency_key(context: Arc<Context>) -> Result<()> {
    let (from, to) = (context.agent().await?, context.agent().await?);
    for _ in 0..2 {
        expect_status(&context.send(&from, &to, &Value::Null).await?, 202)?;
    }
    ensure!(context.inbox(&to, "").await?.len() == 2, "one was lost");
    Ok(())
}

async fn trace(context: Arc<Context>) -> Result<()> {
    let (from, to) = (context.agent().await?, context.agent().await?);
    let mut change = keyed();
    for parent in [
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ] {
        change["headers"] = json!({ "traceparent": parent });
        expect_status(&context.send(&from, &to, &change).await?, 202)?;
    }
    ensure!(context.inbox(&to, "").await?.len() == 1, "delivered twice");
    Ok(())
}

async fn member_order(context: Arc<Context>) -> Result<()> {
    let (from, to) = (context.agent().await?, context.agent().await?);
    let key = Uuid::new_v4();
    for payload in [r#"{"a":1,"b":2}"#, r#"{ "b" : 2, "a" : 1 }"#] {
        let body = format!(
            r#"{{"sender":"{}","recipients":["{}"],"idempotency_key":"{key}","payload":{payload}}}"#,
            from.address, to.address
        );
        expect_status(&context.post(Some(&from.key), body).await?, 202)?;
    }
    ensure!(context.inbox(&to, "").await?.len() == 1, "delivered twice");
    Ok(())
}

async fn status(context: Arc<Context>) -> Result<()> {
    let (from, to) = (context.agent().await?, context.agent().await?);
    let id = id_of(&context.send(&from, &to, &Value::Null).await?)?;
    let answer = context
        .get(Some(&from.key), &format!("/v1/messages/{id}/status"))
        .await?;
    expect_status(&answer, 200)?;
    let view = answer.json();
    ensure!(
        view["message_id"] == id.as_str() && view["status"] == "delivered",
        "{view}"
    );
    let row = &view["recipients"][0];
    ensure!(
        row["address"] == to.address.as_str() && row["acknowledged"] == false,
        "{view}"
    );
    for member in ["created_at", "updated_at"] {
        ensure!(
            view[member]
                .as_str()
                .is_some_and(|time| time.ends_with('Z')),
            "{member}: {view}"
        );
    }
    context
        .delete(Some(&to.key), &format!("/v1/inbox/{}/{id}", to.address))
        .await?;
    let view = context
        .get(Some(&from.key), &format!("/v1/messages/{id}/status"))
        .await?
        .json();
    ensure!(view["recipients"][0]["acknowledged"] == true, "{view}");
    Ok(())
}

async fn visibility(context: Arc<Context>) -> Result<()> {
    let (from, to, third) = (
        context.agent().await?,
        context.agent().await?,
        context.agent().await?,
    );
    let both = json!({ "recipients": [to.address, from.address] });
    let id = id_of(&context.send(&from, &to, &both).await?)?;
    for path in [
        format!("/v1/messages/{id}"),
        format!("/v1/messages/{id}/status"),
    ] {
        expect_error(
            &context.get(Some(&third.key), &path).await?,
            404,
            "NOT_FOUND",
        )?;
    }
    let view = context
        .get(Some(&to.key), &format!("/v1/messages/{id}/status"))
        .await?
        .json();
    let rows = view["recipients"].as_array().cloned().unwrap_or_default();
    ensure!(
        rows.len() == 1 && rows[0]["address"] == to.address.as_str(),
        "{view}"
    );
    Ok(())
}

async fn unknown(context: Arc<Context>) -> Result<()> {
    let agent = context.agent().await?;
    let id = Uuid::new_v4();
    for path in [
        format!("/v1/messages/{id}"),
        format!("/v1/messages/{id}/status"),
    ] {
        expect_error(
            &context.get(Some(&agent.key), &path).await?,
            404,
            "NOT_FOUND",
        )?;
    }
    Ok(())
}

async fn show(context: Arc<Context>) -> Result<()> {
    let (from, to) = (context.agent().await?, context.agent().await?);
    let id = id_of(&context.send(&from, &to, &Value::Null).await?)?;
    let view = context
        .get(Some(&from.key), &format!("/v1/messages/{id}"))
        .await?
        .json();
    ensure!(
        view["message_id"] == id.as_str() && view["payload"] == json!({ "n": 1 }),
        "{view}"
    );
    ensure!(view["status"] == "delivered", "{view}");
    Ok(())
}

async fn list(context: Arc<Context>) -> Result<()> {
    let (from, to) = (context.agent().await?, context.agent().await?);
    let mut sent = Vec::new();
    for _ in 0..3 {
        sent.insert(0, id_of(&context.send(&from, &to, &Value::Null).await?)?);
    }
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/v1/messages?limit=2&cursor={cursor}");
        let page = context.get(Some(&from.key), &path).await?.json();
        for message in page["messages"].as_array().into_iter().flatten() {
            seen.push(
                message["message_id"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
            );
        }
        match page["next_cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    ensure!(seen == sent, "listed {seen:?}, sent {sent:?}");
    Ok(())
}

async fn filters(context: Arc<Context>) -> Result<()> {
    let (from, to) = (context.agent().await?, context.agent().await?);
    expect_status(&context.send(&from, &to, &Value::Null).await?, 202)?;
    expect_status(&context.send(&to, &from, &Value::Null).await?, 202)?;
    for (query, count) in [
        (format!("sender={}", from.address), 1),
        (format!("recipient={}", from.address), 1),
        ("status=delivered".to_owned(), 2),
        ("status=pending".to_owned(), 0),
        ("since=2100-01-01T00:00:00Z".to_owned(), 0),
        ("offset=1".to_owned(), 1),
    ] {
        let page = context
            .get(Some(&from.key), &format!("/v1/messages?{query}"))
            .await?
            .json();
        let found = page["messages"].as_array().map_or(0, Vec::len);
        ensure!(found == count, "{query}: {found} instead of {count}");
    }
    Ok(())
}

async fn bad_list(context: Arc<Context>) -> Result<()> {
    let agent = context.agent().await?;
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=many", "limit"),
        ("offset=-1", "offset"),
        ("cursor=nonsense", "cursor"),
        ("status=odd", "status"),
        ("since=soon", "since"),
        ("sender=nobody", "sender"),
    ] {
        let answer = context
            .get(Some(&agent.key), &format!("/v1/messages?{query}"))
            .await?;
        expect_error(&answer, 400, "INVALID_PARAMETER")?;
        expect_field(&answer, field)?;
    }
    expect_error(
        &context.get(None, "/v1/messages").await?,
        401,
        "AUTHENTICATION_FAILED",
    )
}

async fn cancel(context: Arc<Context>) -> Result<()> {
    let (from, to) = (context.agent().await?, context.agent().await?);
    let id = id_of(&context.send(&from, &to, &Value::Null).await?)?;
    let path = format!("/v1/messages/{id}");
    expect_error(
        &context.delete(Some(&from.key), &path).await?,
        409,
        "CONFLICT",
    )?;
    expect_error(
        &context.delete(Some(&to.key), &path).await?,
        403,
        "ACCESS_DENIED",
    )?;
    let missing = format!("/v1/messages/{}", Uuid::new_v4());
    expect_error(
        &context.delete(Some(&from.key), &missing).await?,
        404,
        "NOT_FOUND",
    )
}
