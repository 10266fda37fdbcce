//! API keys of agents: only the hash of a key is kept.

use std::sync::Arc;

use super::Store;
use super::committer::Verb;
use super::error::StoreError;
use super::sessions::{self, Which};
use super::sql::{Connection, Row, Statement};
use crate::envelope::Scopes;
use crate::events::Topic;
use crate::protocol::Timestamp;

/// A key to store.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// The public part, by which it is found.
    pub id: String,
    /// SHA-256 of the whole key.
    pub hash: Vec<u8>,
    /// What it is good for.
    pub grant: Grant,
}

/// What a key is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// What it may do.
    pub scopes: Scopes,
    /// The name of its limits in the configuration; nothing = the usual ones.
    pub tier: Option<String>,
    /// What its owner calls it.
    pub label: Option<String>,
    /// When it ends; nothing = it does not.
    pub expires_at: Option<Timestamp>,
}

impl Default for Grant {
    /// Everything, without an end.
    fn default() -> Self {
        Self {
            scopes: Scopes::ALL,
            tier: None,
            label: None,
            expires_at: None,
        }
    }
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
    /// What it is good for.
    pub grant: Grant,
    /// When it was last used, to the minute.
    pub last_used_at: Option<Timestamp>,
}

/// The most keys of one agent.
pub const MOST_KEYS: i64 = 100;

const SELECT: &str = "SELECT k.id, k.agent, a.name || '@' || a.domain, a.active, k.hash, k.created_at, k.expires_at, \
     k.scopes, k.tier, k.label, k.last_used_at FROM api_keys k JOIN agents a ON a.id = k.agent";

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

    /// Gives an agent a new key in place of one, which ends at `ends` unless it ends before; where
    /// none is named, of all. Answers whether there was such a key. The new key is good for what the
    /// named one was.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn rotate_key(
        &self,
        (agent, old): (i64, Option<String>),
        new: NewKey,
        ends: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let rotation = RotateKey {
            agent,
            old,
            new,
            ends,
            now,
        };
        let rotated = self.0.committing.commit(rotation).await?;
        self.0.keys.invalidate_all();
        Ok(rotated)
    }

    /// Gives an agent one more key. Answers whether it had room for one: there are at most
    /// [`MOST_KEYS`].
    ///
    /// # Errors
    /// When the database fails.
    pub async fn add_key(
        &self,
        agent: i64,
        new: NewKey,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let verb = AddKey { agent, new, now };
        self.0.committing.commit(verb).await
    }

    /// Keeps a key under another id and hash from now on. It goes where its agent has that one
    /// already; nothing happens where it is gone.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn rehash_key(&self, id: &str, new: (String, Vec<u8>)) -> Result<(), StoreError> {
        let verb = RehashKey {
            id: id.to_owned(),
            new,
        };
        self.0.committing.commit(verb).await?;
        self.0.keys.invalidate_all();
        Ok(())
    }

    /// Notes when keys were last used.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_use(&self, seen: Vec<(String, Timestamp)>) -> Result<(), StoreError> {
        self.0.committing.commit(NoteUse(seen)).await
    }

    /// Ends a key of an agent at once, and the sessions opened with it. Answers whether it was there.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn revoke_key(
        &self,
        agent: i64,
        id: String,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let verb = RevokeKey { agent, id, now };
        let revoked = self.0.committing.commit(verb).await?;
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
        grant: Grant {
            scopes: Scopes::from_code(row.int(7)?),
            tier: row.maybe_text(8)?,
            label: row.maybe_text(9)?,
            expires_at: row.maybe_int(6)?.map(Timestamp::from_millis),
        },
        last_used_at: row.maybe_int(10)?.map(Timestamp::from_millis),
    })
}

