//! The door: everything that comes in is judged here, then stored with one verb.
//!
//! Order of checks (AMTP 1.0, sections 5.2 and 9): size and rate by address stand in the endpoint;
//! then form, recipients, policy, commit. Judging writes nothing. On this path an answer is given
//! only after the commit: accepted means on disk.
//!
//! - A submission needs a credential for exactly its sender.
//! - A foreign sender reaches our agents only: no open relay.
//! - What is wrong with one recipient is told of that recipient; the rest is accepted.

mod recipients;
mod refusal;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

pub use recipients::LocalNames;
pub use refusal::Refusal;

use crate::auth::Presented;
use crate::clock::Clock;
use crate::envelope::{Envelope, KeySource, Origin, Principal, Trust, Verification};
use crate::protocol::{
    Address, DeliveryStatus, ErrorCode, IdempotencyKey, Limits, Message, MessageId, Profile,
    Timestamp,
};
use crate::store::{Acceptance, Decision, Fate, Plan, Planned, Space, Store};
use crate::telemetry::Metrics;

/// A submission may be this much smaller than the limit: ids and a signature will be added.
const SUBMISSION_MARGIN: usize = 4 * 1024;
/// A message made by gateways that passed more of them than this is in a loop.
const MAX_HOPS: u32 = 20;
/// How long a delivery is tried.
const GIVE_UP: Duration = Duration::from_secs(7 * 86_400);

/// A message as an endpoint received it.
#[derive(Debug)]
pub struct Arrival {
    /// The body.
    pub raw: Bytes,
    /// What the caller showed.
    pub presented: Presented,
    /// Where it came from.
    pub remote: IpAddr,
    /// The request it came in.
    pub request_id: String,
}

/// The answer to an accepted message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The id it goes by.
    pub message_id: MessageId,
    /// One entry a recipient, in the order the sender wrote them.
    pub recipients: Vec<Received>,
}

/// What became of one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// As the sender wrote it.
    pub address: Address,
    /// The word for its state.
    pub status: DeliveryStatus,
    /// Why it failed.
    pub error_code: Option<ErrorCode>,
}

/// The door. Cloning is cheap.
#[derive(Clone)]
pub struct Intake {
    store: Store,
    space: Space,
    names: Arc<LocalNames>,
    limits: Limits,
    clock: Clock,
    metrics: Metrics,
}

impl Intake {
    /// A door for the domains in `names`; `limits.message_size` is what the gateway advertises.
    #[must_use]
    pub fn new(
        (store, space): (Store, Space),
        names: Arc<LocalNames>,
        limits: Limits,
        clock: Clock,
        metrics: Metrics,
    ) -> Self {
        Self {
            store,
            space,
            names,
            limits,
            clock,
            metrics,
        }
    }

    /// The largest body that may be read: a peer's message may carry a little more than the limit.
    #[must_use]
    pub fn read_limit(&self) -> usize {
        self.limits.message_size + SUBMISSION_MARGIN
    }

    /// Judges a message and stores it.
    ///
    /// # Errors
    /// [`Refusal`]: nothing of it is stored.
    pub async fn accept(&self, arrival: Arrival) -> Result<Receipt, Refusal> {
        if !self.space.has_room() {
            return Err(Refusal::no_room());
        }
        let envelope = self.envelope(arrival)?;
        let now = envelope.received_at;
        if envelope
            .message
            .expires()
            .is_some_and(|expires| expires <= now)
        {
            return Err(Refusal::new(ErrorCode::MessageExpired));
        }
        if envelope.origin == Origin::Submission && envelope.message.coordination().is_some() {
            return Err(Refusal::no_workflows());
        }
        if envelope.message.hops() > MAX_HOPS {
            return Err(Refusal::new(ErrorCode::LoopDetected));
        }
        let recipients = self.plan(&envelope).await?;
        refuse_if_none_is_left(&recipients)?;
        let addresses: Vec<Address> = recipients.iter().map(|it| it.address.clone()).collect();
        let (origin, request_id) = (envelope.origin, envelope.request_id.clone());
        let sender = envelope.message.sender().clone();
        match self
            .store
            .accept(Acceptance {
                envelope,
                recipients,
            })
            .await?
        {
            Decision::Conflict => Err(Refusal::new(ErrorCode::IdempotencyConflict)),
            Decision::Taken { message_id, fates } => {
                self.metrics.accepted(origin);
                tracing::info!(
                    message.id = message_id.as_str(),
                    message.sender = %sender,
                    message.recipients = addresses.len(),
                    message.origin = <&'static str>::from(origin),
                    request.id = request_id,
                    "accepted"
                );
                self.receipt(message_id, addresses, fates).await
            }
        }
    }

