//! One writing connection and the verbs that wait for it.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::accept::{self, AcceptJob, Open};
use super::super::error::{Failure, StoreError, failure};
use super::super::settle::{self, Settlement, Together};
use super::super::sql::{Connection, Statement, padded, places};
use super::link::{Ended, Link};
use super::{Job, Patience, Tools};
use crate::admission::Admission;
use crate::events::Topic;

const BATCH_VERBS: usize = 512;
const BATCH_BYTES: usize = 8 * 1024 * 1024;
const BATCH_SETTLEMENTS: usize = 2_048;
/// A commit of nothing but settlements begins so long after the one before at the earliest: nobody
/// waits for them, and a commit costs the same for one and for hundreds.
const SETTLING: Duration = Duration::from_millis(5);
/// Unless so many wait already.
const ENOUGH: usize = 256;
/// So often others get their turn before a commit, while that brings more.
const TURNS: usize = 4;
/// A batch that met another gateway's is repeated so often before a verb is blamed.
const REPEATS: u32 = 20;
/// A caller is told that the database is away after this time.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often a lost database is called, at first and at most.
const CALLS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Commits what is handed to it, batch by batch.
pub(super) struct Worker {
    link: Link,
    jobs: mpsc::Receiver<Job>,
    tools: Tools,
    /// Taken from `jobs` and not in a batch yet: too large for the last one, or kept while the
    /// database was away.
    held: VecDeque<Job>,
    /// When the last commit began.
    began: Option<Instant>,
}

impl Worker {
    pub(super) const fn new(link: Link, jobs: mpsc::Receiver<Job>, tools: Tools) -> Self {
        Self {
            link,
            jobs,
            tools,
            held: VecDeque::new(),
            began: None,
        }
    }

    pub(super) fn report_to(&mut self, admission: Admission) {
        self.tools.admission = Some(admission);
    }

    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<(), StoreError> {
        let ready = self.link.prepare().await;
        ready.map_err(|error| StoreError::Broken(error.to_string()))?;
        while let Some(first) = self.next(&stop).await {
            let batch = self.gather(first);
            let batch = self.invite(batch).await;
            let batch = self.linger(batch, &stop).await;
            self.began = Some(now());
            self.commit(batch, &stop).await?;
        }
        self.link.close().await;
        Ok(())
    }

    async fn next(&mut self, stop: &CancellationToken) -> Option<Job> {
        if let Some(job) = self.held.pop_front() {
            return Some(job);
        }
        loop {
            tokio::select! {
                job = self.jobs.recv() => return job,
                () = stop.cancelled(), if !self.jobs.is_closed() => self.jobs.close(),
            }
        }
    }

    /// Lets those have their turn who are about to hand something in: where the processors are busy
    /// a commit is shared by more of them, where they are not it begins at once.
    async fn invite(&mut self, mut batch: Vec<Job>) -> Vec<Job> {
        for _ in 0..TURNS {
            let before = batch.len();
            tokio::task::yield_now().await;
            batch = self.gather_behind(batch);
            if batch.len() == before {
                break;
            }
        }
        batch
    }

    /// Waits for more where nothing but few settlements is there and the last commit was just now.
    async fn linger(&mut self, mut batch: Vec<Job>, stop: &CancellationToken) -> Vec<Job> {
        let Some(until) = self.began.map(|began| began + SETTLING) else {
            return batch;
        };
        while batch.len() < ENOUGH && batch.iter().all(Job::is_settlement) {
            tokio::select! {
                biased;
                () = stop.cancelled() => return batch,
                job = self.jobs.recv() => match job {
                    Some(job) => {
                        batch.push(job);
                        batch = self.gather_behind(batch);
                    }
                    None => return batch,
                },
                () = tokio::time::sleep_until(until) => return batch,
            }
        }
        batch
    }

    fn gather(&mut self, first: Job) -> Vec<Job> {
        self.gather_behind(vec![first])
    }

    /// These jobs and all that wait behind them, up to the limits; what does not fit is held.
    fn gather_behind(&mut self, mut batch: Vec<Job>) -> Vec<Job> {
        let mut bytes = batch.iter().map(Job::bytes).sum::<usize>();
        let mut settlements = batch
            .iter()
            .map(|job| job.settlements().len())
            .sum::<usize>();
        while batch.len() < BATCH_VERBS && bytes < BATCH_BYTES && settlements < BATCH_SETTLEMENTS {
            let Some(job) = self.held.pop_front().or_else(|| self.jobs.try_recv().ok()) else {
                break;
            };
            bytes += job.bytes();
            settlements += job.settlements().len();
            if bytes > BATCH_BYTES {
                self.held.push_front(job);
                break;
            }
            batch.push(job);
        }
        batch
    }

