//! The keys that sign tokens, and those that sign cards of A2A, shared by all gateways of a database.
//! Their secret halves are sealed.

use super::Store;
use super::committer::Verb;
use super::error::StoreError;
use super::sql::{Connection, Row, Statement};
use crate::events::Topic;
use crate::protocol::Timestamp;

/// What a key signs: the keys of each stand by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyUse {
    /// Tokens.
    Tokens,
    /// Cards of A2A.
    Cards,
}

impl KeyUse {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Tokens, Self::Cards];

    /// What the private halves are sealed for.
    #[must_use]
    pub const fn purpose(self) -> &'static str {
        match self {
            Self::Tokens => "token-key",
            Self::Cards => "card-key",
        }
    }

    pub(super) const fn table(self) -> &'static str {
        match self {
            Self::Tokens => "token_keys",
            Self::Cards => "card_keys",
        }
    }
}

/// A key that signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// Its name in what it signed.
    pub id: String,
    /// The private key, sealed.
    pub sealed: Vec<u8>,
    /// The public key: an uncompressed point of P-256.
    pub public: Vec<u8>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when it signs.
    pub signs_until: Timestamp,
    /// Until when others may need its public half.
    pub ends_at: Timestamp,
}

const SELECT: &str = "SELECT id, sealed, public, created_at, signs_until, ends_at FROM";

impl Store {
    /// The keys that are not over, the newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn signing_keys(
        &self,
        of: KeyUse,
        now: Timestamp,
    ) -> Result<Vec<SigningKey>, StoreError> {
        let mut reader = self.reader().await?;
        let statement = Statement::new(format!(
            "{SELECT} {} WHERE ends_at > ? ORDER BY created_at DESC, id LIMIT 100",
            of.table()
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
    pub async fn add_signing_key(
        &self,
        of: KeyUse,
        key: SigningKey,
        enough: Timestamp,
    ) -> Result<(), StoreError> {
        self.0.committing.commit(Add(of, key, enough)).await
    }
}

fn key(row: &Row) -> sqlx::Result<SigningKey> {
    let moment = |column| Ok::<_, sqlx::Error>(Timestamp::from_millis(row.int(column)?));
    Ok(SigningKey {
        id: row.text(0)?,
        sealed: row.bytes(1)?,
        public: row.bytes(2)?,
        created_at: moment(3)?,
        signs_until: moment(4)?,
        ends_at: moment(5)?,
    })
}

struct Add(KeyUse, SigningKey, Timestamp);

impl Verb for Add {
    type Answer = ();

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<()> {
        let Self(of, key, enough) = self;
        let table = of.table();
        let clear = Statement::new(format!("DELETE FROM {table} WHERE ends_at <= ?"));
        tx.tell(clear.bind(key.created_at.as_millis())).await?;
        let find = Statement::new(format!(
            "SELECT count(*) FROM {table} WHERE signs_until >= ?"
        ))
        .bind(enough.as_millis());
        if tx.row(find).await?.map_or(Ok(0), |row| row.int(0))? > 0 {
            return Ok(());
        }
        let insert = Statement::new(format!(
            "INSERT INTO {table} (id, sealed, public, created_at, signs_until, ends_at) \
             VALUES (?, ?, ?, ?, ?, ?)"
        ))
        .bind(key.id.as_str())
        .bind(key.sealed.as_slice())
        .bind(key.public.as_slice())
        .bind(key.created_at.as_millis())
        .bind(key.signs_until.as_millis())
        .bind(key.ends_at.as_millis());
        tx.run(insert).await.map(drop)
    }
}
