//! The mail that an answer of an A2A agent becomes.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;

use super::{Asked, Heard, RESPONSE_SCHEMA};
use crate::protocol::json::string_of;
use crate::protocol::{IdempotencyKey, MessageId, SchemaId, Timestamp};
use crate::task::json::Json;
use crate::task::model::{Content, Message, Part, StreamResponse, Task, TaskStatus};
use crate::task::state::TaskState;

/// The longest subject, in bytes.
const LONGEST_SUBJECT: usize = 998;

/// What a new message has.
#[derive(Debug, Clone, Copy)]
pub struct Heading<'a> {
    /// Its own id.
    pub message_id: &'a MessageId,
    /// Its key.
    pub idempotency_key: &'a IdempotencyKey,
    /// The present moment.
    pub now: Timestamp,
}

/// How the payload is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// With the schema that it is said to have.
    Named,
    /// Without a schema: it does not fit the one it is said to have.
    Unnamed,
}

/// The message that tells what was heard.
#[must_use]
pub fn answer(asked: &Asked, heard: &Heard, heading: &Heading<'_>, form: Form) -> Bytes {
    let (state, told, context) = match heard {
        Heard::Task(task) => (
            task.status.state.word(),
            of_task(task),
            Some(task.context_id.as_str()),
        ),
        Heard::Message(it) => ("message", of_message(it), it.context_id.as_deref()),
    };
    let task = match heard {
        Heard::Task(task) => Some(task.id.as_str()),
        Heard::Message(_) => None,
    };
    let mut headers = BTreeMap::from([("a2a-state", Json::of(state))]);
    for (name, id) in [
        ("a2a-remote-task-id", task),
        ("a2a-remote-context-id", context),
    ] {
        if let Some(id) = id.filter(|id| !id.is_empty()) {
            headers.insert(name, Json::of(id));
        }
    }
    let schema = told.schema.filter(|_| form == Form::Named);
    write(asked, Told { schema, ..told }, headers, heading)
}

/// The message that tells why there is no answer.
#[must_use]
pub fn failure(asked: &Asked, why: &str, heading: &Heading<'_>) -> Bytes {
    let headers = BTreeMap::from([("a2a-state", Json::of(TaskState::Failed.word()))]);
    write(asked, Told::text(why), headers, heading)
}

/// What is told.
struct Told {
    schema: Option<String>,
    payload: Json,
    attachments: Vec<Attached>,
}

#[derive(Serialize)]
struct Attached {
    filename: String,
    content_type: String,
    size: u64,
    hash: String,
    url: String,
}

#[derive(Serialize)]
struct Text<'a> {
    text: &'a str,
}

impl Told {
    fn text(text: &str) -> Self {
        Self {
            schema: None,
            payload: Json::of(&Text { text }),
            attachments: Vec::new(),
        }
    }

    fn whole(response: &StreamResponse) -> Self {
        Self {
            schema: Some(RESPONSE_SCHEMA.to_owned()),
            payload: Json::of(response),
            attachments: Vec::new(),
        }
    }
}

fn of_message(message: &Message) -> Told {
    plain(&message.parts).unwrap_or_else(|| {
        Told::whole(&StreamResponse::Message(Message {
            task_id: None,
            context_id: None,
            ..message.clone()
        }))
    })
}

fn of_task(task: &Task) -> Told {
    let said = task.status.message.as_ref();
    let said = said.map(|it| it.parts.as_slice()).unwrap_or_default();
    // That one is canceled can only be said in whole.
    let plain = match (task.status.state, task.artifacts.as_slice()) {
        (TaskState::Canceled, _) => None,
        (TaskState::Completed, [one]) if said.is_empty() => plain(&one.parts),
        (_, []) if !said.is_empty() => plain(said),
        (state, []) => Some(Told::text(usual(state))),
        _ => None,
    };
    plain.unwrap_or_else(|| Told::whole(&StreamResponse::Task(bare(task))))
}

/// The task without its history and the ids that mean something to the other side only.
fn bare(task: &Task) -> Task {
    let message = task.status.message.clone().map(|message| Message {
        task_id: None,
        context_id: None,
        ..message
    });
    Task {
        id: String::new(),
        context_id: String::new(),
        status: TaskStatus {
            message,
            ..task.status.clone()
        },
        history: Vec::new(),
        ..task.clone()
    }
}

