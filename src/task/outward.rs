//! Mail for an A2A agent of others: as what it is asked there, and the answer as mail again.
//!
//! The other way round of [`super::request`] and [`super::reply`], so that nothing is lost where both
//! ends speak A2A: a message in the envelope of A2A is asked as it was said, and a result that is more
//! than a text or one value comes back whole, under the schema [`RESPONSE_SCHEMA`].

mod answer;

use serde::{Deserialize, Serialize};

use super::bounds::MOST_NAMES;
use super::json::{Json, Place};
use super::model::{Message, Part, Role, Task};
use super::reply::parts;
use super::request::MESSAGE_SCHEMA;
use super::{AMTP_EXTENSION, read};
use crate::protocol::json::scan_object;
use crate::protocol::{self, Address, MessageId};

pub use super::reply::RESPONSE_SCHEMA;
pub use answer::{Form, Heading, answer, failure};

/// The most bytes of a message's headers that are passed on.
const MOST_HEADERS: usize = 16 * 1_024;

/// What an A2A agent of others says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A task, as it is.
    Task(Box<Task>),
    /// A direct answer.
    Message(Box<Message>),
}

/// What is kept of a message until it is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Its own id.
    pub message_id: String,
    /// Who gets the answer.
    pub sender: String,
    /// Who gives it: as the sender wrote it.
    pub recipient: String,
    /// Its subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The workflow it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow_id: Option<String>,
    /// Its hops.
    pub hops: u32,
    /// The request it came in.
    pub request_id: String,
}

impl Asked {
    /// What an answer to this message needs to know.
    #[must_use]
    pub fn of(
        message: &protocol::Message,
        (id, recipient): (&MessageId, &Address),
        request_id: &str,
    ) -> Self {
        Self {
            message_id: id.as_str().to_owned(),
            sender: message.sender().to_string(),
            recipient: recipient.to_string(),
            subject: message.subject().map(str::to_owned),
            workflow_id: message.workflow_id().map(|it| it.as_str().to_owned()),
            hops: message.hops(),
            request_id: request_id.to_owned(),
        }
    }
}

/// A message as it is asked, without a task or conversation; with the media types its sender can use.
#[must_use]
pub fn said(
    message: &protocol::Message,
    (id, recipient): (&MessageId, &Address),
) -> (Message, Vec<String>) {
    let whole = message
        .schema()
        .is_some_and(|it| it.as_str() == MESSAGE_SCHEMA);
    let (inner, modes) = match whole.then(|| enveloped(message.payload())).flatten() {
        Some((inner, modes)) => (Some(inner), modes),
        None => (None, Vec::new()),
    };
    let (own, extensions, content) = match inner {
        Some(inner) => (inner.metadata, inner.extensions, inner.parts),
        None => (None, Vec::new(), of_payload(message)),
    };
    let words = words(message, (id, recipient));
    let asked = Message {
        message_id: id.as_str().to_owned(),
        context_id: None,
        task_id: None,
        role: Role::User,
        parts: content,
        metadata: Some(with_words(own.as_ref(), &words)),
        extensions,
        reference_task_ids: Vec::new(),
    };
    (asked, modes)
}

/// What an A2A client said, where it stands in the payload.
fn enveloped(payload: &str) -> Option<(Message, Vec<String>)> {
    let object = Place::top(payload, "payload").object().ok()?;
    let message = read::message(&object.get("message")?).ok()?;
    let configuration = object.get("configuration").and_then(|it| it.object().ok());
    let modes = configuration.and_then(|it| it.names("acceptedOutputModes", MOST_NAMES).ok());
    Some((message, modes.unwrap_or_default()))
}

/// Payload and attachments; the subject where there is nothing else, for a message has a part.
fn of_payload(message: &protocol::Message) -> Vec<Part> {
    let parts = parts(message);
    match parts.is_empty() {
        true => vec![Part::text(message.subject().unwrap_or_default())],
        false => parts,
    }
}

/// What AMTP knows of a message beside its content.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Words<'a> {
    message_id: &'a str,
    sender: &'a str,
    recipient: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    others: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<&'a str>,
    priority: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_reply_to: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    workflow_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<Json>,
}

fn words(message: &protocol::Message, (id, recipient): (&MessageId, &Address)) -> Json {
    let others = message.recipients().iter().filter(|it| *it != recipient);
    let headers = message.member("headers");
    let headers = headers.filter(|it| it.starts_with('{') && it.len() <= MOST_HEADERS);
    Json::of(&Words {
        message_id: id.as_str(),
        sender: message.sender().as_str(),
        recipient: recipient.as_str(),
        others: others.take(MOST_NAMES).map(Address::as_str).collect(),
        subject: message.subject(),
        schema: message.schema().map(|it| it.as_str()),
        priority: message.priority().as_str(),
        in_reply_to: message.in_reply_to().map(MessageId::as_str),
        workflow_id: message.workflow_id().map(MessageId::as_str),
        headers: headers.and_then(|it| Json::read(it).ok()),
    })
}

/// Metadata with AMTP's words under their extension, in place of any that were there.
fn with_words(own: Option<&Json>, words: &Json) -> Json {
    let own = own.map_or("{}", Json::get);
    let mut text = String::from("{");
    for (name, place) in scan_object(own.as_bytes()).unwrap_or_default() {
        if name != AMTP_EXTENSION {
            text.push_str(Json::of(name.as_ref()).get());
            text.push(':');
            text.push_str(&own[place]);
            text.push(',');
        }
    }
    text.push_str(Json::of(AMTP_EXTENSION).get());
    text.push(':');
    text.push_str(words.get());
    text.push('}');
    Json::read(&text).unwrap_or_else(|_| words.clone())
}

#[cfg(test)]
mod tests;
