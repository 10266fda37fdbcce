//! Sealing anew what is shown where changes of tasks are posted; see `store::resealing`.

use std::collections::BTreeMap;

use crate::events::Topic;
use crate::store::Store;
use crate::store::committer::Verb;
use crate::store::error::StoreError;
use crate::store::seal::KeyMark;
use crate::store::sql::{Connection, Row, Statement};

/// The sealed value of a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedPush {
    /// The task.
    pub task: String,
    /// The name of the place within the task.
    pub id: String,
    /// The value.
    pub sealed: Vec<u8>,
}

impl Store {
    /// Sealed values of places, in the order of task and name, behind one of them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sealed_pushes(
        &self,
        (task, id): (&str, &str),
        limit: i64,
    ) -> Result<Vec<SealedPush>, StoreError> {
        let mut reader = self.reader().await?;
        let select = Statement::new(
            "SELECT task, id, sealed FROM task_pushes WHERE (task, id) > (?, ?) AND sealed IS NOT NULL \
             ORDER BY task, id LIMIT ?",
        );
        let rows = reader.rows(select.bind(task).bind(id).bind(limit)).await?;
        let sealed = |row: &Row| {
            Ok(SealedPush {
                task: row.text(0)?,
                id: row.text(1)?,
                sealed: row.bytes(2)?,
            })
        };
        Ok(rows.iter().map(sealed).collect::<sqlx::Result<_>>()?)
    }

    /// Replaces sealed values, each given with the new one, where they still are what was read.
    /// Answers how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn reseal_pushes(
        &self,
        values: Vec<(SealedPush, Vec<u8>)>,
    ) -> Result<u64, StoreError> {
        self.0.committing.commit(Reseal(values)).await
    }
}

/// How many values rest on each key. The mark of a key stands in the second to fifth byte.
pub(in crate::store) async fn count(
    connection: &mut Connection,
) -> sqlx::Result<BTreeMap<KeyMark, u64>> {
    let select = Statement::new(
        "SELECT substr(sealed, 1, 5), count(*) FROM task_pushes WHERE sealed IS NOT NULL \
         GROUP BY substr(sealed, 1, 5)",
    );
    let mut marks = BTreeMap::new();
    for row in connection.rows(select).await? {
        if let Some(mark) = KeyMark::of(&row.bytes(0)?) {
            marks.insert(mark, u64::try_from(row.int(1)?).unwrap_or(0));
        }
    }
    Ok(marks)
}

struct Reseal(Vec<(SealedPush, Vec<u8>)>);

impl Verb for Reseal {
    type Answer = u64;

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<u64> {
        let mut replaced = 0;
        for (old, new) in &self.0 {
            let update = Statement::new(
                "UPDATE task_pushes SET sealed = ? WHERE task = ? AND id = ? AND sealed = ?",
            )
            .bind(new.as_slice())
            .bind(old.task.as_str())
            .bind(old.id.as_str())
            .bind(old.sealed.as_slice());
            replaced += tx.run(update).await?;
        }
        Ok(replaced)
    }
}
