//! Keys on SQLite: appended to one of two logs, and from there, sorted, to runs.
//!
//! A key is as good as random, so in one tree over all keys each would change a page of its own. Here
//! a commit writes the end of a log and the end of the runs, and nothing else; the [`Index`] knows
//! where a key may stand, so mostly nothing is asked at all. Two logs, because emptying one as a
//! whole writes nearly nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::filter::Filter;
use super::index::{Half, Index, Run, STEP, Step};
use super::{Key, Row, first_16, sized};
use crate::protocol::{MessageId, Timestamp};
use crate::store::sql::{self, Connection, Insert, Statement, Value, padded, places};

/// The tables of the logs.
const LOGS: [&str; 2] = ["key_log_0", "key_log_1"];
const APPEND: [&str; 2] = [
    "INSERT INTO key_log_0 (id, k, fp, mid, message_id, accepted_at)",
    "INSERT INTO key_log_1 (id, k, fp, mid, message_id, accepted_at)",
];
/// Keys read at a time to make a filter.
const PAGE: i64 = 10_000;

/// The index, shared by the writer and those who ask. Cloning is cheap.
#[derive(Debug, Clone, Default)]
pub(in crate::store) struct Keys(Arc<Mutex<Index>>);

impl Keys {
    pub(in crate::store) fn lock(&self) -> MutexGuard<'_, Index> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seals after so many keys from now on; nothing may be read yet.
    #[cfg(test)]
    pub(in crate::store) fn seal_after(&self, keys: usize) {
        *self.lock() = Index::unread(keys);
    }

    /// Whether one of the keys may be known.
    pub(super) fn may_know(&self, keys: &[Key]) -> bool {
        self.lock().may_know(keys)
    }

    /// Keys of which nothing is read yet: the writer [reads](Self::read) them before all else. Full
    /// logs take a tenth of a second, and nobody need wait for that who does not write.
    pub(in crate::store) fn unread(run_size: usize) -> Self {
        Self(Arc::new(Mutex::new(Index::unread(run_size))))
    }

    /// Reads what is needed to know where keys may stand.
    pub(in crate::store) async fn read(&self, connection: &mut Connection) -> sqlx::Result<()> {
        let run_size = self.lock().run_size();
        let mut sealing = None;
        let mut runs = Vec::new();
        let select = "SELECT run, newest, half, filter FROM key_runs ORDER BY run";
        for row in connection.rows(Statement::new(select)).await? {
            let number = row.int(0)?;
            if let Some(half) = row.maybe_int(2)? {
                sealing = Some((number, Half::from(half != 0)));
            }
            let kept = row.maybe_bytes(3)?.as_deref().and_then(Filter::from_bytes);
            runs.push(Run {
                number,
                newest: row.int(1)?,
                filter: match kept {
                    Some(filter) => filter,
                    None => make_filter(connection, number).await?,
                },
            });
        }
        let mut index = Index::new(run_size, runs, sealing);
        for (half, log) in LOGS.into_iter().enumerate() {
            read_log(connection, log, |row, accepted_at| {
                index.found(half, row, accepted_at);
            })
            .await?;
        }
        if let Some((run, _)) = sealing {
            let last = Statement::new("SELECT max(k) FROM sealed_keys WHERE run = ?").bind(run);
            let last = connection.row(last).await?;
            let last = last.map(|row| row.maybe_bytes(0)).transpose()?.flatten();
            index.go_on_after(last.map(|key| first_16(&sized(key))));
        }
        *self.lock() = index;
        Ok(())
    }
}

/// A row handed over costs more than finding it, so a thousand come as one: each the number of its
/// row and the key, in hex.
async fn read_log(
    connection: &mut Connection,
    log: &str,
    mut found: impl FnMut((Key, i64), i64),
) -> sqlx::Result<()> {
    let text = format!(
        "SELECT max(id), max(accepted_at), group_concat(printf('%x', id) || hex(k), ' ') \
         FROM (SELECT id, k, accepted_at FROM {log} WHERE id > ? ORDER BY id LIMIT 1000)"
    );
    let mut after = 0;
    loop {
        let page = Statement::new(text.clone()).bind(after);
        let row = connection.row(page).await?;
        let row = row.ok_or(sqlx::Error::RowNotFound)?;
        let (Some(last), Some(newest), Some(rows)) =
            (row.maybe_int(0)?, row.maybe_int(1)?, row.maybe_text(2)?)
        else {
            return Ok(());
        };
        for item in rows.split(' ') {
            let row = hex_row(item).ok_or_else(|| sqlx::Error::Decode("no key".into()))?;
            found(row, newest);
        }
        after = last;
    }
}

