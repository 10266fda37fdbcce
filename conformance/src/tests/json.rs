//! JSON itself: what is refused, and what comes through unchanged (AMTP 1.0, sections 4.1, 4.2).

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::test;
use crate::context::{Agent, Context, expect_error, expect_status, expect_taken, id_of, message};
use crate::level::Level::{Amtpd, Core};
use crate::runner::Test;

pub(super) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for (id, rule, make) in broken() {
        tests.push(test(Core, "4.1", (id, rule), move |context| async move {
            let agent = context.agent().await?;
            let body = make(&message(&agent, &agent, &Value::Null).to_string());
            expect_error(
                &context.post(Some(&agent.key), body).await?,
                400,
                "INVALID_MESSAGE_FORMAT",
            )
        }));
    }
    tests.push(test(
        Core,
        "4.2",
        ("message.numbers", "Numbers keep their exact text"),
        numbers,
    ));
    tests.push(test(
        Core,
        "4.2",
        ("message.unknown-members", "Unknown members are kept"),
        unknown_members,
    ));
    tests.push(test(
        Core,
        "4.2",
        ("message.null-filled", "null and \"\" mean absent"),
        null_filled,
    ));
    tests.push(test(
        Core,
        "4.2",
        ("message.minted", "Missing id, key, time are minted"),
        minted,
    ));
    tests.push(test(
        Amtpd,
        "4.1",
        ("json.nesting.128", "128 levels are taken"),
        deep,
    ));
    tests
}

type Break = fn(&str) -> Vec<u8>;

fn broken() -> Vec<(&'static str, &'static str, Break)> {
    vec![
        ("json.none", "A body that is not JSON is refused", |_| {
            b"hello".to_vec()
        }),
        ("json.array", "A message is one JSON object", |body| {
            format!("[{body}]").into_bytes()
        }),
        (
            "json.trailing",
            "Nothing stands behind the object",
            |body| format!("{body} x").into_bytes(),
        ),
        ("json.duplicate", "No member stands twice", |body| {
            body.replacen('{', "{\"subject\":\"a\",", 1).into_bytes()
        }),
        (
            "json.duplicate.deep",
            "No member stands twice at any depth",
            |body| {
                body.replace("{\"n\":1}", "{\"n\":1,\"m\":{\"a\":1,\"\\u0061\":2}}")
                    .into_bytes()
            },
        ),
        ("json.utf8", "The body is UTF-8", |body| {
            let mut bytes = body.replace("conformance", "confor@ance").into_bytes();
            if let Some(at) = bytes.windows(7).position(|window| window == b"confor@") {
                bytes[at + 6] = 0xff;
            }
            bytes
        }),
        ("json.nesting.129", "129 levels are refused", |body| {
            body.replace(
                "{\"n\":1}",
                &format!("{}{}", "[".repeat(128), "]".repeat(128)),
            )
            .into_bytes()
        }),
        ("json.bom", "No byte order mark stands in front", |body| {
            format!("\u{feff}{body}").into_bytes()
        }),
    ]
}

async fn first(context: &Context, agent: &Agent) -> Result<String> {
    let answer = context
        .get(Some(&agent.key), &format!("/v1/inbox/{}", agent.address))
        .await?;
    expect_status(&answer, 200)?;
    Ok(answer.text)
}

async fn numbers(context: Arc<Context>) -> Result<()> {
    let agent = context.agent().await?;
    let payload = r#"{"a":9007199254740993,"b":1.10,"c":1e400,"d":-0.0}"#;
    let body = message(&agent, &agent, &Value::Null)
        .to_string()
        .replace("{\"n\":1}", payload);
    expect_taken(&context.post(Some(&agent.key), body).await?)?;
    let text = first(&context, &agent).await?;
    for number in ["9007199254740993", "1.10", "1e400", "-0.0"] {
        ensure!(
            text.contains(number),
            "{number} did not come through: {text}"
        );
    }
    Ok(())
}

async fn unknown_members(context: Arc<Context>) -> Result<()> {
    let agent = context.agent().await?;
    expect_taken(
        &context
            .send(&agent, &agent, &json!({ "x_later": { "a": [1] } }))
            .await?,
    )?;
    let inbox = context.inbox(&agent, "").await?;
    let message = inbox.first().context("nothing arrived")?;
    ensure!(
        message["x_later"] == json!({ "a": [1] }),
        "the member is gone: {message}"
    );
    Ok(())
}

async fn null_filled(context: Arc<Context>) -> Result<()> {
    let agent = context.agent().await?;
    let filled = json!({
        "message_id": "", "idempotency_key": null, "timestamp": "", "schema": null, "headers": null,
        "in_reply_to": "", "workflow_id": null, "response_type": "", "coordination": null,
        "attachments": null, "signature": null, "version": null,
    });
    expect_taken(&context.send(&agent, &agent, &filled).await?)?;
    ensure!(
        context.inbox(&agent, "").await?.len() == 1,
        "nothing arrived"
    );
    Ok(())
}

async fn minted(context: Arc<Context>) -> Result<()> {
    let agent = context.agent().await?;
    let id = id_of(&context.send(&agent, &agent, &Value::Null).await?)?;
    let version = |text: &str| {
        uuid::Uuid::parse_str(text)
            .map(|id| id.get_version_num())
            .unwrap_or(0)
    };
    ensure!(version(&id) == 7, "{id} is no UUIDv7");
    let inbox = context.inbox(&agent, "").await?;
    let message = inbox.first().context("nothing arrived")?;
    let key = message["idempotency_key"].as_str().unwrap_or_default();
    ensure!(version(key) == 4, "{key} is no UUIDv4");
    ensure!(
        message["timestamp"]
            .as_str()
            .is_some_and(|time| time.ends_with('Z')),
        "no time: {message}"
    );
    Ok(())
}

async fn deep(context: Arc<Context>) -> Result<()> {
    let agent = context.agent().await?;
    let nested = format!("{}{}", "[".repeat(127), "]".repeat(127));
    let body = message(&agent, &agent, &Value::Null)
        .to_string()
        .replace("{\"n\":1}", &nested);
    expect_taken(&context.post(Some(&agent.key), body).await?)
}
