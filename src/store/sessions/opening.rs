//! Opening a session, or going on with one whose connection was lost.

use std::time::Duration;

use ring::digest;
use uuid::Uuid;

use super::ending::{self, End};
use super::{SessionKind, SessionRef};
use crate::events::Topic;
use crate::protocol::Timestamp;
use crate::store::committer::Verb;
use crate::store::error::StoreError;
use crate::store::inbox::lock;
use crate::store::sql::{Connection, Statement};
use crate::store::{SessionSharing, Store};

/// A session to open.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// Its id, where it is a new one.
    pub id: Uuid,
    /// What resumes it, where it is a new one; only its hash is kept.
    pub token: String,
    /// The id and token of the session to go on with.
    pub resume: Option<(Uuid, String)>,
    /// The mailbox it takes mail from.
    pub mailbox: i64,
    /// The agent that opens it.
    pub agent: i64,
    /// With which credential.
    pub key_id: String,
    /// How it is connected.
    pub kind: SessionKind,
    /// Whether it shares the mail with other sessions.
    pub sharing: SessionSharing,
    /// The gateway that holds it.
    pub node: Uuid,
    /// Where it comes from.
    pub remote: Option<String>,
    /// The most sessions of the mailbox.
    pub most: usize,
    /// How long a detached one can be resumed.
    pub kept: Duration,
    /// The present moment.
    pub now: Timestamp,
}

/// What opening a session came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// It is open.
    Session {
        /// Its connection.
        session: SessionRef,
        /// Its id.
        id: Uuid,
        /// Whether it was there before.
        is_resumed: bool,
    },
    /// The mailbox has as many as it may.
    TooMany,
    /// There is no such session to go on with, or it is another's, or its time is over.
    BadResume,
    /// The mailbox is gone.
    Gone,
}

impl Store {
    /// Opens a session.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn open_session(&self, new: NewSession) -> Result<Opened, StoreError> {
        self.0.committing.commit(Open(new)).await
    }
}

struct Open(NewSession);

fn hash(token: &str) -> Vec<u8> {
    digest::digest(&digest::SHA256, token.as_bytes())
        .as_ref()
        .to_vec()
}

impl Verb for Open {
    type Answer = Opened;

    fn mailbox(&self) -> Option<i64> {
        Some(self.0.mailbox)
    }

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<Opened> {
        let new = &self.0;
        lock(tx, new.mailbox).await?;
        let there = Statement::new("SELECT id FROM mailboxes WHERE id = ?").bind(new.mailbox);
        if tx.row(there).await?.is_none() {
            return Ok(Opened::Gone);
        }
        if let Some((id, token)) = &new.resume {
            return self.resume(tx, (*id, token), topics).await;
        }
        let count =
            Statement::new("SELECT count(*) FROM sessions WHERE mailbox = ? AND closing IS NULL")
                .bind(new.mailbox);
        let held = tx.row(count).await?.map_or(Ok(0), |row| row.int(0))?;
        if usize::try_from(held).unwrap_or(0) >= new.most && !self.make_room(tx, topics).await? {
            return Ok(Opened::TooMany);
        }
        let insert = Statement::new(
            "INSERT INTO sessions (id, token_hash, mailbox, agent, key_id, kind, copies, node, remote, \
             opened_at, attached_at, seen_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING number",
        )
        .bind(new.id.to_string())
        .bind(hash(&new.token))
        .bind(new.mailbox)
        .bind(new.agent)
        .bind(new.key_id.as_str())
        .bind(new.kind.code())
        .bind(new.sharing == SessionSharing::Copies)
        .bind(new.node.to_string())
        .bind(new.remote.as_deref())
        .bind_all([new.now.as_millis(); 3]);
        let row = tx.row(insert).await?.ok_or(sqlx::Error::RowNotFound)?;
        Ok(self.opened((row.int(0)?, 1), new.id))
    }
}

impl Open {
    fn opened(&self, (number, epoch): (i64, i64), id: Uuid) -> Opened {
        Opened::Session {
            session: SessionRef {
                number,
                epoch,
                mailbox: self.0.mailbox,
                sharing: self.0.sharing,
            },
            id,
            is_resumed: epoch > 1,
        }
    }

    /// Ends the oldest detached session of the mailbox; answers whether there was one.
    async fn make_room(&self, tx: &mut Connection, topics: &mut Vec<Topic>) -> sqlx::Result<bool> {
        let oldest = Statement::new(
            "SELECT number FROM sessions WHERE mailbox = ? AND closing IS NULL \
             AND detached_at IS NOT NULL ORDER BY detached_at, number LIMIT 1",
        )
        .bind(self.0.mailbox);
        let Some(row) = tx.row(oldest).await? else {
            return Ok(false);
        };
        let number = row.int(0)?;
        ending::end(
            tx,
            (number, self.0.mailbox),
            &End::Forgotten,
            self.0.now,
            topics,
        )
        .await?;
        Ok(true)
    }

    /// Goes on with a session, also where its lost connection was not noticed yet.
    async fn resume(
        &self,
        tx: &mut Connection,
        (id, token): (Uuid, &str),
        topics: &mut Vec<Topic>,
    ) -> sqlx::Result<Opened> {
        let new = &self.0;
        let copies = new.sharing == SessionSharing::Copies;
        let find = Statement::new(
            "SELECT number, epoch FROM sessions WHERE id = ? AND token_hash = ? AND mailbox = ? \
             AND agent = ? AND copies = ? AND closing IS NULL \
             AND (detached_at IS NULL OR detached_at > ?)",
        )
        .bind(id.to_string())
        .bind(hash(token))
        .bind(new.mailbox)
        .bind(new.agent)
        .bind(copies)
        .bind(new.now.minus(new.kept).as_millis());
        let Some(row) = tx.row(find).await? else {
            return Ok(Opened::BadResume);
        };
        let (number, epoch) = (row.int(0)?, row.int(1)? + 1);
        ending::release(tx, (number, new.mailbox), topics).await?;
        let attach = Statement::new(
            "UPDATE sessions SET epoch = ?, node = ?, remote = ?, key_id = ?, kind = ?, attached_at = ?, \
             seen_at = ?, detached_at = NULL WHERE number = ?",
        )
        .bind(epoch)
        .bind(new.node.to_string())
        .bind(new.remote.as_deref())
        .bind(new.key_id.as_str())
        .bind(new.kind.code())
        .bind(new.now.as_millis())
        .bind(new.now.as_millis())
        .bind(number);
        tx.tell(attach).await?;
        topics.push(Topic::Session(number));
        Ok(self.opened((number, epoch), id))
    }
}
