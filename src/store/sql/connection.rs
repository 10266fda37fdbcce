//! An open connection to either backend.

use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, PgConnection, Postgres, Sqlite, SqliteConnection};

use super::writer::Writer;
use super::{Insert, Row, Statement, postgres};
use crate::store::memory::Memory;

/// A PostgreSQL that says nothing for so long is gone: its connection is given up.
const SILENCE: Duration = Duration::from_secs(10);

/// An open connection.
#[derive(Debug)]
pub(in crate::store) enum Connection {
    /// The committer's own.
    Writer(Box<Writer>),
    /// One of the read pool's.
    Reader(PoolConnection<Sqlite>),
    /// A committer's own, or one for a single duty.
    Postgres(Box<PgConnection>),
    /// One of the read pool's.
    PostgresReader(PoolConnection<Postgres>),
}

impl Connection {
    /// One that writes to a SQLite file.
    pub(in crate::store) fn writer(connection: SqliteConnection) -> Self {
        Self::Writer(Box::new(Writer::new(connection)))
    }

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
        let rows = match self {
            Self::Writer(writer) => writer.rows(statement).await?,
            _ => statement.into_sqlite().fetch_all(self.reader()?).await?,
        };
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
        let row = match self {
            Self::Writer(writer) => writer.row(statement).await?,
            _ => {
                let query = statement.into_sqlite();
                query.fetch_optional(self.reader()?).await?
            }
        };
        Ok(row.map(Row::Sqlite))
    }

    /// Runs a statement and tells how many rows it touched.
    pub(in crate::store) async fn run(&mut self, statement: Statement) -> sqlx::Result<u64> {
        if self.is_postgres() {
            let query = postgres::query(&statement)?;
            let answer = heard(query.execute(self.postgres()?)).await;
            return Ok(self.judged(answer)?.rows_affected());
        }
        self.sqlite_writer()?.run(statement).await
    }

    /// Runs a statement whose answer nobody needs. On SQLite it goes with the next that answers, or
    /// with the commit, and fails there.
    pub(in crate::store) async fn tell(&mut self, statement: Statement) -> sqlx::Result<()> {
        if let Self::Writer(writer) = self {
            writer.tell(statement);
            return Ok(());
        }
        self.run(statement).await.map(drop)
    }

    /// Inserts rows, many to a statement. On SQLite they go with what comes next, as in
    /// [`Connection::tell`].
    pub(in crate::store) async fn insert(&mut self, insert: Insert) -> sqlx::Result<()> {
        if insert.rows.is_empty() {
            return Ok(());
        }
        if self.is_postgres() {
            let query = postgres::insert(&insert)?;
            let answer = heard(query.execute(self.postgres()?)).await;
            return self.judged(answer).map(drop);
        }
        self.sqlite_writer()?.insert(insert);
        Ok(())
    }

    /// What the writer of a SQLite file knows; nothing where others write too.
    pub(in crate::store) fn memory(&mut self) -> Option<&mut Memory> {
        match self {
            Self::Writer(writer) => Some(writer.memory()),
            _ => None,
        }
    }

    /// Begins a transaction; SQLite only.
    pub(in crate::store) fn begin(&mut self) -> sqlx::Result<()> {
        self.sqlite_writer()?.begin();
        Ok(())
    }

    /// Commits; SQLite only.
    pub(in crate::store) async fn commit(&mut self) -> sqlx::Result<()> {
        self.sqlite_writer()?.commit().await
    }

    /// Takes the transaction back; SQLite only.
    pub(in crate::store) async fn roll_back(&mut self) -> sqlx::Result<()> {
        self.sqlite_writer()?.roll_back().await
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
            Self::Writer(writer) => migrations.run(writer.bare().await?).await,
            Self::Reader(connection) => migrations.run(connection.as_mut()).await,
            Self::Postgres(connection) => migrations.run(connection.as_mut()).await,
            Self::PostgresReader(connection) => migrations.run(connection.as_mut()).await,
        }
    }

    /// Says goodbye; one of a pool goes back to it.
    pub(in crate::store) async fn close(self) -> sqlx::Result<()> {
        match self {
            Self::Writer(writer) => writer.close().await,
            Self::Postgres(connection) => heard(sqlx::Connection::close(*connection)).await,
            Self::Reader(_) | Self::PostgresReader(_) => Ok(()),
        }
    }

    fn sqlite_writer(&mut self) -> sqlx::Result<&mut Writer> {
        match self {
            Self::Writer(writer) => Ok(writer),
            _ => Err(sqlx::Error::Protocol("only the writer writes".to_owned())),
        }
    }

    fn reader(&mut self) -> sqlx::Result<&mut SqliteConnection> {
        match self {
            Self::Reader(connection) => Ok(connection),
            _ => Err(sqlx::Error::Protocol(
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
