use super::super::samples::{ID, NOW, copy};
use super::*;
use crate::protocol::Address;
use http::HeaderValue;

const HOUR: Duration = Duration::from_secs(3_600);
const OTHER: &str = "01987654-3210-7654-8765-000000000002";

/// What is expected for a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Is {
    Delivered,
    Repeat,
    Deferred(ErrorCode, Fault),
    Renewed(ErrorCode),
    Failed(ErrorCode),
}

use ErrorCode::{
    AgentUnknown, MailboxFull, MessageTooLarge, PolicyDenied, SignatureInvalid, TemporaryFailure,
};
use Fault::{Destination, Message};
use Is::{Deferred, Delivered, Failed, Renewed, Repeat};

fn copies(names: &[&str]) -> Vec<Copy> {
    let address = |name: &&str| Address::parse(&format!("{name}@b.test")).unwrap();
    (1..)
        .zip(names.iter().map(address))
        .map(|(seq, address)| copy(seq, &address))
        .collect()
}

fn judged(status: u16, body: &str, copies: &[Copy]) -> Judgement {
    judged_with(&HeaderMap::new(), status, body, copies)
}

fn judged_with(headers: &HeaderMap, status: u16, body: &str, copies: &[Copy]) -> Judgement {
    let body = Bytes::from(body.replace("\"ID\"", &format!("\"{ID}\"")));
    let answer = Answer {
        status: StatusCode::from_u16(status).unwrap(),
        headers,
        retry_after: None,
        body: &body,
        remote: None,
    };
    let asked = Asked {
        id: &MessageId::parse(ID).unwrap(),
        copies,
        now: NOW,
    };
    judge(&answer, &asked)
}

fn verdicts(status: u16, body: &str, names: &[&str]) -> Vec<Is> {
    match judged(status, body, &copies(names)) {
        Judgement::Each(verdicts) => verdicts.iter().map(seen).collect(),
        Judgement::Split => panic!("split: {status} {body}"),
    }
}

fn seen(verdict: &Verdict) -> Is {
    match verdict {
        Verdict::Delivered { .. } => Delivered,
        Verdict::Repeat => Repeat,
        Verdict::Deferred(trouble) => Deferred(trouble.code, trouble.fault),
        Verdict::Renewed(trouble) => {
            assert_eq!(trouble.fault, Message);
            Renewed(trouble.code)
        }
        Verdict::Failed(trouble) => Failed(trouble.code),
    }
}

