//! The verbs that note calls, take them and end them.

use std::time::Duration;

use super::{COLUMNS, Call, CallAnswer, NewCall, call};
use crate::events::Topic;
use crate::protocol::Timestamp;
use crate::store::committer::Verb;
use crate::store::sql::{Connection, Statement, padded, places};

/// Calls forgotten in one step.
pub(in crate::store) const STEP: u64 = 200;
/// However often the other side calls, a call is looked at once in this time.
const AT_LEAST: Duration = Duration::from_millis(500);

pub(super) struct Note(pub(super) NewCall);

impl Verb for Note {
    type Answer = ();

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<()> {
        let it = &self.0;
        let id = uuid::Uuid::new_v4().to_string();
        if !insert(tx, it, &id).await? {
            return Ok(());
        }
        link(tx, it.message.as_str(), &id).await?;
        if !it.task.is_empty() {
            let over = Statement::new(
                "UPDATE a2a_calls SET due_at = NULL, heard = NULL, token = NULL, ended_at = ? \
                 WHERE agent = ? AND task = ? AND id <> ? AND ended_at IS NULL",
            )
            .bind(it.now.as_millis())
            .bind(it.agent)
            .bind(it.task.as_str())
            .bind(id.as_str());
            tx.run(over).await?;
        }
        topics.push(Topic::Calls);
        Ok(())
    }
}

/// Answers whether the delivery had no call yet.
async fn insert(tx: &mut Connection, it: &NewCall, id: &str) -> sqlx::Result<bool> {
    let (mid, recipient) = &it.delivery;
    let ended = it.due_at.is_none().then_some(it.now.as_millis());
    let insert = Statement::new(
        "INSERT INTO a2a_calls (id, agent, mid, recipient, sender, conversation, place, asked, heard, task, \
         context, told, token, looks, failures, looked_at, due_at, give_up_at, created_at, ended_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', ?, 0, 0, ?, ?, ?, ?, ?) \
         ON CONFLICT (mid, recipient) DO NOTHING",
    )
    .bind(id)
    .bind(it.agent)
    .bind(*mid)
    .bind(recipient.as_str())
    .bind(it.sender.as_str())
    .bind(it.conversation.clone())
    .bind(it.place.clone())
    .bind(it.asked.clone())
    .bind(it.heard.clone())
    .bind(it.task.as_str())
    .bind(it.context.as_str())
    .bind(it.token.clone())
    .bind(it.now.as_millis())
    .bind(it.due_at.map(Timestamp::as_millis))
    .bind(it.give_up_at.as_millis())
    .bind(it.now.as_millis())
    .bind(ended);
    Ok(tx.run(insert).await? > 0)
}

async fn link(tx: &mut Connection, message: &str, call: &str) -> sqlx::Result<()> {
    let insert = Statement::new(
        "INSERT INTO a2a_call_messages (message, call) VALUES (?, ?) ON CONFLICT DO NOTHING",
    );
    tx.run(insert.bind(message).bind(call)).await.map(drop)
}

pub(super) struct Take {
    pub(super) now: Timestamp,
    pub(super) hold: Duration,
    pub(super) limit: u32,
}

impl Verb for Take {
    type Answer = Vec<Call>;

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<Vec<Call>> {
        let text = format!(
            "SELECT {COLUMNS} FROM a2a_calls WHERE due_at IS NOT NULL AND due_at <= ? \
             ORDER BY due_at LIMIT ?{}",
            tx.locking("a2a_calls")
        );
        let select = Statement::new(text)
            .bind(self.now.as_millis())
            .bind(i64::from(self.limit));
        let mut due = Vec::new();
        for row in tx.rows(select).await? {
            due.push(call(&row)?);
        }
        for it in &due {
            let update =
                Statement::new("UPDATE a2a_calls SET due_at = ?, looked_at = ? WHERE id = ?")
                    .bind(self.now.plus(self.hold).as_millis())
                    .bind(self.now.as_millis())
                    .bind(it.id.as_str());
            tx.run(update).await?;
        }
        Ok(due)
    }
}

