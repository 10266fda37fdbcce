//! Incoming bounces: what a peer says of a message of ours.
//!
//! A bounce counts only if its sender can be believed, stands in the domain of every recipient it
//! names, and the message it names is ours and was sent there (AMTP 1.0, section 8.2.2). Anything
//! else is plain mail.

use super::{Intake, Refusal};
use crate::envelope::{Envelope, Trust};
use crate::protocol::{Bounce, ErrorCode};

impl Intake {
    /// Notes on the original message what a believed bounce says. Repeating it changes nothing.
    pub(super) async fn note_bounce(&self, envelope: &Envelope) -> Result<(), Refusal> {
        let Some(bounce) = Bounce::from_message(&envelope.message) else {
            return Ok(());
        };
        let speaker = envelope.message.sender().domain();
        let may_speak = envelope.trust == Trust::Trusted
            && bounce
                .failed_recipients
                .iter()
                .all(|failed| failed.domain() == speaker);
        if !may_speak {
            tracing::info!(
                message.id = envelope.message_id.as_str(),
                peer.domain = speaker.as_str(),
                "a bounce that cannot be believed is taken as plain mail"
            );
            return Ok(());
        }
        let code = ErrorCode::parse(&bounce.error_code).unwrap_or(ErrorCode::RecipientUnavailable);
        let noted = self
            .store
            .note_bounce(
                &bounce.original_message_id,
                &bounce.failed_recipients,
                code,
                envelope.received_at,
            )
            .await?;
        if noted > 0 {
            self.metrics.queue().bounced("received", noted);
        }
        Ok(())
    }
}
