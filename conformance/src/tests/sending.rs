//! What goes to the gateway of another domain (AMTP 1.0, sections 4.2, 5.1).

use std::sync::Arc;

use anyhow::{Result, ensure};
use hyper::Version;
use serde_json::{Value, json};
use uuid::Uuid;

use super::test;
use crate::bench::Tls;
use crate::context::{Agent, Context};
use crate::level::Level::{Advanced, Amtpd, Core, Reliability};
use crate::runner::Test;

#[allow(clippy::too_many_lines, reason = "one list")]
pub(super) fn tests() -> Vec<Test> {
    vec![
        test(
            Core,
            "5.1",
            (
                "send.post",
                "A message is posted to /v1/messages as JSON over HTTP/2 and TLS 1.3",
            ),
            post,
        ),
        test(
            Core,
            "5.1",
            (
                "send.headers",
                "The request says what it is: User-Agent AMTP/1.0 and X-AMTP-Version",
            ),
            headers,
        ),
        test(
            Core,
            "4.2",
            (
                "send.members",
                "version, message_id (UUIDv7), idempotency_key (UUIDv4) and timestamp are always sent",
            ),
            members,
        ),
        test(
            Core,
            "4.2",
            (
                "send.content",
                "Payload, subject, schema, headers and unknown members travel unchanged",
            ),
            content,
        ),
        test(
            Core,
            "4.2",
            ("send.numbers", "Numbers travel with their exact text"),
            numbers,
        ),
        test(
            Core,
            "5.1",
            ("send.once", "A message that is taken is sent once"),
            once,
        ),
        test(
            Core,
            "5.1",
            (
                "send.one-domain",
                "Recipients of two domains never stand in one request",
            ),
            two_domains,
        ),
        test(
            Core,
            "5.1",
            (
                "send.all-recipients",
                "Every recipient of a domain gets the message",
            ),
            all_recipients,
        ),
        test(
            Reliability,
            "8",
            (
                "send.order",
                "Messages of a sender to a recipient arrive in the order of acceptance",
            ),
            order,
        ),
        test(
            Core,
            "5.1",
            ("send.tls12", "A peer that speaks TLS 1.2 only gets nothing"),
            |context| refused(context, Tls::OnlyOld),
        ),
        test(
            Core,
            "5.1",
            (
                "send.other-name",
                "A peer with a certificate for another name gets nothing",
            ),
            |context| refused(context, Tls::OtherName),
        ),
        test(
            Core,
            "5.1",
            (
                "send.expired",
                "A peer with an expired certificate gets nothing",
            ),
            |context| refused(context, Tls::Expired),
        ),
        test(
            Core,
            "5.1",
            (
                "send.unknown-authority",
                "A peer with a certificate of an unknown authority gets nothing",
            ),
            |context| refused(context, Tls::Unknown),
        ),
        test(
            Core,
            "5.1",
            (
                "send.http1",
                "A peer that has no HTTP/2 is reached by HTTP/1.1",
            ),
            http1,
        ),
        test(
            Amtpd,
            "3.1",
            (
                "send.domain-case",
                "The domain of a recipient is sent in lower case",
            ),
            domain_case,
        ),
        test(
            Amtpd,
            "4.2",
            (
                "send.wire-id",
                "An id that is no UUIDv7 and a key that is no UUIDv4 travel as ones that are",
            ),
            wire_id,
        ),
        test(
            Amtpd,
            "5.1",
            (
                "send.batch",
                "A peer that offers batches gets each message once and in order",
            ),
            batch,
        ),
        test(
            Advanced,
            "9.2",
            (
                "send.encrypted",
                "An encrypted payload (JWE) travels as it is",
            ),
            encrypted,
        ),
        test(
            Amtpd,
            "5.1",
            (
                "send.together",
                "Recipients of one domain that takes it stand in one request",
            ),
            together,
        ),
        test(
            Amtpd,
            "5.1",
            (
                "send.trace",
                "The trace that a message names goes along as traceparent",
            ),
            trace,
        ),
        test(
            Amtpd,
            "6",
            (
                "send.hops",
                "A submission does not claim to have passed gateways before",
            ),
            hops,
        ),
    ]
}

