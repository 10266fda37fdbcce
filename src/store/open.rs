//! Opening the database: lock, connections, migrations.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use sqlx::ConnectOptions as _;
use sqlx::migrate::MigrateError;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use super::accept::Numbers;
use super::checkpoints::{self, Checkpoints};
use super::claims::{self, Keys};
use super::committer::{Committer, Link, PostgresLink};
use super::error::OpenError;
use super::loading::Loading;
use super::notices::Board;
use super::postgres::{self, Servers};
use super::sql::Connection;
use super::{Readers, Shared, Store, migrations};
use crate::clock::Clock;
use crate::config::{Database, PostgresUrl};
use crate::events::Events;
use crate::telemetry::Metrics;

/// How long an agent or a key may be served from memory after another gateway changed it.
const CACHED: Duration = Duration::from_secs(5);
const CACHE_ENTRIES: u64 = 100_000;
const READERS: u32 = 4;
/// Connections that write to PostgreSQL.
const COMMITTERS: usize = 2;

/// Where the database is.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// A SQLite file is made when absent; a database of PostgreSQL must be there.
    pub database: Database,
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
    let failed = |cause: sqlx::Error| OpenError::Database {
        path: options.database.to_string(),
        cause: cause.to_string(),
    };
    let opened = match &options.database {
        Database::Sqlite(path) => sqlite(path, &clock, &failed).await?,
        Database::Postgres(url) => shared(url, &clock, &failed).await?,
    };
    let numbers = Arc::new(opened.numbers);
    let tools = (events.clone(), metrics, clock);
    let board = Board::default();
    let counted = (numbers.clone(), board.clone());
    let (committer, committing) = Committer::new(opened.links, counted, tools);
    let committer = committer.with_checkpoints(opened.checkpoints);
    let shared = Shared {
        committing,
        numbers,
        readers: opened.readers,
        known: opened.known,
        events,
        agents: cache(),
        numbered: cache(),
        loading: Loading::default(),
        keys: cache(),
        database: options.database.clone(),
        board,
        admitted: std::sync::OnceLock::new(),
    };
    Ok((Store(Arc::new(shared)), committer))
}

/// An open database.
struct Opened {
    links: Vec<Link>,
    readers: Readers,
    numbers: Numbers,
    known: Option<Keys>,
    checkpoints: Option<Checkpoints>,
}

async fn sqlite(
    path: &Path,
    clock: &Clock,
    failed: &impl Fn(sqlx::Error) -> OpenError,
) -> Result<Opened, OpenError> {
    let base = SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(Duration::from_secs(10))
        .statement_cache_capacity(256)
        .disable_statement_logging();
    let writing = base
        .clone()
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(false)
        .pragma("cache_size", "-65536")
        .pragma("wal_autocheckpoint", checkpoints::LAST.to_string());
    let mut writer = writing.connect().await.map_err(failed)?;
    migrations::sqlite()
        .run(&mut writer)
        .await
        .map_err(|cause| migration(&path.display(), cause))?;
    // What a statement may need to undo itself stays off the disk. A migration may need much.
    sqlx::query("PRAGMA temp_store = MEMORY")
        .execute(&mut writer)
        .await
        .map_err(failed)?;
    let readers = SqlitePoolOptions::new()
        .max_connections(READERS)
        .min_connections(1)
        .connect_with(base.read_only(true).pragma("query_only", "1"))
        .await
        .map_err(failed)?;
    let beside = Connection::writer(writing.connect().await.map_err(failed)?);
    let mut writer = Connection::writer(writer);
    let numbers = Numbers::read(&mut writer).await.map_err(failed)?;
    let known = Keys::unread(claims::RUN);
    if let Some(memory) = writer.memory() {
        memory.learn(known.clone());
    }
    Ok(Opened {
        links: vec![Link::Sqlite(writer)],
        readers: Readers::Sqlite(readers),
        numbers,
        known: Some(known),
        checkpoints: Some(Checkpoints::new(beside, clock.clone())),
    })
}

async fn shared(
    url: &PostgresUrl,
    clock: &Clock,
    failed: &impl Fn(sqlx::Error) -> OpenError,
) -> Result<Opened, OpenError> {
    let (servers, mut first) = Servers::find(url).await.map_err(failed)?;
    postgres::migrate(&mut first, &migrations::postgres(), clock)
        .await
        .map_err(|cause| migration(url, cause))?;
    let numbers = Numbers::read(&mut first).await.map_err(failed)?;
    let servers = Arc::new(servers);
    let mut connections = vec![first];
    while connections.len() < COMMITTERS {
        connections.push(servers.connect().await.map_err(failed)?);
    }
    let mut links = Vec::new();
    for connection in connections {
        let link = PostgresLink::new(servers.clone(), connection, clock.now());
        links.push(Link::Postgres(link.await.map_err(failed)?));
    }
    Ok(Opened {
        links,
        readers: Readers::Postgres(servers),
        numbers,
        known: None,
        checkpoints: None,
    })
}

fn migration(database: &dyn std::fmt::Display, cause: MigrateError) -> OpenError {
    let path = database.to_string();
    match cause {
        MigrateError::VersionMissing(version) | MigrateError::VersionTooNew(version, _) => {
            OpenError::Newer { path, version }
        }
        other => OpenError::Database {
            path,
            cause: other.to_string(),
        },
    }
}

fn cache<K, V>() -> Cache<K, V>
where
    K: std::hash::Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    Cache::builder()
        .max_capacity(CACHE_ENTRIES)
        .time_to_live(CACHED)
        .build()
}
