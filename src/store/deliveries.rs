//! Unsettled deliveries as the queue reads them: narrow rows to keep order by, whole ones to try.
//!
//! What waits is read in the order of `seq`, each row once: by the high mark, or by the index of a
//! destination or a lane that was left aside. Held deliveries are not read.

use std::collections::HashMap;
use std::sync::Arc;

use super::Store;
use super::error::StoreError;
use super::identity::{RENEW, WireIdentity};
use super::messages::{self, StoredMessage};
use super::shards::ShardSet;
use super::sql::{Row, Statement, padded, places};
use crate::protocol::{Address, IdempotencyKey, MessageId, Timestamp};

/// The delivery left its lane: it is tried by itself.
pub(super) const LOOSE: i64 = 1;
/// The last attempt failed for a reason that concerns the whole destination, which did not say when to
/// come again.
pub(super) const DESTINATION_FAULT: i64 = 2;
/// The sender was told of the delay.
pub(super) const NOTIFIED: i64 = 8;

/// A delivery as the queue keeps it in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueRow {
    /// Its number: the order of acceptance.
    pub seq: i64,
    /// Its message.
    pub mid: i64,
    /// The order of its sender and recipient.
    pub lane: i64,
    /// Where it goes: `domain:example.org`, `agent:7`.
    pub destination: String,
    /// When it may be tried again; `None` = not tried yet.
    pub deferred_until: Option<Timestamp>,
    /// When it was tried last, if it failed for a reason that concerns the whole destination.
    pub destination_failed_at: Option<Timestamp>,
    /// 0 low, 1 normal, 2 high, 3 urgent.
    pub priority: u8,
    /// Bytes of the received body.
    pub size: usize,
    /// Whether it is tried by itself, out of its lane.
    pub loose: bool,
}

/// Which deliveries to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Feed {
    /// All after this number.
    After(i64),
    /// Those of a destination, from the first number to the second, both included.
    Destination(String, i64, i64),
    /// Those of a lane, likewise.
    Lane(i64, i64, i64),
    /// Those out of their lanes that are due.
    Loose(Timestamp),
    /// Those whose time is up.
    GivenUp(Timestamp),
    /// All after the first number up to the second, for those who know some of them already. Those
    /// of these destinations are left out, of 64 at most.
    Late(i64, i64, Vec<String>),
}

/// A delivery with all that an attempt needs.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Its number.
    pub seq: i64,
    /// The order of its sender and recipient.
    pub lane: i64,
    /// Its message.
    pub stored: Arc<StoredMessage>,
    /// As the sender wrote it.
    pub recipient: Address,
    /// Where it goes.
    pub destination: String,
    /// Attempts so far.
    pub attempts: u32,
    /// When the first was made.
    pub first_attempt: Option<Timestamp>,
    /// When to stop trying.
    pub give_up_at: Timestamp,
    /// What it travelled under last.
    pub wire: Option<WireIdentity>,
    /// Whether it must travel under a fresh identity.
    pub renew: bool,
    /// Whether it left its lane.
    pub loose: bool,
    /// Whether the sender was told of the delay.
    pub notified: bool,
}

const NARROW: &str = "SELECT d.seq, d.mid, d.lane, d.destination, d.state, d.due_at, d.last_at, d.priority, \
                      d.flags, m.size FROM deliveries d JOIN messages m ON m.mid = d.mid";

