//! Follows the tasks of A2A agents of others, until their senders have an answer.
//!
//! - A task is looked at after a second, then after twice that and so on, and soon after its agent
//!   called back. What the agent says when it calls back is not believed: it is asked.
//! - The answer and the note that it was given are one commit: there is one, whatever stops.
//! - A task that waits for its sender is looked at rarely: it goes on with what its sender says.
//! - What cannot be found out any more, and what takes longer than a task may, is told as a failure.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::clock::Clock;
use crate::envelope::Origin;
use crate::events::Topic;
use crate::intake::{Intake, Made, Refusal};
use crate::protocol::{ErrorCode, IdempotencyKey, MessageId, Timestamp};
use crate::store::{Acceptance, Agent, Call, CallAnswer, Store, StoreError};
use crate::task::outward::{Asked, Form, Heading, Heard, answer, failure};
use crate::task::{Place, StreamResponse, Task, read};
use crate::transport::{A2aClient, Problem, TASK_NOT_FOUND};

/// Tasks that are looked at at the same time.
const AT_ONCE: usize = 16;
/// Who looks at a call has it for so long beside the time that the look may take.
const MARGIN: Duration = Duration::from_secs(15);
/// Nobody sleeps longer: others may note calls too, and not be heard.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
/// After a fault of the database.
const AGAIN: Duration = Duration::from_secs(5);
/// So many answers in a row that cannot be understood are enough.
const MOST_NONSENSE: u32 = 10;

/// How tasks are followed.
#[derive(Debug, Clone, Copy)]
pub struct CallRules {
    /// The pause after the first look.
    pub first: Duration,
    /// The longest pause.
    pub longest: Duration,
}

/// Follows tasks.
pub struct Calls(Arc<Parts>);

struct Parts {
    store: Store,
    intake: Intake,
    client: A2aClient,
    rules: CallRules,
    clock: Clock,
}

/// What a sender is to be told.
enum News {
    /// What was heard.
    Heard(Heard),
    /// That there is no answer, and why.
    Failure(String),
}

impl Calls {
    /// Follows the tasks of this store, and gives answers through this door.
    #[must_use]
    pub fn new(
        (store, intake): (Store, Intake),
        client: A2aClient,
        rules: CallRules,
        clock: Clock,
    ) -> Self {
        Self(Arc::new(Parts {
            store,
            intake,
            client,
            rules,
            clock,
        }))
    }

    /// Works until stopped. What is being looked at then is looked at again.
    pub async fn run(self, stop: CancellationToken) {
        let parts = self.0;
        parts.wake().await;
        let mut news = parts.store.events().subscribe(Topic::Calls);
        let mut looking = JoinSet::new();
        loop {
            let pause = match parts.begin(&mut looking).await {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::warn!(%error, "tasks of others could not be looked at");
                    AGAIN
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = parts.clock.wait(pause) => {}
                () = news.changed() => {}
                Some(_) = looking.join_next() => {}
            }
        }
    }
}

impl Parts {
    /// What a gateway had that ended before this one began is free; of one that may live, it is not.
    async fn wake(&self) {
        if self.store.is_shared() {
            return;
        }
        if let Err(error) = self.store.free_calls(self.clock.now()).await {
            tracing::warn!(%error, "tasks of others wait for who looked at them before");
        }
    }

    /// Begins to look at what is due; answers how long nothing else is.
    async fn begin(self: &Arc<Self>, looking: &mut JoinSet<()>) -> Result<Duration, StoreError> {
        let now = self.clock.now();
        let room = AT_ONCE.saturating_sub(looking.len());
        if room == 0 {
            return Ok(LONGEST_SLEEP);
        }
        let next = self.store.next_call_at().await?;
        let Some(next) = next.filter(|next| *next <= now) else {
            let pause = next.map_or(LONGEST_SLEEP, |next| next.since(now));
            return Ok(pause.min(LONGEST_SLEEP));
        };
        let limit = u32::try_from(room).unwrap_or(1);
        let hold = self.client.longest() + MARGIN;
        let due = self.store.take_due_calls(now, hold, limit).await?;
        tracing::debug!(calls = due.len(), since = %next, "looking at tasks of others");
        for call in due {
            let parts = self.clone();
            looking.spawn(async move { parts.look_at(call).await });
        }
        Ok(Duration::ZERO)
    }

