//! The command line: one file a command.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "commands talk to people"
)]

mod agent;
mod client;
mod database;
mod mail;
mod serve;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::config::{Config, ConfigFaults, Environment};

/// A federated AMTP gateway: the mail server of software agents.
#[derive(Debug, Parser)]
#[command(name = "amtpd", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::ServeCommand),
    Agent(agent::AgentCommand),
    Send(mail::SendCommand),
    Inbox(mail::InboxCommand),
    Message(mail::MessageCommand),
    Migrate(database::MigrateCommand),
    Backup(database::BackupCommand),
    Restore(database::RestoreCommand),
}

fn load(path: &Path) -> Result<Config, ConfigFaults> {
    Config::load(path, &Environment::of_process())
}

/// Runs a command line. 0 done, 1 failed, 2 wrong usage (by clap), 78 bad configuration.
#[must_use]
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("amtpd: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(execute(cli.command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<ConfigFaults>() => {
            eprintln!("{error}");
            ExitCode::from(78)
        }
        Err(error) => {
            eprintln!("amtpd: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn execute(command: Command) -> Result<()> {
    match command {
        Command::Serve(command) => command.run().await,
        Command::Agent(command) => command.run().await,
        Command::Send(command) => command.run().await,
        Command::Inbox(command) => command.run().await,
        Command::Message(command) => command.run().await,
        Command::Migrate(command) => command.run().await,
        Command::Backup(command) => command.run().await,
        Command::Restore(command) => command.run().await,
    }
}
