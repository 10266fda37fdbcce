//! The verb that ends a task from our side: its client gave it up, or its time is up.
//!
//! In the same commit what of its mail nobody has got yet is taken back. Where the agent has got
//! some, a message that tells it so is stored too.

use super::advance::{Advance, Advanced};
use super::{Direction, link};
use crate::envelope::Origin;
use crate::events::Topic;
use crate::protocol::{DeliveryStatus, ErrorCode, MessageId, Timestamp};
use crate::store::accept::Acceptance;
use crate::store::committer::{Patience, Verb};
use crate::store::error::StoreError;
use crate::store::settled::{self, Settled};
use crate::store::sql::{Connection, Insert, Statement, padded, places};
use crate::store::{Store, StoredMessage, inbox, messages, room};

/// What became of a task that was to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Whether it did.
    pub advanced: Advanced,
    /// Whether its agent has got mail of it, and is told.
    pub had: bool,
}

impl Store {
    /// Ends a task, takes back what of its mail waits, and tells the agent where it has got some.
    ///
    /// # Errors
    /// When the database fails: nothing of it is done.
    pub async fn end_task(
        &self,
        advance: Advance,
        telling: Option<Acceptance>,
    ) -> Result<Ended, StoreError> {
        let told = telling.as_ref().map(|it| it.envelope.message_id.clone());
        let messages = telling.into_iter().collect();
        let end = End { advance, told };
        let committing = &self.0.committing;
        let done = committing.commit_bringing(end, messages, Patience::Short);
        Ok(done.await?.0)
    }

    /// The newest message to the agent of a task; nothing where it is forgotten.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn newest_request(&self, task: &str) -> Result<Option<StoredMessage>, StoreError> {
        let mut reader = self.reader().await?;
        let select = Statement::new(
            "SELECT m.mid FROM task_links l JOIN messages m ON m.message_id = l.message AND m.origin = ? \
             WHERE l.task = ? AND l.direction = 0 ORDER BY l.n DESC LIMIT 1",
        );
        let select = select.bind(Origin::A2a.code()).bind(task);
        let Some(row) = reader.row(select).await? else {
            return Ok(None);
        };
        Ok(messages::load(&mut reader, &[row.int(0)?]).await?.pop())
    }

    /// What became of the last message to the agent of a task that did not reach it; nothing where
    /// none failed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn lost_request(
        &self,
        task: &str,
    ) -> Result<Option<(DeliveryStatus, Option<ErrorCode>)>, StoreError> {
        let select = Statement::new(
            "SELECT s.state, s.error_code FROM task_links l JOIN messages m ON m.message_id = l.message \
             JOIN settled s ON s.mid = m.mid WHERE l.task = ? AND l.direction = 0 AND m.origin = ? \
             AND s.state <> ? ORDER BY s.id DESC LIMIT 1",
        )
        .bind(task)
        .bind(Origin::A2a.code())
        .bind(settled::DELIVERED);
        let Some(row) = self.reader().await?.row(select).await? else {
            return Ok(None);
        };
        let code = row.maybe_text(1)?;
        Ok(Some((
            settled::status(row.int(0)?),
            code.as_deref().and_then(ErrorCode::parse),
        )))
    }
}

struct End {
    advance: Advance,
    told: Option<MessageId>,
}

impl Verb for End {
    type Answer = Ended;

    fn brings(ended: &Ended) -> bool {
        ended.had
    }

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<Ended> {
        let Advance { task, now, .. } = &self.advance;
        let advanced = self.advance.apply(tx, topics).await?;
        let mut had = false;
        if matches!(advanced, Advanced::Done { .. }) {
            had = take_back(tx, task, *now, topics).await?;
        }
        if let Some(told) = self.told.as_ref().filter(|_| had) {
            link(tx, task, (told, Direction::Asked)).await?;
        }
        Ok(Ended { advanced, had })
    }
}

