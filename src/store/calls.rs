//! Calls: what was asked of A2A agents of others, and how far that is.
//!
//! - A call is noted before its delivery is settled: after a crash between the two the delivery finds
//!   it, and nothing is asked twice.
//! - What it answers, where it was made and what came at once is JSON that this module does not read.
//! - An open call is due at some time. Who looks after it takes it for a while first, so that of several
//!   gateways one does. An answer is stored in the commit that notes that it was given.
//! - It stays for a while after its end: what is said in reply goes on with the same task or context.

mod verbs;

use std::time::Duration;

use super::Store;
use super::accept::Acceptance;
use super::committer::Patience;
use super::error::StoreError;
use super::sql::{Row, Statement};
use crate::protocol::{MessageId, Timestamp};
pub(super) use verbs::{STEP as SWEPT, sweep};

/// A call to note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCall {
    /// The number of the agent that stands for the other one.
    pub agent: i64,
    /// The message and its recipient, of which the call is made.
    pub delivery: (i64, String),
    /// Its own id.
    pub message: MessageId,
    /// Who sent it, lower-cased.
    pub sender: String,
    /// The conversation it belongs to beside its sender's.
    pub conversation: Option<String>,
    /// Where it was made, as JSON.
    pub place: Vec<u8>,
    /// What an answer needs to know, as JSON.
    pub asked: Vec<u8>,
    /// What came at once, as JSON.
    pub heard: Option<Vec<u8>>,
    /// What the other side calls it; empty where it answered at once.
    pub task: String,
    /// Its conversation there; empty where there is none.
    pub context: String,
    /// SHA-256 of what the other side shows when it calls back.
    pub token: Option<Vec<u8>>,
    /// When it is looked at first; nothing where nobody waits for its end.
    pub due_at: Option<Timestamp>,
    /// Until when it is looked after.
    pub give_up_at: Timestamp,
    /// The present moment.
    pub now: Timestamp,
}

/// A stored call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Its id.
    pub id: String,
    /// The number of the agent that stands for the other one.
    pub agent: i64,
    /// Where it was made, as JSON.
    pub place: Vec<u8>,
    /// What an answer needs to know, as JSON.
    pub asked: Vec<u8>,
    /// What came at once, as JSON.
    pub heard: Option<Vec<u8>>,
    /// What the other side calls it; empty where it answered at once.
    pub task: String,
    /// Its conversation there; empty where there is none.
    pub context: String,
    /// What the sender was told last; empty where nothing yet.
    pub told: String,
    /// How often it was looked at in vain since something happened.
    pub looks: u32,
    /// Attempts in a row that failed.
    pub failures: u32,
    /// Until when it is looked after.
    pub give_up_at: Timestamp,
    /// Whether it is over.
    pub ended: bool,
}

/// Who goes on with a call.
#[derive(Debug, Clone, Copy)]
pub struct Follower<'a> {
    /// The number of the agent.
    pub agent: i64,
    /// Who speaks, lower-cased.
    pub sender: &'a str,
    /// The conversation it belongs to beside the sender's.
    pub conversation: Option<&'a str>,
}

/// What is noted of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallAnswer {
    /// The call.
    pub call: String,
    /// What its sender had been told before: where that is not so any more, nothing is noted.
    pub before: String,
    /// What it is told now.
    pub told: String,
    /// The answer.
    pub message: Option<MessageId>,
    /// When it is looked at again; nothing where that was the end.
    pub due_at: Option<Timestamp>,
    /// The present moment.
    pub now: Timestamp,
}

const COLUMNS: &str =
    "id, agent, place, asked, heard, task, context, told, looks, failures, give_up_at, ended_at";

