//! Opening the database: lock, connections, migrations.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use sqlx::ConnectOptions as _;
use sqlx::migrate::MigrateError;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use super::committer::Committer;
use super::error::OpenError;
use super::sql::Connection;
use super::{Shared, Store, migrations};
use crate::clock::Clock;
use crate::events::Events;
use crate::telemetry::Metrics;

/// How long an agent or a key may be served from memory after another gateway changed it.
const CACHED: Duration = Duration::from_secs(5);
const CACHE_ENTRIES: u64 = 100_000;
const READERS: u32 = 4;

/// Where the database is.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// The SQLite file; made when absent.
    pub path: PathBuf,
}

/// Held as long as this process owns the database.
#[derive(Debug)]
pub struct StoreLock(#[expect(dead_code, reason = "held, never read")] File);

impl StoreLock {
    /// Takes the lock beside the database file.
    ///
    /// # Errors
    /// [`OpenError::InUse`] when another process has it.
    pub fn take(path: &Path) -> Result<Self, OpenError> {
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        let shown = || path.display().to_string();
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&name)
            .map_err(|cause| OpenError::File {
                path: shown(),
                cause,
            })?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: shown() }),
            Err(TryLockError::Error(cause)) => Err(OpenError::File {
                path: shown(),
                cause,
            }),
        }
    }
}

/// Opens and migrates the database. Run the [`Committer`], or no verb is ever answered.
///
/// # Errors
/// [`OpenError`] says what the operator can do.
pub async fn open(
    options: &StoreOptions,
    events: Events,
    metrics: Metrics,
    clock: Clock,
) -> Result<(Store, Committer), OpenError> {
    let path = options.path.clone();
    let failed = |cause: sqlx::Error| OpenError::Database {
        path: path.display().to_string(),
        cause: cause.to_string(),
    };
    let base = SqliteConnectOptions::new()
        .filename(&path)
        .busy_timeout(Duration::from_secs(10))
        .statement_cache_capacity(256)
        .disable_statement_logging();
    let writing = base
        .clone()
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(false)
        .pragma("cache_size", "-65536");
    let mut writer = writing.connect().await.map_err(failed)?;
    migrations::sqlite()
        .run(&mut writer)
        .await
        .map_err(|cause| match cause {
            MigrateError::VersionMissing(version) | MigrateError::VersionTooNew(version, _) => {
                OpenError::Newer {
                    path: path.display().to_string(),
                    version,
                }
            }
            other => OpenError::Database {
                path: path.display().to_string(),
                cause: other.to_string(),
            },
        })?;
    let readers = SqlitePoolOptions::new()
        .max_connections(READERS)
        .min_connections(1)
        .connect_with(base.read_only(true).pragma("query_only", "1"))
        .await
        .map_err(failed)?;
    let writer = Connection::Writer(Box::new(writer));
    let (committer, (committing, numbers)) = Committer::new(writer, events.clone(), metrics, clock)
        .await
        .map_err(failed)?;
    let cache = || {
        Cache::builder()
            .max_capacity(CACHE_ENTRIES)
            .time_to_live(CACHED)
    };
    let shared = Shared {
        committing,
        numbers,
        readers,
        events,
        agents: cache().build(),
        keys: Cache::builder()
            .max_capacity(CACHE_ENTRIES)
            .time_to_live(CACHED)
            .build(),
        path,
    };
    Ok((Store(Arc::new(shared)), committer))
}
