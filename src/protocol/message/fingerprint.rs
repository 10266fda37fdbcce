//! What makes two requests the same message. AMTP 1.0, section 8.1.1.

use ring::digest::{SHA256, digest};

use super::super::json::{canonical_text, scan_object, write_string};
use super::{Message, is_absent};

/// The members that count, sorted.
const MEMBERS: [&str; 9] = [
    "attachments",
    "coordination",
    "headers",
    "in_reply_to",
    "payload",
    "response_type",
    "schema",
    "subject",
    "workflow_id",
];

/// SHA-256 over the canonical text of the members that count.
pub(super) fn of(message: &Message) -> [u8; 32] {
    let mut text = Vec::with_capacity(message.raw().len());
    text.push(b'{');
    for (name, value) in MEMBERS.into_iter().zip(values(message)) {
        match value {
            Some("null") | None => {}
            Some("\"\"") if name != "payload" => {}
            Some(headers) if name == "headers" => push_headers(headers, &mut text),
            Some(value) => push(name, value, &mut text),
        }
    }
    text.push(b'}');
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(digest(&SHA256, &text).as_ref());
    fingerprint
}

/// The raw values of the members that count, in the order of their names.
fn values(message: &Message) -> [Option<&str>; MEMBERS.len()] {
    let mut values = [None; MEMBERS.len()];
    for (name, value) in message.members() {
        if let Ok(place) = MEMBERS.binary_search(&name.as_ref()) {
            values[place] = Some(value);
        }
    }
    values
}

/// Appends the headers but those that change from hop to hop. Nothing left is as good as no headers.
fn push_headers(value: &str, text: &mut Vec<u8>) {
    let Ok(mut members) = scan_object(value.as_bytes()) else {
        return push("headers", value, text);
    };
    members.retain(|(name, place)| !travels(name) && !is_absent(&value[place.clone()]));
    if members.is_empty() {
        return;
    }
    members.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
    separate(text);
    text.extend_from_slice(b"\"headers\":{");
    for (name, place) in members {
        push(&name, &value[place], text);
    }
    text.push(b'}');
}

/// Whether a header belongs to one hop rather than to the message.
fn travels(name: &str) -> bool {
    matches!(name, "traceparent" | "tracestate") || name.starts_with("x-amtp-")
}

fn push(name: &str, value: &str, text: &mut Vec<u8>) {
    separate(text);
    write_string(name, text);
    text.push(b':');
    let written = canonical_text(value.as_bytes(), text);
    debug_assert!(written.is_ok(), "a member of a parsed message is JSON");
}

fn separate(text: &mut Vec<u8>) {
    if !text.ends_with(b"{") {
        text.push(b',');
    }
}

#[cfg(test)]
mod tests {
    use super::super::Profile;
    use super::super::tests::{parse, relay};
    use serde_json::json;

    #[test]
    fn equal_content_has_an_equal_fingerprint() {
        let base = relay(json!({"schema": "s", "headers": {"a": "1", "b": 2}}))
            .unwrap()
            .fingerprint();
        let same = [
            r#"{"payload":{ "x" : 1 },"headers":{"b":2,"a":"1"},"schema":"s","sender":"z@y.example","recipients":["q@r.example"]}"#,
            r#"{"sender":"a@one.example","recipients":["b@two.example"],"payload":{"\u0078":1},"schema":"\u0073","headers":{"a":"1","b":2,"traceparent":"t","tracestate":"u","x-amtp-hops":4}}"#,
            r#"{"sender":"a@one.example","recipients":["b@two.example"],"payload":{"x":1},"schema":"s","headers":{"a":"1","b":2},"message_id":"m","idempotency_key":"k","timestamp":"2026-01-01T00:00:00Z","subject":"","in_reply_to":null,"workflow_id":"","unknown":1}"#,
        ];
        for text in same {
            assert_eq!(
                parse(text, Profile::Relay).unwrap().fingerprint(),
                base,
                "{text}"
            );
        }
        let other = [
            json!({"schema": "s", "headers": {"a": "1", "b": 3}}),
            json!({"schema": "s", "headers": {"a": "1"}}),
            json!({"schema": "t", "headers": {"a": "1", "b": 2}}),
            json!({"schema": "s", "headers": {"a": "1", "b": 2}, "subject": "x"}),
            json!({"schema": "s", "headers": {"a": "1", "b": 2}, "workflow_id": "x"}),
            json!({"schema": "s", "headers": {"a": "1", "b": 2}, "payload": {"x": 1.0}}),
            json!({"schema": "s", "headers": {"a": "1", "b": 2}, "payload": null}),
        ];
        for members in other {
            assert_ne!(
                relay(members.clone()).unwrap().fingerprint(),
                base,
                "{members}"
            );
        }
    }

    #[test]
    fn the_fingerprint_is_the_digest_of_the_sorted_members() {
        let message = relay(json!({
            "subject": "S", "headers": {"traceparent": "t", "z": 1, "priority": "low"}, "response_type": "r",
        }))
        .unwrap();
        let text = r#"{"headers":{"priority":"low","z":1},"payload":{"x":1},"response_type":"r","subject":"S"}"#;
        let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        assert_eq!(message.fingerprint(), digest.as_ref());
        let bare = r#"{"sender":"a@one.example","recipients":["b@two.example"],"headers":{"traceparent":"t"}}"#;
        let digest = ring::digest::digest(&ring::digest::SHA256, b"{}");
        let message = parse(bare, Profile::Relay).unwrap();
        assert_eq!(message.fingerprint(), digest.as_ref());
    }
}
