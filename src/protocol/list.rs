//! What is sent to a topic, and the copies its subscribers get.
//!
//! A copy is a message of the topic: with a new id and key, the content as it was received, and
//! headers that say where it comes from. The list of topics that a message has passed catches loops.

use super::json::{items, scan_object, string_of};
use super::message::{Message, SUPPORTED_VERSIONS};
use super::wire::Body;
use super::{Address, IdempotencyKey, MessageId, Timestamp};

/// Header of a copy: the topic.
pub const LIST: &str = "x-amtp-list";
/// Header of a copy: the number of the publication in its topic.
pub const SEQ: &str = "x-amtp-list-seq";
/// Header of a copy: every topic passed, the first one first.
pub const PATH: &str = "x-amtp-list-path";
/// Header of a copy: who published.
pub const ORIGINAL_SENDER: &str = "x-amtp-original-sender";
/// Header of a copy: the id it was published under.
pub const ORIGINAL_ID: &str = "x-amtp-original-id";
/// Header of a publication: only if the last one of the topic has this number.
pub const EXPECTED_VERSION: &str = "x-amtp-expected-version";
const HOPS: &str = "x-amtp-hops";
/// A message passes at most so many topics.
pub const MOST_TOPICS: usize = 20;

/// What a message to a topic is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToTopic {
    /// For the subscribers.
    Publication,
    /// Its sender wants to subscribe (`topic_subscribe`).
    Subscribe,
    /// Its sender confirms a subscription (`topic_confirm`).
    Confirm,
    /// Its sender wants no more (`topic_unsubscribe`).
    Unsubscribe,
    /// Made by a gateway: a bounce, a notice or an automatic reply.
    Notice,
}

impl ToTopic {
    /// What a message is, by its `message_type` and headers.
    #[must_use]
    pub fn of(message: &Message) -> Self {
        let kind = message.member("message_type").and_then(string_of);
        match kind.as_deref() {
            Some("topic_subscribe") => Self::Subscribe,
            Some("topic_confirm") => Self::Confirm,
            Some("topic_unsubscribe") => Self::Unsubscribe,
            Some("delivery_failure") => Self::Notice,
            _ if message.is_automatic() => Self::Notice,
            _ => Self::Publication,
        }
    }

    /// Whether it concerns the sender's own subscription.
    #[must_use]
    pub const fn is_request(self) -> bool {
        matches!(self, Self::Subscribe | Self::Confirm | Self::Unsubscribe)
    }
}

/// The topics a message has passed, lower-cased; at most one more than may be.
#[must_use]
pub fn passed(message: &Message) -> Vec<String> {
    let Some(path) = message.header(PATH).and_then(items) else {
        return Vec::new();
    };
    let texts = path.filter_map(string_of);
    let keys = texts.map(|text| text.to_lowercase());
    keys.take(MOST_TOPICS + 1).collect()
}

/// Whether a message may pass this topic: it did not before, and has not passed too many.
#[must_use]
pub fn may_pass(message: &Message, topic: &Address) -> bool {
    let passed = passed(message);
    passed.len() < MOST_TOPICS && !passed.contains(&topic.key())
}

/// The number of the last publication that the sender knows; what is no number is never met.
#[must_use]
pub fn expected_version(message: &Message) -> Option<i64> {
    let raw = message.header(EXPECTED_VERSION)?;
    let text = string_of(raw);
    let number = text.as_deref().unwrap_or(raw).parse();
    Some(number.ok().filter(|number| *number >= 0).unwrap_or(-1))
}

/// What a copy says that its publication does not.
#[derive(Debug, Clone)]
pub struct CopyHeading<'a> {
    /// A fresh id.
    pub message_id: &'a MessageId,
    /// A fresh key.
    pub idempotency_key: &'a IdempotencyKey,
    /// When it was published.
    pub timestamp: Timestamp,
    /// The topic; of a broadcast who sent it.
    pub sender: &'a Address,
    /// Whom it is for.
    pub recipients: &'a [Address],
    /// The topic.
    pub list: &'a Address,
    /// The number of the publication.
    pub seq: i64,
    /// The topics passed, with this one.
    pub path: &'a [String],
    /// Who published, and under which id.
    pub original: (&'a str, &'a str),
}

/// Members of a publication that a copy does not have.
const DROPPED: [&str; 12] = [
    "version",
    "message_id",
    "idempotency_key",
    "timestamp",
    "sender",
    "recipients",
    "headers",
    "signature",
    "coordination",
    "workflow_id",
    "in_reply_to",
    "response_type",
];

/// The copy of a publication, as JSON.
#[must_use]
pub fn copy(message: &Message, heading: &CopyHeading<'_>) -> Vec<u8> {
    let mut body = Body::with_capacity(message.raw().len() + 1_024);
    body.string("version", SUPPORTED_VERSIONS[0]);
    body.string("message_id", heading.message_id.as_str());
    body.string("idempotency_key", heading.idempotency_key.as_str());
    body.string("timestamp", &heading.timestamp.to_string());
    body.string("sender", heading.sender.as_str());
    body.addresses("recipients", heading.recipients);
    for (name, value) in message.members() {
        if !DROPPED.contains(&name.as_ref()) {
            body.member(&name, value);
        }
    }
    body.member("headers", &headers(message, heading));
    body.finish()
}

