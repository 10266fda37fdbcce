//! Mailboxes: taking mail out, acknowledging it, putting it back.
//!
//! Mail stays until it is acknowledged. A lease hides what was taken for a while, so that several
//! workers can poll one mailbox; `read` says that a message was handed out at least once. What was
//! handed out to a session is that session's until it is acknowledged or put back (see `sessions`).

mod matching;

use std::collections::HashMap;

use super::committer::Verb;
use super::error::StoreError;
use super::messages::{StoredMessage, load};
use super::sessions::{self, SessionRef};
use super::sql::{Connection, Statement, padded, places};
use super::{SessionSharing, Store};
use crate::events::Topic;
use crate::protocol::{MessageId, Timestamp};
pub(super) use matching::{Match, at, remove};
use matching::{freed, had_of, matches};

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
        let items = self.items(&rows).await?;
        Ok(InboxPage { items, more })
    }

    /// The messages of these rows, in their order.
    pub(super) async fn items(&self, rows: &[InboxRow]) -> Result<Vec<InboxItem>, StoreError> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let mut reader = self.reader().await?;
        let mids: Vec<i64> = rows.iter().map(|row| row.mid).collect();
        let loaded: HashMap<i64, StoredMessage> = load(&mut reader, &mids)
            .await?
            .into_iter()
            .map(|message| (message.mid, message))
            .collect();
        let item = |row: &InboxRow| {
            // Two rows of one message (an address and its +tag) share it.
            let message = loaded.get(&row.mid).cloned()?;
            Some(InboxItem {
                seq: row.seq,
                read: row.read,
                message,
            })
        };
        Ok(rows.iter().filter_map(item).collect())
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
                by: None,
                now,
            })
            .await
    }

    /// The same by a session. Where sessions get copies, it is for this session alone, and tells
    /// whether it had it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn acknowledge_as(
        &self,
        session: SessionRef,
        message_ids: Vec<MessageId>,
        now: Timestamp,
    ) -> Result<Vec<bool>, StoreError> {
        let verb = Acknowledge {
            mailbox: session.mailbox,
            message_ids,
            by: Some(session),
            now,
        };
        self.0.committing.commit(verb).await
    }

    /// The message at a position that was handed out and waits again; nothing where there is none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn handed_out(
        &self,
        mailbox: i64,
        seq: i64,
    ) -> Result<Option<MessageId>, StoreError> {
        let ask = Statement::new(
            "SELECT m.message_id FROM inbox i JOIN messages m ON m.mid = i.mid \
             WHERE i.mailbox = ? AND i.seq = ? AND i.session = 0 AND i.read = 1",
        );
        let row = self
            .reader()
            .await?
            .row(ask.bind(mailbox).bind(seq))
            .await?;
        let id = row.map(|row| row.text(0)).transpose()?;
        // Every stored id was parsed before it was stored.
        Ok(id.and_then(|id| MessageId::parse(&id).ok()))
    }

    /// Puts mail back, hidden until a moment. Answers, for each id, whether anything was there.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_back(&self, negative: Negative) -> Result<Vec<bool>, StoreError> {
        self.0.committing.commit(PutBack(negative, None)).await
    }

    /// The same by a session. Where sessions get copies, it is for this session alone, and tells
    /// whether it had it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_back_as(
        &self,
        session: SessionRef,
        message_ids: Vec<MessageId>,
        until: Timestamp,
    ) -> Result<Vec<bool>, StoreError> {
        let negative = Negative {
            mailbox: session.mailbox,
            message_ids,
            until,
        };
        let verb = PutBack(negative, Some(session));
        self.0.committing.commit(verb).await
    }
}

/// One row of the inbox, without its message.
#[derive(Debug, Clone)]
pub(super) struct InboxRow {
    pub(super) seq: i64,
    pub(super) mid: i64,
    pub(super) read: bool,
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
         WHERE i.mailbox = ? AND i.seq > ? AND i.session = 0 AND i.leased_until <= ? AND i.read BETWEEN ? AND ? \
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

