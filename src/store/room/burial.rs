//! Giving up the oldest mail of a full mailbox: it becomes a dead letter that can be replayed.
//!
//! Its sender was told that it is delivered; nobody is told more. Its idempotency row stays.

use super::{Mailbox, left, lock};
use crate::events::Topic;
use crate::protocol::{ErrorCode, Timestamp};
use crate::store::accept::PRIORITY_NORMAL;
use crate::store::committer::Verb;
use crate::store::settle::BounceFate;
use crate::store::settled::{self, Settled};
use crate::store::sql::{Connection, Insert, Statement, Value, padded, places};
use crate::store::tasks;

/// The most mail given up in one commit.
const STEP: usize = 200;
/// What a dead letter says.
const TEXT: &str = "the mailbox was full and this was its oldest message";

/// A message that is given up.
struct Oldest {
    seq: i64,
    mid: i64,
    recipient: String,
    size: i64,
}

/// Gives up the oldest mail until a mailbox is within its bounds. Answers how much.
pub(in crate::store) async fn bury(
    tx: &mut Connection,
    (id, mailbox): (i64, &Mailbox),
    now: Timestamp,
    topics: &mut Vec<Topic>,
) -> sqlx::Result<u64> {
    let oldest = too_much(tx, (id, mailbox), now).await?;
    let seqs: Vec<i64> = oldest.iter().map(|it| it.seq).collect();
    for chunk in padded(&seqs) {
        let text = format!(
            "DELETE FROM inbox WHERE mailbox = ? AND seq IN ({})",
            places(chunk.len())
        );
        tx.run(Statement::new(text).bind(id).bind_all(chunk))
            .await?;
    }
    let count = i64::try_from(oldest.len()).unwrap_or(i64::MAX);
    let bytes = oldest.iter().map(|it| it.size).sum();
    left(tx, id, (count, bytes), topics).await?;
    topics.extend(oldest.iter().map(|it| Topic::Message(it.mid)));
    let mids: Vec<i64> = oldest.iter().map(|it| it.mid).collect();
    tasks::lost(tx, &mids, now).await?;
    let dead = oldest.iter().map(|it| dead_letter(id, it, now)).collect();
    tx.insert(Insert::new(
        "INSERT INTO dead_letters (mid, recipient, party, destination, priority, error_code, text, attempts, \
         dead_at, bounce)",
        dead,
    ))
    .await?;
    let history = oldest.into_iter().map(|it| failure(id, it, now)).collect();
    tx.insert(Insert::new(settled::INSERT, history)).await?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// The oldest mail that nobody has leased or was handed, as far as it is too much or too old.
async fn too_much(
    tx: &mut Connection,
    (id, mailbox): (i64, &Mailbox),
    now: Timestamp,
) -> sqlx::Result<Vec<Oldest>> {
    let select = Statement::new(
        "SELECT i.seq, i.mid, i.recipient, m.size, m.accepted_at \
         FROM inbox i JOIN messages m ON m.mid = i.mid \
         WHERE i.mailbox = ? AND i.session = 0 AND i.leased_until <= ? ORDER BY i.seq LIMIT ?",
    )
    .bind(id)
    .bind(now.as_millis())
    .bind(i64::try_from(STEP).unwrap_or(i64::MAX));
    let least = mailbox.oldest_allowed(now);
    let beyond = |held: i64, bound: Option<u64>| {
        bound.is_some_and(|bound| u64::try_from(held).unwrap_or(0) > bound)
    };
    let (mut messages, mut bytes) = (mailbox.messages, mailbox.bytes);
    let mut found = Vec::new();
    for row in tx.rows(select).await? {
        let is_old = least.is_some_and(|least| row.int(4).is_ok_and(|at| at < least.as_millis()));
        let is_much = beyond(messages, mailbox.bounds.messages)
            || (messages > 1 && beyond(bytes, mailbox.bounds.bytes));
        if !is_old && !is_much {
            break;
        }
        let it = Oldest {
            seq: row.int(0)?,
            mid: row.int(1)?,
            recipient: row.text(2)?,
            size: row.int(3)?,
        };
        messages -= 1;
        bytes -= it.size;
        found.push(it);
    }
    Ok(found)
}

fn dead_letter(mailbox: i64, it: &Oldest, now: Timestamp) -> Vec<Value> {
    vec![
        it.mid.into(),
        it.recipient.as_str().into(),
        mailbox.into(),
        format!("agent:{mailbox}").into(),
        PRIORITY_NORMAL.into(),
        ErrorCode::MailboxFull.as_str().into(),
        TEXT.into(),
        0_i64.into(),
        now.as_millis().into(),
        BounceFate::None.code().into(),
    ]
}

fn failure(mailbox: i64, it: Oldest, now: Timestamp) -> Vec<Value> {
    Settled {
        mid: it.mid,
        recipient: it.recipient,
        party: mailbox,
        state: settled::FAILED,
        settled_at: now.as_millis(),
        delivered_at: None,
        acknowledged_at: None,
        attempts: 0,
        error_code: Some(ErrorCode::MailboxFull.as_str().to_owned()),
        remote: None,
    }
    .row()
}

/// Gives up what is too old or too much in one mailbox.
pub(super) struct Overdue {
    pub(super) mailbox: i64,
    pub(super) now: Timestamp,
}

impl Verb for Overdue {
    type Answer = u64;

    fn mailbox(&self) -> Option<i64> {
        Some(self.mailbox)
    }

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<u64> {
        match lock(tx, self.mailbox).await? {
            Some(mailbox) => bury(tx, (self.mailbox, &mailbox), self.now, topics).await,
            None => Ok(0),
        }
    }
}
