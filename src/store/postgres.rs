//! The servers of a PostgreSQL database: which of them takes writes, and how its connections are set
//! up.
//!
//! - Of several hosts the first that is no standby and not read-only is used. When it is lost, all
//!   are asked again, so a standby that was promoted is found by itself.
//! - A session that is idle inside a transaction ends after five seconds, one that waits for a lock
//!   after eight: a gateway that was paused or cut off holds nothing up for longer.
//! - What reads has a pool of its own, never more than ten connections.
//! - A migration may run while gateways of the version before do. It waits for a table no longer than
//!   two seconds, because whoever comes after it waits too; then it lets go and tries again.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, PgPool};

use super::durability::Durability;
use super::error::StoreError;
use super::sql::{Connection, Statement, heard};
use crate::clock::Clock;
use crate::config::PostgresUrl;

/// The oldest version that is supported, as the server writes it.
const OLDEST: i64 = 150_000;
const READERS: u32 = 10;
/// A reader waits so long for a connection.
const ACQUIRE: Duration = Duration::from_secs(3);
/// A pooled connection that was idle for longer is tried before it is used.
const FRESH: Duration = Duration::from_secs(1);

/// What every session is told. Both time-outs of idleness and of locks are shorter than the time
/// after which a lane shard is taken from a silent gateway.
const SESSION: &str = "SET idle_in_transaction_session_timeout = '5s'; SET lock_timeout = '8s'; \
    SET statement_timeout = '60s'; SET tcp_user_timeout = 10000; SET tcp_keepalives_idle = 5; \
    SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3; SET client_min_messages = warning";

/// What the session of a migration is told: it may take long, but not wait long.
const MIGRATING: &str = "SET statement_timeout = 0; SET lock_timeout = '2s'";
/// Between two tries to get the locks of a migration.
const PAUSE: Duration = Duration::from_secs(5);
/// How often it is tried: for some five minutes.
const TRIES: u32 = 50;

/// The servers of one database.
pub(super) struct Servers {
    hosts: Vec<PgConnectOptions>,
    chosen: Mutex<Chosen>,
}

/// The server in use.
struct Chosen {
    host: usize,
    pool: PgPool,
}

impl Servers {
    /// Finds the server that takes writes.
    ///
    /// # Errors
    /// When none does.
    pub(super) async fn find(url: &PostgresUrl) -> sqlx::Result<(Self, Connection)> {
        let mut hosts = Vec::new();
        for host in url.hosts() {
            let options: PgConnectOptions = host.reveal().parse()?;
            hosts.push(
                options
                    .application_name("amtpd")
                    .statement_cache_capacity(256)
                    .disable_statement_logging(),
            );
        }
        let (host, connection) = writable(&hosts, 0).await?;
        let chosen = Chosen {
            host,
            pool: pool(&hosts[host]),
        };
        let servers = Self {
            hosts,
            chosen: Mutex::new(chosen),
        };
        Ok((servers, connection))
    }

    /// A new connection to the server that takes writes; readers follow it there.
    pub(super) async fn connect(&self) -> sqlx::Result<Connection> {
        let present = self.lock().host;
        let (host, connection) = writable(&self.hosts, present).await?;
        if host != present {
            tracing::warn!(
                host = self.hosts[host].get_host(),
                port = self.hosts[host].get_port(),
                "another server takes writes now"
            );
            let mut chosen = self.lock();
            chosen.host = host;
            // Connections in use end with their last clone of the pool.
            chosen.pool = pool(&self.hosts[host]);
        }
        Ok(connection)
    }

    /// A connection for reading.
    pub(super) async fn reader(&self) -> Result<Connection, StoreError> {
        Ok(Connection::PostgresReader(self.pool().acquire().await?))
    }

