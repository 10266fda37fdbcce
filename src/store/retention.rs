//! Forgetting what is over, in small steps that never hold the writer for long.
//!
//! A message goes with the last row that speaks of it, and with it how it travelled. Settled
//! deliveries and tasks that ended stay for their retention, acknowledged mail and dead letters for their own; keys of
//! idempotency for nine days; contents nobody claimed for one day; what domains had a gateway for
//! thirty days. What waits in an inbox or in the queue is never forgotten.

use std::time::Duration;

use super::Store;
use super::calls;
use super::claims;
use super::committer::Verb;
use super::dead_letters;
use super::error::StoreError;
use super::messages::numbers;
use super::settled;
use super::sql::{Connection, Statement, padded, places};
use super::tasks;
use crate::events::Topic;
use crate::protocol::Timestamp;

/// Rows of a kind removed in one step.
const STEP: i64 = 500;
/// Contents nobody claimed are removed after this time.
const UNCLAIMED: Duration = Duration::from_secs(86_400);
/// Keys and tokens that ended are kept this long, so that a list can show them.
const ENDED: Duration = Duration::from_secs(30 * 86_400);
/// That a domain had a valid record counts for this long.
const KNOWN: Duration = Duration::from_secs(30 * 86_400);

/// Failures past their retention that stay as long as their dead letter does: what became of a
/// message is known while the message is kept.
pub(super) const CLASS_BURIED: i64 = 2;

/// How long things are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetentionRules {
    /// What became of deliveries, and tasks that ended.
    pub settled: Duration,
    /// Mail its recipient acknowledged.
    pub acknowledged: Duration,
    /// The records of failures.
    pub dead_letters: Duration,
}

/// What one step removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Rows of any kind.
    pub rows: u64,
    /// Stored messages.
    pub messages: u64,
    /// Whether more is waiting.
    pub more: bool,
}

impl Store {
    /// One step of forgetting. Call again while the answer says that more is waiting.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sweep(&self, rules: RetentionRules, now: Timestamp) -> Result<Swept, StoreError> {
        self.0.committing.commit(Sweep { rules, now }).await
    }
}

struct Sweep {
    rules: RetentionRules,
    now: Timestamp,
}

impl Verb for Sweep {
    type Answer = Swept;

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<Swept> {
        let mut swept = Swept::default();
        let mut mids = Vec::new();
        for (class, kept) in [
            (settled::CLASS_ORDINARY, self.rules.settled),
            (settled::CLASS_ACKNOWLEDGED, self.rules.acknowledged),
        ] {
            let gone = self.settled(tx, class, kept).await?;
            tally(&mut swept, gone.len());
            mids.extend(gone);
        }
        let gone = self.dead_letters(tx).await?;
        tally(&mut swept, gone.len());
        mids.extend(gone);
        self.deleted_agents(tx, &mut swept, &mut mids, topics)
            .await?;
        swept.messages += forget_messages(tx, mids).await?;
        self.idempotency(tx, &mut swept).await?;
        self.blobs(tx, &mut swept).await?;
        self.ended(tx, &mut swept).await?;
        let tasks = tasks::sweep(tx, self.before(self.rules.settled)).await?;
        let calls = calls::sweep(tx, self.before(self.rules.settled)).await?;
        swept.rows += tasks + calls;
        swept.more |= tasks >= tasks::SWEPT || calls >= calls::SWEPT;
        if !swept.more {
            self.known_domains(tx, &mut swept).await?;
        }
        Ok(swept)
    }
}

impl Sweep {
    fn before(&self, kept: Duration) -> i64 {
        self.now.minus(kept).as_millis()
    }

