//! Sessions that each get every message.
//!
//! What became of a message at each of them stands in `session_copies`. It leaves the mailbox when
//! at least one acknowledged it and no session that is there still has to.

use std::collections::{HashMap, HashSet};

use super::handing::{self, Standing};
use super::pick::{Choice, Room, Waiting};
use super::{AS_COPIES, HandOut, SessionRef};
use crate::events::Topic;
use crate::protocol::Timestamp;
use crate::store::inbox::{self, Match};
use crate::store::sql::{Connection, Insert, Statement, padded, places};

/// Handed out, acknowledged, put back.
const HANDED: i64 = 0;
const ACKNOWLEDGED: i64 = 1;
const PUT_BACK: i64 = 2;

/// What a session is handed next, marked as such.
pub(super) async fn hand_out(
    tx: &mut Connection,
    (asked, standing): (&HandOut, &Standing),
    room: Room,
) -> sqlx::Result<handing::Picked> {
    let now = asked.now.as_millis();
    let mut waiting = put_back_before(tx, &asked.session).await?;
    let fresh = fresh(tx, asked, standing.upto, room).await?;
    let (first, last) = (waiting.len(), fresh.last().map(|row| row.seq));
    let unseen: Vec<i64> = fresh.iter().map(|row| row.seq).collect();
    waiting.extend(fresh);
    if first > 0 {
        waiting.sort_unstable_by_key(|row| row.seq);
    }
    let mut choice = Choice::default();
    choice.add(waiting, asked.order, now);
    let due = choice.due();
    let (picked, more) = choice.pick(room);
    let taken: HashSet<i64> = picked.iter().map(|row| row.seq).collect();
    let left = unseen.into_iter().find(|seq| !taken.contains(seq));
    let upto = left.map(|seq| seq - 1).or(last).unwrap_or(standing.upto);
    mark(tx, &asked.session, &picked, upto).await?;
    Ok(handing::Picked {
        rows: picked,
        more,
        due,
    })
}

/// What was put back, hidden or not.
async fn put_back_before(tx: &mut Connection, session: &SessionRef) -> sqlx::Result<Vec<Waiting>> {
    let ask = Statement::new(format!(
        "SELECT i.seq, i.mid, i.sender_hash, i.read, i.priority, c.hidden_until, \
         (SELECT size FROM messages m WHERE m.mid = i.mid) \
         FROM session_copies c JOIN inbox i ON i.mailbox = c.mailbox AND i.seq = c.seq \
         WHERE c.session = ? AND c.state <> 1 AND c.state = {PUT_BACK} ORDER BY i.seq"
    ));
    handing::waiting(&tx.rows(ask.bind(session.number)).await?)
}

/// What it was not handed yet.
async fn fresh(
    tx: &mut Connection,
    asked: &HandOut,
    upto: i64,
    room: Room,
) -> sqlx::Result<Vec<Waiting>> {
    let ask = Statement::new(
        "SELECT i.seq, i.mid, i.sender_hash, i.read, i.priority, i.leased_until, \
         (SELECT size FROM messages m WHERE m.mid = i.mid) FROM inbox i \
         WHERE i.mailbox = ? AND i.seq > ? AND NOT EXISTS (SELECT 1 FROM session_copies c \
         WHERE c.mailbox = i.mailbox AND c.seq = i.seq AND c.session = ?) ORDER BY i.seq LIMIT ?",
    )
    .bind(asked.session.mailbox)
    .bind(upto)
    .bind(asked.session.number)
    .bind(handing::lookahead(room));
    handing::waiting(&tx.rows(ask).await?)
}

async fn mark(
    tx: &mut Connection,
    session: &SessionRef,
    picked: &[Waiting],
    upto: i64,
) -> sqlx::Result<()> {
    let row = |row: &Waiting| {
        vec![
            session.mailbox.into(),
            row.seq.into(),
            session.number.into(),
            HANDED.into(),
            0.into(),
        ]
    };
    let insert = Insert::new(
        "INSERT INTO session_copies (mailbox, seq, session, state, hidden_until)",
        picked.iter().map(row).collect(),
    )
    .or("ON CONFLICT (mailbox, seq, session) DO UPDATE SET state = 0, hidden_until = 0");
    tx.insert(insert).await?;
    handing::mark(tx, session.mailbox, AS_COPIES, picked).await?;
    let move_on = Statement::new("UPDATE sessions SET upto = ? WHERE number = ?");
    tx.tell(move_on.bind(upto).bind(session.number)).await
}

/// Those of the positions that a session was handed and has not acknowledged.
async fn held(
    tx: &mut Connection,
    session: &SessionRef,
    seqs: &[i64],
) -> sqlx::Result<HashSet<i64>> {
    let mut held = HashSet::new();
    for chunk in padded(seqs) {
        let ask = Statement::new(format!(
            "SELECT seq FROM session_copies WHERE session = ? AND state <> 1 AND seq IN ({})",
            places(chunk.len())
        ));
        let rows = tx.rows(ask.bind(session.number).bind_all(chunk)).await?;
        for row in rows {
            held.insert(row.int(0)?);
        }
    }
    Ok(held)
}

/// A session acknowledges; tells which of the positions it had.
pub(in crate::store) async fn acknowledge(
    tx: &mut Connection,
    session: &SessionRef,
    seqs: &[i64],
    now: Timestamp,
    topics: &mut Vec<Topic>,
) -> sqlx::Result<HashSet<i64>> {
    let held = held(tx, session, seqs).await?;
    let mine: Vec<i64> = held.iter().copied().collect();
    turn(tx, session, &mine, (ACKNOWLEDGED, 0)).await?;
    settle(tx, session.mailbox, Some(&mine), now, topics).await?;
    Ok(held)
}

