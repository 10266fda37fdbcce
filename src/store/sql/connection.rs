//! An open connection to either backend.

use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, PgConnection, Postgres, Sqlite, SqliteConnection};

use super::{Insert, Row, Statement, places, postgres};

/// A PostgreSQL that says nothing for so long is gone: its connection is given up.
const SILENCE: Duration = Duration::from_secs(10);

/// An open connection.
#[derive(Debug)]
pub(in crate::store) enum Connection {
    /// The committer's own.
    Writer(Box<SqliteConnection>),
    /// One of the read pool's.
    Reader(PoolConnection<Sqlite>),
    /// A committer's own, or one for a single duty.
    Postgres(Box<PgConnection>),
    /// One of the read pool's.
    PostgresReader(PoolConnection<Postgres>),
}

impl Connection {
    /// Whether the other side is PostgreSQL.
    pub(in crate::store) const fn is_postgres(&self) -> bool {
        matches!(self, Self::Postgres(_) | Self::PostgresReader(_))
    }

    /// What a SELECT ends with so that its rows of this table stay as they are until the commit.
    /// SQLite has one writer: nothing is needed.
    pub(in crate::store) fn locking(&self, table: &str) -> String {
        if self.is_postgres() {
            format!(" FOR UPDATE OF {table}")
        } else {
            String::new()
        }
    }

    /// Runs a statement that answers rows.
    pub(in crate::store) async fn rows(&mut self, statement: Statement) -> sqlx::Result<Vec<Row>> {
        if self.is_postgres() {
            let query = postgres::query(&statement)?;
            let answer = heard(query.fetch_all(self.postgres()?)).await;
            let rows = self.judged(answer)?;
            return Ok(rows.into_iter().map(Row::Postgres).collect());
        }
        let rows = statement.into_sqlite().fetch_all(self.sqlite()?).await?;
        Ok(rows.into_iter().map(Row::Sqlite).collect())
    }

    /// Runs a statement that answers at most one row.
    pub(in crate::store) async fn row(
        &mut self,
        statement: Statement,
    ) -> sqlx::Result<Option<Row>> {
        if self.is_postgres() {
            let query = postgres::query(&statement)?;
            let answer = heard(query.fetch_optional(self.postgres()?)).await;
            return Ok(self.judged(answer)?.map(Row::Postgres));
        }
        let query = statement.into_sqlite();
        Ok(query.fetch_optional(self.sqlite()?).await?.map(Row::Sqlite))
    }

    /// Runs a statement and tells how many rows it touched.
    pub(in crate::store) async fn run(&mut self, statement: Statement) -> sqlx::Result<u64> {
        if self.is_postgres() {
            let query = postgres::query(&statement)?;
            let answer = heard(query.execute(self.postgres()?)).await;
            return Ok(self.judged(answer)?.rows_affected());
        }
        let query = statement.into_sqlite();
        Ok(query.execute(self.sqlite()?).await?.rows_affected())
    }

    /// Inserts rows, many to a statement.
    pub(in crate::store) async fn insert(&mut self, insert: Insert) -> sqlx::Result<()> {
        let Some(width) = insert.rows.first().map(Vec::len) else {
            return Ok(());
        };
        if self.is_postgres() {
            let query = postgres::insert(&insert)?;
            let answer = heard(query.execute(self.postgres()?)).await;
            return self.judged(answer).map(drop);
        }
        let mut rows = insert.rows.into_iter();
        while rows.len() > 0 {
            let chunk = chunk_size(rows.len());
            let text = values(insert.head, insert.tail, (chunk, width));
            let statement = Statement::new(text).bind_all(rows.by_ref().take(chunk).flatten());
            self.run(statement).await?;
        }
        Ok(())
    }

    /// Runs statements without values in one round trip; PostgreSQL only.
    pub(in crate::store) async fn script(&mut self, text: String) -> sqlx::Result<()> {
        let query = sqlx::raw_sql(AssertSqlSafe(text));
        let answer = heard(query.execute(self.postgres()?)).await;
        self.judged(answer).map(drop)
    }