    /// Commits a batch, in halves where it fails as a whole.
    async fn commit(
        &mut self,
        batch: Vec<Job>,
        stop: &CancellationToken,
    ) -> Result<(), StoreError> {
        let mut todo = vec![(batch, 0)];
        while let Some((batch, repeats)) = todo.pop() {
            let mut batch = without_gaps(batch);
            if batch.is_empty() {
                continue;
            }
            let before = self.tools.clock.monotonic();
            let error = match self.transaction(&mut batch).await {
                (Ended::Committed(topics), lowest) => {
                    let took = self.tools.clock.monotonic() - before;
                    self.tools.metrics.commit(batch.len(), took);
                    if let Some(admission) = &self.tools.admission {
                        admission.committed(batch.len(), took);
                    }
                    self.done(batch, (topics, lowest));
                    continue;
                }
                (Ended::Failed(error), _) => error,
                (Ended::Lost(topics, error), lowest) => {
                    let topics = topics.map(|topics| (topics, lowest));
                    let lost = Lost { topics, error };
                    todo.extend(self.wait(batch, lost, stop).await.map(|batch| (batch, 0)));
                    continue;
                }
            };
            match self.judge(&error) {
                Failure::Broken => {
                    let rest = todo.into_iter().flat_map(|(batch, _)| batch);
                    return Err(give_up(batch.into_iter().chain(rest), &error));
                }
                Failure::Full => batch
                    .into_iter()
                    .for_each(|job| job.finish(Err(StoreError::Full))),
                Failure::Locked => batch
                    .into_iter()
                    .for_each(|job| job.finish(Err(StoreError::Busy))),
                Failure::Conflict if repeats < REPEATS => todo.push((batch, repeats + 1)),
                Failure::Lost => {
                    let lost = Lost {
                        topics: None,
                        error,
                    };
                    todo.extend(self.wait(batch, lost, stop).await.map(|batch| (batch, 0)));
                }
                Failure::Conflict | Failure::Statement if batch.len() > 1 => {
                    let rest = batch.split_off(batch.len() / 2);
                    todo.push((rest, 0));
                    todo.push((batch, 0));
                }
                Failure::Conflict | Failure::Statement => blame(batch, error),
            }
        }
        Ok(())
    }

    fn judge(&self, error: &sqlx::Error) -> Failure {
        match failure(error) {
            // A file does not come back by itself.
            Failure::Lost if !self.link.is_shared() => Failure::Broken,
            other => other,
        }
    }

    /// Publishes what was committed, here and to other gateways, and answers.
    fn done(&self, batch: Vec<Job>, (mut topics, lowest): (Vec<Topic>, i64)) {
        self.tools.board.leave(&topics, lowest);
        if self.tools.numbers.take_clipped() {
            topics.push(Topic::Queue);
        }
        self.tools.events.publish(topics);
        batch.into_iter().for_each(|job| job.finish(Ok(())));
    }

    /// How it ended, and below which number it brought forth no deliveries.
    async fn transaction(&mut self, batch: &mut [Job]) -> (Ended, i64) {
        let open = self.link.is_shared().then(|| self.tools.numbers.open());
        let lowest = open.as_ref().map_or(0, Open::lowest);
        let mut topics = Vec::new();
        let begun = self.link.begin(self.tools.clock.now()).await;
        let applied = match begun {
            Ok(tx) => apply(tx, batch, &self.tools.numbers, &mut topics).await,
            Err(error) => Err(error),
        };
        let ended = match applied {
            Ok(()) => self.link.end(topics).await,
            Err(error) => {
                self.link.undo(&error).await;
                Ended::Failed(error)
            }
        };
        drop(open);
        (ended, lowest)
    }

    /// Waits for a lost database. What was under way when it was lost is looked for; it comes back
    /// where it has to be done again. Callers are told after a while, and later ones at once.
    async fn wait(
        &mut self,
        batch: Vec<Job>,
        mut lost: Lost,
        stop: &CancellationToken,
    ) -> Option<Vec<Job>> {
        let since = self.tools.clock.monotonic();
        tracing::warn!(error = %lost.error, "the database is lost; it is called until it answers");
        let mut batch = Some(batch);
        let mut pause = CALLS.0;
        while !stop.is_cancelled() {
            match self.link.call().await {
                Ok(marked) => {
                    self.present(true);
                    tracing::info!("the database answers again");
                    let batch = batch.unwrap_or_default();
                    return match lost.topics.take() {
                        Some(topics) if marked => {
                            self.done(batch, topics);
                            None
                        }
                        _ => Some(batch).filter(|batch| !batch.is_empty()),
                    };
                }
                Err(error) => tracing::debug!(%error, "the database does not answer"),
            }
            if self.tools.clock.monotonic() - since >= PATIENCE {
                self.present(false);
                batch = batch.map(|batch| turn_away(batch, &lost.error));
                self.turn_away_new(&lost.error);
            }
            tokio::select! {
                () = self.tools.clock.wait(pause) => {}
                () = stop.cancelled() => {}
            }
            pause = (pause * 2).min(CALLS.1);
        }
        let unavailable = || StoreError::Unavailable(lost.error.to_string());
        let rest = batch.into_iter().flatten();
        rest.for_each(|job| job.finish(Err(unavailable())));
        None
    }

