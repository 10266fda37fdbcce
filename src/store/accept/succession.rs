//! Messages that must not overtake one another.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::protocol::Address;

/// The messages of one batch. Behind one that could not be taken for the time being, none of the same sender
/// is: it would overtake the first one, which comes again. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Succession(Arc<Mutex<HashSet<Address>>>);

impl Succession {
    /// Whether a message of this sender is missing.
    #[must_use]
    pub fn is_broken(&self, sender: &Address) -> bool {
        let missing = self.lock();
        !missing.is_empty() && missing.contains(sender)
    }

    /// A message of this sender could not be taken.
    pub fn broke(&self, sender: &Address) {
        self.lock().insert(sender.clone());
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Address>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
