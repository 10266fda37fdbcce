//! `amtpd migrate`, `amtpd backup` and `amtpd restore`: the database in an operator's hands.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::json;

use super::client::print_json;
use super::load;
use crate::clock::Clock;
use crate::config::Config;
use crate::events::Events;
use crate::store::{self, StoreLock, StoreOptions};
use crate::telemetry::Metrics;

/// Bring the database to this version's form. The gateway does so itself when it starts.
#[derive(Debug, Args)]
pub(super) struct MigrateCommand {
    /// The configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Print JSON for programs
    #[arg(long)]
    json: bool,
}

impl MigrateCommand {
    pub(super) async fn run(self) -> Result<()> {
        let config = load(&self.config)?;
        let database = config.store.database.clone();
        let _lock = database.file().map(StoreLock::take).transpose()?;
        let shown = database.to_string();
        let options = StoreOptions { database };
        let (store, _committer) = store::open(
            &options,
            Events::default(),
            Metrics::default(),
            Clock::system(),
        )
        .await?;
        store.ping().await?;
        if self.json {
            return print_json(&json!({ "database": shown, "migrated": true }));
        }
        println!("{shown} is up to date.");
        Ok(())
    }
}

/// Copy the database into a new file and check the copy. The gateway may run.
#[derive(Debug, Args)]
pub(super) struct BackupCommand {
    /// The new file
    file: PathBuf,
    /// The configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Print JSON for programs
    #[arg(long)]
    json: bool,
}

impl BackupCommand {
    pub(super) async fn run(self) -> Result<()> {
        let config = load(&self.config)?;
        let report = store::backup(file(&config)?, &self.file).await?;
        if self.json {
            return print_json(&json!({ "backup": self.file, "holds": report }));
        }
        println!(
            "{} holds {} messages, {} in inboxes, {} queued, {} agents ({} bytes); read through and sound.",
            self.file.display(),
            report.messages,
            report.inbox,
            report.deliveries,
            report.agents,
            report.bytes
        );
        Ok(())
    }
}

/// Put a backup in the place of the database. The gateway must be stopped.
#[derive(Debug, Args)]
pub(super) struct RestoreCommand {
    /// The backup
    file: PathBuf,
    /// The configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Print JSON for programs
    #[arg(long)]
    json: bool,
}

impl RestoreCommand {
    pub(super) async fn run(self) -> Result<()> {
        let config = load(&self.config)?;
        let path = file(&config)?;
        let (report, kept) = store::restore(&self.file, path).await?;
        if self.json {
            return print_json(&json!({ "database": path, "holds": report, "replaced": kept }));
        }
        println!(
            "{} is restored: {} messages, {} agents.",
            path.display(),
            report.messages,
            report.agents
        );
        if let Some(kept) = kept {
            println!("What was there is kept as {}.", kept.display());
        }
        Ok(())
    }
}

/// The database file.
fn file(config: &Config) -> Result<&Path> {
    config.store.database.file().with_context(|| {
        format!(
            "{} is copied with PostgreSQL's own tools: pg_basebackup with WAL archiving, or pg_dump",
            config.store.database
        )
    })
}
