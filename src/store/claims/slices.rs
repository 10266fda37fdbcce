//! Keys on PostgreSQL: one table with a slice for each day, so that old slices go as a range.

use std::time::Duration;

use super::{DAY, KEPT, Key, Row, first_16, sized};
use crate::protocol::{MessageId, Timestamp};
use crate::store::sql::{Connection, Insert, Statement, Value, padded, places};

/// The slices in which a kept key can stand: nine days, today's and one for a clock set back.
const SLICES: i64 = 11;

/// The day a moment belongs to.
pub(super) fn slice(moment: Timestamp) -> i64 {
    moment.as_millis().div_euclid(millis(DAY))
}

/// When a day begins.
pub(super) fn begin(slice: i64) -> i64 {
    slice * millis(DAY)
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// The first slice that may still hold a key in force at `now`.
pub(super) fn oldest(now: Timestamp) -> i64 {
    slice(now.minus(KEPT))
}

/// The statement that asks for some of these columns of keys, one for each group of keys.
fn question(columns: &str, keys: Vec<Key>, newest: i64) -> Statement {
    let text = format!(
        "SELECT {columns} FROM idempotency WHERE slice IN ({}) AND k IN ({})",
        places(usize::try_from(SLICES).expect("a small number")),
        places(keys.len()),
    );
    Statement::new(text)
        .bind_all((0..SLICES).map(|back| newest - back))
        .bind_all(keys.into_iter().map(|key| Value::from(key.as_slice())))
}

/// Whether any of the keys is known.
pub(super) async fn know_any(
    reader: &mut Connection,
    keys: &[Key],
    now: Timestamp,
) -> sqlx::Result<bool> {
    for chunk in padded(keys) {
        if reader
            .row(question("1", chunk, slice(now) + 1))
            .await?
            .is_some()
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The rows of these keys.
pub(super) async fn read(
    tx: &mut Connection,
    keys: &[Key],
    now: Timestamp,
) -> sqlx::Result<Vec<(Key, Row)>> {
    let mut found = Vec::new();
    for chunk in padded(keys) {
        let columns = "k, fp, mid, message_id, accepted_at";
        for row in tx.rows(question(columns, chunk, slice(now) + 1)).await? {
            let message_id = MessageId::parse(&row.text(3)?)
                .map_err(|fault| sqlx::Error::Decode(fault.to_string().into()))?;
            let known = Row {
                fingerprint: first_16(&sized(row.bytes(1)?)),
                mid: row.int(2)?,
                message_id,
                accepted_at: Timestamp::from_millis(row.int(4)?),
            };
            found.push((first_16(&sized(row.bytes(0)?)), known));
        }
    }
    Ok(found)
}

/// Adds keys. Another gateway may have taken one since it was looked for: the conflict repeats the
/// batch, which then finds it.
pub(super) async fn write(tx: &mut Connection, keys: Vec<(Key, Row)>) -> sqlx::Result<()> {
    let rows = keys.into_iter().map(|(key, row)| {
        vec![
            slice(row.accepted_at).into(),
            key.as_slice().into(),
            row.fingerprint.as_slice().into(),
            row.mid.into(),
            row.message_id.as_str().into(),
            row.accepted_at.as_millis().into(),
        ]
    });
    let insert = "INSERT INTO idempotency (slice, k, fp, mid, message_id, accepted_at)";
    tx.insert(Insert::new(insert, rows.collect())).await
}

/// Forgets a key of that day.
pub(super) async fn free(tx: &mut Connection, key: &Key, slice: i64) -> sqlx::Result<()> {
    let delete = Statement::new("DELETE FROM idempotency WHERE slice = ? AND k = ?")
        .bind(slice)
        .bind(key.as_slice());
    tx.tell(delete).await
}

/// Forgets at most `limit` of the keys that are over; answers how many.
pub(super) async fn sweep(tx: &mut Connection, now: Timestamp, limit: i64) -> sqlx::Result<u64> {
    let delete = Statement::new(
        "DELETE FROM idempotency WHERE (slice, k) IN \
         (SELECT slice, k FROM idempotency WHERE slice < ? ORDER BY slice, k LIMIT ?)",
    )
    .bind(oldest(now))
    .bind(limit);
    tx.run(delete).await
}
