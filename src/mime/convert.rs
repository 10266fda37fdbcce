//! A mail as an AMTP message: made of it, or taken out of it.

use crate::protocol::json::write_string;
use crate::protocol::wire::Body;
use crate::protocol::{
    Address, Domain, IdempotencyKey, Limits, Message, MessageId, Profile, SchemaId, Timestamp,
};

use super::mail::{AutoKind, Mail, Mailbox, Part, PartKind};

/// The schema of the messages that [`compose`] makes.
pub const EMAIL_SCHEMA: &str = "agntcy:email.message.v1";

/// The longest subject of a message, in bytes.
const SUBJECT: usize = 998;

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
    let mut body = Body::with_capacity(1_024);
    body.string("version", "1.0");
    body.string("message_id", composition.message_id.as_str());
    body.string("idempotency_key", composition.idempotency_key.as_str());
    body.string("timestamp", &composition.received_at.to_string());
    body.string("sender", composition.sender.as_str());
    body.addresses("recipients", composition.recipients);
    if let Some(subject) = &mail.subject {
        body.string("subject", within(subject, SUBJECT));
    }
    body.string("schema", EMAIL_SCHEMA);
    if let Some(id) = composition.in_reply_to {
        body.string("in_reply_to", id.as_str());
    }
    body.member("headers", &headers(mail, composition));
    body.member("payload", &payload(mail));
    if !composition.files.is_empty() {
        let files = composition.files.iter().map(attachment);
        body.member("attachments", &array(files));
    }
    body.finish()
}

fn headers(mail: &Mail, composition: &Composition<'_>) -> String {
    let mut headers = Body::with_capacity(64);
    headers.member("x-amtp-hops", &composition.hops.to_string());
    if mail.auto != AutoKind::No {
        headers.string("x-amtp-auto", mail.auto.as_str());
    }
    if let [answer] = mail.reply_to.as_slice()
        && let Some(address) = &answer.address
    {
        headers.string("reply-to", address.as_str());
    }
    text(headers)
}

fn payload(mail: &Mail) -> String {
    let mut payload = Body::with_capacity(1_024);
    payload.string("text", mail.text.as_deref().unwrap_or_default());
    for (name, value) in [("html", &mail.html), ("quoted", &mail.quoted)] {
        if let Some(value) = value {
            payload.string(name, value);
        }
    }
    if let Some(from) = &mail.from {
        payload.string("from", &from.written);
        if let Some(name) = &from.name {
            payload.string("from_name", name);
        }
    }
    payload.member("to", &mailboxes(&mail.to));
    for (name, list) in [("cc", &mail.cc), ("reply_to", &mail.reply_to)] {
        if !list.is_empty() {
            payload.member(name, &mailboxes(list));
        }
    }
    payload.string("subject", mail.subject.as_deref().unwrap_or_default());
    if let Some(date) = mail.date {
        payload.string("date", &date.to_string());
    }
    if let Some(id) = &mail.message_id {
        payload.string("message_id", id);
    }
    for (name, ids) in [
        ("in_reply_to", &mail.in_reply_to),
        ("references", &mail.references),
    ] {
        if !ids.is_empty() {
            payload.member(name, &array(ids.iter().map(|id| string(id))));
        }
    }
    if mail.auto != AutoKind::No {
        payload.string("auto", mail.auto.as_str());
    }
    let is_special = |part: &Part| part.kind != PartKind::File || part.content_id.is_some();
    if mail.attachments.iter().any(is_special) {
        payload.member("files", &array(mail.attachments.iter().map(file)));
    }
    text(payload)
}

fn mailboxes(list: &[Mailbox]) -> String {
    let written = list.iter().filter(|it| !it.written.is_empty());
    array(written.map(|it| string(&it.written)))
}

/// What an attachment of the message is in the mail.
fn file(part: &Part) -> String {
    let mut file = Body::with_capacity(128);
    file.string("filename", &part.name);
    file.string("kind", part.kind.as_str());
    if let Some(id) = &part.content_id {
        file.string("content_id", id);
    }
    text(file)
}

fn attachment(file: &FileReference<'_>) -> String {
    let mut attachment = Body::with_capacity(256);
    attachment.string("filename", &file.part.name);
    attachment.string("content_type", &file.part.content_type);
    attachment.member("size", &file.part.bytes.len().to_string());
    attachment.string("hash", &file.part.hash());
    attachment.string("url", file.url);
    text(attachment)
}

fn string(text: &str) -> String {
    let mut json = Vec::with_capacity(text.len() + 2);
    write_string(text, &mut json);
    String::from_utf8(json).expect("built from strings")
}

fn array(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(","))
}

fn text(object: Body) -> String {
    String::from_utf8(object.finish()).expect("built from strings")
}

/// The first bytes of a text, in whole characters.
fn within(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The message that another bridge put into a mail, as it was.
///
/// # Errors
/// There is none, or it does not agree with what was authenticated, with the header fields or with
/// the recipients of the mail. The mail is then to be taken as any other.
pub fn rebuild(mail: &Mail, agreement: &Agreement<'_>) -> Result<Message, RebuildFault> {
    let part = mail.amtp.as_ref().ok_or(RebuildFault::Absent)?;
    let (Some(said_id), Some(said_sender)) = (&part.message_id, &part.sender) else {
        return Err(RebuildFault::Absent);
    };
    let message = Message::parse(part.json.clone(), Profile::Relay, agreement.limits)
        .map_err(|fault| RebuildFault::Message(fault.to_string()))?;
    let is_authenticated = |address: &Address| address.domain() == agreement.authenticated;
    if !mail.author().is_some_and(is_authenticated) || !is_authenticated(message.sender()) {
        let domain = agreement.authenticated.clone();
        return Err(RebuildFault::Sender(domain));
    }
    if message.message_id().map(MessageId::as_str) != Some(said_id) {
        return Err(RebuildFault::Header("X-AMTP-Message-ID"));
    }
    if Address::parse(said_sender).as_ref() != Ok(message.sender()) {
        return Err(RebuildFault::Header("X-AMTP-Sender"));
    }
    let said_schema = part.schema.as_deref().filter(|schema| !schema.is_empty());
    if said_schema != message.schema().map(SchemaId::as_str) {
        return Err(RebuildFault::Header("X-AMTP-Schema"));
    }
    let is_stranger = |recipient: &&Address| !message.recipients().contains(recipient);
    if let Some(stranger) = agreement.recipients.iter().find(is_stranger) {
        return Err(RebuildFault::Recipient(stranger.clone()));
    }
    Ok(message)
}

#[cfg(test)]
mod tests;
