//! A2A 0.3 from a client's side: messages are written, tasks and messages are read.

use crate::task::bounds::{MOST_CHANGES, MOST_NAMES};
use crate::task::older::{OldMessage, part_of_agent};
use crate::task::outward::Heard;
use crate::task::{
    Artifact, Fault, Json, Message, Object, Place, Role, Task, TaskState, TaskStatus, read,
};

/// A message to the agent.
pub(super) fn message(it: &Message) -> Json {
    Json::of(&OldMessage::from(it))
}

/// What an agent answers: a task or a message, which say what they are.
///
/// # Errors
/// It is neither, or something is not what it must be.
pub(super) fn heard(place: &Place<'_>) -> Result<Heard, Fault> {
    let object = place.object()?;
    let kind = object.name("kind")?;
    match kind.as_deref() {
        Some("task") => Ok(Heard::Task(Box::new(task(&object)?))),
        Some("message") => Ok(Heard::Message(Box::new(said(&object)?))),
        None if object.get("status").is_some() => Ok(Heard::Task(Box::new(task(&object)?))),
        _ => Err(object.fault("kind", "must be task or message")),
    }
}

fn task(object: &Object<'_>) -> Result<Task, Fault> {
    let artifacts = object.list("artifacts", MOST_CHANGES)?;
    Ok(Task {
        id: object.required_name("id")?,
        context_id: object.name("contextId")?.unwrap_or_default(),
        status: status(&object.required("status")?)?,
        artifacts: artifacts.iter().map(artifact).collect::<Result<_, _>>()?,
        history: Vec::new(),
        metadata: read::metadata(object)?,
    })
}

fn status(place: &Place<'_>) -> Result<TaskStatus, Fault> {
    let object = place.object()?;
    let word = object.required_name("state")?;
    let message = object.get("message").map(|it| said(&it.object()?));
    Ok(TaskStatus {
        // Some say `unknown` while they do not know.
        state: match word.as_str() {
            "unknown" => TaskState::Working,
            word => TaskState::of_word(word)
                .ok_or_else(|| object.fault("state", "is no state of a task"))?,
        },
        message: message.transpose()?,
        timestamp: object.get("timestamp").and_then(|it| it.moment().ok()),
    })
}

fn artifact(place: &Place<'_>) -> Result<Artifact, Fault> {
    let object = place.object()?;
    Ok(Artifact {
        artifact_id: read::id(&object, "artifactId")?,
        name: object.name("name")?,
        description: object.bounded("description", usize::MAX)?,
        parts: read::parts(&object, part_of_agent)?,
        metadata: read::metadata(&object)?,
        extensions: object.names("extensions", MOST_NAMES)?,
    })
}

/// A message of the agent.
fn said(object: &Object<'_>) -> Result<Message, Fault> {
    Ok(Message {
        message_id: read::id(object, "messageId")?,
        context_id: object.name("contextId")?,
        task_id: object.name("taskId")?,
        role: Role::Agent,
        parts: read::parts(object, part_of_agent)?,
        metadata: read::metadata(object)?,
        extensions: object.names("extensions", MOST_NAMES)?,
        reference_task_ids: Vec::new(),
    })
}
