//! The keys that sign tokens, shared by all gateways of a database. Their secret halves are sealed.

use super::Store;
use super::committer::Verb;
use super::error::StoreError;
use super::sql::{Connection, Row, Statement};
use crate::events::Topic;
use crate::protocol::Timestamp;

/// A key that signs tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenKey {
    /// Its name in tokens.
    pub id: String,
    /// The private key, sealed.
    pub sealed: Vec<u8>,
    /// The public key: an uncompressed point of P-256.
    pub public: Vec<u8>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when it signs.
    pub signs_until: Timestamp,
    /// Until when tokens it signed may be good.
    pub ends_at: Timestamp,
}

const SELECT: &str = "SELECT id, sealed, public, created_at, signs_until, ends_at FROM token_keys";

impl Store {
    /// The keys that are not over, the newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn token_keys(&self, now: Timestamp) -> Result<Vec<TokenKey>, StoreError> {
        let mut reader = self.reader().await?;
        let statement = Statement::new(format!(
            "{SELECT} WHERE ends_at > ? ORDER BY created_at DESC, id LIMIT 100"
        ))
        .bind(now.as_millis());
        let rows = reader.rows(statement).await?;
        Ok(rows.iter().map(key).collect::<sqlx::Result<_>>()?)
    }

    /// Stores a key unless there is one that signs until `enough` already, which another gateway
    /// made; takes away those that are over.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn add_token_key(&self, key: TokenKey, enough: Timestamp) -> Result<(), StoreError> {
        self.0.committing.commit(Add(key, enough)).await
    }
}

fn key(row: &Row) -> sqlx::Result<TokenKey> {
    let moment = |column| Ok::<_, sqlx::Error>(Timestamp::from_millis(row.int(column)?));
    Ok(TokenKey {
        id: row.text(0)?,
        sealed: row.bytes(1)?,
        public: row.bytes(2)?,
        created_at: moment(3)?,
        signs_until: moment(4)?,
        ends_at: moment(5)?,
    })
}

struct Add(TokenKey, Timestamp);

impl Verb for Add {
    type Answer = ();

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<()> {
        let Self(key, enough) = self;
        let clear = Statement::new("DELETE FROM token_keys WHERE ends_at <= ?");
        tx.tell(clear.bind(key.created_at.as_millis())).await?;
        let find = Statement::new("SELECT count(*) FROM token_keys WHERE signs_until >= ?")
            .bind(enough.as_millis());
        if tx.row(find).await?.map_or(Ok(0), |row| row.int(0))? > 0 {
            return Ok(());
        }
        let insert = Statement::new(
            "INSERT INTO token_keys (id, sealed, public, created_at, signs_until, ends_at) \
             VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(key.id.as_str())
        .bind(key.sealed.as_slice())
        .bind(key.public.as_slice())
        .bind(key.created_at.as_millis())
        .bind(key.signs_until.as_millis())
        .bind(key.ends_at.as_millis());
        tx.run(insert).await.map(drop)
    }
}
