//! Publications, and how far the copies of each are made.

use std::collections::HashMap;

use super::{lock_topic, moved_on};
use crate::events::Topic;
use crate::protocol::{MessageId, Timestamp};
use crate::store::accept::Acceptance;
use crate::store::committer::Verb;
use crate::store::error::StoreError;
use crate::store::messages::{StoredMessage, load};
use crate::store::sql::{Connection, Row, Statement};
use crate::store::{Patience, Store};

/// A publication and how far its copies are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// The topic's number.
    pub topic: i64,
    /// Its own number within the topic.
    pub seq: i64,
    /// Its message.
    pub mid: i64,
    /// When it was published.
    pub published_at: Timestamp,
    /// Everybody up to this address has a copy.
    pub progress: String,
    /// Everybody has.
    pub expanded: bool,
}

/// A publication with its message.
#[derive(Debug, Clone)]
pub struct StoredPublication {
    /// Its number.
    pub seq: i64,
    /// When it was published.
    pub published_at: Timestamp,
    /// The message.
    pub message: StoredMessage,
}

/// What opening a publication came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Numbered {
    /// It has its number.
    Publication(Publication),
    /// Another one was the last than its sender expected: that of this number.
    Conflict(i64),
}

const COLUMNS: &str = "topic, seq, mid, published_at, progress, expanded";
/// Publications read at a time, and the bytes of their bodies.
const STEP: i64 = 64;
const STEP_BYTES: usize = 4 * 1024 * 1024;

impl Store {
    /// The publication that a message is in a topic.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_publication(
        &self,
        topic: i64,
        mid: i64,
    ) -> Result<Option<Publication>, StoreError> {
        let mut reader = self.reader().await?;
        Ok(by_message(&mut reader, topic, mid).await?)
    }

    /// Gives a message that was held its number in the topic; one that has it keeps it. `expected`
    /// is the number of the last one that its sender knows.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn open_publication(
        &self,
        (topic, mid): (i64, i64),
        expected: Option<i64>,
        now: Timestamp,
    ) -> Result<Numbered, StoreError> {
        let open = OpenPublication {
            topic,
            mid,
            expected,
            now,
        };
        self.0.committing.commit(open).await
    }

    /// Stores copies of a publication, and that everybody up to `to` has one; nothing where it has
    /// gone on meanwhile.
    ///
    /// # Errors
    /// When the database fails, or somebody else went on: nothing of it is stored.
    pub async fn advance_publication(
        &self,
        publication: &Publication,
        to: String,
        expanded: bool,
        copies: Vec<Acceptance>,
    ) -> Result<(), StoreError> {
        let verb = Advance {
            publication: publication.clone(),
            to,
            expanded,
        };
        self.0
            .committing
            .commit_with(verb, copies, Patience::Long)
            .await
    }

    /// The number of the last publication of a topic; 0 where there was none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn last_publication(&self, topic: i64) -> Result<i64, StoreError> {
        let mut reader = self.reader().await?;
        let statement = Statement::new("SELECT last_seq FROM topics WHERE agent = ?").bind(topic);
        let row = reader.row(statement).await?;
        Ok(row.map(|row| row.int(0)).transpose()?.unwrap_or(0))
    }

    /// The number that a message got in a topic, by the sender (lower-cased) and the id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn publication_number(
        &self,
        topic: i64,
        (sender, id): (&str, &MessageId),
    ) -> Result<Option<i64>, StoreError> {
        let mut reader = self.reader().await?;
        let statement = Statement::new(
            "SELECT p.seq FROM messages m CROSS JOIN publications p \
             WHERE m.message_id = ? AND m.sender = ? AND p.mid = m.mid AND p.topic = ? \
             ORDER BY p.seq DESC LIMIT 1",
        )
        .bind(id.as_str())
        .bind(sender)
        .bind(topic);
        let row = reader.row(statement).await?;
        Ok(row.map(|row| row.int(0)).transpose()?)
    }

    /// What was published after a number and is still kept, oldest first; at most `limit`, 64 and
    /// 4 MiB. The second part says whether more is there.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn publications_after(
        &self,
        topic: i64,
        after: i64,
        limit: i64,
    ) -> Result<(Vec<StoredPublication>, bool), StoreError> {
        let limit = limit.clamp(1, STEP);
        let mut reader = self.reader().await?;
        let statement = Statement::new(
            "SELECT seq, mid, published_at FROM publications WHERE topic = ? AND seq > ? \
             ORDER BY seq LIMIT ?",
        )
        .bind(topic)
        .bind(after)
        .bind(limit + 1);
        let rows = reader.rows(statement).await?;
        let mut more = i64::try_from(rows.len()).unwrap_or(i64::MAX) > limit;
        let mut found = Vec::new();
        let mut bytes = 0;
        for row in rows.iter().take(usize::try_from(limit).unwrap_or(1)) {
            let mid = row.int(1)?;
            // One by one: how large they are is not known before.
            let Some(message) = load(&mut reader, &[mid]).await?.pop() else {
                continue;
            };
            bytes += message.body.len();
            if bytes > STEP_BYTES && !found.is_empty() {
                more = true;
                break;
            }
            found.push(StoredPublication {
                seq: row.int(0)?,
                published_at: Timestamp::from_millis(row.int(2)?),
                message,
            });
        }
        Ok((found, more))
    }

    /// The last publications of topics: their numbers, and when they were made.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn latest_publications(
        &self,
        topics: &[i64],
    ) -> Result<HashMap<i64, (i64, Option<Timestamp>)>, StoreError> {
        let mut reader = self.reader().await?;
        let mut found = HashMap::new();
        for chunk in crate::store::sql::padded(topics) {
            let marks = crate::store::sql::places(chunk.len());
            let text = format!(
                "SELECT t.agent, t.last_seq, p.published_at FROM topics t LEFT JOIN publications p \
                 ON p.topic = t.agent AND p.seq = t.last_seq WHERE t.agent IN ({marks})"
            );
            for row in reader.rows(Statement::new(text).bind_all(chunk)).await? {
                let at = row.maybe_int(2)?.map(Timestamp::from_millis);
                found.insert(row.int(0)?, (row.int(1)?, at));
            }
        }
        Ok(found)
    }
}

