//! Section `store`: where messages are kept.

use std::path::PathBuf;

use super::kind::SqliteUrl;
use super::section::section;

section! {
    /// Where messages are kept.
    pub struct Store = "store" {
        /// The database: a SQLite file on a local disk, made when it is not there. It is the only copy of
        /// accepted messages, so back it up.
        "url" path: PathBuf as SqliteUrl,
    }
}
