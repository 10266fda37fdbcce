use super::*;
use crate::protocol::{Limits, Profile};
use bytes::Bytes;
use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert_eq, proptest};

const MOMENT: Timestamp = Timestamp::from_millis(1_786_703_400_000);

fn id(text: &str) -> MessageId {
    MessageId::parse(text).unwrap()
}

fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey::parse(text).unwrap()
}

fn parse(text: &str) -> Message {
    let raw = Bytes::copy_from_slice(text.as_bytes());
    Message::parse(raw, Profile::Relay, &Limits::default()).unwrap()
}

fn built(message: &Message, replace: &Replace<'_>) -> String {
    String::from_utf8(build(message, replace)).unwrap()
}

const BARE: &str = r#"{"sender":"a@one.example","recipients":["b@two.example"],"payload":1}"#;

#[test]
fn what_is_missing_is_added_and_the_rest_stays_as_received() {
    let message = parse(
        r#" { "payload" : { "n" : [ 9007199254740993 , 1.10,1e400 ] } , "sender":"A@One.example",
        "recipients": [ "b@two.example" ],"subject":"","\u0078":"\u0041/\/" } "#,
    );
    let (id, key) = (id("m1"), key("k 1"));
    assert_eq!(
        built(&message, &Replace::identity(&id, &key, MOMENT)),
        concat!(
            r#"{"version":"1.0","message_id":"m1","idempotency_key":"k 1","timestamp":"2026-08-14T10:30:00.000Z","#,
            r#""payload":{ "n" : [ 9007199254740993 , 1.10,1e400 ] },"sender":"A@One.example","#,
            r#""recipients":[ "b@two.example" ],"subject":"","x":"\u0041/\/"}"#
        )
    );
}

