//! Rows of a mailbox by the ids of their messages, and how they leave it.

use std::collections::{HashMap, HashSet};

use crate::events::Topic;
use crate::protocol::{MessageId, Timestamp};
use crate::store::room;
use crate::store::sessions::{self, SessionRef};
use crate::store::settled::{self, Settled};
use crate::store::sql::{Connection, Insert, Row, Statement, padded, places};

/// One row of a mailbox under an id.
pub(in crate::store) struct Match {
    pub(in crate::store) seq: i64,
    mid: i64,
    sender: i64,
    trust: i64,
    recipient: String,
    accepted_at: i64,
    size: i64,
    /// The session it was handed out to.
    pub(super) session: i64,
}

const MATCHED: &str = "i.seq, i.mid, i.sender_hash, m.trust, i.recipient, m.accepted_at, m.size, \
     i.session";

/// A row of [`MATCHED`] from this column on.
fn matched(row: &Row, from: usize) -> sqlx::Result<Match> {
    Ok(Match {
        seq: row.int(from)?,
        mid: row.int(from + 1)?,
        sender: row.int(from + 2)?,
        trust: row.int(from + 3)?,
        recipient: row.text(from + 4)?,
        accepted_at: row.int(from + 5)?,
        size: row.int(from + 6)?,
        session: row.int(from + 7)?,
    })
}

/// The rows of a mailbox at these positions.
pub(in crate::store) async fn at(
    tx: &mut Connection,
    mailbox: i64,
    seqs: &[i64],
) -> sqlx::Result<Vec<Match>> {
    let mut found = HashMap::with_capacity(seqs.len());
    for chunk in padded(seqs) {
        let text = format!(
            "SELECT {MATCHED} FROM inbox i JOIN messages m ON m.mid = i.mid \
             WHERE i.mailbox = ? AND i.seq IN ({})",
            places(chunk.len())
        );
        for row in tx
            .rows(Statement::new(text).bind(mailbox).bind_all(chunk))
            .await?
        {
            let row = matched(&row, 0)?;
            found.insert(row.seq, row);
        }
    }
    Ok(found.into_values().collect())
}

/// The rows of a mailbox under each of these ids. Where several senders used the same id, that one
/// is meant of which the session has a message, or else the oldest unacknowledged one.
pub(super) async fn matches(
    tx: &mut Connection,
    (mailbox, by): (i64, Option<&SessionRef>),
    ids: &[MessageId],
) -> sqlx::Result<HashMap<String, Vec<Match>>> {
    let mut names: Vec<&str> = ids.iter().map(MessageId::as_str).collect();
    names.sort_unstable();
    names.dedup();
    let mut found: HashMap<String, Vec<Match>> = HashMap::with_capacity(names.len());
    for chunk in padded(&names) {
        // CROSS JOIN: SQLite would walk through the whole mailbox for them.
        let text = format!(
            "SELECT m.message_id, {MATCHED} FROM messages m CROSS JOIN inbox i \
             WHERE m.message_id IN ({}) AND i.mid = m.mid AND i.mailbox = ? ORDER BY i.seq",
            places(chunk.len())
        );
        let statement = Statement::new(text).bind_all(chunk).bind(mailbox);
        for row in tx.rows(statement).await? {
            let of_id = found.entry(row.text(0)?).or_default();
            of_id.push(matched(&row, 1)?);
        }
    }
    for rows in found.values_mut() {
        let own = rows
            .iter()
            .find(|row| by.is_some_and(|by| by.number == row.session));
        if let Some((sender, trust)) = own.or(rows.first()).map(|row| (row.sender, row.trust)) {
            rows.retain(|row| row.sender == sender && row.trust == trust);
        }
    }
    Ok(found)
}

/// Which of the ids name something the session had; one that is named twice does once.
pub(super) fn had_of(
    ids: &[MessageId],
    mut found: HashMap<String, Vec<Match>>,
    had: &HashSet<i64>,
) -> Vec<bool> {
    let named = |id: &MessageId| found.remove(id.as_str()).unwrap_or_default();
    ids.iter()
        .map(named)
        .map(|rows: Vec<Match>| rows.iter().any(|row| had.contains(&row.seq)))
        .collect()
}

/// Takes rows out of a mailbox: they are acknowledged.
pub(in crate::store) async fn remove(
    tx: &mut Connection,
    mailbox: i64,
    rows: Vec<Match>,
    now: Timestamp,
    topics: &mut Vec<Topic>,
) -> sqlx::Result<()> {
    let seqs: Vec<i64> = rows.iter().map(|row| row.seq).collect();
    for chunk in padded(&seqs) {
        let text = format!(
            "DELETE FROM inbox WHERE mailbox = ? AND seq IN ({})",
            places(chunk.len())
        );
        tx.run(Statement::new(text).bind(mailbox).bind_all(chunk))
            .await?;
    }
    topics.extend(rows.iter().map(|row| Topic::Message(row.mid)));
    let count = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    let bytes = rows.iter().map(|row| row.size).sum();
    room::left(tx, mailbox, (count, bytes), topics).await?;
    let history = rows.into_iter().map(|row| settled(mailbox, row, now).row());
    tx.insert(Insert::new(settled::INSERT, history.collect()))
        .await
}

/// Tells other sessions what becomes free by these rows going: room for more, and the sender's later
/// mail.
pub(super) async fn freed(
    tx: &mut Connection,
    (mailbox, by): (i64, Option<&SessionRef>),
    rows: &[Match],
    topics: &mut Vec<Topic>,
) -> sqlx::Result<()> {
    let own = by.map_or(0, |by| by.number);
    let handed: HashSet<i64> = rows.iter().map(|row| row.session).collect();
    if handed.iter().all(|session| *session == 0) {
        return Ok(());
    }
    let others = handed.iter().filter(|it| **it > 0 && **it != own);
    topics.extend(others.copied().map(Topic::Session));
    let copies: Vec<i64> = rows
        .iter()
        .filter(|row| row.session == sessions::AS_COPIES)
        .map(|row| row.seq)
        .collect();
    if !copies.is_empty() {
        sessions::forget_copies(tx, mailbox, &copies, topics).await?;
    }
    let waiting = Statement::new("SELECT 1 FROM inbox WHERE mailbox = ? AND session = 0 LIMIT 1");
    if tx.row(waiting.bind(mailbox)).await?.is_some() {
        topics.push(Topic::Mailbox(mailbox));
    }
    Ok(())
}

fn settled(mailbox: i64, row: Match, now: Timestamp) -> Settled {
    Settled {
        mid: row.mid,
        recipient: row.recipient,
        party: mailbox,
        state: settled::DELIVERED,
        settled_at: now.as_millis(),
        delivered_at: Some(row.accepted_at),
        acknowledged_at: Some(now.as_millis()),
        attempts: 0,
        error_code: None,
        remote: None,
    }
}
