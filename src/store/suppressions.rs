//! Addresses that no mail is sent to any more.
//!
//! An address stands here after mail to it came back for good, or after its owner complained. Who goes
//! on sending to such addresses is soon believed by nobody. An operator sees the list and releases
//! single addresses.

use super::Store;
use super::committer::Verb;
use super::error::StoreError;
use super::sql::{Connection, Row, Statement};
use crate::events::Topic;
use crate::protocol::{Address, Timestamp};

/// Why an address is on the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Because {
    /// A server said for good that there is no such mailbox.
    HardBounce,
    /// Its owner said that mail was not wanted.
    Complaint,
}

impl Because {
    /// The word operators see.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HardBounce => "hard-bounce",
            Self::Complaint => "complaint",
        }
    }

    const fn code(self) -> i64 {
        match self {
            Self::HardBounce => 0,
            Self::Complaint => 1,
        }
    }

    const fn from_code(code: i64) -> Self {
        match code {
            0 => Self::HardBounce,
            _ => Self::Complaint,
        }
    }
}

/// An address on the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression {
    /// The address, lower-cased.
    pub address: String,
    /// Why it is there.
    pub because: Because,
    /// What was said, at most 500 bytes.
    pub text: String,
    /// Since when.
    pub since: Timestamp,
    /// The message that brought it there, as long as that is kept.
    pub message_id: Option<String>,
}

const SELECT: &str = "SELECT s.address, s.because, s.text, s.since, m.message_id FROM mail_suppressions s \
                      LEFT JOIN messages m ON m.mid = s.mid";

impl Store {
    /// Puts an address on the list; one that stands there stays as it is. `mid` is the message that
    /// came back.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn suppress(
        &self,
        address: &Address,
        (because, text): (Because, String),
        (mid, now): (i64, Timestamp),
    ) -> Result<(), StoreError> {
        let verb = Suppress {
            address: address.key(),
            because,
            text,
            mid,
            now,
        };
        self.0.committing.commit(verb).await
    }

    /// Whether an address is on the list.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_suppression(
        &self,
        address: &Address,
    ) -> Result<Option<Suppression>, StoreError> {
        let mut reader = self.reader().await?;
        let statement = Statement::new(format!("{SELECT} WHERE s.address = ?")).bind(address.key());
        let row = reader.row(statement).await?;
        Ok(row.map(|row| suppression(&row)).transpose()?)
    }

    /// At most `limit` addresses of the list that stand behind `after` in the alphabet.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_suppressions(
        &self,
        after: Option<&Address>,
        limit: usize,
    ) -> Result<Vec<Suppression>, StoreError> {
        let statement = Statement::new(format!(
            "{SELECT} WHERE s.address > ? ORDER BY s.address LIMIT ?"
        ))
        .bind(after.map_or_else(String::new, Address::key))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let mut reader = self.reader().await?;
        let rows = reader.rows(statement).await?;
        Ok(rows.iter().map(suppression).collect::<sqlx::Result<_>>()?)
    }

    /// Takes an address off the list. Answers whether it was there.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn release_suppression(&self, address: &Address) -> Result<bool, StoreError> {
        self.0.committing.commit(Release(address.key())).await
    }
}

fn suppression(row: &Row) -> sqlx::Result<Suppression> {
    Ok(Suppression {
        address: row.text(0)?,
        because: Because::from_code(row.int(1)?),
        text: row.text(2)?,
        since: Timestamp::from_millis(row.int(3)?),
        message_id: row.maybe_text(4)?,
    })
}

/// Puts an address on the list.
pub(super) struct Suppress {
    pub(super) address: String,
    pub(super) because: Because,
    pub(super) text: String,
    pub(super) mid: i64,
    pub(super) now: Timestamp,
}

impl Suppress {
    /// Inside the running transaction.
    pub(super) async fn write(&self, tx: &mut Connection) -> sqlx::Result<()> {
        let insert = Statement::new(
            "INSERT INTO mail_suppressions (address, because, text, since, mid) VALUES (?, ?, ?, ?, ?) \
             ON CONFLICT (address) DO NOTHING",
        )
        .bind(self.address.as_str())
        .bind(self.because.code())
        .bind(self.text.as_str())
        .bind(self.now.as_millis())
        .bind(self.mid);
        tx.run(insert).await?;
        Ok(())
    }
}

impl Verb for Suppress {
    type Answer = ();

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<()> {
        self.write(tx).await
    }
}

struct Release(String);

impl Verb for Release {
    type Answer = bool;

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<bool> {
        let delete =
            Statement::new("DELETE FROM mail_suppressions WHERE address = ?").bind(self.0.as_str());
        Ok(tx.run(delete).await? > 0)
    }
}
