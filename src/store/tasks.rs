//! Tasks of A2A: rows, history, artifacts, and the log of what happened.
//!
//! - What is said and what happened is JSON that this module does not read: `crate::task` does.
//! - A task is opened, and changed, in the commit that stores the message it goes with.
//! - The state is looked at inside the commit that changes it, so that nothing follows a last state.
//! - The positions of events have no gaps. A task as it is and the position it is of are read by one
//!   statement: who reads on behind it misses nothing.

mod advance;
mod counts;
mod list;
mod open;
mod posting;
mod pushes;
mod recall;
mod resealing;
mod sweep;

use super::Store;
use super::error::StoreError;
use super::sql::{Connection, Row, Statement};
use crate::events::Topic;
use crate::protocol::{MessageId, Timestamp};

pub use advance::{Advance, Advanced, ArtifactPiece, NewStatus, Otherwise, TaskStep, When};
pub use counts::TaskCounts;
pub use list::{TaskCursor, TaskPage, TaskQuery};
pub use open::{NewTask, OpenedTask};
pub use posting::{DuePush, Pushed};
pub use pushes::{MOST_PUSHES, NewPush, StoredPush};
pub use recall::Ended;
pub(super) use recall::{agent_lost, lost};
pub use resealing::SealedPush;
pub(super) use resealing::count as count_sealed;
pub(super) use sweep::{STEP as SWEPT, sweep};

/// Which way a message of a task went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To the agent.
    Asked,
    /// From it.
    Answered,
}

impl Direction {
    const fn code(self) -> i64 {
        match self {
            Self::Asked => 0,
            Self::Answered => 1,
        }
    }
}

/// A task without its history and artifacts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskRow {
    /// Its id.
    pub id: String,
    /// The number of the agent.
    pub agent: i64,
    /// Who made it.
    pub owner: String,
    /// The conversation.
    pub context: String,
    /// The number of the dialect it was made in.
    pub dialect: i64,
    /// The name an early client gave it.
    pub alias: Option<String>,
    /// The number of its state.
    pub state: i64,
    /// Its status, as JSON.
    pub status: Vec<u8>,
    /// Since when it has this status.
    pub changed_at: Timestamp,
    /// When it was made.
    pub created_at: Timestamp,
    /// The position of its last event; 0 where there is none.
    pub seq: i64,
    /// Its client has not seen it yet, until then at most.
    pub held_until: Timestamp,
    /// When it fails if it has not ended.
    pub deadline_at: Option<Timestamp>,
    /// What else is said of it, as JSON.
    pub metadata: Option<Vec<u8>>,
}

/// A task as it was at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WholeTask {
    /// The task.
    pub row: TaskRow,
    /// Messages as JSON, oldest first.
    pub history: Vec<Vec<u8>>,
    /// Pieces of artifacts as JSON, in the order of the artifacts and within each.
    pub artifacts: Vec<Vec<u8>>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskEvent {
    /// Its position.
    pub seq: i64,
    /// As JSON.
    pub body: Vec<u8>,
}

/// How much of a task is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskParts {
    /// The newest so many messages; nothing = all.
    pub history: Option<u32>,
    /// Whether artifacts are wanted.
    pub artifacts: bool,
}

impl TaskParts {
    /// Everything.
    pub const ALL: Self = Self {
        history: None,
        artifacts: true,
    };
}

pub(super) const COLUMNS: &str = "id, agent, owner, context, dialect, alias, state, status, changed_at, created_at, seq, \
     held_until, deadline_at, metadata";

