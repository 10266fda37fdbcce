//! What an A2A client asks of an agent, as an AMTP message of ours.
//!
//! It is judged like any other message, and stored with its task. Who shows no credential is nobody
//! we know: policies see an unverified sender, and nothing of it leaves for another domain.

use std::net::IpAddr;

use bytes::Bytes;

use super::{Intake, Refusal, class};
use crate::envelope::{Envelope, KeySource, Origin, Principal, Verification};
use crate::net::network_of;
use crate::protocol::{Address, ErrorCode, Limits, Message, Profile};
use crate::store::Acceptance;
use crate::task::request::task_of_address;

/// A message made of what an A2A client said.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The message: `crate::task::request` writes it.
    pub raw: Bytes,
    /// Who says so.
    pub principal: Principal,
    /// Where it came from.
    pub remote: IpAddr,
    /// The request it came in.
    pub request_id: String,
}

impl Intake {
    /// Judges the message; the caller stores it with the task.
    ///
    /// # Errors
    /// [`Refusal`]: it is not to be stored, and there is to be no task.
    pub async fn judge_asked(&self, asked: Asked) -> Result<Acceptance, Refusal> {
        if !self.space.has_room() || !self.store.is_present() {
            return Err(Refusal::no_room());
        }
        let tier = match &asked.principal {
            Principal::Agent { tier, .. } => tier.clone(),
            _ => None,
        };
        let asked_by = asked.principal.clone();
        let envelope = self.asked(asked)?;
        let counted = counted(&asked_by, &envelope);
        let mut acceptance = self.judge(envelope, None).await?;
        if let Some(rates) = &self.rates {
            let urgency = (self.pressure(), acceptance.envelope.message.priority());
            rates.submission((&counted, tier.as_deref()), urgency)?;
        }
        self.pass(&mut acceptance).await?;
        if let Some(admission) = &self.admission {
            let bytes = acceptance.envelope.message.raw().len();
            acceptance.place = Some(admission.place(class(&acceptance.envelope), bytes, None)?);
        }
        Ok(acceptance)
    }

    fn asked(&self, asked: Asked) -> Result<Envelope, Refusal> {
        let limits = Limits {
            message_size: self.read_limit(),
            recipients: self.limits.recipients,
        };
        let message = Message::parse(asked.raw, Profile::Submission, &limits)?;
        let sender = message.sender();
        let domain = sender.domain().clone();
        let speaks_for_itself = match &asked.principal {
            Principal::Agent { address, .. } => address == sender,
            Principal::Anonymous | Principal::Staff { .. } => false,
        };
        if !self.is_local(&domain) || !(speaks_for_itself || task_of_address(sender).is_some()) {
            return Err(Refusal::new(ErrorCode::SenderCredentialMismatch));
        }
        let verification = match asked.principal {
            Principal::Anonymous => {
                let stays = |to: &Address| self.is_local(to.domain());
                if !message.recipients().iter().all(stays) {
                    return Err(Refusal::new(ErrorCode::RelayDenied));
                }
                Verification::a2a_anonymous(&domain)
            }
            Principal::Agent { .. } | Principal::Staff { .. } => {
                Verification::authenticated(&domain)
            }
        };
        let received_at = self.clock.now();
        Ok(Envelope {
            message_id: match message.message_id() {
                Some(id) => id.clone(),
                None => self.clock.mint_v7().into(),
            },
            idempotency_key: match message.idempotency_key() {
                Some(key) => key.clone(),
                None => uuid::Uuid::new_v4().into(),
            },
            // What may be repeated is remembered with the task.
            key_source: KeySource::Minted,
            timestamp: message.timestamp().unwrap_or(received_at),
            origin: Origin::A2a,
            trust: verification.trust(),
            verification,
            received_at,
            remote: Some(asked.remote),
            request_id: asked.request_id,
            answers: None,
            message,
        })
    }
}

/// Whose rate a message counts for. Who shows no credential has an address for each task: there the
/// network it comes from counts.
fn counted(principal: &Principal, envelope: &Envelope) -> Address {
    let sender = envelope.message.sender();
    let network = match (principal, envelope.remote) {
        (Principal::Anonymous, Some(remote)) => network_of(remote),
        _ => return sender.clone(),
    };
    let network = network.to_string().replace([':', '.'], "-");
    let text = format!("a2a+n{network}n@{}", sender.domain());
    Address::parse(&text).unwrap_or_else(|_| sender.clone())
}
