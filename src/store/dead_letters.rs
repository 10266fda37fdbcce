//! Dead letters: the kept records of failures, put back into the queue or dropped.
//! AMTP 1.0, section 8.2.1.
//!
//! - A dead letter keeps its message; it goes by retention, by replay or because an operator drops it.
//! - Replayed it is a new delivery at the end of the queue that travels under a fresh identity: a peer
//!   that remembers the old one would take it for a repeat.
//! - Its idempotency row stays free: what its sender sent again meanwhile is another message.

use std::sync::Arc;
use std::time::Duration;

use super::Store;
use super::accept::{DELIVERY_QUEUED, Numbers, lane, shard};
use super::committer::Verb;
use super::error::StoreError;
use super::identity::RENEW;
use super::messages::{self, StoredMessage, numbers};
use super::retention::{CLASS_BURIED, forget_messages};
use super::settle::BounceFate;
use super::settled;
use super::sql::{Connection, Insert, Row, Statement, Value, padded, places};
use super::steps::{Conditions, Picked, Position, STEP, Step, newest};
use crate::events::Topic;
use crate::protocol::{Address, Domain, ErrorCode, MessageId, Timestamp};

/// The kept record of a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its number, in the order of failing.
    pub id: i64,
    /// The stored message.
    pub mid: i64,
    /// The id the message goes by.
    pub message_id: String,
    /// The sender, lower-cased.
    pub sender: String,
    /// As the sender wrote it.
    pub recipient: String,
    /// Where it was to go.
    pub destination: String,
    /// Why it failed.
    pub error_code: Option<ErrorCode>,
    /// The same in words.
    pub text: String,
    /// Attempts made.
    pub attempts: u32,
    /// When the first was made.
    pub first_attempt: Option<Timestamp>,
    /// When the last was made.
    pub last_attempt: Option<Timestamp>,
    /// When it was given up.
    pub dead_at: Timestamp,
    /// What became of the notice to its sender.
    pub bounce: BounceFate,
}

/// Which dead letters are meant: those to which everything given applies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLetterFilter {
    /// The recipient's domain.
    pub domain: Option<Domain>,
    /// The sender of the message.
    pub sender: Option<Address>,
    /// The recipient, tag included.
    pub recipient: Option<Address>,
    /// The message, by its own id or one it travelled under.
    pub message_id: Option<MessageId>,
    /// Why they failed.
    pub error_code: Option<ErrorCode>,
    /// Given up at this moment or later.
    pub since: Option<Timestamp>,
}

/// The dead letters that long work is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeadLetters {
    /// Those of these numbers.
    Numbered(Vec<i64>),
    /// Those a filter finds.
    Matching(DeadLetterFilter),
}

const COLUMNS: &str = "l.id, l.mid, m.message_id, m.sender, l.recipient, l.destination, l.error_code, l.text, \
                       l.attempts, l.first_at, l.last_at, l.dead_at, l.bounce";