impl Store {
    /// A task of an owner; nothing for a task of others.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_task(&self, id: &str, owner: &str) -> Result<Option<TaskRow>, StoreError> {
        let select = Statement::new(format!(
            "SELECT {COLUMNS} FROM tasks WHERE id = ? AND owner = ?"
        ));
        self.one_task(select.bind(id).bind(owner)).await
    }

    /// A task, whoever made it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_any_task(&self, id: &str) -> Result<Option<TaskRow>, StoreError> {
        let select = Statement::new(format!("SELECT {COLUMNS} FROM tasks WHERE id = ?"));
        self.one_task(select.bind(id)).await
    }

    /// The task that an early client knows by a name of its own.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_task_by_alias(
        &self,
        (owner, agent): (&str, i64),
        alias: &str,
    ) -> Result<Option<TaskRow>, StoreError> {
        let select = Statement::new(format!(
            "SELECT {COLUMNS} FROM tasks WHERE id IN \
             (SELECT task FROM task_aliases WHERE owner = ? AND agent = ? AND alias = ?)"
        ));
        self.one_task(select.bind(owner).bind(agent).bind(alias))
            .await
    }

    /// The task that a message, by its own id, was sent for or answered.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_task_of_message(
        &self,
        message: &MessageId,
    ) -> Result<Option<TaskRow>, StoreError> {
        let select = Statement::new(format!(
            "SELECT {COLUMNS} FROM tasks WHERE id IN (SELECT task FROM task_links WHERE message = ?)"
        ));
        self.one_task(select.bind(message.as_str())).await
    }

    async fn one_task(&self, select: Statement) -> Result<Option<TaskRow>, StoreError> {
        let mut reader = self.reader().await?;
        let found = reader.row(select).await?;
        Ok(found.map(|row| task(&row)).transpose()?)
    }

    /// The message that the next one to the agent answers: the agent's last, else our last.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn last_task_message(&self, task: &str) -> Result<Option<MessageId>, StoreError> {
        let mut reader = self.reader().await?;
        let select = Statement::new(
            "SELECT message FROM task_links WHERE task = ? ORDER BY direction DESC, n DESC LIMIT 1",
        );
        let Some(row) = reader.row(select.bind(task)).await? else {
            return Ok(None);
        };
        Ok(MessageId::parse(&row.text(0)?).ok())
    }

    /// Messages to the agent of a task, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn task_requests(&self, task: &str) -> Result<Vec<MessageId>, StoreError> {
        let mut reader = self.reader().await?;
        let select = Statement::new(
            "SELECT message FROM task_links WHERE task = ? AND direction = 0 ORDER BY n LIMIT 1000",
        );
        let mut ids = Vec::new();
        for row in reader.rows(select.bind(task)).await? {
            ids.extend(MessageId::parse(&row.text(0)?));
        }
        Ok(ids)
    }

    /// A task as it is, and the position it is of.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn whole_task(
        &self,
        row: TaskRow,
        parts: TaskParts,
    ) -> Result<Option<WholeTask>, StoreError> {
        let select = Statement::new(
            "SELECT 0, seq, state, changed_at, held_until, status FROM tasks WHERE id = ? \
             UNION ALL SELECT 1, n, 0, 0, 0, body FROM \
             (SELECT n, body FROM task_history WHERE task = ? ORDER BY n DESC LIMIT ?) AS h \
             UNION ALL SELECT 2, place, seq, 0, 0, body FROM task_artifacts WHERE task = ? AND ? = 1",
        )
        .bind(row.id.as_str())
        .bind(row.id.as_str())
        .bind(parts.history.map_or(i64::from(u32::MAX), i64::from))
        .bind(row.id.as_str())
        .bind(parts.artifacts);
        let mut found = Vec::new();
        for row in self.reader().await?.rows(select).await? {
            let place = (row.int(0)?, row.int(1)?, row.int(2)?);
            found.push((place, (row.int(3)?, row.int(4)?), row.bytes(5)?));
        }
        found.sort_unstable_by_key(|(place, ..)| *place);
        let mut whole = WholeTask {
            row,
            history: Vec::new(),
            artifacts: Vec::new(),
        };
        let mut there = false;
        for ((kind, first, second), (changed_at, held_until), body) in found {
            match kind {
                0 => {
                    there = true;
                    whole.row.seq = first;
                    whole.row.state = second;
                    whole.row.changed_at = Timestamp::from_millis(changed_at);
                    whole.row.held_until = Timestamp::from_millis(held_until);
                    whole.row.status = body;
                }
                1 => whole.history.push(body),
                _ => whole.artifacts.push(body),
            }
        }
        Ok(there.then_some(whole))
    }

    /// What happened behind a position, at most `limit` events.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn task_events(
        &self,
        task: &str,
        after: i64,
        limit: u32,
    ) -> Result<Vec<TaskEvent>, StoreError> {
        let mut reader = self.reader().await?;
        let select = Statement::new(
            "SELECT seq, body FROM task_events WHERE task = ? AND seq > ? ORDER BY seq LIMIT ?",
        )
        .bind(task)
        .bind(after)
        .bind(i64::from(limit));
        let rows = reader.rows(select).await?;
        let event = |row: &Row| {
            Ok(TaskEvent {
                seq: row.int(0)?,
                body: row.bytes(1)?,
            })
        };
        Ok(rows.iter().map(event).collect::<sqlx::Result<_>>()?)
    }

    /// Tasks whose time is up, at most `limit`, the oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn overdue_tasks(
        &self,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<TaskRow>, StoreError> {
        let mut reader = self.reader().await?;
        let select = Statement::new(format!(
            "SELECT {COLUMNS} FROM tasks WHERE deadline_at IS NOT NULL AND deadline_at <= ? \
             ORDER BY deadline_at LIMIT ?"
        ))
        .bind(now.as_millis())
        .bind(i64::from(limit));
        let rows = reader.rows(select).await?;
        Ok(rows.iter().map(task).collect::<sqlx::Result<_>>()?)
    }
}

