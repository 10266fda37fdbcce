//! To webhooks: local agents that are called when mail comes (AMTP 1.0, section 10.2).
//!
//! One request a message and agent, signed as Standard Webhooks ask: `webhook-id`,
//! `webhook-timestamp` and `webhook-signature` over the three parts `id.timestamp.body`. The id
//! stays the same over retries, so a receiver can tell a repetition. No redirect is followed; an
//! answer has ten seconds and one mebibyte.

mod reply;
mod request;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, StatusCode};

use super::after::retry_after;
use super::{
    Attempted, Carrying, Copy, Destination, Fault, Load, Outcome, Parcel, Transport, Trouble,
};
use crate::clock::Clock;
use crate::net::{Answer, AnswerLimits, GuardedClient, NetFault};
use crate::protocol::ErrorCode;
use crate::store::{Agent, Sealer, Store};

pub use reply::{may_reply, reply_message};
pub use request::HEADERS_PURPOSE;

/// How long a target has, and how much it may answer.
const LIMITS: AnswerLimits = AnswerLimits {
    size: 1 << 20,
    time: Duration::from_secs(10),
};
/// A refusal counts as final after so many attempts.
const REFUSALS: u32 = 3;

/// Carries to the webhooks of local agents. Cloning is cheap.
#[derive(Clone)]
pub struct WebhookTransport {
    store: Store,
    client: GuardedClient,
    sealer: Option<Arc<Sealer>>,
    clock: Clock,
}

impl WebhookTransport {
    /// A transport that signs with secrets derived by `sealer`.
    #[must_use]
    pub fn new(store: Store, client: GuardedClient, sealer: Option<Sealer>, clock: Clock) -> Self {
        Self {
            store,
            client,
            sealer: sealer.map(Arc::new),
            clock,
        }
    }

    async fn deliver(&self, number: i64, parcel: &Parcel, copy: &Copy) -> Attempted {
        let agent = match self.store.find_agent_by_number(number).await {
            Ok(Some(agent)) => agent,
            Ok(None) => {
                return without_request(Outcome::Failed(Trouble {
                    code: ErrorCode::AgentUnknown,
                    text: "the agent was removed".to_owned(),
                    fault: Fault::Message,
                    retry_after: None,
                }));
            }
            Err(error) => return without_request(deferred(format!("the database: {error}"))),
        };
        if !agent.active {
            return without_request(deferred("the agent is inactive".to_owned()));
        }
        match self.request(&agent, parcel, copy) {
            Ok(request) => judge(self.client.send(request, LIMITS).await, copy.attempts),
            Err(text) => without_request(deferred(text)),
        }
    }

    fn request(
        &self,
        agent: &Agent,
        parcel: &Parcel,
        copy: &Copy,
    ) -> Result<Request<Full<Bytes>>, String> {
        let sealer = self.sealer.as_deref().ok_or_else(|| {
            "webhooks are signed with a key from secrets.key_file, which is not configured"
                .to_owned()
        })?;
        let body = request::body(parcel, &copy.recipient);
        request::build(agent, sealer, (parcel, body), self.clock.now())
    }
}

impl Transport for WebhookTransport {
    fn carry<'a>(&'a self, to: &'a Destination, parcels: Vec<Parcel>) -> Carrying<'a> {
        Box::pin(async move {
            let mut carried = Vec::with_capacity(parcels.len());
            for parcel in &parcels {
                let mut copies = Vec::with_capacity(parcel.copies.len());
                for copy in &parcel.copies {
                    copies.push(match to {
                        Destination::Agent(number) => self.deliver(*number, parcel, copy).await,
                        Destination::Peer(_) => without_request(deferred("no webhook".to_owned())),
                    });
                }
                carried.push(copies);
            }
            carried
        })
    }

    fn load(&self, _to: &Destination) -> Load {
        Load::SINGLE
    }
}

fn without_request(outcome: Outcome) -> Attempted {
    Attempted {
        outcome,
        remote: None,
        renew: false,
    }
}

