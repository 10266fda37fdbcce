//! Room in mailboxes: what waits in them, how much may, and what happens beyond that.
//!
//! - Messages and bytes are counted in the row of the mailbox, in each commit that changes it.
//! - A mailbox that is full holds new mail in the queue, refuses it, or gives up its oldest mail:
//!   as its agent is set, see [`WhenFull`]. An empty one takes a message of any size.
//! - What waits in the queue comes in when there is room, in the order of each sender: while
//!   something of a sender waits there, what follows goes there too.
//! - Mail that a worker has leased is not given up.

mod burial;
mod entering;

use std::time::Duration;

use super::Store;
use super::agents::{Bounds, WhenFull};
use super::committer::Verb;
use super::error::StoreError;
use super::sql::{Connection, Row, Statement};
use crate::envelope::Origin;
use crate::events::Topic;
use crate::protocol::Timestamp;

pub(super) use burial::bury;
pub use entering::Arriving;

/// Mail that was held for a full mailbox is given up after this time.
pub(super) const HELD_FOR: Duration = Duration::from_secs(7 * 86_400);

/// What a statement reads of a mailbox, in the order of [`Mailbox::of`].
pub(super) const COLUMNS: &str =
    "id, next_seq, messages, bytes, max_messages, max_bytes, max_age, when_full, overflow";

/// The row of a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mailbox {
    /// The next position.
    pub(super) next: i64,
    /// What waits in it.
    pub(super) messages: i64,
    pub(super) bytes: i64,
    pub(super) bounds: Bounds,
    /// Mail for it may wait in the queue.
    pub(super) overflow: bool,
}

impl Mailbox {
    /// Reads a row of [`COLUMNS`].
    pub(super) fn of(row: &Row) -> sqlx::Result<(i64, Self)> {
        let bound = |column| {
            let value = row.maybe_int(column)?;
            Ok::<_, sqlx::Error>(value.and_then(|value| u64::try_from(value).ok()))
        };
        let mailbox = Self {
            next: row.int(1)?,
            messages: row.int(2)?,
            bytes: row.int(3)?,
            bounds: Bounds {
                messages: bound(4)?,
                bytes: bound(5)?,
                age_seconds: bound(6)?.map(|millis| millis / 1_000),
                when_full: row.maybe_int(7)?.map(when_full),
            },
            overflow: row.int(8)? != 0,
        };
        Ok((row.int(0)?, mailbox))
    }

    /// Whether a message of this size fits in, where the oldest has not waited too long.
    pub(super) fn has_room(&self, size: i64) -> bool {
        let within = |held: i64, bound: Option<u64>| {
            bound.is_none_or(|bound| u64::try_from(held).unwrap_or(0) <= bound)
        };
        self.messages <= 0
            || (within(self.messages + 1, self.bounds.messages)
                && within(self.bytes + size, self.bounds.bytes))
    }

    /// Puts a message in: its position.
    pub(super) fn enter(&mut self, size: i64) -> i64 {
        self.next += 1;
        self.messages += 1;
        self.bytes += size;
        self.next - 1
    }

    /// Whether mail for it may have to wait in the queue.
    pub(super) fn may_hold(&self) -> bool {
        self.overflow || self.is_bounded()
    }

    /// Whether anything bounds it.
    pub(super) fn is_bounded(&self) -> bool {
        let Bounds {
            messages,
            bytes,
            age_seconds,
            ..
        } = self.bounds;
        messages.is_some() || bytes.is_some() || age_seconds.is_some()
    }

    /// Mail from before this moment has waited too long.
    pub(super) fn oldest_allowed(&self, now: Timestamp) -> Option<Timestamp> {
        let age = self.bounds.age_seconds?;
        Some(now.minus(Duration::from_secs(age)))
    }

    /// What happens to a message of this origin when there is no room. What nobody can be told of is
    /// never refused.
    pub(super) fn when_full(&self, origin: Origin) -> WhenFull {
        match (self.bounds.when_full, origin) {
            (Some(WhenFull::DeadLetter), _) => WhenFull::DeadLetter,
            (Some(WhenFull::Refuse), Origin::Submission | Origin::Peer)
            | (None, Origin::Submission) => WhenFull::Refuse,
            _ => WhenFull::Hold,
        }
    }
}

const fn when_full(code: i64) -> WhenFull {
    match code {
        1 => WhenFull::Refuse,
        2 => WhenFull::DeadLetter,
        _ => WhenFull::Hold,
    }
}

/// The values of the columns `max_messages`, `max_bytes`, `max_age` and `when_full`.
fn columns(bounds: &Bounds) -> [Option<i64>; 4] {
    let bound = |value: Option<u64>| value.map(|value| i64::try_from(value).unwrap_or(i64::MAX));
    let age = bounds.age_seconds.map(|age| age.saturating_mul(1_000));
    let when_full = bounds.when_full.map(|when| match when {
        WhenFull::Hold => 0,
        WhenFull::Refuse => 1,
        WhenFull::DeadLetter => 2,
    });
    [
        bound(bounds.messages),
        bound(bounds.bytes),
        bound(age),
        when_full,
    ]
}

/// The statement that makes a mailbox with these bounds.
pub(super) fn create(id: i64, bounds: &Bounds) -> Statement {
    let insert = Statement::new(
        "INSERT INTO mailboxes (id, next_seq, max_messages, max_bytes, max_age, when_full) \
         VALUES (?, 1, ?, ?, ?, ?)",
    );
    insert.bind(id).bind_all(columns(bounds))
}

