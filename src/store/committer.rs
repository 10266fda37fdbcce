//! Group commit: what arrived while the last commit ran goes into the next, with one fsync.
//!
//! - There is no timer: a lone verb commits at once, a crowd shares a commit.
//! - A batch holds at most 512 verbs and 8 MiB of bodies; a larger body goes alone.
//! - Inside a batch settling and acknowledging come before accepting, so a full gateway drains.
//! - An answer is given only after COMMIT; then the committer, not the caller, publishes what was
//!   committed. A caller that went away changes nothing.
//! - A batch that fails is run again in halves until the verb to blame stands alone.
//! - An I/O error ends the process: what SQLite's memory holds is then no proof of what the disk
//!   holds, and a later fsync may lie.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::accept::{self, AcceptJob};
use super::error::{Failure, StoreError, failure};
use super::sql::{Connection, Statement};
use crate::admission::Admission;
use crate::clock::Clock;
use crate::envelope::Origin;
use crate::events::{Events, Topic};
use crate::telemetry::Metrics;

const BATCH_VERBS: usize = 512;
const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// Messages that may wait for the committer; a quarter of it is not for submissions.
const MESSAGES: usize = 4096;
/// Verbs that have room when no message has. Those who ask for more of them wait; how many ask is
/// bounded where they come from, by [`crate::admission`] and by what the queue has under way.
const VERBS: usize = 4096;

/// A future that borrows the transaction.
pub(super) type InTransaction<'a> = Pin<Box<dyn Future<Output = sqlx::Result<()>> + Send + 'a>>;

/// Something to do inside a commit. It may run more than once, always in a fresh transaction.
pub(super) trait Verb: Send + Sync + 'static {
    /// What it answers.
    type Answer: Send + 'static;
    /// Does it.
    fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        topics: &'a mut Vec<Topic>,
    ) -> impl Future<Output = sqlx::Result<Self::Answer>> + Send + 'a;
}

/// A verb with the place its answer goes to.
trait Pending: Send {
    fn apply<'a>(
        &'a mut self,
        tx: &'a mut Connection,
        topics: &'a mut Vec<Topic>,
    ) -> InTransaction<'a>;
    fn finish(self: Box<Self>, outcome: Result<(), StoreError>);
}

struct Asked<V: Verb> {
    verb: V,
    answer: Option<V::Answer>,
    reply: oneshot::Sender<Result<V::Answer, StoreError>>,
}

impl<V: Verb> Pending for Asked<V> {
    fn apply<'a>(
        &'a mut self,
        tx: &'a mut Connection,
        topics: &'a mut Vec<Topic>,
    ) -> InTransaction<'a> {
        Box::pin(async move {
            self.answer = Some(self.verb.apply(tx, topics).await?);
            Ok(())
        })
    }

    fn finish(self: Box<Self>, outcome: Result<(), StoreError>) {
        let Self { answer, reply, .. } = *self;
        // The caller may be gone; what is committed stays committed.
        drop(reply.send(outcome.and_then(|()| answer.ok_or(StoreError::Closed))));
    }
}

enum Job {
    /// A verb, and messages it brings forth: in one commit or not at all.
    Verb(Box<dyn Pending>, Vec<AcceptJob>),
    Accept(Box<AcceptJob>),
}

impl Job {
    fn bytes(&self) -> usize {
        match self {
            Self::Verb(_, follow_ups) => follow_ups.iter().map(AcceptJob::bytes).sum(),
            Self::Accept(job) => job.bytes(),
        }
    }

    fn finish(self, outcome: Result<(), StoreError>) {
        match self {
            // Nobody waits for the follow-ups: the verb's answer stands for them.
            Self::Verb(pending, _) => pending.finish(outcome),
            Self::Accept(job) => job.finish(outcome),
        }
    }
}

/// The end of the committer that verbs are handed to. Cloning is cheap.
#[derive(Clone)]
pub(super) struct Committing(mpsc::Sender<Job>);

