//! What travelled through an address of ours that stands for an agent of another domain.

use super::Store;
use super::error::StoreError;
use super::messages::{StoredMessage, load};
use super::sql::Statement;
use crate::protocol::MessageId;

impl Store {
    /// The message that travelled under an id that is not its own.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_carried(
        &self,
        wire: &MessageId,
    ) -> Result<Option<StoredMessage>, StoreError> {
        let Some(mid) = self.find_alias(wire).await? else {
            return Ok(None);
        };
        let mut reader = self.reader().await?;
        Ok(load(&mut reader, &[mid]).await?.pop())
    }

    /// The id that a message of this sender travelled under last, if it is not its own.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_wire_id(
        &self,
        own: &MessageId,
        sender: &str,
    ) -> Result<Option<MessageId>, StoreError> {
        let mut reader = self.reader().await?;
        let select = Statement::new(
            "SELECT wire_id FROM wire_ids JOIN messages ON messages.mid = wire_ids.mid \
             WHERE message_id = ? AND sender = ? ORDER BY wire_ids.mid DESC, wire_id DESC LIMIT 1",
        );
        let row = reader.row(select.bind(own.as_str()).bind(sender)).await?;
        let Some(row) = row else {
            return Ok(None);
        };
        Ok(MessageId::parse(&row.text(0)?).ok())
    }
}
