//! Lists of tasks, those with the newest status first.

use super::{COLUMNS, TaskRow, task};
use crate::protocol::Timestamp;
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::sql::Statement;
use crate::store::steps::Conditions;

/// Where a page ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskCursor {
    /// Since when the last task has its status.
    pub at: Timestamp,
    /// Its id.
    pub id: String,
}

/// What to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskQuery {
    /// Whose tasks.
    pub owner: String,
    /// With which agent.
    pub agent: i64,
    /// Only of this conversation.
    pub context: Option<String>,
    /// Only in the state of this number.
    pub state: Option<i64>,
    /// Only those whose status is not older.
    pub since: Option<Timestamp>,
    /// Only those behind this place.
    pub before: Option<TaskCursor>,
    /// At most so many.
    pub limit: u32,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TaskPage {
    /// Newest status first.
    pub tasks: Vec<TaskRow>,
    /// Where to go on; nothing where the list ends here.
    pub next: Option<TaskCursor>,
    /// How many tasks the whole list has.
    pub total: u64,
}

impl Store {
    /// A page of tasks that their client has seen.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_tasks(
        &self,
        query: &TaskQuery,
        now: Timestamp,
    ) -> Result<TaskPage, StoreError> {
        let mut reader = self.reader().await?;
        let all = query.conditions(now);
        let count = format!("SELECT count(*) FROM tasks WHERE owner = ?{}", all.text);
        let count = Statement::new(count)
            .bind(query.owner.as_str())
            .bind_all(all.values);
        let total = reader.row(count).await?;
        let total = total.map_or(Ok(0), |row| row.int(0))?;
        let mut page = query.conditions(now);
        if let Some(cursor) = &query.before {
            page.add("(changed_at, id) < (?, ?)", cursor.at.as_millis());
            page.values.push(cursor.id.as_str().into());
        }
        let select = Statement::new(format!(
            "SELECT {COLUMNS} FROM tasks WHERE owner = ?{} ORDER BY changed_at DESC, id DESC LIMIT ?",
            page.text
        ))
        .bind(query.owner.as_str())
        .bind_all(page.values)
        .bind(i64::from(query.limit) + 1);
        let rows = reader.rows(select).await?;
        let mut tasks: Vec<TaskRow> = rows.iter().map(task).collect::<sqlx::Result<_>>()?;
        let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
        let more = tasks.len() > limit;
        tasks.truncate(limit);
        let last = tasks.last().filter(|_| more);
        Ok(TaskPage {
            next: last.map(|last| TaskCursor {
                at: last.changed_at,
                id: last.id.clone(),
            }),
            tasks,
            total: u64::try_from(total).unwrap_or(0),
        })
    }
}

impl TaskQuery {
    /// What is to be added to a statement over `tasks` that names the owner.
    fn conditions(&self, now: Timestamp) -> Conditions {
        let mut conditions = Conditions::default();
        conditions.add("agent = ?", self.agent);
        conditions.add("held_until <= ?", now.as_millis());
        if let Some(context) = &self.context {
            conditions.add("context = ?", context.as_str());
        }
        if let Some(state) = self.state {
            conditions.add("state = ?", state);
        }
        if let Some(since) = self.since {
            conditions.add("changed_at >= ?", since.as_millis());
        }
        conditions
    }
}
