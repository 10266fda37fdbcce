//! Schemas of payloads that operators stored: identifiers with revisions, each in a state.
//!
//! - A revision is never changed, only its state; a new document is a new revision.
//! - Every change counts the generation up: who keeps schemas in memory reads them again when it
//!   differs.
//! - There are at most 2,000 revisions, so that all that are used can be kept in memory.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Store;
use super::committer::Verb;
use super::error::StoreError;
use super::sql::{Connection, Row, Statement};
use crate::events::Topic;
use crate::protocol::{SchemaId, Timestamp};

/// How many revisions of all schemas together are stored.
const MOST_REVISIONS: i64 = 2_000;

/// What a revision is good for. From one to the next a schema is rolled out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SchemaState {
    /// Kept, and used for nothing.
    Draft,
    /// Payloads are checked against it; a fault is recorded and refuses nothing.
    Accepted,
    /// A payload with a fault is refused.
    Required,
    /// No longer used.
    Retired,
}

impl SchemaState {
    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Accepted => "accepted",
            Self::Required => "required",
            Self::Retired => "retired",
        }
    }
}

/// The word is no state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be draft, accepted, required or retired")]
pub struct SchemaStateFault;

impl FromStr for SchemaState {
    type Err = SchemaStateFault;

    fn from_str(word: &str) -> Result<Self, SchemaStateFault> {
        [Self::Draft, Self::Accepted, Self::Required, Self::Retired]
            .into_iter()
            .find(|state| state.as_str() == word)
            .ok_or(SchemaStateFault)
    }
}

/// A document to store under an identifier.
#[derive(Debug, Clone)]
pub struct NewSchema {
    /// The identifier.
    pub id: SchemaId,
    /// The state of the new revision.
    pub state: SchemaState,
    /// The text of the document.
    pub document: Vec<u8>,
    /// SHA-256 of the document.
    pub sha256: Vec<u8>,
    /// Who stores it, for people.
    pub changed_by: String,
    /// The present moment.
    pub now: Timestamp,
}

/// What storing came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutSchema {
    /// A new revision of this number.
    Stored(i64),
    /// The newest revision is this document already; only its state was set.
    Same(i64),
    /// There are as many revisions as may be.
    TooMany,
}

/// A stored revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSchema {
    /// The identifier.
    pub id: String,
    /// Which revision, from 1.
    pub revision: i64,
    /// What it is good for.
    pub state: SchemaState,
    /// The text of the document; empty where only a list was asked for.
    pub document: Vec<u8>,
    /// SHA-256 of the document.
    pub sha256: Vec<u8>,
    /// When it was stored.
    pub created_at: Timestamp,
    /// When its state was last set.
    pub changed_at: Timestamp,
    /// Who did so.
    pub changed_by: String,
}

const META: &str = "id, revision, state, sha256, created_at, changed_at, changed_by";

impl Store {
    /// Stores a document as the newest revision of its identifier.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_schema(&self, new: NewSchema) -> Result<PutSchema, StoreError> {
        self.0.committing.commit(Put(new)).await
    }

    /// Sets the state of a revision. Answers whether it was there.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn set_schema_state(
        &self,
        (id, revision): (&SchemaId, i64),
        state: SchemaState,
        changed_by: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let verb = SetState {
            id: id.as_str().to_owned(),
            revision,
            state,
            changed_by: changed_by.to_owned(),
            now,
        };
        self.0.committing.commit(verb).await
    }

    /// Removes a revision, or all of an identifier. Answers how many went.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn remove_schema(
        &self,
        id: &SchemaId,
        revision: Option<i64>,
    ) -> Result<u64, StoreError> {
        let id = id.as_str().to_owned();
        self.0.committing.commit(Remove { id, revision }).await
    }

    /// A revision, or the newest one, with its document.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_schema(
        &self,
        id: &SchemaId,
        revision: Option<i64>,
    ) -> Result<Option<StoredSchema>, StoreError> {
        let mut reader = self.reader().await?;
        let select = format!("SELECT {META}, document FROM schemas");
        let order = "ORDER BY revision DESC LIMIT 1";
        let statement = of_one((&select, order), id.as_str(), revision);
        let found = reader.row(statement).await?;
        found.map(|row| with_document(&row)).transpose()
    }

    /// Revisions in the order of identifiers and numbers, after `after`, at most `limit`; without
    /// their documents.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_schemas(
        &self,
        after: Option<(&str, i64)>,
        limit: usize,
    ) -> Result<Vec<StoredSchema>, StoreError> {
        let (id, revision) = after.unwrap_or(("", 0));
        let mut reader = self.reader().await?;
        let statement = Statement::new(format!(
            "SELECT {META} FROM schemas WHERE (id, revision) > (?, ?) ORDER BY id, revision LIMIT ?"
        ))
        .bind(id)
        .bind(revision)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        reader.rows(statement).await?.iter().map(meta).collect()
    }

    /// A number that differs after every change of any schema.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn schema_generation(&self) -> Result<i64, StoreError> {
        let mut reader = self.reader().await?;
        let statement = Statement::new("SELECT generation FROM schema_generation WHERE one = 1");
        let row = reader.row(statement).await?;
        Ok(row.map(|row| row.int(0)).transpose()?.unwrap_or(0))
    }
}

