//! Stored messages: what was received, and what has become of it for each recipient.

use std::collections::HashMap;

use bytes::Bytes;

use super::Store;
use super::committer::Verb;
use super::error::StoreError;
use super::settled::{self, Settled};
use super::sql::{Connection, Insert, Row, Statement, Value, padded, places};
use super::tasks;
use crate::envelope::{Notes, Origin, Trust};
use crate::events::Topic;
use crate::protocol::{
    DeliveryStatus, ErrorCode, IdempotencyKey, Limits, Message, MessageId, Profile, Timestamp,
};

/// At most so many representations of one message are looked at.
const REPRESENTATIONS: i64 = 200;

/// One accepted request as stored.
#[derive(Debug, Clone)]
pub struct StoredMessage {
    /// Its number in the store.
    pub mid: i64,
    /// The id it goes by.
    pub message_id: MessageId,
    /// The sender, lower-cased.
    pub sender: String,
    /// The scope of its ids.
    pub trust: Trust,
    /// The way in.
    pub origin: Origin,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// What we learnt about it.
    pub notes: Notes,
    /// The received bytes.
    pub body: Bytes,
}

impl StoredMessage {
    /// The content, parsed again from the received bytes.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when the bytes are not a message any more.
    pub fn message(&self) -> Result<Message, StoreError> {
        let limits = Limits {
            message_size: usize::MAX,
            recipients: usize::MAX,
        };
        Message::parse(self.body.clone(), Profile::Relay, &limits)
            .map_err(|fault| StoreError::Corrupt(format!("message {}: {:?}", self.mid, fault.code)))
    }

    /// The key it came with, or the one minted for it.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when there is none.
    pub fn idempotency_key(&self, message: &Message) -> Result<IdempotencyKey, StoreError> {
        if let Some(key) = message.idempotency_key() {
            return Ok(key.clone());
        }
        let minted = self.notes.minted_key.as_deref().unwrap_or_default();
        IdempotencyKey::parse(minted).map_err(|_| {
            StoreError::Corrupt(format!("message {} has no idempotency key", self.mid))
        })
    }
}

/// Who looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Party {
    /// The operator sees everything.
    Operator,
    /// An agent sees what it sent, and of what it received its own row.
    Agent {
        /// Its number.
        id: i64,
        /// Its address, lower-cased.
        key: String,
    },
}

/// A stored message with what became of it.
#[derive(Debug, Clone)]
pub struct Tracked {
    /// The message.
    pub message: StoredMessage,
    /// One entry a recipient that the party may see, in the order they were stored.
    pub recipients: Vec<RecipientState>,
}

/// What became of a message for one recipient.
#[derive(Debug, Clone)]
pub struct RecipientState {
    /// As the sender wrote it.
    pub address: String,
    /// The agent's number, or the hash of a foreign address.
    pub party: i64,
    /// The word for its state.
    pub status: DeliveryStatus,
    /// When it came to that.
    pub at: Timestamp,
    /// Tries so far.
    pub attempts: u32,
    /// The next try.
    pub next_retry: Option<Timestamp>,
    /// Why it failed, or why the last try did.
    pub error_code: Option<ErrorCode>,
    /// When it was handed to the recipient or its inbox.
    pub delivered_at: Option<Timestamp>,
    /// When the recipient acknowledged it.
    pub acknowledged_at: Option<Timestamp>,
}

impl Store {
    /// Everything under an id that the party may see, newest first: one entry a representation.
    /// Only one sender's (the newest's) are answered, because ids are scoped by sender.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_message(
        &self,
        id: &MessageId,
        party: &Party,
    ) -> Result<Vec<Tracked>, StoreError> {
        let mut reader = self.reader().await?;
        let statement = Statement::new(
            "SELECT mid FROM messages WHERE message_id = ? ORDER BY mid DESC LIMIT ?",
        )
        .bind(id.as_str())
        .bind(REPRESENTATIONS);
        let mids = numbers(&reader.rows(statement).await?)?;
        let mut tracked = track(&mut reader, &mids, party).await?;
        let newest = tracked
            .first()
            .map(|it| (it.message.sender.clone(), it.message.trust));
        if let Some((sender, trust)) = newest {
            tracked.retain(|it| it.message.sender == sender && it.message.trust == trust);
        }
        Ok(tracked)
    }

    /// Messages that answer the one with this id, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_answers(&self, id: &MessageId) -> Result<Vec<StoredMessage>, StoreError> {
        let mut reader = self.reader().await?;
        let statement =
            Statement::new("SELECT mid FROM messages WHERE answers = ? ORDER BY mid LIMIT ?")
                .bind(super::id_hash(id.as_str()))
                .bind(REPRESENTATIONS);
        let mids = numbers(&reader.rows(statement).await?)?;
        load(&mut reader, &mids).await
    }

    /// What has become of stored messages, by their numbers.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn recipient_states(
        &self,
        mids: &[i64],
    ) -> Result<Vec<(i64, RecipientState)>, StoreError> {
        let mut reader = self.reader().await?;
        Ok(states(&mut reader, mids).await?)
    }

    /// Cancels what waits in the queue of a sender's message. Answers the number cancelled.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn cancel(&self, mids: Vec<i64>, now: Timestamp) -> Result<u64, StoreError> {
        self.0.committing.commit(Cancel { mids, now }).await
    }
}