pub(super) struct Free(pub(super) Timestamp);

impl Verb for Free {
    type Answer = ();

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<()> {
        let now = self.0.as_millis();
        let update = Statement::new("UPDATE a2a_calls SET due_at = ? WHERE due_at > ?");
        tx.run(update.bind(now).bind(now)).await?;
        topics.push(Topic::Calls);
        Ok(())
    }
}

pub(super) struct Defer {
    pub(super) id: String,
    pub(super) due_at: Timestamp,
    pub(super) failures: u32,
}

impl Verb for Defer {
    type Answer = ();

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<()> {
        let update = Statement::new(
            "UPDATE a2a_calls SET due_at = ?, looks = looks + 1, failures = ? \
             WHERE id = ? AND ended_at IS NULL",
        )
        .bind(self.due_at.as_millis())
        .bind(i64::from(self.failures))
        .bind(self.id.as_str());
        tx.run(update).await?;
        topics.push(Topic::Calls);
        Ok(())
    }
}

pub(super) struct Tell(pub(super) CallAnswer);

impl Verb for Tell {
    type Answer = bool;

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<bool> {
        let it = &self.0;
        let ended = it.due_at.is_none().then_some(it.now.as_millis());
        let update = Statement::new(
            "UPDATE a2a_calls SET told = ?, heard = NULL, looks = 0, failures = 0, due_at = ?, ended_at = ?, \
             token = CASE WHEN ? = 1 THEN NULL ELSE token END \
             WHERE id = ? AND told = ? AND ended_at IS NULL",
        )
        .bind(it.told.as_str())
        .bind(it.due_at.map(Timestamp::as_millis))
        .bind(ended)
        .bind(it.due_at.is_none())
        .bind(it.call.as_str())
        .bind(it.before.as_str());
        if tx.run(update).await? == 0 {
            return Ok(false);
        }
        if let Some(message) = &it.message {
            link(tx, message.as_str(), &it.call).await?;
        }
        topics.push(Topic::Calls);
        Ok(true)
    }

    fn brings(answered: &bool) -> bool {
        *answered
    }
}

pub(super) struct Hurry {
    pub(super) token: Vec<u8>,
    pub(super) now: Timestamp,
}

impl Verb for Hurry {
    type Answer = bool;

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<bool> {
        let pause = i64::try_from(AT_LEAST.as_millis()).unwrap_or(i64::MAX);
        let update = Statement::new(
            "UPDATE a2a_calls SET looks = 0, due_at = CASE \
             WHEN due_at < ? THEN due_at WHEN looked_at + ? > ? THEN looked_at + ? ELSE ? END \
             WHERE token = ? AND due_at IS NOT NULL",
        )
        .bind(self.now.as_millis())
        .bind(pause)
        .bind(self.now.as_millis())
        .bind(pause)
        .bind(self.now.as_millis())
        .bind(self.token.clone());
        let there = tx.run(update).await? > 0;
        if there {
            topics.push(Topic::Calls);
        }
        Ok(there)
    }
}

/// One step of forgetting calls that ended before a moment. Answers how many.
pub(in crate::store) async fn sweep(tx: &mut Connection, before: i64) -> sqlx::Result<u64> {
    let select = Statement::new(
        "SELECT id FROM a2a_calls WHERE ended_at IS NOT NULL AND ended_at < ? ORDER BY ended_at LIMIT ?",
    )
    .bind(before)
    .bind(i64::try_from(STEP).unwrap_or(i64::MAX));
    let mut ids = Vec::new();
    for row in tx.rows(select).await? {
        ids.push(row.text(0)?);
    }
    for chunk in padded(&ids) {
        for (table, column) in [("a2a_call_messages", "call"), ("a2a_calls", "id")] {
            let text = format!(
                "DELETE FROM {table} WHERE {column} IN ({})",
                places(chunk.len())
            );
            tx.run(Statement::new(text).bind_all(chunk.clone())).await?;
        }
    }
    Ok(u64::try_from(ids.len()).unwrap_or(u64::MAX))
}
