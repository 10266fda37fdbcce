//! What is asked for, done: the same for all bindings and dialects.

use tokio::sync::OwnedSemaphorePermit;

use super::calling::Call;
use super::card::Reader;
use super::dialect::error::{A2aError, Kind};
use super::dialect::{Answer, Operation, Sending, TaskList, TaskRequest};
use super::following::Subject;
use super::sending::{Manner, is_over};
use super::tools::A2a;
use crate::protocol::Timestamp;
use crate::store::{TaskCursor, TaskParts, TaskRow};
use crate::task::page::{ListRequest, token};
use crate::task::{Dialect, StreamResponse, whole};

/// Bytes of tasks in one answer, more or less: a list goes on behind that.
const LARGEST_LIST: usize = 8 * 1_024 * 1_024;

/// What an operation gives.
pub(super) enum Done {
    /// An answer.
    Answer(Answer),
    /// A stream.
    Stream(Subject),
}

impl A2a {
    /// Does what is asked for.
    ///
    /// # Errors
    /// What is wrong, for the client.
    pub(super) async fn perform(
        &self,
        call: &Call,
        operation: &Operation,
    ) -> Result<Done, A2aError> {
        let answer = match operation {
            Operation::Send(sending) => self.send(call, sending).await?,
            Operation::Stream(sending) => {
                return self.stream(call, sending).await.map(Done::Stream);
            }
            Operation::Subscribe(asked) => {
                return self.subscribe(call, asked).await.map(Done::Stream);
            }
            Operation::Get(asked) => {
                let row = self.task(call, &asked.id).await?;
                Answer::Task(self.whole(row, asked.history_length).await?)
            }
            Operation::List(asked) => Answer::Tasks(self.list(call, asked).await?),
            Operation::Cancel(asked) => {
                let row = self.task(call, &asked.id).await?;
                Answer::Task(self.cancel(call, row).await?)
            }
            Operation::PutPush(config) => self.put_place(call, config).await?,
            Operation::FindPush(asked) => self.find_place(call, asked).await?,
            Operation::ListPushes(asked) => self.list_places(call, asked).await?,
            Operation::DeletePush(asked) => self.delete_place(call, asked).await?,
            Operation::Card(_) => self.extended(call)?,
        };
        Ok(Done::Answer(answer))
    }

    async fn send(&self, call: &Call, sending: &Sending) -> Result<Answer, A2aError> {
        let configuration = &sending.request.configuration;
        let history = configuration.history_length;
        if !configuration.return_immediately {
            let _place = self.wait_place()?;
            let begun = self.begin(call, sending, Manner::Waits).await?;
            return self.wait(&begun.id, history).await;
        }
        let begun = self.begin(call, sending, Manner::Looks).await?;
        let row = self.store.find_any_task(&begun.id).await?;
        let row = row.ok_or_else(|| A2aError::no_task(&begun.id))?;
        self.whole(row, history).await.map(Answer::Sent)
    }

    async fn stream(&self, call: &Call, sending: &Sending) -> Result<Subject, A2aError> {
        streams(call)?;
        let place = self.wait_place()?;
        let begun = self.begin(call, sending, Manner::Looks).await?;
        if let Some(first) = begun.fresh {
            return Ok(Subject {
                task: begun.id,
                after: 0,
                first: Some(shortened(first, sending)),
                known: Vec::new(),
                until_asked: true,
                place,
            });
        }
        let row = self.store.find_any_task(&begun.id).await?;
        let row = row.ok_or_else(|| A2aError::no_task(&begun.id))?;
        let history = sending.request.configuration.history_length;
        self.snapshot((row, history), true, place).await
    }