/// What is told where the agent says nothing.
const fn usual(state: TaskState) -> &'static str {
    match state {
        TaskState::Completed => "The agent completed the task without a result.",
        TaskState::InputRequired => "The agent asks for more.",
        TaskState::AuthRequired => "The agent asks for a credential.",
        TaskState::Rejected => "The agent rejected the task.",
        _ => "The agent could not complete the task.",
    }
}

/// Texts alone, or one value, with files that are attachments in AMTP's sense; nothing where there
/// is more to say.
fn plain(parts: &[Part]) -> Option<Told> {
    let mut rest = Vec::with_capacity(parts.len());
    let mut attachments = Vec::new();
    for part in parts {
        match attached(part) {
            Some(it) => attachments.push(it),
            None => rest.push(part),
        }
    }
    let (schema, payload) = match rest.as_slice() {
        [] => (None, Json::of(&())),
        [part] if matches!(part.content, Content::Data(_)) => (schema(part), data(part)?),
        rest => (None, texts(rest)?),
    };
    Some(Told {
        schema,
        payload,
        attachments,
    })
}

fn texts(parts: &[&Part]) -> Option<Json> {
    let mut texts = Vec::with_capacity(parts.len());
    for part in parts {
        match &part.content {
            Content::Text(text) if part.metadata.is_none() => texts.push(text.as_str()),
            _ => return None,
        }
    }
    let text = texts.join("\n");
    Some(Json::of(&Text { text: &text }))
}

fn data(part: &Part) -> Option<Json> {
    match &part.content {
        Content::Data(data) => Some(data.clone()),
        _ => None,
    }
}

/// The AMTP schema that a value is said to have.
fn schema(part: &Part) -> Option<String> {
    let name = part.metadata.as_ref()?.member("schema")?;
    let name = string_of(&name)?.into_owned();
    SchemaId::parse(&name).is_ok().then_some(name)
}

/// A file of which all is said that an attachment needs.
fn attached(part: &Part) -> Option<Attached> {
    let Content::Url(url) = &part.content else {
        return None;
    };
    let metadata = part.metadata.as_ref()?;
    let digits = metadata.member("sha256")?;
    let digits = string_of(&digits)?.into_owned();
    let sound = digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    (sound && url.starts_with("https://")).then_some(())?;
    Some(Attached {
        filename: part.filename.clone()?,
        content_type: part.media_type.clone()?,
        size: metadata.member("size")?.parse().ok()?,
        hash: format!("sha256:{}", digits.to_ascii_lowercase()),
        url: url.clone(),
    })
}

#[derive(Serialize)]
struct Body<'a> {
    version: &'static str,
    message_id: &'a str,
    idempotency_key: &'a str,
    timestamp: Timestamp,
    sender: &'a str,
    recipients: [&'a str; 1],
    in_reply_to: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    workflow_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<String>,
    headers: BTreeMap<&'static str, Json>,
    payload: Json,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attachments: Vec<Attached>,
}

fn write(
    asked: &Asked,
    told: Told,
    mut headers: BTreeMap<&'static str, Json>,
    heading: &Heading<'_>,
) -> Bytes {
    // It is never answered of itself, and counts a hop.
    headers.insert("x-amtp-auto", Json::of("reply"));
    headers.insert("x-amtp-hops", Json::of(&asked.hops.saturating_add(1)));
    let body = Body {
        version: "1.0",
        message_id: heading.message_id.as_str(),
        idempotency_key: heading.idempotency_key.as_str(),
        timestamp: heading.now,
        sender: &asked.recipient,
        recipients: [asked.sender.as_str()],
        in_reply_to: &asked.message_id,
        workflow_id: asked.workflow_id.as_deref(),
        subject: asked.subject.as_deref().map(answering),
        schema: told.schema,
        headers,
        payload: told.payload,
        attachments: told.attachments,
    };
    let text = serde_json::to_vec(&body);
    text.expect("texts under names that are texts").into()
}

/// `Re: ` and the subject, once and within what a subject may have.
fn answering(subject: &str) -> String {
    let start = subject.get(..3);
    let is_answer = start.is_some_and(|start| start.eq_ignore_ascii_case("re:"));
    let mut answer = match is_answer {
        true => subject.to_owned(),
        false => format!("Re: {subject}"),
    };
    answer.truncate(answer.floor_char_boundary(LONGEST_SUBJECT));
    answer
}