/// Stores a key inside a running transaction.
pub(super) async fn insert(
    tx: &mut Connection,
    agent: i64,
    new: &NewKey,
    now: Timestamp,
) -> sqlx::Result<()> {
    let insert = Statement::new(
        "INSERT INTO api_keys (id, agent, hash, created_at, expires_at, scopes, tier, label) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(new.id.as_str())
    .bind(agent)
    .bind(new.hash.as_slice())
    .bind(now.as_millis())
    .bind(new.grant.expires_at.map(Timestamp::as_millis))
    .bind(new.grant.scopes.code())
    .bind(new.grant.tier.as_deref())
    .bind(new.grant.label.as_deref());
    tx.run(insert).await.map(drop)
}

struct RotateKey {
    agent: i64,
    old: Option<String>,
    new: NewKey,
    ends: Timestamp,
    now: Timestamp,
}

impl Verb for RotateKey {
    type Answer = bool;

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<bool> {
        let mut new = self.new.clone();
        let mut condition = String::new();
        if let Some(old) = &self.old {
            let find = Statement::new(format!("{SELECT} WHERE k.agent = ? AND k.id = ?"))
                .bind(self.agent)
                .bind(old.as_str());
            let Some(row) = tx.row(find).await? else {
                return Ok(false);
            };
            new.grant = key(&row)?.grant;
            condition.push_str(" AND id = ?");
        }
        let end = Statement::new(format!(
            "UPDATE api_keys SET expires_at = ? WHERE agent = ? AND (expires_at IS NULL OR expires_at > ?){condition}",
        ))
        .bind(self.ends.as_millis())
        .bind(self.agent)
        .bind(self.ends.as_millis())
        .bind_all(self.old.as_deref());
        tx.run(end).await?;
        insert(tx, self.agent, &new, self.now).await?;
        Ok(true)
    }
}

struct AddKey {
    agent: i64,
    new: NewKey,
    now: Timestamp,
}

impl Verb for AddKey {
    type Answer = bool;

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<bool> {
        let count =
            Statement::new("SELECT count(*) FROM api_keys WHERE agent = ?").bind(self.agent);
        let held = match tx.row(count).await? {
            Some(row) => row.int(0)?,
            None => 0,
        };
        if held >= MOST_KEYS {
            return Ok(false);
        }
        insert(tx, self.agent, &self.new, self.now).await?;
        Ok(true)
    }
}

struct RehashKey {
    id: String,
    new: (String, Vec<u8>),
}

impl Verb for RehashKey {
    type Answer = ();

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<()> {
        let (id, hash) = &self.new;
        let update = Statement::new(
            "UPDATE api_keys SET id = ?, hash = ? WHERE id = ? \
             AND NOT EXISTS (SELECT 1 FROM api_keys k WHERE k.id = ?)",
        )
        .bind(id.as_str())
        .bind(hash.as_slice())
        .bind(self.id.as_str())
        .bind(id.as_str());
        if tx.run(update).await? > 0 {
            return Ok(());
        }
        let remove = Statement::new(
            "DELETE FROM api_keys WHERE id = ? AND id <> ? \
             AND agent = (SELECT k.agent FROM api_keys k WHERE k.id = ?)",
        )
        .bind(self.id.as_str())
        .bind(id.as_str())
        .bind(id.as_str());
        tx.run(remove).await.map(drop)
    }
}

struct NoteUse(Vec<(String, Timestamp)>);

impl Verb for NoteUse {
    type Answer = ();

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<()> {
        for (id, at) in &self.0 {
            for table in ["api_keys", "staff_keys"] {
                let update = Statement::new(format!(
                    "UPDATE {table} SET last_used_at = ? WHERE id = ? AND coalesce(last_used_at, 0) < ?"
                ));
                let at = at.as_millis();
                tx.tell(update.bind(at).bind(id.as_str()).bind(at)).await?;
            }
        }
        Ok(())
    }
}

struct RevokeKey {
    agent: i64,
    id: String,
    now: Timestamp,
}

impl Verb for RevokeKey {
    type Answer = bool;

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<bool> {
        let delete = Statement::new("DELETE FROM api_keys WHERE agent = ? AND id = ?")
            .bind(self.agent)
            .bind(self.id.as_str());
        let found = tx.run(delete).await? > 0;
        if found {
            let reason = "the key was revoked";
            sessions::dismiss(tx, Which::Key(&self.id), reason, self.now, topics).await?;
        }
        Ok(found)
    }
}
