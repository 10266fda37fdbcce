//! A writing connection: begin, commit, and what to do when the line breaks.
//!
//! SQLite's connection lives as long as the process. PostgreSQL's may be lost at any moment, also
//! while a COMMIT is on its way: then nobody knows whether it is there. So each transaction first
//! writes its number into a row of its connection's own. After a new connection is made that row
//! tells; it is read with a lock, so that an old transaction that still runs is waited for. This
//! holds across a failover too, where transaction numbers of the database do not.

use std::sync::Arc;

use uuid::Uuid;

use super::super::error::{Failure, failure};
use super::super::postgres::Servers;
use super::super::sql::{Connection, Statement};
use crate::events::Topic;
use crate::protocol::Timestamp;

/// How a transaction ended.
pub(super) enum Ended {
    /// It is on disk.
    Committed(Vec<Topic>),
    /// It is not there.
    Failed(sqlx::Error),
    /// The database was lost while it was under way. With topics: after COMMIT was sent, so it may
    /// be there.
    Lost(Option<Vec<Topic>>, sqlx::Error),
}

/// A writing connection.
pub(in crate::store) enum Link {
    /// To a file.
    Sqlite(Connection),
    /// To servers.
    Postgres(PostgresLink),
}

/// A connection that is made anew when it is lost.
pub(in crate::store) struct PostgresLink {
    servers: Arc<Servers>,
    connection: Option<Connection>,
    /// The name of its row of commit marks.
    name: String,
    mark: i64,
}

impl PostgresLink {
    /// Makes the row of its commit marks.
    pub(in crate::store) async fn new(
        servers: Arc<Servers>,
        mut connection: Connection,
        now: Timestamp,
    ) -> sqlx::Result<Self> {
        let name = Uuid::new_v4().simple().to_string();
        let row =
            Statement::new("INSERT INTO commit_marks (committer, mark, made_at) VALUES (?, 0, ?)")
                .bind(name.as_str())
                .bind(now.as_millis());
        connection.run(row).await?;
        Ok(Self {
            servers,
            connection: Some(connection),
            name,
            mark: 0,
        })
    }

    fn connection(&mut self) -> sqlx::Result<&mut Connection> {
        self.connection.as_mut().ok_or(sqlx::Error::PoolClosed)
    }

    /// Begins and marks in one round trip.
    async fn begin(&mut self, now: Timestamp) -> sqlx::Result<&mut Connection> {
        self.mark += 1;
        let (name, mark, now) = (&self.name, self.mark, now.as_millis());
        let text = format!(
            "BEGIN; INSERT INTO commit_marks (committer, mark, made_at) VALUES ('{name}', {mark}, {now}) \
             ON CONFLICT (committer) DO UPDATE SET mark = excluded.mark, made_at = excluded.made_at"
        );
        let connection = self.connection()?;
        connection.script(text).await?;
        Ok(connection)
    }

    /// Whether the last transaction is there. Waits until it is over.
    async fn marked(&mut self) -> sqlx::Result<bool> {
        let statement =
            Statement::new("SELECT mark FROM commit_marks WHERE committer = ? FOR UPDATE")
                .bind(self.name.as_str());
        let mark = self.mark;
        let row = self.connection()?.row(statement).await?;
        Ok(row.map(|row| row.int(0)).transpose()? == Some(mark))
    }

    async fn call(&mut self) -> sqlx::Result<bool> {
        self.connection = None;
        self.connection = Some(self.servers.connect().await?);
        let marked = self.marked().await;
        if marked.is_err() {
            self.connection = None;
        }
        marked
    }
}

impl Link {
    /// Before the first transaction: learns where idempotency keys may stand.
    pub(super) async fn prepare(&mut self) -> sqlx::Result<()> {
        let Self::Sqlite(connection) = self else {
            return Ok(());
        };
        let Some(keys) = connection.memory().map(|memory| memory.keys().clone()) else {
            return Ok(());
        };
        keys.read(connection).await
    }

    /// Whether others may write too.
    pub(super) const fn is_shared(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    /// Begins a transaction.
    pub(super) async fn begin(&mut self, now: Timestamp) -> sqlx::Result<&mut Connection> {
        match self {
            Self::Sqlite(connection) => {
                connection.begin()?;
                Ok(connection)
            }
            Self::Postgres(link) => link.begin(now).await,
        }
    }

    /// Commits.
    pub(super) async fn end(&mut self, topics: Vec<Topic>) -> Ended {
        let committed = match self {
            Self::Sqlite(connection) => connection.commit().await,
            Self::Postgres(link) => match link.connection() {
                Ok(connection) => connection.script("COMMIT".to_owned()).await,
                Err(error) => Err(error),
            },
        };
        match committed {
            Ok(()) => Ended::Committed(topics),
            Err(error) if failure(&error) == Failure::Lost => Ended::Lost(Some(topics), error),
            Err(error) => {
                self.undo(&error).await;
                Ended::Failed(error)
            }
        }
    }

    /// Takes back what failed. After some errors the database has done so already; then this has
    /// nothing to do.
    pub(super) async fn undo(&mut self, cause: &sqlx::Error) {
        match self {
            Self::Sqlite(connection) => {
                drop(connection.roll_back().await);
            }
            Self::Postgres(link) => {
                let rolled_back = match link.connection() {
                    Ok(connection) if failure(cause) != Failure::Lost => {
                        connection.script("ROLLBACK".to_owned()).await
                    }
                    _ => Err(sqlx::Error::PoolClosed),
                };
                if rolled_back.is_err() {
                    link.connection = None;
                }
            }
        }
    }

    /// Calls a lost database. Answers whether the transaction that was under way is there.
    pub(super) async fn call(&mut self) -> sqlx::Result<bool> {
        match self {
            // A file is never lost: its errors end the process.
            Self::Sqlite(_) => Ok(false),
            Self::Postgres(link) => link.call().await,
        }
    }

    pub(super) async fn close(self) {
        let closed = match self {
            Self::Sqlite(connection) => connection.close().await,
            Self::Postgres(mut link) => {
                let name = std::mem::take(&mut link.name);
                let Some(mut connection) = link.connection else {
                    return;
                };
                let forget = Statement::new("DELETE FROM commit_marks WHERE committer = ?");
                drop(connection.run(forget.bind(name)).await);
                connection.close().await
            }
        };
        if let Err(error) = closed {
            tracing::warn!(%error, "closing the database");
        }
    }
}
