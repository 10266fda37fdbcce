//! Messages that must not overtake one another.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::protocol::Address;

/// The messages of one batch. Behind one that could not be taken for the time being, none of the same sender
/// is: it would overtake the first one, which comes again. Where only a mailbox was full that is so for the same
/// sender and recipient. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Succession(Arc<Mutex<Missing>>);

/// Where a message is missing.
#[derive(Debug, Default)]
struct Missing {
    senders: HashSet<Address>,
    lanes: HashSet<i64>,
}

impl Succession {
    /// Whether a message of this sender is missing.
    #[must_use]
    pub fn is_broken(&self, sender: &Address) -> bool {
        let missing = self.lock();
        !missing.senders.is_empty() && missing.senders.contains(sender)
    }

    /// A message of this sender could not be taken.
    pub fn broke(&self, sender: &Address) {
        self.lock().senders.insert(sender.clone());
    }

    /// Whether a message of this lane found no room.
    pub(super) fn is_full(&self, lane: i64) -> bool {
        self.lock().lanes.contains(&lane)
    }

    /// A message of this lane found no room.
    pub(super) fn full(&self, lane: i64) {
        self.lock().lanes.insert(lane);
    }

    fn lock(&self) -> MutexGuard<'_, Missing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
