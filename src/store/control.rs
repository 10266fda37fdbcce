//! The operator's hands on the queue: look at what waits, hold it, release it, try it at once.
//!
//! - Long work goes in steps (see `steps`). A step is picked by a reader and written by point
//!   updates, so the writer is never held long; what changed in between is left alone.
//! - A held delivery left its lane. Released it comes back at the end, under a new number.

use std::sync::Arc;
use std::time::Duration;

use super::Store;
use super::accept::{DELIVERY_QUEUED, Numbers};
use super::committer::Verb;
use super::deliveries::LOOSE;
use super::error::StoreError;
use super::messages::numbers;
use super::sql::{Connection, Insert, Row, Statement, Value, padded, places};
use super::steps::{Conditions, Picked, Position, STEP, Step, newest};
use crate::events::Topic;
use crate::protocol::{Address, Domain, ErrorCode, MessageId, Timestamp};

/// A released delivery has at least this long until it is given up.
const LEAST_LIFE: Duration = Duration::from_secs(3_600);
/// The state of a delivery that an operator stopped.
const HELD: i64 = super::accept::DELIVERY_HELD;

/// How far a delivery in the queue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueState {
    /// It waits for its turn.
    Queued,
    /// It failed and waits for its next attempt.
    Deferred,
    /// An operator or a policy stopped it.
    Held,
}

impl QueueState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Queued, Self::Deferred, Self::Held];

    /// The word operators see.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Deferred => "deferred",
            Self::Held => "held",
        }
    }

    /// The state of a word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    const fn code(self) -> i64 {
        match self {
            Self::Queued => DELIVERY_QUEUED,
            Self::Deferred => 1,
            Self::Held => HELD,
        }
    }

    const fn from_code(code: i64) -> Self {
        match code {
            DELIVERY_QUEUED => Self::Queued,
            1 => Self::Deferred,
            _ => Self::Held,
        }
    }
}

/// Which deliveries are meant: those to which everything given applies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueueFilter {
    /// Where they go: `domain:example.org`, `agent:7`.
    pub destination: Option<String>,
    /// The recipient's domain.
    pub domain: Option<Domain>,
    /// The sender of the message.
    pub sender: Option<Address>,
    /// The recipient, tag included.
    pub recipient: Option<Address>,
    /// The message, by its own id or one it travelled under.
    pub message_id: Option<MessageId>,
    /// How far they are.
    pub state: Option<QueueState>,
}

/// A delivery in the queue as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedDelivery {
    /// Its number: the order of the queue.
    pub seq: i64,
    /// Its message.
    pub message_id: String,
    /// The sender, lower-cased.
    pub sender: String,
    /// As the sender wrote it.
    pub recipient: String,
    /// Where it goes.
    pub destination: String,
    /// How far it is.
    pub state: QueueState,
    /// Attempts so far.
    pub attempts: u32,
    /// The next one, if it is deferred.
    pub next_retry: Option<Timestamp>,
    /// Why the last one did not succeed.
    pub error_code: Option<ErrorCode>,
    /// 0 low, 1 normal, 2 high, 3 urgent.
    pub priority: u8,
    /// When its message was accepted.
    pub accepted_at: Timestamp,
    /// When to stop trying.
    pub give_up_at: Timestamp,
}

