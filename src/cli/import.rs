//! `amtpd import agentry`: agents, keys, schemas and unread mail of the Go gateway's database.
//!
//! - The other database is only read, in one snapshot.
//! - Each agent, schema and message is a commit of its own. What is here already is left as it is, so
//!   an import that was broken off is run again, and a second one brings what came since.
//! - Nothing is left out in silence: what cannot be taken over is named, with the reason.

mod agents;
mod mail;
mod report;
mod schemas;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::load;
use crate::auth::audit::{Audit, Event, Outcome};
use crate::auth::imported_hash;
use crate::clock::Clock;
use crate::config::{Config, Database, PostgresUrl, Secret};
use crate::events::Events;
use crate::store::{self, Agentry, AgentryAgent, Sealer, Store, StoreLock, StoreOptions};
use crate::telemetry::Metrics;

use report::Report;

/// Imports are a chain of their own in the audit log: a gateway may write to its own meanwhile.
const CHAIN: &str = "import";
/// How the audit log names whoever ran the command.
const ACTOR: &str = "command-line";

/// Take over what another gateway keeps
#[derive(Debug, Args)]
pub(super) struct ImportCommand {
    #[command(subcommand)]
    from: From,
}

#[derive(Debug, Subcommand)]
enum From {
    Agentry(Box<AgentryCommand>),
}

/// Agents with their keys, schemas and unread mail of Agentry, from its PostgreSQL database. On SQLite
/// this gateway must be stopped; on PostgreSQL it may run. May be run again
#[derive(Debug, Args)]
struct AgentryCommand {
    /// Agentry's database, as postgres://USER:PASSWORD@HOST:PORT/NAME, or file:PATH of a file that holds it
    #[arg(
        long,
        value_name = "URL",
        env = "AGENTRY_DATABASE",
        hide_env_values = true
    )]
    database: String,
    /// The configuration of this gateway
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Tell what would be done, and do nothing. What is here already is not looked at
    #[arg(long)]
    dry_run: bool,
    /// A file with the key of any one agent: import only if it is known, so that the salt is right
    #[arg(long, value_name = "FILE")]
    try_key: Option<PathBuf>,
    /// Print JSON for programs
    #[arg(long)]
    json: bool,
}

impl ImportCommand {
    pub(super) async fn run(self) -> Result<()> {
        match self.from {
            From::Agentry(command) => command.run().await,
        }
    }
}

impl AgentryCommand {
    async fn run(self) -> Result<()> {
        let config = load(&self.config)?;
        let mut source = Agentry::open(&self.url()?).await?;
        let agents = source.agents().await?;
        let mut report = Report::new(&source, &config.store.database, self.dry_run);
        if let Some(file) = &self.try_key {
            report.known_key = Some(try_key(file, &agents, &config)?);
        }
        let sealer = sealer(&config)?;
        let database = config.store.database.clone();
        let opened = match self.dry_run {
            true => None,
            false => Some(Opened::open(database).await?),
        };
        let here = Here {
            config: &config,
            sealer,
            store: opened.as_ref().map(|opened| opened.store.clone()),
            clock: Clock::system(),
        };
        let done = import(&here, (&mut source, agents), &mut report).await;
        let closed = match opened {
            Some(opened) => opened.close(&report, done.is_ok()).await,
            None => Ok(()),
        };
        // Where the database failed, that it did is what counts.
        done.context("broken off; what was imported stays, run it again")?;
        closed?;
        report.print(self.json)
    }

    fn url(&self) -> Result<PostgresUrl> {
        let text = match self.database.strip_prefix("file:") {
            Some(path) => std::fs::read_to_string(path).with_context(|| format!("file {path}"))?,
            None => self.database.clone(),
        };
        // What is wrong may be near the password.
        PostgresUrl::parse(Secret::new(text.trim().to_owned())).map_err(|reason| {
            anyhow::anyhow!("--database {reason}; it is written postgres://USER:PASSWORD@HOST/NAME")
        })
    }
}

/// Where things are imported to.
struct Here<'a> {
    config: &'a Config,
    sealer: Option<Sealer>,
    /// Nothing where nothing is to be done.
    store: Option<Store>,
    clock: Clock,
}

/// Schemas first, which agents name; then agents, which have mail.
async fn import(
    here: &Here<'_>,
    (source, agents): (&mut Agentry, Vec<AgentryAgent>),
    report: &mut Report,
) -> Result<()> {
    schemas::import(here, source.schemas().await?, report).await?;
    let taken = agents::import(here, agents, report).await?;
    mail::import(here, source, &taken, report).await?;
    for one in source.undelivered().await? {
        let name = format!("{} for {}", one.message_id, one.recipient);
        let reason = format!("Agentry had not delivered it (it is {} there)", one.state);
        report.refuse("message", &name, &reason);
    }
    Ok(())
}

/// This gateway's database, and what writes to it.
struct Opened {
    store: Store,
    audit: Audit,
    stop: CancellationToken,
    writing: JoinSet<Result<(), store::StoreError>>,
    _lock: Option<StoreLock>,
}

impl Opened {
    async fn open(database: Database) -> Result<Self> {
        let lock = database.file().map(StoreLock::take).transpose()?;
        let options = StoreOptions { database };
        let events = Events::default();
        let (store, committer) =
            store::open(&options, events, Metrics::default(), Clock::system()).await?;
        let stop = CancellationToken::new();
        let mut writing = JoinSet::new();
        writing.spawn(committer.run(stop.clone()));
        let (audit, auditor) = Audit::new(store.clone(), Clock::system(), CHAIN.to_owned());
        let auditing = auditor.run(stop.clone());
        writing.spawn(async move {
            auditing.await;
            Ok(())
        });
        Ok(Self {
            store,
            audit,
            stop,
            writing,
            _lock: lock,
        })
    }

    /// Writes to the audit log what was done, then stops.
    async fn close(mut self, report: &Report, whole: bool) -> Result<()> {
        let outcome = match whole {
            true => Outcome::Done,
            false => Outcome::Failed,
        };
        let event = Event::new("import.agentry", ACTOR.to_owned(), report.from(), outcome);
        self.audit.record(event.with(report.counts())).await?;
        self.stop.cancel();
        while let Some(ended) = self.writing.join_next().await {
            ended??;
        }
        Ok(())
    }
}

fn sealer(config: &Config) -> Result<Option<Sealer>> {
    let Some(secrets) = &config.secrets else {
        return Ok(None);
    };
    let previous = secrets.previous.iter().map(Secret::reveal);
    Ok(Some(
        Sealer::new(secrets.key.reveal())?.with_previous(previous)?,
    ))
}

/// The address of the agent whose key stands in a file.
fn try_key(file: &Path, agents: &[AgentryAgent], config: &Config) -> Result<String> {
    let key = std::fs::read_to_string(file).with_context(|| format!("{}", file.display()))?;
    let salt = config.agentry.as_ref().map(|it| it.key_salt.reveal());
    let hashes = [None, salt].map(|salt| imported_hash(key.trim(), salt.unwrap_or_default()));
    let opens = |agent: &&AgentryAgent| {
        agents::hash_of(&agent.key).is_some_and(|kept| hashes.contains(&kept))
    };
    match agents.iter().find(opens) {
        Some(agent) => Ok(agent.address.clone()),
        None => bail!(
            "the key in {} is no agent's there: is `agentry.key_salt` in the configuration what \
             AMTP_AUTH_API_KEY_SALT is there? Nothing was imported.",
            file.display()
        ),
    }
}
