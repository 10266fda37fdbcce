//! Mail that comes back to an address of ours made for it: reports of failures, complaints, and what
//! machines answer.
//!
//! The address itself says which delivery it is about, and nobody can make one up; the text of a report
//! only says what happened. A failure turns the delivery from delivered to failed, tells its sender, and
//! puts an address that is gone on the list of those that get no more mail. None of it ever becomes a
//! message an agent would answer. What comes twice counts once.

use std::time::Duration;

use uuid::Uuid;

use super::{Intake, Made, Refusal};
use crate::envelope::{Origin, Trust};
use crate::mime::{Action, Mail};
use crate::protocol::{Address, Bounce, BounceKind, ErrorCode, Heading, IdempotencyKey, MessageId};
use crate::store::{Acceptance, Because, MailFailure, ReturnPath, Sent};

/// A report that comes before the end of its delivery is written waits so many times so long; then it
/// is asked to come again.
const TURNS: u32 = 5;
const TURN: Duration = Duration::from_millis(200);

/// What a mail that came back says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// The delivery has failed for good.
    Failed {
        /// The enhanced status code, such as `5.1.1`.
        status: Option<String>,
        /// What the other server said.
        diagnostic: Option<String>,
    },
    /// The recipient complained of it.
    Complaint,
    /// Anything else: that it is late, that somebody is away.
    Nothing,
}

impl Heard {
    /// What a mail to a return path says. One that is no report says nothing, whatever is in it: such
    /// addresses belong to nobody.
    #[must_use]
    pub fn of(mail: &Mail) -> Self {
        if mail.complaint.is_some() {
            return Self::Complaint;
        }
        let reported = mail.report.iter().flat_map(|report| &report.recipients);
        let mut failed = reported.filter(|it| it.action == Action::Failed);
        failed.next().map_or(Self::Nothing, |it| Self::Failed {
            status: it.status.clone(),
            diagnostic: it.diagnostic.clone(),
        })
    }
}

/// What became of a mail that came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Returned {
    /// The delivery has failed after all; its sender is told.
    Failed,
    /// The address gets no more mail.
    Suppressed,
    /// It changes nothing: it was known, or says nothing that counts.
    Ignored,
}

impl Intake {
    /// Takes what a mail to a return path says.
    ///
    /// # Errors
    /// [`Refusal`] when the store cannot take it now, or the end of the delivery is not written yet:
    /// whoever has the mail keeps it and comes again.
    pub async fn take_returned(
        &self,
        path: ReturnPath,
        heard: &Heard,
    ) -> Result<Returned, Refusal> {
        if *heard == Heard::Nothing {
            return Ok(Returned::Ignored);
        }
        let Some(sent) = self.ended(path).await? else {
            return Ok(Returned::Ignored);
        };
        match heard {
            Heard::Complaint => self.complained(&sent).await,
            Heard::Failed { status, diagnostic } if sent.delivered => {
                let said = (status.as_deref(), diagnostic.as_deref());
                self.failed(path, &sent, said).await
            }
            Heard::Failed { .. } | Heard::Nothing => Ok(Returned::Ignored),
        }
    }

    /// What was sent, once its end is written: a report may be faster than that.
    async fn ended(&self, path: ReturnPath) -> Result<Option<Sent>, Refusal> {
        for _ in 0..TURNS {
            // In this order: a delivery may end in between.
            let is_early = self.store.is_under_way(path).await?;
            let sent = self.store.find_sent(path).await?;
            if sent.is_some() || !is_early {
                return Ok(sent);
            }
            self.clock.wait(TURN).await;
        }
        Err(Refusal::no_room())
    }

    async fn complained(&self, sent: &Sent) -> Result<Returned, Refusal> {
        let because = (Because::Complaint, "the recipient complained".to_owned());
        let by = (sent.stored.mid, self.clock.now());
        self.store.suppress(&sent.recipient, because, by).await?;
        tracing::warn!(
            message.id = sent.stored.message_id.as_str(),
            message.recipient = %sent.recipient,
            "a recipient complained of a mail: no more goes there"
        );
        Ok(Returned::Suppressed)
    }

