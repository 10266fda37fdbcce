//! Statements in PostgreSQL's words: numbered places, and rows as arrays.

use sqlx::postgres::PgArguments;
use sqlx::{Arguments as _, AssertSqlSafe, Postgres};

use super::{Insert, Kind, Statement, Value};

type Query = sqlx::query::Query<'static, Postgres, PgArguments>;

/// The statement with its values, ready to run.
pub(super) fn query(statement: &Statement) -> sqlx::Result<Query> {
    let mut arguments = PgArguments::default();
    for value in &statement.values {
        match value {
            Value::Null(Kind::Int) => arguments.add(None::<i64>),
            Value::Null(Kind::Text) => arguments.add(None::<&str>),
            Value::Null(Kind::Bytes) => arguments.add(None::<&[u8]>),
            Value::Int(number) => arguments.add(*number),
            Value::Text(text) => arguments.add(storable(text).as_ref()),
            Value::Bytes(bytes) => arguments.add(bytes.as_ref()),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(sqlx::query_with(
        AssertSqlSafe(numbered(&statement.text)),
        arguments,
    ))
}

/// All the rows in one statement, one array a column.
pub(super) fn insert(insert: &Insert) -> sqlx::Result<Query> {
    let width = insert.rows.first().map_or(0, Vec::len);
    let mut arguments = PgArguments::default();
    let mut arrays = String::new();
    for column in 0..width {
        let kind = insert.rows[0][column].kind();
        let cells = || insert.rows.iter().map(|row| &row[column]);
        match kind {
            Kind::Int => arguments.add(cells().map(int).collect::<Vec<_>>()),
            Kind::Text => {
                let texts: Vec<_> = cells().map(text).collect();
                let texts: Vec<Option<&str>> = texts.iter().map(Option::as_deref).collect();
                arguments.add(texts)
            }
            Kind::Bytes => arguments.add(cells().map(bytes).collect::<Vec<Option<&[u8]>>>()),
        }
        .map_err(sqlx::Error::Encode)?;
        let name = match kind {
            Kind::Int => "BIGINT",
            Kind::Text => "TEXT",
            Kind::Bytes => "BYTEA",
        };
        if column > 0 {
            arrays.push_str(", ");
        }
        arrays.push_str(&format!("${}::{name}[]", column + 1));
    }
    let statement = format!(
        "{} SELECT * FROM UNNEST({arrays}) {}",
        insert.head, insert.tail
    );
    Ok(sqlx::query_with(AssertSqlSafe(statement), arguments))
}

const fn int(value: &Value) -> Option<i64> {
    match value {
        Value::Int(number) => Some(*number),
        _ => None,
    }
}

fn text(value: &Value) -> Option<std::borrow::Cow<'_, str>> {
    match value {
        Value::Text(text) => Some(storable(text)),
        _ => None,
    }
}

fn bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::Bytes(bytes) => Some(bytes),
        _ => None,
    }
}

/// PostgreSQL's text has no place for a zero character; what others wrote may have.
fn storable(text: &str) -> std::borrow::Cow<'_, str> {
    if text.contains('\0') {
        text.replace('\0', "\u{fffd}").into()
    } else {
        text.into()
    }
}

/// `?` as `$1`, `$2`, …. No statement of ours has a question mark in quotes.
fn numbered(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 64);
    let mut parts = text.split('?');
    out.push_str(parts.next().unwrap_or_default());
    for (index, part) in parts.enumerate() {
        out.push('$');
        out.push_str(&(index + 1).to_string());
        out.push_str(part);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_numbered() {
        assert_eq!(numbered("a = ? AND b IN (?,?)"), "a = $1 AND b IN ($2,$3)");
        assert_eq!(numbered("a"), "a");
    }

    #[test]
    fn a_zero_character_is_replaced() {
        assert_eq!(storable("a\0b"), "a\u{fffd}b");
    }
}