fn hex_row(item: &str) -> Option<(Key, i64)> {
    let (row, key) = item.split_at_checked(item.len().checked_sub(32)?)?;
    let key = u128::from_str_radix(key, 16).ok()?.to_be_bytes();
    Some((key, i64::from_str_radix(row, 16).ok()?))
}

/// Makes and keeps the filter of a run that has none: an older version's slice of a day.
async fn make_filter(connection: &mut Connection, run: i64) -> sqlx::Result<Filter> {
    let count = Statement::new("SELECT count(*) FROM sealed_keys WHERE run = ?").bind(run);
    let count = connection
        .row(count)
        .await?
        .map_or(Ok(0), |row| row.int(0))?;
    let mut filter = Filter::with_room(usize::try_from(count).unwrap_or(0));
    let mut after = Vec::new();
    loop {
        let select =
            Statement::new("SELECT k FROM sealed_keys WHERE run = ? AND k > ? ORDER BY k LIMIT ?");
        let page = select.bind(run).bind(after.as_slice()).bind(PAGE);
        let rows = connection.rows(page).await?;
        for row in &rows {
            after = row.bytes(0)?;
            filter.add(&first_16(&sized(after.clone())));
        }
        if rows.is_empty() {
            break;
        }
    }
    let keep = Statement::new("UPDATE key_runs SET filter = ? WHERE run = ?");
    connection
        .run(keep.bind(filter.to_bytes()).bind(run))
        .await?;
    Ok(filter)
}

/// The rows of these keys; nothing is asked where none may be there.
pub(super) async fn read(tx: &mut Connection, keys: &[Key]) -> sqlx::Result<Vec<(Key, Row)>> {
    let Some(memory) = tx.memory() else {
        return Ok(Vec::new());
    };
    let places_of = memory.keys().lock().find(keys);
    let mut found = Vec::new();
    for (log, rows) in LOGS.into_iter().zip(&places_of.logs) {
        for chunk in padded(rows) {
            let text = format!(
                "SELECT k, fp, mid, message_id, accepted_at FROM {log} WHERE id IN ({})",
                places(chunk.len())
            );
            collect(tx, Statement::new(text).bind_all(chunk), &mut found).await?;
        }
    }
    for chunk in padded(&places_of.runs) {
        let pairs = vec!["(?,?)"; chunk.len()].join(",");
        let text = format!(
            "SELECT k, fp, mid, message_id, accepted_at FROM (VALUES {pairs}) AS v \
             CROSS JOIN sealed_keys ON run = v.column1 AND k = v.column2"
        );
        let values = chunk
            .iter()
            .flat_map(|(run, key)| [Value::from(*run), Value::from(key.as_slice())]);
        collect(tx, Statement::new(text).bind_all(values), &mut found).await?;
    }
    Ok(found)
}

async fn collect(
    tx: &mut Connection,
    statement: Statement,
    found: &mut Vec<(Key, Row)>,
) -> sqlx::Result<()> {
    for row in tx.rows(statement).await? {
        let known = Row {
            fingerprint: first_16(&sized(row.bytes(1)?)),
            mid: row.int(2)?,
            message_id: unpacked(&row)?,
            accepted_at: Timestamp::from_millis(row.int(4)?),
        };
        found.push((first_16(&sized(row.bytes(0)?)), known));
    }
    Ok(())
}

/// Adds keys, and goes on with sealing.
pub(super) async fn write(tx: &mut Connection, keys: Vec<(Key, Row)>) -> sqlx::Result<()> {
    let newest = keys
        .iter()
        .map(|(_, row)| row.accepted_at.as_millis())
        .max();
    let (Some(newest), Some(memory)) = (newest, tx.memory()) else {
        return Ok(());
    };
    let names: Vec<Key> = keys.iter().map(|(key, _)| *key).collect();
    let writing = memory.keys().lock().add(&names, newest);
    let rows = keys
        .into_iter()
        .zip(writing.first..)
        .map(|((key, row), id)| {
            vec![
                id.into(),
                key.as_slice().into(),
                row.fingerprint.as_slice().into(),
                row.mid.into(),
                packed(&row.message_id).into(),
                row.accepted_at.as_millis().into(),
            ]
        });
    for row in writing.replaced {
        let delete = Statement::new(format!("DELETE FROM {} WHERE id = ?", LOGS[writing.half]));
        tx.tell(delete.bind(row)).await?;
    }
    tx.insert(Insert::new(APPEND[writing.half], rows.collect()))
        .await?;
    match writing.sealing {
        Some(step) => seal(tx, step).await,
        None => Ok(()),
    }
}

