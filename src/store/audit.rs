//! The audit log: chains of entries, one of each gateway. What an entry says, and how one hangs on
//! the next, is not known here: an entry is bytes with a number, a time and a hash.
//!
//! Entries are only ever added behind the last, and cut off at the old end when their retention is
//! over; where a chain was cut is kept, so that the rest can still be checked.

use super::Store;
use super::committer::{Patience, Verb};
use super::error::StoreError;
use super::sql::{Connection, Insert, Row, Statement, Value};
use crate::events::Topic;
use crate::protocol::Timestamp;

/// Entries cut off in one step.
const STEP: i64 = 500;

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// The gateway's chain.
    pub chain: String,
    /// Its number in the chain, from one.
    pub n: i64,
    /// When it happened.
    pub at: Timestamp,
    /// What it says.
    pub entry: Vec<u8>,
    /// The hash over it and the one before.
    pub hash: Vec<u8>,
}

/// The last entry of a chain that was cut off at its old end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditCut {
    /// The chain.
    pub chain: String,
    /// The number of the last entry that is gone.
    pub n: i64,
    /// Its hash.
    pub hash: Vec<u8>,
}

/// Which entries are read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Only of this chain.
    pub chain: Option<String>,
    /// Only since then.
    pub since: Option<Timestamp>,
    /// Only before then.
    pub until: Option<Timestamp>,
    /// After this entry: its time, chain and number.
    pub after: Option<(Timestamp, String, i64)>,
}

const SELECT: &str = "SELECT chain, n, at, entry, hash FROM audit";

impl Store {
    /// Puts entries behind the last of their chain.
    ///
    /// # Errors
    /// When the database fails, or an entry of such a number is there.
    pub async fn append_audit(&self, rows: Vec<AuditRow>) -> Result<(), StoreError> {
        let verb = Append(rows);
        self.0
            .committing
            .commit_with(verb, Vec::new(), Patience::Long)
            .await
    }

    /// The last entry of each chain.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn audit_heads(&self) -> Result<Vec<AuditRow>, StoreError> {
        let mut reader = self.reader().await?;
        let statement = Statement::new(
            "SELECT a.chain, a.n, a.at, a.entry, a.hash FROM audit a JOIN \
             (SELECT chain, max(n) AS n FROM audit GROUP BY chain) h ON h.chain = a.chain AND h.n = a.n \
             ORDER BY a.chain",
        );
        let rows = reader.rows(statement).await?;
        Ok(rows.iter().map(entry).collect::<sqlx::Result<_>>()?)
    }

    /// Where chains were cut.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn audit_cuts(&self) -> Result<Vec<AuditCut>, StoreError> {
        let mut reader = self.reader().await?;
        let statement = Statement::new("SELECT chain, n, hash FROM audit_cuts ORDER BY chain");
        let cut = |row: &Row| {
            Ok(AuditCut {
                chain: row.text(0)?,
                n: row.int(1)?,
                hash: row.bytes(2)?,
            })
        };
        let rows = reader.rows(statement).await?;
        Ok(rows.iter().map(cut).collect::<sqlx::Result<_>>()?)
    }

    /// Entries in the order of their times, at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_audit(
        &self,
        filter: &AuditFilter,
        limit: usize,
    ) -> Result<Vec<AuditRow>, StoreError> {
        let (mut text, mut values) = (format!("{SELECT} WHERE 1 = 1"), Vec::<Value>::new());
        let mut condition = |said: &str, bound: Vec<Value>| {
            text += said;
            values.extend(bound);
        };
        if let Some(since) = filter.since {
            condition(" AND at >= ?", vec![since.as_millis().into()]);
        }
        if let Some(until) = filter.until {
            condition(" AND at < ?", vec![until.as_millis().into()]);
        }
        if let Some(chain) = &filter.chain {
            condition(" AND chain = ?", vec![chain.as_str().into()]);
        }
        if let Some((at, chain, n)) = &filter.after {
            let (at, n) = (at.as_millis(), *n);
            condition(
                " AND (at > ? OR (at = ? AND (n > ? OR (n = ? AND chain > ?))))",
                vec![
                    at.into(),
                    at.into(),
                    n.into(),
                    n.into(),
                    chain.as_str().into(),
                ],
            );
        }
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        condition(" ORDER BY at, n, chain LIMIT ?", vec![limit.into()]);
        let mut reader = self.reader().await?;
        let rows = reader.rows(Statement::new(text).bind_all(values)).await?;
        Ok(rows.iter().map(entry).collect::<sqlx::Result<_>>()?)
    }

    /// Entries of a chain in their order, after a number, at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn read_chain(
        &self,
        chain: &str,
        after: i64,
        limit: i64,
    ) -> Result<Vec<AuditRow>, StoreError> {
        let mut reader = self.reader().await?;
        let statement = Statement::new(format!(
            "{SELECT} WHERE chain = ? AND n > ? ORDER BY n LIMIT ?"
        ))
        .bind(chain)
        .bind(after)
        .bind(limit);
        let rows = reader.rows(statement).await?;
        Ok(rows.iter().map(entry).collect::<sqlx::Result<_>>()?)
    }

    /// One step of cutting off entries from before a moment. Answers how many went; the last entry
    /// of a chain always stays.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn cut_audit(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.0.committing.commit(Cut(before)).await
    }
}

