//! A2A 0.1: `tasks/send`. The client names the task and the session; messages have no ids, artifacts
//! have numbers.

use serde::Serialize;

use super::method::Method;
use super::older::{OldPush, is_final};
use super::{Answer, Operation, Sending, older};
use crate::protocol::Timestamp;
use crate::task::bounds::{LONGEST_ID, MOST_NAMES};
use crate::task::older::{OldParts, part, role, role_word};
use crate::task::{
    Artifact, Fault, Json, Message, Object, Role, SendConfiguration, SendRequest, StreamResponse,
    Task, TaskState, TaskStatus, read as core,
};

/// Reads the parameters of a method. `fresh` is the id that the message gets.
pub(in crate::endpoint::a2a) fn read(
    method: Method,
    parameters: &Object<'_>,
    fresh: &str,
) -> Result<Operation, Fault> {
    Ok(match method {
        Method::Send => Operation::Send(send(parameters, fresh)?),
        Method::Stream => Operation::Stream(send(parameters, fresh)?),
        Method::PutPush => {
            let task = Some(parameters.required_name("id")?);
            let config = parameters.required("pushNotificationConfig")?;
            Operation::PutPush(older::push(&config, task)?)
        }
        _ => older::read(method, parameters)?,
    })
}

fn send(parameters: &Object<'_>, fresh: &str) -> Result<Sending, Fault> {
    let alias = parameters.required_name("id")?;
    if alias.len() > LONGEST_ID {
        let rule = format_args!("must have at most {LONGEST_ID} bytes");
        return Err(parameters.fault("id", rule));
    }
    let object = parameters.required("message")?.object()?;
    if role(&object)? != Role::User {
        return Err(object.fault("role", "must be user"));
    }
    let message = Message {
        message_id: fresh.to_owned(),
        context_id: core::context(parameters, "sessionId")?,
        task_id: None,
        role: Role::User,
        parts: core::parts(&object, part)?,
        metadata: core::metadata(&object)?,
        extensions: Vec::new(),
        reference_task_ids: Vec::new(),
    };
    let push = parameters.get("pushNotification");
    let configuration = SendConfiguration {
        accepted_output_modes: parameters.names("acceptedOutputModes", MOST_NAMES)?,
        push: push.map(|place| older::push(&place, None)).transpose()?,
        history_length: core::count(parameters, "historyLength")?,
        return_immediately: false,
    };
    let request = SendRequest {
        tenant: None,
        message,
        configuration,
        metadata: core::metadata(parameters)?,
    };
    Ok(Sending {
        request,
        alias: Some(alias),
    })
}

/// The numbers of artifacts in a stream: in the order in which they appeared.
#[derive(Debug, Clone, Default)]
pub(in crate::endpoint::a2a) struct Indexes(Vec<String>);

impl Indexes {
    /// Those of a task that has these artifacts, in order.
    pub(in crate::endpoint::a2a) const fn new(artifacts: Vec<String>) -> Self {
        Self(artifacts)
    }

    fn index(&mut self, id: &str) -> usize {
        if let Some(index) = self.0.iter().position(|other| other == id) {
            return index;
        }
        self.0.push(id.to_owned());
        self.0.len() - 1
    }
}

/// States that came later, as the nearest one this dialect has.
const fn word(state: TaskState) -> &'static str {
    match state {
        TaskState::Rejected => TaskState::Failed.word(),
        TaskState::AuthRequired => TaskState::InputRequired.word(),
        other => other.word(),
    }
}

/// Whether nothing follows in a stream: also where the client is asked for a credential.
const fn is_last(state: TaskState) -> bool {
    is_final(state) || matches!(state, TaskState::AuthRequired)
}

#[derive(Serialize)]
struct OldMessage<'a> {
    role: &'static str,
    parts: OldParts<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a Json>,
}

impl<'a> From<&'a Message> for OldMessage<'a> {
    fn from(it: &'a Message) -> Self {
        Self {
            role: role_word(it.role),
            parts: OldParts::of("type", &it.parts),
            metadata: it.metadata.as_ref(),
        }
    }
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
            state: word(it.state),
            message: it.message.as_ref().map(Into::into),
            timestamp: it.timestamp,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OldArtifact<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    parts: OldParts<'a>,
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    append: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_chunk: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a Json>,
}

fn artifact(it: &Artifact, index: usize) -> OldArtifact<'_> {
    OldArtifact {
        name: it.name.as_deref(),
        description: it.description.as_deref(),
        parts: OldParts::of("type", &it.parts),
        index,
        append: None,
        last_chunk: None,
        metadata: it.metadata.as_ref(),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OldTask<'a> {
    id: &'a str,
    session_id: &'a str,
    status: OldStatus<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    artifacts: Vec<OldArtifact<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    history: Vec<OldMessage<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a Json>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Event<'a> {
    Status {
        id: &'a str,
        status: OldStatus<'a>,
        r#final: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        metadata: Option<&'a Json>,
    },
    Artifact {
        id: &'a str,
        artifact: OldArtifact<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        metadata: Option<&'a Json>,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PushOfTask<'a> {
    id: &'a str,
    push_notification_config: OldPush<'a>,
}

/// A task under the name its client gave it; also the body of a push notification.
pub(in crate::endpoint::a2a) fn task(task: &Task, alias: &str) -> Json {
    let artifacts = task.artifacts.iter().enumerate();
    Json::of(&OldTask {
        id: alias,
        session_id: &task.context_id,
        status: (&task.status).into(),
        artifacts: artifacts.map(|(index, it)| artifact(it, index)).collect(),
        history: task.history.iter().map(Into::into).collect(),
        metadata: task.metadata.as_ref(),
    })
}

/// The result of an operation. What this dialect does not have is `null`.
pub(in crate::endpoint::a2a) fn answer(answer: &Answer, alias: &str) -> Json {
    match answer {
        Answer::Sent(it) | Answer::Task(it) => task(it, alias),
        Answer::Push(config) => Json::of(&PushOfTask {
            id: alias,
            push_notification_config: OldPush::of(config).unnamed(),
        }),
        Answer::Card(card) => card.clone(),
        Answer::Said(_) | Answer::Tasks(_) | Answer::Pushes(..) | Answer::Deleted => Json::of(&()),
    }
}

/// An event of a stream; nothing for one that this dialect does not have.
pub(in crate::endpoint::a2a) fn event(
    event: &StreamResponse,
    alias: &str,
    indexes: &mut Indexes,
) -> Option<Json> {
    match event {
        // A stream begins with a status here.
        StreamResponse::Task(it) => Some(Json::of(&Event::Status {
            id: alias,
            status: (&it.status).into(),
            r#final: is_last(it.status.state),
            metadata: it.metadata.as_ref(),
        })),
        StreamResponse::Message(_) => None,
        StreamResponse::StatusUpdate(it) => Some(Json::of(&Event::Status {
            id: alias,
            status: (&it.status).into(),
            r#final: is_last(it.status.state),
            metadata: it.metadata.as_ref(),
        })),
        StreamResponse::ArtifactUpdate(it) => {
            let index = indexes.index(&it.artifact.artifact_id);
            Some(Json::of(&Event::Artifact {
                id: alias,
                artifact: OldArtifact {
                    append: Some(it.append),
                    last_chunk: Some(it.last_chunk),
                    ..artifact(&it.artifact, index)
                },
                metadata: it.metadata.as_ref(),
            }))
        }
    }
}