/// A session puts back; tells which of the positions it had.
pub(in crate::store) async fn put_back(
    tx: &mut Connection,
    session: &SessionRef,
    seqs: &[i64],
    until: Timestamp,
) -> sqlx::Result<HashSet<i64>> {
    let held = held(tx, session, seqs).await?;
    let mine: Vec<i64> = held.iter().copied().collect();
    turn(tx, session, &mine, (PUT_BACK, until.as_millis())).await?;
    Ok(held)
}

async fn turn(
    tx: &mut Connection,
    session: &SessionRef,
    seqs: &[i64],
    (state, hidden_until): (i64, i64),
) -> sqlx::Result<()> {
    for chunk in padded(seqs) {
        let text = format!(
            "UPDATE session_copies SET state = ?, hidden_until = ? \
             WHERE mailbox = ? AND session = ? AND seq IN ({})",
            places(chunk.len())
        );
        let update = Statement::new(text)
            .bind(state)
            .bind(hidden_until)
            .bind(session.mailbox)
            .bind(session.number);
        tx.run(update.bind_all(chunk)).await?;
    }
    Ok(())
}

/// Somebody who is no session puts copies back: they are hidden from all.
pub(in crate::store) async fn put_back_for_all(
    tx: &mut Connection,
    mailbox: i64,
    seqs: &[i64],
    until: Timestamp,
    topics: &mut Vec<Topic>,
) -> sqlx::Result<()> {
    for chunk in padded(seqs) {
        let text = format!(
            "UPDATE session_copies SET state = {PUT_BACK}, hidden_until = ? \
             WHERE mailbox = ? AND state = {HANDED} AND seq IN ({})",
            places(chunk.len())
        );
        let update = Statement::new(text).bind(until.as_millis()).bind(mailbox);
        tx.run(update.bind_all(chunk)).await?;
    }
    wake(tx, mailbox, topics).await
}

/// What was acknowledged of messages that are gone is forgotten.
pub(in crate::store) async fn forget(
    tx: &mut Connection,
    mailbox: i64,
    seqs: &[i64],
    topics: &mut Vec<Topic>,
) -> sqlx::Result<()> {
    for chunk in padded(seqs) {
        let text = format!(
            "DELETE FROM session_copies WHERE mailbox = ? AND seq IN ({})",
            places(chunk.len())
        );
        let delete = Statement::new(text).bind(mailbox).bind_all(chunk);
        tx.run(delete).await?;
    }
    wake(tx, mailbox, topics).await
}

async fn wake(tx: &mut Connection, mailbox: i64, topics: &mut Vec<Topic>) -> sqlx::Result<()> {
    let ask = Statement::new("SELECT number FROM sessions WHERE mailbox = ? AND closing IS NULL");
    for row in tx.rows(ask.bind(mailbox)).await? {
        topics.push(Topic::Session(row.int(0)?));
    }
    Ok(())
}

/// Takes out of the mailbox what was acknowledged and what no session that is there still has to
/// acknowledge: of these positions, or of all.
pub(super) async fn settle(
    tx: &mut Connection,
    mailbox: i64,
    seqs: Option<&[i64]>,
    now: Timestamp,
    topics: &mut Vec<Topic>,
) -> sqlx::Result<()> {
    let there = Statement::new(
        "SELECT number FROM sessions WHERE mailbox = ? AND copies = 1 AND closing IS NULL",
    );
    let mut live = Vec::new();
    for row in tx.rows(there.bind(mailbox)).await? {
        live.push(row.int(0)?);
    }
    let acknowledged = acknowledged(tx, mailbox, seqs).await?;
    let done: Vec<i64> = acknowledged
        .into_iter()
        .filter(|(_, by)| live.iter().all(|session| by.contains(session)))
        .map(|(seq, _)| seq)
        .collect();
    if done.is_empty() {
        return Ok(());
    }
    let rows: Vec<Match> = inbox::at(tx, mailbox, &done).await?;
    inbox::remove(tx, mailbox, rows, now, topics).await?;
    forget(tx, mailbox, &done, topics).await
}

/// Who acknowledged what, of these positions or of all.
async fn acknowledged(
    tx: &mut Connection,
    mailbox: i64,
    seqs: Option<&[i64]>,
) -> sqlx::Result<HashMap<i64, HashSet<i64>>> {
    let base = format!(
        "SELECT seq, session FROM session_copies WHERE mailbox = ? AND state = {ACKNOWLEDGED}"
    );
    let mut asks = Vec::new();
    match seqs {
        None => asks.push(Statement::new(base).bind(mailbox)),
        Some(seqs) => {
            for chunk in padded(seqs) {
                let text = format!("{base} AND seq IN ({})", places(chunk.len()));
                asks.push(Statement::new(text).bind(mailbox).bind_all(chunk));
            }
        }
    }
    let mut found: HashMap<i64, HashSet<i64>> = HashMap::new();
    for ask in asks {
        for row in tx.rows(ask).await? {
            found.entry(row.int(0)?).or_default().insert(row.int(1)?);
        }
    }
    Ok(found)
}

/// Where no session gets copies any more, the mail waits as it did before.
pub(super) async fn free(tx: &mut Connection, mailbox: i64) -> sqlx::Result<()> {
    let free = Statement::new(
        "UPDATE inbox SET session = 0 WHERE mailbox = ? AND session = ? AND session <> 0 \
         AND NOT EXISTS (SELECT 1 FROM sessions WHERE mailbox = ? AND copies = 1 AND closing IS NULL)",
    )
    .bind(mailbox)
    .bind(AS_COPIES)
    .bind(mailbox);
    tx.tell(free).await
}