impl Store {
    /// At most `limit` deliveries of the queue after a number, in its order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_deliveries(
        &self,
        filter: &QueueFilter,
        after: i64,
        limit: usize,
    ) -> Result<Vec<QueuedDelivery>, StoreError> {
        let (conditions, values) = filter.conditions();
        let statement = Statement::new(format!(
            "SELECT d.seq, m.message_id, m.sender, d.recipient, d.destination, d.state, d.attempts, d.due_at, \
             d.error_code, d.priority, m.accepted_at, d.give_up_at \
             FROM deliveries d JOIN messages m ON m.mid = d.mid \
             WHERE d.seq > ?{conditions} ORDER BY d.seq LIMIT ?"
        ))
        .bind(after)
        .bind_all(values)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let mut reader = self.reader().await?;
        let rows = reader.rows(statement).await?;
        Ok(rows.iter().map(listed).collect::<sqlx::Result<_>>()?)
    }

    /// One step of stopping what waits: it is not tried until it is released.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn hold(&self, filter: &QueueFilter, from: Position) -> Result<Step, StoreError> {
        let picked = self.pick(filter, "d.state < 2", from).await?;
        let verb = Update {
            seqs: picked.ids.clone(),
            change: Change::Hold,
        };
        self.step(&picked, verb).await
    }

    /// One step of letting held deliveries go on: at the end of the queue, due now, with at least an
    /// hour until they are given up.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn release(
        &self,
        filter: &QueueFilter,
        from: Position,
        now: Timestamp,
    ) -> Result<Step, StoreError> {
        let picked = self.pick(filter, "d.state = 2", from).await?;
        let verb = Release {
            seqs: picked.ids.clone(),
            numbers: self.0.numbers.clone(),
            now,
        };
        self.step(&picked, verb).await
    }

    /// One step of making deferred deliveries due now; they keep their places.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn retry(
        &self,
        filter: &QueueFilter,
        from: Position,
        now: Timestamp,
    ) -> Result<Step, StoreError> {
        let picked = self.pick(filter, "d.state = 1", from).await?;
        let verb = Update {
            seqs: picked.ids.clone(),
            change: Change::Due(now),
        };
        self.step(&picked, verb).await
    }

    async fn pick(
        &self,
        filter: &QueueFilter,
        condition: &str,
        from: Position,
    ) -> Result<Picked, StoreError> {
        let mut reader = self.reader().await?;
        let until = newest(&mut reader, "SELECT max(seq) FROM deliveries", from).await?;
        let (conditions, values) = filter.conditions();
        let statement = Statement::new(format!(
            "SELECT d.seq FROM deliveries d JOIN messages m ON m.mid = d.mid \
             WHERE d.seq > ? AND d.seq <= ? AND {condition}{conditions} ORDER BY d.seq LIMIT ?"
        ))
        .bind(from.after)
        .bind(until)
        .bind_all(values)
        .bind(i64::try_from(STEP).unwrap_or(i64::MAX));
        let seqs = numbers(&reader.rows(statement).await?)?;
        Ok(Picked::new(seqs, until))
    }
}

impl QueueFilter {
    /// What is to be added to the conditions of a statement over `deliveries d` and `messages m`.
    fn conditions(&self) -> (String, Vec<Value>) {
        let mut conditions = Conditions::default();
        if let Some(destination) = &self.destination {
            conditions.add("d.destination = ?", destination.as_str());
        }
        conditions.parties("d", (&self.domain, &self.sender, &self.recipient));
        if let Some(id) = &self.message_id {
            conditions.message("d", id);
        }
        if let Some(state) = self.state {
            conditions.add("d.state = ?", state.code());
        }
        (conditions.text, conditions.values)
    }
}

fn listed(row: &Row) -> sqlx::Result<QueuedDelivery> {
    let state = QueueState::from_code(row.int(5)?);
    Ok(QueuedDelivery {
        seq: row.int(0)?,
        message_id: row.text(1)?,
        sender: row.text(2)?,
        recipient: row.text(3)?,
        destination: row.text(4)?,
        state,
        attempts: u32::try_from(row.int(6)?).unwrap_or(u32::MAX),
        next_retry: match state {
            QueueState::Deferred => Some(Timestamp::from_millis(row.int(7)?)),
            QueueState::Queued | QueueState::Held => None,
        },
        error_code: row.maybe_text(8)?.as_deref().and_then(ErrorCode::parse),
        priority: u8::try_from(row.int(9)?).unwrap_or(1),
        accepted_at: Timestamp::from_millis(row.int(10)?),
        give_up_at: Timestamp::from_millis(row.int(11)?),
    })
}

/// A change of deliveries that keep their places.
struct Update {
    seqs: Vec<i64>,
    change: Change,
}

