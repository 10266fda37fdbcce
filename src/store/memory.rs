//! What the one writer of a SQLite file knows without asking: it owns the file.
//!
//! The rows on disk stay the truth: they are written in the same commit, and what a failed
//! transaction taught is forgotten.

use std::collections::HashMap;

use super::claims::Keys;
use super::room::Mailbox;

/// So many mailboxes are remembered at most.
const MAILBOXES: usize = 100_000;

/// The memory of a writer.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// What stands in the rows of mailboxes.
    mailboxes: HashMap<i64, Mailbox>,
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

    /// What is known of a mailbox.
    pub(super) fn mailbox(&self, id: i64) -> Option<Mailbox> {
        self.mailboxes.get(&id).copied()
    }

    /// Remembers what the transaction under way makes of a mailbox.
    pub(super) fn place(&mut self, id: i64, mailbox: Mailbox) {
        if self.mailboxes.len() >= MAILBOXES {
            self.mailboxes.clear();
        }
        self.mailboxes.insert(id, mailbox);
    }

    /// The transaction under way takes so many messages and bytes out of a mailbox.
    pub(super) fn left(&mut self, id: i64, messages: i64, bytes: i64) {
        if let Some(mailbox) = self.mailboxes.get_mut(&id) {
            mailbox.messages -= messages;
            mailbox.bytes -= bytes;
        }
    }

    /// A mailbox changes, or goes, by another way.
    pub(super) fn forget(&mut self, id: i64) {
        self.mailboxes.remove(&id);
    }

    /// The transaction is on disk.
    pub(super) fn committed(&mut self) {
        self.keys.lock().committed();
    }

    /// The transaction is not there.
    pub(super) fn rolled_back(&mut self) {
        self.keys.lock().rolled_back();
        self.mailboxes.clear();
    }
}
