//! The message: every field right and wrong (AMTP 1.0, section 4).

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::test;
use crate::Level::{self, Amtpd, Core};
use crate::context::{
    Agent, Context, absent, expect_error, expect_field, expect_status, id_of, message,
};
use crate::runner::Test;

pub(super) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for row in refused() {
        tests.push(row.into_test());
    }
    for row in taken() {
        tests.push(row.into_test());
    }
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

/// A change of a good message, and what must become of it.
struct Row {
    level: Level,
    id: &'static str,
    rule: &'static str,
    change: Value,
    /// Status, code and field; nothing = 202.
    refusal: Option<(u16, &'static str, &'static str)>,
}

impl Row {
    fn into_test(self) -> Test {
        let Self {
            level,
            id,
            rule,
            change,
            refusal,
        } = self;
        test(level, "4.2", (id, rule), move |context| {
            let change = change.clone();
            async move {
                let agent = context.agent().await?;
                let answer = context.send(&agent, &agent, &change).await?;
                let Some((status, code, field)) = refusal else {
                    return expect_status(&answer, 202);
                };
                expect_error(&answer, status, code)?;
                if !field.is_empty() {
                    expect_field(&answer, field)?;
                }
                ensure!(
                    context.inbox(&agent, "").await?.is_empty(),
                    "something was delivered all the same"
                );
                Ok(())
            }
        })
    }
}

fn format_fault(id: &'static str, rule: &'static str, change: Value, field: &'static str) -> Row {
    Row {
        level: Core,
        id,
        rule,
        change,
        refusal: Some((400, "INVALID_MESSAGE_FORMAT", field)),
    }
}

fn good(id: &'static str, rule: &'static str, change: Value) -> Row {
    Row {
        level: Core,
        id,
        rule,
        change,
        refusal: None,
    }
}

fn attachment(change: Value) -> Value {
    let mut attachment = json!({
        "filename": "a.pdf", "content_type": "application/pdf", "size": 3,
        "hash": format!("sha256:{}", "a".repeat(64)), "url": "https://files.example/a.pdf",
    });
    for (name, value) in change.as_object().into_iter().flatten() {
        attachment[name] = value.clone();
    }
    json!({ "attachments": [attachment] })
}

