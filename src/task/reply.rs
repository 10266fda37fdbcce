//! What an agent's answer does to its task.
//!
//! An agent needs to know nothing of A2A: whatever it answers completes the task. One that knows
//! more says more, in the first form that fits:
//!
//! 1. the schema [`RESPONSE_SCHEMA`]: the payload is a `StreamResponse` of A2A 1.0, or several;
//! 2. the header `a2a-state`: a state, or `message` for a direct answer;
//! 3. `response_type: workflow_response` with a `status` in the payload;
//! 4. anything else: the payload and the attachments are the artifact, and the task is completed.

use std::borrow::Cow;

use super::bounds::{LONGEST_ID, MOST_CHANGES};
use super::change::Change;
use super::json::{Fault, Json, Place};
use super::model::{
    Artifact, ArtifactUpdate, Content, Message, Part, Role, StatusUpdate, StreamResponse, Task,
    TaskStatus,
};
use super::read;
use super::state::TaskState;
use crate::protocol::json::{scan_object, string_of};
use crate::protocol::{self, Attachment, Timestamp};

/// The schema of a payload that is one `StreamResponse` or an array of them.
pub const RESPONSE_SCHEMA: &str = "agntcy:a2a.stream-response.v1";

/// The task that is answered, and what is given to new things in it.
pub struct Answered<'a> {
    /// The task.
    pub task: &'a str,
    /// Its conversation.
    pub context: &'a str,
    /// The present moment.
    pub at: Timestamp,
    /// Makes an id that nothing else has.
    pub mint: &'a mut dyn FnMut() -> String,
}

impl Answered<'_> {
    fn ids(&self) -> (&str, &str) {
        (self.task, self.context)
    }

    fn status(&mut self, state: TaskState, message: Option<Message>) -> Change {
        let message = match (state, message) {
            // A client that is asked for a credential is told so (A2A 1.0, section 7.6.1).
            (TaskState::AuthRequired, None) => {
                let id = (self.mint)();
                Some(Message::of_agent(
                    id,
                    "The agent needs a credential to go on.",
                ))
            }
            (_, message) => message,
        };
        Change::Status(StatusUpdate {
            task_id: self.task.to_owned(),
            context_id: self.context.to_owned(),
            status: TaskStatus {
                state,
                message: message.map(|it| it.placed(self.ids())),
                timestamp: Some(self.at),
            },
            metadata: None,
        })
    }

    fn says(&mut self, parts: Vec<Part>) -> Option<Message> {
        (!parts.is_empty()).then(|| Message {
            parts,
            ..Message::of_agent((self.mint)(), "").placed(self.ids())
        })
    }

    fn artifact(&self, artifact: Artifact, (append, last_chunk): (bool, bool)) -> Change {
        Change::Artifact(ArtifactUpdate {
            task_id: self.task.to_owned(),
            context_id: self.context.to_owned(),
            artifact,
            append,
            last_chunk,
            metadata: None,
        })
    }
}

/// The changes, in order.
///
/// # Errors
/// The answer says that it is in a form it is not in, or names another task.
pub fn changes(message: &protocol::Message, mut task: Answered<'_>) -> Result<Vec<Change>, Fault> {
    let is_response = |schema: &protocol::SchemaId| schema.as_str() == RESPONSE_SCHEMA;
    if message.schema().is_some_and(is_response) {
        return responses(message.payload(), &mut task);
    }
    if let Some(word) = text_header(message, "a2a-state") {
        return stated(&word, message, &mut task);
    }
    let state = outcome(message).unwrap_or(TaskState::Completed);
    Ok(ended(state, message, &mut task))
}

fn text_header(message: &protocol::Message, name: &str) -> Option<String> {
    let value = message.header(name)?;
    Some(
        string_of(value)
            .unwrap_or(Cow::Borrowed(value))
            .into_owned(),
    )
}

/// Form 1.
fn responses(payload: &str, task: &mut Answered<'_>) -> Result<Vec<Change>, Fault> {
    let place = Place::top(payload, "payload");
    let places = match place.raw().starts_with('[') {
        true => place.list(MOST_CHANGES)?,
        false => vec![place],
    };
    if places.is_empty() {
        return Err(Fault::new("payload", "must have at least one element"));
    }
    let mut changes = Vec::new();
    for place in &places {
        let response = read::stream_response(place)?;
        changes.extend(change(response, task).map_err(|problem| place.fault(problem))?);
    }
    Ok(changes)
}