enum Change {
    Hold,
    Due(Timestamp),
}

impl Change {
    fn statement(&self, places: &str) -> Statement {
        match self {
            Self::Hold => Statement::new(format!(
                "UPDATE deliveries SET state = {HELD} WHERE state < {HELD} AND seq IN ({places}) RETURNING mid"
            )),
            Self::Due(now) => Statement::new(format!(
                "UPDATE deliveries SET due_at = ? WHERE due_at > ? AND state = 1 AND seq IN ({places}) RETURNING mid"
            ))
            .bind(now.as_millis())
            .bind(now.as_millis()),
        }
    }
}

impl Verb for Update {
    type Answer = u64;

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<u64> {
        let mut changed = 0;
        for chunk in padded(&self.seqs) {
            let statement = self.change.statement(&places(chunk.len())).bind_all(chunk);
            for mid in numbers(&tx.rows(statement).await?)? {
                topics.push(Topic::Message(mid));
                changed += 1;
            }
        }
        topics.push(Topic::Control);
        Ok(changed)
    }
}

/// Brings held deliveries back to the end of the queue.
struct Release {
    seqs: Vec<i64>,
    numbers: Arc<Numbers>,
    now: Timestamp,
}

/// What a released delivery keeps, behind its number, state, time and end.
const KEPT: &str = "mid, recipient, party, lane, shard, destination, attempts, priority, error_code, \
                    wire_id, wire_key, wire_set, first_at, last_at";

impl Verb for Release {
    type Answer = u64;

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<u64> {
        let mut taken = Vec::with_capacity(self.seqs.len());
        for chunk in padded(&self.seqs) {
            let text = format!(
                "DELETE FROM deliveries WHERE state = {HELD} AND seq IN ({}) RETURNING {KEPT}, seq, give_up_at, flags",
                places(chunk.len())
            );
            taken.extend(tx.rows(Statement::new(text).bind_all(chunk)).await?);
        }
        // What is taken out comes in no order; the new numbers keep the old one.
        let mut held = Vec::with_capacity(taken.len());
        for row in &taken {
            held.push((row.int(14)?, row));
        }
        held.sort_unstable_by_key(|(seq, _)| *seq);
        let mut drawn = self.numbers.draw(tx, (0, held.len())).await?;
        let mut rows = Vec::with_capacity(held.len());
        for (_, row) in &held {
            topics.push(Topic::Message(row.int(0)?));
            rows.push(self.released(row, drawn.seq())?);
        }
        let count = u64::try_from(rows.len()).unwrap_or(u64::MAX);
        tx.insert(Insert::new("INSERT INTO deliveries (seq, state, due_at, give_up_at, flags, mid, recipient, party, lane, shard, \
             destination, attempts, priority, error_code, wire_id, wire_key, wire_set, first_at, last_at)", rows))
        .await?;
        topics.push(Topic::Queue);
        Ok(count)
    }
}

impl Release {
    fn released(&self, row: &Row, seq: i64) -> sqlx::Result<Vec<Value>> {
        let shard = row.int(4)?;
        self.numbers.note(u16::try_from(shard).unwrap_or(0), seq);
        let least = self.now.plus(LEAST_LIFE).as_millis();
        Ok(vec![
            seq.into(),
            DELIVERY_QUEUED.into(),
            self.now.as_millis().into(),
            row.int(15)?.max(least).into(),
            (row.int(16)? & !LOOSE).into(),
            row.int(0)?.into(),
            row.text(1)?.into(),
            row.int(2)?.into(),
            row.int(3)?.into(),
            shard.into(),
            row.text(5)?.into(),
            row.int(6)?.into(),
            row.int(7)?.into(),
            row.maybe_text(8)?.into(),
            row.maybe_text(9)?.into(),
            row.maybe_text(10)?.into(),
            row.int(11)?.into(),
            row.maybe_int(12)?.into(),
            row.maybe_int(13)?.into(),
        ])
    }
}