/// Sets the bounds of a mailbox. Whatever waits in the queue for its agent keeps its order.
pub(super) async fn bound(tx: &mut Connection, id: i64, bounds: &Bounds) -> sqlx::Result<()> {
    if let Some(memory) = tx.memory() {
        memory.forget(id);
    }
    let update = Statement::new(
        "UPDATE mailboxes SET max_messages = ?, max_bytes = ?, max_age = ?, when_full = ?, overflow = 1 \
         WHERE id = ?",
    );
    tx.run(update.bind_all(columns(bounds)).bind(id))
        .await
        .map(drop)
}

/// Notes that so many messages and bytes left a mailbox. Its row is locked on PostgreSQL.
pub(super) async fn left(
    tx: &mut Connection,
    mailbox: i64,
    (messages, bytes): (i64, i64),
    topics: &mut Vec<Topic>,
) -> sqlx::Result<()> {
    if messages == 0 {
        return Ok(());
    }
    let known = tx.memory().and_then(|memory| {
        memory.left(mailbox, messages, bytes);
        memory.mailbox(mailbox)
    });
    let text = "UPDATE mailboxes SET messages = messages - ?, bytes = bytes - ? WHERE id = ?";
    let update = |text: String| {
        let values = [messages, bytes, mailbox];
        Statement::new(text).bind_all(values)
    };
    let overflow = if let Some(known) = known {
        tx.tell(update(text.to_owned())).await?;
        known.overflow
    } else {
        let row = tx.row(update(format!("{text} RETURNING overflow"))).await?;
        row.map(|row| row.int(0)).transpose()?.unwrap_or(0) != 0
    };
    if overflow {
        topics.push(Topic::Room);
    }
    Ok(())
}

/// When the oldest message of a mailbox was accepted.
pub(super) async fn oldest(
    connection: &mut Connection,
    mailbox: i64,
) -> sqlx::Result<Option<Timestamp>> {
    let oldest = Statement::new(
        "SELECT m.accepted_at FROM inbox i JOIN messages m ON m.mid = i.mid \
         WHERE i.mailbox = ? ORDER BY i.seq LIMIT 1",
    );
    let row = connection.row(oldest.bind(mailbox)).await?;
    let at = row.map(|row| row.int(0)).transpose()?;
    Ok(at.map(Timestamp::from_millis))
}

/// Whether the oldest message of a mailbox has waited too long.
pub(super) async fn is_overdue(
    connection: &mut Connection,
    (id, mailbox): (i64, &Mailbox),
    now: Timestamp,
) -> sqlx::Result<bool> {
    let Some(least) = mailbox.oldest_allowed(now) else {
        return Ok(false);
    };
    let oldest = oldest(connection, id).await?;
    Ok(oldest.is_some_and(|oldest| oldest < least))
}

impl Store {
    /// Counts again what waits in mailboxes with numbers above `after`, at most `limit` of them: a
    /// gateway of an older version does not count. Answers the last number, if there are more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn recount_mailboxes(
        &self,
        after: i64,
        limit: usize,
    ) -> Result<Option<i64>, StoreError> {
        let mut reader = self.reader().await?;
        let select = Statement::new("SELECT id FROM mailboxes WHERE id > ? ORDER BY id LIMIT ?")
            .bind(after)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let ids = super::messages::numbers(&reader.rows(select).await?)?;
        drop(reader);
        for id in &ids {
            self.0.committing.commit(Recount(*id)).await?;
        }
        Ok(ids.last().copied().filter(|_| ids.len() == limit))
    }

    /// Gives up mail that has waited too long, or is too much, where that is what the agent wants.
    /// Answers how many messages.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn bury_overdue(&self, now: Timestamp) -> Result<u64, StoreError> {
        let mut reader = self.reader().await?;
        let select = Statement::new(
            "SELECT id FROM mailboxes WHERE when_full = 2 AND messages > 0 \
             AND (max_age IS NOT NULL OR messages > max_messages OR bytes > max_bytes)",
        );
        let ids = super::messages::numbers(&reader.rows(select).await?)?;
        drop(reader);
        let mut buried = 0;
        for mailbox in ids {
            buried += self
                .0
                .committing
                .commit(burial::Overdue { mailbox, now })
                .await?;
        }
        Ok(buried)
    }
}

/// Keeps others out of a mailbox until the commit, and reads its row.
pub(super) async fn lock(tx: &mut Connection, id: i64) -> sqlx::Result<Option<Mailbox>> {
    let text = format!(
        "SELECT {COLUMNS} FROM mailboxes WHERE id = ?{}",
        tx.locking("mailboxes")
    );
    let row = tx.row(Statement::new(text).bind(id)).await?;
    let found = row.map(|row| Mailbox::of(&row)).transpose()?;
    Ok(found.map(|(_, mailbox)| mailbox))
}

struct Recount(i64);

impl Verb for Recount {
    type Answer = ();

    fn mailbox(&self) -> Option<i64> {
        Some(self.0)
    }

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<()> {
        lock(tx, self.0).await?;
        if let Some(memory) = tx.memory() {
            memory.forget(self.0);
        }
        let count = Statement::new(
            "SELECT count(*), CAST(coalesce(sum(m.size), 0) AS BIGINT) \
             FROM inbox i JOIN messages m ON m.mid = i.mid WHERE i.mailbox = ?",
        )
        .bind(self.0);
        let Some(row) = tx.row(count).await? else {
            return Ok(());
        };
        let update = Statement::new("UPDATE mailboxes SET messages = ?, bytes = ? WHERE id = ?")
            .bind(row.int(0)?)
            .bind(row.int(1)?)
            .bind(self.0);
        tx.run(update).await.map(drop)
    }
}
