//! What a gateway does for its sessions, and for those of gateways that are gone, now and then.

use uuid::Uuid;

use super::ending::{self, End, Which};
use crate::events::Topic;
use crate::protocol::Timestamp;
use crate::store::Store;
use crate::store::committer::Verb;
use crate::store::error::StoreError;
use crate::store::inbox::lock;
use crate::store::shards::PRESENT;
use crate::store::sql::{Connection, Row, Statement, padded, places};

/// A gateway that was not seen for so long, by the database's clock, has lost its sessions.
const GONE: i64 = 15_000;
/// A session that its gateway does not know of is given up after so many milliseconds: it may be
/// about to be known.
const UNKNOWN: i64 = 60_000;
/// Sessions dealt with in one commit.
const STEP: i64 = 500;

/// What a gateway knows of its sessions.
#[derive(Debug, Clone)]
pub struct Tending {
    /// The gateway.
    pub node: Uuid,
    /// The numbers of the sessions it holds.
    pub held: Vec<i64>,
    /// Those of them whose other side gave a sign of life since the last time.
    pub heard: Vec<i64>,
    /// Detached sessions end that are detached since before this moment.
    pub detached_before: Timestamp,
    /// The present moment.
    pub now: Timestamp,
    /// The same where it goes before the database's clock.
    pub set_by_hand: Option<Timestamp>,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tended {
    /// Sessions that were detached because nobody holds them.
    pub detached: usize,
    /// Sessions whose time was over.
    pub ended: usize,
}

impl Store {
    /// Notes who was heard, detaches sessions that nobody holds any more, and ends those whose time
    /// is over.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tend_sessions(&self, tending: Tending) -> Result<Tended, StoreError> {
        self.0.committing.commit(Tend(tending)).await
    }

    /// Detaches all sessions that a gateway holds.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn detach_all(&self, node: Uuid, now: Timestamp) -> Result<(), StoreError> {
        self.0.committing.commit(DetachAll { node, now }).await
    }
}

struct Tend(Tending);

impl Verb for Tend {
    type Answer = Tended;

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<Tended> {
        let it = &self.0;
        for chunk in padded(&it.heard) {
            let text = format!(
                "UPDATE sessions SET seen_at = ? WHERE number IN ({}) AND closing IS NULL",
                places(chunk.len())
            );
            let seen = Statement::new(text).bind(it.now.as_millis());
            tx.run(seen.bind_all(chunk)).await?;
        }
        let left = self.left(tx).await?;
        for session in &left {
            lock(tx, session.2).await?;
            ending::detach(tx, *session, it.now, topics).await?;
        }
        let over = self.over(tx).await?;
        for (number, _, mailbox) in &over {
            lock(tx, *mailbox).await?;
            ending::end(tx, (*number, *mailbox), &End::Forgotten, it.now, topics).await?;
        }
        self.keys(tx, topics).await?;
        Ok(Tended {
            detached: left.len(),
            ended: over.len(),
        })
    }
}

fn sessions(rows: &[Row]) -> sqlx::Result<Vec<(i64, i64, i64)>> {
    let session = |row: &Row| Ok((row.int(0)?, row.int(1)?, row.int(2)?));
    rows.iter().map(session).collect()
}

impl Tend {
    /// Attached sessions that nobody holds: of gateways that are gone, and of this one if it does not
    /// know them.
    async fn left(&self, tx: &mut Connection) -> sqlx::Result<Vec<(i64, i64, i64)>> {
        const SELECT: &str =
            "SELECT number, epoch, mailbox FROM sessions WHERE detached_at IS NULL";
        let it = &self.0;
        let node = it.node.to_string();
        let own = Statement::new(format!("{SELECT} AND node = ? AND attached_at < ?"))
            .bind(node.as_str())
            .bind(it.now.as_millis() - UNKNOWN);
        let mut left = sessions(&tx.rows(own).await?)?;
        let held: std::collections::HashSet<i64> = it.held.iter().copied().collect();
        left.retain(|(number, ..)| !held.contains(number));
        let others = format!("{SELECT} AND node <> ?");
        let others = if tx.is_postgres() {
            let text = format!(
                "{others} AND node NOT IN (SELECT g.node FROM gateways g WHERE g.seen_at > {PRESENT} - {GONE}) \
                 ORDER BY number LIMIT {STEP}"
            );
            let now = it.set_by_hand.map(Timestamp::as_millis);
            Statement::new(text).bind(node.as_str()).bind(now)
        } else {
            // A file is used by one process: any other is gone.
            let text = format!("{others} ORDER BY number LIMIT {STEP}");
            Statement::new(text).bind(node.as_str())
        };
        left.extend(sessions(&tx.rows(others).await?)?);
        Ok(left)
    }

    /// Sessions that nobody resumed in time, and those that ended and whose connection never told.
    async fn over(&self, tx: &mut Connection) -> sqlx::Result<Vec<(i64, i64, i64)>> {
        let before = self.0.detached_before.as_millis();
        let select = Statement::new(format!(
            "SELECT number, epoch, mailbox FROM sessions WHERE detached_at <= ? \
             OR (closing IS NOT NULL AND seen_at <= ?) ORDER BY number LIMIT {STEP}"
        ));
        sessions(&tx.rows(select.bind(before).bind(before)).await?)
    }

    /// Ends sessions whose keys have ended.
    async fn keys(&self, tx: &mut Connection, topics: &mut Vec<Topic>) -> sqlx::Result<()> {
        let now = self.0.now;
        let select = Statement::new(
            "SELECT DISTINCT s.key_id FROM sessions s JOIN api_keys k ON k.id = s.key_id \
             WHERE s.closing IS NULL AND k.expires_at <= ?",
        );
        for row in tx.rows(select.bind(now.as_millis())).await? {
            let key = row.text(0)?;
            ending::dismiss(tx, Which::Key(&key), "the key has ended", now, topics).await?;
        }
        Ok(())
    }
}

struct DetachAll {
    node: Uuid,
    now: Timestamp,
}

impl Verb for DetachAll {
    type Answer = ();

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<()> {
        let select = Statement::new(
            "SELECT number, epoch, mailbox FROM sessions WHERE node = ? AND detached_at IS NULL",
        )
        .bind(self.node.to_string());
        for session in sessions(&tx.rows(select).await?)? {
            lock(tx, session.2).await?;
            ending::detach(tx, session, self.now, topics).await?;
        }
        Ok(())
    }
}
