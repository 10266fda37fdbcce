use super::*;
use crate::envelope::Scopes;

fn agent(scopes: &[&str]) -> Principal {
    Principal::Agent {
        id: 1,
        address: Address::parse("a@b.test").unwrap(),
        key_id: "0123456789abcdef".to_owned(),
        scopes: Scopes::parse(scopes.iter().copied()).unwrap(),
        tier: None,
    }
}

fn open() -> Dialogue {
    let mut dialogue = Dialogue::new(true);
    dialogue.entered(agent(&["send", "receive"]));
    dialogue
}

fn take(dialogue: &mut Dialogue, text: &str) -> Step {
    dialogue.take(&Bytes::copy_from_slice(text.as_bytes()))
}

/// The `ref`, the code and the field of an error.
fn error(step: Step) -> (Ref, ErrorCode, String) {
    match step {
        Step::Answer(ServerFrame::Error {
            reference,
            code,
            details,
            ..
        }) => {
            let details = details.unwrap_or_default();
            let field = details["validation_errors"][0]["field"].as_str();
            (reference, code, field.unwrap_or_default().to_owned())
        }
        other => panic!("no error: {other:?}"),
    }
}

#[test]
fn nothing_is_taken_before_it_is_known_who_speaks() {
    for text in [
        "",
        "{",
        "[]",
        r#"{"type":"nonsense"}"#,
        r#"{"type":"ping"}"#,
        r#"{"type":"send","message":{}}"#,
        r#"{"type":"auth"}"#,
        r#"{"type":"auth","token":"x","more":1}"#,
    ] {
        let step = take(&mut Dialogue::new(false), text);
        let Step::Close(close) = step else {
            panic!("{text}: {step:?}")
        };
        assert_eq!(close.code, Some(close::UNAUTHENTICATED), "{text}");
    }
    let mut dialogue = Dialogue::new(false);
    assert!(dialogue.is_unknown());
    let hello =
        r#"{"type":"auth","token":"ak_1_2","credit":5,"resume":"r","inbox":"g@b.test","ref":"0"}"#;
    let Step::Enter(auth, reference) = take(&mut dialogue, hello) else {
        panic!("not taken")
    };
    assert_eq!(
        (auth.token.as_str(), auth.credit, auth.resume.as_deref()),
        ("ak_1_2", Some(5), Some("r"))
    );
    assert_eq!(auth.inbox, Address::parse("g@b.test").ok());
    assert_eq!(reference.as_deref(), Some("0"));
    assert!(!dialogue.is_unknown());
    assert!(matches!(
        take(&mut dialogue, r#"{"type":"ping"}"#),
        Step::Close(_)
    ));
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn faulty_frames_are_answered_with_what_is_wrong() {
    use ErrorCode::{AccessDenied, Conflict, InvalidMessageFormat, InvalidParameter};
    let many = |count: usize| {
        format!(
            r#"{{"type":"ack","ids":[{}]}}"#,
            vec!["\"i\""; count].join(",")
        )
    };
    let (none, thousand) = (many(0), many(1_001));
    let long = format!(r#"{{"type":"ping","ref":"{}"}}"#, "x".repeat(129));
    let table: [(&str, Option<&str>, ErrorCode, &str); 24] = [
        ("{", None, InvalidMessageFormat, ""),
        ("nonsense", None, InvalidMessageFormat, ""),
        ("[]", None, InvalidParameter, ""),
        (r#"{"type":7}"#, None, InvalidParameter, "type"),
        (r#"{"ref":"1"}"#, None, InvalidParameter, ""),
        (r#"{"type":"ping","ref":""}"#, None, InvalidParameter, "ref"),
        (r#"{"type":"ping","ref":1}"#, None, InvalidParameter, "ref"),
        (&long, None, InvalidParameter, "ref"),
        (r#"{"type":"ping"} {}"#, None, InvalidMessageFormat, ""),
        (
            r#"{"type":"dance","ref":"1"}"#,
            Some("1"),
            InvalidParameter,
            "type",
        ),
        (
            r#"{"type":"ping","ref":"1","x":1}"#,
            Some("1"),
            InvalidParameter,
            "x",
        ),
        (
            r#"{"type":"send","ref":"1"}"#,
            Some("1"),
            InvalidParameter,
            "",
        ),
        (
            r#"{"type":"send","ref":"1","message":{}"#,
            None,
            InvalidMessageFormat,
            "",
        ),
        (
            r#"{"type":"credit","ref":"1","credit":-1}"#,
            Some("1"),
            InvalidParameter,
            "credit",
        ),
        (
            r#"{"type":"credit","ref":"1","credit":100001}"#,
            Some("1"),
            InvalidParameter,
            "",
        ),
        (
            r#"{"type":"credit","ref":"1","credit":1e99}"#,
            Some("1"),
            InvalidParameter,
            "credit",
        ),
        (&none, None, InvalidParameter, "ids"),
        (&thousand, None, InvalidParameter, "ids"),
        (
            r#"{"type":"ack","ids":["not an id"]}"#,
            None,
            InvalidParameter,
            "ids",
        ),
        (
            r#"{"type":"nack","ids":["6a3e7f0c-77b1-4b6e-9f7d-0d6a3a1d7c11"],"delay":"13h"}"#,
            None,
            InvalidParameter,
            "delay",
        ),
        (
            r#"{"type":"request","message":{},"wait":"61s"}"#,
            None,
            InvalidParameter,
            "wait",
        ),
        (
            r#"{"type":"presence","addresses":[]}"#,
            None,
            InvalidParameter,
            "addresses",
        ),
        (
            r#"{"type":"subscribe","topic":"nobody"}"#,
            None,
            InvalidParameter,
            "topic",
        ),
        (r#"{"type":"auth","token":"x"}"#, None, Conflict, ""),
    ];
    for (text, reference, code, field) in table {
        let found = error(take(&mut open(), text));
        assert_eq!(found.0.as_deref(), reference, "{text}");
        assert_eq!((found.1, found.2.as_str()), (code, field), "{text}");
    }
    let mut listener = Dialogue::new(true);
    listener.entered(agent(&["receive"]));
    for kind in ["send", "request", "broadcast"] {
        let text = format!(r#"{{"type":"{kind}","message":{{}}}}"#);
        assert_eq!(error(take(&mut listener, &text)).1, AccessDenied, "{kind}");
    }
}

#[test]
fn a_credential_in_a_faulty_frame_is_not_said_again() {
    let key = crate::auth::IssuedKey::generate(crate::auth::KeyKind::Agent).secret;
    let text = format!(r#"{{"type":"credit","credit":"{key}"}}"#);
    let step = take(&mut open(), &text);
    assert!(!format!("{step:?}").contains(&key), "{step:?}");
}

#[test]
fn a_message_is_a_part_of_its_frame_and_not_a_copy() {
    let frame = r#"{"type":"send","ref":"7","message": {"a": 1.50} }"#;
    let bytes = Bytes::from_static(frame.as_bytes());
    let Step::Act(Act::Send(raw), reference) = open().take(&bytes) else {
        panic!("not taken")
    };
    assert_eq!(&raw[..], br#"{"a": 1.50}"#);
    assert_eq!(reference.as_deref(), Some("7"));
    assert!(bytes.as_ptr_range().contains(&raw.as_ptr()));
}

#[test]
fn what_may_be_open_at_a_time_is_bounded() {
    let mut dialogue = open();
    let request = r#"{"type":"request","message":{},"wait":"5s"}"#;
    for _ in 0..MOST_REQUESTS {
        assert!(matches!(take(&mut dialogue, request), Step::Act(..)));
    }
    let many = ErrorCode::RateLimitExceeded;
    assert_eq!(error(take(&mut dialogue, request)).1, many);
    dialogue.answered();
    assert!(matches!(take(&mut dialogue, request), Step::Act(..)));
    let subscribe = r#"{"type":"subscribe","topic":"t@b.test"}"#;
    for _ in 0..MOST_SUBSCRIPTIONS {
        assert!(matches!(take(&mut dialogue, subscribe), Step::Act(..)));
    }
    for _ in 0..10_000 {
        assert_eq!(error(take(&mut dialogue, subscribe)).1, many);
    }
    dialogue.unsubscribed();
    assert!(matches!(take(&mut dialogue, subscribe), Step::Act(..)));
}

#[test]
fn too_many_faults_in_a_row_end_the_connection() {
    let mut dialogue = open();
    for _ in 0..3 {
        for _ in 0..MOST_FAULTS {
            assert!(matches!(take(&mut dialogue, "{"), Step::Answer(_)));
        }
        assert!(matches!(
            take(&mut dialogue, r#"{"type":"ping"}"#),
            Step::Answer(ServerFrame::Pong { .. })
        ));
    }
    for _ in 0..MOST_FAULTS {
        assert!(matches!(take(&mut dialogue, "{"), Step::Answer(_)));
    }
    let Step::Close(close) = take(&mut dialogue, "{") else {
        panic!("still open")
    };
    assert_eq!(close.code, Some(close::POLICY));
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in ".{0,200}") {
        drop(take(&mut open(), &text));
        drop(take(&mut Dialogue::new(false), &text));
    }
}