async fn one(context: &Context, change: &Value) -> Result<(Agent, crate::bench::Seen)> {
    let peer = context.peer()?;
    let agent = context.agent().await?;
    context
        .submit(&agent, &[&peer.address("bob")], change)
        .await?;
    let seen = peer.request().await?;
    Ok((agent, seen))
}

async fn post(context: Arc<Context>) -> Result<()> {
    let (_, seen) = one(&context, &Value::Null).await?;
    let arrived = &seen.arrived;
    ensure!(arrived.method == "POST", "{}", arrived.method);
    ensure!(arrived.path == "/v1/messages", "{}", arrived.path);
    ensure!(arrived.tls13, "not over TLS 1.3");
    ensure!(arrived.version == Version::HTTP_2, "{:?}", arrived.version);
    let kind = seen.header("content-type");
    ensure!(kind.starts_with("application/json"), "{kind}");
    Ok(())
}

async fn headers(context: Arc<Context>) -> Result<()> {
    let (_, seen) = one(&context, &Value::Null).await?;
    let agent = seen.header("user-agent");
    ensure!(agent.starts_with("AMTP/1.0"), "User-Agent: {agent:?}");
    let version = seen.header("x-amtp-version");
    ensure!(version == "1.0", "X-AMTP-Version: {version:?}");
    Ok(())
}

/// The version of a UUID; 0 where it is none.
fn uuid_version(value: &Value) -> usize {
    let text = value.as_str().unwrap_or_default();
    Uuid::parse_str(text).map_or(0, |id| id.get_version_num())
}

async fn members(context: Arc<Context>) -> Result<()> {
    let (agent, seen) = one(&context, &Value::Null).await?;
    let sent = seen.json();
    ensure!(sent["version"] == "1.0", "{sent}");
    ensure!(uuid_version(&sent["message_id"]) == 7, "{sent}");
    ensure!(uuid_version(&sent["idempotency_key"]) == 4, "{sent}");
    let time = sent["timestamp"].as_str().unwrap_or_default();
    ensure!(time.parse::<jiff::Timestamp>().is_ok(), "{sent}");
    ensure!(sent["sender"] == agent.address.as_str(), "{sent}");
    Ok(())
}

async fn content(context: Arc<Context>) -> Result<()> {
    let change = json!({
        "payload": { "a": [1, null, "é\u{1f980}"], "b": { "c": true } }, "subject": "Grüße",
        "schema": "agntcy:commerce.order.v1", "headers": { "x-mine": { "k": "v" }, "priority": "high" },
        "x_later": [1, 2], "response_type": "answer",
        "attachments": [{ "filename": "a.pdf", "content_type": "application/pdf", "size": 3,
            "hash": format!("sha256:{}", "a".repeat(64)), "url": "https://files.example/a.pdf" }],
    });
    let (_, seen) = one(&context, &change).await?;
    let sent = seen.json();
    for (name, value) in change.as_object().into_iter().flatten() {
        if name == "headers" {
            ensure!(sent["headers"]["x-mine"] == value["x-mine"], "{sent}");
            ensure!(sent["headers"]["priority"] == "high", "{sent}");
            continue;
        }
        ensure!(sent[name] == *value, "{name} is {} now", sent[name]);
    }
    Ok(())
}

async fn numbers(context: Arc<Context>) -> Result<()> {
    let peer = context.peer()?;
    let agent = context.agent().await?;
    let payload = r#"{"a":9007199254740993,"b":1.10,"c":1e400}"#;
    let body = format!(
        r#"{{"sender":"{}","recipients":["{}"],"payload":{payload}}}"#,
        agent.address,
        peer.address("bob")
    );
    let answer = context.post(Some(&agent.key), body).await?;
    crate::context::expect_taken(&answer)?;
    let seen = peer.request().await?;
    let text = String::from_utf8_lossy(&seen.arrived.body).into_owned();
    for number in ["9007199254740993", "1.10", "1e400"] {
        ensure!(text.contains(number), "{number} did not arrive: {text}");
    }
    Ok(())
}

