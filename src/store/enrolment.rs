//! Enrolment tokens: with one, an agent registers itself.

use super::Store;
use super::committer::Verb;
use super::error::StoreError;
use super::sql::{Connection, Row, Statement};
use crate::events::Topic;
use crate::protocol::{Domain, Timestamp};

/// A token to store.
#[derive(Debug, Clone)]
pub struct NewEnrolmentToken {
    /// The public part, by which it is found.
    pub id: String,
    /// SHA-256 of the whole token.
    pub hash: Vec<u8>,
    /// The domain it is good for.
    pub domain: Domain,
    /// The names it is good for, with `*`.
    pub pattern: String,
    /// How many agents it registers.
    pub uses: u32,
    /// When it was made.
    pub now: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// A stored token.
#[derive(Debug, Clone)]
pub struct EnrolmentToken {
    /// The public part.
    pub id: String,
    /// SHA-256 of the whole token.
    pub hash: Vec<u8>,
    /// The domain it is good for.
    pub domain: String,
    /// The names it is good for, with `*`.
    pub pattern: String,
    /// How many agents it still registers.
    pub uses_left: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

const SELECT: &str =
    "SELECT id, hash, domain, pattern, uses_left, created_at, expires_at FROM enrolment_tokens";

impl Store {
    /// Stores a token.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn create_enrolment_token(&self, new: NewEnrolmentToken) -> Result<(), StoreError> {
        self.0.committing.commit(CreateToken(new)).await
    }

    /// The token with this public part.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_enrolment_token(
        &self,
        id: &str,
    ) -> Result<Option<EnrolmentToken>, StoreError> {
        let mut reader = self.reader().await?;
        let found = reader
            .row(Statement::new(format!("{SELECT} WHERE id = ?")).bind(id))
            .await?;
        Ok(found.map(|row| token(&row)).transpose()?)
    }

    /// All tokens, newest first, at most 1,000.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_enrolment_tokens(&self) -> Result<Vec<EnrolmentToken>, StoreError> {
        let mut reader = self.reader().await?;
        let statement = Statement::new(format!("{SELECT} ORDER BY created_at DESC, id LIMIT 1000"));
        Ok(reader
            .rows(statement)
            .await?
            .iter()
            .map(token)
            .collect::<sqlx::Result<_>>()?)
    }

    /// Takes a token back. Answers whether it was there.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn revoke_enrolment_token(&self, id: String) -> Result<bool, StoreError> {
        self.0.committing.commit(RevokeToken(id)).await
    }
}

fn token(row: &Row) -> sqlx::Result<EnrolmentToken> {
    Ok(EnrolmentToken {
        id: row.text(0)?,
        hash: row.bytes(1)?,
        domain: row.text(2)?,
        pattern: row.text(3)?,
        uses_left: row.int(4)?,
        created_at: Timestamp::from_millis(row.int(5)?),
        expires_at: Timestamp::from_millis(row.int(6)?),
    })
}

struct CreateToken(NewEnrolmentToken);

impl Verb for CreateToken {
    type Answer = ();

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<()> {
        let new = &self.0;
        let insert = Statement::new(
            "INSERT INTO enrolment_tokens (id, hash, domain, pattern, uses_left, created_at, expires_at) \
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(new.id.as_str())
        .bind(new.hash.as_slice())
        .bind(new.domain.as_str())
        .bind(new.pattern.as_str())
        .bind(i64::from(new.uses))
        .bind(new.now.as_millis())
        .bind(new.expires_at.as_millis());
        tx.run(insert).await.map(drop)
    }
}

struct RevokeToken(String);

impl Verb for RevokeToken {
    type Answer = bool;

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<bool> {
        let delete =
            Statement::new("DELETE FROM enrolment_tokens WHERE id = ?").bind(self.0.as_str());
        Ok(tx.run(delete).await? > 0)
    }
}
