//! Clients that wait until a task is done, or asks them something.
//!
//! Who goes away while waiting changes nothing. Who waits too long gets the task as it is.

use std::time::Duration;

use super::dialect::Answer;
use super::dialect::error::{A2aError, Kind};
use super::tools::A2a;
use crate::store::{TaskParts, TaskRow, task_topic};
use crate::task::{StreamResponse, Task, TaskState, whole};

/// What another gateway tells may get lost: look by ourselves so often.
const LOOK: Duration = Duration::from_secs(5);

impl A2a {
    /// Waits for the end of a task or a question of it, then answers.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn wait(&self, id: &str, history: Option<u32>) -> Result<Answer, A2aError> {
        let mut changes = self.store.events().subscribe(task_topic(id));
        let until = self.clock.monotonic() + self.rules.blocking_max_wait;
        loop {
            changes.catch_up();
            let row = self.row(id).await?;
            if is_answered(&row) {
                return self.said(&row).await;
            }
            let state = TaskState::from_code(row.state);
            let left = until.saturating_sub(self.clock.monotonic());
            let rests = state.is_none_or(|it| it.is_terminal() || it.is_interrupted());
            if rests || left.is_zero() || self.draining.is_cancelled() {
                return self.shown(row, history).await;
            }
            let pause = match self.store.is_shared() {
                true => left.min(LOOK),
                false => left,
            };
            tokio::select! {
                () = changes.changed() => {}
                () = self.clock.wait(pause) => {}
                () = self.draining.cancelled() => {}
            }
        }
    }

    async fn row(&self, id: &str) -> Result<TaskRow, A2aError> {
        let row = self.store.find_any_task(id).await?;
        row.ok_or_else(|| A2aError::no_task(id))
    }

    /// The task, which its client sees from now on, unless a direct answer was faster.
    async fn shown(&self, row: TaskRow, history: Option<u32>) -> Result<Answer, A2aError> {
        if row.held_until > self.clock.now() {
            self.store.show_task(row.id.clone()).await?;
            let row = self.row(&row.id).await?;
            if is_answered(&row) {
                return self.said(&row).await;
            }
        }
        self.whole(row, history).await.map(Answer::Sent)
    }

    /// A task as it is.
    pub(super) async fn whole(&self, row: TaskRow, history: Option<u32>) -> Result<Task, A2aError> {
        let parts = TaskParts {
            history,
            artifacts: true,
        };
        let id = row.id.clone();
        let found = self.store.whole_task(row, parts).await?;
        let found = found.ok_or_else(|| A2aError::no_task(&id))?;
        Ok(whole::task(&found)?)
    }

    /// The direct answer that closed a task.
    async fn said(&self, row: &TaskRow) -> Result<Answer, A2aError> {
        let last = self.store.task_events(&row.id, row.seq - 1, 1).await?;
        let last = last.first().map(whole::event).transpose()?;
        match last {
            Some(StreamResponse::Message(message)) => Ok(Answer::Said(message)),
            _ => {
                let text = "the answer of the agent cannot be shown";
                Err(A2aError::new(Kind::InvalidAgentResponse, text))
            }
        }
    }
}

/// Whether a direct answer took the place of the task.
fn is_answered(row: &TaskRow) -> bool {
    row.held_until.as_millis() == i64::MAX
}