async fn once(context: Arc<Context>) -> Result<()> {
    let peer = context.peer()?;
    let agent = context.agent().await?;
    let to = peer.address("bob");
    let id = context.submit(&agent, &[&to], &Value::Null).await?;
    context.reaches(&agent, &id, "delivered").await?;
    // Another one has been sent after it: the first does not come again.
    let other = context.submit(&agent, &[&to], &Value::Null).await?;
    context.reaches(&agent, &other, "delivered").await?;
    let count = peer.messages(2).await?.len();
    ensure!(count == 2, "{count} messages came instead of 2");
    Ok(())
}

/// The recipients of each message a peer got.
fn recipients(messages: &[Value]) -> Vec<String> {
    let all = messages.iter().filter_map(|it| it["recipients"].as_array());
    let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
    let mut found: Vec<String> = all.flatten().map(text).collect();
    found.sort();
    found
}

async fn two_domains(context: Arc<Context>) -> Result<()> {
    let (one, two) = (context.peer()?, context.peer()?);
    let agent = context.agent().await?;
    let (to_one, to_two) = (one.address("bob"), two.address("eve"));
    context
        .submit(&agent, &[&to_one, &to_two], &Value::Null)
        .await?;
    for (peer, to) in [(&one, &to_one), (&two, &to_two)] {
        let got = recipients(&peer.messages(1).await?);
        ensure!(got == [to.clone()], "{} got {got:?}", peer.domain);
    }
    Ok(())
}

async fn all_recipients(context: Arc<Context>) -> Result<()> {
    let peer = context.peer()?;
    let agent = context.agent().await?;
    let to = ["ann", "bob", "eve"].map(|name| peer.address(name));
    let all: Vec<&str> = to.iter().map(String::as_str).collect();
    let id = context.submit(&agent, &all, &Value::Null).await?;
    context.reaches(&agent, &id, "delivered").await?;
    let got = recipients(&peer.messages(1).await?);
    ensure!(got == to, "{got:?}");
    Ok(())
}

async fn order(context: Arc<Context>) -> Result<()> {
    let peer = context.peer()?;
    // The first one fails at first; the others may not pass it.
    peer.script([crate::bench::Behaviour::bare(503)]);
    let agent = context.agent().await?;
    let to = peer.address("bob");
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(
            context
                .submit(&agent, &[&to], &json!({ "payload": n }))
                .await?,
        );
    }
    for id in &ids {
        context.reaches(&agent, id, "delivered").await?;
    }
    let got = peer.messages(6).await?;
    let numbers: Vec<Value> = got[1..].iter().map(|it| it["payload"].clone()).collect();
    ensure!(got[0]["payload"] == 0, "first came {}", got[0]["payload"]);
    ensure!(numbers == [0, 1, 2, 3, 4].map(Value::from), "{numbers:?}");
    Ok(())
}

async fn refused(context: Arc<Context>, tls: Tls) -> Result<()> {
    let peer = context.peer()?;
    peer.show(tls);
    let agent = context.agent().await?;
    let id = context
        .submit(&agent, &[&peer.address("bob")], &Value::Null)
        .await?;
    let tried = |view: &Value| view["recipients"][0]["attempts"].as_u64() > Some(0);
    let view = context.status_when((&agent, &id), tried).await?;
    ensure!(view["status"] != "delivered", "{view}");
    ensure!(peer.seen().is_empty(), "the message was sent");
    peer.show(Tls::Good);
    context.reaches(&agent, &id, "delivered").await?;
    Ok(())
}

