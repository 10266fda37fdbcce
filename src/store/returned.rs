//! Mail that comes back: what was delivered as mail has failed after all.

use super::committer::Verb;
use super::error::StoreError;
use super::messages::{self, StoredMessage};
use super::return_path::ReturnPath;
use super::settled;
use super::sql::{Connection, Statement};
use super::suppressions::{Because, Suppress};
use super::{Acceptance, Patience, Store};
use crate::envelope::Origin;
use crate::events::Topic;
use crate::protocol::{Address, ErrorCode, MessageId, Timestamp};

/// A message to one recipient, as it went out by mail.
#[derive(Debug, Clone)]
pub struct Sent {
    /// The message.
    pub stored: StoredMessage,
    /// Its recipient, as the sender wrote it.
    pub recipient: Address,
    /// Attempts made.
    pub attempts: u32,
    /// Whether it still counts as delivered.
    pub delivered: bool,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct MailFailure {
    /// Of which delivery.
    pub path: ReturnPath,
    /// Why it failed.
    pub code: ErrorCode,
    /// The same in words, at most 500 bytes.
    pub text: String,
    /// When that was heard.
    pub at: Timestamp,
    /// Whether no more mail goes to the address, and why.
    pub suppress: Option<Because>,
}

impl Store {
    /// The message and the recipient behind a return path; nothing where they are no longer kept.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_sent(&self, path: ReturnPath) -> Result<Option<Sent>, StoreError> {
        let mut reader = self.reader().await?;
        let statement = Statement::new(
            "SELECT recipient, attempts, state FROM settled WHERE mid = ? AND party = ? LIMIT 1",
        )
        .bind(path.mid)
        .bind(path.party);
        let Some(row) = reader.row(statement).await? else {
            return Ok(None);
        };
        let recipient = Address::parse(&row.text(0)?)
            .map_err(|fault| StoreError::Corrupt(format!("a settled recipient: {fault}")))?;
        let (attempts, state) = (row.int(1)?, row.int(2)?);
        let stored = messages::load(&mut reader, &[path.mid]).await?.pop();
        Ok(stored.map(|stored| Sent {
            stored,
            recipient,
            attempts: u32::try_from(attempts).unwrap_or(0),
            delivered: state == settled::DELIVERED,
        }))
    }

    /// Whether a delivery is still under way: what is said of it now comes before its end is written.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_under_way(&self, path: ReturnPath) -> Result<bool, StoreError> {
        let mut reader = self.reader().await?;
        let statement =
            Statement::new("SELECT 1 FROM deliveries WHERE mid = ? AND party = ? LIMIT 1")
                .bind(path.mid)
                .bind(path.party);
        Ok(reader.row(statement).await?.is_some())
    }

    /// Notes that a delivered mail came back, and stores the notice of it to its sender, or neither.
    ///
    /// # Errors
    /// When the database fails, or it was noted meanwhile.
    pub async fn fail_returned(
        &self,
        failure: MailFailure,
        notice: Option<Acceptance>,
    ) -> Result<(), StoreError> {
        self.0
            .committing
            .commit_with(failure, notice.into_iter().collect(), Patience::Long)
            .await
    }

    /// Whether a message of this id came from this address as mail.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn came_by_mail(&self, id: &MessageId, from: &Address) -> Result<bool, StoreError> {
        let mut reader = self.reader().await?;
        let statement = Statement::new(
            "SELECT 1 FROM messages WHERE message_id = ? AND sender = ? AND origin = ? LIMIT 1",
        )
        .bind(id.as_str())
        .bind(from.key())
        .bind(Origin::Mail.code());
        Ok(reader.row(statement).await?.is_some())
    }

    /// The text of the newest message of this id that came as mail from this address.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_mailed(
        &self,
        id: &MessageId,
        from: &Address,
    ) -> Result<Option<StoredMessage>, StoreError> {
        let mut reader = self.reader().await?;
        let statement = Statement::new(
            "SELECT mid FROM messages WHERE message_id = ? AND sender = ? AND origin = ? \
             ORDER BY mid DESC LIMIT 1",
        )
        .bind(id.as_str())
        .bind(from.key())
        .bind(Origin::Mail.code());
        let Some(row) = reader.row(statement).await? else {
            return Ok(None);
        };
        let mid = row.int(0)?;
        Ok(messages::load(&mut reader, &[mid]).await?.pop())
    }
}

impl Verb for MailFailure {
    type Answer = ();

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<()> {
        let update = Statement::new(
            "UPDATE settled SET state = ?, error_code = ?, settled_at = ?, delivered_at = NULL \
             WHERE state = ? AND mid = ? AND party = ? RETURNING recipient, attempts, remote",
        )
        .bind(settled::FAILED)
        .bind(self.code.as_str())
        .bind(self.at.as_millis())
        .bind(settled::DELIVERED)
        .bind(self.path.mid)
        .bind(self.path.party);
        let row = tx.row(update).await?.ok_or(sqlx::Error::RowNotFound)?;
        let recipient = row.text(0)?;
        let history = Statement::new(
            "INSERT INTO attempts (mid, recipient, number, made_at, took, failed, error_code, text, remote) \
             VALUES (?, ?, ?, ?, 0, ?, ?, ?, ?)",
        )
        .bind(self.path.mid)
        .bind(recipient.as_str())
        .bind(row.int(1)?)
        .bind(self.at.as_millis())
        .bind(true)
        .bind(self.code.as_str())
        .bind(self.text.as_str())
        .bind(row.maybe_text(2)?);
        tx.run(history).await?;
        if let Some(because) = self.suppress {
            let suppress = Suppress {
                address: recipient.to_ascii_lowercase(),
                because,
                text: self.text.clone(),
                mid: self.path.mid,
                now: self.at,
            };
            suppress.write(tx).await?;
        }
        topics.push(Topic::Message(self.path.mid));
        Ok(())
    }
}
