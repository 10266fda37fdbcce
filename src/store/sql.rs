//! The thin layer between the verbs and sqlx: statements with `?` places, three kinds of value, rows by column.
//!
//! The schema knows only whole numbers, text and bytes, so one statement text serves every
//! backend. Many rows are written with multi-row `VALUES` in fixed chunk sizes: few statement
//! texts, so each stays prepared.

use std::borrow::Cow;

use bytes::Bytes;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, Row as _, Sqlite, SqliteConnection};

/// One value to bind.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Null,
    Int(i64),
    Text(String),
    Bytes(Bytes),
}

macro_rules! value_from {
    ($($from:ty => |$it:ident| $to:expr;)*) => { $(
        impl From<$from> for Value { fn from($it: $from) -> Self { $to } }
    )* };
}

value_from! {
    i64 => |it| Self::Int(it);
    bool => |it| Self::Int(i64::from(it));
    &str => |it| Self::Text(it.to_owned());
    String => |it| Self::Text(it);
    Bytes => |it| Self::Bytes(it);
    Vec<u8> => |it| Self::Bytes(Bytes::from(it));
    &[u8] => |it| Self::Bytes(Bytes::copy_from_slice(it));
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// A statement with its values.
#[derive(Debug)]
pub(super) struct Statement {
    text: Cow<'static, str>,
    values: Vec<Value>,
}

impl Statement {
    /// A statement; every `?` in `text` takes one value, in order.
    pub(super) fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            text: text.into(),
            values: Vec::new(),
        }
    }

    /// Adds the value of the next place.
    pub(super) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Adds the values of the next places.
    pub(super) fn bind_all<T: Into<Value>>(mut self, values: impl IntoIterator<Item = T>) -> Self {
        self.values.extend(values.into_iter().map(Into::into));
        self
    }

    fn into_sqlite(self) -> sqlx::query::Query<'static, sqlx::Sqlite, SqliteArguments> {
        let mut query = match self.text {
            Cow::Borrowed(text) => sqlx::query(text),
            Cow::Owned(text) => sqlx::query(AssertSqlSafe(text)),
        };
        for value in self.values {
            query = match value {
                Value::Null => query.bind(None::<i64>),
                Value::Int(number) => query.bind(number),
                Value::Text(text) => query.bind(text),
                Value::Bytes(bytes) => query.bind(Vec::from(bytes)),
            };
        }
        query
    }
}

/// `n` comma separated places: `?,?,?`.
pub(super) fn places(n: usize) -> String {
    let mut text = "?,".repeat(n);
    text.pop();
    text
}

/// The items in groups of 1, 8 or 64, the last one filled up with copies: few statement texts.
pub(super) fn padded<T: Clone>(items: &[T]) -> impl Iterator<Item = Vec<T>> {
    items.chunks(64).map(|chunk| {
        let size = match chunk.len() {
            1 => 1,
            2..=8 => 8,
            _ => 64,
        };
        let mut group = chunk.to_vec();
        if let Some(last) = chunk.last() {
            group.resize(size, last.clone());
        }
        group
    })
}

/// An open connection.
#[derive(Debug)]
pub(super) enum Connection {
    /// The committer's own.
    Writer(Box<SqliteConnection>),
    /// One of the read pool's.
    Reader(PoolConnection<Sqlite>),
}

impl Connection {
    fn inner(&mut self) -> &mut SqliteConnection {
        match self {
            Self::Writer(connection) => connection,
            Self::Reader(connection) => connection,
        }
    }

    /// Runs a statement that answers rows.
    pub(super) async fn rows(&mut self, statement: Statement) -> sqlx::Result<Vec<Row>> {
        let rows = statement.into_sqlite().fetch_all(self.inner()).await?;
        Ok(rows.into_iter().map(Row).collect())
    }

    /// Runs a statement that answers at most one row.
    pub(super) async fn row(&mut self, statement: Statement) -> sqlx::Result<Option<Row>> {
        Ok(statement
            .into_sqlite()
            .fetch_optional(self.inner())
            .await?
            .map(Row))
    }

    /// Runs a statement and tells how many rows it touched.
    pub(super) async fn run(&mut self, statement: Statement) -> sqlx::Result<u64> {
        Ok(statement
            .into_sqlite()
            .execute(self.inner())
            .await?
            .rows_affected())
    }

    /// Inserts rows of equal width, many to a statement.
    pub(super) async fn insert(
        &mut self,
        head: &'static str,
        width: usize,
        rows: Vec<Vec<Value>>,
    ) -> sqlx::Result<()> {
        let mut rows = rows.into_iter();
        while rows.len() > 0 {
            let chunk = chunk_size(rows.len());
            let mut text = String::with_capacity(head.len() + chunk * (2 * width + 4));
            text.push_str(head);
            text.push_str(" VALUES ");
            let group = format!("({}),", places(width));
            for _ in 0..chunk {
                text.push_str(&group);
            }
            text.pop();
            let statement = Statement::new(text).bind_all(rows.by_ref().take(chunk).flatten());
            self.run(statement).await?;
        }
        Ok(())
    }
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

/// One answered row.
pub(super) struct Row(SqliteRow);

impl Row {
    /// A whole number.
    pub(super) fn int(&self, column: usize) -> sqlx::Result<i64> {
        self.0.try_get(column)
    }

    /// A whole number or nothing.
    pub(super) fn maybe_int(&self, column: usize) -> sqlx::Result<Option<i64>> {
        self.0.try_get(column)
    }

    /// Text.
    pub(super) fn text(&self, column: usize) -> sqlx::Result<String> {
        self.0.try_get(column)
    }

    /// Text or nothing.
    pub(super) fn maybe_text(&self, column: usize) -> sqlx::Result<Option<String>> {
        self.0.try_get(column)
    }

    /// Bytes.
    pub(super) fn bytes(&self, column: usize) -> sqlx::Result<Vec<u8>> {
        self.0.try_get(column)
    }

    /// Bytes or nothing.
    pub(super) fn maybe_bytes(&self, column: usize) -> sqlx::Result<Option<Vec<u8>>> {
        self.0.try_get(column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_separated_by_commas() {
        assert_eq!(places(1), "?");
        assert_eq!(places(3), "?,?,?");
    }

    #[test]
    fn chunks_are_of_few_sizes() {
        assert_eq!(
            [1_000, 256, 255, 127, 10, 3, 1].map(chunk_size),
            [256, 256, 128, 64, 8, 2, 1]
        );
    }
}
