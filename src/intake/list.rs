//! Copies of what was sent to a topic, and what goes to all agents at once.

use std::sync::Arc;

use super::receipt::Way;
use super::{Arrival, Intake, MAX_HOPS, Made, Refusal, Taken};
use crate::admission::Entry;
use crate::auth::Presented;
use crate::envelope::{Origin, Principal};
use crate::policy::{Because, Direction, Question, Standing};
use crate::protocol::{Address, ErrorCode};
use crate::store::{Acceptance, Agent, Plan, Planned, StoreError, Terms, list_destination};

impl Intake {
    /// The agent that answers to one of our addresses.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn find(&self, address: &Address) -> Result<Option<Arc<Agent>>, StoreError> {
        if !self.is_local(address.domain()) {
            return Ok(None);
        }
        self.names.find(&self.store, address).await
    }

    /// Judges a copy for these recipients, whomever it names itself; stores nothing. Recipients
    /// that are refused are in the answer. What goes to other domains is up to the policies.
    ///
    /// # Errors
    /// [`Refusal`]: it can go to nobody.
    pub async fn judge_copy(&self, made: Made, to: &[Address]) -> Result<Acceptance, Refusal> {
        let envelope = self.made(made)?;
        let expires = envelope.message.expires();
        if expires.is_some_and(|expires| expires <= envelope.received_at) {
            return Err(Refusal::new(ErrorCode::MessageExpired));
        }
        if envelope.message.hops() > MAX_HOPS {
            return Err(Refusal::new(ErrorCode::LoopDetected));
        }
        let leaves = to.iter().any(|address| !self.is_local(address.domain()));
        let mut acceptance = Acceptance {
            recipients: self.plan(&envelope, to).await?,
            envelope,
            reserved: None,
            place: None,
            succession: None,
            blobs: Vec::new(),
        };
        if leaves {
            self.pass(&mut acceptance).await?;
        }
        Ok(acceptance)
    }

    /// Whether a policy lets an address do something that is no message: subscribe to the topic
    /// `to`, or write to everybody. `otherwise` is the answer where no rule speaks of it.
    #[must_use]
    pub fn allows(
        &self,
        direction: Direction,
        (sender, standing): (&Address, Standing),
        to: &Address,
        otherwise: bool,
    ) -> bool {
        let Some(policies) = &self.policies else {
            return otherwise;
        };
        let verdict = policies.judge(&Question {
            directions: direction.into(),
            sender,
            recipient: to,
            schema: None,
            size: 0,
            standing,
        });
        match verdict.because {
            Because::NoRule => otherwise,
            _ => verdict.refusal.is_none(),
        }
    }

    /// Hands a message for all agents of a domain to the store; `to` is the address it goes by, and
    /// `number` that of the list ([`crate::store::ALL_AGENTS`]). Only one of our agents may, whom a
    /// policy lets.
    ///
    /// # Errors
    /// [`Refusal`]: nothing of it is stored.
    pub async fn begin_broadcast(
        &self,
        arrival: Arrival,
        entry: Option<Entry>,
        (to, number): (&Address, i64),
    ) -> Result<Taken, Refusal> {
        if !self.space.has_room() || !self.store.is_present() {
            return Err(Refusal::no_room());
        }
        let tier = match &arrival.presented {
            Presented::Principal(Principal::Agent { tier, .. }) => tier.clone(),
            _ => None,
        };
        let envelope = self.envelope(arrival)?;
        let sender = envelope.message.sender().clone();
        let now = envelope.received_at;
        if envelope.origin != Origin::Submission {
            return Err(Refusal::new(ErrorCode::AccessDenied));
        }
        if envelope
            .message
            .expires()
            .is_some_and(|expires| expires <= now)
        {
            return Err(Refusal::new(ErrorCode::MessageExpired));
        }
        if envelope.message.coordination().is_some() {
            return Err(Refusal::no_workflows());
        }
        let standing = super::verdict::standing(&envelope);
        if !self.allows(Direction::Broadcast, (&sender, standing), to, false) {
            return Err(Refusal::new(ErrorCode::PolicyDenied));
        }
        if let Some(rates) = &self.rates {
            let urgency = (self.pressure(), envelope.message.priority());
            rates.submission((&sender, tier.as_deref()), urgency)?;
        }
        let plan = Plan::Queue {
            party: number,
            destination: list_destination(number),
            give_up_at: self.latest(&envelope),
            wire: None,
            reserved: None,
            terms: Terms::default(),
        };
        let mut acceptance = Acceptance {
            envelope,
            recipients: vec![Planned {
                address: to.clone(),
                plan,
            }],
            reserved: None,
            place: None,
            succession: None,
            blobs: Vec::new(),
        };
        self.check_schema(&mut acceptance).await?;
        if let Some(admission) = &self.admission {
            let bytes = acceptance.envelope.message.raw().len();
            let class = super::class(&acceptance.envelope);
            acceptance.place = Some(admission.place(class, bytes, entry)?);
        }
        let envelope = &acceptance.envelope;
        Ok(Taken {
            store: self.store.clone(),
            metrics: self.metrics.clone(),
            message_id: envelope.message_id.clone(),
            sender,
            origin: envelope.origin,
            believed: true,
            request_id: envelope.request_id.clone(),
            addresses: vec![to.clone()],
            signing: super::Signing::Usual,
            late: None,
            telling: None,
            way: Way::Durable(self.store.begin_accept(acceptance).await?),
        })
    }
}