fn change(response: StreamResponse, task: &mut Answered<'_>) -> Result<Vec<Change>, &'static str> {
    const FOREIGN: &str = "names another task or context";
    let own = |found: &str, own: &str| found.is_empty() || found == own;
    let mine = |id: &str, context: &str| own(id, task.task) && own(context, task.context);
    Ok(match response {
        StreamResponse::Task(it) if mine(&it.id, &it.context_id) => whole(it, task),
        StreamResponse::StatusUpdate(it) if mine(&it.task_id, &it.context_id) => {
            let Change::Status(mut update) = task.status(it.status.state, it.status.message) else {
                return Ok(Vec::new());
            };
            update.metadata = it.metadata;
            vec![Change::Status(update)]
        }
        StreamResponse::ArtifactUpdate(it) if mine(&it.task_id, &it.context_id) => {
            vec![Change::Artifact(ArtifactUpdate {
                task_id: task.task.to_owned(),
                context_id: task.context.to_owned(),
                ..it
            })]
        }
        StreamResponse::Message(it) => {
            let text = |id: &Option<String>| id.clone().unwrap_or_default();
            if !mine(&text(&it.task_id), &text(&it.context_id)) {
                return Err(FOREIGN);
            }
            vec![Change::Answer(Message {
                role: Role::Agent,
                ..it.placed(task.ids())
            })]
        }
        _ => return Err(FOREIGN),
    })
}

/// A task that an agent sends whole: its artifacts, then its status.
fn whole(it: Task, task: &mut Answered<'_>) -> Vec<Change> {
    let artifacts = it.artifacts.into_iter();
    let mut changes: Vec<Change> = artifacts
        .map(|artifact| task.artifact(artifact, (false, true)))
        .collect();
    changes.push(task.status(it.status.state, it.status.message));
    changes
}

/// Form 2.
fn stated(
    word: &str,
    message: &protocol::Message,
    task: &mut Answered<'_>,
) -> Result<Vec<Change>, Fault> {
    if word == "message" {
        let parts = parts(message);
        let said = task.says(parts).unwrap_or_else(|| {
            let id = (task.mint)();
            Message::of_agent(id, "").placed(task.ids())
        });
        return Ok(vec![Change::Answer(said)]);
    }
    match TaskState::of_word(word) {
        Some(TaskState::Working) => working(message, task),
        Some(TaskState::Submitted | TaskState::Canceled) | None => Err(Fault::new(
            "headers.a2a-state",
            "must be working, input-required, auth-required, completed, failed, rejected or message",
        )),
        Some(state) => Ok(ended(state, message, task)),
    }
}

/// Progress: a word of the agent, or a piece of an artifact where a header names one.
fn working(message: &protocol::Message, task: &mut Answered<'_>) -> Result<Vec<Change>, Fault> {
    let parts = parts(message);
    let Some(id) = text_header(message, "a2a-artifact-id") else {
        let said = task.says(parts);
        return Ok(vec![task.status(TaskState::Working, said)]);
    };
    if id.len() > LONGEST_ID {
        return Err(Fault::new("headers.a2a-artifact-id", "is too long"));
    }
    if parts.is_empty() {
        return Err(Fault::new("payload", "must not be empty"));
    }
    let flag = |name: &str| text_header(message, name).is_some_and(|it| it == "true");
    let artifact = Artifact {
        artifact_id: id,
        ..named(message, parts, String::new())
    };
    let how = (flag("a2a-append"), flag("a2a-last-chunk"));
    Ok(vec![task.artifact(artifact, how)])
}

/// Form 3: the state that a participant's answer means.
fn outcome(message: &protocol::Message) -> Option<TaskState> {
    if message.response_type() != Some("workflow_response") {
        return None;
    }
    let payload = message.payload();
    let members = scan_object(payload.as_bytes()).ok()?;
    let (_, place) = members.into_iter().find(|(name, _)| name == "status")?;
    match string_of(&payload[place])?.as_ref() {
        "failed" | "error" => Some(TaskState::Failed),
        "rejected" => Some(TaskState::Rejected),
        _ => None,
    }
}

/// The last answer: an artifact where the task is completed, else what the agent says.
fn ended(state: TaskState, message: &protocol::Message, task: &mut Answered<'_>) -> Vec<Change> {
    let parts = parts(message);
    if state != TaskState::Completed {
        let said = task.says(parts);
        return vec![task.status(state, said)];
    }
    let mut changes = Vec::with_capacity(2);
    if !parts.is_empty() {
        let artifact = named(message, parts, (task.mint)());
        changes.push(task.artifact(artifact, (false, true)));
    }
    changes.push(task.status(state, None));
    changes
}

fn named(message: &protocol::Message, parts: Vec<Part>, artifact_id: String) -> Artifact {
    Artifact {
        artifact_id,
        name: Some(message.subject().unwrap_or("response").to_owned()),
        description: None,
        parts,
        metadata: None,
        extensions: Vec::new(),
    }
}

/// Payload and attachments as parts; none for a message without either.
#[must_use]
pub fn parts(message: &protocol::Message) -> Vec<Part> {
    let payload = part(message.payload(), message.schema().map(|it| it.as_str()));
    let attachments = message.attachments().iter().map(attached);
    payload.into_iter().chain(attachments).collect()
}

fn part(payload: &str, schema: Option<&str>) -> Option<Part> {
    if payload == "null" {
        return None;
    }
    if let Some(text) = only_text(payload) {
        return Some(Part::text(text));
    }
    let data = Json::read(payload).unwrap_or_else(|_| Json::of(payload));
    Some(Part {
        media_type: Some("application/json".to_owned()),
        metadata: schema.map(|schema| Json::of(&serde_json::json!({ "schema": schema }))),
        ..Part::of(Content::Data(data))
    })
}

/// The text of a payload that is one: a string, or `{"text": …}` or `{"message": …}` alone.
fn only_text(payload: &str) -> Option<String> {
    if let Some(text) = string_of(payload) {
        return Some(text.into_owned());
    }
    let members = scan_object(payload.as_bytes()).ok()?;
    match &members[..] {
        [(name, place)] if name == "text" || name == "message" => {
            string_of(&payload[place.clone()]).map(Cow::into_owned)
        }
        _ => None,
    }
}

fn attached(it: &Attachment) -> Part {
    let mut metadata = serde_json::json!({ "size": it.size });
    if let Some((kind, digits)) = it.hash.split_once(':') {
        metadata[kind] = digits.into();
    }
    Part {
        content: Content::Url(it.url.to_string()),
        metadata: Some(Json::of(&metadata)),
        filename: Some(it.filename.to_string()),
        media_type: Some(it.content_type.to_string()),
    }
}
