//! Tasks of A2A that their agents do not end: those whose time is up, and those whose request did not
//! reach the agent without anybody being told.
//!
//! They end as failed, and say why. What of their mail waits is taken back in the same commit. Every
//! gateway of a database does it: the state is looked at in the commit, so one of them counts. The
//! tasks in the store are counted beside.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::protocol::{DeliveryStatus, ErrorCode};
use crate::store::{Advance, Advanced, Store, StoreError, TaskRow};
use crate::task::change::Target;
use crate::task::state::States;
use crate::task::{Message, TaskState};
use crate::telemetry::{Metrics, TaskEnd};

/// How often it looks.
const EVERY: Duration = Duration::from_secs(2);
/// Looks between two counts.
const COUNT: u32 = 15;
/// Tasks of one look.
const STEP: u32 = 100;

/// Ends tasks that nobody else ends.
pub struct Overdue {
    store: Store,
    clock: Clock,
    metrics: Metrics,
}

/// Why a task ends, and how.
struct Reason {
    state: TaskState,
    end: TaskEnd,
    text: String,
}

impl Overdue {
    /// A worker over a store.
    #[must_use]
    pub const fn new(store: Store, clock: Clock, metrics: Metrics) -> Self {
        Self {
            store,
            clock,
            metrics,
        }
    }

    /// Works until stopped.
    pub async fn run(self, stop: CancellationToken) {
        let mut looks = 0;
        loop {
            if let Err(error) = self.look().await {
                tracing::warn!(%error, "tasks whose time is up could not be ended");
            }
            if looks == 0
                && let Err(error) = self.count().await
            {
                tracing::warn!(%error, "tasks could not be counted");
            }
            looks = (looks + 1) % COUNT;
            tokio::select! {
                () = self.clock.wait(EVERY) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn look(&self) -> Result<(), StoreError> {
        loop {
            let overdue = self.store.overdue_tasks(self.clock.now(), STEP).await?;
            let count = overdue.len();
            for row in overdue {
                self.end(&row).await?;
            }
            if u32::try_from(count).unwrap_or(u32::MAX) < STEP {
                return Ok(());
            }
        }
    }

    async fn end(&self, row: &TaskRow) -> Result<(), StoreError> {
        let reason = self.reason(row).await?;
        let now = self.clock.now();
        let target = Target {
            task: &row.id,
            context: &row.context,
            at: now,
        };
        let said = Message::of_agent(self.clock.mint_v7().to_string(), reason.text.as_str());
        let advance = Advance {
            task: row.id.clone(),
            from: States::open().0,
            steps: vec![target.step(reason.state, Some(said))],
            link: None,
            key: None,
            now,
        };
        let ended = self.store.end_task(advance, None).await?;
        if matches!(ended.advanced, Advanced::Done { .. }) {
            self.metrics.tasks().ended(reason.end);
            tracing::info!(
                task.id = row.id,
                agent.number = row.agent,
                task.state = reason.state.word(),
                task.end = reason.end.as_str(),
                error = reason.text,
                "a task was ended"
            );
        }
        Ok(())
    }

    async fn reason(&self, row: &TaskRow) -> Result<Reason, StoreError> {
        let lost = |state, code: &str, text: &str| Reason {
            state,
            end: TaskEnd::Lost,
            text: format!("{code}: {text}"),
        };
        if let Some((status, code)) = self.store.lost_request(&row.id).await? {
            return Ok(match (status, code) {
                (DeliveryStatus::Cancelled, _) => Reason {
                    state: TaskState::Canceled,
                    end: TaskEnd::Lost,
                    text: "The message to the agent was cancelled.".to_owned(),
                },
                (DeliveryStatus::Expired, _) => {
                    let code = ErrorCode::MessageExpired;
                    lost(TaskState::Failed, code.as_str(), code.text())
                }
                (_, code) => {
                    let code = code.unwrap_or(ErrorCode::RecipientUnavailable);
                    lost(TaskState::Failed, code.as_str(), code.text())
                }
            });
        }
        if self.store.find_agent_by_number(row.agent).await?.is_none() {
            let code = ErrorCode::AgentUnknown;
            return Ok(lost(TaskState::Failed, code.as_str(), code.text()));
        }
        Ok(Reason {
            state: TaskState::Failed,
            end: TaskEnd::Deadline,
            text: "The agent did not finish the task in time.".to_owned(),
        })
    }

    async fn count(&self) -> Result<(), StoreError> {
        let counts = self.store.count_tasks().await?;
        let metrics = self.metrics.tasks();
        for state in TaskState::ALL {
            let of_state = counts.states.iter().find(|(code, _)| *code == state.code());
            metrics.kept(state.word(), of_state.map_or(0, |(_, count)| *count));
        }
        metrics.receivers_waiting(counts.receivers);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
