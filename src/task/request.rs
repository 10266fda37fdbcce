//! The AMTP message that an agent gets for what an A2A client says.
//!
//! In the profile *envelope* the whole A2A message stands in the payload: nothing is lost. In the
//! profile *plain* an agent that knows nothing of A2A gets text or data alone, where that is all
//! there is; anything else comes in the profile *envelope*.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;

use super::bounds::SUBJECT;
use super::json::Json;
use super::model::{Content, Message};
use super::{AMTP_EXTENSION, Dialect};
use crate::protocol::json::string_of;
use crate::protocol::{Address, Attachment, Domain, IdempotencyKey, MessageId, Timestamp};

/// The schema of a payload in the profile *envelope*.
pub const MESSAGE_SCHEMA: &str = "agntcy:a2a.message.v1";

/// How a payload looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profile {
    /// The A2A message as it is.
    #[default]
    Envelope,
    /// Text or data alone, where that is all there is.
    Plain,
}

/// What is asked of the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// To read a message.
    Message,
    /// To stop.
    Cancel,
}

/// Between whom a message goes, and under which identity.
#[derive(Debug, Clone)]
pub struct Route<'a> {
    /// The caller's address, or that of the task: see [`task_address`].
    pub sender: &'a Address,
    /// The agent.
    pub recipient: &'a Address,
    /// Where the answer goes, if not to the sender.
    pub reply_to: Option<&'a Address>,
    /// Its own id.
    pub message_id: &'a MessageId,
    /// Its key.
    pub idempotency_key: &'a IdempotencyKey,
    /// The agent's last message of the task, or our one before.
    pub in_reply_to: Option<&'a MessageId>,
    /// The present moment.
    pub now: Timestamp,
}

/// What is said.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// What is asked of the agent.
    pub kind: Kind,
    /// The dialect the client speaks.
    pub dialect: Dialect,
    /// The message, with the ids of its task and context; that of a cancellation is the first one.
    pub message: &'a Message,
    /// What else is said of the request.
    pub metadata: Option<&'a Json>,
    /// Media types the client can use.
    pub accepted_output_modes: &'a [String],
    /// Extensions that are active.
    pub extensions: &'a [String],
    /// Contents that are held for the agent, in place of parts that were too large.
    pub attachments: &'a [Attachment],
    /// How the payload looks.
    pub profile: Profile,
}

/// The address of a task: what is sent there is an answer to it.
///
/// # Panics
/// Never for an id that this gateway made.
#[must_use]
pub fn task_address(task: &str, domain: &Domain) -> Address {
    let text = format!("a2a+{task}@{domain}");
    Address::parse(&text).expect("a UUID is a tag")
}

/// The task that an address of ours is for.
#[must_use]
pub fn task_of_address(address: &Address) -> Option<&str> {
    let (base, task) = address.local().split_once('+')?;
    base.eq_ignore_ascii_case("a2a").then_some(task)
}

#[derive(Serialize)]
struct Body<'a> {
    version: &'static str,
    message_id: &'a str,
    idempotency_key: &'a str,
    timestamp: Timestamp,
    sender: &'a str,
    recipients: [&'a str; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_reply_to: Option<&'a str>,
    headers: BTreeMap<&'static str, String>,
    payload: Json,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attachments: Vec<Attached<'a>>,
}

#[derive(Serialize)]
struct Attached<'a> {
    filename: &'a str,
    content_type: &'a str,
    size: u64,
    hash: &'a str,
    url: &'a str,
}

