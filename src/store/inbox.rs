//! Mailboxes: taking mail out, acknowledging it, putting it back.
//!
//! Mail stays until it is acknowledged. A lease hides what was taken for a while, so that several
//! workers can poll one mailbox; `read` says that a message was handed out at least once.

use std::collections::HashMap;

use super::Store;
use super::committer::Verb;
use super::error::StoreError;
use super::messages::{StoredMessage, load};
use super::room;
use super::settled::{self, Settled};
use super::sql::{Connection, Insert, Statement, padded, places};
use crate::events::Topic;
use crate::protocol::{MessageId, Timestamp};

/// The bodies of one page together hold at most this much, so that one answer stays bounded.
const PAGE_BYTES: i64 = 16 * 1024 * 1024;

/// Which messages of a mailbox to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFilter {
    /// All that wait.
    All,
    /// Those never handed out.
    Unread,
    /// Those handed out before.
    Read,
}

/// What to look for in a mailbox.
#[derive(Debug, Clone)]
pub struct InboxQuery {
    /// The agent's number.
    pub mailbox: i64,
    /// At most so many.
    pub limit: usize,
    /// Skip so many.
    pub offset: usize,
    /// Only positions above this.
    pub after: i64,
    /// Only mail accepted at this moment or later.
    pub since: Option<Timestamp>,
    /// Only read or unread mail.
    pub filter: ReadFilter,
    /// The present moment.
    pub now: Timestamp,
    /// What to do with what is found.
    pub take: Take,
}

/// What happens to the messages that are handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Take {
    /// They count as read.
    Read,
    /// They count as read and are hidden until this moment.
    Lease(Timestamp),
}

/// A page of a mailbox.
#[derive(Debug, Default)]
pub struct InboxPage {
    /// In acceptance order.
    pub items: Vec<InboxItem>,
    /// Whether more wait behind the last one.
    pub more: bool,
}

/// One message in a mailbox.
#[derive(Debug)]
pub struct InboxItem {
    /// Its position.
    pub seq: i64,
    /// Whether it was handed out before this time.
    pub read: bool,
    /// The message.
    pub message: StoredMessage,
}

/// Putting mail back.
#[derive(Debug, Clone)]
pub struct Negative {
    /// The agent's number.
    pub mailbox: i64,
    /// Which messages.
    pub message_ids: Vec<MessageId>,
    /// Hidden until this moment.
    pub until: Timestamp,
}

impl Store {
    /// Hands out a page of a mailbox and marks it as read or leased.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn take_mail(&self, query: InboxQuery) -> Result<InboxPage, StoreError> {
        let (rows, more) = if matches!(query.take, Take::Lease(_)) {
            self.0.committing.commit(TakeMail(query.clone())).await?
        } else {
            let mut reader = self.reader().await?;
            let (rows, more) = find(&mut reader, &query).await?;
            drop(reader);
            let unread: Vec<i64> = rows
                .iter()
                .filter(|row| !row.read)
                .map(|row| row.seq)
                .collect();
            if !unread.is_empty() {
                let mark = MarkRead {
                    mailbox: query.mailbox,
                    seqs: unread,
                };
                match self.0.committing.commit(mark).await {
                    // Mail can be read also where nothing can be written: it stays unread.
                    Err(StoreError::Full | StoreError::Busy) => {}
                    marked => marked?,
                }
            }
            (rows, more)
        };
        let mut reader = self.reader().await?;
        let mids: Vec<i64> = rows.iter().map(|row| row.mid).collect();
        let loaded: HashMap<i64, StoredMessage> = load(&mut reader, &mids)
            .await?
            .into_iter()
            .map(|message| (message.mid, message))
            .collect();
        let items = rows
            .iter()
            .filter_map(|row| {
                // Two rows of one message (an address and its +tag) share it.
                let message = loaded.get(&row.mid).cloned()?;
                Some(InboxItem {
                    seq: row.seq,
                    read: row.read,
                    message,
                })
            })
            .collect();
        Ok(InboxPage { items, more })
    }

    /// Removes mail that its owner has dealt with: every row of the mailbox with this id from the
    /// same sender. Answers, for each id, whether anything was there.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn acknowledge(
        &self,
        mailbox: i64,
        message_ids: Vec<MessageId>,
        now: Timestamp,
    ) -> Result<Vec<bool>, StoreError> {
        self.0
            .committing
            .commit(Acknowledge {
                mailbox,
                message_ids,
                now,
            })
            .await
    }

    /// Puts mail back, hidden until a moment. Answers, for each id, whether anything was there.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_back(&self, negative: Negative) -> Result<Vec<bool>, StoreError> {
        self.0.committing.commit(PutBack(negative)).await
    }
}

