//! The schemas that come with the gateway.

use serde_json::{Value, json};

use super::super::{Document, SchemaFault, Schemas, check};
use crate::protocol::message::tests::{BROKEN, body, submission};

fn shipped(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("schemas")
        .join(name)
}

fn faults(schema: &str, payload: &str) -> Vec<SchemaFault> {
    let text = std::fs::read(shipped(schema)).unwrap();
    check(&Document::read(&text).unwrap(), payload).unwrap()
}

#[test]
fn every_folder_can_be_used_as_it_is() {
    for folder in ["", "examples"] {
        assert_eq!(Schemas::check_folder(&shipped(folder)), [], "{folder}");
    }
}

/// Members of a submission that is taken.
const TAKEN: &str = r#"
{}
{"version": "1.0", "message_id": "01987654-3210-7654-8765-432198765432", "idempotency_key": "a key"}
{"timestamp": "2026-08-14T10:30:00Z", "subject": "Rechnung Nr. 7 — \"eilig\"", "schema": "agntcy:commerce.order.v1"}
{"timestamp": "0001-01-01T00:00:00Z"}
{"timestamp": "2026-01-01T00:00:00.123+01:00"}
{"headers": {"priority": "high", "reply-to": "c@one.example", "expires": "2026-08-15T10:30:00Z", "other": [1]}}
{"headers": {"priority": "", "reply-to": null, "expires": ""}}
{"headers": {"x": "\u0000"}, "extra": "\u0000", "response_type": "\u0000"}
{"version": null, "message_id": null, "idempotency_key": "", "timestamp": "", "subject": null, "schema": ""}
{"headers": "", "in_reply_to": "", "workflow_id": null, "response_type": "", "coordination": "", "attachments": null, "signature": ""}
{"in_reply_to": "m-1", "workflow_id": "w:1", "response_type": "workflow_response"}
{"recipients": ["b@two.example", "b@two.example", "c.d+e@münchen.example"], "sender": "a!b@ONE.example"}
{"coordination": {"type": "parallel", "timeout": 5}}
{"payload": null}
{"payload": ""}
{"attachments": [{"filename": "a.pdf", "content_type": "application/pdf", "size": 7, "hash": "sha256:0aF9", "url": "HTTPS://files.one.example/a"}]}
"#;

/// Members of an attachment that is refused.
const ATTACHMENTS: &str = r#"
{"filename": ""}
{"filename": "a\u0000"}
{"filename": 1}
{"content_type": "pdf"}
{"content_type": "a/b\r\nX: y"}
{"size": -1}
{"size": 1.5}
{"size": null}
{"hash": null}
{"hash": "md5:00"}
{"hash": "sha256:xyz"}
{"hash": "sha256:"}
{"url": "http://x.example/"}
{"url": "https:///a"}
{"url": "https://a b"}
"#;

/// Other members of a submission that is refused.
const REFUSED: &str = r#"
{"version": "2.0"}
{"version": "1"}
{"sender": 1}
{"recipients": ["a@x.example", "nobody"]}
{"recipients": ["ä@x.example"]}
{"recipients": [""]}
{"recipients": [null]}
{"recipients": ["a\u0000@x.example"]}
{"attachments": {}}
{"attachments": [1]}
{"coordination": {"type": "parallel"}}
"#;