/// The message, as JSON.
#[must_use]
pub fn write(route: &Route<'_>, request: &Request<'_>) -> Bytes {
    let plain = match request.profile {
        Profile::Plain => plain(&request.message.parts),
        Profile::Envelope => None,
    };
    let schema = said(request, "schema").or_else(|| match plain {
        Some(_) => None,
        None => Some(MESSAGE_SCHEMA.to_owned()),
    });
    let body = Body {
        version: "1.0",
        message_id: route.message_id.as_str(),
        idempotency_key: route.idempotency_key.as_str(),
        timestamp: route.now,
        sender: route.sender.as_str(),
        recipients: [route.recipient.as_str()],
        subject: subject(request),
        schema,
        in_reply_to: route.in_reply_to.map(MessageId::as_str),
        headers: headers(route, request),
        payload: plain.unwrap_or_else(|| whole(request)),
        attachments: request.attachments.iter().map(attached).collect(),
    };
    let text = serde_json::to_vec(&body);
    text.expect("texts under names that are texts").into()
}

fn attached(it: &Attachment) -> Attached<'_> {
    Attached {
        filename: &it.filename,
        content_type: &it.content_type,
        size: it.size,
        hash: &it.hash,
        url: &it.url,
    }
}

fn headers(route: &Route<'_>, request: &Request<'_>) -> BTreeMap<&'static str, String> {
    let message = request.message;
    let kind = match request.kind {
        Kind::Message => "message",
        Kind::Cancel => "cancel",
    };
    let mut headers = BTreeMap::from([
        ("a2a-kind", kind.to_owned()),
        ("a2a-message-id", message.message_id.clone()),
        ("a2a-version", request.dialect.as_str().to_owned()),
    ]);
    let lists = [
        ("a2a-extensions", request.extensions),
        ("a2a-accepted-output-modes", request.accepted_output_modes),
    ];
    for (name, list) in lists {
        if !list.is_empty() {
            headers.insert(name, list.join(","));
        }
    }
    let ids = [
        ("a2a-task-id", message.task_id.clone()),
        ("a2a-context-id", message.context_id.clone()),
        ("reply-to", route.reply_to.map(Address::to_string)),
    ];
    for (name, id) in ids {
        if let Some(id) = id {
            headers.insert(name, id);
        }
    }
    headers
}

/// A text that the client says under AMTP's extension.
fn said(request: &Request<'_>, name: &str) -> Option<String> {
    let of_request = request.metadata.and_then(|it| it.member(AMTP_EXTENSION));
    let of_message = || {
        let metadata = request.message.metadata.as_ref()?;
        metadata.member(AMTP_EXTENSION)
    };
    let words = Json::read(&of_request.or_else(of_message)?).ok()?;
    let text = words.member(name)?;
    string_of(&text)
        .map(|text| text.into_owned())
        .filter(|text| !text.is_empty())
}

/// What the client says, else the beginning of the first text, in one line.
fn subject(request: &Request<'_>) -> Option<String> {
    let first = request
        .message
        .parts
        .iter()
        .find_map(|part| match &part.content {
            Content::Text(text) => Some(text.clone()),
            _ => None,
        });
    let text = said(request, "subject").or(first)?;
    let line: String = text
        .chars()
        .map(|sign| if sign.is_control() { ' ' } else { sign })
        .take(SUBJECT)
        .collect();
    let line = line.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Whole<'a> {
    message: &'a Message,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    configuration: Option<Configuration<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Configuration<'a> {
    accepted_output_modes: &'a [String],
}

fn whole(request: &Request<'_>) -> Json {
    let modes = request.accepted_output_modes;
    Json::of(&Whole {
        message: request.message,
        metadata: request.metadata,
        configuration: (!modes.is_empty()).then_some(Configuration {
            accepted_output_modes: modes,
        }),
    })
}

/// One value, or texts alone; nothing where there is more to say.
fn plain(parts: &[super::Part]) -> Option<Json> {
    if let [part] = parts
        && let Content::Data(data) = &part.content
    {
        return Some(data.clone());
    }
    let mut texts = Vec::with_capacity(parts.len());
    for part in parts {
        match &part.content {
            Content::Text(text) => texts.push(text.as_str()),
            _ => return None,
        }
    }
    Some(Json::of(&BTreeMap::from([("text", texts.join("\n"))])))
}
