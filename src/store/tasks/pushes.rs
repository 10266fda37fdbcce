//! Where changes of tasks are posted.
//!
//! Each place has a position of its own in the log of its task and goes through it in order; see
//! `posting`.

use super::task_topic;
use crate::events::Topic;
use crate::protocol::Timestamp;
use crate::store::Store;
use crate::store::committer::Verb;
use crate::store::error::StoreError;
use crate::store::sql::{Connection, Row, Statement};

/// Places of one task.
pub const MOST_PUSHES: i64 = 20;

/// A place to store; one with the same id is replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPush {
    /// Its name within the task.
    pub id: String,
    /// The number of the dialect it is written in.
    pub dialect: i64,
    /// Where.
    pub url: String,
    /// What is shown there, sealed.
    pub sealed: Option<Vec<u8>>,
    /// The present moment.
    pub now: Timestamp,
}

/// A stored place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPush {
    /// Its task.
    pub task: String,
    /// Its name within the task.
    pub id: String,
    /// The number of the dialect it is written in.
    pub dialect: i64,
    /// Where.
    pub url: String,
    /// What is shown there, sealed.
    pub sealed: Option<Vec<u8>>,
}

pub(super) const COLUMNS: &str = "task, id, dialect, url, sealed";

impl Store {
    /// Stores a place where changes of a task are posted from now on. Answers whether there is room
    /// for it, and nothing where there is no such task.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_push(&self, task: String, push: NewPush) -> Result<Option<bool>, StoreError> {
        self.0.committing.commit(Put { task, push }).await
    }

    /// The places of a task, in the order of their names behind one of them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_pushes(
        &self,
        task: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<StoredPush>, StoreError> {
        let mut reader = self.reader().await?;
        let select = Statement::new(format!(
            "SELECT {COLUMNS} FROM task_pushes WHERE task = ? AND id > ? ORDER BY id LIMIT ?"
        ));
        let select = select.bind(task).bind(after).bind(i64::from(limit));
        let rows = reader.rows(select).await?;
        Ok(rows.iter().map(stored).collect::<sqlx::Result<_>>()?)
    }

    /// Takes a place away. Answers whether it was there.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delete_push(&self, task: String, id: String) -> Result<bool, StoreError> {
        self.0.committing.commit(Delete { task, id }).await
    }
}

pub(super) fn stored(row: &Row) -> sqlx::Result<StoredPush> {
    Ok(StoredPush {
        task: row.text(0)?,
        id: row.text(1)?,
        dialect: row.int(2)?,
        url: row.text(3)?,
        sealed: row.maybe_bytes(4)?,
    })
}

/// Stores a place that has seen the log up to a position.
pub(super) async fn put(
    tx: &mut Connection,
    task: &str,
    push: &NewPush,
    sent: i64,
) -> sqlx::Result<()> {
    // Whoever posts to the old place does not settle the new one.
    let insert = Statement::new(
        "INSERT INTO task_pushes (task, id, dialect, url, sealed, created_at, sent) \
         VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (task, id) DO UPDATE SET \
         dialect = excluded.dialect, url = excluded.url, sealed = excluded.sealed, failures = 0, \
         due_at = CASE WHEN task_pushes.due_at IS NULL THEN NULL ELSE excluded.created_at END",
    )
    .bind(task)
    .bind(push.id.as_str())
    .bind(push.dialect)
    .bind(push.url.as_str())
    .bind(push.sealed.clone())
    .bind(push.now.as_millis())
    .bind(sent);
    tx.run(insert).await.map(drop)
}

/// Makes the places of a task due that are not yet. Answers whether there are any.
pub(super) async fn wake(tx: &mut Connection, task: &str, now: Timestamp) -> sqlx::Result<bool> {
    let update =
        Statement::new("UPDATE task_pushes SET due_at = ? WHERE task = ? AND due_at IS NULL");
    Ok(tx.run(update.bind(now.as_millis()).bind(task)).await? > 0)
}

struct Put {
    task: String,
    push: NewPush,
}

impl Verb for Put {
    type Answer = Option<bool>;

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<Option<bool>> {
        let task = self.task.as_str();
        let text = format!("SELECT seq FROM tasks WHERE id = ?{}", tx.locking("tasks"));
        let Some(row) = tx.row(Statement::new(text).bind(task)).await? else {
            return Ok(None);
        };
        let seq = row.int(0)?;
        let others = Statement::new("SELECT count(*) FROM task_pushes WHERE task = ? AND id <> ?");
        let others = tx
            .row(others.bind(task).bind(self.push.id.as_str()))
            .await?;
        if others.map_or(Ok(0), |row| row.int(0))? >= MOST_PUSHES {
            return Ok(Some(false));
        }
        put(tx, task, &self.push, seq).await?;
        topics.push(task_topic(task));
        Ok(Some(true))
    }
}

struct Delete {
    task: String,
    id: String,
}

impl Verb for Delete {
    type Answer = bool;

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<bool> {
        let delete = Statement::new("DELETE FROM task_pushes WHERE task = ? AND id = ?");
        let delete = delete.bind(self.task.as_str()).bind(self.id.as_str());
        Ok(tx.run(delete).await? > 0)
    }
}
