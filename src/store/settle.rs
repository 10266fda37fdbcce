//! The verb `settle`: what attempts came to, and the messages that brings forth, in one commit.
//!
//! - A settled delivery leaves `deliveries` for `settled`; a failed one leaves a dead letter too
//!   and frees its idempotency row, so that its sender may send it again.
//! - What is delivered is a fact: it is recorded also where the delivery was cancelled meanwhile.
//! - A bounce or a reply is stored in the same commit, or neither is.

use std::collections::HashMap;

use super::accept::Acceptance;
use super::claims::HeldKey;
use super::committer::Verb;
use super::deliveries::{DESTINATION_FAULT, LOOSE, NOTIFIED};
use super::error::StoreError;
use super::identity::RENEW;
use super::settled::{self, Settled};
use super::sql::{Connection, Insert, Statement, Value, padded, places};
use super::{Patience, Store};
use crate::events::Topic;
use crate::protocol::{ErrorCode, Timestamp};

/// What became of one delivery.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// Its number.
    pub seq: i64,
    /// Its message.
    pub mid: i64,
    /// As the sender wrote it.
    pub recipient: String,
    /// When it came to that.
    pub at: Timestamp,
    /// The attempt that was made, if one was.
    pub attempt: Option<AttemptNote>,
    /// The end, or not yet.
    pub fate: Ending,
}

/// One attempt, for the history.
#[derive(Debug, Clone)]
pub struct AttemptNote {
    /// When it began.
    pub made_at: Timestamp,
    /// Milliseconds until the answer.
    pub took: u32,
    /// The address really used.
    pub remote: Option<String>,
}

/// What became of a delivery.
#[derive(Debug, Clone)]
pub enum Ending {
    /// The other side has it.
    Delivered,
    /// It is tried again.
    Deferred {
        /// When.
        due_at: Timestamp,
        /// Why it was not delivered.
        reason: Reason,
        /// How it goes on.
        marks: Marks,
    },
    /// It is given up.
    Failed {
        /// Why.
        reason: Reason,
        /// What became of the notice to its sender.
        bounce: BounceFate,
        /// The idempotency row to free.
        held: Option<HeldKey>,
    },
    /// Its sender wanted it delivered until a time that has passed.
    Expired {
        /// The idempotency row to free.
        held: Option<HeldKey>,
    },
    /// Its recipient polls now: it goes to the inbox of this number.
    Inbox(i64),
}

/// Why an attempt did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// The code.
    pub code: ErrorCode,
    /// In words, for people.
    pub text: String,
}

/// How a deferred delivery goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Marks {
    /// Out of its lane.
    pub loose: bool,
    /// The destination was at fault.
    pub destination_fault: bool,
    /// The next attempt needs a fresh identity.
    pub renew: bool,
    /// The sender was told of the delay.
    pub notified: bool,
}

/// What became of the notice of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BounceFate {
    /// Nobody is to be told: the message is a notice itself.
    None,
    /// It was sent.
    Sent,
    /// The sender cannot be believed, or was told too often.
    Suppressed,
}

impl BounceFate {
    /// The word operators see.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Sent => "sent",
            Self::Suppressed => "suppressed",
        }
    }

    pub(super) const fn code(self) -> i64 {
        match self {
            Self::None => 0,
            Self::Sent => 1,
            Self::Suppressed => 2,
        }
    }

    pub(super) const fn from_code(code: i64) -> Self {
        match code {
            1 => Self::Sent,
            2 => Self::Suppressed,
            _ => Self::None,
        }
    }
}

impl Store {
    /// Settles deliveries and stores what that brings forth.
    ///
    /// # Errors
    /// When the database fails: nothing of it is stored, the deliveries still wait.
    pub async fn settle(
        &self,
        settlements: Vec<Settlement>,
        follow_ups: Vec<Acceptance>,
    ) -> Result<(), StoreError> {
        let verb = Settle(settlements);
        self.0
            .committing
            .commit_with(verb, follow_ups, Patience::Long)
            .await
    }
}

struct Settle(Vec<Settlement>);

impl Verb for Settle {
    type Answer = ();

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<()> {
        let ended: Vec<i64> = self
            .0
            .iter()
            .filter(|it| !matches!(it.fate, Ending::Deferred { .. }))
            .map(|it| it.seq)
            .collect();
        let taken = take(tx, &ended).await?;
        let mut rows = Rows::default();
        for settlement in &self.0 {
            topics.push(Topic::Message(settlement.mid));
            match (&settlement.fate, taken.get(&settlement.seq)) {
                (Ending::Deferred { .. }, _) => defer(tx, settlement, &mut rows).await?,
                (_, Some(taken)) => end(tx, settlement, taken, &mut rows, topics).await?,
                (_, None) => match take_moved(tx, settlement).await? {
                    Some(taken) => end(tx, settlement, &taken, &mut rows, topics).await?,
                    None => delivered_after_all(tx, settlement).await?,
                },
            }
        }
        rows.write(tx).await
    }
}

