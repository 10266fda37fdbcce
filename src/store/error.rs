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
    /// The database does not answer, or takes no writes at present: the sender may try again later.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// The database refused a statement.
    #[error("database: {0}")]
    Database(sqlx::Error),
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
    /// The database cannot be opened or migrated.
    #[error("{path}: {cause}")]
    Database {
        /// The database.
        path: String,
        /// The database's words.
        cause: String,
    },
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match failure(&error) {
            Failure::Lost => Self::Unavailable(error.to_string()),
            _ => Self::Database(error),
        }
    }
}

/// How a failed commit is to be treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// No room: refuse this batch, go on.
    Full,
    /// Unknown what is on disk: end the process.
    Broken,
    /// It met another transaction: repeat it.
    Conflict,
    /// The database went away or takes no writes: find it again, then repeat.
    Lost,
    /// Another process writes, for longer than we wait: refuse this batch, go on.
    Locked,
    /// A statement was refused: find the verb that is to blame.
    Statement,
}

/// Sorts an error of a commit.
pub(super) fn failure(error: &sqlx::Error) -> Failure {
    let sqlx::Error::Database(cause) = error else {
        return match error {
            sqlx::Error::WorkerCrashed => Failure::Broken,
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed => Failure::Lost,
            _ => Failure::Statement,
        };
    };
    let code = cause.code().unwrap_or_default();
    if cause
        .try_downcast_ref::<sqlx::postgres::PgDatabaseError>()
        .is_some()
    {
        postgres(&code)
    } else {
        sqlite(code.parse().unwrap_or(0))
    }
}

/// SQLite's primary result codes: 5 BUSY, 6 LOCKED; 13 FULL; 10 IOERR, 11 CORRUPT, 26 NOTADB, 14 CANTOPEN, 8 READONLY
/// leave unknown what a later write would do.
const fn sqlite(extended: i32) -> Failure {
    match extended & 0xff {
        5 | 6 => Failure::Locked,
        13 => Failure::Full,
        8 | 10 | 11 | 14 | 26 => Failure::Broken,
        _ => Failure::Statement,
    }
}

/// PostgreSQL's codes: 40001 serialization, 40P01 deadlock, 23505 a key that another gateway has
/// just taken, 55P03 a lock not to be had, 57014
/// too slow; 53100 disk full; 25006 read-only, 53xxx no resources,
/// 57P0x shutting down or starting, 25P03 idle for too long, 08xxx the line.
fn postgres(code: &str) -> Failure {
    match code {
        "40001" | "40P01" | "23505" | "55P03" | "57014" => Failure::Conflict,
        "53100" => Failure::Full,
        "25006" | "25P03" => Failure::Lost,
        _ if ["08", "53", "57P"]
            .iter()
            .any(|class| code.starts_with(class)) =>
        {
            Failure::Lost
        }
        _ => Failure::Statement,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_of_postgresql_say_what_to_do() {
        for (code, expected) in [
            ("40P01", Failure::Conflict),
            ("23505", Failure::Conflict),
            ("53100", Failure::Full),
            ("53300", Failure::Lost),
            ("25006", Failure::Lost),
            ("57P01", Failure::Lost),
            ("08006", Failure::Lost),
            ("42703", Failure::Statement),
        ] {
            assert_eq!(postgres(code), expected, "{code}");
        }
    }

    #[test]
    fn an_error_of_the_disk_ends_the_process() {
        assert_eq!(sqlite(13), Failure::Full);
        assert_eq!(sqlite(10 | (4 << 8)), Failure::Broken);
        assert_eq!(sqlite(5), Failure::Locked);
        assert_eq!(sqlite(19), Failure::Statement);
    }
}
