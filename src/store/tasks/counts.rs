//! How many tasks there are.

use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::sql::Statement;

/// What is in the store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TaskCounts {
    /// Tasks by the numbers of their states; without states that have none.
    pub states: Vec<(i64, u64)>,
    /// Places that changes are still to be posted to.
    pub receivers: u64,
}

impl Store {
    /// How many tasks there are.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn count_tasks(&self) -> Result<TaskCounts, StoreError> {
        let mut reader = self.reader().await?;
        let states = Statement::new("SELECT state, count(*) FROM tasks GROUP BY state");
        let mut counts = TaskCounts::default();
        let positive = |count: i64| u64::try_from(count).unwrap_or(0);
        for row in reader.rows(states).await? {
            counts.states.push((row.int(0)?, positive(row.int(1)?)));
        }
        let due = Statement::new("SELECT count(*) FROM task_pushes WHERE due_at IS NOT NULL");
        let due = reader.row(due).await?;
        counts.receivers = positive(due.map_or(Ok(0), |row| row.int(0))?);
        Ok(counts)
    }
}
