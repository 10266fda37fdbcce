//! The door: everything that comes in is judged here, then stored with one verb.
//!
//! Order of checks (AMTP 1.0, sections 5.2 and 9): size and rate by address stand in the endpoint;
//! then form, recipients, policy, room among those in flight, commit. Judging writes nothing. On this path an answer is given
//! only after the commit: accepted means on disk.
//!
//! - A submission needs a credential for exactly its sender.
//! - A foreign sender reaches our agents only: no open relay.
//! - What is wrong with one recipient is told of that recipient; the rest is accepted.

mod bounce;
mod express;
mod identities;
mod list;
mod made;
mod mail;
mod making;
mod receipt;
mod recipients;
mod refusal;
mod returned;
mod verdict;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustls_pki_types::CertificateDer;
use uuid::Uuid;

pub use express::{Claim, Express, Offer};
pub use made::Made;
pub use mail::{Admitted, MailDoor, Posted};
pub use receipt::{Receipt, Received, Signing, Taken};
pub use recipients::{LocalNames, People};
pub use refusal::Refusal;
pub use returned::{Heard, Returned};

use crate::admission::{Admission, Class, Entry, Pressure};
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
use receipt::Way;

/// A submission may be this much smaller than the limit: ids and a signature will be added.
const SUBMISSION_MARGIN: usize = 4 * 1024;
/// A message made by gateways that passed more of them than this is in a loop.
const MAX_HOPS: u32 = 20;

/// A message as an endpoint received it.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// The body.
    pub raw: Bytes,
    /// What the caller showed.
    pub presented: Presented,
    /// Where it came from.
    pub remote: IpAddr,
    /// The chain of certificates the client showed; empty where it showed none.
    pub certificates: Arc<[CertificateDer<'static>]>,
    /// The request it came in.
    pub request_id: String,
    /// Until when finding out about the sender may take, by the monotonic clock.
    pub verify_by: Duration,
}

/// How long finding out about the senders of one request may take.
pub const VERIFICATION: Duration = Duration::from_secs(4);

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
        };
        let sender = self.envelope(arrival.clone())?.message.sender().clone();
        if Some(sender.domain()) != domain {
            return Err(Refusal::new(ErrorCode::AccessDenied));
        }
        self.take(arrival, None).await?.receipt().await
    }

    /// Judges a message and hands it to the store: messages are stored in the order of these
    /// calls. What is given back answers when it is on disk. `entry` is that of the request, with
    /// its first message.
    ///
    /// # Errors
    /// [`Refusal`]: nothing of it is stored.
    pub async fn begin(&self, arrival: Arrival, entry: Option<Entry>) -> Result<Taken, Refusal> {
        let door = self.admission.as_ref();
        self.take(arrival, door.map(|door| (door, entry))).await
    }

    async fn take(
        &self,
        arrival: Arrival,
        door: Option<(&Admission, Option<Entry>)>,
    ) -> Result<Taken, Refusal> {
        if !self.space.has_room() || !self.store.is_present() {
            return Err(Refusal::no_room());
        }
        let tier = match &arrival.presented {
            Presented::Principal(Principal::Agent { tier, .. }) => tier.clone(),
            _ => None,
        };
        let (verify_by, certificates) = (arrival.verify_by, arrival.certificates.clone());
        let envelope = self.envelope(arrival)?;
        let (origin, request_id) = (envelope.origin, envelope.request_id.clone());
        let sender = envelope.message.sender().clone();
        let mut acceptance = self.judge(envelope, None).await?;
        if let Some(rates) = &self.rates {
            match origin {
                Origin::Submission => {
                    let urgency = (self.pressure(), acceptance.envelope.message.priority());
                    rates.submission((&sender, tier.as_deref()), urgency)?;
                }
                _ => rates.foreign(sender.domain())?,
            }
        }
        // Only for what would be taken otherwise: who writes to nobody makes us ask nobody.
        // What few messages need is boxed, so that the others do not carry it about.
        if origin == Origin::Peer {
            Box::pin(self.verify(&mut acceptance.envelope, (&certificates, verify_by))).await;
        }
        let path = self.pass(&mut acceptance).await?;
        let express = self
            .express
            .as_ref()
            .filter(|_| origin == Origin::Submission && path == DeliveryPath::Immediate);
        let early = express.filter(|_| self.takes_early());
        // Who waits for another message of its key has no place meanwhile.
        let claim = match early {
            Some(express) => express.claim(&acceptance).await,
            None => Claim::default(),
        };
        if let Some((admission, entry)) = door {
            let bytes = acceptance.envelope.message.raw().len();
            let class = match early {
                Some(_) => Class::Immediate,
                None => class(&acceptance.envelope),
            };
            acceptance.place = Some(admission.place(class, bytes, entry)?);
        }
        let believed = acceptance.envelope.trust != Trust::Unverified;
        if origin == Origin::Peer {
            Box::pin(self.note_bounce(&acceptance.envelope)).await?;
        }
        let signing = self.signing(&acceptance);
        let addresses = acceptance
            .recipients
            .iter()
            .map(|it| it.address.clone())
            .collect();
        let taken = Taken {
            store: self.store.clone(),
            metrics: self.metrics.clone(),
            message_id: acceptance.envelope.message_id.clone(),
            sender,
            origin,
            believed,
            request_id,
            addresses,
            signing,
            way: Way::Early(Vec::new()),
        };
        let way = match early {
            Some(express) => Box::pin(express.offer(&self.store, acceptance, claim)).await?,
            None => Way::Durable(self.store.begin_accept(acceptance).await?),
        };
        Ok(Taken { way, ..taken })
    }

    fn pressure(&self) -> Pressure {
        let admission = self.admission.as_ref();
        admission.map(Admission::pressure).unwrap_or_default()
    }

    fn takes_early(&self) -> bool {
        self.admission.as_ref().is_none_or(Admission::takes_early)
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
            let plan = self
                .names
                .plan(&self.store, &envelope.message, address, give_up_at)
                .await?;
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
