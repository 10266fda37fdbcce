//! How sessions are detached and ended.

use uuid::Uuid;

use super::{AS_COPIES, SessionRef, copies};
use crate::events::Topic;
use crate::protocol::Timestamp;
use crate::store::Store;
use crate::store::committer::Verb;
use crate::store::error::StoreError;
use crate::store::inbox::lock;
use crate::store::sql::{Connection, Statement};

/// What stays of a session that ends.
pub(super) enum End {
    /// Nothing.
    Forgotten,
    /// The reason, until its connection has told it.
    Because(String),
}

/// Sessions that somebody else ends.
pub(in crate::store) enum Which<'a> {
    /// Those of this agent, or of its mailbox.
    Agent(i64),
    /// Those that were opened with this key.
    Key(&'a str),
}

impl Store {
    /// The connection of a session is lost: what it was handed goes to others, and it can be resumed
    /// for a while. A session that was to end does.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn detach_session(
        &self,
        session: SessionRef,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.0.committing.commit(Detach { session, now }).await
    }

    /// Ends a session for good.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end_session(&self, session: SessionRef, now: Timestamp) -> Result<(), StoreError> {
        self.0.committing.commit(EndSession { session, now }).await
    }

    /// Ends the session of this id for a reason that its other side is told. Answers whether it was
    /// there.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn dismiss_session(
        &self,
        id: Uuid,
        reason: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let reason = reason.to_owned();
        let verb = Dismiss { id, reason, now };
        self.0.committing.commit(verb).await
    }
}

struct Detach {
    session: SessionRef,
    now: Timestamp,
}

impl Verb for Detach {
    type Answer = ();

    fn mailbox(&self) -> Option<i64> {
        Some(self.session.mailbox)
    }

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<()> {
        let SessionRef {
            number,
            epoch,
            mailbox,
            ..
        } = self.session;
        lock(tx, mailbox).await?;
        detach(tx, (number, epoch, mailbox), self.now, topics).await
    }
}

/// Detaches a connection of a session, unless a later one took its place.
pub(super) async fn detach(
    tx: &mut Connection,
    (number, epoch, mailbox): (i64, i64, i64),
    now: Timestamp,
    topics: &mut Vec<Topic>,
) -> sqlx::Result<()> {
    let told = Statement::new(
        "DELETE FROM sessions WHERE number = ? AND epoch = ? AND closing IS NOT NULL",
    )
    .bind(number)
    .bind(epoch);
    if tx.run(told).await? > 0 {
        return Ok(());
    }
    let detach = Statement::new(
        "UPDATE sessions SET detached_at = ? WHERE number = ? AND epoch = ? AND detached_at IS NULL",
    )
    .bind(now.as_millis())
    .bind(number)
    .bind(epoch);
    if tx.run(detach).await? > 0 {
        release(tx, (number, mailbox), topics).await?;
    }
    Ok(())
}

struct EndSession {
    session: SessionRef,
    now: Timestamp,
}

impl Verb for EndSession {
    type Answer = ();

    fn mailbox(&self) -> Option<i64> {
        Some(self.session.mailbox)
    }

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<()> {
        let session = self.session;
        lock(tx, session.mailbox).await?;
        let mine = Statement::new("SELECT 1 FROM sessions WHERE number = ? AND epoch = ?")
            .bind(session.number)
            .bind(session.epoch);
        if tx.row(mine).await?.is_none() {
            return Ok(());
        }
        let session = (session.number, session.mailbox);
        end(tx, session, &End::Forgotten, self.now, topics).await
    }
}

struct Dismiss {
    id: Uuid,
    reason: String,
    now: Timestamp,
}

impl Verb for Dismiss {
    type Answer = bool;

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<bool> {
        let find =
            Statement::new("SELECT number, mailbox FROM sessions WHERE id = ? AND closing IS NULL")
                .bind(self.id.to_string());
        let Some(row) = tx.row(find).await? else {
            return Ok(false);
        };
        let session = (row.int(0)?, row.int(1)?);
        lock(tx, session.1).await?;
        let because = End::Because(self.reason.clone());
        end(tx, session, &because, self.now, topics).await?;
        Ok(true)
    }
}

/// Ends sessions inside a running transaction, for a reason their other sides are told.
pub(in crate::store) async fn dismiss(
    tx: &mut Connection,
    which: Which<'_>,
    reason: &str,
    now: Timestamp,
    topics: &mut Vec<Topic>,
) -> sqlx::Result<()> {
    const SELECT: &str = "SELECT number, mailbox FROM sessions WHERE closing IS NULL AND ";
    let find = match which {
        Which::Agent(id) => Statement::new(format!("{SELECT} (mailbox = ? OR agent = ?)"))
            .bind(id)
            .bind(id),
        Which::Key(key) => Statement::new(format!("{SELECT} key_id = ?")).bind(key),
    };
    for row in tx.rows(find).await? {
        let session = (row.int(0)?, row.int(1)?);
        lock(tx, session.1).await?;
        let because = End::Because(reason.to_owned());
        end(tx, session, &because, now, topics).await?;
    }
    Ok(())
}

/// Ends a session for good. Its mailbox is locked.
pub(super) async fn end(
    tx: &mut Connection,
    (number, mailbox): (i64, i64),
    end: &End,
    now: Timestamp,
    topics: &mut Vec<Topic>,
) -> sqlx::Result<()> {
    release(tx, (number, mailbox), topics).await?;
    match end {
        End::Forgotten => {
            let delete = Statement::new("DELETE FROM sessions WHERE number = ?").bind(number);
            tx.tell(delete).await?;
        }
        End::Because(reason) => {
            let close = Statement::new("UPDATE sessions SET closing = ? WHERE number = ?")
                .bind(reason.as_str())
                .bind(number);
            tx.tell(close).await?;
        }
    }
    topics.push(Topic::Session(number));
    let copies = Statement::new("SELECT 1 FROM inbox WHERE mailbox = ? AND session = ? LIMIT 1")
        .bind(mailbox)
        .bind(AS_COPIES);
    if tx.row(copies).await?.is_some() {
        copies::settle(tx, mailbox, None, now, topics).await?;
        copies::free(tx, mailbox).await?;
    }
    Ok(())
}

/// Takes off the marks of a session: what it was handed and has not acknowledged is for others, or
/// for its next connection. Its mailbox is locked.
pub(super) async fn release(
    tx: &mut Connection,
    (number, mailbox): (i64, i64),
    topics: &mut Vec<Topic>,
) -> sqlx::Result<()> {
    let free = Statement::new(
        "UPDATE inbox SET session = 0 WHERE mailbox = ? AND session = ? AND session <> 0",
    )
    .bind(mailbox)
    .bind(number);
    if tx.run(free).await? > 0 {
        topics.push(Topic::Mailbox(mailbox));
    }
    let first =
        Statement::new("SELECT min(seq) FROM session_copies WHERE session = ? AND state <> 1")
            .bind(number);
    let first = tx
        .row(first)
        .await?
        .map(|row| row.maybe_int(0))
        .transpose()?;
    if let Some(first) = first.flatten() {
        let forget = Statement::new("DELETE FROM session_copies WHERE session = ? AND state <> 1")
            .bind(number);
        tx.tell(forget).await?;
        let back = Statement::new("UPDATE sessions SET upto = ? WHERE number = ? AND upto >= ?")
            .bind(first - 1)
            .bind(number)
            .bind(first);
        tx.tell(back).await?;
    }
    Ok(())
}
