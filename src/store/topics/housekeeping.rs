//! What becomes too old: publications past what their topic keeps, questions nobody answered,
//! subscriptions of who is gone.

use super::ALL_AGENTS;
use crate::events::Topic;
use crate::protocol::Timestamp;
use crate::store::Store;
use crate::store::committer::Verb;
use crate::store::error::StoreError;
use crate::store::messages::numbers;
use crate::store::retention::forget_messages;
use crate::store::sql::{Connection, Statement};

/// Rows removed in one step.
const STEP: i64 = 500;

/// What a topic keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trim {
    /// The topic's number.
    pub topic: i64,
    /// Publications made before this moment go.
    pub before: Timestamp,
    /// At most so many stay.
    pub keep: i64,
    /// Whether the last one stays in any case.
    pub retain: bool,
}

impl Store {
    /// Topics of which publications are kept, after a number, at most 500.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn topics_with_publications(&self, after: i64) -> Result<Vec<i64>, StoreError> {
        let mut reader = self.reader().await?;
        let statement = Statement::new(
            "SELECT agent FROM topics WHERE agent > ? \
             AND EXISTS (SELECT 1 FROM publications WHERE topic = topics.agent) \
             ORDER BY agent LIMIT ?",
        )
        .bind(after)
        .bind(STEP);
        Ok(numbers(&reader.rows(statement).await?)?)
    }

    /// One step of forgetting publications that a topic does not keep. Answers whether more is
    /// there. What is still being copied, and what somebody is catching up with, stays.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn trim_publications(&self, trim: Trim) -> Result<bool, StoreError> {
        self.0.committing.commit(trim).await
    }

    /// One step of forgetting questions nobody answered, subscriptions of agents that are gone and
    /// requests from before `since`. Answers how many rows went.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tidy_subscriptions(
        &self,
        now: Timestamp,
        since: Timestamp,
    ) -> Result<u64, StoreError> {
        self.0.committing.commit(Tidy { now, since }).await
    }
}

impl Verb for Trim {
    type Answer = bool;

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<bool> {
        let behind =
            Statement::new("SELECT id FROM subscriptions WHERE topic = ? AND state = 2 LIMIT 1")
                .bind(self.topic);
        if tx.row(behind).await?.is_some() {
            return Ok(false);
        }
        let last = super::lock_topic(tx, self.topic).await?;
        let kept = match self.retain {
            true => last,
            false => ALL_AGENTS,
        };
        // One that was given up has no delivery any more, and gets no further copies.
        let delete = Statement::new(
            "DELETE FROM publications WHERE topic = ? AND seq IN (SELECT seq FROM publications p \
             WHERE p.topic = ? AND (p.seq <= ? OR p.published_at < ?) AND p.seq <> ? \
             AND (p.expanded = 1 OR NOT EXISTS \
               (SELECT 1 FROM deliveries d WHERE d.mid = p.mid AND d.party = p.topic)) \
             ORDER BY p.seq LIMIT ?) RETURNING mid",
        )
        .bind(self.topic)
        .bind(self.topic)
        .bind(last.saturating_sub(self.keep))
        .bind(self.before.as_millis())
        .bind(kept)
        .bind(STEP);
        let mids = numbers(&tx.rows(delete).await?)?;
        let more = i64::try_from(mids.len()).unwrap_or(i64::MAX) >= STEP;
        forget_messages(tx, mids).await?;
        Ok(more)
    }
}

struct Tidy {
    now: Timestamp,
    since: Timestamp,
}

impl Verb for Tidy {
    type Answer = u64;

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<u64> {
        let mut removed = 0;
        for (text, moment) in [
            (
                "DELETE FROM subscriptions WHERE expires_at < ? AND state = 0",
                self.now,
            ),
            (
                "DELETE FROM subscription_requests WHERE requested_at < ?",
                self.since,
            ),
        ] {
            let delete = Statement::new(text).bind(moment.as_millis());
            removed += tx.run(delete).await?;
        }
        let gone = Statement::new(
            "DELETE FROM subscriptions WHERE id IN (SELECT s.id FROM subscriptions s \
             WHERE s.agent IS NOT NULL AND NOT EXISTS \
               (SELECT 1 FROM agents a WHERE a.id = s.agent AND a.deleted_at IS NULL) LIMIT ?)",
        )
        .bind(STEP);
        removed += tx.run(gone).await?;
        let topics = Statement::new(
            "DELETE FROM subscriptions WHERE id IN (SELECT s.id FROM subscriptions s \
             WHERE NOT EXISTS \
               (SELECT 1 FROM agents a WHERE a.id = s.topic AND a.deleted_at IS NULL) LIMIT ?)",
        )
        .bind(STEP);
        removed += tx.run(topics).await?;
        let sessions = Statement::new(
            "DELETE FROM subscriptions WHERE id IN (SELECT s.id FROM subscriptions s \
             WHERE s.session IS NOT NULL AND NOT EXISTS \
               (SELECT 1 FROM sessions WHERE sessions.number = s.session) LIMIT ?)",
        )
        .bind(STEP);
        removed += tx.run(sessions).await?;
        Ok(removed)
    }
}