/// A delivery that was taken out of the queue.
struct Taken {
    party: i64,
    attempts: i64,
    destination: String,
    priority: i64,
    first_at: Option<i64>,
}

/// A delivery that was held and released while it was under way has another number.
async fn take_moved(tx: &mut Connection, it: &Settlement) -> sqlx::Result<Option<Taken>> {
    let find = Statement::new("SELECT seq FROM deliveries WHERE mid = ? AND recipient = ?")
        .bind(it.mid)
        .bind(it.recipient.as_str());
    let Some(row) = tx.row(find).await? else {
        return Ok(None);
    };
    let seq = row.int(0)?;
    Ok(take(tx, &[seq]).await?.remove(&seq))
}

async fn take(tx: &mut Connection, seqs: &[i64]) -> sqlx::Result<HashMap<i64, Taken>> {
    let mut taken = HashMap::with_capacity(seqs.len());
    for chunk in padded(seqs) {
        let text = format!(
            "DELETE FROM deliveries WHERE seq IN ({}) RETURNING seq, party, attempts, destination, priority, first_at",
            places(chunk.len())
        );
        for row in tx.rows(Statement::new(text).bind_all(chunk)).await? {
            let it = Taken {
                party: row.int(1)?,
                attempts: row.int(2)?,
                destination: row.text(3)?,
                priority: row.int(4)?,
                first_at: row.maybe_int(5)?,
            };
            taken.insert(row.int(0)?, it);
        }
    }
    Ok(taken)
}

#[derive(Default)]
struct Rows {
    settled: Vec<Vec<Value>>,
    attempts: Vec<Vec<Value>>,
    dead: Vec<Vec<Value>>,
}

impl Rows {
    async fn write(self, tx: &mut Connection) -> sqlx::Result<()> {
        tx.insert(Insert::new(settled::INSERT, self.settled))
            .await?;
        tx.insert(Insert::new("INSERT INTO attempts (mid, recipient, number, made_at, took, failed, error_code, text, remote)", self.attempts))
        .await?;
        tx.insert(Insert::new("INSERT INTO dead_letters (mid, recipient, party, destination, priority, error_code, text, attempts, \
             first_at, last_at, dead_at, bounce)", self.dead))
        .await
    }

    /// Notes an attempt that did not succeed.
    fn attempt(&mut self, settlement: &Settlement, number: i64, reason: &Reason) {
        let Some(note) = &settlement.attempt else {
            return;
        };
        let failed = matches!(settlement.fate, Ending::Failed { .. });
        self.attempts.push(vec![
            settlement.mid.into(),
            settlement.recipient.as_str().into(),
            number.into(),
            note.made_at.as_millis().into(),
            i64::from(note.took).into(),
            failed.into(),
            reason.code.as_str().into(),
            reason.text.as_str().into(),
            note.remote.as_deref().into(),
        ]);
    }
}

async fn defer(tx: &mut Connection, it: &Settlement, rows: &mut Rows) -> sqlx::Result<()> {
    let Ending::Deferred {
        due_at,
        reason,
        marks,
    } = &it.fate
    else {
        return Ok(());
    };
    let made = i64::from(it.attempt.is_some());
    let at = it.attempt.as_ref().map(|note| note.made_at.as_millis());
    // What was held meanwhile stays held; its attempt counts all the same.
    let update = Statement::new(format!(
        "UPDATE deliveries SET state = CASE state WHEN 2 THEN 2 ELSE 1 END, due_at = ?, attempts = attempts + ?, \
         error_code = ?, first_at = coalesce(first_at, ?), last_at = coalesce(?, last_at), \
         flags = (flags & {NOTIFIED}) | ? WHERE seq = ? RETURNING attempts"
    ))
    .bind(due_at.as_millis())
    .bind(made)
    .bind(reason.code.as_str())
    .bind(at)
    .bind(at)
    .bind(marks.bits())
    .bind(it.seq);
    if let Some(row) = tx.row(update).await? {
        rows.attempt(it, row.int(0)?, reason);
    }
    Ok(())
}

