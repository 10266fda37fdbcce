//! What an answer of a webhook means, or that there was none. Pure.
//!
//! | answer | outcome |
//! | --- | --- |
//! | 2xx | delivered |
//! | 429, 502, 503, 504, none | deferred, and so is everything for this agent |
//! | 408, 425, other 5xx, too long | deferred |
//! | all others, also 3xx and 410 | deferred twice, then failed |

use hyper::StatusCode;

use super::reply::response;
use crate::net::{Answer, NetFault};
use crate::protocol::{ErrorCode, Timestamp};
use crate::transport::after::retry_after;
use crate::transport::{Attempted, Fault, Outcome, Trouble};

/// A refusal is final at this attempt.
const REFUSALS: u32 = 3;

/// What came of a request that ended at `now`; `attempts` were made before it.
pub(super) fn judge(answer: Result<Answer, NetFault>, attempts: u32, now: Timestamp) -> Attempted {
    match answer {
        Ok(answer) => Attempted {
            remote: answer.remote.map(|remote| remote.to_string()),
            outcome: answered(&answer, attempts, now),
            renew: false,
        },
        Err(fault) => without_answer(Outcome::Deferred(unanswered(&fault))),
    }
}

/// An outcome that no answer stands behind.
pub(super) fn without_answer(outcome: Outcome) -> Attempted {
    Attempted {
        outcome,
        remote: None,
        renew: false,
    }
}

fn answered(answer: &Answer, attempts: u32, now: Timestamp) -> Outcome {
    let status = answer.status;
    if status.is_success() {
        return Outcome::Delivered {
            reply: response(&answer.body),
        };
    }
    let (code, fault) = match status.as_u16() {
        429 | 502..=504 => (ErrorCode::TemporaryFailure, Fault::Destination),
        408 | 425 | 500.. => (ErrorCode::TemporaryFailure, Fault::Message),
        _ => (ErrorCode::RecipientUnavailable, Fault::Message),
    };
    let trouble = Trouble {
        code,
        text: said(status),
        fault,
        retry_after: retry_after(&answer.headers, now),
    };
    let is_refused = code == ErrorCode::RecipientUnavailable;
    if is_refused && attempts.saturating_add(1) >= REFUSALS {
        Outcome::Failed(trouble)
    } else {
        Outcome::Deferred(trouble)
    }
}

fn said(status: StatusCode) -> String {
    let more = if status.is_redirection() {
        "; redirects are not followed"
    } else {
        ""
    };
    let words = status.canonical_reason().unwrap_or_default();
    let answer = format!("the webhook answered {} {words}", status.as_u16());
    format!("{}{more}", answer.trim_end())
}

