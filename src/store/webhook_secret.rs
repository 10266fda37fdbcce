//! Which secret of an agent's webhook is in force. The secrets themselves are derived, not stored:
//! see [`super::Sealer::webhook_secret`].

use super::Store;
use super::agents::{SecretKeys, settings_bytes, settings_of};
use super::committer::Verb;
use super::error::StoreError;
use super::seal::KeyMark;
use super::sql::{Connection, Statement};
use crate::events::Topic;
use crate::protocol::Timestamp;

impl Store {
    /// Gives an agent's webhook the next secret, which comes from this key. Answers its generation; nothing where the agent is
    /// gone.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn rotate_webhook_secret(
        &self,
        agent: i64,
        key: KeyMark,
        now: Timestamp,
    ) -> Result<Option<u32>, StoreError> {
        let generation = self.0.committing.commit(Rotate { agent, key, now }).await?;
        self.forget_agents();
        Ok(generation)
    }
}

struct Rotate {
    agent: i64,
    key: KeyMark,
    now: Timestamp,
}

impl Verb for Rotate {
    type Answer = Option<u32>;

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<Option<u32>> {
        let Some(mut settings) = settings_of(tx, self.agent).await? else {
            return Ok(None);
        };
        settings.secret_generation = settings.secret_generation.wrapping_add(1);
        settings.secret_rotated_at = Some(self.now);
        settings.secret_keys = SecretKeys {
            present: Some(self.key),
            former: settings.secret_keys.present,
        };
        let update = Statement::new("UPDATE agents SET settings = ?, updated_at = ? WHERE id = ?")
            .bind(settings_bytes(&settings))
            .bind(self.now.as_millis())
            .bind(self.agent);
        tx.run(update).await?;
        Ok(Some(settings.secret_generation))
    }
}