    async fn settled(
        &self,
        tx: &mut Connection,
        class: i64,
        kept: Duration,
    ) -> sqlx::Result<Vec<i64>> {
        let select = Statement::new(
            "SELECT id, EXISTS (SELECT 1 FROM dead_letters WHERE mid = settled.mid AND recipient = settled.recipient) \
             FROM settled WHERE class = ? AND settled_at < ? ORDER BY settled_at LIMIT ?",
        )
        .bind(class)
        .bind(self.before(kept))
        .bind(STEP);
        let (mut buried, mut over) = (Vec::new(), Vec::new());
        for row in tx.rows(select).await? {
            match row.int(1)? {
                0 => over.push(row.int(0)?),
                _ => buried.push(row.int(0)?),
            }
        }
        let mut mids = Vec::with_capacity(over.len());
        for chunk in padded(&buried) {
            let marks = places(chunk.len());
            let keep = Statement::new(format!(
                "UPDATE settled SET class = {CLASS_BURIED} WHERE id IN ({marks}) RETURNING mid"
            ));
            mids.extend(numbers(&tx.rows(keep.bind_all(chunk)).await?)?);
        }
        for chunk in padded(&over) {
            let marks = places(chunk.len());
            let delete = Statement::new(format!(
                "DELETE FROM settled WHERE id IN ({marks}) RETURNING mid"
            ));
            mids.extend(numbers(&tx.rows(delete.bind_all(chunk)).await?)?);
        }
        Ok(mids)
    }

    async fn dead_letters(&self, tx: &mut Connection) -> sqlx::Result<Vec<i64>> {
        let select = Statement::new(
            "SELECT id FROM dead_letters WHERE dead_at < ? ORDER BY dead_at LIMIT ?",
        )
        .bind(self.before(self.rules.dead_letters))
        .bind(STEP);
        let ids = numbers(&tx.rows(select).await?)?;
        dead_letters::remove(tx, &ids).await
    }

    /// Clears away the inbox of agents that were deleted, and then the agents. The queue fails what
    /// still waits for them; so that it does at once, that becomes due.
    async fn deleted_agents(
        &self,
        tx: &mut Connection,
        swept: &mut Swept,
        mids: &mut Vec<i64>,
        topics: &mut Vec<Topic>,
    ) -> sqlx::Result<()> {
        for agent in self.cleared_next(tx).await? {
            let delete = Statement::new(
                "DELETE FROM inbox WHERE mailbox = ? AND seq IN \
                 (SELECT seq FROM inbox WHERE mailbox = ? ORDER BY seq LIMIT ?) RETURNING mid",
            )
            .bind(agent)
            .bind(agent)
            .bind(STEP);
            let gone = numbers(&tx.rows(delete).await?)?;
            let woken = self.wake(tx, agent).await?;
            if !woken.is_empty() {
                topics.push(Topic::Control);
                topics.extend(woken.iter().copied().map(Topic::Message));
            }
            tally(swept, gone.len());
            tally(swept, woken.len());
            if gone.is_empty() {
                let delete = Statement::new(
                    "DELETE FROM agents WHERE id = ? AND NOT EXISTS (SELECT 1 FROM deliveries WHERE party = ?)",
                )
                .bind(agent)
                .bind(agent);
                swept.rows += tx.run(delete).await?;
            }
            mids.extend(gone);
        }
        Ok(())
    }

    /// Deleted agents of which something can be cleared away. One that still has deliveries, held
    /// ones for instance, does not stand in the way of others.
    async fn cleared_next(&self, tx: &mut Connection) -> sqlx::Result<Vec<i64>> {
        let select = Statement::new(
            "SELECT id FROM agents WHERE deleted_at IS NOT NULL AND \
             (EXISTS (SELECT 1 FROM inbox WHERE mailbox = agents.id) \
             OR NOT EXISTS (SELECT 1 FROM deliveries WHERE party = agents.id) \
             OR EXISTS (SELECT 1 FROM deliveries WHERE party = agents.id AND state = 1 AND due_at > ?)) \
             ORDER BY deleted_at LIMIT 10",
        )
        .bind(self.now.as_millis());
        numbers(&tx.rows(select).await?)
    }

    /// Makes deferred deliveries of a deleted agent due; answers their messages.
    async fn wake(&self, tx: &mut Connection, agent: i64) -> sqlx::Result<Vec<i64>> {
        let update = Statement::new(
            "UPDATE deliveries SET due_at = ? WHERE seq IN (SELECT seq FROM deliveries \
             WHERE party = ? AND state = 1 AND due_at > ? ORDER BY seq LIMIT ?) RETURNING mid",
        )
        .bind(self.now.as_millis())
        .bind(agent)
        .bind(self.now.as_millis())
        .bind(STEP);
        numbers(&tx.rows(update).await?)
    }

    async fn idempotency(&self, tx: &mut Connection, swept: &mut Swept) -> sqlx::Result<()> {
        let gone = claims::sweep(tx, self.now, STEP).await?;
        tally(swept, usize::try_from(gone).unwrap_or(usize::MAX));
        Ok(())
    }