    /// Reads the message and finds out who speaks.
    fn envelope(&self, arrival: Arrival) -> Result<Envelope, Refusal> {
        let size = arrival.raw.len();
        let message = Message::receive(
            arrival.raw,
            |sender| {
                if self.names.is_local(sender.domain()) {
                    Profile::Submission
                } else {
                    Profile::Relay
                }
            },
            &Limits {
                message_size: self.read_limit(),
                recipients: self.limits.recipients,
            },
        )?;
        let sender = message.sender();
        let (origin, trust, verification) = if self.names.is_local(sender.domain()) {
            let limit = self.limits.message_size.saturating_sub(SUBMISSION_MARGIN);
            if size > limit {
                return Err(Refusal::too_large(limit));
            }
            submitter(&arrival.presented, sender)?;
            (
                Origin::Submission,
                Trust::Local,
                Verification::authenticated(sender.domain()),
            )
        } else {
            if message
                .recipients()
                .iter()
                .any(|to| !self.names.is_local(to.domain()))
            {
                return Err(Refusal::new(ErrorCode::RelayDenied));
            }
            (
                Origin::Peer,
                Trust::Unverified,
                Verification::unsigned(sender.domain()),
            )
        };
        let received_at = self.clock.now();
        let (idempotency_key, key_source) = match message.idempotency_key() {
            Some(key) => (key.clone(), KeySource::Given),
            None => (
                minted(Uuid::new_v4(), IdempotencyKey::parse),
                KeySource::Minted,
            ),
        };
        Ok(Envelope {
            message_id: match message.message_id() {
                Some(id) => id.clone(),
                None => minted(self.clock.mint_v7(), MessageId::parse),
            },
            idempotency_key,
            key_source,
            timestamp: message.timestamp().unwrap_or(received_at),
            origin,
            trust,
            verification,
            received_at,
            remote: Some(arrival.remote),
            request_id: arrival.request_id,
            answers: message.in_reply_to().cloned(),
            message,
        })
    }

    /// What is to become of each recipient.
    async fn plan(&self, envelope: &Envelope) -> Result<Vec<Planned>, Refusal> {
        let give_up_at = give_up_at(envelope);
        let mut planned = Vec::with_capacity(envelope.message.recipients().len());
        for address in envelope.message.recipients() {
            let plan = self
                .names
                .plan(&self.store, &envelope.message, address, give_up_at)
                .await?;
            planned.push(Planned {
                address: address.clone(),
                plan,
            });
        }
        Ok(planned)
    }

    /// The answer; for recipients that had the message before, their present state.
    async fn receipt(
        &self,
        message_id: MessageId,
        addresses: Vec<Address>,
        fates: Vec<Fate>,
    ) -> Result<Receipt, Refusal> {
        let known: Vec<i64> = fates
            .iter()
            .filter_map(|fate| match fate {
                Fate::Known(mid) => Some(*mid),
                _ => None,
            })
            .collect();
        let states = if known.is_empty() {
            Vec::new()
        } else {
            self.store.recipient_states(&known).await?
        };
        let recipients = addresses
            .into_iter()
            .zip(fates)
            .map(|(address, fate)| {
                let (status, error_code) = match fate {
                    Fate::New(status) => (status, None),
                    Fate::Refused(code) => (DeliveryStatus::Failed, Some(code)),
                    // A message whose history is gone already was delivered and acknowledged.
                    Fate::Known(mid) => states
                        .iter()
                        .find(|(of, state)| {
                            *of == mid && state.address.eq_ignore_ascii_case(&address.to_string())
                        })
                        .map_or((DeliveryStatus::Delivered, None), |(_, state)| {
                            (state.status, state.error_code)
                        }),
                };
                Received {
                    address,
                    status,
                    error_code,
                }
            })
            .collect();
        Ok(Receipt {
            message_id,
            recipients,
        })
    }
}

/// A submission needs a credential for exactly its sender.
fn submitter(presented: &Presented, sender: &Address) -> Result<(), Refusal> {
    match presented {
        Presented::Principal(Principal::Agent { address, .. }) if address == sender => Ok(()),
        Presented::Principal(Principal::Anonymous) | Presented::Nothing => {
            Err(Refusal::new(ErrorCode::LocalSenderAuthRequired))
        }
        Presented::Principal(_) => Err(Refusal::new(ErrorCode::SenderCredentialMismatch)),
        Presented::Invalid => Err(Refusal::new(ErrorCode::AuthenticationFailed)),
    }
}

fn give_up_at(envelope: &Envelope) -> Timestamp {
    let latest = envelope.received_at.plus(GIVE_UP);
    envelope
        .message
        .expires()
        .map_or(latest, |expires| expires.min(latest))
}

/// Where every recipient is refused, the request is: with the code of the first.
fn refuse_if_none_is_left(recipients: &[Planned]) -> Result<(), Refusal> {
    let mut first = None;
    for recipient in recipients {
        match recipient.plan {
            Plan::Refused(code) => first = first.or(Some(code)),
            _ => return Ok(()),
        }
    }
    let code = first.unwrap_or(ErrorCode::InvalidMessageFormat);
    let refused = recipients.iter().map(|it| match it.plan {
        Plan::Refused(code) => (it.address.to_string(), code),
        _ => (it.address.to_string(), ErrorCode::InternalError),
    });
    Err(Refusal::of_recipients(code, refused))
}

fn minted<T, E: std::fmt::Debug>(id: Uuid, parse: impl Fn(&str) -> Result<T, E>) -> T {
    parse(&id.to_string()).expect("a UUID is a valid id")
}
