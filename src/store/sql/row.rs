//! Answered rows, by column.

use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Column as _, Row as _, TypeInfo as _, ValueRef as _};

/// One answered row.
pub(in crate::store) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    /// A whole number.
    pub(in crate::store) fn int(&self, column: usize) -> sqlx::Result<i64> {
        self.maybe_int(column)?.ok_or_else(|| absent(column))
    }

    /// A whole number or nothing.
    pub(in crate::store) fn maybe_int(&self, column: usize) -> sqlx::Result<Option<i64>> {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => number(row, column),
        }
    }

    /// Text.
    pub(in crate::store) fn text(&self, column: usize) -> sqlx::Result<String> {
        self.maybe_text(column)?.ok_or_else(|| absent(column))
    }

    /// Text or nothing.
    pub(in crate::store) fn maybe_text(&self, column: usize) -> sqlx::Result<Option<String>> {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
    }

    /// Bytes.
    pub(in crate::store) fn bytes(&self, column: usize) -> sqlx::Result<Vec<u8>> {
        self.maybe_bytes(column)?.ok_or_else(|| absent(column))
    }

    /// Bytes or nothing.
    pub(in crate::store) fn maybe_bytes(&self, column: usize) -> sqlx::Result<Option<Vec<u8>>> {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
    }
}

/// PostgreSQL tells numbers by width, and truth apart from them.
fn number(row: &PgRow, column: usize) -> sqlx::Result<Option<i64>> {
    let value = row.try_get_raw(column)?;
    let narrow = match value.type_info().name() {
        "INT8" => return row.try_get(column),
        "BOOL" => row.try_get::<Option<bool>, _>(column)?.map(i64::from),
        "INT2" => row.try_get::<Option<i16>, _>(column)?.map(i64::from),
        "INT4" => row.try_get::<Option<i32>, _>(column)?.map(i64::from),
        other => {
            return Err(sqlx::Error::ColumnDecode {
                index: row.column(column).name().to_owned(),
                source: format!("{other} is no whole number").into(),
            });
        }
    };
    Ok(narrow)
}

fn absent(column: usize) -> sqlx::Error {
    sqlx::Error::ColumnDecode {
        index: column.to_string(),
        source: "nothing where a value must be".into(),
    }
}
