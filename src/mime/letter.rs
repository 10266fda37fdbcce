//! A message on its way into a mail.

use crate::protocol::{Address, Domain, Message, MessageId, Timestamp};

/// Whose address stands in `From`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Face {
    /// `amtp-bridge` of our domain, with the agent's name.
    #[default]
    Bridge,
    /// The agent's own address.
    Agent,
}

/// Everything a mail to one recipient is made of. The same letter always gives the same bytes.
#[derive(Debug, Clone)]
pub struct Letter<'a> {
    /// The message.
    pub message: &'a Message,
    /// The whole message as it travels, from [`crate::protocol::wire::build`]: it goes along as
    /// `message.amtp.json`, byte for byte.
    pub body: &'a [u8],
    /// The id the message travels under.
    pub message_id: &'a MessageId,
    /// The name of the sending agent; its local part stands in where it has none.
    pub sender_name: Option<&'a str>,
    /// Our domain that the mail is sent from: of the address in `From` and of the `Message-ID`.
    pub from_domain: &'a Domain,
    /// Whose address stands in `From`.
    pub face: Face,
    /// The one the mail is for.
    pub recipient: &'a Address,
    /// Whom people answer; the agent as a rule.
    pub reply_to: &'a Address,
    /// The `Message-ID` of the mail this one answers, without angle brackets.
    pub in_reply_to: Option<&'a str>,
    /// The `Message-ID`s of the thread, oldest first, without angle brackets.
    pub references: &'a [String],
    /// When the message was made.
    pub date: Timestamp,
}

/// A mail that is ready to be signed and sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// Header and body with CRLF line endings, in 7-bit ASCII, no line longer than 998 bytes.
    pub bytes: Vec<u8>,
    /// The decoded `Subject`.
    pub subject: String,
    /// The `Message-ID` without angle brackets.
    pub message_id: String,
}

/// Why a message cannot become a mail.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderFault {
    /// An address that mail knows otherwise than AMTP; holds which one.
    #[error("{0} cannot be written as a mail address")]
    Address(Address),
    /// The builder refused the letter, which no valid letter brings about.
    #[error("the mail cannot be built: {0}")]
    Build(String),
}