impl Store {
    /// Notes a call. Earlier ones of the same task of the other side are over: their senders are
    /// answered with this one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_call(&self, call: NewCall) -> Result<(), StoreError> {
        self.0.committing.commit(verbs::Note(call)).await
    }

    /// The call that was made of a delivery.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_call(&self, mid: i64, recipient: &str) -> Result<Option<Call>, StoreError> {
        let select = Statement::new(format!(
            "SELECT {COLUMNS} FROM a2a_calls WHERE mid = ? AND recipient = ?"
        ));
        self.one_call(select.bind(mid).bind(recipient)).await
    }

    /// The call that a message, asked or answered by this id, belongs to; only for who may go on with
    /// it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_call_of(
        &self,
        message: &MessageId,
        who: Follower<'_>,
    ) -> Result<Option<Call>, StoreError> {
        let select = Statement::new(format!(
            "SELECT {COLUMNS} FROM a2a_calls WHERE id IN \
             (SELECT call FROM a2a_call_messages WHERE message = ?) AND agent = ? \
             AND (sender = ? OR conversation = ?) ORDER BY created_at DESC, id DESC LIMIT 1"
        ))
        .bind(message.as_str())
        .bind(who.agent)
        .bind(who.sender)
        .bind(who.conversation);
        self.one_call(select).await
    }

    /// The last call of a conversation.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn last_call_in(
        &self,
        agent: i64,
        conversation: &str,
    ) -> Result<Option<Call>, StoreError> {
        let select = Statement::new(format!(
            "SELECT {COLUMNS} FROM a2a_calls WHERE agent = ? AND conversation = ? \
             ORDER BY created_at DESC, id DESC LIMIT 1"
        ));
        self.one_call(select.bind(agent).bind(conversation)).await
    }

    async fn one_call(&self, select: Statement) -> Result<Option<Call>, StoreError> {
        let mut reader = self.reader().await?;
        let found = reader.row(select).await?;
        Ok(found.map(|row| call(&row)).transpose()?)
    }

    /// Takes calls that are due for a while: nobody else gets them before that is over.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn take_due_calls(
        &self,
        now: Timestamp,
        hold: Duration,
        limit: u32,
    ) -> Result<Vec<Call>, StoreError> {
        let take = verbs::Take { now, hold, limit };
        self.0.committing.commit(take).await
    }

    /// Takes calls out of the hands of whoever had them: all open ones are due.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn free_calls(&self, now: Timestamp) -> Result<(), StoreError> {
        self.0.committing.commit(verbs::Free(now)).await
    }

    /// When the next call is due.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn next_call_at(&self) -> Result<Option<Timestamp>, StoreError> {
        let mut reader = self.reader().await?;
        let select = Statement::new("SELECT min(due_at) FROM a2a_calls WHERE due_at IS NOT NULL");
        let row = reader.row(select).await?;
        let at = row.map(|row| row.maybe_int(0)).transpose()?.flatten();
        Ok(at.map(Timestamp::from_millis))
    }

    /// Looks at a call again later; `failures` in a row have been counted.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn defer_call(
        &self,
        id: &str,
        due_at: Timestamp,
        failures: u32,
    ) -> Result<(), StoreError> {
        let defer = verbs::Defer {
            id: id.to_owned(),
            due_at,
            failures,
        };
        self.0.committing.commit(defer).await
    }

    /// Notes that the sender of a call is told something, and stores the message that tells it.
    /// Answers whether it was noted: not where somebody else did so, or the call is over.
    ///
    /// # Errors
    /// When the database fails: then neither is stored.
    pub async fn answer_call(
        &self,
        answer: CallAnswer,
        message: Option<Acceptance>,
    ) -> Result<bool, StoreError> {
        let committing = &self.0.committing;
        let messages = message.into_iter().collect();
        let verb = verbs::Tell(answer);
        let done = committing.commit_bringing(verb, messages, Patience::Long);
        Ok(done.await?.0)
    }

    /// The other side says that something happened: the call of this token is looked at soon. Answers
    /// whether there is one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn hurry_call(&self, token: Vec<u8>, now: Timestamp) -> Result<bool, StoreError> {
        self.0.committing.commit(verbs::Hurry { token, now }).await
    }
}

fn call(row: &Row) -> sqlx::Result<Call> {
    let count = |column| Ok::<_, sqlx::Error>(u32::try_from(row.int(column)?).unwrap_or(u32::MAX));
    Ok(Call {
        id: row.text(0)?,
        agent: row.int(1)?,
        place: row.bytes(2)?,
        asked: row.bytes(3)?,
        heard: row.maybe_bytes(4)?,
        task: row.text(5)?,
        context: row.text(6)?,
        told: row.text(7)?,
        looks: count(8)?,
        failures: count(9)?,
        give_up_at: Timestamp::from_millis(row.int(10)?),
        ended: row.maybe_int(11)?.is_some(),
    })
}