fn deferred(text: String) -> Outcome {
    Outcome::Deferred(Trouble {
        code: ErrorCode::RecipientUnavailable,
        text,
        fault: Fault::Destination,
        retry_after: None,
    })
}

/// What an answer means. Refusals are final after three attempts.
fn judge(answer: Result<Answer, NetFault>, attempts: u32) -> Attempted {
    match answer {
        Ok(answer) => Attempted {
            remote: answer.remote.map(|remote| remote.to_string()),
            outcome: outcome(&answer, attempts),
            renew: false,
        },
        Err(fault) => {
            let hint = match fault {
                NetFault::RefusedAddress { .. } => "; net.allow.webhooks can allow its range",
                _ => "",
            };
            without_request(Outcome::Deferred(Trouble {
                code: ErrorCode::TemporaryFailure,
                text: format!("{fault}{hint}"),
                fault: Fault::Destination,
                retry_after: None,
            }))
        }
    }
}

fn outcome(answer: &Answer, attempts: u32) -> Outcome {
    let status = answer.status;
    if status.is_success() {
        return Outcome::Delivered {
            reply: reply::response(&answer.body),
        };
    }
    let trouble = |code, fault| Trouble {
        code,
        text: format!("the webhook answered {status}"),
        fault,
        retry_after: retry_after(&answer.headers),
    };
    match status {
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => {
            Outcome::Deferred(trouble(ErrorCode::TemporaryFailure, Fault::Destination))
        }
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY => {
            Outcome::Deferred(trouble(ErrorCode::TemporaryFailure, Fault::Message))
        }
        _ if status.is_server_error() => {
            Outcome::Deferred(trouble(ErrorCode::TemporaryFailure, Fault::Message))
        }
        _ if attempts + 1 >= REFUSALS => {
            Outcome::Failed(trouble(ErrorCode::RecipientUnavailable, Fault::Message))
        }
        _ => Outcome::Deferred(trouble(ErrorCode::RecipientUnavailable, Fault::Message)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::HeaderMap;

    fn answer(status: u16, body: &'static str) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::from_static(body.as_bytes()),
            remote: None,
        }
    }

    #[test]
    fn what_a_webhook_answers_decides_what_becomes_of_the_delivery() {
        for (status, attempts, word, fault) in [
            (200, 0, "delivered", None),
            (204, 0, "delivered", None),
            (301, 0, "deferred", Some(Fault::Message)),
            (400, 0, "deferred", Some(Fault::Message)),
            (400, 1, "deferred", Some(Fault::Message)),
            (400, 2, "failed", Some(Fault::Message)),
            (410, 2, "failed", Some(Fault::Message)),
            (408, 9, "deferred", Some(Fault::Message)),
            (425, 9, "deferred", Some(Fault::Message)),
            (429, 9, "deferred", Some(Fault::Destination)),
            (500, 9, "deferred", Some(Fault::Message)),
            (503, 9, "deferred", Some(Fault::Destination)),
        ] {
            let (found, of) = match outcome(&answer(status, ""), attempts) {
                Outcome::Delivered { .. } => ("delivered", None),
                Outcome::Deferred(trouble) => ("deferred", Some(trouble.fault)),
                Outcome::Failed(trouble) => ("failed", Some(trouble.fault)),
            };
            assert_eq!((found, of), (word, fault), "{status} after {attempts}");
        }
    }

    #[test]
    fn a_target_in_a_refused_range_names_the_key_to_set() {
        let fault = NetFault::RefusedAddress {
            host: "localhost".to_owned(),
            address: "127.0.0.1".parse().unwrap(),
            range: "loopback",
        };
        let Outcome::Deferred(trouble) = judge(Err(fault), 0).outcome else {
            panic!("not deferred")
        };
        assert!(
            trouble.text.contains("net.allow.webhooks"),
            "{}",
            trouble.text
        );
    }
}
