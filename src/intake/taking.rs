//! Taking a message: judged, given its place, handed to the store.

use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::CertificateDer;

use super::express::Claim;
use super::receipt::Way;
use super::refused::Telling;
use super::{Arrival, Intake, Refusal, Taken, class};
use crate::admission::{Admission, Class, Entry, Pressure};
use crate::auth::Presented;
use crate::config::DeliveryPath;
use crate::envelope::{Envelope, Origin, Principal, Trust};
use crate::store::{Acceptance, StoreError, Succession};

/// Who lets in, and the entry of the request.
type Door<'a> = (&'a Admission, Option<Entry>);

/// How a message came, beside what its envelope says.
struct Manner {
    /// The name of the rate its sender's key has.
    tier: Option<String>,
    certificates: Arc<[CertificateDer<'static>]>,
    verify_by: Duration,
    reads_answers: bool,
    succession: Option<Succession>,
}

impl Intake {
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

    pub(super) async fn take(
        &self,
        arrival: Arrival,
        door: Option<Door<'_>>,
    ) -> Result<Taken, Refusal> {
        let tier = match &arrival.presented {
            Presented::Principal(Principal::Agent { tier, .. }) => tier.clone(),
            _ => None,
        };
        let manner = Manner {
            tier,
            certificates: arrival.certificates.clone(),
            verify_by: arrival.verify_by,
            reads_answers: arrival.reads_answers,
            succession: arrival.succession.clone(),
        };
        let succession = arrival.succession.clone();
        let envelope = self.envelope(arrival)?;
        let Some(succession) = succession else {
            return self.admit(envelope, manner, door).await;
        };
        let sender = envelope.message.sender().clone();
        if succession.is_broken(&sender) {
            return Err(StoreError::Busy.into());
        }
        let taken = self.admit(envelope, manner, door).await;
        if let Err(refusal) = &taken
            && refusal.retry_after.is_some()
        {
            succession.broke(&sender);
        }
        taken
    }

    /// Judges a message whose sender has shown who it is, and hands it to the store.
    async fn admit(
        &self,
        envelope: Envelope,
        manner: Manner,
        door: Option<Door<'_>>,
    ) -> Result<Taken, Refusal> {
        if !self.space.has_room() || !self.store.is_present() {
            return Err(Refusal::no_room());
        }
        let (origin, request_id) = (envelope.origin, envelope.request_id.clone());
        let sender = envelope.message.sender().clone();
        let mut acceptance = self.judge(envelope, None).await?;
        acceptance.succession = manner.succession;
        self.count(&acceptance, manner.tier.as_deref())?;
        // Only for what would be taken otherwise: who writes to nobody makes us ask nobody.
        // What few messages need is boxed, so that the others do not carry it about.
        if origin == Origin::Peer {
            Box::pin(self.verify(
                &mut acceptance.envelope,
                (&manner.certificates, manner.verify_by),
            ))
            .await;
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
        let deaf = origin == Origin::Peer && !manner.reads_answers;
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
            late: self.if_late(&acceptance),
            telling: deaf.then(|| Telling::of(self, &acceptance)).flatten(),
            way: Way::Early(Vec::new()),
        };
        let way = match early {
            Some(express) => Box::pin(express.offer(&self.store, acceptance, claim)).await?,
            None => Way::Durable(self.store.begin_accept(acceptance).await?),
        };
        Ok(Taken { way, ..taken })
    }

    /// Counts a message against the rate of its sender.
    fn count(&self, acceptance: &Acceptance, tier: Option<&str>) -> Result<(), Refusal> {
        let Some(rates) = &self.rates else {
            return Ok(());
        };
        let message = &acceptance.envelope.message;
        match acceptance.envelope.origin {
            Origin::Submission => {
                let urgency = (self.pressure(), message.priority());
                rates.submission((message.sender(), tier), urgency)?;
            }
            _ => rates.foreign(message.sender().domain())?,
        }
        Ok(())
    }

    /// Waits until a further message of a request may come in, no longer than until this moment.
    pub async fn room(&self, until: Duration) {
        if let Some(admission) = &self.admission {
            admission.room(until).await;
        }
    }

    pub(super) fn pressure(&self) -> Pressure {
        let admission = self.admission.as_ref();
        admission.map(Admission::pressure).unwrap_or_default()
    }

    fn takes_early(&self) -> bool {
        self.admission.as_ref().is_none_or(Admission::takes_early)
    }
}