/// A statement about an identifier, or one revision of it.
fn of_one((head, tail): (&str, &str), id: &str, revision: Option<i64>) -> Statement {
    match revision {
        None => Statement::new(format!("{head} WHERE id = ? {tail}")).bind(id),
        Some(revision) => {
            let text = format!("{head} WHERE id = ? AND revision = ? {tail}");
            Statement::new(text).bind(id).bind(revision)
        }
    }
}

fn meta(row: &Row) -> Result<StoredSchema, StoreError> {
    let state = row.text(2)?;
    Ok(StoredSchema {
        id: row.text(0)?,
        revision: row.int(1)?,
        state: state
            .parse()
            .map_err(|_| StoreError::Corrupt(format!("schemas.state {state:?}")))?,
        document: Vec::new(),
        sha256: row.bytes(3)?,
        created_at: Timestamp::from_millis(row.int(4)?),
        changed_at: Timestamp::from_millis(row.int(5)?),
        changed_by: row.text(6)?,
    })
}

fn with_document(row: &Row) -> Result<StoredSchema, StoreError> {
    Ok(StoredSchema {
        document: row.bytes(7)?,
        ..meta(row)?
    })
}

async fn count_up(tx: &mut Connection) -> sqlx::Result<()> {
    let update =
        Statement::new("UPDATE schema_generation SET generation = generation + 1 WHERE one = 1");
    tx.run(update).await.map(drop)
}

struct Put(NewSchema);

impl Put {
    async fn set_state(&self, tx: &mut Connection, revision: i64) -> sqlx::Result<()> {
        let new = &self.0;
        let verb = SetState {
            id: new.id.as_str().to_owned(),
            revision,
            state: new.state,
            changed_by: new.changed_by.clone(),
            now: new.now,
        };
        verb.set(tx).await.map(drop)
    }
}

impl Verb for Put {
    type Answer = PutSchema;

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<PutSchema> {
        let new = &self.0;
        // First of all: on PostgreSQL this row makes changes wait for one another.
        count_up(tx).await?;
        let newest = Statement::new(
            "SELECT revision, sha256 FROM schemas WHERE id = ? ORDER BY revision DESC LIMIT 1",
        )
        .bind(new.id.as_str());
        let mut last = 0;
        if let Some(row) = tx.row(newest).await? {
            last = row.int(0)?;
            if row.bytes(1)? == new.sha256 {
                self.set_state(tx, last).await?;
                return Ok(PutSchema::Same(last));
            }
        }
        let all = tx
            .row(Statement::new("SELECT count(*) FROM schemas"))
            .await?;
        if all.map(|row| row.int(0)).transpose()?.unwrap_or(0) >= MOST_REVISIONS {
            return Ok(PutSchema::TooMany);
        }
        let insert = Statement::new(
            "INSERT INTO schemas (id, revision, state, document, sha256, created_at, changed_at, changed_by) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(new.id.as_str())
        .bind(last + 1)
        .bind(new.state.as_str())
        .bind(new.document.as_slice())
        .bind(new.sha256.as_slice())
        .bind(new.now.as_millis())
        .bind(new.now.as_millis())
        .bind(new.changed_by.as_str());
        tx.run(insert).await?;
        Ok(PutSchema::Stored(last + 1))
    }
}

struct SetState {
    id: String,
    revision: i64,
    state: SchemaState,
    changed_by: String,
    now: Timestamp,
}

impl SetState {
    async fn set(&self, tx: &mut Connection) -> sqlx::Result<bool> {
        let update = Statement::new(
            "UPDATE schemas SET state = ?, changed_at = ?, changed_by = ? WHERE id = ? AND revision = ?",
        )
        .bind(self.state.as_str())
        .bind(self.now.as_millis())
        .bind(self.changed_by.as_str())
        .bind(self.id.as_str())
        .bind(self.revision);
        Ok(tx.run(update).await? > 0)
    }
}

impl Verb for SetState {
    type Answer = bool;

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<bool> {
        count_up(tx).await?;
        self.set(tx).await
    }
}

struct Remove {
    id: String,
    revision: Option<i64>,
}

impl Verb for Remove {
    type Answer = u64;

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<u64> {
        count_up(tx).await?;
        let delete = ("DELETE FROM schemas", "");
        tx.run(of_one(delete, &self.id, self.revision)).await
    }
}
