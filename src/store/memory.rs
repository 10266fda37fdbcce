//! What the one writer of a SQLite file knows without asking: it owns the file.
//!
//! The rows on disk stay the truth: they are written in the same commit, and what a failed
//! transaction taught is forgotten.

use std::collections::HashMap;

use super::claims::Keys;

/// So many mailboxes are remembered at most.
const MAILBOXES: usize = 100_000;

/// The memory of a writer.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// The next position of mailboxes.
    positions: HashMap<i64, i64>,
    /// Where idempotency keys may stand.
    keys: Keys,
}

impl Memory {
    pub(super) const fn keys(&self) -> &Keys {
        &self.keys
    }

    pub(super) fn learn(&mut self, keys: Keys) {
        self.keys = keys;
    }

    /// The next position of a mailbox.
    pub(super) fn position(&self, mailbox: i64) -> Option<i64> {
        self.positions.get(&mailbox).copied()
    }

    /// Remembers what the transaction under way makes of a mailbox.
    pub(super) fn place(&mut self, mailbox: i64, next: i64) {
        if self.positions.len() >= MAILBOXES {
            self.positions.clear();
        }
        self.positions.insert(mailbox, next);
    }

    /// A mailbox changes, or goes, by another way.
    pub(super) fn forget(&mut self, mailbox: i64) {
        self.positions.remove(&mailbox);
    }

    /// The transaction is on disk.
    pub(super) fn committed(&mut self) {
        self.keys.lock().committed();
    }

    /// The transaction is not there.
    pub(super) fn rolled_back(&mut self) {
        self.keys.lock().rolled_back();
        self.positions.clear();
    }
}
