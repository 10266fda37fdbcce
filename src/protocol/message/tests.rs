use super::*;
use serde_json::{Value, json};

const LIMITS: Limits = Limits {
    message_size: 100_000,
    recipients: 20,
};

pub(super) fn parse(body: &str, profile: Profile) -> Result<Message, MessageFault> {
    Message::parse(Bytes::copy_from_slice(body.as_bytes()), profile, &LIMITS)
}

/// The smallest submission with these members set or, if `null`, left out.
pub(crate) fn body(members: Value) -> String {
    let mut whole = json!({
        "sender": "a@one.example", "recipients": ["b@two.example"], "payload": {"x": 1}
    });
    for (name, value) in members.as_object().unwrap() {
        whole[name] = value.clone();
    }
    whole.to_string()
}

pub(crate) fn submission(members: Value) -> Result<Message, MessageFault> {
    parse(&body(members), Profile::Submission)
}

pub(super) fn relay(members: Value) -> Result<Message, MessageFault> {
    parse(&body(members), Profile::Relay)
}

/// `CODE field: error; …`
pub(super) fn told(fault: &MessageFault) -> String {
    let violations: Vec<String> = fault
        .violations
        .iter()
        .map(|violation| format!("{}: {}", violation.field, violation.error))
        .collect();
    format!("{} {}", fault.code, violations.join("; "))
}

