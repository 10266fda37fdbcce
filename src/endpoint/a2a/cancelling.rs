//! Cancelling a task: it ends at once, whatever the agent does.

use super::calling::Call;
use super::dialect::error::{A2aError, Kind};
use super::sending::is_over;
use super::tools::A2a;
use crate::intake::Canceling;
use crate::store::{Advanced, TaskRow};
use crate::task::Task;

impl A2a {
    /// Ends a task that its client does not want any more.
    ///
    /// # Errors
    /// There is no such task, or it has ended.
    pub(super) async fn cancel(&self, call: &Call, row: TaskRow) -> Result<Task, A2aError> {
        if is_over(&row) {
            return Err(ended());
        }
        let by = Canceling {
            principal: call.principal.clone(),
            remote: call.remote,
            request_id: call.request_id.clone(),
        };
        match Box::pin(self.intake.cancel_task(&row, &by)).await? {
            Advanced::Done { .. } => self.whole(row, None).await,
            Advanced::Unknown => Err(A2aError::no_task(&row.id)),
            Advanced::Refused(_) | Advanced::Full | Advanced::Known => Err(ended()),
        }
    }
}

fn ended() -> A2aError {
    A2aError::new(Kind::TaskNotCancelable, "the task has ended")
}
