//! The message: every field right and wrong (AMTP 1.0, section 4).

use anyhow::ensure;
use serde_json::{Value, json};

use super::test;
use crate::context::{absent, expect_error, expect_field, expect_taken};
use crate::level::Level::{self, Core};
use crate::runner::Test;

pub(super) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for row in refused() {
        tests.push(row.into_test());
    }
    for row in taken() {
        tests.push(row.into_test());
    }
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
                    return expect_taken(&answer);
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

#[allow(clippy::too_many_lines, reason = "one table")]
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
            "message.id.type",
            "An id is text",
            json!({ "message_id": 7 }),
            "message_id",
        ),
        f(
            "message.key.type",
            "A key is text",
            json!({ "idempotency_key": ["k"] }),
            "idempotency_key",
        ),
        f(
            "message.sender.type",
            "sender is text",
            json!({ "sender": { "address": "a@b.example" } }),
            "sender",
        ),
        f(
            "message.timestamp.type",
            "timestamp is text",
            json!({ "timestamp": 1_795_255_200 }),
            "timestamp",
        ),
        f(
            "message.response-type.type",
            "response_type is text",
            json!({ "response_type": 1 }),
            "response_type",
        ),
        f(
            "message.subject.nul",
            "A subject has no NUL",
            json!({ "subject": "a\u{0}b" }),
            "subject",
        ),
        f(
            "attachment.type",
            "attachments is a list",
            json!({ "attachments": { "filename": "a" } }),
            "attachments",
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

#[allow(clippy::too_many_lines, reason = "one table")]
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
            "message.key.255",
            "A key may have 255 characters",
            json!({ "idempotency_key": format!("{}-{}", uuid::Uuid::new_v4(), "k".repeat(218)) }),
        ),
        good(
            "message.schema.255",
            "A schema may have 255 characters",
            json!({ "schema": "s".repeat(255) }),
        ),
        good(
            "message.payload.number",
            "payload may be any JSON value: number",
            json!({ "payload": 1.5 }),
        ),
        good(
            "message.priority.known",
            "The four words of priority are taken, with reply-to and expires",
            json!({ "headers": { "priority": "urgent", "reply-to": "a@b.example",
                "expires": "2100-01-01T00:00:00Z" } }),
        ),
        good(
            "message.workflow-id.128",
            "A workflow_id may be any id",
            json!({ "workflow_id": "w".repeat(128), "in_reply_to": "order:7" }),
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
