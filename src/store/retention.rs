//! Forgetting what is over, in small steps that never hold the writer for long.
//!
//! A message goes with the last row that speaks of it. Settled deliveries stay for their
//! retention, acknowledged mail for its own; keys of idempotency for nine days; contents nobody
//! claimed for one day.

use std::time::Duration;

use super::Store;
use super::claims;
use super::committer::Verb;
use super::error::StoreError;
use super::messages::numbers;
use super::settled::{self, Settled};
use super::sql::{Connection, Statement, Value, padded, places};
use crate::events::Topic;
use crate::protocol::{ErrorCode, Timestamp};

/// Rows of a kind removed in one step.
const STEP: i64 = 500;
/// Contents nobody claimed are removed after this time.
const UNCLAIMED: Duration = Duration::from_secs(86_400);
/// Keys and tokens that ended are kept this long, so that a list can show them.
const ENDED: Duration = Duration::from_secs(30 * 86_400);

/// How long things are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetentionRules {
    /// What became of deliveries.
    pub settled: Duration,
    /// Mail its recipient acknowledged.
    pub acknowledged: Duration,
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
        self.deleted_agents(tx, &mut swept, &mut mids, topics)
            .await?;
        swept.messages += forget_messages(tx, mids).await?;
        self.idempotency(tx, &mut swept).await?;
        self.blobs(tx, &mut swept).await?;
        self.ended(tx, &mut swept).await?;
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
        let delete = Statement::new(
            "DELETE FROM settled WHERE id IN (SELECT id FROM settled WHERE class = ? AND settled_at < ? \
             ORDER BY settled_at LIMIT ?) RETURNING mid",
        )
        .bind(class)
        .bind(self.before(kept))
        .bind(STEP);
        numbers(&tx.rows(delete).await?)
    }

    /// Clears away the inbox and the queue of agents that were deleted, then the agents.
    async fn deleted_agents(
        &self,
        tx: &mut Connection,
        swept: &mut Swept,
        mids: &mut Vec<i64>,
        topics: &mut Vec<Topic>,
    ) -> sqlx::Result<()> {
        let select = Statement::new(
            "SELECT id FROM agents WHERE deleted_at IS NOT NULL ORDER BY deleted_at LIMIT 10",
        );
        for agent in numbers(&tx.rows(select).await?)? {
            let delete = Statement::new(
                "DELETE FROM inbox WHERE mailbox = ? AND seq IN \
                 (SELECT seq FROM inbox WHERE mailbox = ? ORDER BY seq LIMIT ?) RETURNING mid",
            )
            .bind(agent)
            .bind(agent)
            .bind(STEP);
            let gone = numbers(&tx.rows(delete).await?)?;
            let open = self.fail_open(tx, agent, topics).await?;
            tally(swept, gone.len());
            tally(swept, open);
            if gone.is_empty() && open == 0 {
                tx.run(Statement::new("DELETE FROM agents WHERE id = ?").bind(agent))
                    .await?;
                swept.rows += 1;
            }
            mids.extend(gone);
        }
        Ok(())
    }

    /// Fails the deliveries that still wait for a deleted agent.
    async fn fail_open(
        &self,
        tx: &mut Connection,
        agent: i64,
        topics: &mut Vec<Topic>,
    ) -> sqlx::Result<usize> {
        let delete = Statement::new(
            "DELETE FROM deliveries WHERE seq IN (SELECT seq FROM deliveries WHERE party = ? ORDER BY seq LIMIT ?) \
             RETURNING mid, recipient, attempts, shard",
        )
        .bind(agent)
        .bind(STEP);
        let mut history: Vec<Vec<Value>> = Vec::new();
        for row in tx.rows(delete).await? {
            let mid = row.int(0)?;
            topics.push(Topic::Message(mid));
            let failed = Settled {
                mid,
                recipient: row.text(1)?,
                party: agent,
                state: settled::FAILED,
                settled_at: self.now.as_millis(),
                delivered_at: None,
                acknowledged_at: None,
                attempts: row.int(2)?,
                error_code: Some(ErrorCode::AgentUnknown.as_str().to_owned()),
                remote: None,
            };
            history.push(failed.row());
        }
        let count = history.len();
        tx.insert(settled::INSERT, settled::WIDTH, history).await?;
        Ok(count)
    }

    async fn idempotency(&self, tx: &mut Connection, swept: &mut Swept) -> sqlx::Result<()> {
        let delete = Statement::new(
            "DELETE FROM idempotency WHERE (slice, k) IN \
             (SELECT slice, k FROM idempotency WHERE slice < ? ORDER BY slice, k LIMIT ?)",
        )
        .bind(claims::oldest_slice(self.now))
        .bind(STEP);
        let gone = tx.run(delete).await?;
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

    async fn ended(&self, tx: &mut Connection, swept: &mut Swept) -> sqlx::Result<()> {
        for text in [
            "DELETE FROM api_keys WHERE expires_at < ?",
            "DELETE FROM enrolment_tokens WHERE expires_at < ?",
        ] {
            swept.rows += tx
                .run(Statement::new(text).bind(self.before(ENDED)))
                .await?;
        }
        Ok(())
    }
}

fn tally(swept: &mut Swept, gone: usize) {
    swept.rows += u64::try_from(gone).unwrap_or(u64::MAX);
    swept.more |= i64::try_from(gone).unwrap_or(i64::MAX) >= STEP;
}

/// Removes those of the messages that no row speaks of any more.
async fn forget_messages(tx: &mut Connection, mut mids: Vec<i64>) -> sqlx::Result<u64> {
    mids.sort_unstable();
    mids.dedup();
    let mut count = 0;
    for chunk in padded(&mids) {
        let marks = places(chunk.len());
        let text = format!(
            "DELETE FROM messages WHERE mid IN ({marks}) \
             AND NOT EXISTS (SELECT 1 FROM inbox WHERE inbox.mid = messages.mid) \
             AND NOT EXISTS (SELECT 1 FROM deliveries WHERE deliveries.mid = messages.mid) \
             AND NOT EXISTS (SELECT 1 FROM settled WHERE settled.mid = messages.mid) RETURNING mid"
        );
        let gone = numbers(&tx.rows(Statement::new(text).bind_all(chunk)).await?)?;
        count += u64::try_from(gone.len()).unwrap_or(u64::MAX);
        for chunk in padded(&gone) {
            let marks = places(chunk.len());
            let bodies = Statement::new(format!("DELETE FROM bodies WHERE mid IN ({marks})"));
            tx.run(bodies.bind_all(chunk.clone())).await?;
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
