//! Group commit: what arrived while the last commit ran goes into the next, with one fsync.
//!
//! - A lone verb commits at once, a crowd shares a commit: tasks that are ready to hand something in get
//!   their turn first. Only what nobody waits for, settlements, waits for company: a few milliseconds,
//!   and only where a commit was just made.
//! - A batch holds at most 512 verbs and 8 MiB of bodies; a larger body goes alone.
//! - Inside a batch settling and acknowledging come before accepting, so a full gateway drains.
//! - An answer is given only after COMMIT; then the committer, not the caller, publishes what was
//!   committed. A caller that went away changes nothing.
//! - A batch that fails is run again in halves until the verb to blame stands alone.
//! - SQLite has one writer, and an I/O error ends the process: what its memory holds is then no
//!   proof of what the disk holds, and a later fsync may lie.
//! - PostgreSQL has several. What one sender submits goes through one of them, so its order of
//!   submission is the order of commit. A lost database is waited for; see [`link`].

mod link;
mod worker;

use std::future::Future;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::accept::{self, AcceptJob};
use super::checkpoints::Checkpoints;
use super::error::StoreError;
use super::notices::Board;
use super::settle::Settlement;
use super::sql::Connection;
use crate::admission::Admission;
use crate::clock::Clock;
use crate::envelope::Origin;
use crate::events::{Events, Topic};
use crate::telemetry::Metrics;

pub(super) use link::{Link, PostgresLink};
use worker::Worker;

/// Messages that may wait for one connection; a quarter of it is not for submissions.
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
    /// Whether the messages that come with it are stored, by what it answers.
    fn brings(_answer: &Self::Answer) -> bool {
        true
    }
    /// The mailbox it locks, where that is known beforehand: a batch locks all of its own in order.
    fn mailbox(&self) -> Option<i64> {
        None
    }
}

/// A verb with the place its answer goes to.
trait Pending: Send {
    fn apply<'a>(
        &'a mut self,
        tx: &'a mut Connection,
        topics: &'a mut Vec<Topic>,
    ) -> InTransaction<'a>;
    /// Whether the messages that come with it are stored.
    fn brings(&self) -> bool;
    /// The mailbox it locks.
    fn mailbox(&self) -> Option<i64>;
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

    fn brings(&self) -> bool {
        self.answer.as_ref().is_some_and(V::brings)
    }

    fn mailbox(&self) -> Option<i64> {
        self.verb.mailbox()
    }

    fn finish(self: Box<Self>, outcome: Result<(), StoreError>) {
        let Self { answer, reply, .. } = *self;
        // The caller may be gone; what is committed stays committed.
        drop(reply.send(outcome.and_then(|()| answer.ok_or(StoreError::Closed))));
    }
}

/// Whether somebody waits for the answer who can come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// A caller: it is told soon when the database is away.
    Short,
    /// What happened outside already: it is kept until the database is back.
    Long,
}

enum Job {
    /// A verb, and messages it brings forth: in one commit or not at all.
    Verb(Box<dyn Pending>, Vec<AcceptJob>, Patience),
    Accept(Box<AcceptJob>),
    /// What attempts came to; with the others of its batch it is written in one go.
    Settle(Vec<Settlement>, oneshot::Sender<Result<(), StoreError>>),
}

impl Job {
    fn bytes(&self) -> usize {
        match self {
            Self::Verb(_, follow_ups, _) => follow_ups.iter().map(AcceptJob::bytes).sum(),
            Self::Accept(job) => job.bytes(),
            Self::Settle(..) => 0,
        }
    }

    fn settlements(&self) -> &[Settlement] {
        match self {
            Self::Settle(settlements, _) => settlements,
            Self::Verb(..) | Self::Accept(_) => &[],
        }
    }

    /// The mailboxes it locks, as far as they are known beforehand.
    fn mailboxes(&self) -> Vec<i64> {
        match self {
            Self::Verb(pending, follow_ups, _) => {
                let brought = follow_ups.iter().flat_map(AcceptJob::mailboxes);
                pending.mailbox().into_iter().chain(brought).collect()
            }
            Self::Accept(job) => job.mailboxes().collect(),
            Self::Settle(..) => Vec::new(),
        }
    }