impl Committing {
    /// Hands a verb over and waits until it is committed.
    pub(super) async fn commit<V: Verb>(&self, verb: V) -> Result<V::Answer, StoreError> {
        self.commit_with(verb, Vec::new()).await
    }

    /// The same, with messages the verb brings forth.
    pub(super) async fn commit_with<V: Verb>(
        &self,
        verb: V,
        follow_ups: Vec<accept::Acceptance>,
    ) -> Result<V::Answer, StoreError> {
        let (reply, answer) = oneshot::channel();
        let pending = Box::new(Asked {
            verb,
            answer: None,
            reply,
        });
        let follow_ups = follow_ups.into_iter().map(|it| AcceptJob::new(it).0);
        let job = Job::Verb(pending, follow_ups.collect());
        self.0.send(job).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Hands a message over, without waiting for room; what it gives back answers when the message
    /// is on disk. Messages are stored in the order they are handed over.
    pub(super) fn begin_accept(
        &self,
        acceptance: accept::Acceptance,
    ) -> Result<Accepting, StoreError> {
        let reserved = match acceptance.envelope.origin {
            Origin::Submission => VERBS + MESSAGES / 4,
            _ => VERBS,
        };
        if self.0.capacity() <= reserved && !self.0.is_closed() {
            return Err(StoreError::Busy);
        }
        let (job, answer) = AcceptJob::new(acceptance);
        match self.0.try_send(Job::Accept(Box::new(job))) {
            Ok(()) => Ok(Accepting(answer)),
            Err(mpsc::error::TrySendError::Full(_)) => Err(StoreError::Busy),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(StoreError::Closed),
        }
    }
}

/// A message that was handed over.
pub struct Accepting(oneshot::Receiver<Result<accept::Decision, StoreError>>);

impl Accepting {
    /// What was decided, once it is on disk.
    ///
    /// # Errors
    /// [`StoreError::Full`] when there is no room: the sender may try again later.
    pub async fn decision(self) -> Result<accept::Decision, StoreError> {
        self.0.await.map_err(|_| StoreError::Closed)?
    }
}

/// The one writer of the database.
pub struct Committer {
    connection: Connection,
    jobs: mpsc::Receiver<Job>,
    numbers: Arc<accept::Numbers>,
    events: Events,
    metrics: Metrics,
    clock: Clock,
    admission: Option<Admission>,
}

impl Committer {
    /// Tells `admission` of every commit.
    #[must_use]
    pub fn reporting_to(mut self, admission: Admission) -> Self {
        self.admission = Some(admission);
        self
    }

    /// A committer over the writing connection.
    pub(super) async fn new(
        mut connection: Connection,
        events: Events,
        metrics: Metrics,
        clock: Clock,
    ) -> sqlx::Result<(Self, (Committing, Arc<accept::Numbers>))> {
        let numbers = Arc::new(accept::Numbers::read(&mut connection).await?);
        let (sender, jobs) = mpsc::channel(MESSAGES + VERBS);
        Ok((
            Self {
                connection,
                jobs,
                numbers: numbers.clone(),
                events,
                metrics,
                clock,
                admission: None,
            },
            (Committing(sender), numbers),
        ))
    }

    /// Commits until `stop` is given and everything handed over is on disk.
    ///
    /// # Errors
    /// [`StoreError::Broken`] when the disk failed: the process must end.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), StoreError> {
        let mut held = None;
        loop {
            let first = match held.take() {
                Some(job) => job,
                None => tokio::select! {
                    job = self.jobs.recv() => match job {
                        Some(job) => job,
                        None => break,
                    },
                    () = stop.cancelled(), if !self.jobs.is_closed() => {
                        self.jobs.close();
                        continue;
                    }
                },
            };
            let batch = self.gather(first, &mut held);
            self.commit(batch).await?;
        }
        self.close().await;
        Ok(())
    }