    async fn blobs(&self, tx: &mut Connection, swept: &mut Swept) -> sqlx::Result<()> {
        let select =
            Statement::new("SELECT id FROM blobs WHERE mid IS NULL AND created_at < ? LIMIT 10")
                .bind(self.before(UNCLAIMED));
        let mut ids = Vec::new();
        for row in tx.rows(select).await? {
            ids.push(row.text(0)?);
        }
        forget_blobs(tx, &ids).await?;
        swept.rows += u64::try_from(ids.len()).unwrap_or(u64::MAX);
        swept.more |= ids.len() == 10;
        Ok(())
    }

    async fn known_domains(&self, tx: &mut Connection, swept: &mut Swept) -> sqlx::Result<()> {
        let delete = Statement::new(
            "DELETE FROM known_domains WHERE domain IN \
             (SELECT domain FROM known_domains WHERE seen_at < ? LIMIT ?)",
        )
        .bind(self.before(KNOWN))
        .bind(STEP);
        let gone = tx.run(delete).await?;
        tally(swept, usize::try_from(gone).unwrap_or(usize::MAX));
        Ok(())
    }

    async fn ended(&self, tx: &mut Connection, swept: &mut Swept) -> sqlx::Result<()> {
        for text in [
            "DELETE FROM api_keys WHERE expires_at < ?",
            "DELETE FROM enrolment_tokens WHERE expires_at < ?",
        ] {
            swept.rows += tx
                .run(Statement::new(text).bind(self.before(ENDED)))
                .await?;
        }
        if tx.is_postgres() {
            // Of connections that ended without a goodbye.
            let delete = Statement::new("DELETE FROM commit_marks WHERE made_at < ?");
            tx.run(delete.bind(self.before(ENDED))).await?;
        }
        Ok(())
    }
}

fn tally(swept: &mut Swept, gone: usize) {
    swept.rows += u64::try_from(gone).unwrap_or(u64::MAX);
    swept.more |= i64::try_from(gone).unwrap_or(i64::MAX) >= STEP;
}

/// Removes those of the messages that no row speaks of any more.
pub(super) async fn forget_messages(tx: &mut Connection, mut mids: Vec<i64>) -> sqlx::Result<u64> {
    mids.sort_unstable();
    mids.dedup();
    let mut count = 0;
    for chunk in padded(&mids) {
        let marks = places(chunk.len());
        let text = format!(
            "DELETE FROM messages WHERE mid IN ({marks}) \
             AND NOT EXISTS (SELECT 1 FROM inbox WHERE inbox.mid = messages.mid) \
             AND NOT EXISTS (SELECT 1 FROM deliveries WHERE deliveries.mid = messages.mid) \
             AND NOT EXISTS (SELECT 1 FROM settled WHERE settled.mid = messages.mid) \
             AND NOT EXISTS (SELECT 1 FROM dead_letters WHERE dead_letters.mid = messages.mid) \
             AND NOT EXISTS (SELECT 1 FROM publications WHERE publications.mid = messages.mid) RETURNING mid"
        );
        let gone = numbers(&tx.rows(Statement::new(text).bind_all(chunk)).await?)?;
        count += u64::try_from(gone.len()).unwrap_or(u64::MAX);
        for chunk in padded(&gone) {
            let marks = places(chunk.len());
            for table in ["attempts", "wire_ids"] {
                let rows = Statement::new(format!("DELETE FROM {table} WHERE mid IN ({marks})"));
                tx.run(rows.bind_all(chunk.clone())).await?;
            }
            let blobs = Statement::new(format!("SELECT id FROM blobs WHERE mid IN ({marks})"));
            let mut ids = Vec::new();
            for row in tx.rows(blobs.bind_all(chunk)).await? {
                ids.push(row.text(0)?);
            }
            forget_blobs(tx, &ids).await?;
        }
    }
    Ok(count)
}

async fn forget_blobs(tx: &mut Connection, ids: &[String]) -> sqlx::Result<()> {
    for id in ids {
        tx.run(Statement::new("DELETE FROM blob_chunks WHERE id = ?").bind(id.as_str()))
            .await?;
        tx.run(Statement::new("DELETE FROM blobs WHERE id = ?").bind(id.as_str()))
            .await?;
    }
    Ok(())
}
