//! Writing the log of a SQLite file back while commits go on.
//!
//! Sixty megabytes take a fifth of a second to write back, and whoever does it commits nothing
//! meanwhile. So most of it is done by a connection of its own. The log begins anew only once all of
//! it is written back, which beside a busy writer never happens; so when it is long the writer does
//! the last few pages itself.

use std::time::Duration;

use super::error::{Failure, StoreError, failure};
use super::sql::{Connection, Statement};
use crate::clock::Clock;

/// Pages in the log after which the writer does what is left.
pub(super) const LAST: i64 = 16_000;
/// Pages in the log from which on it counts as long.
const LONG: i64 = 12_000;
/// It is written back each time so many pages are new, while it is short and while it is long: few
/// enough not to keep the disk busy for long, so many that pages which every commit changes count once.
const ENOUGH: (i64, i64) = (4_000, 1_000);
/// How often the log is looked at while it is short, and while it is long.
const LOOKS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_millis(50));

/// The connection that does it.
pub(super) struct Checkpoints {
    connection: Connection,
    clock: Clock,
}

impl Checkpoints {
    pub(super) const fn new(connection: Connection, clock: Clock) -> Self {
        Self { connection, clock }
    }

    /// Goes on until the disk fails, and tells of it.
    pub(super) async fn run(mut self) -> StoreError {
        let mut pause = LOOKS.0;
        loop {
            self.clock.wait(pause).await;
            pause = match self.look().await {
                Ok(pause) => pause,
                Err(error) if failure(&error) == Failure::Broken => {
                    return StoreError::Broken(error.to_string());
                }
                Err(error) => {
                    tracing::warn!(%error, "the log of the database is not written back");
                    LOOKS.0
                }
            };
        }
    }

    /// Writes back what is worth it; answers when to look again.
    async fn look(&mut self) -> sqlx::Result<Duration> {
        let (log, done) = checkpoint(&mut self.connection, "NOOP").await?;
        let long = log >= LONG;
        if log - done >= if long { ENOUGH.1 } else { ENOUGH.0 } {
            checkpoint(&mut self.connection, "PASSIVE").await?;
        }
        Ok(if long { LOOKS.1 } else { LOOKS.0 })
    }
}

/// Pages in the log, and how many of them are written back.
async fn checkpoint(connection: &mut Connection, mode: &str) -> sqlx::Result<(i64, i64)> {
    let pragma = Statement::new(format!("PRAGMA wal_checkpoint({mode})"));
    let row = connection.row(pragma).await?;
    let row = row.ok_or(sqlx::Error::RowNotFound)?;
    Ok((row.int(1)?, row.int(2)?))
}

#[cfg(test)]
mod tests {
    use sqlx::ConnectOptions as _;
    use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};

    use super::*;

    #[tokio::test]
    async fn a_long_log_is_written_back_beside_the_writer() {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteConnectOptions::new()
            .filename(folder.path().join("a.db"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .pragma("wal_autocheckpoint", "0");
        let mut writer = Connection::writer(options.connect().await.unwrap());
        let beside = Connection::writer(options.connect().await.unwrap());
        let mut checkpoints = Checkpoints::new(beside, Clock::system());
        writer
            .run(Statement::new("CREATE TABLE t (b BLOB)"))
            .await
            .unwrap();
        assert_eq!(checkpoints.look().await.unwrap(), LOOKS.0);
        let megabytes = LONG * 4096 / 1_000_000 + 1;
        for _ in 0..megabytes {
            writer
                .run(Statement::new("INSERT INTO t VALUES (zeroblob(1000000))"))
                .await
                .unwrap();
        }
        // The writer is in the midst of a transaction, and goes on.
        writer.begin().unwrap();
        writer
            .run(Statement::new("INSERT INTO t VALUES (x'11')"))
            .await
            .unwrap();
        assert_eq!(checkpoints.look().await.unwrap(), LOOKS.1);
        writer.commit().await.unwrap();
        let (log, done) = checkpoint(&mut writer, "NOOP").await.unwrap();
        assert!(done >= LONG && log > done, "{log} {done}");
        // The few pages that are left make the log begin anew.
        checkpoint(&mut writer, "PASSIVE").await.unwrap();
        writer
            .run(Statement::new("INSERT INTO t VALUES (x'22')"))
            .await
            .unwrap();
        let (log, _) = checkpoint(&mut writer, "NOOP").await.unwrap();
        assert!(log < 10, "{log}");
    }
}