impl Marks {
    fn bits(self) -> i64 {
        [
            (self.loose, LOOSE),
            (self.destination_fault, DESTINATION_FAULT),
            (self.renew, RENEW),
            (self.notified, NOTIFIED),
        ]
        .into_iter()
        .filter(|(set, _)| *set)
        .map(|(_, bit)| bit)
        .sum()
    }
}

async fn end(
    tx: &mut Connection,
    it: &Settlement,
    taken: &Taken,
    rows: &mut Rows,
    topics: &mut Vec<Topic>,
) -> sqlx::Result<()> {
    let attempts = taken.attempts + i64::from(it.attempt.is_some());
    let at = it.at.as_millis();
    let mut row = Settled {
        mid: it.mid,
        recipient: it.recipient.clone(),
        party: taken.party,
        state: settled::DELIVERED,
        settled_at: at,
        delivered_at: None,
        acknowledged_at: None,
        attempts,
        error_code: None,
        remote: it.attempt.as_ref().and_then(|note| note.remote.clone()),
    };
    match &it.fate {
        Ending::Delivered => row.delivered_at = Some(at),
        Ending::Expired { held } => {
            row.state = settled::EXPIRED;
            row.error_code = Some(ErrorCode::MessageExpired.as_str().to_owned());
            free(tx, *held).await?;
        }
        Ending::Failed {
            reason,
            bounce,
            held,
        } => {
            row.state = settled::FAILED;
            row.error_code = Some(reason.code.as_str().to_owned());
            rows.attempt(it, attempts, reason);
            rows.dead
                .push(dead_letter(it, taken, attempts, (reason, *bounce)));
            free(tx, *held).await?;
        }
        Ending::Inbox(mailbox) => return move_to_inbox(tx, it, *mailbox, topics).await,
        Ending::Deferred { .. } => return Ok(()),
    }
    rows.settled.push(row.row());
    Ok(())
}

async fn free(tx: &mut Connection, held: Option<HeldKey>) -> sqlx::Result<()> {
    match held {
        Some(held) => held.free(tx).await,
        None => Ok(()),
    }
}

fn dead_letter(
    it: &Settlement,
    taken: &Taken,
    attempts: i64,
    (reason, bounce): (&Reason, BounceFate),
) -> Vec<Value> {
    let last_at = it.attempt.as_ref().map(|note| note.made_at.as_millis());
    vec![
        it.mid.into(),
        it.recipient.as_str().into(),
        taken.party.into(),
        taken.destination.as_str().into(),
        taken.priority.into(),
        reason.code.as_str().into(),
        reason.text.as_str().into(),
        attempts.into(),
        taken.first_at.or(last_at).into(),
        last_at.or(taken.first_at).into(),
        it.at.as_millis().into(),
        bounce.code().into(),
    ]
}

/// The recipient polls now: its inbox row is the delivery.
async fn move_to_inbox(
    tx: &mut Connection,
    it: &Settlement,
    mailbox: i64,
    topics: &mut Vec<Topic>,
) -> sqlx::Result<()> {
    if let Some(memory) = tx.memory() {
        memory.forget(mailbox);
    }
    let next = Statement::new(
        "UPDATE mailboxes SET next_seq = next_seq + 1 WHERE id = ? RETURNING next_seq - 1",
    )
    .bind(mailbox);
    let Some(position) = tx.row(next).await? else {
        return Ok(());
    };
    let insert = Statement::new(
        "INSERT INTO inbox (mailbox, seq, mid, sender_hash, recipient) \
         SELECT ?, ?, mid, sender_hash, ? FROM messages WHERE mid = ?",
    )
    .bind(mailbox)
    .bind(position.int(0)?)
    .bind(it.recipient.as_str())
    .bind(it.mid);
    tx.run(insert).await?;
    topics.push(Topic::Mailbox(mailbox));
    Ok(())
}

/// It was cancelled while it was under way, and arrived.
async fn delivered_after_all(tx: &mut Connection, it: &Settlement) -> sqlx::Result<()> {
    if !matches!(it.fate, Ending::Delivered) {
        return Ok(());
    }
    let update = Statement::new(
        "UPDATE settled SET state = ?, delivered_at = ?, attempts = attempts + 1, remote = ? \
         WHERE mid = ? AND recipient = ? AND state = ?",
    )
    .bind(settled::DELIVERED)
    .bind(it.at.as_millis())
    .bind(it.attempt.as_ref().and_then(|note| note.remote.as_deref()))
    .bind(it.mid)
    .bind(it.recipient.as_str())
    .bind(settled::CANCELLED);
    tx.run(update).await?;
    Ok(())
}
