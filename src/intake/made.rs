//! Messages this gateway makes itself: bounces and replies.
//!
//! They are judged like any other and stored in the commit that brings them forth. Their sender is
//! one of ours, so no credential is asked for.

use bytes::Bytes;

use super::{Intake, Refusal};
use crate::envelope::{Envelope, KeySource, Origin, Trust, Verification};
use crate::protocol::{ErrorCode, Limits, Message, Profile};
use crate::store::Acceptance;

/// A message this gateway made.
#[derive(Debug, Clone)]
pub struct Made {
    /// Its text.
    pub raw: Bytes,
    /// What brought it forth.
    pub origin: Origin,
    /// The request that the cause came in.
    pub request_id: String,
}

impl Intake {
    /// Judges a message of our own making; stores nothing.
    ///
    /// # Errors
    /// [`Refusal`]: it cannot go where it is to go.
    pub async fn judge_made(&self, made: Made) -> Result<Acceptance, Refusal> {
        let envelope = self.made(made)?;
        let is_reply = envelope.origin == Origin::Reply;
        let mut acceptance = self.judge(envelope, None).await?;
        // A reply is an agent's word; a notice of ours is not up to policies.
        if is_reply {
            self.pass(&mut acceptance).await?;
        }
        Ok(acceptance)
    }

    /// How a message of our own making came.
    pub(super) fn made(&self, made: Made) -> Result<Envelope, Refusal> {
        let message = Message::parse(
            made.raw,
            Profile::Relay,
            &Limits {
                message_size: self.read_limit(),
                recipients: self.limits.recipients,
            },
        )?;
        let domain = message.sender().domain().clone();
        if !self.names.is_local(&domain) {
            return Err(Refusal::new(ErrorCode::InternalError));
        }
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
            // Nobody can repeat it, so no row is kept.
            key_source: KeySource::Minted,
            timestamp: message.timestamp().unwrap_or(received_at),
            origin: made.origin,
            trust: Trust::Local,
            verification: Verification::internal(&domain),
            received_at,
            remote: None,
            request_id: made.request_id,
            answers: None,
            message,
        })
    }
}
