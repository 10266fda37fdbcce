//! The values of A2A 1.0, written as the protocol has them (its `a2a.proto`).
//!
//! What is required is written even when it is empty; what is optional and not set is left out.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::json::Json;
use super::state::TaskState;
use crate::protocol::Timestamp;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Role {
    /// The client.
    #[serde(rename = "ROLE_USER")]
    User,
    /// The agent.
    #[serde(rename = "ROLE_AGENT")]
    Agent,
}

/// What a part holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Text.
    Text(String),
    /// Bytes, in base64 with padding.
    Raw(String),
    /// Where the bytes are.
    Url(String),
    /// Any JSON value.
    Data(Json),
}

/// A piece of a message or an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What it holds.
    pub content: Content,
    /// What else is said of it.
    pub metadata: Option<Json>,
    /// The name of the file.
    pub filename: Option<String>,
    /// What the content is.
    pub media_type: Option<String>,
}

impl Part {
    /// A part of which nothing else is said.
    #[must_use]
    pub const fn of(content: Content) -> Self {
        Self {
            content,
            metadata: None,
            filename: None,
            media_type: None,
        }
    }

    /// Text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::of(Content::Text(text.into()))
    }
}

impl Serialize for Part {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match &self.content {
            Content::Text(text) => map.serialize_entry("text", text)?,
            Content::Raw(raw) => map.serialize_entry("raw", raw)?,
            Content::Url(url) => map.serialize_entry("url", url)?,
            Content::Data(data) => map.serialize_entry("data", data)?,
        }
        for (name, value) in [
            ("filename", &self.filename),
            ("mediaType", &self.media_type),
        ] {
            if let Some(value) = value {
                map.serialize_entry(name, value)?;
            }
        }
        if let Some(metadata) = &self.metadata {
            map.serialize_entry("metadata", metadata)?;
        }
        map.end()
    }
}

/// What one side said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// Given by whoever made it.
    pub message_id: String,
    /// The conversation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_id: Option<String>,
    /// The task it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_id: Option<String>,
    /// Who speaks.
    pub role: Role,
    /// At least one.
    pub parts: Vec<Part>,
    /// What else is said of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Json>,
    /// The extensions it makes use of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<String>,
    /// Tasks it refers to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reference_task_ids: Vec<String>,
}

impl Message {
    /// A message of the agent with one text.
    pub fn of_agent(id: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            message_id: id.into(),
            context_id: None,
            task_id: None,
            role: Role::Agent,
            parts: vec![Part::text(text)],
            metadata: None,
            extensions: Vec::new(),
            reference_task_ids: Vec::new(),
        }
    }

    /// The same with the task and the conversation it belongs to.
    #[must_use]
    pub fn placed(mut self, (task, context): (&str, &str)) -> Self {
        self.task_id = Some(task.to_owned());
        self.context_id = Some(context.to_owned());
        self
    }
}

/// How far a task is, and what is said with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TaskStatus {
    /// How far.
    pub state: TaskState,
    /// What the agent says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Message>,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Timestamp>,
}

/// A result of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    /// Its name within the task.
    pub artifact_id: String,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// At least one.
    pub parts: Vec<Part>,
    /// What else is said of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Json>,
    /// The extensions it makes use of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<String>,
}

/// A task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// Given by this gateway.
    pub id: String,
    /// The conversation.
    pub context_id: String,
    /// How far it is.
    pub status: TaskStatus,
    /// Its results; left out where nobody asked for them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<Artifact>,
    /// What was said, oldest first; left out where nobody asked for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Message>,
    /// What else is said of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Json>,
}

/// A new status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusUpdate {
    /// The task.
    pub task_id: String,
    /// Its conversation.
    pub context_id: String,
    /// How far it is now.
    pub status: TaskStatus,
    /// What else is said of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Json>,
}

/// A new artifact, or more of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactUpdate {
    /// The task.
    pub task_id: String,
    /// Its conversation.
    pub context_id: String,
    /// The artifact, or what is to be added to it.
    pub artifact: Artifact,
    /// Whether the parts come after those the artifact has.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub append: bool,
    /// Whether nothing more of it comes.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub last_chunk: bool,
    /// What else is said of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Json>,
}

/// What a stream carries, a push notification holds, and the log of a task keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum StreamResponse {
    /// The task as it is.
    Task(Task),
    /// A direct answer.
    Message(Message),
    /// A new status.
    StatusUpdate(StatusUpdate),
    /// A new artifact, or more of one.
    ArtifactUpdate(ArtifactUpdate),
}

/// What a push notification shows its receiver.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct PushAuthentication {
    /// The scheme of the header `Authorization`.
    pub scheme: String,
    /// What follows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<String>,
}

/// Where changes of a task are posted.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PushConfig {
    /// The tenant, as the client said it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Its name within the task; given by this gateway where the client gives none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_id: Option<String>,
    /// Where.
    pub url: String,
    /// Shown in the header `X-A2A-Notification-Token`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Shown in the header `Authorization`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authentication: Option<PushAuthentication>,
}

impl std::fmt::Debug for PushAuthentication {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PushAuthentication")
            .field("scheme", &self.scheme)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for PushConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PushConfig")
            .field("id", &self.id)
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// How a message is to be answered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SendConfiguration {
    /// Media types the client can use.
    pub accepted_output_modes: Vec<String>,
    /// Where changes are to be posted.
    pub push: Option<PushConfig>,
    /// How many messages of the history the client wants; nothing = as many as there are.
    pub history_length: Option<u32>,
    /// Whether to answer before there is a result.
    pub return_immediately: bool,
}

/// A message for an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendRequest {
    /// The agent, where the URL does not name it.
    pub tenant: Option<String>,
    /// The message.
    pub message: Message,
    /// How to answer.
    pub configuration: SendConfiguration,
    /// What else is said of the request.
    pub metadata: Option<Json>,
}
