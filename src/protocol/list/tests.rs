use super::*;
use crate::protocol::{Limits, Profile};

fn parse(text: impl Into<bytes::Bytes>) -> Message {
    Message::parse(text.into(), Profile::Relay, &Limits::default()).unwrap()
}

fn message(more: &str) -> Message {
    parse(format!(
        r#"{{"sender":"a@one.test","recipients":["t@two.test"]{more}}}"#
    ))
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

#[test]
fn what_a_message_to_a_topic_is() {
    for (more, expected) in [
        ("", ToTopic::Publication),
        (r#","message_type":"other""#, ToTopic::Publication),
        (r#","message_type":"topic_subscribe""#, ToTopic::Subscribe),
        (r#","message_type":"topic_confirm""#, ToTopic::Confirm),
        (
            r#","message_type":"topic_unsubscribe""#,
            ToTopic::Unsubscribe,
        ),
        (r#","message_type":"delivery_failure""#, ToTopic::Notice),
        (r#","headers":{"x-amtp-auto":"reply"}"#, ToTopic::Notice),
    ] {
        assert_eq!(ToTopic::of(&message(more)), expected, "{more}");
    }
}

#[test]
fn a_message_passes_a_topic_once_and_twenty_topics_at_most() {
    let topic = address("T@two.test");
    let with = |path: &str| message(&format!(r#","headers":{{"x-amtp-list-path":{path}}}"#));
    for (path, passes) in [
        ("null", true),
        ("7", true),
        (r#""t@two.test""#, true),
        (r#"["s@two.test"]"#, true),
        (r#"["s@two.test","t@two.test"]"#, false),
        (r#"["T@TWO.test"]"#, false),
    ] {
        assert_eq!(may_pass(&with(path), &topic), passes, "{path}");
    }
    let many: Vec<String> = (0..20).map(|n| format!("\"t{n}@x.test\"")).collect();
    assert!(!may_pass(&with(&format!("[{}]", many.join(","))), &topic));
    assert!(may_pass(
        &with(&format!("[{}]", many[1..].join(","))),
        &topic
    ));
}

#[test]
fn the_expected_version_is_a_number_or_never_met() {
    for (value, expected) in [
        ("null", None),
        ("7", Some(7)),
        ("\"7\"", Some(7)),
        ("0", Some(0)),
        ("-1", Some(-1)),
        ("\"x\"", Some(-1)),
        ("[]", Some(-1)),
    ] {
        let text = format!(r#","headers":{{"x-amtp-expected-version":{value}}}"#);
        assert_eq!(expected_version(&message(&text)), expected, "{value}");
    }
}

#[test]
fn a_copy_is_a_message_of_the_topic_with_the_content_as_it_was() {
    let original = message(concat!(
        r#","message_id":"m-1","idempotency_key":"k","subject":"s","schema":"agntcy:a.b.v1","#,
        r#""headers":{"region":"eu","x-amtp-hops":2,"x-amtp-list":"forged@x.test","#,
        r#""x-amtp-expected-version":3,"x-amtp-list-path":["s@x.test"]},"#,
        r#""payload":{"n":1.10},"in_reply_to":"m-0","signature":{"value":"x"},"own":[1]"#
    ));
    let (topic, to) = (address("t@two.test"), address("b@three.test"));
    let path = ["s@x.test".to_owned(), "t@two.test".to_owned()];
    let copied = parse(copy(
        &original,
        &CopyHeading {
            message_id: &MessageId::parse("c-1").unwrap(),
            idempotency_key: &IdempotencyKey::parse("c-k").unwrap(),
            timestamp: Timestamp::from_millis(0),
            sender: &topic,
            recipients: std::slice::from_ref(&to),
            list: &topic,
            seq: 7,
            path: &path,
            original: ("a@one.test", "m-1"),
        },
    ));
    assert_eq!(copied.sender(), &topic);
    assert_eq!(copied.recipients(), [to]);
    assert_eq!(copied.message_id().unwrap().as_str(), "c-1");
    assert_eq!(copied.payload(), r#"{"n":1.10}"#);
    assert_eq!(copied.member("own"), Some("[1]"));
    assert_eq!(copied.in_reply_to(), None);
    assert_eq!(copied.signature(), None);
    assert_eq!(copied.hops(), 3);
    for (name, value) in [
        ("region", r#""eu""#),
        (LIST, r#""t@two.test""#),
        (SEQ, "7"),
        (PATH, r#"["s@x.test","t@two.test"]"#),
        (ORIGINAL_SENDER, r#""a@one.test""#),
        (ORIGINAL_ID, r#""m-1""#),
    ] {
        assert_eq!(copied.header(name), Some(value), "{name}");
    }
    assert_eq!(copied.header(EXPECTED_VERSION), None);
}

#[test]
fn content_becomes_a_message_to_the_topic() {
    let (sender, topic) = (address("a@one.test"), address("t@one.test"));
    let made = |content: &str, version| {
        publication(content.as_bytes(), (&sender, &topic), version).map(parse)
    };
    let message = made(r#"{"payload":1,"headers":{"h":"v"}}"#, Some(4)).unwrap();
    assert_eq!(message.sender(), &sender);
    assert_eq!(message.header("h"), Some(r#""v""#));
    assert_eq!(expected_version(&message), Some(4));
    assert_eq!(expected_version(&made("{}", None).unwrap()), None);
    for (content, field) in [
        (r#"{"sender":"x@y.test"}"#, "sender"),
        (r#"{"recipients":[]}"#, "recipients"),
        (r#"{"headers":7}"#, "headers"),
        ("[]", ""),
        ("", ""),
    ] {
        assert_eq!(
            made(content, Some(1)).unwrap_err().field,
            field,
            "{content}"
        );
    }
}

#[test]
fn who_is_asked_to_confirm_gets_the_token() {
    let (topic, subscriber) = (address("t@one.test"), address("b@two.test"));
    let asked = parse(
        Confirmation {
            message_id: &MessageId::parse("q-1").unwrap(),
            idempotency_key: &IdempotencyKey::parse("q-k").unwrap(),
            timestamp: Timestamp::from_millis(0),
            topic: &topic,
            subscriber: &subscriber,
            token: "secret",
            expires_at: Timestamp::from_millis(1_000),
        }
        .message(),
    );
    assert!(asked.is_automatic());
    assert_eq!(
        asked.payload(),
        r#"{"topic":"t@one.test","subscriber":"b@two.test","token":"secret","expires_at":"1970-01-01T00:00:01.000Z"}"#
    );
}
