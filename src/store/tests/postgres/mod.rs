//! Throw-away PostgreSQL clusters for tests, from the machine's own installation.
//!
//! - A cluster keeps everything in a folder of its own. `fsync` and `synchronous_commit` are on.
//! - It ends, and its folder goes, with its [`Cluster`] or with the test's process, in whatever way
//!   that ends ([`watchdog`]).
//! - PostgreSQL refuses root: for a test that is root it runs as the user `postgres`.
//! - A test that needs a database and nothing else takes one of [`Cluster::shared`]. One that kills,
//!   stops or limits the server takes [`Cluster::own`].
//!
//! The tests of the store and those of the whole gateway both use this file.

#![allow(dead_code, reason = "each of the two uses its part of it")]

mod installation;
mod place;
mod replication;
mod server;
mod watchdog;

use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex};

pub(crate) use place::Place;
use watchdog::Watchdog;

/// The role that owns the databases of tests. It is no superuser, so that the connections kept for
/// those are left to the test.
const ROLE: &str = "amtpd";

const SETTINGS: &str = "
fsync = on
synchronous_commit = on
max_connections = 300
shared_buffers = 64MB
dynamic_shared_memory_type = mmap
wal_level = replica
max_wal_senders = 8
hot_standby = on
log_line_prefix = '%m [%p] '
timezone = 'UTC'
";

const ADMISSION: &str = "
local all all trust
host all all all trust
local replication all trust
host replication all all trust
";

static SHARED: LazyLock<Cluster> = LazyLock::new(Cluster::own);

/// A PostgreSQL server with its data.
pub(crate) struct Cluster {
    /// Dropped first: it ends what runs here, and removes the folder.
    watchdog: Watchdog,
    folder: PathBuf,
    place: Place,
    postmaster: Mutex<Option<Child>>,
    databases: AtomicUsize,
}

impl Cluster {
    /// The one of this process, started by the first test that asks. Whoever stops or changes it
    /// spoils the tests beside it.
    pub(crate) fn shared() -> &'static Self {
        &SHARED
    }

    /// One for a single test, on this machine's loopback.
    pub(crate) fn own() -> Self {
        Self::at(Place::here())
    }

    /// One for a single test, anywhere. Panics where PostgreSQL is not installed.
    pub(crate) fn at(place: Place) -> Self {
        let cluster = Self::empty(place);
        cluster.initialise();
        cluster.start();
        cluster.query(&format!("CREATE ROLE {ROLE} LOGIN"));
        cluster
    }

    fn empty(place: Place) -> Self {
        let folder = installation::folder();
        Self {
            watchdog: Watchdog::new(&folder),
            folder,
            place,
            postmaster: Mutex::default(),
            databases: AtomicUsize::new(0),
        }
    }

    fn initialise(&self) {
        let mut initdb = installation::program(&[], "initdb");
        initdb
            .args(["--auth=trust", "--username=postgres", "--no-sync"])
            .args(["--encoding=UTF8", "--locale=C.UTF-8", "--pgdata"])
            .arg(self.data());
        installation::succeed(&mut initdb);
        append(&self.data().join("postgresql.conf"), SETTINGS);
        std::fs::write(self.data().join("pg_hba.conf"), ADMISSION).unwrap();
    }

    /// The URL of a new, empty database.
    pub(crate) fn database(&self) -> String {
        let number = self.databases.fetch_add(1, Ordering::Relaxed) + 1;
        self.create(&format!("test_{number}"), "template0")
    }

    /// The URL of a new copy of a database to which nobody is connected.
    pub(crate) fn copy(&self, url: &str) -> String {
        let number = self.databases.fetch_add(1, Ordering::Relaxed) + 1;
        self.create(&format!("test_{number}"), name(url))
    }

    fn create(&self, database: &str, template: &str) -> String {
        self.query(&format!(
            "CREATE DATABASE {database} OWNER {ROLE} TEMPLATE {template}"
        ));
        self.url(database)
    }

    /// The URL of a database by its name.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://{ROLE}@{}/{database}", self.place.socket())
    }

    /// The URL of a database that is on this cluster or on one of the others.
    pub(crate) fn url_of_all(&self, others: &[&Self], url: &str) -> String {
        let hosts: Vec<String> = std::iter::once(self)
            .chain(others.iter().copied())
            .map(|cluster| cluster.place.socket().to_string())
            .collect();
        format!("postgres://{ROLE}@{}/{}", hosts.join(","), name(url))
    }

    /// Runs statements as the superuser; the columns of rows are separated by `|`. Panics on an error.
    pub(crate) fn query(&self, sql: &str) -> String {
        self.ask("postgres", sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}\n{}", self.log()))
    }

    /// The same in the database of this URL.
    pub(crate) fn query_in(&self, url: &str, sql: &str) -> String {
        self.ask(name(url), sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}\n{}", self.log()))
    }

    /// The answer to statements of the superuser, who may write always; over the socket in the
    /// folder, which needs no network.
    pub(crate) fn ask(&self, database: &str, sql: &str) -> Result<String, String> {
        self.psql(database, sql, "-c default_transaction_read_only=off")
    }

    fn psql(&self, database: &str, sql: &str, options: &str) -> Result<String, String> {
        let mut psql = installation::plain("psql");
        psql.args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-U", "postgres"])
            .args(["-d", database, "-c", sql, "-h"])
            .arg(&self.folder)
            .args(["-p", &self.place.socket().port().to_string()])
            .env("PGOPTIONS", options)
            .env("PGCONNECT_TIMEOUT", "10");
        let output = psql.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => Err(text(&output.stderr)),
        }
    }

    /// What the server wrote to its log.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.watchdog.release();
        if let Some(mut postmaster) = lock(&self.postmaster).take() {
            drop(postmaster.wait());
        }
    }
}

/// The database a URL names.
fn name(url: &str) -> &str {
    let (_, name) = url.rsplit_once('/').expect("a URL names its database");
    name.split('?').next().unwrap_or(name)
}

fn append(path: &Path, text: &str) {
    let before = std::fs::read_to_string(path).unwrap_or_default();
    std::fs::write(path, before + text).unwrap();
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