    /// The first job and all that wait behind it, up to the limits; what does not fit is held.
    fn gather(&mut self, first: Job, held: &mut Option<Job>) -> Vec<Job> {
        let mut bytes = first.bytes();
        let mut batch = vec![first];
        while batch.len() < BATCH_VERBS && bytes < BATCH_BYTES {
            let Ok(job) = self.jobs.try_recv() else { break };
            bytes += job.bytes();
            if bytes > BATCH_BYTES {
                *held = Some(job);
                break;
            }
            batch.push(job);
        }
        batch
    }

    /// Commits a batch, in halves where it fails as a whole.
    async fn commit(&mut self, batch: Vec<Job>) -> Result<(), StoreError> {
        let mut todo = vec![batch];
        while let Some(mut batch) = todo.pop() {
            let before = self.clock.monotonic();
            let error = match self.transaction(&mut batch).await {
                Ok(topics) => {
                    let took = self.clock.monotonic() - before;
                    self.metrics.commit(batch.len(), took);
                    if let Some(admission) = &self.admission {
                        admission.committed(batch.len(), took);
                    }
                    self.events.publish(topics);
                    batch.into_iter().for_each(|job| job.finish(Ok(())));
                    continue;
                }
                Err(error) => error,
            };
            match failure(&error) {
                Failure::Broken => {
                    return Err(give_up(
                        batch.into_iter().chain(todo.into_iter().flatten()),
                        &error,
                    ));
                }
                Failure::Full => batch
                    .into_iter()
                    .for_each(|job| job.finish(Err(StoreError::Full))),
                Failure::Locked => batch
                    .into_iter()
                    .for_each(|job| job.finish(Err(StoreError::Busy))),
                Failure::Statement if batch.len() > 1 => {
                    let rest = batch.split_off(batch.len() / 2);
                    todo.push(rest);
                    todo.push(batch);
                }
                Failure::Statement => {
                    tracing::error!(error = %error, "a store verb failed");
                    let mut error = Some(error);
                    for job in batch {
                        job.finish(Err(error
                            .take()
                            .map_or(StoreError::Closed, StoreError::Database)));
                    }
                }
            }
        }
        Ok(())
    }

    async fn transaction(&mut self, batch: &mut [Job]) -> sqlx::Result<Vec<Topic>> {
        let mut topics = Vec::new();
        self.connection
            .run(Statement::new("BEGIN IMMEDIATE"))
            .await?;
        let done = apply(&mut self.connection, batch, &self.numbers, &mut topics).await;
        let done = match done {
            Ok(()) => self
                .connection
                .run(Statement::new("COMMIT"))
                .await
                .map(drop),
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            // After some errors SQLite has rolled back already; then this one has nothing to do.
            drop(self.connection.run(Statement::new("ROLLBACK")).await);
            return Err(error);
        }
        Ok(topics)
    }

    async fn close(self) {
        if let Connection::Writer(connection) = self.connection
            && let Err(error) = sqlx::Connection::close(*connection).await
        {
            tracing::warn!(%error, "closing the database");
        }
    }
}

fn give_up(jobs: impl Iterator<Item = Job>, error: &sqlx::Error) -> StoreError {
    let cause = error.to_string();
    jobs.for_each(|job| job.finish(Err(StoreError::Broken(cause.clone()))));
    StoreError::Broken(cause)
}

async fn apply(
    tx: &mut Connection,
    batch: &mut [Job],
    next: &accept::Numbers,
    topics: &mut Vec<Topic>,
) -> sqlx::Result<()> {
    let mut accepting = Vec::new();
    for job in batch {
        match job {
            Job::Verb(pending, follow_ups) => {
                pending.apply(tx, topics).await?;
                accepting.extend(follow_ups.iter_mut());
            }
            Job::Accept(job) => accepting.push(job.as_mut()),
        }
    }
    if accepting.is_empty() {
        return Ok(());
    }
    accept::apply(tx, &mut accepting, next, topics).await
}
