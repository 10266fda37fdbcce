//! Mail that waited in the queue goes into a mailbox: because its agent polls now, or because there
//! is room again.

use super::{Mailbox, bury, is_overdue, lock};
use crate::events::Topic;
use crate::protocol::Timestamp;
use crate::store::Store;
use crate::store::agents::WhenFull;
use crate::store::committer::Verb;
use crate::store::error::StoreError;
use crate::store::sql::{Connection, Statement};

/// A delivery in the queue whose place is a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arriving {
    /// Its number.
    pub seq: i64,
    /// Its message.
    pub mid: i64,
    /// Bytes of its body.
    pub size: usize,
}

impl Store {
    /// Moves deliveries out of the queue into a mailbox, in their order, as far as there is room.
    /// Answers for each whether it does not wait any more.
    ///
    /// # Errors
    /// When the database fails: all of them still wait.
    pub async fn enter_mailbox(
        &self,
        mailbox: i64,
        arriving: Vec<Arriving>,
        now: Timestamp,
    ) -> Result<Vec<bool>, StoreError> {
        let size = arriving.iter().map(|it| bytes(it.size)).min();
        if !self.may_enter(mailbox, size.unwrap_or(0), now).await? {
            // Nothing is written only to learn that there is no room.
            return Ok(vec![false; arriving.len()]);
        }
        let verb = Enter {
            mailbox,
            arriving,
            now,
        };
        self.0.committing.commit(verb).await
    }

    async fn may_enter(&self, id: i64, size: i64, now: Timestamp) -> Result<bool, StoreError> {
        let mut reader = self.reader().await?;
        let text = format!("SELECT {} FROM mailboxes WHERE id = ?", super::COLUMNS);
        let Some(row) = reader.row(Statement::new(text).bind(id)).await? else {
            return Ok(false);
        };
        let (_, mailbox) = Mailbox::of(&row)?;
        let gives_up = mailbox.bounds.when_full == Some(WhenFull::DeadLetter);
        Ok(gives_up
            || (mailbox.has_room(size) && !is_overdue(&mut reader, (id, &mailbox), now).await?))
    }
}

fn bytes(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

struct Enter {
    mailbox: i64,
    arriving: Vec<Arriving>,
    now: Timestamp,
}

impl Verb for Enter {
    type Answer = Vec<bool>;

    fn mailbox(&self) -> Option<i64> {
        Some(self.mailbox)
    }

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<Vec<bool>> {
        let Some(before) = lock(tx, self.mailbox).await? else {
            // The agent was deleted: the queue finds that out by itself.
            return Ok(vec![false; self.arriving.len()]);
        };
        let mut mailbox = before;
        let gives_up = mailbox.bounds.when_full == Some(WhenFull::DeadLetter);
        let overdue = !gives_up && is_overdue(tx, (self.mailbox, &mailbox), self.now).await?;
        let mut entered = Vec::with_capacity(self.arriving.len());
        let mut is_full = overdue;
        for it in &self.arriving {
            // What follows one that has to wait waits too: it may be of the same sender.
            is_full |= !gives_up && !mailbox.has_room(bytes(it.size));
            if !is_full {
                self.enter(tx, it, &mut mailbox).await?;
                topics.push(Topic::Message(it.mid));
            }
            entered.push(!is_full);
        }
        if mailbox == before {
            return Ok(entered);
        }
        if let Some(memory) = tx.memory() {
            memory.forget(self.mailbox);
        }
        let update = Statement::new(
            "UPDATE mailboxes SET next_seq = ?, messages = ?, bytes = ? WHERE id = ?",
        )
        .bind(mailbox.next)
        .bind(mailbox.messages)
        .bind(mailbox.bytes)
        .bind(self.mailbox);
        tx.run(update).await?;
        topics.push(Topic::Mailbox(self.mailbox));
        if gives_up {
            bury(tx, (self.mailbox, &mailbox), self.now, topics).await?;
        }
        Ok(entered)
    }
}

impl Enter {
    /// A delivery that does not wait any more was cancelled, held, or moved before.
    async fn enter(
        &self,
        tx: &mut Connection,
        it: &Arriving,
        mailbox: &mut Mailbox,
    ) -> sqlx::Result<()> {
        let take = Statement::new(
            "DELETE FROM deliveries WHERE seq = ? AND state < 2 RETURNING recipient, priority",
        );
        let Some(row) = tx.row(take.bind(it.seq)).await? else {
            return Ok(());
        };
        let insert = Statement::new(
            "INSERT INTO inbox (mailbox, seq, priority, mid, sender_hash, recipient) \
             SELECT ?, ?, ?, mid, sender_hash, ? FROM messages WHERE mid = ?",
        )
        .bind(self.mailbox)
        .bind(mailbox.enter(bytes(it.size)))
        .bind(row.int(1)?)
        .bind(row.text(0)?)
        .bind(it.mid);
        tx.run(insert).await.map(drop)
    }
}
