//! Recipients that are refused after their mail was taken for others: SMTP has no answer for that.
//!
//! A sender that can be believed gets a bounce, as a peer's does; it travels like any other message. One
//! that cannot gets nothing, for a notice to it may go to somebody who never wrote.

use super::super::{Intake, Made, Receipt, Refusal};
use crate::envelope::{Origin, Trust};
use crate::protocol::{Address, Bounce, BounceKind, ErrorCode, Heading, IdempotencyKey, MessageId};
use crate::store::{Acceptance, Plan};

/// Who is told, and of what.
pub(super) struct Telling {
    sender: Address,
    hops: u32,
    request_id: String,
    message_id: MessageId,
    refused: Vec<Address>,
    code: ErrorCode,
}

impl Telling {
    /// What is to be told of a judged message: nothing where nobody is refused, or where its sender
    /// cannot be believed or is a machine.
    pub(super) fn of(acceptance: &Acceptance) -> Option<Self> {
        let (envelope, message) = (&acceptance.envelope, &acceptance.envelope.message);
        let mut codes = Vec::new();
        let mut refused = Vec::new();
        for planned in &acceptance.recipients {
            if let Plan::Refused(code) = planned.plan {
                codes.push(code);
                refused.push(planned.address.clone());
            }
        }
        let believed = envelope.trust == Trust::Trusted && !message.is_automatic();
        Some(Self {
            sender: message.sender().clone(),
            hops: message.hops() + 1,
            request_id: envelope.request_id.clone(),
            message_id: envelope.message_id.clone(),
            refused,
            code: *codes.first().filter(|_| believed)?,
        })
    }
}

impl Intake {
    /// Tells the sender which recipients did not get its mail, where others did: once, not again where
    /// the mail had come before. What cannot be told is logged: the mail itself is taken.
    pub(super) async fn tell_refused(&self, receipt: &Receipt, telling: Option<Telling>) {
        let Some(telling) = telling.filter(|it| it.message_id == receipt.message_id) else {
            return;
        };
        if let Err(refusal) = self.bounce(&telling).await {
            tracing::warn!(
                message.id = telling.message_id.as_str(),
                request.id = telling.request_id,
                error.code = refusal.code.as_str(),
                "the sender of a mail is not told who did not get it"
            );
        }
    }

    async fn bounce(&self, telling: &Telling) -> Result<(), Refusal> {
        let now = self.clock.now();
        let broken = || Refusal::new(ErrorCode::InternalError);
        let domain = telling.refused.first().ok_or_else(broken)?.domain();
        let postmaster = Address::parse(&format!("postmaster@{domain}")).map_err(|_| broken())?;
        let bounce = Bounce {
            original_message_id: telling.message_id.clone(),
            failed_recipients: telling.refused.clone(),
            error_code: telling.code.as_str().to_owned(),
            error_message: telling.code.text().to_owned(),
            retry_count: 0,
            final_attempt: Some(now),
        };
        let id: MessageId = self.clock.mint_v7().into();
        let key: IdempotencyKey = uuid::Uuid::new_v4().into();
        let raw = bounce.message(
            BounceKind::Failure,
            &Heading {
                message_id: &id,
                idempotency_key: &key,
                timestamp: now,
                sender: &postmaster,
                recipient: &telling.sender,
                hops: telling.hops,
            },
        );
        let judged = self.judge_made(Made {
            raw: raw.into(),
            origin: Origin::Bounce,
            request_id: telling.request_id.clone(),
        });
        self.store.accept(Box::pin(judged).await?).await?;
        Ok(())
    }
}
