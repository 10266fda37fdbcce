//! What happens to a task, as steps that the store takes in one commit.

use super::json::Json;
use super::model::{ArtifactUpdate, Message, StatusUpdate, StreamResponse, TaskStatus};
use super::state::{States, TaskState};
use crate::protocol::Timestamp;
use crate::store::{ArtifactPiece, NewStatus, Otherwise, TaskStep, When};

/// What an agent's answer does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A new status.
    Status(StatusUpdate),
    /// A new artifact, or more of one.
    Artifact(ArtifactUpdate),
    /// A direct answer: instead of the task where its client has not seen it, else its last word.
    Answer(Message),
}

/// A task to be changed.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// Its id.
    pub task: &'a str,
    /// Its conversation.
    pub context: &'a str,
    /// The present moment.
    pub at: Timestamp,
}

impl Target<'_> {
    /// A new status of the task.
    #[must_use]
    pub fn update(&self, state: TaskState, message: Option<Message>) -> StatusUpdate {
        StatusUpdate {
            task_id: self.task.to_owned(),
            context_id: self.context.to_owned(),
            status: TaskStatus {
                state,
                message: message.map(|it| it.placed((self.task, self.context))),
                timestamp: Some(self.at),
            },
            metadata: None,
        }
    }

    /// The step to a state, with what is said.
    #[must_use]
    pub fn step(&self, state: TaskState, message: Option<Message>) -> TaskStep {
        status(&self.update(state, message))
    }

    /// The agent has the message: a task that was only submitted is being worked on.
    #[must_use]
    pub fn delivered(&self) -> TaskStep {
        TaskStep {
            from: States::of(&[TaskState::Submitted]).0,
            otherwise: Otherwise::Skip,
            ..self.step(TaskState::Working, None)
        }
    }

    /// The client says more: it is added to the history, and what waited for it goes on.
    #[must_use]
    pub fn said(&self, message: &Message) -> Vec<TaskStep> {
        let waiting = States::of(&[TaskState::InputRequired, TaskState::AuthRequired]);
        vec![
            TaskStep {
                from: States::open().0,
                message: Some(bytes(message)),
                ..TaskStep::default()
            },
            TaskStep {
                from: waiting.0,
                otherwise: Otherwise::Skip,
                ..self.step(TaskState::Working, None)
            },
        ]
    }

    /// The steps of changes, in order.
    #[must_use]
    pub fn steps(&self, changes: &[Change]) -> Vec<TaskStep> {
        changes.iter().flat_map(|it| self.steps_of(it)).collect()
    }

    fn steps_of(&self, change: &Change) -> Vec<TaskStep> {
        match change {
            Change::Status(update) => vec![status(update)],
            Change::Artifact(update) => vec![artifact(update)],
            Change::Answer(message) => self.answer(message),
        }
    }

    /// One of these two is taken.
    fn answer(&self, message: &Message) -> Vec<TaskStep> {
        let done = self.update(TaskState::Completed, None);
        let instead = TaskStep {
            from: States::open().0,
            when: When::Held,
            otherwise: Otherwise::Skip,
            status: Some(NewStatus {
                state: TaskState::Completed.code(),
                body: bytes(&done.status),
            }),
            event: Some(bytes(&StreamResponse::Message(message.clone()))),
            close: true,
            ..TaskStep::default()
        };
        let last = TaskStep {
            when: When::Shown,
            otherwise: Otherwise::Skip,
            ..self.step(TaskState::Completed, Some(message.clone()))
        };
        vec![instead, last]
    }
}

fn status(update: &StatusUpdate) -> TaskStep {
    let status = &update.status;
    TaskStep {
        from: States::before(status.state).0,
        status: Some(NewStatus {
            state: status.state.code(),
            body: bytes(status),
        }),
        event: Some(bytes(&StreamResponse::StatusUpdate(update.clone()))),
        message: status.message.as_ref().map(bytes),
        ..TaskStep::default()
    }
}

fn artifact(update: &ArtifactUpdate) -> TaskStep {
    TaskStep {
        from: States::open().0,
        event: Some(bytes(&StreamResponse::ArtifactUpdate(update.clone()))),
        artifact: Some(ArtifactPiece {
            artifact: update.artifact.artifact_id.clone(),
            append: update.append,
            body: bytes(&update.artifact),
        }),
        ..TaskStep::default()
    }
}

/// A value of ours as JSON.
pub fn bytes<T: serde::Serialize>(value: &T) -> Vec<u8> {
    Json::of(value).get().as_bytes().to_vec()
}
