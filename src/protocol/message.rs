//! A message: its bytes as they were received, and what its members say. AMTP 1.0, section 4.
//!
//! A message is checked once, when it is parsed, and never changes. Nothing of the received bytes is
//! lost: unknown members stay, numbers keep their text. `null` and `""` mean that an optional member
//! is absent. What a local client may send and what is taken from a peer differs ([`Profile`]).
//!
//! All faults of a body's fields are reported together; a body that is no strict JSON object
//! ([`super::json`]) is refused with the first fault.

mod attachment;
mod fault;
mod fingerprint;
mod headers;
mod read;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::json::{Entry, Keep, Only, scan, string_of, unescape};
use super::{Address, Coordination, ErrorCode, IdempotencyKey, MessageId, SchemaId, Timestamp};

pub use attachment::Attachment;
pub(crate) use fault::Faults;
pub use fault::{MessageFault, SUPPORTED_VERSIONS, Violation};
pub use headers::Priority;

/// Whose rules a message is checked by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Profile {
    /// A local client's message: strict, and not signed yet.
    Submission,
    /// A peer's message: its payload may be missing, its mistakes in known headers are overlooked,
    /// weak attachment references are kept.
    Relay,
}

/// What ids and a signature may add to a message between a sender and a peer, in bytes.
const MARGIN: usize = 4_096;

impl Profile {
    /// The largest body to take where messages of `message_size` bytes are allowed: less from a
    /// client, because ids and a signature will be added, and more from a peer that added them.
    #[must_use]
    pub const fn body_limit(self, message_size: usize) -> usize {
        match self {
            Self::Submission => message_size.saturating_sub(MARGIN),
            Self::Relay => message_size.saturating_add(MARGIN),
        }
    }
}

/// Bounds that the configuration sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest body, in bytes; see [`Profile::body_limit`].
    pub message_size: usize,
    /// The largest number of distinct recipients.
    pub recipients: usize,
}

/// 10 MiB and 100 recipients.
impl Default for Limits {
    fn default() -> Self {
        Self {
            message_size: 10_485_760,
            recipients: 100,
        }
    }
}

/// A parsed message. Cloning is cheap.
#[derive(Clone)]
pub struct Message(Arc<Inner>);

struct Inner {
    raw: Bytes,
    entries: Box<[Entry]>,
    fields: read::Fields,
}

impl Message {
    /// Checks a body and takes it as a message.
    ///
    /// # Errors
    /// `MESSAGE_TOO_LARGE` over the size limit; `UNSUPPORTED_VERSION`; `INVALID_RECIPIENT` when
    /// nothing but recipient addresses is wrong; `INVALID_MESSAGE_FORMAT` for everything else.
    pub fn parse(raw: Bytes, profile: Profile, limits: &Limits) -> Result<Self, MessageFault> {
        Self::receive(raw, |_| profile, limits)
    }

    /// Checks a body whose sender decides by whose rules it is checked.
    ///
    /// # Errors
    /// As [`Message::parse`].
    pub fn receive(
        raw: Bytes,
        profile_of: impl FnOnce(&Address) -> Profile,
        limits: &Limits,
    ) -> Result<Self, MessageFault> {
        if raw.len() > limits.message_size {
            let rule = format_args!("must have no more than {} bytes", limits.message_size);
            return Err(MessageFault::new(ErrorCode::MessageTooLarge, "", rule));
        }
        let (text, entries) = scan(&raw, Keep::Top, Only::Object)?;
        // Without a readable sender the message is refused anyway; the stricter rules tell more.
        let sender = read::sender(text, &entries);
        let profile = sender.as_ref().map_or(Profile::Submission, profile_of);
        let fields = read::fields((text, &entries), sender, profile, limits)?;
        Ok(Self(Arc::new(Inner {
            entries: entries.into(),
            fields,
            raw,
        })))
    }

    /// The bytes as they were received.
    #[must_use]
    pub fn raw(&self) -> &Bytes {
        &self.0.raw
    }

    /// The members in the order received: each name decoded, each value as raw JSON.
    pub fn members(&self) -> impl Iterator<Item = (Cow<'_, str>, &str)> {
        let name = |entry: &Entry| unescape(self.slice(entry.name.range()));
        let entries = self.0.entries.iter();
        entries.map(move |entry| (name(entry), self.slice(entry.value.range())))
    }

    /// The raw JSON of a member, also when it is `null` or `""`.
    #[must_use]
    pub fn member(&self, wanted: &str) -> Option<&str> {
        let is_wanted = |entry: &&Entry| unescape(self.slice(entry.name.range())) == wanted;
        let entry = self.0.entries.iter().find(is_wanted)?;
        Some(self.slice(entry.value.range()))
    }

    /// The id the sender or its gateway gave; `None` = one has to be minted.
    #[must_use]
    pub fn message_id(&self) -> Option<&MessageId> {
        self.0.fields.message_id.as_ref()
    }

