//! The connection that writes to a SQLite file.
//!
//! SQLite runs on a thread of its own, and each text that is handed to it costs two changes of
//! thread. So what needs no answer is collected and goes with what does, or with the COMMIT: a batch
//! of acceptances is one text from BEGIN to COMMIT. Where a statement fails, what stands behind it
//! in its text does not run.
//!
//! Texts stay prepared, so they must be few: rows are filled up with empty ones to a few sizes.

use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::{Insert, Kind, Statement, Value, bound, places};
use crate::store::memory::Memory;

const BEGIN: &str = "BEGIN IMMEDIATE";
/// Rows of one statement at most.
const LARGEST: usize = 512;

/// A writing connection and what is not handed to it yet.
#[derive(Debug)]
pub(in crate::store) struct Writer {
    connection: SqliteConnection,
    text: String,
    values: Vec<Value>,
    memory: Memory,
}

impl Writer {
    pub(super) fn new(connection: SqliteConnection) -> Self {
        Self {
            connection,
            text: String::new(),
            values: Vec::new(),
            memory: Memory::default(),
        }
    }

    pub(super) const fn memory(&mut self) -> &mut Memory {
        &mut self.memory
    }

    /// Begins a transaction with the first text that is handed over.
    pub(super) fn begin(&mut self) {
        self.forget();
        self.text.push_str(BEGIN);
    }

    /// Hands over what is left, and the COMMIT.
    pub(super) async fn commit(&mut self) -> sqlx::Result<()> {
        self.add("COMMIT", []);
        let committed = self.flush().await;
        match committed {
            Ok(()) => self.memory.committed(),
            Err(_) => self.memory.rolled_back(),
        }
        committed
    }

    /// Takes the transaction back; what was not handed over is forgotten.
    pub(super) async fn roll_back(&mut self) -> sqlx::Result<()> {
        self.forget();
        self.memory.rolled_back();
        self.add("ROLLBACK", []);
        self.flush().await
    }

    /// Adds a statement whose answer nobody needs.
    pub(super) fn tell(&mut self, statement: Statement) {
        self.add(&statement.text, statement.values);
    }

    /// Adds rows.
    pub(super) fn insert(&mut self, insert: Insert) {
        let width = insert.rows.first().map_or(0, Vec::len);
        let mut rows = insert.rows.into_iter();
        while rows.len() > 0 {
            let taken = rows.len().min(LARGEST);
            let places = padded_size(taken);
            self.add(&values(insert.head, insert.tail, (places, width)), []);
            self.values.extend(rows.by_ref().take(taken).flatten());
            let empty = std::iter::repeat_n(Value::Null(Kind::Int), (places - taken) * width);
            self.values.extend(empty);
        }
    }

    /// Runs a statement that answers rows.
    pub(super) async fn rows(&mut self, statement: Statement) -> sqlx::Result<Vec<SqliteRow>> {
        self.make_way().await?;
        self.tell(statement);
        let query = bound(self.take_text(), std::mem::take(&mut self.values));
        query.fetch_all(&mut self.connection).await
    }

    /// Runs a statement that answers at most one row.
    pub(super) async fn row(&mut self, statement: Statement) -> sqlx::Result<Option<SqliteRow>> {
        self.make_way().await?;
        self.tell(statement);
        let query = bound(self.take_text(), std::mem::take(&mut self.values));
        query.fetch_optional(&mut self.connection).await
    }

    /// Runs a statement and tells how many rows it touched.
    pub(super) async fn run(&mut self, statement: Statement) -> sqlx::Result<u64> {
        self.flush().await?;
        let done = statement.into_sqlite().execute(&mut self.connection);
        Ok(done.await?.rows_affected())
    }

    /// The connection itself, with nothing left to hand over.
    pub(super) async fn bare(&mut self) -> sqlx::Result<&mut SqliteConnection> {
        self.flush().await?;
        Ok(&mut self.connection)
    }

    /// Writes the log back into the file, which is then all there is, and says goodbye.
    pub(super) async fn close(mut self) -> sqlx::Result<()> {
        let checkpoint = Statement::new("PRAGMA wal_checkpoint(TRUNCATE)");
        drop(self.rows(checkpoint).await);
        sqlx::Connection::close(self.connection).await
    }

    fn add(&mut self, text: &str, values: impl IntoIterator<Item = Value>) {
        if !self.text.is_empty() {
            self.text.push(';');
        }
        self.text.push_str(text);
        self.values.extend(values);
    }

    /// Hands over what stands before a statement that answers; but a BEGIN alone goes with it.
    async fn make_way(&mut self) -> sqlx::Result<()> {
        if self.text == BEGIN {
            return Ok(());
        }
        self.flush().await
    }