    async fn subscribe(&self, call: &Call, asked: &TaskRequest) -> Result<Subject, A2aError> {
        streams(call)?;
        let row = self.task(call, &asked.id).await?;
        let place = self.wait_place()?;
        let until_asked = call.dialect != Dialect::V1;
        // Of one that has ended there is only what the client missed.
        let most = row.seq - i64::from(is_over(&row));
        let missed = call.last_event.filter(|after| (0..=most).contains(after));
        if let Some(after) = missed {
            let subject = self.snapshot((row, Some(0)), until_asked, place).await?;
            return Ok(Subject {
                after,
                first: None,
                ..subject
            });
        }
        if is_over(&row) {
            let text = "the task has ended: ask for it instead";
            return Err(A2aError::new(Kind::UnsupportedOperation, text));
        }
        self.snapshot((row, asked.history_length), until_asked, place)
            .await
    }

    /// A task as it is, with the position it is of.
    async fn snapshot(
        &self,
        (row, history): (TaskRow, Option<u32>),
        until_asked: bool,
        place: OwnedSemaphorePermit,
    ) -> Result<Subject, A2aError> {
        let parts = TaskParts {
            history,
            artifacts: true,
        };
        let id = row.id.clone();
        let found = self.store.whole_task(row, parts).await?;
        let found = found.ok_or_else(|| A2aError::no_task(&id))?;
        let after = found.row.seq;
        let task = whole::task(&found)?;
        Ok(Subject::of((task, after), until_asked, place))
    }

    async fn list(&self, call: &Call, asked: &ListRequest) -> Result<TaskList, A2aError> {
        let owner = call.owner("");
        let query = asked.query(owner.as_str(), call.agent.id)?;
        let page = self.store.list_tasks(&query, self.clock.now()).await?;
        let parts = TaskParts {
            history: Some(asked.history_length.unwrap_or(0)),
            artifacts: asked.include_artifacts,
        };
        let (mut tasks, mut bytes, mut next) = (Vec::new(), 0, page.next);
        for row in page.tasks {
            if bytes > LARGEST_LIST {
                break;
            }
            let place = place(&row);
            // One that was forgotten meanwhile is left out.
            if let Some(found) = self.store.whole_task(row, parts).await? {
                let pieces = found.history.iter().chain(&found.artifacts);
                bytes += pieces.map(Vec::len).sum::<usize>();
                tasks.push(whole::task(&found)?);
                if bytes > LARGEST_LIST {
                    next = Some(place);
                }
            }
        }
        Ok(TaskList {
            tasks,
            next_page_token: next.map_or_else(String::new, |next| token(&query, &next)),
            page_size: asked.page_size,
            total_size: page.total,
        })
    }

    /// The card for those who are known.
    fn extended(&self, call: &Call) -> Result<Answer, A2aError> {
        if !self.rules.extended_card {
            let text = "this agent has no extended card";
            return Err(A2aError::new(Kind::UnsupportedOperation, text));
        }
        if !call.is_known() {
            let text = "the extended card is for callers with a credential";
            return Err(A2aError::new(Kind::Unauthenticated, text));
        }
        if !call.agent.active {
            let text = "there is no card of an agent that is not active";
            return Err(A2aError::new(Kind::ExtendedCardNotConfigured, text));
        }
        let card = self.card_of(&call.agent, Reader::Known, call.dialect)?;
        Ok(Answer::Card(card))
    }
}

fn place(row: &TaskRow) -> TaskCursor {
    let at: Timestamp = row.changed_at;
    TaskCursor {
        at,
        id: row.id.clone(),
    }
}

/// The task without its history, where the client wants none.
fn shortened(mut first: StreamResponse, sending: &Sending) -> StreamResponse {
    let length = sending.request.configuration.history_length;
    if let (StreamResponse::Task(task), Some(0)) = (&mut first, length) {
        task.history.clear();
    }
    first
}

fn streams(call: &Call) -> Result<(), A2aError> {
    if call.agent.settings.a2a.streams() {
        return Ok(());
    }
    let text = "the tasks of this agent cannot be followed as streams";
    Err(A2aError::new(Kind::UnsupportedOperation, text))
}