    async fn look_at(&self, call: Call) {
        if let Err(error) = self.follow(&call).await {
            tracing::warn!(%error, "a task of others could not be followed: it is looked at again");
        }
    }

    async fn follow(&self, call: &Call) -> Result<(), StoreError> {
        let now = self.clock.now();
        let agent = self.store.find_agent_by_number(call.agent).await?;
        let Some(agent) = agent else {
            return self.fail(call, "the address was given up").await;
        };
        if let Some(heard) = &call.heard {
            return match heard_before(heard) {
                Some(heard) => self.tell(call, News::Heard(heard)).await,
                None => self.fail(call, "what the agent answered was lost").await,
            };
        }
        let looked = self.client.look(&agent, &call.place, &call.task).await;
        if now >= call.give_up_at && !matches!(&looked, Ok(task) if is_news(task, call)) {
            return self
                .fail(call, "the agent did not end the task in time")
                .await;
        }
        match looked {
            Ok(task) if is_news(&task, call) => {
                self.tell(call, News::Heard(Heard::Task(Box::new(task))))
                    .await
            }
            Ok(task) => {
                self.later(call, task.status.state.is_interrupted(), 0)
                    .await
            }
            Err(problem) => self.in_trouble(call, &agent, &problem).await,
        }
    }

    async fn in_trouble(
        &self,
        call: &Call,
        agent: &Agent,
        problem: &Problem,
    ) -> Result<(), StoreError> {
        tracing::info!(
            agent.address = %agent.address,
            call.id,
            error = %problem,
            "a task of an A2A agent could not be looked at"
        );
        let failures = call.failures.saturating_add(1);
        match problem {
            Problem::Error(TASK_NOT_FOUND, _) => {
                self.fail(call, "the agent does not know the task any more")
                    .await
            }
            Problem::Net(fault) if fault.kind() == "too_large" => {
                self.fail(call, &problem.to_string()).await
            }
            Problem::Garbage(_) | Problem::Error(..) if failures >= MOST_NONSENSE => {
                self.fail(call, &problem.to_string()).await
            }
            // A place that says nothing for long may come back: until the task's time is over.
            _ => self.later(call, false, failures).await,
        }
    }

    /// Looks again, after a pause that grows.
    async fn later(&self, call: &Call, waits: bool, failures: u32) -> Result<(), StoreError> {
        let doubled = self.rules.first.saturating_mul(1 << call.looks.min(20));
        let pause = match waits {
            true => self.rules.longest,
            false => doubled.min(self.rules.longest),
        };
        let due_at = self.clock.now().plus(pause).min(call.give_up_at);
        let soon = self.clock.now().plus(self.rules.first);
        self.store
            .defer_call(&call.id, due_at.max(soon), failures)
            .await
    }

    async fn fail(&self, call: &Call, why: &str) -> Result<(), StoreError> {
        self.tell(call, News::Failure(why.to_owned())).await
    }

    async fn end(&self, call: &Call, told: &str) -> Result<(), StoreError> {
        let answer = self.noted(call, told.to_owned(), None);
        self.store.answer_call(answer, None).await.map(drop)
    }

    fn noted(&self, call: &Call, told: String, due_at: Option<Timestamp>) -> CallAnswer {
        CallAnswer {
            call: call.id.clone(),
            before: call.told.clone(),
            told,
            message: None,
            due_at,
            now: self.clock.now(),
        }
    }