fn unanswered(fault: &NetFault) -> Trouble {
    let text = match fault {
        NetFault::RefusedAddress { range, .. } => format!(
            "the webhook's address is not connected to ({range}); `net.allow.webhooks` can allow its range"
        ),
        NetFault::Dns { .. } => "the DNS did not answer for the webhook's host".to_owned(),
        NetFault::NoAddress { .. } => "the webhook's host has no address".to_owned(),
        NetFault::Connect { .. } => "no connection to the webhook".to_owned(),
        NetFault::Tls { .. } => "no TLS connection to the webhook".to_owned(),
        NetFault::TimedOut { phase, .. } => {
            format!("the webhook was too slow: no time left for {phase}")
        }
        NetFault::Broken { .. } => "the connection to the webhook broke".to_owned(),
        NetFault::TooLarge { limit, .. } => {
            format!("the webhook answered with more than {limit} bytes")
        }
    };
    Trouble {
        code: ErrorCode::TemporaryFailure,
        text,
        fault: match fault {
            NetFault::TooLarge { .. } => Fault::Message,
            _ => Fault::Destination,
        },
        retry_after: None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use hyper::HeaderMap;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(0);

    fn answer(status: u16, body: &'static str) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::from_static(body.as_bytes()),
            remote: Some(([192, 0, 2, 1], 443).into()),
        }
    }

    #[test]
    fn what_a_webhook_answers_decides_what_becomes_of_the_delivery() {
        use ErrorCode::{RecipientUnavailable as Unavailable, TemporaryFailure as Temporary};
        use Fault::{Destination, Message};
        for (status, attempts, final_, code, fault) in [
            (301, 0, false, Unavailable, Message),
            (308, 2, true, Unavailable, Message),
            (400, 0, false, Unavailable, Message),
            (400, 1, false, Unavailable, Message),
            (400, 2, true, Unavailable, Message),
            (401, u32::MAX, true, Unavailable, Message),
            (410, 1, false, Unavailable, Message),
            (410, 2, true, Unavailable, Message),
            (408, 9, false, Temporary, Message),
            (425, 9, false, Temporary, Message),
            (429, 9, false, Temporary, Destination),
            (500, 9, false, Temporary, Message),
            (501, 9, false, Temporary, Message),
            (502, 9, false, Temporary, Destination),
            (503, 9, false, Temporary, Destination),
            (504, 9, false, Temporary, Destination),
            (599, 9, false, Temporary, Message),
            (999, 9, false, Temporary, Message),
        ] {
            let attempted = judge(Ok(answer(status, r#"{"response":1}"#)), attempts, NOW);
            assert_eq!(attempted.remote.as_deref(), Some("192.0.2.1:443"));
            let (found, trouble) = match attempted.outcome {
                Outcome::Deferred(trouble) => (false, trouble),
                Outcome::Failed(trouble) => (true, trouble),
                other => panic!("{status}: {other:?}"),
            };
            let expected = (final_, code, fault);
            let what = (found, trouble.code, trouble.fault);
            assert_eq!(what, expected, "{status} after {attempts}");
            assert!(trouble.text.contains(&status.to_string()), "{trouble:?}");
        }
    }

    #[test]
    fn only_the_member_response_of_an_accepting_answer_is_a_reply() {
        for (status, body, expected) in [
            (
                200,
                r#"{"response": {"n": 1.10}, "x": 2}"#,
                Some(r#"{"n": 1.10}"#),
            ),
            (
                202,
                r#" { "response" : 9007199254740993 } "#,
                Some("9007199254740993"),
            ),
            (200, r#"{"response":""}"#, Some(r#""""#)),
            (200, r#"{"response":false}"#, Some("false")),
            (200, r#"{"response":null}"#, None),
            (200, r#"{"responses":1}"#, None),
            (200, r#"[{"response":1}]"#, None),
            (200, r#"{"response":1,"response":2}"#, None),
            (200, r#"{"response":1"#, None),
            (200, "OK", None),
            (204, "", None),
        ] {
            let found = match judge(Ok(answer(status, body)), 0, NOW).outcome {
                Outcome::Delivered { reply } => reply,
                other => panic!("{body}: {other:?}"),
            };
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{body}");
        }
    }

    #[test]
    fn a_webhook_says_when_to_come_again() {
        let mut late = answer(503, "");
        late.headers.insert("retry-after", "120".parse().unwrap());
        let Outcome::Deferred(trouble) = judge(Ok(late), 0, NOW).outcome else {
            panic!("not deferred")
        };
        assert_eq!(trouble.retry_after, Some(Duration::from_secs(120)));
    }

    #[test]
    fn a_webhook_that_is_not_reached_is_not_named() {
        let host = || "hooks.inside.example".to_owned();
        let cause = || "10.0.0.1:8443 said hooks.inside.example".to_owned();
        for (fault, of, word) in [
            (
                NetFault::RefusedAddress {
                    host: host(),
                    address: "10.0.0.1".parse().unwrap(),
                    range: "private",
                },
                Fault::Destination,
                "net.allow.webhooks",
            ),
            (
                NetFault::Dns {
                    host: host(),
                    cause: cause(),
                },
                Fault::Destination,
                "DNS",
            ),
            (
                NetFault::NoAddress { host: host() },
                Fault::Destination,
                "no address",
            ),
            (
                NetFault::Connect {
                    host: host(),
                    cause: cause(),
                },
                Fault::Destination,
                "connection",
            ),
            (
                NetFault::Tls {
                    host: host(),
                    cause: cause(),
                },
                Fault::Destination,
                "TLS",
            ),
            (
                NetFault::TimedOut {
                    host: host(),
                    phase: "the answer",
                },
                Fault::Destination,
                "the answer",
            ),
            (
                NetFault::Broken {
                    host: host(),
                    cause: cause(),
                },
                Fault::Destination,
                "broke",
            ),
            (
                NetFault::TooLarge {
                    host: host(),
                    limit: 1_048_576,
                },
                Fault::Message,
                "1048576",
            ),
        ] {
            let Outcome::Deferred(trouble) = judge(Err(fault), 9, NOW).outcome else {
                panic!("{word}: not deferred")
            };
            assert_eq!(trouble.code, ErrorCode::TemporaryFailure, "{word}");
            assert_eq!(trouble.fault, of, "{word}");
            assert!(trouble.text.contains(word), "{}", trouble.text);
            assert!(trouble.text.len() <= 500);
            for secret in ["inside", "10.0.0.1"] {
                assert!(!trouble.text.contains(secret), "{}", trouble.text);
            }
        }
    }
}
