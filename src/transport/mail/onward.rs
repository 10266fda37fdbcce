//! Mail for people of our own domains, on its way to the server that has their mailboxes.
//!
//! It goes on as it came, behind two fields of ours: who passed it on, and how many gateways did, so that
//! what goes in a circle comes to an end. Reports about it come back here, as those about any mail of ours,
//! and reach its sender from here; reports about what machines wrote reach nobody.

use super::compose::{Written, kept_from_us};
use super::report::date;
use super::{MailTransport, trouble};
use crate::envelope::Origin;
use crate::protocol::ErrorCode;
use crate::store::raw_mail_id;
use crate::transport::{Copy, Fault, Outcome, Parcel};

impl MailTransport {
    /// Whether a message came as mail for a person of ours.
    pub(super) fn is_passed_on(&self, parcel: &Parcel, copy: &Copy) -> bool {
        let is_ours = self.settings.domains.contains(copy.recipient.domain());
        parcel.stored.origin == Origin::Mail && is_ours
    }

    /// The mail that a message was made of.
    pub(super) async fn pass_on(&self, parcel: &Parcel, copy: &Copy) -> Result<Written, Outcome> {
        let lost =
            |words: &str| Outcome::Failed(trouble(ErrorCode::InternalError, Fault::Message, words));
        let message = &parcel.message;
        let key = parcel.stored.idempotency_key(message);
        let key = key.map_err(|error| lost(&error.to_string()))?;
        let found = self
            .store
            .read_blob(&raw_mail_id(&parcel.stored.sender, &key))
            .await;
        let mail = found.map_err(|error| kept_from_us(&error))?;
        let mail = mail.ok_or_else(|| lost("the mail is no longer kept here"))?;
        let fields = format!(
            "Received: by {} with ESMTP id {}\r\n for <{}>; {}\r\nX-AMTP-Hops: {}\r\n",
            self.settings.host,
            parcel.stored.message_id.as_str(),
            copy.recipient,
            date(self.clock.now()),
            message.hops(),
        );
        let from = match message.is_automatic() {
            true => String::new(),
            false => self.return_path(parcel, copy, copy.recipient.domain()),
        };
        Ok(Written {
            from,
            bytes: [fields.as_bytes(), &mail].concat(),
        })
    }
}
