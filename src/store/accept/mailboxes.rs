//! The positions that a batch gives out in mailboxes.

use std::collections::HashMap;

use super::{AcceptJob, Plan};
use crate::events::Topic;
use crate::store::sql::{Connection, Statement, padded, places};

/// The next positions of the mailboxes this batch touches: before it, and by now.
pub(super) struct Mailboxes(HashMap<i64, (i64, i64)>);

impl Mailboxes {
    pub(super) async fn read(tx: &mut Connection, jobs: &[&mut AcceptJob]) -> sqlx::Result<Self> {
        let mut ids: Vec<i64> = jobs
            .iter()
            .flat_map(|job| &job.acceptance.recipients)
            .filter_map(|recipient| match recipient.plan {
                Plan::Inbox { mailbox, .. } => Some(mailbox),
                _ => None,
            })
            .collect();
        ids.sort_unstable();
        ids.dedup();
        let mut found = HashMap::with_capacity(ids.len());
        if let Some(memory) = tx.memory() {
            for id in &ids {
                if let Some(next) = memory.position(*id) {
                    found.insert(*id, (next, next));
                }
            }
            ids.retain(|id| !found.contains_key(id));
        }
        for chunk in padded(&ids) {
            let text = format!(
                "SELECT id, next_seq FROM mailboxes WHERE id IN ({}) ORDER BY id{}",
                places(chunk.len()),
                tx.locking("mailboxes")
            );
            for row in tx.rows(Statement::new(text).bind_all(chunk)).await? {
                let next = row.int(1)?;
                found.insert(row.int(0)?, (next, next));
            }
        }
        Ok(Self(found))
    }

    /// The next position, or nothing where the mailbox is gone.
    pub(super) fn take(&mut self, mailbox: i64) -> Option<i64> {
        let (_, next) = self.0.get_mut(&mailbox)?;
        *next += 1;
        Some(*next - 1)
    }

    pub(super) async fn write(
        self,
        tx: &mut Connection,
        topics: &mut Vec<Topic>,
    ) -> sqlx::Result<()> {
        let mut moved: Vec<(i64, i64)> = self
            .0
            .into_iter()
            .filter(|(_, (before, after))| before != after)
            .map(|(id, (_, after))| (id, after))
            .collect();
        moved.sort_unstable();
        topics.extend(moved.iter().map(|(id, _)| Topic::Mailbox(*id)));
        if let Some(memory) = tx.memory() {
            moved.iter().for_each(|(id, next)| memory.place(*id, *next));
        }
        for chunk in padded(&moved) {
            let mut text = "(?,?),".repeat(chunk.len());
            text.pop();
            let text = format!(
                "UPDATE mailboxes SET next_seq = v.column2 FROM (VALUES {text}) AS v WHERE mailboxes.id = v.column1"
            );
            let values = chunk.into_iter().flat_map(|(id, next)| [id, next]);
            tx.tell(Statement::new(text).bind_all(values)).await?;
        }
        Ok(())
    }
}
