//! Under which ids messages travel, and which domains are known to have a gateway.
//!
//! An id and a key on the wire belong to the exact set of recipients they were first sent with
//! (AMTP 1.0, section 8.1). Any other set gets a fresh pair, which is on disk before it is sent.

use std::collections::HashMap;

use super::Store;
use super::committer::Verb;
use super::error::StoreError;
use super::sql::{Connection, Statement, padded, places};
use crate::events::Topic;
use crate::protocol::{Domain, IdempotencyKey, MessageId, Timestamp};

/// What a set of recipients travels under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireIdentity {
    /// The id.
    pub id: MessageId,
    /// The idempotency key.
    pub key: IdempotencyKey,
    /// How many recipients travel under it.
    pub recipients: u32,
}

/// The delivery must travel under a fresh identity.
pub(super) const RENEW: i64 = 4;

impl Store {
    /// Lets deliveries of one message travel under a fresh identity from now on; the id is known
    /// as an alias of the message as long as the message is kept. With each delivery stands the id
    /// it had: where gateways share the database, one that lost the delivery cannot give it
    /// another identity than the one it travels under now.
    ///
    /// # Errors
    /// When the database fails, or another gateway has a delivery: then nothing may be sent.
    pub async fn assign_identity(
        &self,
        (mid, from): (i64, Vec<(i64, Option<MessageId>)>),
        wire: WireIdentity,
    ) -> Result<(), StoreError> {
        self.0.committing.commit(Assign { mid, from, wire }).await
    }

    /// The number of the message that travelled under this id beside its own.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_alias(&self, id: &MessageId) -> Result<Option<i64>, StoreError> {
        let mut reader = self.reader().await?;
        let statement =
            Statement::new("SELECT mid FROM wire_ids WHERE wire_id = ?").bind(id.as_str());
        let row = reader.row(statement).await?;
        Ok(row.map(|row| row.int(0)).transpose()?)
    }

    /// The own id of the message that travelled under this id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_aliased(&self, id: &MessageId) -> Result<Option<MessageId>, StoreError> {
        let Some(mid) = self.find_alias(id).await? else {
            return Ok(None);
        };
        let mut reader = self.reader().await?;
        let statement = Statement::new("SELECT message_id FROM messages WHERE mid = ?").bind(mid);
        let Some(row) = reader.row(statement).await? else {
            return Ok(None);
        };
        let own = MessageId::parse(&row.text(0)?)
            .map_err(|fault| StoreError::Corrupt(format!("a message id: {fault}")))?;
        Ok(Some(own))
    }

    /// Whether a message of this id came from an address of this domain.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn came_from(&self, id: &MessageId, domain: &Domain) -> Result<bool, StoreError> {
        let mut reader = self.reader().await?;
        let statement =
            Statement::new("SELECT sender FROM messages WHERE message_id = ? LIMIT 200")
                .bind(id.as_str());
        for row in reader.rows(statement).await? {
            let sender = row.text(0)?;
            if sender.rsplit_once('@').map(|(_, domain)| domain) == Some(domain.as_str()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Notes that a domain has a valid `_amtp` record.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn remember_domain(&self, domain: Domain, now: Timestamp) -> Result<(), StoreError> {
        self.0.committing.commit(Remember { domain, now }).await
    }

    /// When a domain's valid record was last noted.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn domain_seen(&self, domain: &Domain) -> Result<Option<Timestamp>, StoreError> {
        let mut reader = self.reader().await?;
        let statement = Statement::new("SELECT seen_at FROM known_domains WHERE domain = ?")
            .bind(domain.as_str());
        let row = reader.row(statement).await?;
        let seen = row.map(|row| row.int(0)).transpose()?;
        Ok(seen.map(Timestamp::from_millis))
    }
}

struct Assign {
    mid: i64,
    from: Vec<(i64, Option<MessageId>)>,
    wire: WireIdentity,
}

impl Assign {
    /// Whether the deliveries still have the ids they had. One that does not is another gateway's.
    async fn is_unchanged(&self, tx: &mut Connection, seqs: &[i64]) -> sqlx::Result<bool> {
        let mut found = HashMap::new();
        for chunk in padded(seqs) {
            let text = format!(
                "SELECT seq, wire_id FROM deliveries WHERE seq IN ({}) ORDER BY seq{}",
                places(chunk.len()),
                tx.locking("deliveries")
            );
            for row in tx.rows(Statement::new(text).bind_all(chunk)).await? {
                found.insert(row.int(0)?, row.maybe_text(1)?);
            }
        }
        let same = |(seq, id): &(i64, Option<MessageId>)| {
            let present = found.get(seq).map(Option::as_deref);
            present == Some(id.as_ref().map(MessageId::as_str))
        };
        Ok(self.from.iter().all(same))
    }
}

impl Verb for Assign {
    type Answer = ();

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<()> {
        let seqs: Vec<i64> = self.from.iter().map(|(seq, _)| *seq).collect();
        if tx.is_postgres() && !self.is_unchanged(tx, &seqs).await? {
            return Err(sqlx::Error::InvalidArgument(
                "another gateway has a delivery that was to travel under a fresh identity"
                    .to_owned(),
            ));
        }
        for chunk in padded(&seqs) {
            let text = format!(
                "UPDATE deliveries SET wire_id = ?, wire_key = ?, wire_set = ?, flags = flags & ~{RENEW} \
                 WHERE seq IN ({})",
                places(chunk.len())
            );
            let statement = Statement::new(text)
                .bind(self.wire.id.as_str())
                .bind(self.wire.key.as_str())
                .bind(i64::from(self.wire.recipients))
                .bind_all(chunk);
            tx.run(statement).await?;
        }
        let alias = Statement::new(
            "INSERT INTO wire_ids (wire_id, mid) VALUES (?, ?) ON CONFLICT (wire_id) DO UPDATE SET mid = excluded.mid",
        )
            .bind(self.wire.id.as_str())
            .bind(self.mid);
        tx.run(alias).await?;
        Ok(())
    }
}

struct Remember {
    domain: Domain,
    now: Timestamp,
}

impl Verb for Remember {
    type Answer = ();

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<()> {
        let statement = Statement::new(
            "INSERT INTO known_domains (domain, seen_at) VALUES (?, ?) \
                 ON CONFLICT (domain) DO UPDATE SET seen_at = excluded.seen_at",
        )
        .bind(self.domain.as_str())
        .bind(self.now.as_millis());
        tx.run(statement).await?;
        Ok(())
    }
}