/// One row of the inbox, without its message.
#[derive(Debug, Clone)]
pub(super) struct InboxRow {
    seq: i64,
    mid: i64,
    read: bool,
}

async fn find(
    connection: &mut Connection,
    query: &InboxQuery,
) -> sqlx::Result<(Vec<InboxRow>, bool)> {
    let (low, high) = match query.filter {
        ReadFilter::All => (0, 1),
        ReadFilter::Unread => (0, 0),
        ReadFilter::Read => (1, 1),
    };
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX - 1);
    let statement = Statement::new(
        "SELECT i.seq, i.mid, i.read, m.size FROM inbox i JOIN messages m ON m.mid = i.mid \
         WHERE i.mailbox = ? AND i.seq > ? AND i.leased_until <= ? AND i.read BETWEEN ? AND ? \
         AND m.accepted_at >= ? ORDER BY i.seq LIMIT ? OFFSET ?",
    )
    .bind(query.mailbox)
    .bind(query.after)
    .bind(query.now.as_millis())
    .bind(low)
    .bind(high)
    .bind(query.since.map_or(i64::MIN, Timestamp::as_millis))
    .bind(limit + 1)
    .bind(i64::try_from(query.offset).unwrap_or(i64::MAX));
    let mut rows = Vec::new();
    let mut bytes = 0;
    for row in connection.rows(statement).await? {
        bytes += row.int(3)?;
        if rows.len() == query.limit || (bytes > PAGE_BYTES && !rows.is_empty()) {
            return Ok((rows, true));
        }
        rows.push(InboxRow {
            seq: row.int(0)?,
            mid: row.int(1)?,
            read: row.int(2)? != 0,
        });
    }
    Ok((rows, false))
}

/// Finds and leases in one transaction, so that no two workers get the same message.
struct TakeMail(InboxQuery);

impl Verb for TakeMail {
    type Answer = (Vec<InboxRow>, bool);

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<Self::Answer> {
        lock(tx, self.0.mailbox).await?;
        let (rows, more) = find(tx, &self.0).await?;
        let until = match self.0.take {
            Take::Lease(until) => until.as_millis(),
            Take::Read => 0,
        };
        let seqs: Vec<i64> = rows.iter().map(|row| row.seq).collect();
        for chunk in padded(&seqs) {
            let text = format!(
                "UPDATE inbox SET read = 1, leased_until = ? WHERE mailbox = ? AND seq IN ({})",
                places(chunk.len())
            );
            tx.run(
                Statement::new(text)
                    .bind(until)
                    .bind(self.0.mailbox)
                    .bind_all(chunk),
            )
            .await?;
        }
        Ok((rows, more))
    }
}

struct MarkRead {
    mailbox: i64,
    seqs: Vec<i64>,
}

impl Verb for MarkRead {
    type Answer = ();

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<()> {
        for chunk in padded(&self.seqs) {
            let text = format!(
                "UPDATE inbox SET read = 1 WHERE mailbox = ? AND seq IN ({})",
                places(chunk.len())
            );
            tx.run(Statement::new(text).bind(self.mailbox).bind_all(chunk))
                .await?;
        }
        Ok(())
    }
}

/// Keeps other workers out of a mailbox until the commit.
async fn lock(tx: &mut Connection, mailbox: i64) -> sqlx::Result<()> {
    if tx.is_postgres() {
        let row = Statement::new("SELECT id FROM mailboxes WHERE id = ? FOR UPDATE").bind(mailbox);
        tx.row(row).await?;
    }
    Ok(())
}

/// One row of a mailbox under an id.
struct Match {
    seq: i64,
    mid: i64,
    sender: i64,
    trust: i64,
    recipient: String,
    accepted_at: i64,
    size: i64,
}

