//! Recipients that are refused after their message was taken for others. SMTP has no answer for that, and
//! gateways other than this may not read theirs (AMTP 1.0, section 4).
//!
//! A sender that can be believed gets a bounce; it travels like any other message. One that cannot gets
//! nothing, for a notice to it may go to somebody who never wrote.

use ring::digest::{Context, SHA256};
use uuid::Builder;

use super::{Intake, Made, Refusal};
use crate::envelope::{Origin, Trust};
use crate::protocol::{Address, Bounce, BounceKind, ErrorCode, Heading, IdempotencyKey, MessageId};
use crate::store::{Acceptance, Fate};

/// Who is told.
pub(super) struct Telling {
    intake: Intake,
    sender: Address,
    hops: u32,
    request_id: String,
    message_id: MessageId,
}

/// What is told.
struct Refused {
    recipients: Vec<Address>,
    code: ErrorCode,
}

impl Telling {
    /// Who is told of a judged message: nobody where it has one recipient, whose refusal is that of the
    /// message, or where its sender cannot be believed or is a machine.
    pub(super) fn of(intake: &Intake, acceptance: &Acceptance) -> Option<Box<Self>> {
        let (envelope, message) = (&acceptance.envelope, &acceptance.envelope.message);
        let believed = envelope.trust == Trust::Trusted && !message.is_automatic();
        (believed && acceptance.recipients.len() > 1).then(|| {
            Box::new(Self {
                intake: intake.clone(),
                sender: message.sender().clone(),
                hops: message.hops() + 1,
                request_id: envelope.request_id.clone(),
                message_id: envelope.message_id.clone(),
            })
        })
    }

    /// Tells the sender which recipients did not get its message, where others did: once, not again where
    /// the message had come before. What cannot be told is logged: the message itself is taken.
    pub(super) async fn tell(&self, known_as: &MessageId, addresses: &[Address], fates: &[Fate]) {
        let Some(refused) = refused(addresses, fates) else {
            return;
        };
        if *known_as != self.message_id {
            return;
        }
        if let Err(refusal) = self.bounce(refused).await {
            tracing::warn!(
                message.id = self.message_id.as_str(),
                request.id = self.request_id,
                error.code = refusal.code.as_str(),
                "the sender of a message is not told who did not get it"
            );
        }
    }

    async fn bounce(&self, refused: Refused) -> Result<(), Refusal> {
        let now = self.intake.clock.now();
        let broken = || Refusal::new(ErrorCode::InternalError);
        let domain = refused.recipients.first().ok_or_else(broken)?.domain();
        let postmaster = Address::parse(&format!("postmaster@{domain}")).map_err(|_| broken())?;
        let key = self.key(&refused.recipients);
        let bounce = Bounce {
            original_message_id: self.message_id.clone(),
            failed_recipients: refused.recipients,
            error_code: refused.code.as_str().to_owned(),
            error_message: refused.code.text().to_owned(),
            retry_count: 0,
            final_attempt: Some(now),
        };
        let id: MessageId = self.intake.clock.mint_v7().into();
        let raw = bounce.message(
            BounceKind::Failure,
            &Heading {
                message_id: &id,
                idempotency_key: &key,
                timestamp: now,
                sender: &postmaster,
                recipient: &self.sender,
                hops: self.hops,
            },
        );
        let judged = self.intake.judge_made(Made {
            raw: raw.into(),
            origin: Origin::Bounce,
            request_id: self.request_id.clone(),
        });
        self.intake.store.accept(Box::pin(judged).await?).await?;
        Ok(())
    }

    /// The same for the same message and recipients: who sends it again is not told again.
    fn key(&self, refused: &[Address]) -> IdempotencyKey {
        let mut sum = Context::new(&SHA256);
        for word in [self.sender.to_string(), self.message_id.as_str().to_owned()] {
            sum.update(word.as_bytes());
            sum.update(b"\n");
        }
        for address in refused {
            sum.update(address.to_string().as_bytes());
            sum.update(b"\n");
        }
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&sum.finish().as_ref()[..16]);
        Builder::from_random_bytes(bytes).into_uuid().into()
    }
}

/// Those who were refused, with the code of the first.
fn refused(addresses: &[Address], fates: &[Fate]) -> Option<Refused> {
    let mut codes = Vec::new();
    let mut recipients = Vec::new();
    for (address, fate) in addresses.iter().zip(fates) {
        if let Fate::Refused(code) = fate {
            codes.push(*code);
            recipients.push(address.clone());
        }
    }
    let code = *codes.first()?;
    Some(Refused { recipients, code })
}