    fn present(&self, present: bool) {
        let present_before = &self.tools.present;
        present_before.store(present, std::sync::atomic::Ordering::Relaxed);
        self.tools.metrics.store_present(present);
    }

    /// Answers those who came while the database is away, and keeps what must not be lost.
    fn turn_away_new(&mut self, error: &sqlx::Error) {
        let mut waiting: Vec<Job> = self.held.drain(..).collect();
        while let Ok(job) = self.jobs.try_recv() {
            waiting.push(job);
        }
        self.held.extend(turn_away(waiting, error));
    }
}

/// The time of the machine, not of the product's clock: how much it has to do is measured by it.
#[allow(clippy::disallowed_methods, reason = "the machine's own pace")]
fn now() -> Instant {
    Instant::now()
}

/// A batch that was under way when the database was lost.
struct Lost {
    /// What it publishes if its commit turns out to be there; nothing where it had not come so far.
    topics: Option<(Vec<Topic>, i64)>,
    error: sqlx::Error,
}

/// Answers those of the jobs whose callers can come again; gives back the others.
fn turn_away(jobs: Vec<Job>, error: &sqlx::Error) -> Vec<Job> {
    let (away, kept): (Vec<_>, Vec<_>) = jobs
        .into_iter()
        .partition(|job| job.patience() == Patience::Short);
    for job in away {
        job.finish(Err(StoreError::Unavailable(error.to_string())));
    }
    kept
}

/// Turns messages away behind which one that they must not overtake is missing.
fn without_gaps(batch: Vec<Job>) -> Vec<Job> {
    if !batch.iter().any(Job::is_behind_a_gap) {
        return batch;
    }
    let (behind, batch): (Vec<_>, Vec<_>) = batch.into_iter().partition(Job::is_behind_a_gap);
    for job in behind {
        job.finish(Err(StoreError::Busy));
    }
    batch
}

/// The verb that fails by itself.
fn blame(batch: Vec<Job>, error: sqlx::Error) {
    tracing::error!(error = %error, "a store verb failed");
    let mut error = Some(error);
    for job in batch {
        job.finish(Err(error
            .take()
            .map_or(StoreError::Closed, StoreError::Database)));
    }
}

fn give_up(jobs: impl Iterator<Item = Job>, error: &sqlx::Error) -> StoreError {
    let cause = error.to_string();
    jobs.for_each(|job| job.finish(Err(StoreError::Broken(cause.clone()))));
    StoreError::Broken(cause)
}

/// The mailboxes of a batch, in the order in which they are to be locked. Each job would lock its own when
/// its turn comes, and two batches could wait for one another. None where there is one way only.
fn in_order(batch: &[Job]) -> Vec<i64> {
    if !batch.iter().any(Job::locks_first) {
        return Vec::new();
    }
    let mut ids: Vec<i64> = batch.iter().flat_map(Job::mailboxes).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

async fn lock(tx: &mut Connection, ids: &[i64]) -> sqlx::Result<()> {
    if ids.len() < 2 {
        return Ok(());
    }
    for chunk in padded(ids) {
        let text = format!(
            "SELECT id FROM mailboxes WHERE id IN ({}) ORDER BY id FOR UPDATE",
            places(chunk.len())
        );
        tx.rows(Statement::new(text).bind_all(chunk)).await?;
    }
    Ok(())
}

async fn apply(
    tx: &mut Connection,
    batch: &mut [Job],
    next: &accept::Numbers,
    topics: &mut Vec<Topic>,
) -> sqlx::Result<()> {
    if tx.is_postgres() {
        let ids = in_order(batch);
        lock(tx, &ids).await?;
    }
    let settlements: Vec<&Settlement> = batch.iter().flat_map(Job::settlements).collect();
    if !settlements.is_empty() {
        settle::apply(tx, &settlements, Together::Each, topics).await?;
    }
    let mut accepting = Vec::new();
    for job in batch {
        match job {
            Job::Verb(pending, follow_ups, _) => {
                pending.apply(tx, topics).await?;
                if pending.brings() {
                    accepting.extend(follow_ups.iter_mut());
                } else {
                    // Not for good: the batch may have to run again.
                    follow_ups.iter_mut().for_each(AcceptJob::leave_out);
                }
            }
            Job::Accept(job) => accepting.push(job.as_mut()),
            Job::Settle(..) => {}
        }
    }
    if accepting.is_empty() {
        return Ok(());
    }
    accept::apply(tx, &mut accepting, next, topics).await
}
