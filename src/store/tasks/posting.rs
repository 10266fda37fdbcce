//! Posting changes of tasks: who does it, and how far it came.
//!
//! A place is due when there is more in the log than was posted. Who posts takes it for a while first,
//! so that of several gateways one does; the moment until which it is taken is what it is known by. Who
//! was too slow, or whose place was changed meanwhile, settles nothing.

use std::time::Duration;

use super::pushes::{COLUMNS, StoredPush, stored};
use crate::events::Topic;
use crate::protocol::Timestamp;
use crate::store::Store;
use crate::store::committer::Verb;
use crate::store::error::StoreError;
use crate::store::sql::{Connection, Statement};

/// A place with something to post.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DuePush {
    /// The place.
    pub push: StoredPush,
    /// The position of the last event that was posted.
    pub sent: i64,
    /// Attempts in a row that failed.
    pub failures: u32,
    /// Bytes of the events and messages of its task.
    pub size: u64,
    /// Until when it is taken.
    pub held_until: Timestamp,
}

/// What came of posting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// Everything up to this position is there.
    Sent(i64),
    /// It failed, and is tried again then.
    Failed(Timestamp),
    /// It was not tried; its turn is then.
    Postponed(Timestamp),
    /// It is not tried any more.
    GivenUp,
}

impl Store {
    /// Takes places that are due for a while: nobody else gets them before that is over. Without a
    /// moment, by the clock of the database.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn take_due_pushes(
        &self,
        now: Option<Timestamp>,
        hold: Duration,
        limit: u32,
    ) -> Result<Vec<DuePush>, StoreError> {
        let take = Take { now, hold, limit };
        self.0.committing.commit(take).await
    }

    /// Makes due at once what was taken, or is to be tried again, within this time. Only where nobody
    /// else posts: whoever took it is gone.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn free_pushes(&self, now: Timestamp, hold: Duration) -> Result<(), StoreError> {
        self.0.committing.commit(Free { now, hold }).await
    }

    /// When the next place is due.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn next_push_at(&self) -> Result<Option<Timestamp>, StoreError> {
        let mut reader = self.reader().await?;
        let select = Statement::new("SELECT min(due_at) FROM task_pushes WHERE due_at IS NOT NULL");
        let row = reader.row(select).await?;
        let at = row.map(|row| row.maybe_int(0)).transpose()?.flatten();
        Ok(at.map(Timestamp::from_millis))
    }

    /// Notes that everything up to a position is there, and takes the place for another while.
    /// Nothing where it is not this one's any more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn extend_push(
        &self,
        due: &DuePush,
        sent: i64,
        (now, hold): (Option<Timestamp>, Duration),
    ) -> Result<Option<DuePush>, StoreError> {
        let extend = Extend {
            due: due.clone(),
            sent,
            now,
            hold,
        };
        self.0.committing.commit(extend).await
    }

    /// Notes what came of posting to a place. Answers whether it still was this one's.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn settle_push(
        &self,
        due: &DuePush,
        pushed: Pushed,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let settle = Settle {
            due: due.clone(),
            pushed,
            now,
        };
        self.0.committing.commit(settle).await
    }
}

/// The moment that is given, or that of the database.
async fn present(tx: &mut Connection, now: Option<Timestamp>) -> sqlx::Result<Timestamp> {
    if let Some(now) = now {
        return Ok(now);
    }
    let select = Statement::new("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::BIGINT");
    let row = tx.row(select).await?;
    let millis = row.map_or(Ok(0), |row| row.int(0))?;
    Ok(Timestamp::from_millis(millis))
}

/// The position of the last event of a task, which stays that until the commit.
async fn newest(tx: &mut Connection, task: &str) -> sqlx::Result<Option<i64>> {
    let text = format!("SELECT seq FROM tasks WHERE id = ?{}", tx.locking("tasks"));
    let row = tx.row(Statement::new(text).bind(task)).await?;
    row.map(|row| row.int(0)).transpose()
}

struct Take {
    now: Option<Timestamp>,
    hold: Duration,
    limit: u32,
}

