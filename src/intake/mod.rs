//! The door: everything that comes in is judged here, then stored with one verb.
//!
//! Order of checks (AMTP 1.0, sections 5.2 and 9): size and rate by address stand in the endpoint;
//! then form, recipients, policy, room among those in flight, commit. Judging writes nothing. On this path an answer is given
//! only after the commit: accepted means on disk.
//!
//! - A submission needs a credential for exactly its sender.
//! - A foreign sender reaches our agents only: no open relay.
//! - What is wrong with one recipient is told of that recipient; the rest is accepted.

mod arrival;
mod asked;
mod bounce;
mod bridge;
mod canceling;
mod express;
mod identities;
mod late;
mod list;
mod made;
mod mail;
mod making;
mod receipt;
mod recipients;
mod refusal;
mod refused;
mod returned;
mod taking;
#[cfg(test)]
mod tests;
mod verdict;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustls_pki_types::CertificateDer;
use uuid::Uuid;

pub use arrival::{Arrival, VERIFICATION};
pub use asked::Asked;
pub use canceling::Canceling;
pub use express::{Claim, Express, Offer};
pub use late::Late;
pub use made::Made;
pub use mail::{Admitted, MailDoor, Posted, Rest};
pub use receipt::{Receipt, Received, Signing, Taken};
pub use recipients::{LocalNames, People};
pub use refusal::Refusal;
pub use returned::{Heard, Returned};

use crate::admission::{Admission, Class};
use crate::auth::audit::Audit;
use crate::auth::{Presented, SenderCheck, SenderRates, Whence};
use crate::clock::Clock;
use crate::config::DeliveryPath;
use crate::envelope::{Envelope, KeySource, Origin, Principal, Trust, Verification};
use crate::policy::Policies;
use crate::protocol::{
    Address, Domain, ErrorCode, Limits, Message, MessageId, Priority, Profile, Timestamp,
};
use crate::schema::Schemas;
use crate::store::{Acceptance, Plan, Planned, Space, Store};
use crate::telemetry::Metrics;
use identities::Identities;

/// A submission may be this much smaller than the limit: ids and a signature will be added.
const SUBMISSION_MARGIN: usize = 4 * 1024;
/// A message made by gateways that passed more of them than this is in a loop.
const MAX_HOPS: u32 = 20;

/// The door. Cloning is cheap.
#[derive(Clone)]
pub struct Intake {
    store: Store,
    space: Space,
    names: Arc<LocalNames>,
    limits: Limits,
    /// How long a delivery is tried.
    give_up: Duration,
    senders: Option<SenderCheck>,
    rates: Option<SenderRates>,
    policies: Option<Policies>,
    schemas: Option<Schemas>,
    audit: Option<Audit>,
    /// Whether what goes to other domains is signed.
    signs: bool,
    /// The path of what no rule says otherwise of.
    path: DeliveryPath,
    express: Option<Express>,
    admission: Option<Admission>,
    mail: Option<Arc<MailDoor>>,
    clock: Clock,
    metrics: Metrics,
}

/// What the door goes by.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// `message_size` is what the gateway advertises.
    pub limits: Limits,
    /// How long a delivery is tried.
    pub give_up: Duration,
}

impl Intake {
    /// A door for the domains in `names`.
    #[must_use]
    pub fn new(
        (store, space): (Store, Space),
        names: Arc<LocalNames>,
        rules: Rules,
        clock: Clock,
        metrics: Metrics,
    ) -> Self {
        Self {
            store,
            space,
            names,
            limits: rules.limits,
            give_up: rules.give_up,
            senders: None,
            rates: None,
            policies: None,
            schemas: None,
            audit: None,
            signs: false,
            path: DeliveryPath::Durable,
            express: None,
            admission: None,
            mail: None,
            clock,
            metrics,
        }
    }

    /// How long a delivery is tried.
    #[must_use]
    pub const fn give_up(&self) -> Duration {
        self.give_up
    }

    /// Whether a domain is ours.
    #[must_use]
    pub fn is_local(&self, domain: &Domain) -> bool {
        self.names.is_local(domain)
    }

    /// The largest body that may be read: a peer's message may carry a little more than the limit.
    #[must_use]
    pub fn read_limit(&self) -> usize {
        self.limits.message_size + SUBMISSION_MARGIN
    }