    /// Tells the sender, and notes that in the same commit.
    async fn tell(&self, call: &Call, news: News) -> Result<(), StoreError> {
        let Ok(asked) = serde_json::from_slice::<Asked>(&call.asked) else {
            return self.end(call, "lost").await;
        };
        let (told, goes_on) = match &news {
            News::Heard(Heard::Task(task)) => (told(task), task.status.state.is_interrupted()),
            News::Heard(Heard::Message(_)) => ("message".to_owned(), false),
            News::Failure(_) => ("failure".to_owned(), false),
        };
        let due_at = goes_on.then(|| self.clock.now().plus(self.rules.longest));
        let mut answer = self.noted(call, told, due_at);
        match self.judged(&asked, &news).await {
            Ok(acceptance) => {
                answer.message = Some(acceptance.envelope.message_id.clone());
                self.store.answer_call(answer, Some(acceptance)).await?;
                Ok(())
            }
            Err(refusal) if refusal.retry_after.is_some() => {
                let due_at = self.clock.now().plus(AGAIN);
                self.store.defer_call(&call.id, due_at, call.failures).await
            }
            Err(refusal) => {
                tracing::warn!(
                    call.id,
                    message.id = asked.message_id,
                    error.code = refusal.code.as_str(),
                    "the answer of an A2A agent cannot go where it is to go"
                );
                self.store.answer_call(answer, None).await?;
                Ok(())
            }
        }
    }

    /// The answer as it passes the door: without its schema where it does not fit that, and the fact
    /// alone where it is too large.
    async fn judged(&self, asked: &Asked, news: &News) -> Result<Acceptance, Refusal> {
        let heard = match news {
            News::Heard(heard) => heard,
            News::Failure(why) => return self.judge(asked, |it| failure(asked, why, it)).await,
        };
        let named = |it: &Heading<'_>| answer(asked, heard, it, Form::Named);
        let unnamed = |it: &Heading<'_>| answer(asked, heard, it, Form::Unnamed);
        let judged = match self.judge(asked, named).await {
            Err(refusal) if refusal.code == ErrorCode::SchemaValidationFailed => {
                self.judge(asked, unnamed).await
            }
            judged => judged,
        };
        match judged {
            Err(refusal) if refusal.code == ErrorCode::MessageTooLarge => {
                let why = "what the agent answered is too large for a message";
                self.judge(asked, |it| failure(asked, why, it)).await
            }
            judged => judged,
        }
    }

    async fn judge(
        &self,
        asked: &Asked,
        write: impl Fn(&Heading<'_>) -> bytes::Bytes,
    ) -> Result<Acceptance, Refusal> {
        let id: MessageId = self.clock.mint_v7().into();
        let key: IdempotencyKey = Uuid::new_v4().into();
        let raw = write(&Heading {
            message_id: &id,
            idempotency_key: &key,
            now: self.clock.now(),
        });
        let made = Made {
            raw,
            origin: Origin::Reply,
            request_id: asked.request_id.clone(),
        };
        self.intake.judge_made(made).await
    }
}

/// Whether the sender is to be told of this.
fn is_news(task: &Task, call: &Call) -> bool {
    let state = task.status.state;
    state.is_terminal() || (state.is_interrupted() && told(task) != call.told)
}

/// What a sender knows that was told of this.
fn told(task: &Task) -> String {
    let status = &task.status;
    let since = status.timestamp.map(|it| it.to_string());
    let said = status.message.as_ref().map(|it| it.message_id.clone());
    format!(
        "{} {} {}",
        status.state.word(),
        since.unwrap_or_default(),
        said.unwrap_or_default()
    )
}

fn heard_before(stored: &[u8]) -> Option<Heard> {
    let text = std::str::from_utf8(stored).ok()?;
    match read::stream_response(&Place::top(text, "")).ok()? {
        StreamResponse::Task(task) => Some(Heard::Task(Box::new(task))),
        StreamResponse::Message(message) => Some(Heard::Message(Box::new(message))),
        StreamResponse::StatusUpdate(_) | StreamResponse::ArtifactUpdate(_) => None,
    }
}
