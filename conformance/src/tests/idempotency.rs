//! One key, one message (AMTP 1.0, section 8.1).

use std::sync::Arc;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use uuid::Uuid;

use super::test;
use crate::context::{Context, expect_error, expect_taken, id_of};
use crate::level::Level::{Amtpd, Reliability};
use crate::runner::Test;

pub(super) fn tests() -> Vec<Test> {
    vec![
        test(
            Reliability,
            "8.1",
            (
                "idempotency.same",
                "The same key and content is one message",
            ),
            same_key,
        ),
        test(
            Reliability,
            "8.1",
            (
                "idempotency.other-id",
                "Another id or time is still a duplicate",
            ),
            other_id,
        ),
        test(
            Reliability,
            "8.1",
            (
                "idempotency.conflict",
                "The same key with other content answers 409",
            ),
            conflict,
        ),
        test(
            Reliability,
            "8.1",
            (
                "idempotency.new-recipient",
                "A new recipient under a known key gets its copy",
            ),
            new_recipient,
        ),
        test(
            Reliability,
            "8.1",
            ("idempotency.senders", "A key belongs to its sender"),
            senders,
        ),
        test(
            Reliability,
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
    ]
}

fn keyed() -> Value {
    json!({ "idempotency_key": Uuid::new_v4().to_string() })
}

async fn same_key(context: Arc<Context>) -> Result<()> {
    let (from, to) = (context.agent().await?, context.agent().await?);
    let change = keyed();
    let first = id_of(&context.send(&from, &to, &change).await?)?;
    let again = context.send(&from, &to, &change).await?;
    expect_taken(&again)?;
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
    expect_taken(&context.send(&from, &to, &change).await?)?;
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
    expect_taken(&context.send(&from, &to, &change).await?)?;
    change["recipients"] = json!([to.address, more.address]);
    expect_taken(&context.send(&from, &to, &change).await?)?;
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
    expect_taken(&context.send(&one, &to, &change).await?)?;
    change["payload"] = json!("other content");
    expect_taken(&context.send(&other, &to, &change).await?)?;
    ensure!(context.inbox(&to, "").await?.len() == 2, "one was lost");
    Ok(())
}

async fn no_idempotency_key(context: Arc<Context>) -> Result<()> {
    let (from, to) = (context.agent().await?, context.agent().await?);
    for _ in 0..2 {
        expect_taken(&context.send(&from, &to, &Value::Null).await?)?;
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
        expect_taken(&context.send(&from, &to, &change).await?)?;
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
        expect_taken(&context.post(Some(&from.key), body).await?)?;
    }
    ensure!(context.inbox(&to, "").await?.len() == 1, "delivered twice");
    Ok(())
}