/// Who waits for changes of a task waits for this.
#[must_use]
pub fn task_topic(id: &str) -> Topic {
    Topic::Task(super::id_hash(id))
}

fn task(row: &Row) -> sqlx::Result<TaskRow> {
    Ok(TaskRow {
        id: row.text(0)?,
        agent: row.int(1)?,
        owner: row.text(2)?,
        context: row.text(3)?,
        dialect: row.int(4)?,
        alias: row.maybe_text(5)?,
        state: row.int(6)?,
        status: row.bytes(7)?,
        changed_at: Timestamp::from_millis(row.int(8)?),
        created_at: Timestamp::from_millis(row.int(9)?),
        seq: row.int(10)?,
        held_until: Timestamp::from_millis(row.int(11)?),
        deadline_at: row.maybe_int(12)?.map(Timestamp::from_millis),
        metadata: row.maybe_bytes(13)?,
    })
}

/// Notes that a message belongs to a task.
async fn link(
    tx: &mut Connection,
    task: &str,
    (message, direction): (&MessageId, Direction),
) -> sqlx::Result<()> {
    let insert = Statement::new(
        "INSERT INTO task_links (message, task, direction, n) \
         SELECT ?, ?, ?, coalesce(max(n), 0) + 1 FROM task_links WHERE task = ? \
         ON CONFLICT (message) DO NOTHING",
    )
    .bind(message.as_str())
    .bind(task)
    .bind(direction.code())
    .bind(task);
    tx.run(insert).await.map(drop)
}

/// The task of a request that was made before.
async fn repeated(tx: &mut Connection, request: Option<&str>) -> sqlx::Result<Option<String>> {
    let Some(request) = request else {
        return Ok(None);
    };
    let select = Statement::new("SELECT task FROM task_requests WHERE request = ?").bind(request);
    tx.row(select).await?.map(|row| row.text(0)).transpose()
}

/// Notes a request that may be repeated.
async fn remember(tx: &mut Connection, request: Option<&str>, task: &str) -> sqlx::Result<()> {
    let Some(request) = request else {
        return Ok(());
    };
    let insert = Statement::new("INSERT INTO task_requests (request, task) VALUES (?, ?)");
    tx.run(insert.bind(request).bind(task)).await.map(drop)
}