async fn by_message(
    connection: &mut Connection,
    topic: i64,
    mid: i64,
) -> sqlx::Result<Option<Publication>> {
    let statement = Statement::new(format!(
        "SELECT {COLUMNS} FROM publications WHERE mid = ? AND topic = ?"
    ))
    .bind(mid)
    .bind(topic);
    let row = connection.row(statement).await?;
    row.map(|row| publication(&row)).transpose()
}

fn publication(row: &Row) -> sqlx::Result<Publication> {
    Ok(Publication {
        topic: row.int(0)?,
        seq: row.int(1)?,
        mid: row.int(2)?,
        published_at: Timestamp::from_millis(row.int(3)?),
        progress: row.text(4)?,
        expanded: row.int(5)? != 0,
    })
}

struct OpenPublication {
    topic: i64,
    mid: i64,
    expected: Option<i64>,
    now: Timestamp,
}

impl Verb for OpenPublication {
    type Answer = Numbered;

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<Numbered> {
        let last = lock_topic(tx, self.topic).await?;
        if let Some(known) = by_message(tx, self.topic, self.mid).await? {
            return Ok(Numbered::Publication(known));
        }
        if self.expected.is_some_and(|expected| expected != last) {
            return Ok(Numbered::Conflict(last));
        }
        let publication = Publication {
            topic: self.topic,
            seq: last + 1,
            mid: self.mid,
            published_at: self.now,
            progress: String::new(),
            expanded: false,
        };
        let insert = Statement::new(
            "INSERT INTO publications (topic, seq, mid, published_at) VALUES (?, ?, ?, ?)",
        )
        .bind(self.topic)
        .bind(publication.seq)
        .bind(self.mid)
        .bind(self.now.as_millis());
        tx.run(insert).await?;
        let count = Statement::new("UPDATE topics SET last_seq = ? WHERE agent = ?")
            .bind(publication.seq)
            .bind(self.topic);
        tx.run(count).await?;
        Ok(Numbered::Publication(publication))
    }
}

struct Advance {
    publication: Publication,
    to: String,
    expanded: bool,
}

impl Verb for Advance {
    type Answer = ();

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<()> {
        let it = &self.publication;
        let update = Statement::new(
            "UPDATE publications SET progress = ?, expanded = ? \
             WHERE topic = ? AND seq = ? AND progress = ? AND expanded = 0",
        )
        .bind(self.to.as_str())
        .bind(self.expanded)
        .bind(it.topic)
        .bind(it.seq)
        .bind(it.progress.as_str());
        match tx.run(update).await? {
            0 => Err(moved_on()),
            _ => Ok(()),
        }
    }
}