impl Store {
    /// At most `limit` dead letters with numbers below `before`, the newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_dead_letters(
        &self,
        filter: &DeadLetterFilter,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let conditions = filter.conditions();
        let statement = Statement::new(format!(
            "SELECT {COLUMNS} FROM dead_letters l JOIN messages m ON m.mid = l.mid \
             WHERE l.id < ?{} ORDER BY l.id DESC LIMIT ?",
            conditions.text
        ))
        .bind(before.unwrap_or(i64::MAX))
        .bind_all(conditions.values)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let mut reader = self.reader().await?;
        let rows = reader.rows(statement).await?;
        Ok(rows.iter().map(dead_letter).collect::<sqlx::Result<_>>()?)
    }

    /// A dead letter with its message.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_dead_letter(
        &self,
        id: i64,
    ) -> Result<Option<(DeadLetter, StoredMessage)>, StoreError> {
        let mut reader = self.reader().await?;
        let statement = Statement::new(format!(
            "SELECT {COLUMNS} FROM dead_letters l JOIN messages m ON m.mid = l.mid WHERE l.id = ?"
        ))
        .bind(id);
        let Some(row) = reader.row(statement).await? else {
            return Ok(None);
        };
        let found = dead_letter(&row)?;
        let message = messages::load(&mut reader, &[found.mid]).await?.pop();
        Ok(message.map(|message| (found, message)))
    }

    /// One step of putting dead letters back into the queue, to be given up after `give_up`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn replay(
        &self,
        which: &DeadLetters,
        from: Position,
        (now, give_up): (Timestamp, Duration),
    ) -> Result<Step, StoreError> {
        let picked = self.pick_dead(which, from).await?;
        let verb = Replay {
            ids: picked.ids.clone(),
            numbers: self.0.numbers.clone(),
            now,
            give_up_at: now.plus(give_up),
        };
        self.step(&picked, verb).await
    }

    /// One step of forgetting dead letters.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn drop_dead_letters(
        &self,
        which: &DeadLetters,
        from: Position,
    ) -> Result<Step, StoreError> {
        let picked = self.pick_dead(which, from).await?;
        let verb = Forget(picked.ids.clone());
        self.step(&picked, verb).await
    }

    async fn pick_dead(&self, which: &DeadLetters, from: Position) -> Result<Picked, StoreError> {
        let filter = match which {
            DeadLetters::Numbered(ids) => return Ok(numbered(ids, from)),
            DeadLetters::Matching(filter) => filter,
        };
        let mut reader = self.reader().await?;
        let until = newest(&mut reader, "SELECT max(id) FROM dead_letters", from).await?;
        let conditions = filter.conditions();
        let statement = Statement::new(format!(
            "SELECT l.id FROM dead_letters l JOIN messages m ON m.mid = l.mid \
             WHERE l.id > ? AND l.id <= ?{} ORDER BY l.id LIMIT ?",
            conditions.text
        ))
        .bind(from.after)
        .bind(until)
        .bind_all(conditions.values)
        .bind(i64::try_from(STEP).unwrap_or(i64::MAX));
        let ids = numbers(&reader.rows(statement).await?)?;
        Ok(Picked::new(ids, until))
    }
}

/// The next of the given numbers.
fn numbered(ids: &[i64], from: Position) -> Picked {
    let mut ids: Vec<i64> = ids
        .iter()
        .copied()
        .filter(|id| (from.after..=from.until).contains(id) && *id != from.after)
        .collect();
    ids.sort_unstable();
    ids.dedup();
    let until = ids.last().copied().unwrap_or(0);
    ids.truncate(STEP);
    Picked::new(ids, until)
}

impl DeadLetterFilter {
    fn conditions(&self) -> Conditions {
        let mut conditions = Conditions::default();
        conditions.parties("l", (&self.domain, &self.sender, &self.recipient));
        if let Some(id) = &self.message_id {
            conditions.message("l", id);
        }
        if let Some(code) = self.error_code {
            conditions.add("l.error_code = ?", code.as_str());
        }
        if let Some(since) = self.since {
            conditions.add("l.dead_at >= ?", since.as_millis());
        }
        conditions
    }
}

fn dead_letter(row: &Row) -> sqlx::Result<DeadLetter> {
    Ok(DeadLetter {
        id: row.int(0)?,
        mid: row.int(1)?,
        message_id: row.text(2)?,
        sender: row.text(3)?,
        recipient: row.text(4)?,
        destination: row.text(5)?,
        error_code: ErrorCode::parse(&row.text(6)?),
        text: row.text(7)?,
        attempts: u32::try_from(row.int(8)?).unwrap_or(u32::MAX),
        first_attempt: row.maybe_int(9)?.map(Timestamp::from_millis),
        last_attempt: row.maybe_int(10)?.map(Timestamp::from_millis),
        dead_at: Timestamp::from_millis(row.int(11)?),
        bounce: BounceFate::from_code(row.int(12)?),
    })
}

struct Replay {
    ids: Vec<i64>,
    numbers: Arc<Numbers>,
    now: Timestamp,
    give_up_at: Timestamp,
}