/// Takes back what of a task's mail nobody has got. Answers whether its agent has got any.
async fn take_back(
    tx: &mut Connection,
    task: &str,
    now: Timestamp,
    topics: &mut Vec<Topic>,
) -> sqlx::Result<bool> {
    let select = Statement::new(
        "SELECT m.mid FROM task_links l LEFT JOIN messages m ON m.message_id = l.message AND m.origin = ? \
         WHERE l.task = ? AND l.direction = 0",
    );
    let (mut mids, mut had) = (Vec::new(), false);
    for row in tx.rows(select.bind(Origin::A2a.code()).bind(task)).await? {
        match row.maybe_int(0)? {
            Some(mid) => mids.push(mid),
            // It was forgotten: what waits never is.
            None => had = true,
        }
    }
    messages::cancel(tx, &mids, now, topics).await?;
    for mailbox in mailboxes(tx, &mids).await? {
        inbox::lock(tx, mailbox).await?;
        take_out(tx, mailbox, (&mids, now), topics).await?;
    }
    Ok(had || is_with_agent(tx, &mids).await?)
}

async fn mailboxes(tx: &mut Connection, mids: &[i64]) -> sqlx::Result<Vec<i64>> {
    let mut found = Vec::new();
    for chunk in padded(mids) {
        let marks = places(chunk.len());
        let text = format!("SELECT DISTINCT mailbox FROM inbox WHERE mid IN ({marks})");
        for row in tx.rows(Statement::new(text).bind_all(chunk)).await? {
            found.push(row.int(0)?);
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// Takes mail out of a mailbox that was never handed out.
async fn take_out(
    tx: &mut Connection,
    mailbox: i64,
    (mids, now): (&[i64], Timestamp),
    topics: &mut Vec<Topic>,
) -> sqlx::Result<()> {
    let (mut history, mut bytes) = (Vec::new(), 0);
    for chunk in padded(mids) {
        let text = format!(
            "DELETE FROM inbox WHERE mailbox = ? AND read = 0 AND session = 0 AND mid IN ({}) \
             RETURNING mid, recipient, (SELECT size FROM messages WHERE messages.mid = inbox.mid)",
            places(chunk.len())
        );
        let delete = Statement::new(text).bind(mailbox).bind_all(chunk);
        for row in tx.rows(delete).await? {
            let mid = row.int(0)?;
            topics.push(Topic::Message(mid));
            bytes += row.int(2)?;
            let settled = Settled {
                mid,
                recipient: row.text(1)?,
                party: mailbox,
                state: settled::CANCELLED,
                settled_at: now.as_millis(),
                delivered_at: None,
                acknowledged_at: None,
                attempts: 0,
                error_code: None,
                remote: None,
            };
            history.push(settled.row());
        }
    }
    let count = i64::try_from(history.len()).unwrap_or(i64::MAX);
    room::left(tx, mailbox, (count, bytes), topics).await?;
    tx.insert(Insert::new(settled::INSERT, history)).await
}

/// Whether any of these messages was handed out or delivered.
async fn is_with_agent(tx: &mut Connection, mids: &[i64]) -> sqlx::Result<bool> {
    for chunk in padded(mids) {
        let marks = places(chunk.len());
        let text = format!(
            "SELECT 1 FROM inbox WHERE mid IN ({marks}) UNION ALL \
             SELECT 1 FROM settled WHERE state = {} AND mid IN ({marks}) LIMIT 1",
            settled::DELIVERED
        );
        let select = Statement::new(text).bind_all(chunk.clone()).bind_all(chunk);
        if tx.row(select).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Notes that messages will not reach anybody: the tasks that wait for an answer to one of them are
/// looked at at once, as those whose time is up.
pub(in crate::store) async fn lost(
    tx: &mut Connection,
    mids: &[i64],
    now: Timestamp,
) -> sqlx::Result<()> {
    for chunk in padded(mids) {
        let text = format!(
            "UPDATE tasks SET deadline_at = ? WHERE state NOT IN (3, 4, 5, 7) AND id IN \
             (SELECT l.task FROM messages m JOIN task_links l ON l.message = m.message_id \
             WHERE l.direction = 0 AND m.origin = ? AND m.mid IN ({}))",
            places(chunk.len())
        );
        let update = Statement::new(text)
            .bind(now.as_millis())
            .bind(Origin::A2a.code());
        tx.run(update.bind_all(chunk)).await?;
    }
    Ok(())
}

/// The same for all tasks of an agent that is gone.
pub(in crate::store) async fn agent_lost(
    tx: &mut Connection,
    agent: i64,
    now: Timestamp,
) -> sqlx::Result<()> {
    let update = Statement::new(
        "UPDATE tasks SET deadline_at = ? WHERE agent = ? AND state NOT IN (3, 4, 5, 7)",
    );
    tx.run(update.bind(now.as_millis()).bind(agent))
        .await
        .map(drop)
}