#[test]
fn every_known_member_is_read() {
    let message = relay(json!({
        "version": "1.0",
        "message_id": "01987654-3210-7654-8765-432198765432",
        "idempotency_key": "01234567-89ab-4cde-8123-456789abcdef",
        "timestamp": "2026-08-14T10:30:00Z",
        "subject": "Rechnung Nr. 7 \u{2014} \"eilig\"",
        "schema": "agntcy:commerce.order.v1",
        "headers": {"priority": "high", "reply-to": "c@one.example", "expires": "2026-08-15T10:30:00Z",
            "traceparent": "00-x", "x-amtp-hops": 3, "x-amtp-auto": "reply", "other": [1]},
        "in_reply_to": "m-1", "workflow_id": "w-1", "response_type": "workflow_response",
        "coordination": {"type": "parallel"},
        "attachments": [{"filename": "a.pdf", "content_type": "application/pdf", "size": 7,
            "hash": "sha256:0aF9", "url": "https://files.one.example/a"}],
        "signature": {"algorithm": "ES256"},
        "message_type": "delivery_failure",
    }))
    .unwrap();
    assert_eq!(
        message.message_id().unwrap().as_str(),
        "01987654-3210-7654-8765-432198765432"
    );
    assert_eq!(
        message.idempotency_key().unwrap().as_str(),
        "01234567-89ab-4cde-8123-456789abcdef"
    );
    assert_eq!(message.timestamp().unwrap().as_millis(), 1_786_703_400_000);
    assert_eq!(message.sender().as_str(), "a@one.example");
    assert_eq!(
        message.recipients(),
        [Address::parse("b@two.example").unwrap()]
    );
    assert_eq!(message.subject(), Some("Rechnung Nr. 7 \u{2014} \"eilig\""));
    assert_eq!(
        message.schema().unwrap().as_str(),
        "agntcy:commerce.order.v1"
    );
    assert_eq!(message.payload(), r#"{"x":1}"#);
    assert_eq!(message.priority(), Priority::High);
    assert_eq!(message.reply_to().unwrap().as_str(), "c@one.example");
    assert_eq!(message.expires().unwrap().as_millis(), 1_786_789_800_000);
    assert_eq!(message.hops(), 3);
    assert_eq!(message.header("other"), Some("[1]"));
    assert_eq!(message.header("missing"), None);
    assert_eq!(message.in_reply_to().unwrap().as_str(), "m-1");
    assert_eq!(message.workflow_id().unwrap().as_str(), "w-1");
    assert_eq!(message.response_type(), Some("workflow_response"));
    assert_eq!(message.coordination(), Some(r#"{"type":"parallel"}"#));
    assert_eq!(message.signature(), Some(r#"{"algorithm":"ES256"}"#));
    assert!(message.is_bounce() && message.is_automatic());
    let attachment = &message.attachments()[0];
    assert_eq!(&*attachment.filename, "a.pdf");
    assert_eq!((attachment.size, attachment.flagged), (7, false));
}

#[test]
fn null_and_the_empty_string_mean_absent() {
    for absent in [Value::Null, json!("")] {
        let mut members = json!({});
        for name in [
            "version",
            "message_id",
            "idempotency_key",
            "timestamp",
            "subject",
            "schema",
            "headers",
            "in_reply_to",
            "workflow_id",
            "response_type",
            "coordination",
            "attachments",
            "signature",
        ] {
            members[name] = absent.clone();
        }
        let message = submission(members).unwrap();
        assert!(message.message_id().is_none() && message.idempotency_key().is_none());
        assert!(message.timestamp().is_none() && message.subject().is_none());
        assert!(message.schema().is_none() && message.header("priority").is_none());
        assert!(message.in_reply_to().is_none() && message.workflow_id().is_none());
        assert!(message.response_type().is_none() && message.coordination().is_none());
        assert!(message.attachments().is_empty() && message.signature().is_none());
        assert_eq!((message.hops(), message.priority()), (0, Priority::Normal));
        assert_eq!(message.members().count(), 16);
    }
    let message = submission(json!({"headers": {"priority": "", "reply-to": null, "expires": ""}}));
    assert_eq!(message.unwrap().priority(), Priority::Normal);
}

/// Members of a submission, and the one fault they cause. `LONG` stands for 999 letters.
pub(crate) const BROKEN: &str = r#"
{"version": 1.0} => version: must be a string
{"sender": null} => sender: is required
{"sender": "a"} => sender: must have the form local@domain
{"sender": "a\u0000@one.example"} => sender: the part before the @ must be
{"recipients": ""} => recipients: is required
{"recipients": "b@two.example"} => recipients: must be an array
{"recipients": []} => recipients: must name at least one
{"message_id": "a b"} => message_id: must be 1 to 128
{"message_id": "a\u0000"} => message_id: must be 1 to 128
{"message_id": 7} => message_id: must be a string
{"idempotency_key": "é"} => idempotency_key: must be 1 to 255
{"timestamp": "yesterday"} => timestamp: is not an RFC 3339
{"timestamp": 0} => timestamp: must be a string
{"subject": "LONG"} => subject: must have no more than 998
{"subject": "a\u0000b"} => subject: must not contain control
{"subject": "a\nb"} => subject: must not contain control
{"schema": "a\nb"} => schema: must be 1 to 255
{"headers": []} => headers: must be an object
{"headers": {"priority": "HIGH"}} => headers.priority: must be low
{"headers": {"priority": 1}} => headers.priority: must be a string
{"headers": {"reply-to": "x"}} => headers.reply-to: must have the form
{"headers": {"expires": "soon"}} => headers.expires: is not an RFC 3339
{"in_reply_to": "<a>"} => in_reply_to: must be 1 to 128
{"workflow_id": "é"} => workflow_id: must be 1 to 128
{"response_type": {}} => response_type: must be a string
{"signature": {}} => signature: must not be set
{"coordination": []} => coordination: must be an object
{"coordination": {"type": "parallel", "timeout": 0}} => coordination.timeout: must be a whole number
"#;

#[test]
fn every_broken_rule_of_a_submission_is_named() {
    for line in BROKEN.trim().lines() {
        let (members, expected) = line.split_once(" => ").unwrap();
        let members = members.replace("LONG", &"x".repeat(999));
        let fault = submission(serde_json::from_str(&members).unwrap()).unwrap_err();
        let told = told(&fault);
        let expected = format!("INVALID_MESSAGE_FORMAT {expected}");
        assert!(told.starts_with(&expected), "{line} gave {told}");
        assert_eq!(fault.violations.len(), 1, "{told}");
    }
}

#[test]
fn all_faults_are_collected() {
    let fault = submission(json!({
        "message_id": "?", "headers": {"expires": "x", "priority": "y"},
        "recipients": ["b@two.example", "bad", "also bad@"], "attachments": [{}, {}],
    }))
    .unwrap_err();
    let fields: Vec<&str> = fault
        .violations
        .iter()
        .map(|each| each.field.as_str())
        .collect();
    assert_eq!(fault.code, ErrorCode::InvalidMessageFormat);
    for expected in [
        "message_id",
        "headers.expires",
        "headers.priority",
        "recipients[1]",
        "recipients[2]",
        "attachments[0].hash",
        "attachments[1].size",
    ] {
        assert!(fields.contains(&expected), "{expected} in {fields:?}");
    }
    let many = vec![json!("bad"); 10_000];
    let fault = submission(json!({ "recipients": many })).unwrap_err();
    assert_eq!(fault.violations.len(), 100);
}

#[test]
fn a_bad_recipient_has_its_own_code() {
    let recipients = json!(["a@x.example", "b@x.example", "c@x.example", "nobody"]);
    let fault = relay(json!({ "recipients": recipients })).unwrap_err();
    assert_eq!(
        told(&fault),
        "INVALID_RECIPIENT recipients[3]: must have the form local@domain"
    );
    for bad in [
        json!(["ä@x.example"]),
        json!([""]),
        json!([null]),
        json!(["a\u{0}@x.example"]),
    ] {
        let fault = relay(json!({ "recipients": bad })).unwrap_err();
        assert_eq!(fault.code, ErrorCode::InvalidRecipient, "{bad}");
        assert_eq!(fault.violations[0].field, "recipients[0]");
    }
}

#[test]
fn duplicate_recipients_collapse_before_they_are_counted() {
    let name = |index: usize| json!(format!("A{index}@TWO.example"));
    let mut recipients: Vec<Value> = (0..20).chain(0..20).map(name).collect();
    recipients.push(json!("a0@two.example"));
    let message = submission(json!({ "recipients": recipients })).unwrap();
    assert_eq!(message.recipients().len(), 20);
    assert_eq!(message.recipients()[19].as_str(), "A19@two.example");
    recipients.push(json!("one.more@two.example"));
    let fault = submission(json!({ "recipients": recipients })).unwrap_err();
    assert_eq!(
        told(&fault),
        "INVALID_MESSAGE_FORMAT recipients: must name no more than 20 addresses"
    );
    let again = vec![json!("a@two.example"); 201];
    assert!(submission(json!({ "recipients": again[..200] })).is_ok());
    assert_eq!(
        submission(json!({ "recipients": again })).unwrap_err(),
        fault
    );
}

#[test]
fn another_version_is_refused_with_the_ones_we_speak() {
    for version in ["2.0", "1", "1.1", " 1.0"] {
        let fault = relay(json!({"version": version, "sender": 1})).unwrap_err();
        assert_eq!(fault.code, ErrorCode::UnsupportedVersion, "{version}");
        assert_eq!(fault.details()["supported"], json!(["1.0"]));
    }
    let fault = relay(json!({"sender": 1})).unwrap_err();
    assert_eq!(
        fault.details(),
        json!({"validation_errors": [{"field": "sender", "error": "must be a string"}]})
    );
}

#[test]
fn only_a_peer_may_leave_the_payload_out() {
    let bare = r#"{"sender":"a@one.example","recipients":["b@two.example"]}"#;
    assert_eq!(parse(bare, Profile::Relay).unwrap().payload(), "null");
    let fault = parse(bare, Profile::Submission).unwrap_err();
    assert_eq!(told(&fault), "INVALID_MESSAGE_FORMAT payload: is required");
    for payload in [Value::Null, json!(""), json!(0), json!([])] {
        let message = submission(json!({ "payload": payload })).unwrap();
        assert_eq!(message.payload(), payload.to_string());
    }
}

#[test]
fn a_peers_weak_spots_are_overlooked_or_flagged() {
    let message = relay(json!({
        "headers": {"priority": "asap", "reply-to": 5, "expires": "never", "x-amtp-hops": "7"},
        "coordination": "whatever", "signature": [],
        "attachments": [{"filename": "a", "content_type": "a/b", "size": 0, "hash": "md5:00",
            "url": "https://x.example"}, {"filename": "a", "content_type": "a/b", "size": 0,
            "hash": "sha256:00", "url": "HTTP://x.example"}],
    }))
    .unwrap();
    assert_eq!(message.priority(), Priority::Normal);
    assert!(message.reply_to().is_none() && message.expires().is_none());
    assert_eq!(message.hops(), 7);
    assert_eq!(message.coordination(), Some("\"whatever\""));
    assert_eq!(message.signature(), Some("[]"));
    assert!(message.attachments().iter().all(|each| each.flagged));
}

#[test]
fn the_coordination_of_a_submission_is_read() {
    let coordination = json!({"type": "parallel", "timeout": 5});
    let message = submission(json!({ "coordination": coordination })).unwrap();
    assert_eq!(message.plan().unwrap().timeout().as_secs(), 5);
    assert_eq!(
        message.coordination(),
        Some(r#"{"timeout":5,"type":"parallel"}"#)
    );
    let message = relay(json!({ "coordination": coordination })).unwrap();
    assert_eq!(message.plan(), None);
    let bad = json!({"coordination": {"type": "parallel"}, "message_id": "?"});
    let fault = submission(bad).unwrap_err();
    let fields: Vec<&str> = fault
        .violations
        .iter()
        .map(|each| each.field.as_str())
        .collect();
    assert_eq!(fields, ["message_id", "coordination.timeout"]);
}

#[test]
fn hops_that_are_no_number_count_as_none() {
    for hops in [
        json!(-1),
        json!("x"),
        json!([]),
        json!(1.5),
        json!(5_000_000_000_u64),
    ] {
        let message = relay(json!({"headers": {"x-amtp-hops": hops}})).unwrap();
        assert_eq!(message.hops(), 0, "{hops}");
    }
}

#[test]
fn the_year_one_is_no_timestamp() {
    for text in ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000Z"] {
        assert_eq!(relay(json!({"timestamp": text})).unwrap().timestamp(), None);
    }
    assert!(
        relay(json!({"timestamp": "2026-01-01T00:00:00+01:00"}))
            .unwrap()
            .timestamp()
            .is_some()
    );
}

#[test]
fn u_0000_is_refused_only_where_it_does_harm() {
    let message = submission(json!({
        "payload": "a\u{0}", "response_type": "\u{0}", "headers": {"x": "\u{0}"}, "extra": "\u{0}"
    }));
    assert_eq!(message.unwrap().payload(), r#""a\u0000""#);
}

#[test]
fn size_and_form_of_the_body_are_checked_first() {
    let small = Limits {
        message_size: 50,
        recipients: 1,
    };
    let fault = Message::parse(Bytes::from(vec![b'x'; 51]), Profile::Relay, &small).unwrap_err();
    assert_eq!(
        told(&fault),
        "MESSAGE_TOO_LARGE : must have no more than 50 bytes"
    );
    let fault = parse(r#"{"payload":{"items":[{"a":1,"a":2}]}}"#, Profile::Relay).unwrap_err();
    assert_eq!(
        told(&fault),
        "INVALID_MESSAGE_FORMAT payload.items[0]: duplicate member \"a\" at byte 28"
    );
    for text in ["", "[]", "null", "{} {}", "{\"sender\":}"] {
        let fault = parse(text, Profile::Submission).unwrap_err();
        assert_eq!(fault.code, ErrorCode::InvalidMessageFormat, "{text}");
    }
    assert_eq!(Profile::Submission.body_limit(10_000), 5_904);
    assert_eq!(Profile::Relay.body_limit(10_000), 14_096);
}

#[test]
fn unknown_members_and_exact_numbers_are_kept() {
    let text = r#" {"sender":"a@one.example","recipients":["b@two.example"],"payload":{"n":[9007199254740993,1.10,1e400]},"x\u0041":1.0} "#;
    let message = parse(text, Profile::Submission).unwrap();
    assert_eq!(message.raw(), text.as_bytes());
    assert_eq!(message.payload(), r#"{"n":[9007199254740993,1.10,1e400]}"#);
    assert_eq!(message.member("xA"), Some("1.0"));
    let names: Vec<_> = message.members().map(|(name, _)| name).collect();
    assert_eq!(names, ["sender", "recipients", "payload", "xA"]);
}
