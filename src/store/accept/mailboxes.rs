//! The positions that a batch gives out in mailboxes, and whether there is room.

use std::collections::{HashMap, HashSet};

use super::{AcceptJob, Acceptance, Plan, Planned, lane_of};
use crate::events::Topic;
use crate::protocol::Timestamp;
use crate::store::agents::WhenFull;
use crate::store::room::{self, Mailbox};
use crate::store::sql::{Connection, Statement, padded, places};

/// The mailboxes this batch touches.
pub(super) struct Mailboxes {
    found: HashMap<i64, Touched>,
    /// Lanes of which something waits in the queue until there is room.
    waiting: HashSet<i64>,
}

/// A mailbox before the batch, and by now.
struct Touched {
    before: Mailbox,
    now: Mailbox,
    /// Its oldest mail has waited longer than it may.
    is_overdue: bool,
}

/// Where a message finds its place.
pub(super) enum Room {
    /// In the mailbox, at this position.
    Position(i64),
    /// In the queue, until there is room.
    Queue,
    /// Nowhere: the mailbox is full.
    Full,
    /// Nowhere: the mailbox is gone.
    Gone,
}

impl Mailboxes {
    pub(super) async fn read(tx: &mut Connection, jobs: &[&mut AcceptJob]) -> sqlx::Result<Self> {
        let mut ids: Vec<i64> = jobs.iter().flat_map(|job| job.mailboxes()).collect();
        ids.sort_unstable();
        ids.dedup();
        let mut found = HashMap::with_capacity(ids.len());
        if let Some(memory) = tx.memory() {
            for id in &ids {
                if let Some(mailbox) = memory.mailbox(*id) {
                    found.insert(*id, Touched::from(mailbox));
                }
            }
            ids.retain(|id| !found.contains_key(id));
        }
        for chunk in padded(&ids) {
            let text = format!(
                "SELECT {} FROM mailboxes WHERE id IN ({}) ORDER BY id{}",
                room::COLUMNS,
                places(chunk.len()),
                tx.locking("mailboxes")
            );
            for row in tx.rows(Statement::new(text).bind_all(chunk)).await? {
                let (id, mailbox) = Mailbox::of(&row)?;
                found.insert(id, Touched::from(mailbox));
            }
        }
        let mut mailboxes = Self {
            found,
            waiting: HashSet::new(),
        };
        if mailboxes.found.values().any(|it| it.now.may_hold()) {
            mailboxes.find_waiting(tx, jobs).await?;
            let now = jobs.iter().map(|job| job.now()).max();
            mailboxes.find_overdue(tx, now.unwrap_or_default()).await?;
        }
        Ok(mailboxes)
    }

    /// Finds out which lanes have something in the queue, and which mailboxes nothing any more.
    async fn find_waiting(
        &mut self,
        tx: &mut Connection,
        jobs: &[&mut AcceptJob],
    ) -> sqlx::Result<()> {
        let flowing: Vec<i64> = self
            .found
            .iter()
            .filter(|(_, it)| it.now.overflow)
            .map(|(id, _)| *id)
            .collect();
        for mailbox in flowing {
            let any = Statement::new(
                "SELECT seq FROM deliveries WHERE destination = ? AND state < 2 LIMIT 1",
            );
            let any = any.bind(format!("agent:{mailbox}"));
            if tx.row(any).await?.is_none() {
                if let Some(it) = self.found.get_mut(&mailbox) {
                    it.now.overflow = false;
                }
                continue;
            }
            let mut of_mailbox = lanes_of(mailbox, jobs);
            of_mailbox.sort_unstable();
            of_mailbox.dedup();
            for chunk in padded(&of_mailbox) {
                let text = format!(
                    "SELECT DISTINCT lane FROM deliveries WHERE lane IN ({}) AND state < 2 AND flags & 1 = 0",
                    places(chunk.len())
                );
                for row in tx.rows(Statement::new(text).bind_all(chunk)).await? {
                    self.waiting.insert(row.int(0)?);
                }
            }
        }
        Ok(())
    }

    async fn find_overdue(&mut self, tx: &mut Connection, now: Timestamp) -> sqlx::Result<()> {
        for (id, it) in &mut self.found {
            it.is_overdue = room::is_overdue(tx, (*id, &it.now), now).await?;
        }
        Ok(())
    }

    /// Whether a message for this mailbox may end in the queue.
    pub(super) fn may_hold(&self, mailbox: i64) -> bool {
        self.found
            .get(&mailbox)
            .is_some_and(|it| it.now.may_hold() || it.before.may_hold())
    }

