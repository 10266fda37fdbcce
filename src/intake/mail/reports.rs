//! Reports about mail of ours: notes on what they are about.
//!
//! A report to a return path of ours is noted by who made the path. One that names a message of ours by
//! its `Message-ID` counts only like a bounce of a gateway: its sender can be believed and speaks for
//! its own domain's recipients. Whatever it says, it is also delivered where it was addressed to, as a
//! message that nobody answers by itself.

use super::super::{Intake, Refusal};
use super::Posted;
use crate::envelope::Trust;
use crate::mime::{Action, mapping};
use crate::protocol::{Address, ErrorCode};

impl Intake {
    /// Whether it is a return path of mail of ours.
    pub(super) fn is_return_path(&self, address: &Address) -> bool {
        let returns = self.mail.as_ref().and_then(|door| door.returns.as_ref());
        self.is_local(address.domain())
            && returns.is_some_and(|returns| returns.knows(address.local()))
    }

    /// Notes a mail to return paths.
    pub(super) async fn note_returns(
        &self,
        paths: &[Address],
        posted: &Posted,
    ) -> Result<(), Refusal> {
        let returns = self.mail.as_ref().and_then(|door| door.returns.as_ref());
        let Some(returns) = returns else {
            return Ok(());
        };
        for path in paths {
            returns.note(path.local(), posted).await?;
        }
        Ok(())
    }

    /// Notes what a believed report says of a message it names.
    pub(super) async fn note_report(&self, posted: &Posted) -> Result<(), Refusal> {
        let (Some(report), Some(speaker)) = (&posted.mail.report, posted.mail.author()) else {
            return Ok(());
        };
        let domain = speaker.domain();
        let named = report.original_message_id.as_deref();
        let named = named.and_then(|id| mapping::read_message_id(id, |of| self.is_local(of)));
        let failed: Vec<Address> = report
            .recipients
            .iter()
            .filter(|it| it.action == Action::Failed)
            .filter_map(|it| it.original.clone().or_else(|| it.recipient.clone()))
            .collect();
        let may_speak = posted.verdict.verification(domain).trust() == Trust::Trusted
            && failed.iter().all(|recipient| recipient.domain() == domain);
        let Some(id) = named.filter(|_| may_speak && !failed.is_empty()) else {
            return Ok(());
        };
        let (code, now) = (ErrorCode::RecipientUnavailable, self.clock.now());
        let noted = self.store.note_bounce(&id, &failed, code, now).await?;
        if noted > 0 {
            self.metrics.queue().bounced("received", noted);
        }
        Ok(())
    }
}
