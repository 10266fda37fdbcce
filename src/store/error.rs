//! What can go wrong in the store, by who can do something about it.

use thiserror::Error;

/// A failure of the store. Its text is for the log, never for a peer.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The disk is full or below the floor: the operator's matter, passes by itself once there is room.
    #[error("no room on the disk of the database")]
    Full,
    /// More waits to be written than there is room for, or another process holds the database: passes.
    #[error("the store is busy")]
    Busy,
    /// The committer has stopped: the process is going down.
    #[error("the store is closed")]
    Closed,
    /// The disk failed in a way that leaves unknown what is written: the process must end.
    #[error("the disk of the database failed: {0}")]
    Broken(String),
    /// The database refused a statement, or did not answer.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// The stored data is not what this version writes.
    #[error("unreadable data in the database: {0}")]
    Corrupt(String),
}

/// What opening the store can find wrong.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process has the database.
    #[error("{path} is in use by another amtpd (lock file {path}.lock)")]
    InUse {
        /// The database file.
        path: String,
    },
    /// A newer version has migrated it.
    #[error(
        "{path} was written by a newer amtpd (migration {version} is unknown here): run that version, or restore a backup"
    )]
    Newer {
        /// The database file.
        path: String,
        /// The first migration this version does not know.
        version: i64,
    },
    /// The file or its folder cannot be used.
    #[error("{path}: {cause}")]
    File {
        /// The file.
        path: String,
        /// The system's words.
        cause: std::io::Error,
    },
    /// SQLite cannot open or migrate it.
    #[error("{path}: {cause}")]
    Database {
        /// The database file.
        path: String,
        /// The database's words.
        cause: String,
    },
}

/// How a failed commit is to be treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// No room: refuse this batch, go on.
    Full,
    /// Unknown what is on disk: end the process.
    Broken,
    /// Another process writes, for longer than we wait: refuse this batch, go on.
    Locked,
    /// A statement was refused: find the verb that is to blame.
    Statement,
}

/// Sorts an error of a commit. SQLite's primary result codes: 5 BUSY,
/// 6 LOCKED; 13 FULL; 10 IOERR, 11 CORRUPT, 26
/// NOTADB, 14 CANTOPEN, 8 READONLY leave unknown what a later write would do.
pub(super) fn failure(error: &sqlx::Error) -> Failure {
    match error {
        sqlx::Error::Database(cause) => {
            let extended: i32 = cause.code().and_then(|code| code.parse().ok()).unwrap_or(0);
            match extended & 0xff {
                5 | 6 => Failure::Locked,
                13 => Failure::Full,
                8 | 10 | 11 | 14 | 26 => Failure::Broken,
                _ => Failure::Statement,
            }
        }
        sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed => Failure::Broken,
        _ => Failure::Statement,
    }
}
