//! Faults between the gateway under test and its peers, for the check that the suite sees them.

use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use super::behaviour::Body;
use super::peer::Seen;

/// What goes wrong on the way from the gateway to a peer, or back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    /// A request loses this header.
    WithoutHeader(&'static str),
    /// A message loses this member.
    WithoutMember(&'static str),
    /// Another id stands in this member.
    OtherId(&'static str),
    /// Every request comes twice.
    Twice,
    /// Of two messages the later one comes first.
    Swapped,
    /// A message of many recipients names only the first.
    FirstRecipient,
    /// The content of messages is another.
    OtherPayload,
    /// Failures of the peer look as if the message had been taken.
    NeverFails,
    /// What the peer says about coming again is lost.
    NoRetryAfter,
    /// What the peer refuses for good looks as if it were for the time being.
    NeverFinal,
    /// The request looks like one without TLS 1.3 and HTTP/2.
    OldTransport,
}

impl Wire {
    /// What of a request comes to the peer.
    pub(super) fn pass(self, mut seen: Seen, record: &mut Vec<Seen>) {
        match self {
            Self::WithoutHeader(name) => {
                seen.arrived.headers.remove(name);
            }
            Self::WithoutMember(name) => change(&mut seen, |message| {
                message.as_object_mut().map(|it| it.remove(name));
            }),
            Self::OtherId(name) => change(&mut seen, |message| message[name] = json!("other-1")),
            Self::FirstRecipient => change(&mut seen, |message| {
                message["recipients"] = json!([message["recipients"][0]]);
            }),
            Self::OtherPayload => change(&mut seen, |message| {
                message["payload"] = json!({ "forged": true });
            }),
            Self::Twice => record.push(seen.clone()),
            Self::Swapped if !record.is_empty() => {
                record.insert(record.len() - 1, seen);
                return;
            }
            Self::OldTransport => {
                seen.arrived.tls13 = false;
                seen.arrived.version = hyper::Version::HTTP_11;
            }
            Self::Swapped | Self::NeverFails | Self::NoRetryAfter | Self::NeverFinal => {}
        }
        record.push(seen);
    }

    /// What of the peer's answer comes to the gateway.
    pub(super) fn back(self, mut answer: Response<Body>) -> Response<Body> {
        match self {
            Self::NeverFails if !answer.status().is_success() => super::behaviour::answer(
                202,
                &[("content-type", "application/json".to_owned())],
                String::new(),
            ),
            Self::NeverFinal if answer.status().is_client_error() => {
                *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                answer
            }
            Self::NoRetryAfter => {
                answer.headers_mut().remove("retry-after");
                answer
            }
            _ => answer,
        }
    }
}

fn change(seen: &mut Seen, work: impl FnOnce(&mut Value)) {
    let mut message = seen.json();
    work(&mut message);
    seen.arrived.body = message.to_string().into();
}