async fn seal(tx: &mut Connection, step: Step) -> sqlx::Result<()> {
    match step {
        Step::Begin {
            run,
            half,
            newest,
            filter,
        } => {
            let begin = "INSERT INTO key_runs (run, newest, half, filter) VALUES (?, ?, ?, ?)";
            let begin = Statement::new(begin).bind(run).bind(newest);
            tx.tell(begin.bind(half == 1).bind(filter.to_bytes())).await
        }
        Step::Move {
            run,
            half,
            rows,
            last,
        } => {
            for chunk in rows.chunks(STEP) {
                tx.tell(move_rows(run, half, chunk)).await?;
            }
            if last {
                let done = Statement::new("UPDATE key_runs SET half = NULL WHERE run = ?");
                tx.tell(done.bind(run)).await?;
                let empty = format!("DELETE FROM {}", LOGS[half]);
                tx.tell(Statement::new(empty)).await?;
            }
            Ok(())
        }
    }
}

/// One text for any number of rows: it is filled up with the last one.
fn move_rows(run: i64, half: Half, rows: &[i64]) -> Statement {
    let text = format!(
        "INSERT OR FAIL INTO sealed_keys (run, k, fp, mid, message_id, accepted_at) \
         SELECT ?, k, fp, mid, message_id, accepted_at FROM {} WHERE id IN ({}) ORDER BY k",
        LOGS[half],
        places(STEP),
    );
    let fill = rows.last().copied().unwrap_or(0);
    let rows = rows.iter().copied().chain(std::iter::repeat(fill));
    Statement::new(text).bind(run).bind_all(rows.take(STEP))
}

/// Forgets a key that was taken within this time.
pub(super) async fn free(
    tx: &mut Connection,
    key: &Key,
    (from, until): (i64, i64),
) -> sqlx::Result<()> {
    let Some(memory) = tx.memory() else {
        return Ok(());
    };
    let found = memory.keys().lock().find([key]);
    let mut rows = Vec::new();
    for (log, numbers) in LOGS.into_iter().zip(found.logs) {
        rows.extend(numbers.into_iter().map(|number| (log, "id", number)));
    }
    for (run, _) in found.runs {
        rows.push(("sealed_keys", "run", run));
    }
    for (table, column, number) in rows {
        let text = format!(
            "DELETE FROM {table} WHERE {column} = ? AND k = ? AND accepted_at >= ? AND accepted_at < ?"
        );
        let delete = Statement::new(text).bind(number).bind(key.as_slice());
        tx.tell(delete.bind(from).bind(until)).await?;
    }
    Ok(())
}

/// Forgets at most `limit` keys of each kind that were taken before a moment; answers how many.
pub(super) async fn sweep(tx: &mut Connection, before: i64, limit: i64) -> sqlx::Result<u64> {
    let mut gone = 0;
    for log in LOGS {
        // The log is in the order of time, nearly: what stands first is over first.
        let text = format!(
            "DELETE FROM {log} WHERE id IN (SELECT id FROM {log} ORDER BY id LIMIT ?) AND accepted_at < ?"
        );
        gone += tx
            .run(Statement::new(text).bind(limit).bind(before))
            .await?;
    }
    let over = tx.memory().and_then(|it| it.keys().lock().over(before));
    let Some(run) = over else {
        return Ok(gone);
    };
    let delete = Statement::new(
        "DELETE FROM sealed_keys WHERE run = ? AND k IN \
         (SELECT k FROM sealed_keys WHERE run = ? ORDER BY k LIMIT ?)",
    );
    let sealed = tx.run(delete.bind(run).bind(run).bind(limit)).await?;
    if i64::try_from(sealed).unwrap_or(i64::MAX) < limit {
        let delete = Statement::new("DELETE FROM key_runs WHERE run = ?").bind(run);
        tx.tell(delete).await?;
        if let Some(memory) = tx.memory() {
            memory.keys().lock().drop_run(run);
        }
    }
    Ok(gone + sealed)
}

/// An id as it is kept: most are UUIDs, which take 17 bytes. No id begins with a zero byte.
fn packed(id: &MessageId) -> Vec<u8> {
    match Uuid::try_parse(id.as_str()) {
        Ok(uuid) if uuid.hyphenated().to_string() == id.as_str() => {
            [&[0][..], uuid.as_bytes()].concat()
        }
        _ => id.as_str().as_bytes().to_vec(),
    }
}

fn unpacked(row: &sql::Row) -> sqlx::Result<MessageId> {
    let bytes = row.bytes(3)?;
    let id = match bytes.split_first() {
        Some((0, uuid)) => Uuid::from_slice(uuid)
            .map(|uuid| uuid.hyphenated().to_string())
            .ok(),
        _ => String::from_utf8(bytes).ok(),
    };
    id.and_then(|id| MessageId::parse(&id).ok())
        .ok_or_else(|| sqlx::Error::Decode("no message id".into()))
}

#[cfg(test)]
mod tests;
