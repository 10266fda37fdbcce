//! Which message of ours a mail answers.

use super::super::{Intake, Refusal};
use crate::mime::{Mail, mapping};
use crate::protocol::{Address, MessageId};
use crate::store::Party;

/// Ids of a mail that are looked up.
const MOST: usize = 20;

impl Intake {
    /// The own id of the message that a mail answers: what it says it answers first, then its thread
    /// from the latest on. It counts only where the writer got that message, or sent it.
    pub(super) async fn answered_by_mail(
        &self,
        mail: &Mail,
        writer: &Address,
    ) -> Result<Option<MessageId>, Refusal> {
        let thread = mail.references.iter().rev();
        for written in mail.in_reply_to.iter().chain(thread).take(MOST) {
            let ours = mapping::read_message_id(written, |domain| self.is_local(domain));
            let Some(id) = ours else { continue };
            let own = self.store.find_aliased(&id).await?.unwrap_or(id);
            if self.is_party(&own, writer).await? {
                return Ok(Some(own));
            }
        }
        Ok(None)
    }

    async fn is_party(&self, id: &MessageId, writer: &Address) -> Result<bool, Refusal> {
        let found = self.store.find_message(id, &Party::Operator).await?;
        let key = writer.key();
        Ok(found.iter().any(|tracked| {
            let mut recipients = tracked.recipients.iter();
            tracked.message.sender == key
                || recipients.any(|state| state.address.eq_ignore_ascii_case(&key))
        }))
    }
}