/// The whole messages behind these numbers, in any order.
pub(super) async fn load(
    connection: &mut Connection,
    mids: &[i64],
) -> Result<Vec<StoredMessage>, StoreError> {
    let mut mids = mids.to_vec();
    mids.sort_unstable();
    mids.dedup();
    let mut messages = Vec::with_capacity(mids.len());
    for chunk in padded(&mids) {
        let text = format!(
            "SELECT mid, message_id, sender, trust, origin, accepted_at, envelope, body \
             FROM messages WHERE mid IN ({})",
            places(chunk.len())
        );
        for row in connection
            .rows(Statement::new(text).bind_all(chunk))
            .await?
        {
            messages.push(stored(&row)?);
        }
    }
    Ok(messages)
}

fn stored(row: &Row) -> Result<StoredMessage, StoreError> {
    let corrupt = |what: String| StoreError::Corrupt(what);
    let sender = row.text(2)?;
    Ok(StoredMessage {
        mid: row.int(0)?,
        message_id: MessageId::parse(&row.text(1)?).map_err(|fault| corrupt(fault.to_string()))?,
        notes: Notes::read(&row.bytes(6)?, &sender).map_err(|fault| corrupt(fault.to_string()))?,
        sender,
        trust: Trust::from_code(row.int(3)?),
        origin: Origin::from_code(row.int(4)?),
        accepted_at: Timestamp::from_millis(row.int(5)?),
        body: Bytes::from(row.bytes(7)?),
    })
}

/// Messages with what the party may see of their recipients, in the order of `mids`; without
/// those the party has no part in.
pub(super) async fn track(
    connection: &mut Connection,
    mids: &[i64],
    party: &Party,
) -> Result<Vec<Tracked>, StoreError> {
    let mut recipients: HashMap<i64, Vec<RecipientState>> = HashMap::new();
    for (mid, state) in states(connection, mids).await? {
        recipients.entry(mid).or_default().push(state);
    }
    let mut messages: HashMap<i64, StoredMessage> = load(connection, mids)
        .await?
        .into_iter()
        .map(|message| (message.mid, message))
        .collect();
    let visible = mids.iter().filter_map(|mid| {
        let message = messages.remove(mid)?;
        let mut recipients = recipients.remove(mid).unwrap_or_default();
        if let Party::Agent { id, key } = party
            && (message.sender != *key || message.trust != Trust::Local)
        {
            recipients.retain(|state| state.party == *id);
            if recipients.is_empty() {
                return None;
            }
        }
        Some(Tracked {
            message,
            recipients,
        })
    });
    Ok(visible.collect())
}

/// What became of messages, recipient by recipient.
pub(super) async fn states(
    connection: &mut Connection,
    mids: &[i64],
) -> sqlx::Result<Vec<(i64, RecipientState)>> {
    let mut mids = mids.to_vec();
    mids.sort_unstable();
    mids.dedup();
    let mut found = Vec::new();
    for chunk in padded(&mids) {
        let values = |text: String| Statement::new(text).bind_all(chunk.clone());
        let marks = places(chunk.len());
        let inbox = values(format!(
            "SELECT i.mid, i.recipient, i.mailbox, m.accepted_at FROM inbox i JOIN messages m ON m.mid = i.mid \
             WHERE i.mid IN ({marks}) ORDER BY i.mid, i.mailbox, i.seq"
        ));
        for row in connection.rows(inbox).await? {
            found.push((row.int(0)?, waiting_in_inbox(&row)?));
        }
        let queued = values(format!(
            "SELECT d.mid, d.recipient, d.party, d.state, d.due_at, d.attempts, d.error_code, m.accepted_at \
             FROM deliveries d JOIN messages m ON m.mid = d.mid WHERE d.mid IN ({marks}) ORDER BY d.seq"
        ));
        for row in connection.rows(queued).await? {
            found.push((row.int(0)?, unsettled(&row)?));
        }
        let over = values(format!(
            "SELECT mid, recipient, party, state, settled_at, attempts, error_code, delivered_at, acknowledged_at \
             FROM settled WHERE mid IN ({marks}) ORDER BY id"
        ));
        for row in connection.rows(over).await? {
            found.push((row.int(0)?, ended(&row)?));
        }
    }
    Ok(found)
}