    /// Brings the schema to this version's form. Other gateways wait meanwhile, or are waited for.
    pub(in crate::store) async fn migrate(
        &mut self,
        migrations: &Migrator,
    ) -> Result<(), MigrateError> {
        match self {
            Self::Writer(connection) => migrations.run(connection.as_mut()).await,
            Self::Reader(connection) => migrations.run(connection.as_mut()).await,
            Self::Postgres(connection) => migrations.run(connection.as_mut()).await,
            Self::PostgresReader(connection) => migrations.run(connection.as_mut()).await,
        }
    }

    /// Says goodbye; one of a pool goes back to it.
    pub(in crate::store) async fn close(self) -> sqlx::Result<()> {
        match self {
            Self::Writer(mut connection) => {
                // The log goes back into the file, which is then all there is.
                let checkpoint = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)");
                drop(checkpoint.execute(connection.as_mut()).await);
                sqlx::Connection::close(*connection).await
            }
            Self::Postgres(connection) => heard(sqlx::Connection::close(*connection)).await,
            Self::Reader(_) | Self::PostgresReader(_) => Ok(()),
        }
    }

    fn sqlite(&mut self) -> sqlx::Result<&mut SqliteConnection> {
        match self {
            Self::Writer(connection) => Ok(connection),
            Self::Reader(connection) => Ok(connection),
            Self::Postgres(_) | Self::PostgresReader(_) => Err(sqlx::Error::Protocol(
                "a statement for the other backend".to_owned(),
            )),
        }
    }

    fn postgres(&mut self) -> sqlx::Result<&mut PgConnection> {
        match self {
            Self::Postgres(connection) => Ok(connection),
            Self::PostgresReader(connection) => Ok(connection),
            Self::Writer(_) | Self::Reader(_) => Err(sqlx::Error::Protocol(
                "a statement for the other backend".to_owned(),
            )),
        }
    }

    /// A connection whose line broke, or that is silent, does not go back to its pool.
    fn judged<T>(&mut self, answer: sqlx::Result<T>) -> sqlx::Result<T> {
        if let (Err(error), Self::PostgresReader(connection)) = (&answer, self)
            && !matches!(error, sqlx::Error::Database(_))
        {
            connection.close_on_drop();
        }
        answer
    }
}

/// Waits for PostgreSQL, but not for ever: a cut line gives no sign.
#[allow(
    clippy::disallowed_methods,
    reason = "the time of the world outside, not of the product's clock"
)]
pub(in crate::store) async fn heard<T>(
    answer: impl Future<Output = sqlx::Result<T>>,
) -> sqlx::Result<T> {
    match tokio::time::timeout(SILENCE, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())),
    }
}

/// The text that inserts so many rows of so many columns. A statement of many rows that may be
/// undone by itself keeps a copy of every page it touches; ours is only ever undone with its whole
/// transaction, so it is told to stop where it fails.
fn values(head: &str, tail: &str, (rows, width): (usize, usize)) -> String {
    let mut text = String::with_capacity(head.len() + tail.len() + rows * (2 * width + 4) + 24);
    text.push_str("INSERT OR FAIL ");
    text.push_str(head.trim_start_matches("INSERT "));
    text.push_str(" VALUES ");
    let group = format!("({}),", places(width));
    for _ in 0..rows {
        text.push_str(&group);
    }
    text.pop();
    text.push(' ');
    text.push_str(tail);
    text
}

/// The largest chunk that `left` rows fill: a power of two, so that any number of rows takes few
/// statements and there are few statement texts.
const fn chunk_size(left: usize) -> usize {
    if left >= LARGEST_CHUNK {
        LARGEST_CHUNK
    } else {
        1 << left.ilog2()
    }
}

const LARGEST_CHUNK: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_of_few_sizes() {
        assert_eq!(
            [1_000, 256, 255, 127, 10, 3, 1].map(chunk_size),
            [256, 256, 128, 64, 8, 2, 1]
        );
    }

    #[test]
    fn rows_are_written_as_values() {
        assert_eq!(
            values("INSERT INTO t (a, b)", "ON CONFLICT DO NOTHING", (2, 2)),
            "INSERT OR FAIL INTO t (a, b) VALUES (?,?),(?,?) ON CONFLICT DO NOTHING"
        );
    }
}
