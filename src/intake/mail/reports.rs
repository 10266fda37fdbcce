//! Mail to return paths of ours, and other reports about mail of ours.
//!
//! - What a machine sends to a return path is a note on the delivery that the path is of, whoever it
//!   says it is from: the path is proof enough, and most reports have no other. It never becomes a
//!   message.
//! - A person may answer there: some mail programs do. If it is the one who got that mail, her answer
//!   goes to the agent as an answer to its message, and is judged like any mail. Anybody else is told
//!   that nobody reads mail there.
//! - A report to another address that names a message of ours by its `Message-ID` counts only like a
//!   bounce of a gateway: its sender can be believed and speaks for its own domain's recipients.
//!   Whatever it says, it is also delivered where it was addressed to, as a message that nobody answers
//!   by itself.

use super::super::{Admitted, Heard, Intake, Refusal};
use super::Posted;
use crate::envelope::Trust;
use crate::mime::{Action, AutoKind, Mail, mapping};
use crate::protocol::{Address, ErrorCode, MessageId};
use crate::store::ReturnPath;

/// What is left of a mail's recipients once its return paths are seen to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rest {
    /// Who gets the mail.
    pub recipients: Vec<Address>,
    /// Our own id of the message that a return path says it answers.
    pub answers: Option<MessageId>,
    /// How many recipients were return paths.
    pub paths: usize,
    /// Of these, how many are answered by a note or with the mail's going to an agent.
    pub heard: usize,
}

impl Intake {
    /// The delivery of ours that mail to an address is about.
    pub(super) fn return_path(&self, address: &Address) -> Option<ReturnPath> {
        let sealer = self.mail.as_ref()?.returns.as_ref()?;
        let local = Some(address.local()).filter(|_| self.is_local(address.domain()));
        sealer.read_return_path(local?)
    }

    /// Notes what a mail says of the deliveries that its return paths are about, before anything is
    /// asked about its sender. Answers what is left to do.
    ///
    /// # Errors
    /// [`Refusal`]: it cannot be noted now.
    pub async fn note_returns(
        &self,
        mail: &Mail,
        reverse_path: &str,
        recipients: &[Address],
    ) -> Result<Rest, Refusal> {
        let mut rest = Rest::default();
        let by_person = is_by_person(mail, reverse_path);
        for address in recipients {
            let Some(path) = self.return_path(address) else {
                rest.add(address.clone());
                continue;
            };
            rest.paths += 1;
            if by_person {
                self.note_answer(path, mail, &mut rest).await?;
                continue;
            }
            if !self.space.has_room() || !self.store.is_present() {
                return Err(Refusal::no_room());
            }
            self.take_returned(path, &Heard::of(mail)).await?;
            rest.heard += 1;
        }
        Ok(rest)
    }

    /// A person's answer that went to the return path of the mail she got.
    async fn note_answer(
        &self,
        path: ReturnPath,
        mail: &Mail,
        rest: &mut Rest,
    ) -> Result<(), Refusal> {
        let Some(sent) = self.store.find_sent(path).await? else {
            return Ok(());
        };
        let is_hers = mail
            .author()
            .is_some_and(|author| author.key() == sent.recipient.key());
        if !is_hers {
            return Ok(());
        }
        let agent = sent.stored.message().ok().map(|it| it.sender().clone());
        let Some(agent) = agent else {
            return Ok(());
        };
        if self.admits(&agent).await? == Admitted::Yes {
            rest.add(agent);
            rest.answers = Some(sent.stored.message_id);
            rest.heard += 1;
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

impl Rest {
    fn add(&mut self, address: Address) {
        if !self.recipients.contains(&address) {
            self.recipients.push(address);
        }
    }
}

/// Whether nothing says that a machine wrote it.
fn is_by_person(mail: &Mail, reverse_path: &str) -> bool {
    mail.auto == AutoKind::No
        && mail.report.is_none()
        && mail.complaint.is_none()
        && !reverse_path.is_empty()
}
