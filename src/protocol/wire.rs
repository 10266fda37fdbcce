//! What is sent: the received members as raw text, with the few the gateway sets replaced.
//!
//! This is the only place that builds a message out of another one. A member keeps its received
//! text when it already says what is to be said, so that numbers, unknown members and a signer's
//! spelling survive. The order is `version`, `message_id`, `idempotency_key`, `timestamp`, then the
//! received order, then what was missing, then the extra members.

use super::json::{scan_object, write_string};
use super::message::SUPPORTED_VERSIONS;
use super::{Address, IdempotencyKey, Message, MessageId, Timestamp};

/// What becomes of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Edit<T> {
    /// Stays as it was received, also when it was not there.
    #[default]
    Keep,
    /// Has this value.
    Set(T),
    /// Is left out.
    Omit,
}

/// The members that differ from the received ones.
#[derive(Debug, Clone, Copy)]
pub struct Replace<'a> {
    /// The id on the wire.
    pub message_id: &'a MessageId,
    /// The key on the wire.
    pub idempotency_key: &'a IdempotencyKey,
    /// The time on the wire; a received text that says the same moment stays.
    pub timestamp: Timestamp,
    /// Who speaks; `None` = the sender.
    pub sender: Option<&'a Address>,
    /// Whom this representation is for; `None` = those the sender wrote.
    pub recipients: Option<&'a [Address]>,
    /// The message or workflow this one answers.
    pub in_reply_to: Edit<&'a MessageId>,
    /// The workflow it belongs to.
    pub workflow_id: Edit<&'a MessageId>,
    /// Headers to set, as name (`x-amtp-…`) and raw JSON. Others stay.
    pub amtp_headers: &'a [(&'a str, &'a str)],
    /// The signature as raw JSON.
    pub signature: Edit<&'a str>,
    /// Members to append, as name and raw JSON, such as the `status` of an inbox view. A received
    /// member of such a name is dropped: nobody can forge one.
    pub extra: &'a [(&'a str, &'a str)],
}

impl<'a> Replace<'a> {
    /// Sets what every message on the wire has, and keeps all else.
    #[must_use]
    pub const fn identity(
        message_id: &'a MessageId,
        idempotency_key: &'a IdempotencyKey,
        timestamp: Timestamp,
    ) -> Self {
        Self {
            message_id,
            idempotency_key,
            timestamp,
            sender: None,
            recipients: None,
            in_reply_to: Edit::Keep,
            workflow_id: Edit::Keep,
            amtp_headers: &[],
            signature: Edit::Keep,
            extra: &[],
        }
    }
}

/// The body to send or to show.
#[must_use]
pub fn build(message: &Message, replace: &Replace<'_>) -> Vec<u8> {
    let mut body = Body::with_capacity(message.raw().len() + 512);
    body.string("version", SUPPORTED_VERSIONS[0]);
    body.string("message_id", replace.message_id.as_str());
    body.string("idempotency_key", replace.idempotency_key.as_str());
    match message.timestamp() {
        Some(moment) if moment == replace.timestamp => {
            body.member("timestamp", message.member("timestamp").unwrap_or("null"));
        }
        _ => body.string("timestamp", &replace.timestamp.to_string()),
    }
    for (name, value) in message.members() {
        if !replace.extra.iter().any(|(extra, _)| *extra == name) {
            received(&name, value, replace, &mut body);
        }
    }
    missing(message, replace, &mut body);
    for (name, value) in replace.extra {
        body.member(name, value);
    }
    body.finish()
}

/// Writes a received member as it is to be sent.
fn received(name: &str, value: &str, replace: &Replace<'_>, body: &mut Body) {
    match name {
        "version" | "message_id" | "idempotency_key" | "timestamp" => {}
        "sender" => match replace.sender {
            Some(sender) => body.string(name, sender.as_str()),
            None => body.member(name, value),
        },
        "recipients" => match replace.recipients {
            Some(recipients) => body.addresses(name, recipients),
            None => body.member(name, value),
        },
        "in_reply_to" => body.edited_id(name, value, replace.in_reply_to),
        "workflow_id" => body.edited_id(name, value, replace.workflow_id),
        "headers" if !replace.amtp_headers.is_empty() => {
            body.member(name, &headers(value, replace.amtp_headers));
        }
        "signature" => match replace.signature {
            Edit::Keep => body.member(name, value),
            Edit::Set(signature) => body.member(name, signature),
            Edit::Omit => {}
        },
        _ => body.member(name, value),
    }
}

/// Writes the members that are to be set and were not received.
fn missing(message: &Message, replace: &Replace<'_>, body: &mut Body) {
    let is_missing = |name: &str| {
        let is_extra = replace.extra.iter().any(|(extra, _)| *extra == name);
        !is_extra && message.member(name).is_none()
    };
    for (name, edit) in [
        ("in_reply_to", replace.in_reply_to),
        ("workflow_id", replace.workflow_id),
    ] {
        if let Edit::Set(id) = edit
            && is_missing(name)
        {
            body.string(name, id.as_str());
        }
    }
    if !replace.amtp_headers.is_empty() && is_missing("headers") {
        body.member("headers", &headers("{}", replace.amtp_headers));
    }
    if let Edit::Set(signature) = replace.signature
        && is_missing("signature")
    {
        body.member("signature", signature);
    }
}

/// The received headers object with some headers set.
fn headers(received: &str, set: &[(&str, &str)]) -> String {
    let mut object = Body::with_capacity(received.len() + 64);
    // Absent headers come as `null` or `""`, which are no objects: then only the set ones are written.
    for (name, place) in scan_object(received.as_bytes()).unwrap_or_default() {
        if !set.iter().any(|(other, _)| *other == name) {
            object.member(&name, &received[place]);
        }
    }
    for (name, value) in set {
        object.member(name, value);
    }
    String::from_utf8(object.finish()).expect("built from strings")
}

/// A JSON object that is being written.
pub(crate) struct Body(Vec<u8>);

impl Body {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        let mut out = Vec::with_capacity(bytes);
        out.push(b'{');
        Self(out)
    }

    /// Appends a member whose value is raw JSON.
    pub(crate) fn member(&mut self, name: &str, value: &str) {
        self.name(name);
        self.0.extend_from_slice(value.as_bytes());
    }

    /// Appends a member whose value is a string.
    pub(crate) fn string(&mut self, name: &str, value: &str) {
        self.name(name);
        write_string(value, &mut self.0);
    }

    /// Appends a member whose value is an array of addresses.
    pub(crate) fn addresses(&mut self, name: &str, addresses: &[Address]) {
        self.name(name);
        let mut before = b'[';
        for address in addresses {
            self.0.push(before);
            write_string(address.as_str(), &mut self.0);
            before = b',';
        }
        if addresses.is_empty() {
            self.0.push(b'[');
        }
        self.0.push(b']');
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.0.push(b'}');
        self.0
    }

    fn edited_id(&mut self, name: &str, value: &str, edit: Edit<&MessageId>) {
        match edit {
            Edit::Keep => self.member(name, value),
            Edit::Set(id) => self.string(name, id.as_str()),
            Edit::Omit => {}
        }
    }

    fn name(&mut self, name: &str) {
        if self.0.len() > 1 {
            self.0.push(b',');
        }
        write_string(name, &mut self.0);
        self.0.push(b':');
    }
}

#[cfg(test)]
mod tests;
