//! Handing mail out to a session.

use super::pick::{Choice, Room, Waiting};
use super::{HandOut, Handed, SessionRef, copies, ending};
use crate::events::Topic;
use crate::protocol::Timestamp;
use crate::store::committer::Verb;
use crate::store::error::StoreError;
use crate::store::inbox::{InboxRow, lock};
use crate::store::sql::{Connection, Row, Statement, padded, places};
use crate::store::{SessionOrder, Store};

/// The bodies that are handed out at a time hold at most this much together; one message may be
/// larger.
const BYTES: i64 = 4 * 1024 * 1024;
/// Among at least so many of the oldest messages the next one is picked, and at most.
const LOOKAHEAD: (usize, usize) = (256, 1_024);
/// So many messages are passed over at a time that are for other sessions.
const PASSED: i64 = 4_096;
/// How often, where nothing is found among them.
const PAGES: usize = 8;

impl Store {
    /// Hands the next mail of its mailbox out to a session.
    ///
    /// # Errors
    /// When the database fails: then it is not known what the session was handed, see
    /// [`HandOut::again`].
    pub async fn hand_out(&self, asked: HandOut) -> Result<Handed, StoreError> {
        let (rows, full, more, due) = match self.0.committing.commit(Take(asked)).await? {
            Taken::Ended(reason) => return Ok(Handed::Ended(reason)),
            Taken::Rows {
                rows,
                full,
                more,
                due,
            } => (rows, full, more, due),
        };
        Ok(Handed::Mail {
            items: self.items(&rows).await?,
            full,
            more,
            due,
        })
    }
}

/// What was picked and marked.
pub(super) struct Picked {
    pub(super) rows: Vec<Waiting>,
    pub(super) more: bool,
    pub(super) due: Option<i64>,
}

enum Taken {
    Rows {
        rows: Vec<InboxRow>,
        full: bool,
        more: bool,
        due: Option<Timestamp>,
    },
    Ended(String),
}

/// How it stands with a session.
pub(super) struct Standing {
    /// How many messages it has not acknowledged.
    held: usize,
    /// See the table.
    pub(super) upto: i64,
}

struct Take(HandOut);

impl Verb for Take {
    type Answer = Taken;

    fn mailbox(&self) -> Option<i64> {
        Some(self.0.session.mailbox)
    }

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<Taken> {
        let asked = &self.0;
        let session = asked.session;
        lock(tx, session.mailbox).await?;
        if asked.again {
            ending::release(tx, (session.number, session.mailbox), topics).await?;
        }
        let standing = match standing(tx, &session).await? {
            Ok(standing) => standing,
            Err(reason) => return Ok(Taken::Ended(reason)),
        };
        let left = asked.credit.saturating_sub(standing.held);
        let room = Room {
            messages: left.min(asked.most),
            bytes: BYTES,
        };
        if room.messages == 0 {
            return Ok(Taken::Rows {
                rows: Vec::new(),
                full: left == 0,
                more: left > 0,
                due: None,
            });
        }
        let picked = if session.gets_copies() {
            copies::hand_out(tx, (asked, &standing), room).await?
        } else {
            hand_out(tx, asked, room).await?
        };
        Ok(Taken::Rows {
            full: picked.rows.len() >= left,
            more: picked.more,
            due: picked.due.map(Timestamp::from_millis),
            rows: picked.rows.iter().map(inbox_row).collect(),
        })
    }
}

fn inbox_row(row: &Waiting) -> InboxRow {
    InboxRow {
        seq: row.seq,
        mid: row.mid,
        read: row.read,
    }
}

/// How it stands with a session, or why it has ended.
async fn standing(
    tx: &mut Connection,
    session: &SessionRef,
) -> sqlx::Result<Result<Standing, String>> {
    let held = if session.gets_copies() {
        "SELECT count(*) FROM session_copies c JOIN inbox i ON i.mailbox = c.mailbox AND i.seq = c.seq \
         WHERE c.session = s.number AND c.state <> 1 AND c.state = 0"
    } else {
        "SELECT count(*) FROM inbox i WHERE i.mailbox = s.mailbox AND i.session = s.number AND i.session <> 0"
    };
    let ask = Statement::new(format!(
        "SELECT s.epoch, s.closing, s.detached_at, s.upto, ({held}) FROM sessions s WHERE s.number = ?"
    ));
    let Some(row) = tx.row(ask.bind(session.number)).await? else {
        return Ok(Err("the session is closed".to_owned()));
    };
    if row.int(0)? != session.epoch {
        return Ok(Err(
            "the session was resumed by another connection".to_owned()
        ));
    }
    if let Some(reason) = row.maybe_text(1)? {
        return Ok(Err(reason));
    }
    if row.maybe_int(2)?.is_some() {
        return Ok(Err("the gateway was away for too long".to_owned()));
    }
    Ok(Ok(Standing {
        upto: row.int(3)?,
        held: usize::try_from(row.int(4)?).unwrap_or(usize::MAX),
    }))
}