fn entry(row: &Row) -> sqlx::Result<AuditRow> {
    Ok(AuditRow {
        chain: row.text(0)?,
        n: row.int(1)?,
        at: Timestamp::from_millis(row.int(2)?),
        entry: row.bytes(3)?,
        hash: row.bytes(4)?,
    })
}

struct Append(Vec<AuditRow>);

impl Verb for Append {
    type Answer = ();

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<()> {
        let rows = self.0.iter().map(|row| {
            vec![
                row.chain.as_str().into(),
                row.n.into(),
                row.at.as_millis().into(),
                row.entry.as_slice().into(),
                row.hash.as_slice().into(),
            ]
        });
        let insert = Insert::new(
            "INSERT INTO audit (chain, n, at, entry, hash)",
            rows.collect(),
        );
        tx.insert(insert).await
    }
}

struct Cut(Timestamp);

impl Verb for Cut {
    type Answer = u64;

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<u64> {
        let mut gone = 0;
        for chain in self.chains(tx).await? {
            if gone >= STEP.unsigned_abs() {
                break;
            }
            let Some(n) = self.over(tx, &chain).await? else {
                continue;
            };
            let keep = Statement::new(
                "INSERT INTO audit_cuts (chain, n, hash) SELECT chain, n, hash FROM audit WHERE chain = ? AND n = ? \
                 ON CONFLICT (chain) DO UPDATE SET n = excluded.n, hash = excluded.hash",
            );
            tx.run(keep.bind(chain.as_str()).bind(n)).await?;
            let delete = Statement::new("DELETE FROM audit WHERE chain = ? AND n <= ?");
            gone += tx.run(delete.bind(chain.as_str()).bind(n)).await?;
        }
        Ok(gone)
    }
}

impl Cut {
    /// Chains that have an entry from before, other than their last.
    async fn chains(&self, tx: &mut Connection) -> sqlx::Result<Vec<String>> {
        let find = Statement::new(
            "SELECT DISTINCT chain FROM (SELECT chain FROM audit a WHERE at < ? AND \
             EXISTS (SELECT 1 FROM audit b WHERE b.chain = a.chain AND b.n > a.n) \
             ORDER BY at, chain, n LIMIT ?) old ORDER BY chain",
        );
        let rows = tx.rows(find.bind(self.0.as_millis()).bind(STEP)).await?;
        rows.iter().map(|row| row.text(0)).collect()
    }

    /// The last entry of those at the old end of a chain that are from before. An entry of a clock
    /// that was wrong takes nothing with it that is newer.
    async fn over(&self, tx: &mut Connection, chain: &str) -> sqlx::Result<Option<i64>> {
        let find = Statement::new(
            "SELECT n, at FROM audit WHERE chain = ? AND n < (SELECT max(n) FROM audit WHERE chain = ?) \
             ORDER BY n LIMIT ?",
        );
        let rows = tx.rows(find.bind(chain).bind(chain).bind(STEP)).await?;
        let mut last = None;
        for row in rows {
            if row.int(1)? >= self.0.as_millis() {
                break;
            }
            last = Some(row.int(0)?);
        }
        Ok(last)
    }
}
