//! What an incoming bounce changes: a recipient that was delivered has failed after all.

use super::Store;
use super::committer::Verb;
use super::error::StoreError;
use super::settled;
use super::sql::{Connection, Statement};
use crate::envelope::Trust;
use crate::events::Topic;
use crate::protocol::{Address, ErrorCode, MessageId, Timestamp};

impl Store {
    /// Notes that recipients of a message of ours did not get it. `original` is its own id or one
    /// it travelled under. Answers how many recipients turned from delivered to failed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_bounce(
        &self,
        original: &MessageId,
        recipients: &[Address],
        code: ErrorCode,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let own = self.find_aliased(original).await?;
        let verb = Bounced {
            message_id: own.unwrap_or_else(|| original.clone()),
            recipients: recipients.to_vec(),
            code,
            now,
        };
        self.0.committing.commit(verb).await
    }
}

struct Bounced {
    message_id: MessageId,
    recipients: Vec<Address>,
    code: ErrorCode,
    now: Timestamp,
}

impl Verb for Bounced {
    type Answer = u64;

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<u64> {
        let mut noted = 0;
        for recipient in &self.recipients {
            let update = Statement::new(
                "UPDATE settled SET state = ?, error_code = ?, settled_at = ?, delivered_at = NULL \
                 WHERE state = ? AND party = ? AND mid IN \
                 (SELECT mid FROM messages WHERE message_id = ? AND trust = ?) RETURNING mid",
            )
            .bind(settled::FAILED)
            .bind(self.code.as_str())
            .bind(self.now.as_millis())
            .bind(settled::DELIVERED)
            .bind(super::party_hash(&recipient.key()))
            .bind(self.message_id.as_str())
            .bind(Trust::Local.code());
            for row in tx.rows(update).await? {
                topics.push(Topic::Message(row.int(0)?));
                noted += 1;
            }
        }
        Ok(noted)
    }
}