/// Among how many messages the next ones are picked.
pub(super) fn lookahead(room: Room) -> i64 {
    let rows = (2 * room.messages).clamp(LOOKAHEAD.0, LOOKAHEAD.1);
    i64::try_from(rows).unwrap_or(i64::MAX)
}

/// What a session is handed next that shares the mailbox, marked as its own.
async fn hand_out(tx: &mut Connection, asked: &HandOut, room: Room) -> sqlx::Result<Picked> {
    let mut choice = Choice::default();
    let mut after = 0;
    for _ in 0..PAGES {
        let rows = unclaimed(tx, asked, after, lookahead(room)).await?;
        choice.add(rows, asked.order, asked.now.as_millis());
        if !choice.is_empty() {
            break;
        }
        // Everything there may be another session's: look behind it.
        match passed(tx, asked.session.mailbox, after).await? {
            Some(seq) => after = seq,
            None => break,
        }
    }
    let due = choice.due();
    let (picked, more) = choice.pick(room);
    mark(tx, asked.session.mailbox, asked.session.number, &picked).await?;
    Ok(Picked {
        rows: picked,
        more,
        due,
    })
}

/// The oldest messages behind a position that no session has and that may go to this one.
async fn unclaimed(
    tx: &mut Connection,
    asked: &HandOut,
    after: i64,
    limit: i64,
) -> sqlx::Result<Vec<Waiting>> {
    let session = asked.session;
    let sticky = match asked.order {
        SessionOrder::Kept => {
            "WHERE NOT EXISTS (SELECT 1 FROM inbox t WHERE t.mailbox = ? \
             AND t.sender_hash = w.sender_hash AND t.session <> 0 AND t.session <> ?)"
        }
        SessionOrder::None => "",
    };
    let mut ask = Statement::new(format!(
        "SELECT w.seq, w.mid, w.sender_hash, w.read, w.priority, w.leased_until, \
         (SELECT size FROM messages m WHERE m.mid = w.mid) \
         FROM (SELECT i.seq, i.mid, i.sender_hash, i.read, i.priority, i.leased_until FROM inbox i \
         WHERE i.mailbox = ? AND i.session = 0 AND i.seq > ? ORDER BY i.seq LIMIT {PASSED}) AS w \
         {sticky} LIMIT ?"
    ))
    .bind(session.mailbox)
    .bind(after);
    if asked.order == SessionOrder::Kept {
        ask = ask.bind(session.mailbox).bind(session.number);
    }
    let mut rows = waiting(&tx.rows(ask.bind(limit)).await?)?;
    rows.sort_unstable_by_key(|row| row.seq);
    Ok(rows)
}

/// The position behind which the next page begins; nothing where there is none.
async fn passed(tx: &mut Connection, mailbox: i64, after: i64) -> sqlx::Result<Option<i64>> {
    let ask = Statement::new(
        "SELECT seq FROM inbox WHERE mailbox = ? AND session = 0 AND seq > ? ORDER BY seq \
         LIMIT 1 OFFSET ?",
    )
    .bind(mailbox)
    .bind(after)
    .bind(PASSED - 1);
    tx.row(ask).await?.map(|row| row.int(0)).transpose()
}

/// Rows of `seq, mid, sender_hash, read, priority, hidden until, size`.
pub(super) fn waiting(rows: &[Row]) -> sqlx::Result<Vec<Waiting>> {
    let row = |row: &Row| {
        Ok(Waiting {
            seq: row.int(0)?,
            mid: row.int(1)?,
            sender: row.int(2)?,
            read: row.int(3)? != 0,
            priority: row.int(4)?,
            hidden_until: row.int(5)?,
            size: row.maybe_int(6)?.unwrap_or(0),
        })
    };
    rows.iter().map(row).collect()
}

/// Marks messages as handed out.
pub(super) async fn mark(
    tx: &mut Connection,
    mailbox: i64,
    mark: i64,
    picked: &[Waiting],
) -> sqlx::Result<()> {
    let seqs: Vec<i64> = picked.iter().map(|row| row.seq).collect();
    for chunk in padded(&seqs) {
        let text = format!(
            "UPDATE inbox SET session = ?, read = 1, leased_until = 0 WHERE mailbox = ? AND seq IN ({})",
            places(chunk.len())
        );
        let update = Statement::new(text).bind(mark).bind(mailbox);
        tx.tell(update.bind_all(chunk)).await?;
    }
    Ok(())
}
