//! How much a store holds, on disk and in memory.

use std::collections::BTreeMap;

use sqlx::{Connection as _, Row as _};

use super::{Home, postgres};
use crate::store::Store;

/// What rows may be left of; `shards` and what belongs to migrations does not change.
const TABLES: [&str; 15] = [
    "messages",
    "deliveries",
    "settled",
    "agents",
    "mailboxes",
    "inbox",
    "api_keys",
    "enrolment_tokens",
    "blobs",
    "blob_chunks",
    "wire_ids",
    "attempts",
    "dead_letters",
    "known_domains",
    // Not a table: see `keys`.
    "keys",
];

/// Sizes by their names: rows of tables, and bytes where the name says so.
pub(crate) type Sizes = BTreeMap<String, u64>;

impl Home {
    /// Rows of every table, and the bytes of the whole; asked beside the gateway.
    pub(crate) async fn sizes(&self) -> Sizes {
        match self {
            Self::Sqlite(_) => self.sizes_of_file().await,
            Self::Postgres(url) => sizes_of_cluster(url),
        }
    }

    async fn sizes_of_file(&self) -> Sizes {
        let path = self.database().file().unwrap().to_owned();
        let mut connection = sqlx::SqliteConnection::connect(&path.display().to_string())
            .await
            .unwrap();
        let keys = "SELECT (SELECT count(*) FROM key_log_0) + (SELECT count(*) FROM key_log_1) \
             + (SELECT count(*) FROM sealed_keys)";
        let mut all = counts(keys);
        all.push((
            "runs".to_owned(),
            "SELECT count(*) FROM key_runs".to_owned(),
        ));
        let mut sizes = Sizes::new();
        for (name, count) in all {
            let query = sqlx::query(sqlx::AssertSqlSafe(count));
            let row = query.fetch_one(&mut connection).await.unwrap();
            sizes.insert(name, u64::try_from(row.get::<i64, _>(0)).unwrap());
        }
        let wal = path.with_extension("db-wal");
        for (name, file) in [("file bytes", &path), ("log bytes", &wal)] {
            let bytes = std::fs::metadata(file).map_or(0, |it| it.len());
            sizes.insert(name.to_owned(), bytes);
        }
        sizes
    }
}

/// The statements that count.
fn counts(keys: &str) -> Vec<(String, String)> {
    let count = |table: &str| match table {
        "keys" => keys.to_owned(),
        table => format!("SELECT count(*) FROM {table}"),
    };
    let each = TABLES.iter();
    each.map(|table| ((*table).to_owned(), count(table)))
        .collect()
}

fn sizes_of_cluster(url: &str) -> Sizes {
    let cluster = postgres::Cluster::shared();
    cluster.query_in(url, "VACUUM");
    let mut all = counts("SELECT count(*) FROM idempotency");
    for table in ["gateways", "duties", "commit_marks"] {
        all.push((table.to_owned(), format!("SELECT count(*) FROM {table}")));
    }
    // Of the gateway's own tables: those of the system are the server's matter.
    let bytes = "SELECT sum(pg_total_relation_size(oid)) FROM pg_class \
         WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace";
    all.push(("file bytes".to_owned(), bytes.to_owned()));
    let columns: Vec<String> = all.iter().map(|(_, count)| format!("({count})")).collect();
    let row = cluster.query_in(url, &format!("SELECT {}", columns.join(", ")));
    let values = row.split('|').map(|value| value.parse().unwrap());
    all.into_iter().map(|(name, _)| name).zip(values).collect()
}

impl Store {
    /// Seals idempotency keys after so many, where a process keeps account of them: then a few days
    /// of little mail see what else takes months. The store must be new.
    pub(crate) fn seal_keys_after(&self, keys: usize) {
        if let Some(known) = &self.0.known {
            known.seal_after(keys);
        }
    }

    /// What is in memory beyond the caches that have a bound of their own.
    pub(crate) fn held(&self) -> Sizes {
        let (keys, runs) = self.0.known.as_ref().map_or((0, 0), |it| it.lock().held());
        let sizes = [("keys in memory", keys), ("filters in memory", runs)];
        let named = sizes.map(|(name, size)| (name.to_owned(), u64::try_from(size).unwrap()));
        named.into_iter().collect()
    }
}