fn waiting_in_inbox(row: &Row) -> sqlx::Result<RecipientState> {
    let at = Timestamp::from_millis(row.int(3)?);
    Ok(RecipientState {
        address: row.text(1)?,
        party: row.int(2)?,
        status: DeliveryStatus::Delivered,
        at,
        attempts: 0,
        next_retry: None,
        error_code: None,
        delivered_at: Some(at),
        acknowledged_at: None,
    })
}

fn unsettled(row: &Row) -> sqlx::Result<RecipientState> {
    let attempts = count(row.int(5)?);
    let (status, next_retry) = match row.int(3)? {
        0 => (DeliveryStatus::Queued, None),
        1 => (
            DeliveryStatus::Retrying,
            Some(Timestamp::from_millis(row.int(4)?)),
        ),
        _ => (DeliveryStatus::Held, None),
    };
    Ok(RecipientState {
        address: row.text(1)?,
        party: row.int(2)?,
        status,
        at: Timestamp::from_millis(row.int(7)?),
        attempts,
        next_retry,
        error_code: row.maybe_text(6)?.as_deref().and_then(ErrorCode::parse),
        delivered_at: None,
        acknowledged_at: None,
    })
}

fn ended(row: &Row) -> sqlx::Result<RecipientState> {
    Ok(RecipientState {
        address: row.text(1)?,
        party: row.int(2)?,
        status: settled::status(row.int(3)?),
        at: Timestamp::from_millis(row.int(4)?),
        attempts: count(row.int(5)?),
        next_retry: None,
        error_code: row.maybe_text(6)?.as_deref().and_then(ErrorCode::parse),
        delivered_at: row.maybe_int(7)?.map(Timestamp::from_millis),
        acknowledged_at: row.maybe_int(8)?.map(Timestamp::from_millis),
    })
}

fn count(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// The first column of each row.
pub(super) fn numbers(rows: &[Row]) -> sqlx::Result<Vec<i64>> {
    rows.iter().map(|row| row.int(0)).collect()
}

struct Cancel {
    mids: Vec<i64>,
    now: Timestamp,
}

impl Verb for Cancel {
    type Answer = u64;

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<u64> {
        let cancelled = cancel(tx, &self.mids, self.now, topics).await?;
        if cancelled > 0 {
            tasks::lost(tx, &self.mids, self.now).await?;
        }
        Ok(cancelled)
    }
}

/// Cancels what waits in the queue of these messages. Answers the number cancelled.
pub(super) async fn cancel(
    tx: &mut Connection,
    mids: &[i64],
    now: Timestamp,
    topics: &mut Vec<Topic>,
) -> sqlx::Result<u64> {
    let mut history: Vec<Vec<Value>> = Vec::new();
    for chunk in padded(mids) {
        let text = format!(
            "DELETE FROM deliveries WHERE mid IN ({}) RETURNING mid, recipient, party, attempts",
            places(chunk.len())
        );
        for row in tx.rows(Statement::new(text).bind_all(chunk)).await? {
            let mid = row.int(0)?;
            topics.push(Topic::Message(mid));
            let ended = Settled {
                mid,
                recipient: row.text(1)?,
                party: row.int(2)?,
                state: settled::CANCELLED,
                settled_at: now.as_millis(),
                delivered_at: None,
                acknowledged_at: None,
                attempts: row.int(3)?,
                error_code: None,
                remote: None,
            };
            history.push(ended.row());
        }
    }
    let cancelled = u64::try_from(history.len()).unwrap_or(u64::MAX);
    topics.push(Topic::Control);
    tx.insert(Insert::new(settled::INSERT, history)).await?;
    Ok(cancelled)
}