#[test]
fn the_schema_of_a_message_says_what_the_gateway_does() {
    let members = |line: &str| -> Value {
        let line = line.replace("LONG", &"x".repeat(999));
        serde_json::from_str(&line).unwrap()
    };
    let table = |text: &'static str| text.trim().lines();
    for line in table(TAKEN) {
        assert!(submission(members(line)).is_ok(), "{line}");
        let told = faults("amtp-message-1.0.json", &body(members(line)));
        assert_eq!(told, [], "{line}");
    }
    let broken = table(BROKEN).map(|line| members(line.split_once(" => ").unwrap().0));
    let attached = table(ATTACHMENTS).map(|line| {
        let mut whole = json!({"filename": "a", "content_type": "a/b", "size": 0,
            "hash": "sha512:00", "url": "https://x.example/"});
        for (name, value) in members(line).as_object().unwrap() {
            whole[name] = value.clone();
        }
        json!({ "attachments": [whole] })
    });
    for refused in broken.chain(attached).chain(table(REFUSED).map(members)) {
        assert!(submission(refused.clone()).is_err(), "{refused}");
        let told = faults("amtp-message-1.0.json", &body(refused.clone()));
        assert!(!told.is_empty(), "{refused}");
    }
    let bare = r#"{"sender":"a@one.example","recipients":["b@two.example"]}"#;
    assert_eq!(faults("amtp-message-1.0.json", bare)[0].path, "payload");
}

#[test]
fn the_examples_fit_their_schemas_and_what_is_wrong_is_named() {
    for name in [
        "commerce.order.v1",
        "task.request.v1",
        "monitoring.event.v1",
    ] {
        let payload = shipped(&format!("examples/payloads/{name}.json"));
        let payload = std::fs::read_to_string(payload).unwrap();
        assert_eq!(
            faults(&format!("examples/{name}.json"), &payload),
            [],
            "{name}"
        );
    }
    let table = [
        (
            "commerce.order.v1",
            r#"{"order_id":"1","total":{"amount":"1","currency":"USD"},"items":[{"sku":"a","quantity":1,"price":{"amount":1,"currency":"USD"}}]}"#,
            "items[0].price.amount",
        ),
        (
            "commerce.order.v1",
            r#"{"order_id":"1","total":{"amount":"1","currency":"USD"},"items":[]}"#,
            "items",
        ),
        (
            "task.request.v1",
            r#"{"task_id":"t","skill":"s","deadline":"soon"}"#,
            "deadline",
        ),
        (
            "task.request.v1",
            r#"{"task_id":"t","skill":"s","budget":{"steps":0}}"#,
            "budget.steps",
        ),
        (
            "monitoring.event.v1",
            r#"{"event":"Disk full","occurred_at":"2026-08-14T10:30:00Z","source":"x"}"#,
            "event",
        ),
        (
            "monitoring.event.v1",
            r#"{"event":"disk.full","occurred_at":"2026-08-14T10:30:00Z","source":"x","severity":"error"}"#,
            "subject",
        ),
    ];
    for (name, payload, path) in table {
        let told = faults(&format!("examples/{name}.json"), payload);
        assert!(
            told.len() == 1 && told[0].path == path,
            "{payload}: {told:?}"
        );
    }
}

#[test]
fn the_schema_of_policies_knows_their_keys() {
    let policies = |rule: Value| {
        let file = json!({"version": "1.0", "default_policy": "deny", "rules": [rule]});
        faults("amtp-policy-1.0.json", &file.to_string())
    };
    let whole = json!({
        "name": "partners", "sender_pattern": "*.trusted.com", "recipient_pattern": "*@example.com",
        "schemas": ["agntcy:commerce.*"], "direction": ["inbound"], "require": ["verified"],
        "max_size": "1MiB", "action": "allow", "rate_limit": {"rate": "100/hour", "burst": 10},
        "path": "durable", "priority": "high", "ordering": "strict", "signature_policy": "flag",
        "quota": {"messages": 1000}, "reason": "because",
    });
    assert_eq!(policies(whole), []);
    for (rule, path) in [
        (json!({"action": "drop"}), "rules[0].action"),
        (
            json!({"action": "allow", "recipient": "x"}),
            "rules[0].recipient",
        ),
        (json!({"name": "x"}), "rules[0].action"),
        (
            json!({"action": "allow", "rate_limit": "many"}),
            "rules[0].rate_limit",
        ),
        (
            json!({"action": "allow", "max_size": -1}),
            "rules[0].max_size",
        ),
    ] {
        assert_eq!(policies(rule.clone())[0].path, path, "{rule}");
    }
}
