//! Reports about mail of ours: notes on what they are about.
//!
//! A report to a return path of ours says what became of the delivery that the path is of. Another that names a message of ours by
//! its `Message-ID` counts only like a bounce of a gateway: its sender can be believed and speaks for
//! its own domain's recipients. Whatever it says, it is also delivered where it was addressed to, as a
//! message that nobody answers by itself.

use super::super::{Heard, Intake, Refusal};
use super::Posted;
use crate::envelope::Trust;
use crate::mime::{Action, mapping};
use crate::protocol::{Address, ErrorCode};
use crate::store::ReturnPath;

impl Intake {
    /// The delivery of ours that mail to an address is about.
    pub(super) fn return_path(&self, address: &Address) -> Option<ReturnPath> {
        let sealer = self.mail.as_ref()?.returns.as_ref()?;
        let local = Some(address.local()).filter(|_| self.is_local(address.domain()));
        sealer.read_return_path(local?)
    }

    /// Notes what a mail says of the deliveries that its return paths are about. Answers who else gets it.
    pub(super) async fn note_returns(&self, posted: &Posted) -> Result<Vec<Address>, Refusal> {
        let mut others = Vec::new();
        for address in &posted.recipients {
            match self.return_path(address) {
                Some(path) => {
                    let heard = Heard::of(&posted.mail);
                    self.take_returned(path, &heard).await?;
                }
                None => others.push(address.clone()),
            }
        }
        Ok(others)
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
