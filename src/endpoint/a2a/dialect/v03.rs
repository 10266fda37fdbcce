//! A2A 0.3, and 0.2, over JSON-RPC: every object names its kind, nothing is wrapped.

use serde::Serialize;

use super::method::Method;
use super::older::{OldPush, is_final, is_not_blocking};
use super::{Answer, Operation, PushPage, Sending, older};
use crate::protocol::Timestamp;
use crate::task::bounds::MOST_NAMES;
use crate::task::older::{OldMessage, OldParts, part, role};
use crate::task::page::LARGEST_PAGE;
use crate::task::{
    Artifact, Fault, Json, Message, Object, PushConfig, Role, SendConfiguration, SendRequest,
    StreamResponse, Task, TaskStatus, read as core,
};

/// Reads the parameters of a method.
pub(in crate::endpoint::a2a) fn read(
    method: Method,
    parameters: &Object<'_>,
) -> Result<Operation, Fault> {
    let send = || {
        Ok::<_, Fault>(Sending {
            request: send(parameters)?,
            alias: None,
        })
    };
    Ok(match method {
        Method::Send => Operation::Send(send()?),
        Method::Stream => Operation::Stream(send()?),
        Method::PutPush => {
            let task = Some(parameters.required_name("taskId")?);
            let config = parameters.required("pushNotificationConfig")?;
            Operation::PutPush(older::push(&config, task)?)
        }
        Method::ListPushes => Operation::ListPushes(PushPage {
            tenant: None,
            task: parameters.required_name("id")?,
            page_size: LARGEST_PAGE,
            page_token: String::new(),
        }),
        _ => older::read(method, parameters)?,
    })
}

fn send(parameters: &Object<'_>) -> Result<SendRequest, Fault> {
    let message = message(&parameters.required("message")?.object()?)?;
    let configuration = match parameters.get("configuration") {
        Some(place) => configuration(&place.object()?)?,
        None => SendConfiguration::default(),
    };
    Ok(SendRequest {
        tenant: None,
        message,
        configuration,
        metadata: core::metadata(parameters)?,
    })
}

fn message(object: &Object<'_>) -> Result<Message, Fault> {
    if role(object)? != Role::User {
        return Err(object.fault("role", "must be user"));
    }
    Ok(Message {
        message_id: core::id(object, "messageId")?,
        context_id: core::context(object, "contextId")?,
        task_id: object.name("taskId")?,
        role: Role::User,
        parts: core::parts(object, part)?,
        metadata: core::metadata(object)?,
        extensions: object.names("extensions", MOST_NAMES)?,
        reference_task_ids: object.names("referenceTaskIds", MOST_NAMES)?,
    })
}

fn configuration(object: &Object<'_>) -> Result<SendConfiguration, Fault> {
    let push = object.get("pushNotificationConfig");
    Ok(SendConfiguration {
        accepted_output_modes: object.names("acceptedOutputModes", MOST_NAMES)?,
        push: push.map(|place| older::push(&place, None)).transpose()?,
        history_length: core::count(object, "historyLength")?,
        return_immediately: is_not_blocking(object)?,
    })
}

#[derive(Serialize)]
struct OldStatus<'a> {
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<OldMessage<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<Timestamp>,
}

impl<'a> From<&'a TaskStatus> for OldStatus<'a> {
    fn from(it: &'a TaskStatus) -> Self {
        Self {
            state: it.state.word(),
            message: it.message.as_ref().map(Into::into),
            timestamp: it.timestamp,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OldArtifact<'a> {
    artifact_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    parts: OldParts<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a Json>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    extensions: &'a [String],
}

impl<'a> From<&'a Artifact> for OldArtifact<'a> {
    fn from(it: &'a Artifact) -> Self {
        Self {
            artifact_id: &it.artifact_id,
            name: it.name.as_deref(),
            description: it.description.as_deref(),
            parts: OldParts::of("kind", &it.parts),
            metadata: it.metadata.as_ref(),
            extensions: &it.extensions,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OldTask<'a> {
    kind: &'static str,
    id: &'a str,
    context_id: &'a str,
    status: OldStatus<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    artifacts: Vec<OldArtifact<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    history: Vec<OldMessage<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a Json>,
}

impl<'a> From<&'a Task> for OldTask<'a> {
    fn from(it: &'a Task) -> Self {
        Self {
            kind: "task",
            id: &it.id,
            context_id: &it.context_id,
            status: (&it.status).into(),
            artifacts: it.artifacts.iter().map(Into::into).collect(),
            history: it.history.iter().map(Into::into).collect(),
            metadata: it.metadata.as_ref(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StatusEvent<'a> {
    kind: &'static str,
    task_id: &'a str,
    context_id: &'a str,
    status: OldStatus<'a>,
    r#final: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a Json>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ArtifactEvent<'a> {
    kind: &'static str,
    task_id: &'a str,
    context_id: &'a str,
    artifact: OldArtifact<'a>,
    append: bool,
    last_chunk: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a Json>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PushOfTask<'a> {
    task_id: &'a str,
    push_notification_config: OldPush<'a>,
}

impl<'a> From<&'a PushConfig> for PushOfTask<'a> {
    fn from(config: &'a PushConfig) -> Self {
        Self {
            task_id: config.task_id.as_deref().unwrap_or_default(),
            push_notification_config: OldPush::of(config),
        }
    }
}

/// A task; also the body of a push notification.
pub(in crate::endpoint::a2a) fn task(task: &Task) -> Json {
    Json::of(&OldTask::from(task))
}

/// The result of an operation.
pub(in crate::endpoint::a2a) fn answer(answer: &Answer) -> Json {
    match answer {
        Answer::Sent(it) | Answer::Task(it) => task(it),
        Answer::Said(message) => Json::of(&OldMessage::from(message)),
        Answer::Tasks(list) => {
            let tasks: Vec<OldTask<'_>> = list.tasks.iter().map(Into::into).collect();
            Json::of(&tasks)
        }
        Answer::Push(config) => Json::of(&PushOfTask::from(config)),
        Answer::Pushes(configs, _) => {
            let configs: Vec<PushOfTask<'_>> = configs.iter().map(Into::into).collect();
            Json::of(&configs)
        }
        Answer::Deleted => Json::of(&()),
        Answer::Card(card) => card.clone(),
    }
}

/// An event of a stream.
pub(in crate::endpoint::a2a) fn event(event: &StreamResponse) -> Json {
    match event {
        StreamResponse::Task(it) => task(it),
        StreamResponse::Message(message) => Json::of(&OldMessage::from(message)),
        StreamResponse::StatusUpdate(it) => Json::of(&StatusEvent {
            kind: "status-update",
            task_id: &it.task_id,
            context_id: &it.context_id,
            status: (&it.status).into(),
            r#final: is_final(it.status.state),
            metadata: it.metadata.as_ref(),
        }),
        StreamResponse::ArtifactUpdate(it) => Json::of(&ArtifactEvent {
            kind: "artifact-update",
            task_id: &it.task_id,
            context_id: &it.context_id,
            artifact: (&it.artifact).into(),
            append: it.append,
            last_chunk: it.last_chunk,
            metadata: it.metadata.as_ref(),
        }),
    }
}