    /// Takes what the gateway of `domain` at `remote` answered at once: mail of an address there. It
    /// is not shed: nobody would send it again, and what the queue has under way bounds it.
    ///
    /// # Errors
    /// [`Refusal`]: nothing of it is stored.
    pub async fn accept_answer(
        &self,
        domain: Option<&Domain>,
        remote: IpAddr,
        raw: Bytes,
    ) -> Result<Receipt, Refusal> {
        let arrival = Arrival {
            raw,
            presented: Presented::Nothing,
            remote,
            certificates: Arc::default(),
            request_id: format!("answer-{}", self.clock.mint_v7()),
            verify_by: self.clock.monotonic() + VERIFICATION,
            reads_answers: true,
            succession: None,
        };
        let sender = self.envelope(arrival.clone())?.message.sender().clone();
        if Some(sender.domain()) != domain {
            return Err(Refusal::new(ErrorCode::AccessDenied));
        }
        self.take(arrival, None).await?.receipt().await
    }

    /// Finds out what is known of a foreign sender; no longer once the time for that is up.
    async fn verify(
        &self,
        envelope: &mut Envelope,
        (certificates, until): (&[CertificateDer<'static>], Duration),
    ) {
        let Some(senders) = &self.senders else { return };
        let whence = Whence {
            remote: envelope.remote,
            certificates,
        };
        let verification = senders.verify(&envelope.message, whence, until).await;
        envelope.trust = verification.trust();
        envelope.verification = verification;
    }

    /// What is to become of a message, for all its recipients or only for some: writes nothing.
    async fn judge(
        &self,
        mut envelope: Envelope,
        only: Option<&[Address]>,
    ) -> Result<Acceptance, Refusal> {
        let now = envelope.received_at;
        let expires = envelope.message.expires();
        if expires.is_some_and(|expires| expires <= now) {
            return Err(Refusal::new(ErrorCode::MessageExpired));
        }
        if envelope.origin == Origin::Submission && envelope.message.coordination().is_some() {
            return Err(Refusal::no_workflows());
        }
        if envelope.message.hops() > MAX_HOPS {
            return Err(Refusal::new(ErrorCode::LoopDetected));
        }
        envelope.answers = self.answered(&envelope.message).await?;
        let to = only.unwrap_or(envelope.message.recipients());
        let recipients = self.plan(&envelope, to).await?;
        if let Err(refusal) = refuse_if_none_is_left(&recipients) {
            return Err(Box::pin(self.with_alternatives(refusal, &envelope.message)).await);
        }
        Ok(Acceptance {
            envelope,
            recipients,
            reserved: None,
            place: None,
            succession: None,
            blobs: Vec::new(),
        })
    }

    /// The own id of the message that one answers, also where it names another it travelled under.
    async fn answered(&self, message: &Message) -> Result<Option<MessageId>, Refusal> {
        let Some(id) = message.in_reply_to() else {
            return Ok(None);
        };
        Ok(Some(match Box::pin(self.store.find_aliased(id)).await? {
            Some(own) => own,
            None => id.clone(),
        }))
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
            None => (Uuid::new_v4().into(), KeySource::Minted),
        };
        Ok(Envelope {
            message_id: match message.message_id() {
                Some(id) => id.clone(),
                None => self.clock.mint_v7().into(),
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

    /// When a message is given up.
    fn latest(&self, envelope: &Envelope) -> Timestamp {
        let latest = envelope.received_at.plus(self.give_up);
        let expires = envelope.message.expires();
        expires.map_or(latest, |expires| expires.min(latest))
    }

    /// What is to become of each recipient.
    async fn plan(&self, envelope: &Envelope, to: &[Address]) -> Result<Vec<Planned>, Refusal> {
        let give_up_at = self.latest(envelope);
        let mut identities = Identities::new(envelope, &self.clock);
        let mut planned = Vec::with_capacity(to.len());
        for address in to {
            let plan = match self.bridge(envelope, address).await? {
                Some(plan) => plan,
                None => {
                    let names = &self.names;
                    names
                        .plan(&self.store, &envelope.message, address, give_up_at)
                        .await?
                }
            };
            let plan = identities.give(plan, address);
            planned.push(Planned {
                address: address.clone(),
                plan,
            });
        }
        Ok(planned)
    }
}

/// What a message is when it comes to who is shed first.
fn class(envelope: &Envelope) -> Class {
    match (envelope.message.priority(), envelope.trust) {
        (Priority::Low, _) => Class::Low,
        (_, Trust::Local) => Class::Submission,
        (_, Trust::Unverified) => Class::Unverified,
        _ => Class::Verified,
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