fn refused() -> Vec<Row> {
    let f = format_fault;
    let mut rows = vec![
        Row {
            level: Core,
            id: "message.version.other",
            rule: "A version other than 1.0 is refused",
            change: json!({ "version": "2.0" }),
            refusal: Some((400, "UNSUPPORTED_VERSION", "")),
        },
        Row {
            level: Core,
            id: "message.expired",
            rule: "A message that has expired is refused",
            change: json!({ "headers": { "expires": "2001-01-01T00:00:00Z" } }),
            refusal: Some((400, "MESSAGE_EXPIRED", "")),
        },
        f(
            "message.sender.missing",
            "sender is required",
            json!({ "sender": absent() }),
            "sender",
        ),
        f(
            "message.sender.malformed",
            "sender is one address",
            json!({ "sender": "nobody" }),
            "sender",
        ),
        f(
            "message.recipients.missing",
            "recipients is required",
            json!({ "recipients": absent() }),
            "recipients",
        ),
        f(
            "message.recipients.empty",
            "There is at least one recipient",
            json!({ "recipients": [] }),
            "recipients",
        ),
        f(
            "message.recipients.type",
            "recipients is a list",
            json!({ "recipients": "a@b.example" }),
            "recipients",
        ),
        f(
            "message.payload.missing",
            "A client gives a payload",
            json!({ "payload": absent() }),
            "payload",
        ),
        f(
            "message.id.blank",
            "An id has no blanks",
            json!({ "message_id": "a b" }),
            "message_id",
        ),
        f(
            "message.id.long",
            "An id has at most 128 characters",
            json!({ "message_id": "x".repeat(129) }),
            "message_id",
        ),
        f(
            "message.key.long",
            "A key has at most 255 characters",
            json!({ "idempotency_key": "k".repeat(256) }),
            "idempotency_key",
        ),
        f(
            "message.key.control",
            "A key is printable ASCII",
            json!({ "idempotency_key": "a\u{7}" }),
            "idempotency_key",
        ),
        f(
            "message.timestamp.malformed",
            "timestamp is RFC 3339",
            json!({ "timestamp": "yesterday" }),
            "timestamp",
        ),
        f(
            "message.subject.long",
            "A subject has at most 998 bytes",
            json!({ "subject": "s".repeat(999) }),
            "subject",
        ),
        f(
            "message.subject.control",
            "A subject has no control characters",
            json!({ "subject": "a\r\nb" }),
            "subject",
        ),
        f(
            "message.subject.type",
            "A subject is text",
            json!({ "subject": 5 }),
            "subject",
        ),
        f(
            "message.schema.long",
            "A schema has at most 255 characters",
            json!({ "schema": "s".repeat(256) }),
            "schema",
        ),
        f(
            "message.headers.type",
            "headers is an object",
            json!({ "headers": [] }),
            "headers",
        ),
        f(
            "message.priority",
            "priority is one of four words",
            json!({ "headers": { "priority": "asap" } }),
            "headers.priority",
        ),
        f(
            "message.expires.malformed",
            "expires is RFC 3339",
            json!({ "headers": { "expires": "soon" } }),
            "headers.expires",
        ),
        f(
            "message.in-reply-to",
            "in_reply_to is an id",
            json!({ "in_reply_to": "a b" }),
            "in_reply_to",
        ),
        f(
            "message.workflow-id",
            "workflow_id is an id",
            json!({ "workflow_id": "?" }),
            "workflow_id",
        ),
        f(
            "message.signature",
            "A client does not sign",
            json!({ "signature": { "algorithm": "ES256" } }),
            "signature",
        ),
        f(
            "message.coordination",
            "coordination is checked",
            json!({ "coordination": { "type": "x", "timeout": 5 } }),
            "coordination.type",
        ),
        f(
            "attachment.size",
            "size is not negative",
            attachment(json!({ "size": -1 })),
            "attachments[0].size",
        ),
        f(
            "attachment.hash",
            "hash names its algorithm",
            attachment(json!({ "hash": "abc" })),
            "attachments[0].hash",
        ),
        f(
            "attachment.url",
            "A client's url is https",
            attachment(json!({ "url": "http://a.example/" })),
            "attachments[0].url",
        ),
        f(
            "attachment.filename",
            "filename has no NUL",
            attachment(json!({ "filename": "a\u{0}" })),
            "attachments[0].filename",
        ),
    ];
    for (id, address) in [
        ("address.display-name", "Bob <bob@a.example>"),
        ("address.quoted", "\"a b\"@a.example"),
        ("address.two-ats", "a@b@c.example"),
        (
            "address.local-65",
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx@a.example",
        ),
        ("address.no-domain", "bob@"),
        ("address.utf8-local", "b\u{f6}b@a.example"),
    ] {
        rows.push(Row {
            level: Core,
            id,
            rule: "An address is a bare addr-spec",
            change: json!({ "recipients": [address] }),
            refusal: Some((400, "INVALID_RECIPIENT", "recipients[0]")),
        });
    }
    rows
}

fn taken() -> Vec<Row> {
    vec![
        good(
            "message.plain",
            "A message with the required fields is taken",
            json!({}),
        ),
        good(
            "message.version.absent",
            "version may be left out",
            json!({ "version": absent() }),
        ),
        good(
            "message.payload.null",
            "payload may be any JSON value: null",
            json!({ "payload": null }),
        ),
        good(
            "message.payload.text",
            "payload may be any JSON value: text",
            json!({ "payload": "hello" }),
        ),
        good(
            "message.payload.list",
            "payload may be any JSON value: list",
            json!({ "payload": [1, "a", null] }),
        ),
        good(
            "message.id.128",
            "An id may have 128 characters",
            json!({ "message_id": format!("{}-{}", uuid::Uuid::new_v4(), "x".repeat(91)) }),
        ),
        good(
            "message.subject.998",
            "A subject may have 998 bytes",
            json!({ "subject": "s".repeat(998) }),
        ),
        good(
            "message.schema.other",
            "A schema may be another identifier",
            json!({ "schema": "urn:x:y" }),
        ),
        good(
            "message.headers.unknown",
            "Unknown headers are taken",
            json!({ "headers": { "x-mine": { "a": 1 } } }),
        ),
        good(
            "message.timestamp.year-1",
            "The year 1 means no timestamp",
            json!({ "timestamp": "0001-01-01T00:00:00Z" }),
        ),
        good(
            "attachment.plain",
            "An attachment by reference is taken",
            attachment(json!({})),
        ),
    ]
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
    expect_status(&context.post(Some(&agent.key), body).await?, 202)?;
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
    expect_status(
        &context
            .send(&agent, &agent, &json!({ "x_later": { "a": [1] } }))
            .await?,
        202,
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
    expect_status(&context.send(&agent, &agent, &filled).await?, 202)?;
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
    expect_status(&context.post(Some(&agent.key), body).await?, 202)
}