    /// A place for a message.
    pub(super) fn take(
        &mut self,
        mailbox: i64,
        acceptance: &Acceptance,
        recipient: &Planned,
    ) -> Room {
        let envelope = &acceptance.envelope;
        let size = i64::try_from(envelope.message.raw().len()).unwrap_or(i64::MAX);
        let Some(it) = self.found.get_mut(&mailbox) else {
            return Room::Gone;
        };
        if !it.now.may_hold() {
            return Room::Position(it.now.enter(size));
        }
        let (origin, lane) = (envelope.origin, lane_of(envelope, recipient));
        // A small one that would fit does not overtake a large one that did not.
        let succession = acceptance.succession.as_ref();
        let is_behind = succession.is_some_and(|it| it.is_full(lane));
        let has_room = it.now.has_room(size) && !it.is_overdue && !is_behind;
        let when_full = it.now.when_full(origin);
        match (has_room, when_full) {
            (false, WhenFull::Refuse) => {
                succession.inspect(|it| it.full(lane));
                Room::Full
            }
            (false, WhenFull::Hold) => {
                it.now.overflow = true;
                self.waiting.insert(lane);
                Room::Queue
            }
            _ if it.now.overflow && self.waiting.contains(&lane) => Room::Queue,
            _ => Room::Position(it.now.enter(size)),
        }
    }

    /// Writes what changed. Answers the mailboxes that hold too much now and give up their oldest.
    pub(super) async fn write(
        self,
        tx: &mut Connection,
        topics: &mut Vec<Topic>,
    ) -> sqlx::Result<Vec<(i64, Mailbox)>> {
        let mut moved: Vec<(i64, Touched)> = self
            .found
            .into_iter()
            .filter(|(_, it)| it.before != it.now)
            .collect();
        moved.sort_unstable_by_key(|(id, _)| *id);
        let arrived = moved.iter().filter(|(_, it)| it.before.next != it.now.next);
        topics.extend(arrived.map(|(id, _)| Topic::Mailbox(*id)));
        if let Some(memory) = tx.memory() {
            moved.iter().for_each(|(id, it)| memory.place(*id, it.now));
        }
        let rows: Vec<[i64; 5]> = moved.iter().map(|(id, it)| it.change(*id)).collect();
        for chunk in padded(&rows) {
            let mut text = "(?,?,?,?,?),".repeat(chunk.len());
            text.pop();
            let text = format!(
                "UPDATE mailboxes SET next_seq = v.column2, messages = messages + v.column3, \
                 bytes = bytes + v.column4, overflow = v.column5 \
                 FROM (VALUES {text}) AS v WHERE mailboxes.id = v.column1"
            );
            tx.tell(Statement::new(text).bind_all(chunk.into_iter().flatten()))
                .await?;
        }
        let overfull = moved.into_iter().filter(|(_, it)| it.gives_up());
        Ok(overfull.map(|(id, it)| (id, it.now)).collect())
    }
}

impl From<Mailbox> for Touched {
    fn from(mailbox: Mailbox) -> Self {
        Self {
            before: mailbox,
            now: mailbox,
            is_overdue: false,
        }
    }
}

impl Touched {
    /// Number, next position, what came in, and whether mail may wait in the queue.
    fn change(&self, id: i64) -> [i64; 5] {
        [
            id,
            self.now.next,
            self.now.messages - self.before.messages,
            self.now.bytes - self.before.bytes,
            i64::from(self.now.overflow),
        ]
    }

    fn gives_up(&self) -> bool {
        let over = |held: i64, bound: Option<u64>| {
            bound.is_some_and(|bound| u64::try_from(held).unwrap_or(0) > bound)
        };
        let bounds = &self.now.bounds;
        bounds.when_full == Some(WhenFull::DeadLetter)
            && (self.is_overdue
                || over(self.now.messages, bounds.messages)
                || over(self.now.bytes, bounds.bytes))
    }
}

/// The lanes of all messages for a mailbox.
fn lanes_of(mailbox: i64, jobs: &[&mut AcceptJob]) -> Vec<i64> {
    let goes = |it: &Planned| matches!(it.plan, Plan::Inbox { mailbox: to, .. } if to == mailbox);
    let lanes = jobs.iter().flat_map(|job| {
        let recipients = job.acceptance.recipients.iter();
        let of_mailbox = recipients.filter(|recipient| goes(recipient));
        of_mailbox.map(|recipient| lane_of(&job.acceptance.envelope, recipient))
    });
    lanes.collect()
}
