//! Copies of the database: made while the gateway runs, checked before they are trusted.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;
use thiserror::Error;

use super::error::OpenError;
use super::open::StoreLock;
use super::sql::{Connection, Statement};

/// What a checked copy holds.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct BackupReport {
    /// Stored messages.
    pub messages: i64,
    /// Mail that waits in inboxes.
    pub inbox: i64,
    /// Unsettled deliveries.
    pub deliveries: i64,
    /// Registered agents.
    pub agents: i64,
    /// Bytes of the file.
    pub bytes: u64,
}

/// What can go wrong with a copy.
#[derive(Debug, Error)]
pub enum BackupError {
    /// The target is there already.
    #[error("{0} exists already; a backup never overwrites")]
    Exists(PathBuf),
    /// The copy is damaged or no database of amtpd.
    #[error("{path} is not a sound database of amtpd: {cause}")]
    Unsound {
        /// The copy.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// A file cannot be used.
    #[error("{path}: {cause}")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's words.
        cause: std::io::Error,
    },
    /// The database cannot be read or written.
    #[error("{path}: {cause}")]
    Database {
        /// The database file.
        path: PathBuf,
        /// The database's words.
        cause: sqlx::Error,
    },
    /// The database is in use.
    #[error(transparent)]
    InUse(#[from] OpenError),
}

/// Copies the database at `from` into the new file `to` in one consistent state, then checks it.
/// The gateway may run meanwhile.
///
/// # Errors
/// The target exists, or one of the files cannot be used.
pub async fn backup(from: &Path, to: &Path) -> Result<BackupReport, BackupError> {
    if to.exists() {
        return Err(BackupError::Exists(to.to_owned()));
    }
    let partial = beside(to, ".partial");
    remove_if_there(&partial)?;
    let mut source = open(from).await?;
    let copy = Statement::new("VACUUM INTO ?").bind(partial.to_string_lossy().into_owned());
    source
        .run(copy)
        .await
        .map_err(|cause| BackupError::Database {
            path: from.to_owned(),
            cause,
        })?;
    let report = verify(&partial).await?;
    let file_error = |cause| BackupError::File {
        path: to.to_owned(),
        cause,
    };
    File::open(&partial)
        .and_then(|file| file.sync_all())
        .map_err(file_error)?;
    fs::rename(&partial, to).map_err(file_error)?;
    sync_folder(to).map_err(file_error)?;
    Ok(report)
}

/// Puts the checked copy `from` in the place of the database `to`; what was there is kept beside
/// it under the answered name. The gateway must be stopped.
///
/// # Errors
/// The gateway runs, the copy is damaged, or one of the files cannot be used.
pub async fn restore(
    from: &Path,
    to: &Path,
) -> Result<(BackupReport, Option<PathBuf>), BackupError> {
    let _lock = StoreLock::take(to)?;
    verify(from).await?;
    let file_error = |cause| BackupError::File {
        path: to.to_owned(),
        cause,
    };
    let partial = beside(to, ".restoring");
    fs::copy(from, &partial).map_err(file_error)?;
    File::open(&partial)
        .and_then(|file| file.sync_all())
        .map_err(file_error)?;
    let report = verify(&partial).await?;
    let kept = match to.exists() {
        true => {
            let kept = free_name(to);
            fs::rename(to, &kept).map_err(file_error)?;
            // The log of the replaced database belongs to it, never to the restored one.
            for suffix in ["-wal", "-shm"] {
                let log = beside(to, suffix);
                if log.exists() {
                    fs::rename(&log, beside(&kept, suffix)).map_err(file_error)?;
                }
            }
            Some(kept)
        }
        false => None,
    };
    fs::rename(&partial, to).map_err(file_error)?;
    sync_folder(to).map_err(file_error)?;
    Ok((report, kept))
}

/// Reads a database through and counts what it holds.
///
/// # Errors
/// [`BackupError::Unsound`] when it is damaged or something else.
pub async fn verify(path: &Path) -> Result<BackupReport, BackupError> {
    let unsound = |cause: String| BackupError::Unsound {
        path: path.to_owned(),
        cause,
    };
    let mut connection = open(path).await?;
    let database = |cause: sqlx::Error| unsound(cause.to_string());
    let rows = connection
        .rows(Statement::new("PRAGMA integrity_check(5)"))
        .await
        .map_err(database)?;
    for row in rows {
        let finding = row.text(0).map_err(database)?;
        if finding != "ok" {
            return Err(unsound(finding));
        }
    }
    let counts = "SELECT (SELECT count(*) FROM messages), (SELECT count(*) FROM inbox), \
                  (SELECT count(*) FROM deliveries), (SELECT count(*) FROM agents WHERE deleted_at IS NULL)";
    let row = connection
        .row(Statement::new(counts))
        .await
        .map_err(database)?
        .ok_or_else(|| unsound("it is empty".to_owned()))?;
    let bytes = fs::metadata(path)
        .map_err(|cause| BackupError::File {
            path: path.to_owned(),
            cause,
        })?
        .len();
    Ok(BackupReport {
        messages: row.int(0).map_err(database)?,
        inbox: row.int(1).map_err(database)?,
        deliveries: row.int(2).map_err(database)?,
        agents: row.int(3).map_err(database)?,
        bytes,
    })
}

async fn open(path: &Path) -> Result<Connection, BackupError> {
    if let Err(cause) = fs::metadata(path) {
        return Err(BackupError::File {
            path: path.to_owned(),
            cause,
        });
    }
    let connection = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .pragma("synchronous", "FULL")
        .disable_statement_logging()
        .connect()
        .await
        .map_err(|cause| BackupError::Database {
            path: path.to_owned(),
            cause,
        })?;
    Ok(Connection::writer(connection))
}

/// A connection that reads a database, which a gateway may use meanwhile.
pub(super) async fn look(path: &Path) -> sqlx::Result<Connection> {
    let connection = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .pragma("query_only", "1")
        .disable_statement_logging()
        .connect()
        .await?;
    Ok(Connection::writer(connection))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn free_name(path: &Path) -> PathBuf {
    let mut number = 1;
    loop {
        let name = beside(path, &format!(".replaced-{number}"));
        if !name.exists() {
            return name;
        }
        number += 1;
    }
}

fn remove_if_there(path: &Path) -> Result<(), BackupError> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => Err(BackupError::File {
            path: path.to_owned(),
            cause,
        }),
        _ => Ok(()),
    }
}

fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all())
}