/// A body that lists recipients.
fn listing(id: &str, entries: &str) -> String {
    format!(r#"{{"message_id":"{id}","status":"accepted","recipients":[{entries}]}}"#)
}

/// A body with an AMTP error.
fn error(code: &str) -> String {
    format!(r#"{{"error":{{"code":"{code}","message":"Words of the peer."}}}}"#)
}

/// Status, verdict, body. `error:` stands for a body with an AMTP error of that code, `ours:` and
/// `other:` for a list of recipients under our id and under another.
const TABLE: &str = r#"
202 Delivered
202 Delivered ok
202 Delivered []
202 Delivered {}
202 Delivered {"message_id":"01987654-3210-7654-8765-000000000002"}
202 Delivered {"message_id":"ID","recipients":null}
202 Delivered {"recipients":[{"address":"bob@b.test","status":"queued"}]}
202 Delivered ours:{"address":"bob@b.test","status":"queued"}
202 Delivered ours:{"address":"BOB@B.Test."}
202 Delivered ours:"bob@b.test"
201 Delivered
204 Delivered
200 Delivered {"message_id":"ID"}
200 Delivered ours:{"address":"bob@b.test","status":"queued"}
200 Deferred(TemporaryFailure,Message)
200 Deferred(TemporaryFailure,Message) <html>hello
200 Deferred(TemporaryFailure,Message) {}
200 Deferred(TemporaryFailure,Message) {"message_id":null}
200 Deferred(TemporaryFailure,Message) {"message_id":7}
200 Deferred(TemporaryFailure,Message) [{"message_id":"ID"}]
202 Repeat other:{"address":"bob@b.test","status":"queued"}
202 Repeat ours:
202 Repeat ours:{"address":"eve@b.test","status":"queued"}
202 Repeat {"message_id":"ID","recipients":"bob@b.test"}
202 Repeat ours:{"address":"bob@b.test","status":"failed"}
202 Repeat ours:{"address":"bob@b.test","status":"FAILED","error_code":""}
202 Repeat other:{"address":"bob@b.test","status":"failed","error_code":"AGENT_UNKNOWN"}
202 Failed(AgentUnknown) ours:{"address":"bob@b.test","status":"failed","error_code":"AGENT_UNKNOWN"}
202 Renewed(MailboxFull) ours:{"address":"bob@b.test","status":"failed","error_code":"MAILBOX_FULL"}
202 Renewed(RateLimitExceeded) ours:{"address":"bob@b.test","status":"failed","error_code":"RATE_LIMIT_EXCEEDED"}
202 Renewed(InternalError) ours:{"address":"bob@b.test","status":"failed","error_code":"INTERNAL_ERROR"}
202 Renewed(RecipientUnavailable) ours:{"address":"bob@b.test","status":"failed","error_code":"OUT_OF_TEA"}
202 Renewed(SignatureInvalid) ours:{"address":"bob@b.test","status":"failed","error_code":"SIGNATURE_INVALID"}
301 Deferred(RecipientUnavailable,Destination)
308 Deferred(RecipientUnavailable,Destination) error:POLICY_DENIED
408 Deferred(TemporaryFailure,Destination) error:REQUEST_TIMEOUT
425 Deferred(TemporaryFailure,Destination)
429 Deferred(RateLimitExceeded,Destination)
429 Deferred(RateLimitExceeded,Destination) error:RATE_LIMIT_EXCEEDED
400 Failed(InvalidMessageFormat) error:INVALID_MESSAGE_FORMAT
403 Failed(PolicyDenied) error:POLICY_DENIED
404 Failed(AgentUnknown) error:AGENT_UNKNOWN
409 Failed(RecipientUnavailable) error:NEVER_HEARD_OF
400 Failed(MailboxFull) error:MAILBOX_FULL
400 Failed(SignatureInvalid) error:SIGNATURE_INVALID
403 Renewed(SignatureInvalid) error:SIGNATURE_INVALID
403 Renewed(SignatureKeyUnavailable) error:SIGNATURE_KEY_UNAVAILABLE
403 Renewed(RecipientUnavailable) error:SIGNATURE_TOO_PRETTY
413 Failed(MessageTooLarge)
413 Failed(MessageTooLarge) error:POLICY_DENIED
400 Renewed(TemporaryFailure)
404 Renewed(TemporaryFailure) <html>not found
403 Renewed(TemporaryFailure) {"error":"forbidden"}
404 Renewed(TemporaryFailure) {"error":{"code":404,"message":"x"}}
400 Renewed(TemporaryFailure) {"error":{"code":"","message":"x"}}
400 Renewed(TemporaryFailure) other:{"address":"bob@b.test","status":"queued"}
400 Renewed(TemporaryFailure) ours:{"address":"bob@b.test","status":"failed"}
400 Renewed(AgentUnknown) ours:{"address":"bob@b.test","status":"failed","error_code":"AGENT_UNKNOWN"}
400 Delivered ours:{"address":"bob@b.test","status":"queued"}
500 Deferred(TemporaryFailure,Message)
500 Deferred(InternalError,Message) error:INTERNAL_ERROR
501 Deferred(TemporaryFailure,Message)
502 Deferred(TemporaryFailure,Destination)
503 Deferred(TemporaryFailure,Destination)
503 Deferred(TemporaryFailure,Destination) error:TEMPORARY_FAILURE
503 Deferred(RateLimitExceeded,Destination) error:RATE_LIMIT_EXCEEDED
503 Deferred(TemporaryFailure,Destination) error:OUT_OF_TEA
503 Deferred(MailboxFull,Message) error:MAILBOX_FULL
503 Deferred(SignatureKeyUnavailable,Message) error:SIGNATURE_KEY_UNAVAILABLE
504 Deferred(MailboxFull,Destination) error:MAILBOX_FULL
599 Deferred(TemporaryFailure,Message)
101 Deferred(TemporaryFailure,Message)
999 Deferred(TemporaryFailure,Message) error:POLICY_DENIED
"#;

#[test]
fn one_recipients_answer_is_judged_by_the_table() {
    for line in TABLE.trim().lines() {
        let mut parts = line.splitn(3, ' ');
        let status = parts.next().unwrap().parse().unwrap();
        let expected = parts.next().unwrap();
        let body = parts.next().unwrap_or_default();
        let body = match body.split_once(':') {
            Some(("error", code)) => error(code),
            Some(("ours", entries)) => listing("ID", entries),
            Some(("other", entries)) => listing(OTHER, entries),
            _ => body.to_owned(),
        };
        let verdict = format!("{:?}", verdicts(status, &body, &["bob"])[0]);
        assert_eq!(verdict.replace(", ", ","), expected, "{line}");
    }
}

#[test]
fn each_recipient_has_its_own_verdict() {
    let mixed = concat!(
        r#"{"address":"a@b.test","status":"failed","error_code":"AGENT_UNKNOWN"},"#,
        r#"{"address":"b@b.test","status":"delivered"},"#,
        r#"{"address":"c@b.test","status":"failed","error_code":"MAILBOX_FULL"},"#,
        r#"{"address":"d@b.test","status":"failed"}"#
    );
    let names = ["a", "b", "c", "d", "e"];
    let all = |is: Is| vec![is; 5];
    let details = |code: &str| {
        format!(r#"{{"error":{{"code":"{code}","details":{{"recipients":[{mixed}]}}}}}}"#)
    };
    let table = [
        (
            202,
            listing("ID", mixed),
            vec![
                Failed(AgentUnknown),
                Delivered,
                Renewed(MailboxFull),
                Repeat,
                Repeat,
            ],
        ),
        (202, listing(OTHER, mixed), all(Repeat)),
        (202, String::new(), all(Delivered)),
        (
            400,
            listing("ID", mixed),
            vec![
                Renewed(AgentUnknown),
                Delivered,
                Renewed(MailboxFull),
                Renewed(TemporaryFailure),
                Renewed(TemporaryFailure),
            ],
        ),
        (
            404,
            details("POLICY_DENIED"),
            vec![
                Failed(AgentUnknown),
                Failed(PolicyDenied),
                Renewed(MailboxFull),
                Failed(PolicyDenied),
                Failed(PolicyDenied),
            ],
        ),
        (
            503,
            details("MAILBOX_FULL"),
            vec![
                Failed(AgentUnknown),
                Deferred(MailboxFull, Message),
                Deferred(MailboxFull, Message),
                Deferred(MailboxFull, Message),
                Deferred(MailboxFull, Message),
            ],
        ),
        (413, String::new(), all(Failed(MessageTooLarge))),
        (
            502,
            String::new(),
            all(Deferred(TemporaryFailure, Destination)),
        ),
        (404, String::new(), all(Renewed(TemporaryFailure))),
    ];
    for (status, body, expected) in table {
        assert_eq!(verdicts(status, &body, &names), expected, "{status} {body}");
    }
}

#[test]
fn a_refusal_of_several_that_names_none_is_tried_one_by_one() {
    let two = copies(&["a", "b"]);
    let naming = |name: &str| {
        format!(
            r#"{{"error":{{"code":"POLICY_DENIED","details":{{"recipients":[{{"address":"{name}@b.test","status":"failed","error_code":"POLICY_DENIED"}}]}}}}}}"#
        )
    };
    for body in [
        error("INVALID_MESSAGE_FORMAT"),
        error("SIGNATURE_INVALID"),
        naming("stranger"),
    ] {
        assert_eq!(judged(403, &body, &two), Judgement::Split, "{body}");
        assert_ne!(judged(403, &body, &two[..1]), Judgement::Split, "{body}");
    }
    assert_ne!(judged(403, &naming("b"), &two), Judgement::Split);
    assert_ne!(
        judged(413, &error("MESSAGE_TOO_LARGE"), &two),
        Judgement::Split
    );
    assert_ne!(
        judged(429, &error("RATE_LIMIT_EXCEEDED"), &two),
        Judgement::Split
    );
    assert_ne!(
        judged(500, &error("INTERNAL_ERROR"), &two),
        Judgement::Split
    );
}

#[test]
fn a_refused_signature_has_an_hour_to_become_good() {
    let table = [
        (None, Renewed(SignatureInvalid)),
        (Some(Duration::ZERO), Renewed(SignatureInvalid)),
        (
            Some(HOUR - Duration::from_millis(1)),
            Renewed(SignatureInvalid),
        ),
        (Some(HOUR), Failed(SignatureInvalid)),
        (Some(HOUR * 24), Failed(SignatureInvalid)),
    ];
    let listed = listing(
        "ID",
        r#"{"address":"bob@b.test","status":"failed","error_code":"SIGNATURE_INVALID"}"#,
    );
    for (since_first, expected) in table {
        let mut bob = copies(&["bob"]);
        bob[0].first_attempt = since_first.map(|since| NOW.minus(since));
        for (status, body) in [(403, error("SIGNATURE_INVALID")), (202, listed.clone())] {
            let Judgement::Each(verdicts) = judged(status, &body, &bob) else {
                panic!("split")
            };
            assert_eq!(seen(&verdicts[0]), expected, "{since_first:?} {status}");
        }
    }
}

#[test]
fn a_reply_comes_with_the_first_delivered_copy() {
    let reply = r#"{"sender":"bob@b.test","n":1.10}"#;
    let body = |value: &str| {
        format!(
            r#"{{"message_id":"ID","reply":{value},"recipients":[{{"address":"a@b.test","status":"failed","error_code":"AGENT_UNKNOWN"}},{{"address":"b@b.test"}},{{"address":"c@b.test"}}]}}"#
        )
    };
    let replies = |value: &str| -> Vec<Option<Bytes>> {
        let Judgement::Each(verdicts) = judged(200, &body(value), &copies(&["a", "b", "c"])) else {
            panic!("split")
        };
        let reply = |verdict| match verdict {
            Verdict::Delivered { reply } => reply,
            _ => None,
        };
        verdicts.into_iter().map(reply).collect()
    };
    assert_eq!(replies(reply), [None, Some(Bytes::from(reply)), None]);
    for value in ["null", "\"text\"", "[1]", "7"] {
        assert_eq!(replies(value), [None, None, None], "{value}");
    }
}

fn trouble_of(headers: &HeaderMap, status: u16, body: &str) -> Trouble {
    match judged_with(headers, status, body, &copies(&["bob"])) {
        Judgement::Each(mut verdicts) => match verdicts.remove(0) {
            Verdict::Deferred(trouble) | Verdict::Renewed(trouble) | Verdict::Failed(trouble) => {
                trouble
            }
            other => panic!("{other:?}"),
        },
        Judgement::Split => panic!("split"),
    }
}

#[test]
fn a_trouble_tells_the_operator_what_happened() {
    let mut headers = HeaderMap::new();
    headers.insert(
        header::LOCATION,
        HeaderValue::from_static("https://u:p@new.example/x?key=secret"),
    );
    let redirect = trouble_of(&headers, 302, "");
    assert_eq!(
        redirect.text,
        "the peer redirects to https://new.example/x (302); redirects are never followed: the _amtp record must name the final address"
    );
    let none = HeaderMap::new();
    let table = [
        (
            403,
            error("POLICY_DENIED"),
            "the peer refuses the message (403): POLICY_DENIED: Words of the peer.",
        ),
        (
            409,
            error("OUT_OF_TEA"),
            "the peer refuses the message (409): OUT_OF_TEA: Words of the peer.",
        ),
        (502, "<html>".into(), "the peer is in trouble (502)"),
        (
            429,
            error("RATE_LIMIT_EXCEEDED"),
            "the peer asks to come again (429): RATE_LIMIT_EXCEEDED: Words of the peer.",
        ),
        (
            404,
            "<html>".into(),
            "the peer, or something before it, refuses without an AMTP error (404)",
        ),
        (
            200,
            "<html>".into(),
            "the peer answers 200 without a message_id: is there something else at its address?",
        ),
        (
            202,
            listing(
                "ID",
                r#"{"address":"bob@b.test","status":"failed","error_code":"NO\nTEA"}"#,
            ),
            "the peer refuses this recipient: NO TEA",
        ),
    ];
    for (status, body, text) in table {
        assert_eq!(trouble_of(&none, status, &body).text, text);
    }
    let long = format!(
        r#"{{"error":{{"code":"{}","message":"{}\u0000"}}}}"#,
        "C".repeat(9_000),
        "\u{1f600}".repeat(9_000)
    );
    let text = trouble_of(&none, 400, &long).text;
    assert!(
        text.len() <= 500 && !text.contains(char::is_control),
        "{text}"
    );
}

#[test]
fn the_time_to_wait_is_passed_on_from_every_answer() {
    let mut headers = HeaderMap::new();
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("90"));
    for status in [200, 302, 404, 408, 429, 500, 503] {
        let wait = trouble_of(&headers, status, "").retry_after;
        assert_eq!(wait, Some(Duration::from_secs(90)), "{status}");
    }
}

#[test]
fn a_list_without_end_costs_little() {
    let entries = vec![r#"{"address":"x@y.z"}"#; 50_000].join(",");
    let bodies = [listing("ID", &entries), "[".repeat(1_000_000)];
    for body in bodies {
        let names: Vec<String> = (0..100).map(|n| format!("r{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(verdicts(202, &body, &names).len(), 100);
    }
}