/// The headers received, with ours in the place of any that look like them.
fn headers(message: &Message, heading: &CopyHeading<'_>) -> String {
    const OURS: [&str; 7] = [
        LIST,
        SEQ,
        PATH,
        ORIGINAL_SENDER,
        ORIGINAL_ID,
        EXPECTED_VERSION,
        HOPS,
    ];
    let received = message.member("headers").unwrap_or("{}");
    let mut object = Body::with_capacity(received.len() + 512);
    for (name, place) in scan_object(received.as_bytes()).unwrap_or_default() {
        if !OURS.contains(&name.as_ref()) {
            object.member(&name, &received[place]);
        }
    }
    object.string(LIST, heading.list.as_str());
    object.member(SEQ, &heading.seq.to_string());
    let path: Vec<Address> = heading
        .path
        .iter()
        .filter_map(|topic| Address::parse(topic).ok())
        .collect();
    object.addresses(PATH, &path);
    object.string(ORIGINAL_SENDER, heading.original.0);
    object.string(ORIGINAL_ID, heading.original.1);
    object.member(HOPS, &message.hops().saturating_add(1).to_string());
    String::from_utf8(object.finish()).expect("built from strings")
}

/// What is asked of somebody whose address is to get the copies of a topic.
#[derive(Debug, Clone, Copy)]
pub struct Confirmation<'a> {
    /// A fresh id.
    pub message_id: &'a MessageId,
    /// A fresh key.
    pub idempotency_key: &'a IdempotencyKey,
    /// Now.
    pub timestamp: Timestamp,
    /// The topic.
    pub topic: &'a Address,
    /// Who is asked.
    pub subscriber: &'a Address,
    /// What to send back.
    pub token: &'a str,
    /// Until when.
    pub expires_at: Timestamp,
}

impl Confirmation<'_> {
    /// The message to send, as JSON.
    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        let mut payload = Body::with_capacity(256);
        payload.string("topic", self.topic.as_str());
        payload.string("subscriber", self.subscriber.as_str());
        payload.string("token", self.token);
        payload.string("expires_at", &self.expires_at.to_string());
        let payload = String::from_utf8(payload.finish()).expect("built from strings");
        let mut body = Body::with_capacity(1_024);
        body.string("version", SUPPORTED_VERSIONS[0]);
        body.string("message_id", self.message_id.as_str());
        body.string("idempotency_key", self.idempotency_key.as_str());
        body.string("timestamp", &self.timestamp.to_string());
        body.string("sender", self.topic.as_str());
        body.addresses("recipients", std::slice::from_ref(self.subscriber));
        body.string("message_type", "topic_confirmation");
        body.string(
            "subject",
            &format!("Confirm your subscription to {}", self.topic),
        );
        body.member("headers", "{\"x-amtp-auto\":\"notice\",\"x-amtp-hops\":1}");
        body.member("payload", &payload);
        body.finish()
    }
}

/// Why a body cannot be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicationFault {
    /// The member at fault; empty for the body as a whole.
    pub field: &'static str,
    /// The rule, as the rest of a sentence.
    pub error: String,
}

/// The message that publishes `content`: the members of a message without sender and recipients.
///
/// # Errors
/// [`PublicationFault`] names the member that does not belong there.
pub fn publication(
    content: &[u8],
    (sender, to): (&Address, &Address),
    expected_version: Option<i64>,
) -> Result<Vec<u8>, PublicationFault> {
    let fault = |field, error: &str| PublicationFault {
        field,
        error: error.to_owned(),
    };
    let members = scan_object(content).map_err(|fault| PublicationFault {
        field: "",
        error: fault.kind.to_string(),
    })?;
    let text = std::str::from_utf8(content).map_err(|_| fault("", "must be UTF-8"))?;
    let mut body = Body::with_capacity(content.len() + 256);
    body.string("sender", sender.as_str());
    body.addresses("recipients", std::slice::from_ref(to));
    let mut received = "{}";
    for (name, place) in members {
        let value = &text[place];
        match name.as_ref() {
            "sender" => return Err(fault("sender", "must be absent: it is the caller")),
            "recipients" => return Err(fault("recipients", "must be absent: it is the topic")),
            "headers" if expected_version.is_some() => received = value,
            _ => body.member(&name, value),
        }
    }
    if let Some(version) = expected_version {
        let mut headers = Body::with_capacity(received.len() + 64);
        let members = scan_object(received.as_bytes());
        for (name, place) in members.map_err(|_| fault("headers", "must be an object"))? {
            if name != EXPECTED_VERSION {
                headers.member(&name, &received[place]);
            }
        }
        headers.member(EXPECTED_VERSION, &version.to_string());
        let headers = String::from_utf8(headers.finish()).expect("built from strings");
        body.member("headers", &headers);
    }
    Ok(body.finish())
}

#[cfg(test)]
mod tests;