impl Verb for Take {
    type Answer = Vec<DuePush>;

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<Vec<DuePush>> {
        let now = present(tx, self.now).await?;
        let held_until = now.plus(self.hold);
        let text = format!(
            "SELECT {COLUMNS}, sent, failures, (SELECT size FROM tasks WHERE id = task_pushes.task) \
             FROM task_pushes WHERE due_at IS NOT NULL AND due_at <= ? ORDER BY due_at LIMIT ?{}",
            tx.locking("task_pushes")
        );
        let select = Statement::new(text)
            .bind(now.as_millis())
            .bind(i64::from(self.limit));
        let mut due = Vec::new();
        for row in tx.rows(select).await? {
            due.push(DuePush {
                push: stored(&row)?,
                sent: row.int(5)?,
                failures: u32::try_from(row.int(6)?).unwrap_or(u32::MAX),
                size: row
                    .maybe_int(7)?
                    .map_or(0, |size| u64::try_from(size).unwrap_or(0)),
                held_until,
            });
        }
        for it in &due {
            let update =
                Statement::new("UPDATE task_pushes SET due_at = ? WHERE task = ? AND id = ?")
                    .bind(held_until.as_millis())
                    .bind(it.push.task.as_str())
                    .bind(it.push.id.as_str());
            tx.run(update).await?;
        }
        Ok(due)
    }
}

struct Free {
    now: Timestamp,
    hold: Duration,
}

impl Verb for Free {
    type Answer = ();

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<()> {
        let update =
            Statement::new("UPDATE task_pushes SET due_at = ? WHERE due_at > ? AND due_at <= ?")
                .bind(self.now.as_millis())
                .bind(self.now.as_millis())
                .bind(self.now.plus(self.hold).as_millis());
        if tx.run(update).await? > 0 {
            topics.push(Topic::Pushes);
        }
        Ok(())
    }
}

impl DuePush {
    /// Adds which place is meant, as long as it is taken.
    fn bound(&self, statement: Statement) -> Statement {
        statement
            .bind(self.push.task.as_str())
            .bind(self.push.id.as_str())
            .bind(self.held_until.as_millis())
    }
}

struct Extend {
    due: DuePush,
    sent: i64,
    now: Option<Timestamp>,
    hold: Duration,
}

impl Verb for Extend {
    type Answer = Option<DuePush>;

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<Option<DuePush>> {
        // Later than before in any case: it is known by that.
        let held_until = present(tx, self.now).await?.plus(self.hold);
        let least = self.due.held_until.plus(Duration::from_millis(1));
        let held_until = held_until.max(least);
        let update = Statement::new(
            "UPDATE task_pushes SET sent = ?, failures = 0, due_at = ? \
             WHERE task = ? AND id = ? AND due_at = ?",
        )
        .bind(self.sent)
        .bind(held_until.as_millis());
        let kept = tx.run(self.due.bound(update)).await? > 0;
        Ok(kept.then(|| DuePush {
            sent: self.sent,
            failures: 0,
            held_until,
            ..self.due.clone()
        }))
    }
}

struct Settle {
    due: DuePush,
    pushed: Pushed,
    now: Timestamp,
}

impl Verb for Settle {
    type Answer = bool;

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<bool> {
        const WHICH: &str = "WHERE task = ? AND id = ? AND due_at = ?";
        let statement = match self.pushed {
            Pushed::Sent(seq) => {
                // What was added meanwhile is due at once; who adds something holds the task.
                let newest = newest(tx, &self.due.push.task).await?;
                let due_at = newest
                    .filter(|newest| *newest > seq)
                    .map(|_| self.now.as_millis());
                if due_at.is_some() {
                    topics.push(Topic::Pushes);
                }
                Statement::new(format!(
                    "UPDATE task_pushes SET sent = ?, failures = 0, due_at = ? {WHICH}"
                ))
                .bind(seq)
                .bind(due_at)
            }
            Pushed::Failed(again) => Statement::new(format!(
                "UPDATE task_pushes SET failures = failures + 1, due_at = ? {WHICH}"
            ))
            .bind(again.as_millis()),
            Pushed::Postponed(then) => {
                Statement::new(format!("UPDATE task_pushes SET due_at = ? {WHICH}"))
                    .bind(then.as_millis())
            }
            Pushed::GivenUp => Statement::new(format!("DELETE FROM task_pushes {WHICH}")),
        };
        Ok(tx.run(self.due.bound(statement)).await? > 0)
    }
}