    /// The pool of the server in use.
    pub(super) fn pool(&self) -> PgPool {
        self.lock().pool.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Chosen> {
        self.chosen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first server that takes writes, asked in turn from `first` on.
async fn writable(hosts: &[PgConnectOptions], first: usize) -> sqlx::Result<(usize, Connection)> {
    let mut fault = sqlx::Error::PoolClosed;
    for host in (0..hosts.len()).map(|step| (first + step) % hosts.len()) {
        match connect(&hosts[host]).await {
            Ok(connection) => return Ok((host, connection)),
            // Where one is a standby and the other is gone, the other is to blame.
            Err(error) if is_read_only(&error) && !matches!(fault, sqlx::Error::PoolClosed) => {}
            Err(error) => fault = error,
        }
    }
    Err(fault)
}

fn is_read_only(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Protocol(_))
}

async fn connect(options: &PgConnectOptions) -> sqlx::Result<Connection> {
    let connection = heard(options.connect()).await?;
    let mut connection = Connection::Postgres(Box::new(connection));
    connection.script(SESSION.to_owned()).await?;
    let ask = Statement::new(
        "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::bool, \
         current_setting('server_version_num')::bigint",
    );
    let row = connection.row(ask).await?.ok_or(sqlx::Error::RowNotFound)?;
    if row.int(1)? < OLDEST {
        return Err(sqlx::Error::Configuration(
            "PostgreSQL 15 or later is needed".into(),
        ));
    }
    if row.int(0)? != 0 {
        return Err(sqlx::Error::Protocol(format!(
            "{}:{} is a standby or read-only",
            options.get_host(),
            options.get_port()
        )));
    }
    Ok(connection)
}

fn pool(options: &PgConnectOptions) -> PgPool {
    PgPoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(ACQUIRE)
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for >= FRESH {
                    heard(connection.ping()).await?;
                }
                Ok(true)
            })
        })
        .after_connect(|connection, _| {
            Box::pin(async move { heard(connection.execute(SESSION)).await.map(drop) })
        })
        .connect_lazy_with(options.clone())
}

/// Brings the database to this version's form. Gateways that use it go on; one that migrates it too
/// is waited for.
///
/// # Errors
/// When it cannot be migrated, or its locks are not to be had for minutes.
pub(super) async fn migrate(
    connection: &mut Connection,
    migrations: &Migrator,
    clock: &Clock,
) -> Result<(), MigrateError> {
    connection.script(MIGRATING.to_owned()).await?;
    let mut tries = 1;
    loop {
        let done = connection.migrate(migrations).await;
        // What failed leaves the lock that keeps other migrations out.
        connection
            .script("SELECT pg_advisory_unlock_all()".to_owned())
            .await?;
        match done {
            Ok(()) => break,
            Err(fault) if tries < TRIES && is_kept_waiting(&fault) => {
                tracing::warn!(%fault, tries, "the migration waits for others to let go");
            }
            Err(fault) => return Err(fault),
        }
        tries += 1;
        clock.wait(PAUSE).await;
    }
    Ok(connection.script(SESSION.to_owned()).await?)
}

/// Whether a lock was not to be had in time.
fn is_kept_waiting(fault: &MigrateError) -> bool {
    let (MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) = fault else {
        return false;
    };
    let code = error.as_database_error().and_then(|error| error.code());
    matches!(code.as_deref(), Some("55P03" | "40P01"))
}

/// Asks the servers of a URL what "202" promises on them; changes nothing.
///
/// # Errors
/// When none of them takes writes.
pub async fn inspect(url: &PostgresUrl) -> Result<Durability, StoreError> {
    let (_, mut connection) = Servers::find(url).await?;
    Ok(durability(&mut connection).await?)
}

/// What a crash of the server, or its loss, may cost.
pub(super) async fn durability(connection: &mut Connection) -> sqlx::Result<Durability> {
    let ask = Statement::new(
        "SELECT current_setting('fsync'), current_setting('full_page_writes'), \
         current_setting('synchronous_commit'), current_setting('synchronous_standby_names'), \
         (SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum'))",
    );
    let row = connection.row(ask).await?.ok_or(sqlx::Error::RowNotFound)?;
    for (column, name) in [(0, "fsync"), (1, "full_page_writes")] {
        if row.text(column)? == "off" {
            return Ok(Durability::Unsafe(format!("{name} is off")));
        }
    }
    let commit = row.text(2)?;
    if commit == "off" {
        return Ok(Durability::Unsafe("synchronous_commit is off".to_owned()));
    }
    if row.text(3)?.is_empty() || commit == "local" {
        return Ok(Durability::OneHost);
    }
    Ok(Durability::Standby {
        connected: row.int(4)? > 0,
    })
}
