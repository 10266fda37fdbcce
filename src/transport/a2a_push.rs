//! Push notifications of A2A: what happens to a task is posted where its client wants it.
//!
//! - A place gets the events of its task in their order, one request at a time: in the dialect 1.0 a
//!   `StreamResponse` each, in the older ones the whole task as it is by then.
//! - At least once: the position is stored after each request. What was under way when a gateway ended
//!   is posted again. Of gateways that share a database one at a time posts to a place.
//! - Clients name these places, so addresses that are not public are not connected to, unless
//!   `net.allow.a2a` has them. No redirect is followed. An answer has fifteen seconds, and what it says
//!   is not looked at.
//! - A place that fails is tried again with growing pauses, and taken away when it failed too often in
//!   a row. No host has more than a few requests under way, and all bodies together are bounded.
//! - Neither URLs nor what is shown to a receiver are logged: only its host is.

mod hosts;
mod judgement;
mod letter;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::Uri;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::events::Topic;
use crate::net::{AnswerLimits, GuardedClient};
use crate::protocol::Timestamp;
use crate::store::{DuePush, Pushed, Sealer, Store, StoreError, TaskParts};
use crate::task::{Dialect, Json, Task, push, whole};
use crate::telemetry::{Metrics, PushOutcome};
use hosts::Hosts;
pub use judgement::PushRetry;
use judgement::Verdict;
use letter::Shown;

/// How long a receiver has, and how much it may answer.
const LIMITS: AnswerLimits = AnswerLimits {
    size: 1 << 20,
    time: Duration::from_secs(15),
};
/// So long a place is taken: longer than a request and its commits.
const HOLD: Duration = Duration::from_secs(40);
/// Places that are posted to at a time.
const MOST: usize = 64;
/// Memory of all bodies together, in steps of [`STEP`].
const MEMORY: u32 = 256;
/// The largest share of one body.
const LARGEST: u32 = 64;
const STEP: u64 = 1 << 20;
/// After a database fault, and where there is no memory, it is looked at again after this time.
const AGAIN: Duration = Duration::from_secs(1);
/// Without a cause it is looked at again after this time: changes by other gateways may go unnoticed.
const EVERY: Duration = Duration::from_secs(10);

/// Writes a task in a dialect before 1.0, under the name its client gave it where it gave one.
pub type OldTask = fn(Dialect, &Task, Option<&str>) -> Json;

/// What a worker is made of.
pub struct PushTools {
    /// Where tasks are.
    pub store: Store,
    /// Calls receivers.
    pub client: GuardedClient,
    /// Opens what is shown to receivers.
    pub sealer: Option<Sealer>,
    /// Writes older dialects.
    pub old_task: OldTask,
    /// What time it is.
    pub clock: Clock,
    /// What is counted.
    pub metrics: Metrics,
}

/// The worker that posts. Cloning is cheap.
#[derive(Clone)]
pub struct Pusher {
    tools: Arc<PushTools>,
    retry: PushRetry,
    hosts: Hosts,
    memory: Arc<Semaphore>,
}

/// What is to be posted.
struct Next {
    /// The position it stands for.
    seq: i64,
    /// Nothing where there is nothing to be shown.
    body: Option<Bytes>,
    /// Whether more follows already.
    more: bool,
}

impl Pusher {
    /// A worker that tries again by these rules.
    #[must_use]
    pub fn new(tools: PushTools, retry: PushRetry) -> Self {
        Self {
            tools: Arc::new(tools),
            retry,
            hosts: Hosts::default(),
            memory: Arc::new(Semaphore::new(MEMORY as usize)),
        }
    }

