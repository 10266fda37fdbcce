//! The way of a message: when it came, every attempt, its end, and what came back.
//!
//! The operator sees all of it. The sender sees its own message; where the agents here listen is
//! nobody else's business. A recipient sees its own row, without addresses and without the words of
//! attempts, which may hold some.

use std::collections::HashMap;
use std::net::IpAddr;

use super::Store;
use super::error::StoreError;
use super::messages::{self, Party, RecipientState, StoredMessage, Tracked, numbers};
use super::settle::BounceFate;
use super::sql::{Connection, Row, Statement, Value, padded, places};
use super::{id_hash, party_hash};
use crate::envelope::{Origin, Trust, Verification};
use crate::protocol::{ErrorCode, MessageId, Timestamp};

/// At most so many attempts and replies are read, the newest.
const MOST_ROWS: i64 = 2_000;
/// At most so many representations of one message are looked at.
const REPRESENTATIONS: i64 = 200;

/// The way of one message.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// One entry for each representation and recipient, in the order they were stored.
    pub hops: Vec<Hop>,
    /// What answers it, in the order of acceptance.
    pub replies: Vec<Reply>,
}

/// The way of one representation to one recipient.
#[derive(Debug, Clone)]
pub struct Hop {
    /// How it came to us.
    pub accepted: Entry,
    /// Attempts that did not succeed, in their order.
    pub attempts: Vec<Tried>,
    /// How far it is, or its end.
    pub state: RecipientState,
    /// The address it was handed to in the end.
    pub remote: Option<String>,
    /// The ids its representation travelled under beside its own.
    pub wire_ids: Vec<String>,
    /// The record of its failure.
    pub dead_letter: Option<Buried>,
}

/// How a message came to us.
#[derive(Debug, Clone)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// By which way.
    pub origin: Origin,
    /// The address it came from, for foreign senders.
    pub remote: Option<IpAddr>,
    /// The id it goes by.
    pub message_id: String,
    /// The sender, lower-cased.
    pub sender: String,
    /// What is known of the sender.
    pub verification: Verification,
    /// The request it came in.
    pub request_id: Option<String>,
}

/// One attempt that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// Its number, from 1; it begins again after a replay.
    pub number: u32,
    /// When it began.
    pub at: Timestamp,
    /// Milliseconds until the answer.
    pub took: u32,
    /// Whether it was given up with this one.
    pub last: bool,
    /// Why it did not succeed.
    pub error_code: Option<ErrorCode>,
    /// The same in words.
    pub text: Option<String>,
    /// The address really used.
    pub remote: Option<String>,
}

/// The kept record of a failure, in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buried {
    /// Its number; for operators.
    pub id: Option<i64>,
    /// When it was given up.
    pub at: Timestamp,
    /// What became of the notice to its sender.
    pub bounce: BounceFate,
}

/// A message that answers the traced one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Its id.
    pub message_id: String,
    /// Its sender, lower-cased.
    pub sender: String,
    /// When it was accepted.
    pub accepted_at: Timestamp,
}

impl Store {
    /// The way of a message as the party may see it: by its own id, or by one it travelled under.
    /// Empty where the party has no part in such a message.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn trace(&self, id: &MessageId, party: &Party) -> Result<Trace, StoreError> {
        let mut reader = self.reader().await?;
        let mids = representations(&mut reader, id).await?;
        let mut tracked = messages::track(&mut reader, &mids, party).await?;
        let Some(newest) = tracked.first().map(|it| it.message.clone()) else {
            return Ok(Trace::default());
        };
        tracked.retain(|it| it.message.sender == newest.sender && it.message.trust == newest.trust);
        tracked.reverse();
        let mids: Vec<i64> = tracked.iter().map(|it| it.message.mid).collect();
        let mut history = History::read(&mut reader, &mids).await?;
        let mut hops = Vec::new();
        for Tracked {
            message,
            recipients,
        } in &tracked
        {
            let sight = Sight::of(party, message);
            for state in recipients {
                hops.push(history.hop(message, state, sight));
            }
        }
        let replies = replies(&mut reader, &newest.message_id, party).await?;
        Ok(Trace { hops, replies })
    }
}

/// How much is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sight {
    Operator,
    Sender,
    Recipient,
}

impl Sight {
    fn of(party: &Party, message: &StoredMessage) -> Self {
        match party {
            Party::Operator => Self::Operator,
            Party::Agent { key, .. } if message.sender == *key && message.trust == Trust::Local => {
                Self::Sender
            }
            Party::Agent { .. } => Self::Recipient,
        }
    }

    /// Whether the addresses and words of attempts for this party are seen.
    const fn shows_target(self, party: i64) -> bool {
        match self {
            Self::Operator => true,
            Self::Sender => party < 0,
            Self::Recipient => false,
        }
    }
}

/// The messages of an id, newest first; those that travelled under it where there are none.
async fn representations(reader: &mut Connection, id: &MessageId) -> sqlx::Result<Vec<i64>> {
    for question in [
        "SELECT mid FROM messages WHERE message_id = ? ORDER BY mid DESC LIMIT ?",
        "SELECT mid FROM wire_ids WHERE wire_id = ? ORDER BY mid DESC LIMIT ?",
    ] {
        let statement = Statement::new(question)
            .bind(id.as_str())
            .bind(REPRESENTATIONS);
        let mids = numbers(&reader.rows(statement).await?)?;
        if !mids.is_empty() {
            return Ok(mids);
        }
    }
    Ok(Vec::new())
}

/// A message and a recipient as it was written.
type Way = (i64, String);

/// What is stored of messages beside their states.
#[derive(Default)]
struct History {
    attempts: HashMap<Way, Vec<Tried>>,
    remotes: HashMap<Way, String>,
    dead_letters: HashMap<Way, Buried>,
    wire_ids: HashMap<i64, Vec<String>>,
}