    /// The key the sender or its gateway gave; `None` = one has to be minted.
    #[must_use]
    pub fn idempotency_key(&self) -> Option<&IdempotencyKey> {
        self.0.fields.idempotency_key.as_ref()
    }

    /// When the message was made, as the sender says. The year 1 means nothing was said.
    #[must_use]
    pub fn timestamp(&self) -> Option<Timestamp> {
        self.0.fields.timestamp
    }

    /// Who the message says it is from; nothing here proves it.
    #[must_use]
    pub fn sender(&self) -> &Address {
        &self.0.fields.sender
    }

    /// Who the message is for: at least one, each once, in order.
    #[must_use]
    pub fn recipients(&self) -> &[Address] {
        &self.0.fields.recipients
    }

    /// A line for people.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.0.fields.subject.as_deref()
    }

    /// What the payload claims to be.
    #[must_use]
    pub fn schema(&self) -> Option<&SchemaId> {
        self.0.fields.schema.as_ref()
    }

    /// The content as raw JSON; `null` when a peer left it out.
    #[must_use]
    pub fn payload(&self) -> &str {
        let payload = self.0.fields.payload.clone();
        payload.map_or("null", |place| self.slice(place))
    }

    /// The raw JSON of a header; `None` if absent, `null` or `""`.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let headers = &self.0.fields.headers;
        headers.find(self.slice(headers.place.clone()), name)
    }

    /// How urgent the sender thinks the message is.
    #[must_use]
    pub fn priority(&self) -> Priority {
        self.0.fields.headers.priority
    }

    /// Whom people should answer; programs answer the sender.
    #[must_use]
    pub fn reply_to(&self) -> Option<&Address> {
        self.0.fields.headers.reply_to.as_ref()
    }

    /// From when on the message is of no use.
    #[must_use]
    pub fn expires(&self) -> Option<Timestamp> {
        self.0.fields.headers.expires
    }

    /// How many gateways made the message and its causes, as `x-amtp-hops` says; 0 if it says nothing.
    /// Only to be believed from a trusted sender.
    #[must_use]
    pub fn hops(&self) -> u32 {
        self.0.fields.headers.hops
    }

    /// Whether a gateway made this message by itself in answer to another (`x-amtp-auto`); never answer it so.
    #[must_use]
    pub fn is_automatic(&self) -> bool {
        self.header("x-amtp-auto").is_some()
    }

    /// Whether this is the notice of a failed delivery.
    #[must_use]
    pub fn is_bounce(&self) -> bool {
        let kind = self.member("message_type").and_then(string_of);
        kind.as_deref() == Some("delivery_failure")
    }

    /// The message or workflow this one answers.
    #[must_use]
    pub fn in_reply_to(&self) -> Option<&MessageId> {
        self.0.fields.in_reply_to.as_ref()
    }

    /// The workflow this message belongs to.
    #[must_use]
    pub fn workflow_id(&self) -> Option<&MessageId> {
        self.0.fields.workflow_id.as_ref()
    }

    /// What kind of answer this is: `workflow_response`, `workflow_error`, `error` or another.
    #[must_use]
    pub fn response_type(&self) -> Option<&str> {
        self.0.fields.response_type.as_deref()
    }

    /// The coordination as raw JSON.
    #[must_use]
    pub fn coordination(&self) -> Option<&str> {
        let place = self.0.fields.coordination.clone();
        place.map(|place| self.slice(place))
    }

    /// What the coordination says. Only a submission's is read; see [`Coordination::parse`].
    #[must_use]
    pub fn plan(&self) -> Option<&Coordination> {
        self.0.fields.plan.as_ref()
    }

    /// The files the message refers to.
    #[must_use]
    pub fn attachments(&self) -> &[Attachment] {
        &self.0.fields.attachments
    }

    /// The signature as raw JSON, of whatever shape; never there in a submission.
    #[must_use]
    pub fn signature(&self) -> Option<&str> {
        let place = self.0.fields.signature.clone();
        place.map(|place| self.slice(place))
    }

    /// Equal for two requests that say the same: SHA-256 over all but ids, times, addresses and hop headers.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        fingerprint::of(self)
    }

    /// A piece of the message. Only its own bytes are looked at, so large messages stay cheap.
    fn slice(&self, place: Range<usize>) -> &str {
        std::str::from_utf8(&self.0.raw[place]).expect("a piece of a scanned message is UTF-8")
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("bytes", &self.0.raw.len())
            .field("fields", &self.0.fields)
            .finish()
    }
}

/// Whether a raw value stands for an absent one.
pub(crate) fn is_absent(value: &str) -> bool {
    matches!(value, "null" | "\"\"")
}

#[cfg(test)]
pub(crate) mod tests;
