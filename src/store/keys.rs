//! API keys of agents: only the hash of a key is kept.

use std::sync::Arc;

use super::Store;
use super::committer::Verb;
use super::error::StoreError;
use super::sql::{Connection, Row, Statement};
use crate::events::Topic;
use crate::protocol::Timestamp;

/// A key to store.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// The public part, by which it is found.
    pub id: String,
    /// SHA-256 of the whole key.
    pub hash: Vec<u8>,
}

/// A stored key.
#[derive(Debug, Clone)]
pub struct ApiKey {
    /// The public part.
    pub id: String,
    /// The agent it speaks for.
    pub agent: i64,
    /// That agent's address.
    pub address: String,
    /// Whether that agent is active.
    pub agent_active: bool,
    /// SHA-256 of the whole key.
    pub hash: Vec<u8>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends; nothing = it does not.
    pub expires_at: Option<Timestamp>,
}

const SELECT: &str = "SELECT k.id, k.agent, a.name || '@' || a.domain, a.active, k.hash, k.created_at, k.expires_at \
     FROM api_keys k JOIN agents a ON a.id = k.agent";

impl Store {
    /// The key with this public part, from memory where it was used in the last seconds.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_key(&self, id: &str) -> Result<Option<Arc<ApiKey>>, StoreError> {
        if let Some(known) = self.0.keys.get(id).await {
            return Ok(known);
        }
        let mut reader = self.reader().await?;
        let statement = Statement::new(format!("{SELECT} WHERE k.id = ?")).bind(id);
        let found = reader
            .row(statement)
            .await?
            .map(|row| key(&row))
            .transpose()?
            .map(Arc::new);
        self.0.keys.insert(id.to_owned(), found.clone()).await;
        Ok(found)
    }

    /// All keys of an agent, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_keys(&self, agent: i64) -> Result<Vec<ApiKey>, StoreError> {
        let mut reader = self.reader().await?;
        let statement = Statement::new(format!(
            "{SELECT} WHERE k.agent = ? ORDER BY k.created_at, k.id"
        ))
        .bind(agent);
        Ok(reader
            .rows(statement)
            .await?
            .iter()
            .map(key)
            .collect::<sqlx::Result<_>>()?)
    }

    /// Gives an agent a new key; the others end at `others_end` unless they end before.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn rotate_key(
        &self,
        agent: i64,
        new: NewKey,
        others_end: Timestamp,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.0
            .committing
            .commit(RotateKey {
                agent,
                new,
                others_end,
                now,
            })
            .await?;
        self.0.keys.invalidate_all();
        Ok(())
    }

    /// Ends a key of an agent at once. Answers whether it was there.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn revoke_key(&self, agent: i64, id: String) -> Result<bool, StoreError> {
        let revoked = self.0.committing.commit(RevokeKey { agent, id }).await?;
        self.0.keys.invalidate_all();
        Ok(revoked)
    }
}

fn key(row: &Row) -> sqlx::Result<ApiKey> {
    Ok(ApiKey {
        id: row.text(0)?,
        agent: row.int(1)?,
        address: row.text(2)?,
        agent_active: row.int(3)? != 0,
        hash: row.bytes(4)?,
        created_at: Timestamp::from_millis(row.int(5)?),
        expires_at: row.maybe_int(6)?.map(Timestamp::from_millis),
    })
}

/// Stores a key inside a running transaction.
pub(super) async fn insert(
    tx: &mut Connection,
    agent: i64,
    new: &NewKey,
    now: Timestamp,
) -> sqlx::Result<()> {
    let insert =
        Statement::new("INSERT INTO api_keys (id, agent, hash, created_at) VALUES (?, ?, ?, ?)")
            .bind(new.id.as_str())
            .bind(agent)
            .bind(new.hash.as_slice())
            .bind(now.as_millis());
    tx.run(insert).await.map(drop)
}

struct RotateKey {
    agent: i64,
    new: NewKey,
    others_end: Timestamp,
    now: Timestamp,
}

impl Verb for RotateKey {
    type Answer = ();

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<()> {
        let end = Statement::new(
            "UPDATE api_keys SET expires_at = ? WHERE agent = ? AND (expires_at IS NULL OR expires_at > ?)",
        )
        .bind(self.others_end.as_millis())
        .bind(self.agent)
        .bind(self.others_end.as_millis());
        tx.run(end).await?;
        insert(tx, self.agent, &self.new, self.now).await
    }
}

struct RevokeKey {
    agent: i64,
    id: String,
}

impl Verb for RevokeKey {
    type Answer = bool;

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<bool> {
        let delete = Statement::new("DELETE FROM api_keys WHERE agent = ? AND id = ?")
            .bind(self.agent)
            .bind(self.id.as_str());
        Ok(tx.run(delete).await? > 0)
    }
}