    fn mailbox(&self) -> Option<i64> {
        Some(self.0.mailbox)
    }

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

    fn mailbox(&self) -> Option<i64> {
        Some(self.mailbox)
    }

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<()> {
        lock(tx, self.mailbox).await?;
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
pub(super) async fn lock(tx: &mut Connection, mailbox: i64) -> sqlx::Result<()> {
    if tx.is_postgres() {
        let row = Statement::new("SELECT id FROM mailboxes WHERE id = ? FOR UPDATE").bind(mailbox);
        tx.row(row).await?;
    }
    Ok(())
}

struct Acknowledge {
    mailbox: i64,
    message_ids: Vec<MessageId>,
    /// The session that does it.
    by: Option<SessionRef>,
    now: Timestamp,
}

impl Verb for Acknowledge {
    type Answer = Vec<bool>;

    fn mailbox(&self) -> Option<i64> {
        Some(self.mailbox)
    }

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<Vec<bool>> {
        lock(tx, self.mailbox).await?;
        let by = self.by.as_ref();
        let mut found = matches(tx, (self.mailbox, by), &self.message_ids).await?;
        if let Some(session) = by.filter(|it| it.sharing == SessionSharing::Copies) {
            let all: Vec<i64> = found.values().flatten().map(|row| row.seq).collect();
            let had = sessions::acknowledge_copies(tx, session, &all, self.now, topics).await?;
            return Ok(had_of(&self.message_ids, found, &had));
        }
        let mut answers = Vec::with_capacity(self.message_ids.len());
        let mut rows = Vec::new();
        for id in &self.message_ids {
            // An id that is named twice is found once, as if two requests had named it.
            let taken = found.remove(id.as_str()).unwrap_or_default();
            answers.push(!taken.is_empty());
            rows.extend(taken);
        }
        freed(tx, (self.mailbox, by), &rows, topics).await?;
        remove(tx, self.mailbox, rows, self.now, topics).await?;
        Ok(answers)
    }
}

struct PutBack(Negative, Option<SessionRef>);

impl Verb for PutBack {
    type Answer = Vec<bool>;

    fn mailbox(&self) -> Option<i64> {
        Some(self.0.mailbox)
    }

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<Vec<bool>> {
        let Self(asked, by) = self;
        lock(tx, asked.mailbox).await?;
        let found = matches(tx, (asked.mailbox, by.as_ref()), &asked.message_ids).await?;
        let rows: Vec<&Match> = found.values().flatten().collect();
        let seqs: Vec<i64> = rows.iter().map(|row| row.seq).collect();
        if let Some(session) = by
            .as_ref()
            .filter(|it| it.sharing == SessionSharing::Copies)
        {
            let had = sessions::put_back_copies(tx, session, &seqs, asked.until).await?;
            return Ok(had_of(&asked.message_ids, found, &had));
        }
        let handed = rows.iter().map(|row| row.session).filter(|it| *it > 0);
        topics.extend(handed.map(Topic::Session));
        let (copies, own): (Vec<&Match>, Vec<&Match>) = rows
            .into_iter()
            .partition(|row| row.session == sessions::AS_COPIES);
        let seqs: Vec<i64> = copies.iter().map(|row| row.seq).collect();
        if !seqs.is_empty() {
            let mailbox = asked.mailbox;
            sessions::put_back_for_all(tx, mailbox, &seqs, asked.until, topics).await?;
        }
        let seqs: Vec<i64> = own.iter().map(|row| row.seq).collect();
        for chunk in padded(&seqs) {
            let text = format!(
                "UPDATE inbox SET leased_until = ?, session = 0 WHERE mailbox = ? AND seq IN ({})",
                places(chunk.len())
            );
            let update = Statement::new(text)
                .bind(asked.until.as_millis())
                .bind(asked.mailbox);
            tx.run(update.bind_all(chunk)).await?;
        }
        topics.push(Topic::Mailbox(asked.mailbox));
        let ids = asked.message_ids.iter();
        Ok(ids.map(|id| found.contains_key(id.as_str())).collect())
    }
}
