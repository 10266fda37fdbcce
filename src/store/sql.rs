//! The thin layer between the verbs and sqlx: statements with `?` places, three kinds of value,
//! rows by column.
//!
//! The schema knows only whole numbers, text and bytes, so one statement text serves both
//! backends; where they differ the verb asks its connection. On SQLite many rows are written with
//! multi-row `VALUES` of a few sizes: few statement texts, so each stays prepared; see [`writer`]. On
//! PostgreSQL they are one statement over arrays.

mod connection;
mod postgres;
mod row;
mod writer;

use std::borrow::Cow;

use bytes::Bytes;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, SqlSafeStr};

pub(super) use connection::{Connection, heard};
pub(super) use row::Row;

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Int,
    Text,
    Bytes,
}

/// One value to bind.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Null(Kind),
    Int(i64),
    Text(String),
    Bytes(Bytes),
}

impl Value {
    const fn kind(&self) -> Kind {
        match self {
            Self::Null(kind) => *kind,
            Self::Int(_) => Kind::Int,
            Self::Text(_) => Kind::Text,
            Self::Bytes(_) => Kind::Bytes,
        }
    }
}

/// What a nothing of this type is in the database.
pub(super) trait Kinded {
    const KIND: Kind;
}

macro_rules! value_from {
    ($($from:ty, $kind:ident => |$it:ident| $to:expr;)*) => { $(
        impl From<$from> for Value { fn from($it: $from) -> Self { $to } }
        impl Kinded for $from { const KIND: Kind = Kind::$kind; }
    )* };
}

value_from! {
    i64, Int => |it| Self::Int(it);
    bool, Int => |it| Self::Int(i64::from(it));
    &str, Text => |it| Self::Text(it.to_owned());
    String, Text => |it| Self::Text(it);
    Bytes, Bytes => |it| Self::Bytes(it);
    Vec<u8>, Bytes => |it| Self::Bytes(Bytes::from(it));
    &[u8], Bytes => |it| Self::Bytes(Bytes::copy_from_slice(it));
}

impl<T: Into<Value> + Kinded> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null(T::KIND), Into::into)
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

    fn into_sqlite(self) -> SqliteQuery {
        match self.text {
            Cow::Borrowed(text) => bound(text, self.values),
            Cow::Owned(text) => bound(AssertSqlSafe(text), self.values),
        }
    }
}

type SqliteQuery = sqlx::query::Query<'static, sqlx::Sqlite, SqliteArguments>;

fn bound(text: impl SqlSafeStr, values: Vec<Value>) -> SqliteQuery {
    let mut query = sqlx::query(text);
    for value in values {
        query = match value {
            Value::Null(_) => query.bind(None::<i64>),
            Value::Int(number) => query.bind(number),
            Value::Text(text) => query.bind(text),
            Value::Bytes(bytes) => query.bind(Vec::from(bytes)),
        };
    }
    query
}

/// Rows to insert: `head` names the table and its columns, `tail` says what a conflict does.
pub(super) struct Insert {
    pub(super) head: &'static str,
    pub(super) tail: &'static str,
    /// All of equal width, each column of one kind, the first one never nothing.
    pub(super) rows: Vec<Vec<Value>>,
}

impl Insert {
    pub(super) const fn new(head: &'static str, rows: Vec<Vec<Value>>) -> Self {
        Self {
            head,
            tail: "",
            rows,
        }
    }

    pub(super) fn or(self, tail: &'static str) -> Self {
        Self { tail, ..self }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_separated_by_commas() {
        assert_eq!(places(1), "?");
        assert_eq!(places(3), "?,?,?");
    }

    #[test]
    fn a_nothing_knows_its_kind() {
        assert_eq!(Value::from(None::<&str>).kind(), Kind::Text);
        assert_eq!(Value::from(None::<i64>).kind(), Kind::Int);
        assert_eq!(Value::from(None::<Vec<u8>>).kind(), Kind::Bytes);
    }
}