impl Store {
    /// Reads at most `limit` deliveries of all shards, in the order of their numbers.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn feed(&self, feed: &Feed, limit: usize) -> Result<Vec<QueueRow>, StoreError> {
        self.feed_of(&ShardSet::ALL, feed, limit).await
    }

    /// The same of some shards. Where these are all, or one lane is asked for, nothing is sorted
    /// out.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn feed_of(
        &self,
        shards: &ShardSet,
        feed: &Feed,
        limit: usize,
    ) -> Result<Vec<QueueRow>, StoreError> {
        let (condition, values) = self.condition(feed);
        let mut text = format!("{NARROW} WHERE {condition} LIMIT ?");
        let mut own = None;
        if *shards != ShardSet::ALL && !matches!(feed, Feed::Lane(..)) {
            text = text.replacen("WHERE", "WHERE get_bit(?, d.shard) = 1 AND", 1);
            own = Some(shards.to_bytes());
        }
        let statement = Statement::new(text)
            .bind_all(own)
            .bind_all(values)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let mut reader = self.reader().await?;
        let rows = reader.rows(statement).await?;
        Ok(rows.iter().map(narrow).collect::<sqlx::Result<_>>()?)
    }

    fn condition(&self, feed: &Feed) -> (String, Vec<super::sql::Value>) {
        match feed {
            Feed::After(seq) => (
                format!(
                    "d.seq > ? AND d.seq <= ? AND d.state < 2 AND d.flags & {LOOSE} = 0 ORDER BY d.seq"
                ),
                vec![(*seq).into(), self.0.numbers.safe_mark().into()],
            ),
            Feed::Destination(name, from, to) => (
                format!(
                    "d.destination = ? AND d.seq BETWEEN ? AND ? AND d.state < 2 AND d.flags & {LOOSE} = 0 \
                     ORDER BY d.seq"
                ),
                vec![name.as_str().into(), (*from).into(), (*to).into()],
            ),
            Feed::Lane(lane, from, to) => (
                format!(
                    "d.lane = ? AND d.seq BETWEEN ? AND ? AND d.state < 2 AND d.flags & {LOOSE} = 0 \
                     ORDER BY d.seq"
                ),
                vec![(*lane).into(), (*from).into(), (*to).into()],
            ),
            Feed::Loose(now) => (
                format!(
                    "d.state = 1 AND d.flags & {LOOSE} <> 0 AND d.due_at <= ? ORDER BY d.due_at"
                ),
                vec![now.as_millis().into()],
            ),
            Feed::GivenUp(now) => (
                "d.give_up_at <= ? AND d.state < 2 ORDER BY d.give_up_at".to_owned(),
                vec![now.as_millis().into()],
            ),
            Feed::Late(after, upto, but) => {
                let mut values = vec![(*after).into(), (*upto).into()];
                let mut others = String::new();
                if let Some(but) = padded(but).next() {
                    others = format!("AND d.destination NOT IN ({}) ", places(but.len()));
                    values.extend(but.iter().map(|name| name.as_str().into()));
                }
                (
                    format!(
                        "d.seq > ? AND d.seq <= ? AND d.state < 2 AND d.flags & {LOOSE} = 0 {others}ORDER BY d.seq"
                    ),
                    values,
                )
            }
        }
    }

    /// When the next delivery out of its lane is due.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn next_loose(&self) -> Result<Option<Timestamp>, StoreError> {
        let mut reader = self.reader().await?;
        let statement = Statement::new(format!(
            "SELECT min(due_at) FROM deliveries WHERE state = 1 AND flags & {LOOSE} <> 0"
        ));
        let row = reader.row(statement).await?;
        let due = row.map(|row| row.maybe_int(0)).transpose()?.flatten();
        Ok(due.map(Timestamp::from_millis))
    }

    /// The deliveries of these numbers that still wait, with their messages. Who asks while others
    /// are being read shares the next reading.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn load_deliveries(&self, seqs: &[i64]) -> Result<Vec<Delivery>, StoreError> {
        let shared = self.0.loading.load(seqs, |seqs| async move {
            // A fault is told to whom it concerns: each then reads by itself.
            self.read_deliveries(&seqs).await.ok()
        });
        match shared.await {
            Some(found) => Ok(found),
            None => self.read_deliveries(seqs).await,
        }
    }

    async fn read_deliveries(&self, seqs: &[i64]) -> Result<Vec<Delivery>, StoreError> {
        let mut reader = self.reader().await?;
        let mut rows = Vec::with_capacity(seqs.len());
        for chunk in padded(seqs) {
            let text = format!(
                "SELECT seq, mid, recipient, destination, attempts, first_at, give_up_at, wire_id, wire_key, \
                 wire_set, flags, lane FROM deliveries WHERE seq IN ({}) AND state < 2",
                places(chunk.len())
            );
            rows.extend(reader.rows(Statement::new(text).bind_all(chunk)).await?);
        }
        let mids: Vec<i64> = rows
            .iter()
            .map(|row| row.int(1))
            .collect::<sqlx::Result<_>>()?;
        let messages: HashMap<i64, Arc<StoredMessage>> = messages::load(&mut reader, &mids)
            .await?
            .into_iter()
            .map(|message| (message.mid, Arc::new(message)))
            .collect();
        let mut deliveries = Vec::with_capacity(rows.len());
        for (row, mid) in rows.iter().zip(mids) {
            let stored = messages
                .get(&mid)
                .ok_or_else(|| StoreError::Corrupt(format!("a delivery has no message {mid}")))?;
            deliveries.push(delivery(row, stored.clone())?);
        }
        deliveries.sort_by_key(|delivery| delivery.seq);
        deliveries.dedup_by_key(|delivery| delivery.seq);
        Ok(deliveries)
    }

    /// How many deliveries wait, and since when the oldest does.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn queue_depth(&self) -> Result<(u64, Option<Timestamp>), StoreError> {
        let mut reader = self.reader().await?;
        let statement = Statement::new(
            "SELECT (SELECT count(*) FROM deliveries), (SELECT m.accepted_at FROM deliveries d \
             JOIN messages m ON m.mid = d.mid ORDER BY d.seq LIMIT 1)",
        );
        let Some(row) = reader.row(statement).await? else {
            return Ok((0, None));
        };
        let depth = u64::try_from(row.int(0)?).unwrap_or(0);
        Ok((depth, row.maybe_int(1)?.map(Timestamp::from_millis)))
    }

    /// The numbers of the next message and so many deliveries, for one that is tried before it is on
    /// disk.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn reserve(&self, deliveries: usize) -> Result<(i64, Vec<i64>), StoreError> {
        let needed = (1, deliveries);
        let mut drawn = if self.is_shared() {
            let mut reader = self.reader().await?;
            self.0.numbers.draw(&mut reader, needed).await?
        } else {
            self.0.numbers.count_up(needed)
        };
        let seqs = (0..deliveries).map(|_| drawn.seq()).collect();
        Ok((drawn.mid(), seqs))
    }

    /// The latest delivery in the shard of a lane that the queue has to read from the database.
    #[must_use]
    pub fn latest_delivery(&self, lane: i64) -> i64 {
        self.0.numbers.latest(lane)
    }
}