async fn http1(context: Arc<Context>) -> Result<()> {
    let peer = context.peer()?;
    peer.show(Tls::Http1);
    let agent = context.agent().await?;
    let id = context
        .submit(&agent, &[&peer.address("bob")], &Value::Null)
        .await?;
    context.reaches(&agent, &id, "delivered").await?;
    Ok(())
}

async fn domain_case(context: Arc<Context>) -> Result<()> {
    let peer = context.peer()?;
    let agent = context.agent().await?;
    let shouted = format!("Bob@{}", peer.domain.to_uppercase());
    context.submit(&agent, &[&shouted], &Value::Null).await?;
    let sent = peer.request().await?.json();
    let wanted = peer.address("Bob");
    ensure!(sent["recipients"] == json!([wanted]), "{sent}");
    Ok(())
}

async fn wire_id(context: Arc<Context>) -> Result<()> {
    let change =
        json!({ "message_id": format!("order-{}", Uuid::new_v4()), "idempotency_key": "key 7" });
    let (_, seen) = one(&context, &change).await?;
    let sent = seen.json();
    ensure!(uuid_version(&sent["message_id"]) == 7, "{sent}");
    ensure!(uuid_version(&sent["idempotency_key"]) == 4, "{sent}");
    Ok(())
}

async fn batch(context: Arc<Context>) -> Result<()> {
    let peer = context.peer_with("batch,multi-recipient")?;
    let agent = context.agent().await?;
    let to = peer.address("bob");
    let mut ids = Vec::new();
    for n in 0..30 {
        ids.push(
            context
                .submit(&agent, &[&to], &json!({ "payload": n }))
                .await?,
        );
    }
    for id in &ids {
        context.reaches(&agent, id, "delivered").await?;
    }
    let got = peer.messages(30).await?;
    let numbers: Vec<Value> = got.iter().map(|it| it["payload"].clone()).collect();
    let wanted: Vec<Value> = (0..30).map(Value::from).collect();
    ensure!(numbers == wanted, "{numbers:?}");
    Ok(())
}

async fn encrypted(context: Arc<Context>) -> Result<()> {
    let part = "eyJhbGciOiJFQ0RILUVTIiwiZW5jIjoiQTI1NkdDTSJ9";
    let payload = json!({ "protected": part, "recipients": [{ "encrypted_key": "AAAA" }],
        "iv": "AAAAAAAAAAAAAAAA", "ciphertext": "c2VjcmV0", "tag": "AAAAAAAAAAAAAAAAAAAAAA" });
    let change = json!({ "payload": payload });
    let (_, seen) = one(&context, &change).await?;
    ensure!(seen.json()["payload"] == payload, "{}", seen.json());
    Ok(())
}

async fn together(context: Arc<Context>) -> Result<()> {
    let peer = context.peer_with("multi-recipient")?;
    let agent = context.agent().await?;
    let to = ["ann", "bob", "eve"].map(|name| peer.address(name));
    let all: Vec<&str> = to.iter().map(String::as_str).collect();
    let id = context.submit(&agent, &all, &Value::Null).await?;
    context.reaches(&agent, &id, "delivered").await?;
    let count = peer.seen().len();
    ensure!(count == 1, "{count} requests");
    Ok(())
}

async fn trace(context: Arc<Context>) -> Result<()> {
    let named = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let change = json!({ "headers": { "traceparent": named } });
    let (_, seen) = one(&context, &change).await?;
    let parent = seen.header("traceparent");
    // Another span of the same trace is as good.
    ensure!(parent.starts_with(&named[..35]), "traceparent: {parent:?}");
    Ok(())
}

async fn hops(context: Arc<Context>) -> Result<()> {
    let (_, seen) = one(&context, &Value::Null).await?;
    let hops = seen.json()["headers"]["x-amtp-hops"].clone();
    ensure!(hops.is_null() || hops == 0 || hops == "0", "{hops}");
    Ok(())
}