impl History {
    async fn read(reader: &mut Connection, mids: &[i64]) -> sqlx::Result<Self> {
        let mut history = Self::default();
        for chunk in padded(mids) {
            let marks = places(chunk.len());
            let about = |text: String| Statement::new(text).bind_all(chunk.clone());
            let attempts = about(format!(
                "SELECT mid, recipient, number, made_at, took, failed, error_code, text, remote \
                 FROM attempts WHERE mid IN ({marks}) ORDER BY id DESC LIMIT {MOST_ROWS}"
            ));
            for row in reader.rows(attempts).await?.iter().rev() {
                let of_way = history.attempts.entry(way(row)?).or_default();
                of_way.push(tried(row)?);
            }
            let ends = about(format!(
                "SELECT mid, recipient, remote FROM settled WHERE remote IS NOT NULL AND mid IN ({marks})"
            ));
            for row in reader.rows(ends).await? {
                history.remotes.insert(way(&row)?, row.text(2)?);
            }
            let dead = about(format!(
                "SELECT mid, recipient, id, dead_at, bounce FROM dead_letters WHERE mid IN ({marks})"
            ));
            for row in reader.rows(dead).await? {
                let buried = Buried {
                    id: Some(row.int(2)?),
                    at: Timestamp::from_millis(row.int(3)?),
                    bounce: BounceFate::from_code(row.int(4)?),
                };
                history.dead_letters.insert(way(&row)?, buried);
            }
            let ids = about(format!(
                "SELECT mid, wire_id FROM wire_ids WHERE mid IN ({marks}) ORDER BY wire_id"
            ));
            for row in reader.rows(ids).await? {
                let of_message = history.wire_ids.entry(row.int(0)?).or_default();
                of_message.push(row.text(1)?);
            }
        }
        Ok(history)
    }

    fn hop(&mut self, message: &StoredMessage, state: &RecipientState, sight: Sight) -> Hop {
        let way = (message.mid, state.address.clone());
        let shows_target = sight.shows_target(state.party);
        let mut attempts = self.attempts.remove(&way).unwrap_or_default();
        for attempt in &mut attempts {
            attempt.remote = attempt.remote.take().filter(|_| shows_target);
            attempt.text = attempt.text.take().filter(|_| shows_target);
        }
        let mut dead_letter = self.dead_letters.remove(&way);
        if let Some(buried) = &mut dead_letter {
            buried.id = buried.id.filter(|_| sight == Sight::Operator);
        }
        // Only what leaves for another gateway travels under other ids.
        let wire_ids = match (sight, state.party < 0) {
            (Sight::Recipient, _) | (_, false) => Vec::new(),
            (_, true) => self.wire_ids.get(&message.mid).cloned().unwrap_or_default(),
        };
        Hop {
            accepted: accepted(message, sight),
            attempts,
            state: state.clone(),
            remote: self.remotes.remove(&way).filter(|_| shows_target),
            wire_ids,
            dead_letter,
        }
    }
}

fn accepted(message: &StoredMessage, sight: Sight) -> Entry {
    let whole = sight == Sight::Operator;
    Entry {
        at: message.accepted_at,
        origin: message.origin,
        remote: message.notes.remote.filter(|_| whole),
        message_id: message.message_id.as_str().to_owned(),
        sender: message.sender.clone(),
        verification: message.notes.verification.clone(),
        request_id: whole.then(|| message.notes.request_id.clone()),
    }
}

fn way(row: &Row) -> sqlx::Result<Way> {
    Ok((row.int(0)?, row.text(1)?))
}

fn tried(row: &Row) -> sqlx::Result<Tried> {
    Ok(Tried {
        number: u32::try_from(row.int(2)?).unwrap_or(u32::MAX),
        at: Timestamp::from_millis(row.int(3)?),
        took: u32::try_from(row.int(4)?).unwrap_or(u32::MAX),
        last: row.int(5)? != 0,
        error_code: ErrorCode::parse(&row.text(6)?),
        text: Some(row.text(7)?),
        remote: row.maybe_text(8)?,
    })
}

/// Messages that answer this id and that the party sent or received.
async fn replies(
    reader: &mut Connection,
    id: &MessageId,
    party: &Party,
) -> sqlx::Result<Vec<Reply>> {
    let mut text = String::from(
        "SELECT m.message_id, m.sender, m.accepted_at FROM messages m WHERE m.answers = ?",
    );
    let mut values: Vec<Value> = vec![id_hash(id.as_str()).into()];
    if let Party::Agent { id, key } = party {
        text.push_str(
            " AND ((m.sender_hash = ? AND m.sender = ? AND m.trust = ?) \
             OR EXISTS (SELECT 1 FROM inbox WHERE mid = m.mid AND mailbox = ?) \
             OR EXISTS (SELECT 1 FROM deliveries WHERE mid = m.mid AND party = ?) \
             OR EXISTS (SELECT 1 FROM settled WHERE mid = m.mid AND party = ?))",
        );
        values.push(party_hash(key).into());
        values.push(key.as_str().into());
        values.push(Trust::Local.code().into());
        values.extend([(*id).into(), (*id).into(), (*id).into()]);
    }
    text.push_str(" ORDER BY m.mid DESC LIMIT ?");
    values.push(MOST_ROWS.into());
    let rows = reader.rows(Statement::new(text).bind_all(values)).await?;
    let replies = rows.iter().rev().map(|row| {
        Ok(Reply {
            message_id: row.text(0)?,
            sender: row.text(1)?,
            accepted_at: Timestamp::from_millis(row.int(2)?),
        })
    });
    replies.collect()
}