/// The rows of a mailbox under each of these ids. Where several senders used the same id, the
/// oldest unacknowledged sender is meant.
async fn matches(
    tx: &mut Connection,
    mailbox: i64,
    ids: &[MessageId],
) -> sqlx::Result<HashMap<String, Vec<Match>>> {
    let mut names: Vec<&str> = ids.iter().map(MessageId::as_str).collect();
    names.sort_unstable();
    names.dedup();
    let mut found: HashMap<String, Vec<Match>> = HashMap::with_capacity(names.len());
    for chunk in padded(&names) {
        // CROSS JOIN: SQLite would walk through the whole mailbox for them.
        let text = format!(
            "SELECT m.message_id, i.seq, i.mid, i.sender_hash, m.trust, i.recipient, m.accepted_at, m.size \
             FROM messages m CROSS JOIN inbox i \
             WHERE m.message_id IN ({}) AND i.mid = m.mid AND i.mailbox = ? ORDER BY i.seq",
            places(chunk.len())
        );
        let statement = Statement::new(text).bind_all(chunk).bind(mailbox);
        for row in tx.rows(statement).await? {
            found.entry(row.text(0)?).or_default().push(Match {
                seq: row.int(1)?,
                mid: row.int(2)?,
                sender: row.int(3)?,
                trust: row.int(4)?,
                recipient: row.text(5)?,
                accepted_at: row.int(6)?,
                size: row.int(7)?,
            });
        }
    }
    for rows in found.values_mut() {
        if let Some((sender, trust)) = rows.first().map(|row| (row.sender, row.trust)) {
            rows.retain(|row| row.sender == sender && row.trust == trust);
        }
    }
    Ok(found)
}

struct Acknowledge {
    mailbox: i64,
    message_ids: Vec<MessageId>,
    now: Timestamp,
}

impl Verb for Acknowledge {
    type Answer = Vec<bool>;

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<Vec<bool>> {
        lock(tx, self.mailbox).await?;
        let mut found = matches(tx, self.mailbox, &self.message_ids).await?;
        let mut answers = Vec::with_capacity(self.message_ids.len());
        let mut rows = Vec::new();
        for id in &self.message_ids {
            // An id that is named twice is found once, as if two requests had named it.
            let taken = found.remove(id.as_str()).unwrap_or_default();
            answers.push(!taken.is_empty());
            rows.extend(taken);
        }
        let seqs: Vec<i64> = rows.iter().map(|row| row.seq).collect();
        for chunk in padded(&seqs) {
            let text = format!(
                "DELETE FROM inbox WHERE mailbox = ? AND seq IN ({})",
                places(chunk.len())
            );
            tx.run(Statement::new(text).bind(self.mailbox).bind_all(chunk))
                .await?;
        }
        topics.extend(rows.iter().map(|row| Topic::Message(row.mid)));
        let count = i64::try_from(rows.len()).unwrap_or(i64::MAX);
        let bytes = rows.iter().map(|row| row.size).sum();
        room::left(tx, self.mailbox, (count, bytes), topics).await?;
        let history = rows.into_iter().map(|row| self.settled(row).row());
        tx.insert(Insert::new(settled::INSERT, history.collect()))
            .await?;
        Ok(answers)
    }
}

impl Acknowledge {
    fn settled(&self, row: Match) -> Settled {
        Settled {
            mid: row.mid,
            recipient: row.recipient,
            party: self.mailbox,
            state: settled::DELIVERED,
            settled_at: self.now.as_millis(),
            delivered_at: Some(row.accepted_at),
            acknowledged_at: Some(self.now.as_millis()),
            attempts: 0,
            error_code: None,
            remote: None,
        }
    }
}

struct PutBack(Negative);

impl Verb for PutBack {
    type Answer = Vec<bool>;

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<Vec<bool>> {
        let found = matches(tx, self.0.mailbox, &self.0.message_ids).await?;
        let ids = self.0.message_ids.iter();
        let answers = ids.map(|id| found.contains_key(id.as_str())).collect();
        let seqs: Vec<i64> = found.values().flatten().map(|row| row.seq).collect();
        for chunk in padded(&seqs) {
            let text = format!(
                "UPDATE inbox SET leased_until = ? WHERE mailbox = ? AND seq IN ({})",
                places(chunk.len())
            );
            let update = Statement::new(text)
                .bind(self.0.until.as_millis())
                .bind(self.0.mailbox);
            tx.run(update.bind_all(chunk)).await?;
        }
        topics.push(Topic::Mailbox(self.0.mailbox));
        Ok(answers)
    }
}