    /// Whether it locks a mailbox by itself, before those that messages are accepted into.
    fn locks_first(&self) -> bool {
        matches!(self, Self::Verb(pending, ..) if pending.mailbox().is_some())
    }

    fn is_behind_a_gap(&self) -> bool {
        matches!(self, Self::Accept(job) if job.is_behind_a_gap())
    }

    const fn is_settlement(&self) -> bool {
        matches!(self, Self::Settle(..))
    }

    const fn patience(&self) -> Patience {
        match self {
            Self::Verb(_, _, patience) => *patience,
            Self::Accept(_) => Patience::Short,
            Self::Settle(..) => Patience::Long,
        }
    }

    fn finish(self, outcome: Result<(), StoreError>) {
        match self {
            // What was decided of the messages is there when the verb answers.
            Self::Verb(pending, follow_ups, _) => {
                if outcome.is_ok() {
                    follow_ups.into_iter().for_each(|job| job.finish(Ok(())));
                }
                pending.finish(outcome);
            }
            Self::Accept(job) => job.finish(outcome),
            // Who asked may be gone.
            Self::Settle(_, reply) => drop(reply.send(outcome)),
        }
    }
}

/// The end of the committer that verbs are handed to. Cloning is cheap.
#[derive(Clone)]
pub(super) struct Committing {
    workers: Arc<[mpsc::Sender<Job>]>,
    turn: Arc<AtomicUsize>,
    present: Arc<AtomicBool>,
}

impl Committing {
    /// Hands a verb over and waits until it is committed.
    pub(super) async fn commit<V: Verb>(&self, verb: V) -> Result<V::Answer, StoreError> {
        self.commit_with(verb, Vec::new(), Patience::Short).await
    }

    /// The same, with messages the verb brings forth.
    pub(super) async fn commit_with<V: Verb>(
        &self,
        verb: V,
        follow_ups: Vec<accept::Acceptance>,
        patience: Patience,
    ) -> Result<V::Answer, StoreError> {
        let done = self.commit_bringing(verb, follow_ups, patience).await?;
        Ok(done.0)
    }

    /// The same, and what was decided of the messages; nothing of those the verb did not bring.
    pub(super) async fn commit_bringing<V: Verb>(
        &self,
        verb: V,
        follow_ups: Vec<accept::Acceptance>,
        patience: Patience,
    ) -> Result<(V::Answer, Vec<accept::Decision>), StoreError> {
        let (reply, answer) = oneshot::channel();
        let pending = Box::new(Asked {
            verb,
            answer: None,
            reply,
        });
        let (follow_ups, waiting): (Vec<_>, Vec<_>) =
            follow_ups.into_iter().map(AcceptJob::new).unzip();
        let job = Job::Verb(pending, follow_ups, patience);
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        self.hand_over(turn, job).await?;
        let answer = answer.await.map_err(|_| StoreError::Closed)??;
        let mut decisions = Vec::with_capacity(waiting.len());
        for decision in waiting {
            if let Ok(Ok(decision)) = decision.await {
                decisions.push(decision);
            }
        }
        Ok((answer, decisions))
    }

    /// Settles deliveries of which no messages come.
    pub(super) async fn settle(&self, settlements: Vec<Settlement>) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        self.hand_over(turn, Job::Settle(settlements, reply))
            .await?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Hands a message over, without waiting for room; what it gives back answers when the message
    /// is on disk. Messages of one sender are stored in the order they are handed over.
    pub(super) fn begin_accept(
        &self,
        acceptance: accept::Acceptance,
    ) -> Result<Accepting, StoreError> {
        let mut hasher = DefaultHasher::new();
        acceptance.envelope.message.sender().hash(&mut hasher);
        let worker = self.worker(usize::try_from(hasher.finish() >> 8).unwrap_or(usize::MAX));
        let reserved = match acceptance.envelope.origin {
            Origin::Submission => VERBS + MESSAGES / 4,
            _ => VERBS,
        };
        if worker.capacity() <= reserved && !worker.is_closed() {
            return Err(StoreError::Busy);
        }
        let (job, answer) = AcceptJob::new(acceptance);
        match worker.try_send(Job::Accept(Box::new(job))) {
            Ok(()) => Ok(Accepting(answer)),
            Err(mpsc::error::TrySendError::Full(_)) => Err(StoreError::Busy),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(StoreError::Closed),
        }
    }