    /// Posts until stopped; what is under way then is finished.
    pub async fn run(self, stop: CancellationToken) {
        let store = &self.tools.store;
        if !store.is_shared()
            && let Err(error) = store.free_pushes(self.tools.clock.now(), HOLD).await
        {
            tracing::warn!(%error, "push notifications of before go on a little later");
        }
        let mut changes = store.events().subscribe(Topic::Pushes);
        let mut jobs = JoinSet::new();
        loop {
            changes.catch_up();
            let pause = self.look(&mut jobs, &stop).await;
            let is_busy = jobs.len() >= MOST;
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(_) = jobs.join_next(), if !jobs.is_empty() => {}
                () = changes.changed(), if !is_busy => {}
                () = self.tools.clock.wait(pause), if !is_busy => {}
            }
        }
        while jobs.join_next().await.is_some() {}
    }

    /// Begins with what is due. Answers when to look again.
    async fn look(&self, jobs: &mut JoinSet<()>, stop: &CancellationToken) -> Duration {
        let room = MOST.saturating_sub(jobs.len());
        match self.take(room).await {
            Ok((due, next)) => {
                for it in due {
                    let (worker, stop) = (self.clone(), stop.clone());
                    jobs.spawn(async move { worker.go(it, &stop).await });
                }
                next
            }
            Err(error) => {
                tracing::warn!(%error, "what is to be posted for tasks cannot be read");
                AGAIN
            }
        }
    }

    async fn take(&self, room: usize) -> Result<(Vec<DuePush>, Duration), StoreError> {
        let PushTools { store, clock, .. } = &*self.tools;
        let pause =
            |next: Option<Timestamp>| next.map_or(EVERY, |next| next.since(clock.now()).min(EVERY));
        let wait = pause(store.next_push_at().await?);
        let limit = u32::try_from(room).unwrap_or(u32::MAX);
        if limit == 0 || !wait.is_zero() {
            return Ok((Vec::new(), wait));
        }
        let due = store.take_due_pushes(self.now(), HOLD, limit).await?;
        // The clock of the database may be behind.
        let wait = match due.is_empty() {
            true => AGAIN,
            false => Duration::ZERO,
        };
        Ok((due, wait))
    }

    /// The moment by which places are taken; nothing for that of the database.
    fn now(&self) -> Option<Timestamp> {
        let PushTools { store, clock, .. } = &*self.tools;
        match store.is_shared() {
            true => clock.set_by_hand(),
            false => Some(clock.now()),
        }
    }

    /// Posts to a place what is there for it.
    async fn go(&self, due: DuePush, stop: &CancellationToken) {
        let task = due.push.task.clone();
        if let Err(error) = self.post_all(due, stop).await {
            // It is due again when the time is up for which it was taken.
            tracing::warn!(task.id = task, %error, "what came of a push notification could not be noted");
        }
    }

    async fn post_all(&self, mut due: DuePush, stop: &CancellationToken) -> Result<(), StoreError> {
        let clock = &self.tools.clock;
        let Some((receiver, host)) = receiver(&due.push.url) else {
            return self.give_up(&due, "", "its URL cannot be called").await;
        };
        let _seat = match self.hosts.enter(&host) {
            Ok(seat) => seat,
            Err(wait) => return self.postpone(&due, wait).await,
        };
        let share = u32::try_from(due.size / STEP).unwrap_or(u32::MAX);
        let share = share.saturating_add(1).min(LARGEST);
        let Ok(_memory) = self.memory.try_acquire_many(share) else {
            return self.postpone(&due, AGAIN).await;
        };
        let shown = match self.shown(&due) {
            Ok(shown) => shown,
            Err(error) => {
                tracing::error!(task.id = due.push.task, %error, "a push notification cannot be posted");
                let pause = self.retry.pause(u32::MAX, None, &due.push.task);
                return self.failed(&due, pause).await;
            }
        };
        let dialect = Dialect::from_code(due.push.dialect);
        loop {
            let next = self.next(&due, dialect).await?;
            let Some(body) = next.body else {
                return self.settle(&due, Pushed::Sent(next.seq)).await;
            };
            let Some(letter) = letter::write(&receiver, dialect, &shown, body) else {
                return self
                    .give_up(&due, &host, "what it is to be shown is no header")
                    .await;
            };
            let answer = self.tools.client.send(letter, LIMITS).await;
            let name = format!("{} {}", due.push.task, due.push.id);
            match self
                .retry
                .judge(&answer, (due.failures, &name), clock.now())
            {
                Verdict::Delivered => self.count(PushOutcome::Delivered),
                Verdict::Again(pause) => {
                    log(&due, &host, &why(&answer));
                    return self.failed(&due, pause).await;
                }
                Verdict::Never => return self.give_up(&due, &host, &why(&answer)).await,
            }
            if !next.more || stop.is_cancelled() {
                return self.settle(&due, Pushed::Sent(next.seq)).await;
            }
            let kept = self
                .tools
                .store
                .extend_push(&due, next.seq, (self.now(), HOLD));
            match kept.await? {
                Some(kept) => due = kept,
                // Another one goes on with it, or its client changed it.
                None => return Ok(()),
            }
        }
    }

    /// What is shown to the receiver.
    fn shown(&self, due: &DuePush) -> Result<Shown, StoreError> {
        match (&due.push.sealed, &self.tools.sealer) {
            (None, _) => Ok(Shown::default()),
            (Some(_), Some(sealer)) => {
                let config = push::opened(&due.push, sealer)?;
                Ok(Shown {
                    token: config.token,
                    authentication: config.authentication,
                })
            }
            (Some(_), None) => Err(StoreError::Corrupt(
                "of a push configuration: it is sealed, and `secrets.key_file` is not set"
                    .to_owned(),
            )),
        }
    }

    /// What is to be posted next.
    async fn next(&self, due: &DuePush, dialect: Dialect) -> Result<Next, StoreError> {
        let store = &self.tools.store;
        let task = due.push.task.as_str();
        let nothing = |seq| Next {
            seq,
            body: None,
            more: false,
        };
        if dialect == Dialect::V1 {
            let events = store.task_events(task, due.sent, 2).await?;
            let more = events.len() > 1;
            let first = events.into_iter().next().map(|event| Next {
                seq: event.seq,
                body: Some(event.body.into()),
                more,
            });
            return Ok(first.unwrap_or(nothing(due.sent)));
        }
        let Some(row) = store.find_any_task(task).await? else {
            return Ok(nothing(due.sent));
        };
        let Some(stored) = store.whole_task(row, TaskParts::ALL).await? else {
            return Ok(nothing(due.sent));
        };
        // Where its client was answered otherwise there is no task for it.
        let is_hidden = stored.row.held_until == Timestamp::from_millis(i64::MAX);
        if is_hidden || stored.row.seq <= due.sent {
            return Ok(nothing(stored.row.seq));
        }
        let (task, alias) = (whole::task(&stored)?, stored.row.alias.as_deref());
        let body = (self.tools.old_task)(dialect, &task, alias);
        Ok(Next {
            seq: stored.row.seq,
            body: Some(Bytes::copy_from_slice(body.get().as_bytes())),
            more: false,
        })
    }

    async fn failed(&self, due: &DuePush, pause: Duration) -> Result<(), StoreError> {
        self.count(PushOutcome::Deferred);
        let again = self.tools.clock.now().plus(pause);
        self.settle(due, Pushed::Failed(again)).await
    }

    async fn postpone(&self, due: &DuePush, wait: Duration) -> Result<(), StoreError> {
        let then = self.tools.clock.now().plus(wait);
        self.settle(due, Pushed::Postponed(then)).await
    }

    async fn give_up(&self, due: &DuePush, host: &str, why: &str) -> Result<(), StoreError> {
        self.count(PushOutcome::GivenUp);
        tracing::warn!(
            task.id = due.push.task,
            receiver.host = host,
            failures = due.failures.saturating_add(1),
            error = why,
            "a receiver of push notifications is given up"
        );
        self.settle(due, Pushed::GivenUp).await
    }

    async fn settle(&self, due: &DuePush, pushed: Pushed) -> Result<(), StoreError> {
        let PushTools { store, clock, .. } = &*self.tools;
        // Where it is not this one's any more, who has it does what is right.
        store.settle_push(due, pushed, clock.now()).await.map(drop)
    }

    fn count(&self, outcome: PushOutcome) {
        self.tools.metrics.tasks().pushed(outcome);
    }
}

/// The URL of a place, and its host with the port.
fn receiver(url: &str) -> Option<(Uri, String)> {
    let uri: Uri = url.parse().ok()?;
    let authority = uri.authority()?;
    let port = authority.port_u16();
    let port = port.unwrap_or(match uri.scheme_str() {
        Some("http") => 80,
        _ => 443,
    });
    let host = format!("{}:{port}", authority.host().to_ascii_lowercase());
    Some((uri, host))
}

fn why(answer: &Result<crate::net::Answer, crate::net::NetFault>) -> String {
    match answer {
        Ok(answer) => format!("it answered {}", answer.status.as_u16()),
        Err(fault) => fault.to_string(),
    }
}

fn log(due: &DuePush, host: &str, why: &str) {
    tracing::info!(
        task.id = due.push.task,
        receiver.host = host,
        failures = due.failures.saturating_add(1),
        error = why,
        "a push notification did not arrive"
    );
}
