//! Lag: what waits for agents, topics and groups, and since when.

use std::collections::HashMap;
use std::sync::Arc;

use super::Store;
use super::agents::Agent;
use super::error::StoreError;
use super::room;
use super::sql::{Connection, Statement};
use crate::protocol::Timestamp;

/// What a destination in the queue begins with where it is an agent, a group or a topic of ours,
/// and the first text behind all of those.
const KINDS: [(&str, &str); 3] = [
    ("agent:", "agent;"),
    ("group:", "group;"),
    ("list:", "list;"),
];

/// What waits for one agent, topic or group.
#[derive(Debug, Clone)]
pub struct Lag {
    /// For whom.
    pub agent: Arc<Agent>,
    /// Messages in its mailbox.
    pub waiting: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// Deliveries to it in the queue.
    pub queued: u64,
    /// When the oldest of all was accepted.
    pub oldest: Option<Timestamp>,
}

impl Lag {
    /// Messages that wait, wherever.
    #[must_use]
    pub const fn messages(&self) -> u64 {
        self.waiting.saturating_add(self.queued)
    }
}

#[derive(Default)]
struct Counts {
    waiting: i64,
    bytes: i64,
    queued: i64,
    /// The first of its deliveries in the queue.
    first: Option<i64>,
}

impl Store {
    /// Those for whom most waits, at most `limit`, the most first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn lag(&self, limit: usize) -> Result<Vec<Lag>, StoreError> {
        let mut reader = self.reader().await?;
        let counts = counts(&mut reader, limit).await?;
        let mut order: Vec<(i64, Counts)> = counts.into_iter().collect();
        order.sort_by_key(|(id, it)| (-(it.waiting + it.queued), *id));
        let mut found = Vec::new();
        for (id, counts) in order {
            if found.len() == limit {
                break;
            }
            if let Some(agent) = self.find_agent_by_number(id).await? {
                found.push(lag(&mut reader, agent, counts).await?);
            }
        }
        Ok(found)
    }

    /// What waits for one agent.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn lag_of(&self, agent: Arc<Agent>) -> Result<Lag, StoreError> {
        let mut reader = self.reader().await?;
        let mut counts = Counts::default();
        let mailbox = Statement::new("SELECT messages, bytes FROM mailboxes WHERE id = ?");
        if let Some(row) = reader.row(mailbox.bind(agent.id)).await? {
            (counts.waiting, counts.bytes) = (row.int(0)?, row.int(1)?);
        }
        for (kind, _) in KINDS {
            let queue = Statement::new(
                "SELECT count(*), min(seq) FROM deliveries WHERE destination = ? AND state < 2",
            );
            let queue = queue.bind(format!("{kind}{}", agent.id));
            if let Some(row) = reader.row(queue).await? {
                counts.queued += row.int(0)?;
                let first = row.maybe_int(1)?;
                counts.first = [counts.first, first].into_iter().flatten().min();
            }
        }
        Ok(lag(&mut reader, agent, counts).await?)
    }
}

/// The largest counts, by agent.
async fn counts(reader: &mut Connection, limit: usize) -> sqlx::Result<HashMap<i64, Counts>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut counts: HashMap<i64, Counts> = HashMap::new();
    for (kind, end) in KINDS {
        let queue = Statement::new(
            "SELECT destination, count(*), min(seq) FROM deliveries \
             WHERE destination >= ? AND destination < ? AND state < 2 \
             GROUP BY destination ORDER BY count(*) DESC LIMIT ?",
        );
        let queue = queue.bind(kind).bind(end).bind(limit);
        for row in reader.rows(queue).await? {
            let Some(id) = row
                .text(0)?
                .strip_prefix(kind)
                .and_then(|id| id.parse().ok())
            else {
                continue;
            };
            let it = counts.entry(id).or_default();
            it.queued += row.int(1)?;
            it.first = [it.first, row.maybe_int(2)?].into_iter().flatten().min();
        }
    }
    let mut known: Vec<i64> = counts.keys().copied().collect();
    let mailboxes = Statement::new(
        "SELECT id, messages, bytes FROM mailboxes WHERE messages > 0 ORDER BY messages DESC LIMIT ?",
    );
    for row in reader.rows(mailboxes.bind(limit)).await? {
        let id = row.int(0)?;
        known.retain(|other| *other != id);
        let it = counts.entry(id).or_default();
        (it.waiting, it.bytes) = (row.int(1)?, row.int(2)?);
    }
    for id in known {
        let mailbox = Statement::new("SELECT messages, bytes FROM mailboxes WHERE id = ?");
        if let Some(row) = reader.row(mailbox.bind(id)).await? {
            let it = counts.entry(id).or_default();
            (it.waiting, it.bytes) = (row.int(0)?, row.int(1)?);
        }
    }
    Ok(counts)
}

async fn lag(reader: &mut Connection, agent: Arc<Agent>, counts: Counts) -> sqlx::Result<Lag> {
    let in_mailbox = match counts.waiting > 0 {
        true => room::oldest(reader, agent.id).await?,
        false => None,
    };
    let in_queue = match counts.first {
        Some(seq) => {
            let first = Statement::new(
                "SELECT m.accepted_at FROM deliveries d JOIN messages m ON m.mid = d.mid WHERE d.seq = ?",
            );
            let row = reader.row(first.bind(seq)).await?;
            row.map(|row| row.int(0))
                .transpose()?
                .map(Timestamp::from_millis)
        }
        None => None,
    };
    let positive = |count: i64| u64::try_from(count).unwrap_or(0);
    Ok(Lag {
        agent,
        waiting: positive(counts.waiting),
        bytes: positive(counts.bytes),
        queued: positive(counts.queued),
        oldest: [in_mailbox, in_queue].into_iter().flatten().min(),
    })
}