#[test]
fn a_received_identity_is_replaced_and_an_equal_moment_keeps_its_text() {
    let message = parse(
        r#"{"timestamp":"2026-08-14T12:30:00+02:00","idempotency_key":"k0","message_id":null,"version":"","sender":"a@one.example","recipients":["b@two.example"]}"#,
    );
    let (id, key) = (id("m1"), key("k1"));
    assert_eq!(
        built(&message, &Replace::identity(&id, &key, MOMENT)),
        r#"{"version":"1.0","message_id":"m1","idempotency_key":"k1","timestamp":"2026-08-14T12:30:00+02:00","sender":"a@one.example","recipients":["b@two.example"]}"#
    );
    let later = MOMENT.plus(std::time::Duration::from_millis(1));
    let text = built(&message, &Replace::identity(&id, &key, later));
    assert!(
        text.contains(r#""timestamp":"2026-08-14T10:30:00.001Z""#),
        "{text}"
    );
}

#[test]
fn recipients_ids_and_the_signature_are_set_in_place() {
    let message = parse(
        r#"{"sender":"a@one.example","signature":{"old":1},"recipients":["b@two.example"],"workflow_id":"w0","in_reply_to":"r0","z":1}"#,
    );
    let (id, key, other) = (id("m1"), key("k1"), id("w1"));
    let recipients = ["c@two.example", "d@two.example"].map(|text| Address::parse(text).unwrap());
    let replace = Replace {
        recipients: Some(&recipients),
        workflow_id: Edit::Set(&other),
        in_reply_to: Edit::Omit,
        signature: Edit::Set("{\"new\":2}"),
        ..Replace::identity(&id, &key, MOMENT)
    };
    let text = built(&message, &replace);
    let tail = r#""sender":"a@one.example","signature":{"new":2},"recipients":["c@two.example","d@two.example"],"workflow_id":"w1","z":1}"#;
    assert!(text.ends_with(tail), "{text}");
    let omitted = Replace {
        signature: Edit::Omit,
        ..replace
    };
    assert_eq!(parse(&built(&message, &omitted)).signature(), None);
    let text = built(&parse(BARE), &replace);
    let tail = r#""payload":1,"workflow_id":"w1","signature":{"new":2}}"#;
    assert!(text.ends_with(tail), "{text}");
}

#[test]
fn our_headers_are_set_whatever_was_received() {
    let (id, key) = (id("m1"), key("k1"));
    let replace = Replace {
        amtp_headers: &[("x-amtp-hops", "2"), ("x-amtp-auto", "\"reply\"")],
        ..Replace::identity(&id, &key, MOMENT)
    };
    let table = [
        ("", r#"{"x-amtp-hops":2,"x-amtp-auto":"reply"}"#),
        (
            r#","headers":null"#,
            r#"{"x-amtp-hops":2,"x-amtp-auto":"reply"}"#,
        ),
        (
            r#","headers":"""#,
            r#"{"x-amtp-hops":2,"x-amtp-auto":"reply"}"#,
        ),
        (
            r#","headers":{"x-amtp-hops":9,"a":1.0,"x-amtp-topic":"t"}"#,
            r#"{"a":1.0,"x-amtp-topic":"t","x-amtp-hops":2,"x-amtp-auto":"reply"}"#,
        ),
    ];
    for (received, expected) in table {
        let message = parse(&BARE.replace(",\"payload\":1", received));
        let sent = parse(&built(&message, &replace));
        assert_eq!(sent.member("headers"), Some(expected), "{received}");
        assert_eq!(sent.hops(), 2);
    }
}

#[test]
fn nobody_can_forge_an_extra_member() {
    let message = parse(
        r#"{"sender":"a@one.example","sender_verificatio\u006e":{"result":"verified"},"recipients":["b@two.example"],"status":"read"}"#,
    );
    let (id, key) = (id("m1"), key("k1"));
    let replace = Replace {
        extra: &[("status", "\"unread\""), ("sender_verification", "{}")],
        ..Replace::identity(&id, &key, MOMENT)
    };
    let text = built(&message, &replace);
    let tail = r#""recipients":["b@two.example"],"status":"unread","sender_verification":{}}"#;
    assert!(text.ends_with(tail), "{text}");
    assert_eq!(parse(&text).member("sender_verification"), Some("{}"));
}

/// Raw JSON values, among them numbers that no float holds.
fn raw_value() -> impl Strategy<Value = String> {
    proptest::prop_oneof![
        "(0|-?[1-9][0-9]{0,30})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,4})?",
        proptest::sample::select(vec![
            "9007199254740993",
            "1.10",
            "1e400",
            "null",
            "true",
            "[ ]",
            "{ }"
        ])
        .prop_map(str::to_owned),
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        "[1-9][0-9]{0,2}".prop_map(|number| format!("[ {number}.0 ,{{\"a\" :0.{number} }}]")),
    ]
}

fn message_text() -> impl Strategy<Value = String> {
    let known = [
        "payload",
        "subject",
        "schema",
        "in_reply_to",
        "message_id",
        "x-y",
        "ü",
        "status",
    ];
    let member = (
        proptest::sample::subsequence(known.to_vec(), 0..=known.len()),
        raw_value(),
    );
    (member, raw_value(), "[a-z]{1,8}").prop_map(|((names, value), payload, word)| {
        let mut text = String::from(r#"{"sender":"a@one.example","recipients":["b@two.example"]"#);
        for name in names {
            let plain = matches!(name, "subject" | "schema" | "in_reply_to" | "message_id");
            let value = match name {
                "payload" => payload.clone(),
                _ if plain => format!("\"{word}\""),
                _ => value.clone(),
            };
            text += &format!(" , \"{name}\" : {value}");
        }
        text + "}"
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_built_reads_back_with_the_same_members(text in message_text()) {
        let message = parse(&text);
        let id = message.message_id().cloned().unwrap_or_else(|| id("minted"));
        let key = key("k");
        let replace = Replace::identity(&id, &key, MOMENT);
        let once = built(&message, &replace);
        let again = parse(&once);
        prop_assert_eq!(built(&again, &replace), once);
        prop_assert_eq!(again.message_id(), Some(&id));
        prop_assert_eq!(again.timestamp(), Some(MOMENT));
        prop_assert_eq!(again.fingerprint(), message.fingerprint());
        for (name, value) in message.members() {
            let expected = if name == "message_id" { format!("\"{id}\"") } else { value.to_owned() };
            prop_assert_eq!(again.member(&name), Some(expected.as_str()), "{}", name);
        }
    }
}
