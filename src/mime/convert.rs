//! A mail as an AMTP message: made of it, or taken out of it.

use crate::protocol::{Address, Domain, IdempotencyKey, Limits, Message, MessageId, Timestamp};

use super::mail::{Mail, Part};

/// The schema of the messages that [`compose`] makes.
pub const EMAIL_SCHEMA: &str = "agntcy:email.message.v1";

/// A file of a mail that was stored, as the message names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileReference<'a> {
    /// The file.
    pub part: &'a Part,
    /// Where the recipient can fetch it; https.
    pub url: &'a str,
}

/// What a message that is made of a mail needs beside it.
#[derive(Debug, Clone)]
pub struct Composition<'a> {
    /// A fresh id.
    pub message_id: &'a MessageId,
    /// The key: the same for the same mail.
    pub idempotency_key: &'a IdempotencyKey,
    /// When the mail arrived; the message is dated so, and what the mail says stands in the payload.
    pub received_at: Timestamp,
    /// Who wrote it, as [`Mail::author`] or the envelope says.
    pub sender: &'a Address,
    /// Our agents that get it; at least one.
    pub recipients: &'a [Address],
    /// The message it answers.
    pub in_reply_to: Option<&'a MessageId>,
    /// The hops of its cause and one more.
    pub hops: u32,
    /// The files, in the order of the mail.
    pub files: &'a [FileReference<'a>],
}

/// With what a message inside a mail must agree.
#[derive(Debug, Clone, Copy)]
pub struct Agreement<'a> {
    /// The domain that was authenticated for the mail and is aligned with its `From`.
    pub authenticated: &'a Domain,
    /// The recipients of the envelope.
    pub recipients: &'a [Address],
    /// The bounds of a message.
    pub limits: &'a Limits,
}

/// Why the message inside a mail is not taken; the mail itself is still one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RebuildFault {
    /// There is none, or the header fields that go with it are missing.
    #[error("the mail carries no AMTP message")]
    Absent,
    /// It is no message.
    #[error("the AMTP message in the mail is not valid: {0}")]
    Message(String),
    /// Another domain's sender than the one that was authenticated.
    #[error("the sender of the AMTP message is not of the authenticated domain {0}")]
    Sender(Domain),
    /// A header field says something else than the message; holds its name.
    #[error("{0} does not agree with the AMTP message")]
    Header(&'static str),
    /// The mail went to somebody who is no recipient of the message; holds who.
    #[error("{0} is no recipient of the AMTP message")]
    Recipient(Address),
}

/// The AMTP message that a mail is: JSON with the schema [`EMAIL_SCHEMA`].
#[must_use]
pub fn compose(mail: &Mail, composition: &Composition<'_>) -> Vec<u8> {
    let _ = (mail, composition);
    Vec::new()
}

/// The message that another bridge put into a mail, as it was.
///
/// # Errors
/// There is none, or it does not agree with what was authenticated, with the header fields or with
/// the recipients of the mail. The mail is then to be taken as any other.
pub fn rebuild(mail: &Mail, agreement: &Agreement<'_>) -> Result<Message, RebuildFault> {
    let _ = (mail, agreement);
    Err(RebuildFault::Absent)
}