    async fn failed(
        &self,
        path: ReturnPath,
        sent: &Sent,
        (status, diagnostic): (Option<&str>, Option<&str>),
    ) -> Result<Returned, Refusal> {
        let (code, gone) = meaning(status);
        let text = words(status, diagnostic);
        let failure = MailFailure {
            path,
            code,
            text: text.clone(),
            at: self.clock.now(),
            suppress: gone.then_some(Because::HardBounce),
        };
        let notice = self.notice(sent, (code, &text)).await;
        self.store.fail_returned(failure, notice).await?;
        self.metrics.queue().bounced("received", 1);
        tracing::info!(
            message.id = sent.stored.message_id.as_str(),
            message.recipient = %sent.recipient,
            error.code = code.as_str(),
            error.text = text,
            "a mail came back"
        );
        Ok(Returned::Failed)
    }

    /// The notice to the sender, where one is due.
    async fn notice(&self, sent: &Sent, (code, text): (ErrorCode, &str)) -> Option<Acceptance> {
        let stored = &sent.stored;
        let message = stored.message().ok()?;
        let is_notice = stored.origin == Origin::Bounce || message.is_bounce();
        if is_notice || stored.trust == Trust::Unverified {
            return None;
        }
        let domain = [message.sender(), &sent.recipient]
            .into_iter()
            .map(Address::domain)
            .find(|domain| self.is_local(domain))?;
        let postmaster = Address::parse(&format!("postmaster@{domain}")).ok()?;
        let id = MessageId::parse(&self.clock.mint_v7().to_string()).ok()?;
        let key = IdempotencyKey::parse(&Uuid::new_v4().to_string()).ok()?;
        let now = self.clock.now();
        let bounce = Bounce {
            original_message_id: stored.message_id.clone(),
            failed_recipients: vec![sent.recipient.clone()],
            error_code: code.as_str().to_owned(),
            error_message: text.to_owned(),
            retry_count: sent.attempts.saturating_sub(1),
            final_attempt: Some(now),
        };
        let heading = Heading {
            message_id: &id,
            idempotency_key: &key,
            timestamp: now,
            sender: &postmaster,
            recipient: message.sender(),
            hops: message.hops() + 1,
        };
        let made = Made {
            raw: bounce.message(BounceKind::Failure, &heading).into(),
            origin: Origin::Bounce,
            request_id: stored.notes.request_id.clone(),
        };
        self.judge_made(made).await.ok()
    }
}

/// What a status says, and whether the address is gone (RFC 3463).
fn meaning(status: Option<&str>) -> (ErrorCode, bool) {
    let mut numbers = status.unwrap_or_default().split('.').skip(1);
    let mut number = || numbers.next().and_then(|part| part.parse::<u16>().ok());
    match (number(), number()) {
        (Some(1), Some(1 | 3 | 6 | 10)) => (ErrorCode::RecipientNotFound, true),
        (Some(1), _) => (ErrorCode::RecipientNotFound, false),
        (Some(2), Some(1)) => (ErrorCode::RecipientUnavailable, true),
        (Some(2), Some(2)) => (ErrorCode::MailboxFull, false),
        (Some(2), Some(3)) | (Some(3), Some(4)) => (ErrorCode::MessageTooLarge, false),
        (Some(7), _) => (ErrorCode::PolicyDenied, false),
        _ => (ErrorCode::RecipientUnavailable, false),
    }
}

/// One line of what was said, at most 400 characters.
fn words(status: Option<&str>, diagnostic: Option<&str>) -> String {
    let plain = |text: &str| -> String {
        let shown = text
            .chars()
            .map(|it| if it.is_control() { ' ' } else { it });
        shown.take(380).collect()
    };
    let status = plain(status.unwrap_or("5.0.0"));
    match diagnostic {
        Some(said) => format!("the mail came back: {} {}", &status, plain(said)),
        None => format!("the mail came back: {status}"),
    }
}

#[cfg(test)]
mod tests;
