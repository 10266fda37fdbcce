//! Keys of those who run the gateway: only the hash of a key is kept.

use super::Store;
use super::committer::Verb;
use super::error::StoreError;
use super::sql::{Connection, Row, Statement};
use crate::envelope::Role;
use crate::events::Topic;
use crate::protocol::Timestamp;

/// A key to store.
#[derive(Debug, Clone)]
pub struct NewStaffKey {
    /// The public part, by which it is found.
    pub id: String,
    /// SHA-256 of the whole key.
    pub hash: Vec<u8>,
    /// Whose it is, as the audit names it.
    pub name: String,
    /// What it lets its owner do.
    pub role: Role,
    /// When it was made.
    pub now: Timestamp,
    /// When it ends; nothing = it does not.
    pub expires_at: Option<Timestamp>,
}

/// A stored key.
#[derive(Debug, Clone)]
pub struct StaffKey {
    /// The public part.
    pub id: String,
    /// SHA-256 of the whole key.
    pub hash: Vec<u8>,
    /// Whose it is.
    pub name: String,
    /// What it lets its owner do.
    pub role: Role,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends; nothing = it does not.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<Timestamp>,
}

const SELECT: &str =
    "SELECT id, hash, name, role, created_at, expires_at, last_used_at FROM staff_keys";

impl Store {
    /// Stores a key. Answers whether there was room for one: there are at most a thousand.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn create_staff_key(&self, new: NewStaffKey) -> Result<bool, StoreError> {
        self.0.committing.commit(Create(new)).await
    }

    /// The key with this public part. Never from memory: who is revoked is out at once.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_staff_key(&self, id: &str) -> Result<Option<StaffKey>, StoreError> {
        let mut reader = self.reader().await?;
        let statement = Statement::new(format!("{SELECT} WHERE id = ?")).bind(id);
        reader
            .row(statement)
            .await?
            .map(|row| key(&row))
            .transpose()
    }

    /// All keys, oldest first, at most a thousand.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_staff_keys(&self) -> Result<Vec<StaffKey>, StoreError> {
        let mut reader = self.reader().await?;
        let statement = Statement::new(format!("{SELECT} ORDER BY created_at, id LIMIT {MOST}"));
        reader.rows(statement).await?.iter().map(key).collect()
    }

    /// Ends a key at once. Answers whose it was.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn revoke_staff_key(&self, id: String) -> Result<Option<String>, StoreError> {
        self.0.committing.commit(Revoke(id)).await
    }
}

const MOST: i64 = 1_000;

fn key(row: &Row) -> Result<StaffKey, StoreError> {
    let role = row.text(3)?;
    Ok(StaffKey {
        id: row.text(0)?,
        hash: row.bytes(1)?,
        name: row.text(2)?,
        role: Role::parse(&role)
            .ok_or_else(|| StoreError::Corrupt(format!("role {role:?} of a staff key")))?,
        created_at: Timestamp::from_millis(row.int(4)?),
        expires_at: row.maybe_int(5)?.map(Timestamp::from_millis),
        last_used_at: row.maybe_int(6)?.map(Timestamp::from_millis),
    })
}

struct Create(NewStaffKey);

impl Verb for Create {
    type Answer = bool;

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<bool> {
        let new = &self.0;
        let count = tx
            .row(Statement::new("SELECT count(*) FROM staff_keys"))
            .await?;
        if count.map_or(Ok(0), |row| row.int(0))? >= MOST {
            return Ok(false);
        }
        let insert = Statement::new(
            "INSERT INTO staff_keys (id, hash, name, role, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(new.id.as_str())
        .bind(new.hash.as_slice())
        .bind(new.name.as_str())
        .bind(new.role.as_str())
        .bind(new.now.as_millis())
        .bind(new.expires_at.map(Timestamp::as_millis));
        tx.run(insert).await?;
        Ok(true)
    }
}

struct Revoke(String);

impl Verb for Revoke {
    type Answer = Option<String>;

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<Option<String>> {
        let delete = Statement::new("DELETE FROM staff_keys WHERE id = ? RETURNING name")
            .bind(self.0.as_str());
        tx.row(delete).await?.map(|row| row.text(0)).transpose()
    }
}
