//! Forgetting tasks that ended.

use crate::store::sql::{Connection, Statement, padded, places};

/// Tasks forgotten in one step.
pub(in crate::store) const STEP: u64 = 100;

/// One step of forgetting tasks that ended before a moment, with all that belongs to them. Answers how
/// many. A task stays while its last change is still to be posted somewhere.
pub(in crate::store) async fn sweep(tx: &mut Connection, before: i64) -> sqlx::Result<u64> {
    let select = Statement::new(
        "SELECT id FROM tasks WHERE state IN (3, 4, 5, 7) AND changed_at < ? AND NOT EXISTS \
         (SELECT 1 FROM task_pushes WHERE task_pushes.task = tasks.id AND due_at IS NOT NULL) \
         ORDER BY changed_at LIMIT ?",
    );
    let select = select
        .bind(before)
        .bind(i64::try_from(STEP).unwrap_or(i64::MAX));
    let mut ids = Vec::new();
    for row in tx.rows(select).await? {
        ids.push(row.text(0)?);
    }
    for chunk in padded(&ids) {
        for (table, column) in TABLES {
            let marks = places(chunk.len());
            let text = format!("DELETE FROM {table} WHERE {column} IN ({marks})");
            tx.run(Statement::new(text).bind_all(chunk.clone())).await?;
        }
    }
    Ok(u64::try_from(ids.len()).unwrap_or(u64::MAX))
}

/// The tables of tasks, and the column that names the task.
const TABLES: [(&str, &str); 8] = [
    ("task_history", "task"),
    ("task_events", "task"),
    ("task_artifacts", "task"),
    ("task_links", "task"),
    ("task_aliases", "task"),
    ("task_requests", "task"),
    ("task_pushes", "task"),
    ("tasks", "id"),
];
