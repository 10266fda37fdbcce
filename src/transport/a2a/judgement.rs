//! What an agent's answer means for a delivery. Pure.
//!
//! | answer | outcome |
//! | --- | --- |
//! | a task or a message | delivered |
//! | 429, 502, 503, 504, none; its card cannot be had | deferred, and so is everything for this agent |
//! | 408, 425, other 5xx, an internal error, nonsense | deferred |
//! | the agent says that it does not take the message; too long | failed |
//! | all other statuses | deferred twice, then failed |

use super::request::Problem;
use crate::net::NetFault;
use crate::protocol::ErrorCode;
use crate::transport::{Attempted, Fault, Outcome, Trouble, text};

/// A refusal is final at this attempt.
const REFUSALS: u32 = 3;

/// What a problem means, after `attempts` before this one.
pub(super) fn judge(problem: &Problem, attempts: u32) -> Outcome {
    let words = problem.to_string();
    let refused = || attempts.saturating_add(1) >= REFUSALS;
    let (code, fault, fails) = match problem {
        Problem::Unready(_) => (ErrorCode::RecipientUnavailable, Fault::Destination, false),
        Problem::Net(NetFault::TooLarge { .. }) => {
            (ErrorCode::RecipientUnavailable, Fault::Message, true)
        }
        Problem::Net(_) => (ErrorCode::TemporaryFailure, Fault::Destination, false),
        Problem::Status(status, _) => match status.as_u16() {
            429 | 502..=504 => (ErrorCode::TemporaryFailure, Fault::Destination, false),
            408 | 425 | 500.. => (ErrorCode::TemporaryFailure, Fault::Message, false),
            _ => (ErrorCode::RecipientUnavailable, Fault::Message, refused()),
        },
        // The message, its parts or what it belongs to.
        Problem::Error(-32602 | -32005 | -32600 | -32700, _) => {
            (ErrorCode::RecipientUnavailable, Fault::Message, true)
        }
        // Nothing of the message: another version, another method, an extension.
        Problem::Error(-32601 | -32008 | -32009 | -32004 | -32003, _) => {
            (ErrorCode::RecipientUnavailable, Fault::Message, refused())
        }
        Problem::Error(..) | Problem::Garbage(_) => {
            (ErrorCode::TemporaryFailure, Fault::Message, false)
        }
    };
    let trouble = Trouble {
        retry_after: match problem {
            Problem::Status(_, after) => *after,
            _ => None,
        },
        ..text::trouble(code, fault, &words)
    };
    match fails {
        true => Outcome::Failed(trouble),
        false => Outcome::Deferred(trouble),
    }
}

/// An attempt with this outcome.
pub(super) fn attempted(outcome: Outcome, remote: Option<String>) -> Attempted {
    Attempted {
        outcome,
        remote,
        renew: false,
    }
}

/// Why an agent was not reached, without its host: the sender may read it.
pub(super) fn unreached(fault: &NetFault) -> String {
    match fault {
        NetFault::RefusedAddress { range, .. } => format!(
            "the agent's address is not connected to ({range}); `net.allow.a2a` can allow its range"
        ),
        NetFault::Dns { .. } => "the DNS did not answer for the agent's host".to_owned(),
        NetFault::NoAddress { .. } => "the agent's host has no address".to_owned(),
        NetFault::Connect { .. } => "no connection to the agent".to_owned(),
        NetFault::Tls { .. } => "no TLS connection to the agent".to_owned(),
        NetFault::TimedOut { phase, .. } => {
            format!("the agent was too slow: no time left for {phase}")
        }
        NetFault::Broken { .. } => "the connection to the agent broke".to_owned(),
        NetFault::TooLarge { limit, .. } => {
            format!("the agent answered with more than {limit} bytes")
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;

    use super::*;

    #[test]
    fn what_goes_wrong_decides_what_becomes_of_the_delivery() {
        use Fault::{Destination, Message};
        let status = |code| Problem::Status(StatusCode::from_u16(code).unwrap(), None);
        let error = |code| Problem::Error(code, "words".to_owned());
        let host = || "h.test".to_owned();
        for (problem, attempts, fails, fault) in [
            (status(301), 0, false, Message),
            (status(301), 2, true, Message),
            (status(401), 1, false, Message),
            (status(401), 2, true, Message),
            (status(429), 99, false, Destination),
            (status(503), 99, false, Destination),
            (status(500), 99, false, Message),
            (status(408), 99, false, Message),
            (error(-32602), 0, true, Message),
            (error(-32005), 0, true, Message),
            (error(-32009), 0, false, Message),
            (error(-32009), 2, true, Message),
            (error(-32603), 99, false, Message),
            (error(-1), 99, false, Message),
            (Problem::Garbage("x".to_owned()), 99, false, Message),
            (Problem::Unready("x".to_owned()), 99, false, Destination),
            (
                Problem::Net(NetFault::TooLarge {
                    host: host(),
                    limit: 9,
                }),
                0,
                true,
                Message,
            ),
            (
                Problem::Net(NetFault::TimedOut {
                    host: host(),
                    phase: "the answer",
                }),
                99,
                false,
                Destination,
            ),
        ] {
            let (failed, trouble) = match judge(&problem, attempts) {
                Outcome::Failed(trouble) => (true, trouble),
                Outcome::Deferred(trouble) => (false, trouble),
                other => panic!("{problem}: {other:?}"),
            };
            assert_eq!(
                (failed, trouble.fault),
                (fails, fault),
                "{problem} after {attempts}"
            );
            assert!(!trouble.text.contains("h.test"), "{}", trouble.text);
        }
    }
}