    async fn flush(&mut self) -> sqlx::Result<()> {
        if self.text.is_empty() {
            return Ok(());
        }
        let query = bound(self.take_text(), std::mem::take(&mut self.values));
        query.execute(&mut self.connection).await.map(drop)
    }

    fn take_text(&mut self) -> AssertSqlSafe<String> {
        AssertSqlSafe(std::mem::take(&mut self.text))
    }

    fn forget(&mut self) {
        self.text.clear();
        self.values.clear();
    }
}

/// The text that inserts up to so many rows of so many columns; a row whose first column is nothing
/// is left out. A statement of many rows that may be undone by itself keeps a copy of every page it
/// touches; ours is only ever undone with its whole transaction, so it just stops where it fails.
fn values(head: &str, tail: &str, (rows, width): (usize, usize)) -> String {
    let mut text = String::with_capacity(head.len() + tail.len() + rows * (2 * width + 4) + 96);
    text.push_str("INSERT OR FAIL ");
    text.push_str(head.trim_start_matches("INSERT "));
    text.push_str(" SELECT * FROM (VALUES ");
    let group = format!("({}),", places(width));
    for _ in 0..rows {
        text.push_str(&group);
    }
    text.pop();
    text.push_str(") WHERE column1 IS NOT NULL ");
    text.push_str(tail);
    text
}

/// The next size: a power of two, from 16 on also the middle between two.
const fn padded_size(rows: usize) -> usize {
    let power = rows.next_power_of_two();
    let middle = power / 4 * 3;
    if power > 16 && rows <= middle {
        middle
    } else {
        power
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sql::Connection;
    use sqlx::Connection as _;

    #[test]
    fn sizes_are_few_and_little_too_large() {
        assert_eq!(
            [1, 2, 3, 5, 16, 17, 24, 25, 63, 64, 65, 97, 512].map(padded_size),
            [1, 2, 4, 8, 16, 24, 24, 32, 64, 64, 96, 128, 512]
        );
        let sizes: std::collections::BTreeSet<_> = (1..=LARGEST).map(padded_size).collect();
        assert_eq!(sizes.len(), 15);
    }

    #[test]
    fn rows_are_written_as_values() {
        assert_eq!(
            values("INSERT INTO t (a, b)", "ON CONFLICT DO NOTHING", (2, 2)),
            "INSERT OR FAIL INTO t (a, b) SELECT * FROM (VALUES (?,?),(?,?)) \
             WHERE column1 IS NOT NULL ON CONFLICT DO NOTHING"
        );
    }

    async fn table() -> Connection {
        let connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let mut writer = Connection::writer(connection);
        let create = "CREATE TABLE t (a INTEGER NOT NULL UNIQUE, b TEXT)";
        writer.run(Statement::new(create)).await.unwrap();
        writer
    }

    fn rows(numbers: std::ops::Range<i64>) -> Insert {
        let rows = numbers.map(|n| vec![n.into(), format!("row {n}").into()]);
        Insert::new("INSERT INTO t (a, b)", rows.collect())
    }

    async fn count(tx: &mut Connection) -> i64 {
        let sum = Statement::new("SELECT count(*) FROM t");
        tx.row(sum).await.unwrap().unwrap().int(0).unwrap()
    }

    #[tokio::test]
    async fn what_is_told_is_seen_by_what_asks_after_it() {
        let mut tx = table().await;
        tx.begin().unwrap();
        tx.insert(rows(0..700)).await.unwrap();
        let raise = Statement::new("UPDATE t SET b = ? WHERE a >= ?");
        tx.tell(raise.bind("high").bind(600)).await.unwrap();
        let high = Statement::new("SELECT count(*) FROM t WHERE b = ?").bind("high");
        let found = tx.row(high).await.unwrap().unwrap();
        assert_eq!(found.int(0).unwrap(), 100);
        let gone = Statement::new("DELETE FROM t WHERE a < ?").bind(10);
        assert_eq!(tx.run(gone).await.unwrap(), 10);
        tx.commit().await.unwrap();
        assert_eq!(count(&mut tx).await, 690);
    }

    #[tokio::test]
    async fn behind_a_failure_nothing_runs_and_all_of_it_is_taken_back() {
        let mut tx = table().await;
        tx.begin().unwrap();
        tx.insert(rows(0..3)).await.unwrap();
        tx.commit().await.unwrap();
        tx.begin().unwrap();
        tx.insert(rows(3..40)).await.unwrap();
        tx.insert(rows(2..5)).await.unwrap();
        tx.commit().await.unwrap_err();
        tx.roll_back().await.unwrap();
        assert_eq!(count(&mut tx).await, 3);
        // What was not handed over is forgotten with it.
        tx.begin().unwrap();
        tx.insert(rows(50..60)).await.unwrap();
        drop(tx.roll_back().await);
        assert_eq!(count(&mut tx).await, 3);
    }
}