    fn worker(&self, turn: usize) -> &mpsc::Sender<Job> {
        &self.workers[turn % self.workers.len()]
    }

    async fn hand_over(&self, turn: usize, job: Job) -> Result<(), StoreError> {
        self.worker(turn)
            .send(job)
            .await
            .map_err(|_| StoreError::Closed)
    }

    /// Whether the database answered when it was last asked to commit.
    pub(super) fn is_present(&self) -> bool {
        self.present.load(Ordering::Relaxed)
    }
}

/// A message that was handed over.
pub struct Accepting(oneshot::Receiver<Result<accept::Decision, StoreError>>);

impl Accepting {
    /// What was decided, once it is on disk.
    ///
    /// # Errors
    /// [`StoreError::Full`] or [`StoreError::Unavailable`]: the sender may try again later.
    pub async fn decision(self) -> Result<accept::Decision, StoreError> {
        self.0.await.map_err(|_| StoreError::Closed)?
    }
}

/// What every committing connection needs.
#[derive(Clone)]
struct Tools {
    numbers: Arc<accept::Numbers>,
    board: Board,
    events: Events,
    metrics: Metrics,
    clock: Clock,
    /// Whether the database is there.
    present: Arc<AtomicBool>,
    admission: Option<Admission>,
}

/// The writers of the database: one for SQLite, several for PostgreSQL.
pub struct Committer(Vec<Worker>, Option<Checkpoints>);

impl Committer {
    /// Tells `admission` of every commit.
    #[must_use]
    pub fn reporting_to(mut self, admission: &Admission) -> Self {
        for worker in &mut self.0 {
            worker.report_to(admission.clone());
        }
        self
    }

    /// A committer over writing connections.
    pub(super) fn new(
        links: Vec<Link>,
        (numbers, board): (Arc<accept::Numbers>, Board),
        (events, metrics, clock): (Events, Metrics, Clock),
    ) -> (Self, Committing) {
        let present = Arc::new(AtomicBool::new(true));
        let tools = Tools {
            numbers,
            board,
            events,
            metrics,
            clock,
            present: present.clone(),
            admission: None,
        };
        let (senders, workers): (Vec<_>, Vec<_>) = links
            .into_iter()
            .map(|link| {
                let (sender, jobs) = mpsc::channel(MESSAGES + VERBS);
                (sender, Worker::new(link, jobs, tools.clone()))
            })
            .unzip();
        let committing = Committing {
            workers: senders.into(),
            turn: Arc::default(),
            present,
        };
        (Self(workers, None), committing)
    }

    /// Has the log of the file written back beside the commits.
    pub(super) fn with_checkpoints(mut self, checkpoints: Option<Checkpoints>) -> Self {
        self.1 = checkpoints;
        self
    }

    /// Commits until `stop` is given and everything handed over is on disk.
    ///
    /// # Errors
    /// [`StoreError::Broken`] when the disk failed: the process must end.
    pub async fn run(self, stop: CancellationToken) -> Result<(), StoreError> {
        let mut workers = JoinSet::new();
        for worker in self.0 {
            workers.spawn(worker.run(stop.clone()));
        }
        let done = async {
            while let Some(ended) = workers.join_next().await {
                ended.map_err(|fault| StoreError::Broken(fault.to_string()))??;
            }
            Ok(())
        };
        match self.1 {
            Some(checkpoints) => tokio::select! {
                biased;
                done = done => done,
                broken = checkpoints.run() => Err(broken),
            },
            None => done.await,
        }
    }
}