fn narrow(row: &Row) -> sqlx::Result<QueueRow> {
    let flags = row.int(8)?;
    let last_at = row.maybe_int(6)?.map(Timestamp::from_millis);
    Ok(QueueRow {
        seq: row.int(0)?,
        mid: row.int(1)?,
        lane: row.int(2)?,
        destination: row.text(3)?,
        deferred_until: match row.int(4)? {
            0 => None,
            _ => Some(Timestamp::from_millis(row.int(5)?)),
        },
        destination_failed_at: last_at.filter(|_| flags & DESTINATION_FAULT != 0),
        priority: u8::try_from(row.int(7)?).unwrap_or(1),
        size: usize::try_from(row.int(9)?).unwrap_or(0),
        loose: flags & LOOSE != 0,
    })
}

fn delivery(row: &Row, stored: Arc<StoredMessage>) -> Result<Delivery, StoreError> {
    let flags = row.int(10)?;
    let recipient = Address::parse(&row.text(2)?)
        .map_err(|fault| StoreError::Corrupt(format!("recipient of a delivery: {fault}")))?;
    Ok(Delivery {
        seq: row.int(0)?,
        lane: row.int(11)?,
        stored,
        recipient,
        destination: row.text(3)?,
        attempts: u32::try_from(row.int(4)?).unwrap_or(0),
        first_attempt: row.maybe_int(5)?.map(Timestamp::from_millis),
        give_up_at: Timestamp::from_millis(row.int(6)?),
        wire: wire(row)?,
        renew: flags & RENEW != 0,
        loose: flags & LOOSE != 0,
        notified: flags & NOTIFIED != 0,
    })
}

fn wire(row: &Row) -> Result<Option<WireIdentity>, StoreError> {
    let (Some(id), Some(key)) = (row.maybe_text(7)?, row.maybe_text(8)?) else {
        return Ok(None);
    };
    let corrupt = |what: String| StoreError::Corrupt(format!("a wire identity: {what}"));
    Ok(Some(WireIdentity {
        id: MessageId::parse(&id).map_err(|fault| corrupt(fault.to_string()))?,
        key: IdempotencyKey::parse(&key).map_err(|fault| corrupt(fault.to_string()))?,
        recipients: u32::try_from(row.int(9)?).unwrap_or(0),
    }))
}