impl Verb for Replay {
    type Answer = u64;

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<u64> {
        let mut found = Vec::with_capacity(self.ids.len());
        for chunk in padded(&self.ids) {
            let text = format!(
                "SELECT l.id, l.mid, l.recipient, l.party, l.destination, l.priority, m.sender \
                 FROM dead_letters l JOIN messages m ON m.mid = l.mid WHERE l.id IN ({}){}",
                places(chunk.len()),
                tx.locking("l")
            );
            for row in tx.rows(Statement::new(text).bind_all(chunk)).await? {
                found.push((row.int(0)?, row));
            }
        }
        found.sort_by_key(|(id, _)| *id);
        // A group may be filled up with copies.
        found.dedup_by_key(|(id, _)| *id);
        let mut drawn = self.numbers.draw(tx, (0, found.len())).await?;
        let mut rows = Vec::with_capacity(found.len());
        for (_, row) in &found {
            let mid = row.int(1)?;
            topics.push(Topic::Message(mid));
            rows.push(self.delivery(row, drawn.seq())?);
            // It has not failed any more.
            let failure =
                Statement::new("DELETE FROM settled WHERE mid = ? AND recipient = ? AND state = ?")
                    .bind(mid)
                    .bind(row.text(2)?)
                    .bind(settled::FAILED);
            tx.run(failure).await?;
        }
        let count = u64::try_from(rows.len()).unwrap_or(u64::MAX);
        tx.insert(Insert::new("INSERT INTO deliveries (seq, mid, recipient, party, lane, shard, destination, state, due_at, \
             give_up_at, priority, flags)", rows))
        .await?;
        let replayed: Vec<i64> = found.iter().map(|(id, _)| *id).collect();
        remove(tx, &replayed).await?;
        topics.push(Topic::Queue);
        Ok(count)
    }
}

impl Replay {
    fn delivery(&self, row: &Row, seq: i64) -> sqlx::Result<Vec<Value>> {
        let recipient = row.text(2)?;
        let lane = lane(&address(&row.text(6)?)?, &address(&recipient)?);
        let shard = shard(lane);
        self.numbers.note(shard, seq);
        Ok(vec![
            seq.into(),
            row.int(1)?.into(),
            recipient.into(),
            row.int(3)?.into(),
            lane.into(),
            i64::from(shard).into(),
            row.text(4)?.into(),
            DELIVERY_QUEUED.into(),
            self.now.as_millis().into(),
            self.give_up_at.as_millis().into(),
            row.int(5)?.into(),
            RENEW.into(),
        ])
    }
}

fn address(text: &str) -> sqlx::Result<Address> {
    Address::parse(text).map_err(|fault| sqlx::Error::Decode(fault.to_string().into()))
}

/// Removes dead letters, and the failures that were only kept beside them; answers the numbers of
/// their messages.
pub(super) async fn remove(tx: &mut Connection, ids: &[i64]) -> sqlx::Result<Vec<i64>> {
    let mut mids = Vec::with_capacity(ids.len());
    for chunk in padded(ids) {
        let text = format!(
            "DELETE FROM dead_letters WHERE id IN ({}) RETURNING mid, recipient",
            places(chunk.len())
        );
        for row in tx.rows(Statement::new(text).bind_all(chunk)).await? {
            let mid = row.int(0)?;
            let failure =
                Statement::new("DELETE FROM settled WHERE mid = ? AND recipient = ? AND class = ?")
                    .bind(mid)
                    .bind(row.text(1)?)
                    .bind(CLASS_BURIED);
            tx.run(failure).await?;
            mids.push(mid);
        }
    }
    Ok(mids)
}

struct Forget(Vec<i64>);

impl Verb for Forget {
    type Answer = u64;

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<u64> {
        let mids = remove(tx, &self.0).await?;
        let count = u64::try_from(mids.len()).unwrap_or(u64::MAX);
        topics.extend(mids.iter().copied().map(Topic::Message));
        // The failure itself may be forgotten already: then nothing speaks of the message any more.
        forget_messages(tx, mids).await?;
        Ok(count)
    }
}
