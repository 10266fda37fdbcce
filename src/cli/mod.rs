//! The commands: one file each.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage, 78 bad configuration. Results go to standard output,
//! faults to standard error.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "commands talk to people"
)]

use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::config::{Config, ConfigFaults, Environment};
use crate::gateway::StartError;
use crate::schema::OpenFault;

mod agent;
mod audit;
mod bridge;
mod check;
mod client;
mod completions;
mod config_reference;
mod database;
mod dead_letter;
mod doctor;
mod health;
mod import;
mod init;
mod key;
mod mail;
mod man;
mod message;
mod policy;
mod queue;
mod quickstart;
mod schema;
mod selection;
mod serve;
mod session;
mod staff;
mod topic;
mod trace;
mod version;
mod watch;
mod workers;

const FAILED: u8 = 1;
const WRONG_USAGE: u8 = 2;
const BAD_CONFIGURATION: u8 = 78;

/// A federated AMTP gateway: the mail server of software agents
#[derive(Debug, Parser)]
#[command(name = "amtpd", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Quickstart(quickstart::QuickstartCommand),
    Serve(serve::ServeCommand),
    Init(init::InitCommand),
    Check(check::CheckCommand),
    Doctor(Box<doctor::DoctorCommand>),
    Health(health::HealthCommand),
    Agent(agent::AgentCommand),
    Staff(staff::StaffCommand),
    Topic(topic::TopicCommand),
    Audit(audit::AuditCommand),
    Key(key::KeyCommand),
    Send(Box<mail::SendCommand>),
    Inbox(mail::InboxCommand),
    Message(message::MessageCommand),
    Mail(bridge::MailCommand),
    Bridge(bridge::BridgeCommand),
    Queue(queue::QueueCommand),
    DeadLetter(dead_letter::DeadLetterCommand),
    Policy(policy::PolicyCommand),
    Schema(schema::SchemaCommand),
    Session(session::SessionCommand),
    Workers(workers::WorkersCommand),
    Migrate(database::MigrateCommand),
    Backup(database::BackupCommand),
    Restore(database::RestoreCommand),
    Import(import::ImportCommand),
    Version(version::VersionCommand),
    Completions(completions::CompletionsCommand),
    Man(man::ManCommand),
    #[command(hide = true)]
    ConfigReference(config_reference::ConfigReferenceCommand),
    #[command(hide = true)]
    ConfigSchema(config_reference::ConfigSchemaCommand),
}

impl Command {
    fn run(self) -> Result<()> {
        match self {
            Self::Quickstart(command) => wait_for(command.run()),
            Self::Serve(command) => wait_for(command.run()),
            Self::Init(command) => command.run(),
            Self::Check(command) => wait_for(command.run()),
            Self::Doctor(command) => wait_for(command.run()),
            Self::Health(command) => wait_for(command.run()),
            Self::Agent(command) => wait_for(command.run()),
            Self::Staff(command) => wait_for(command.run()),
            Self::Topic(command) => wait_for(command.run()),
            Self::Audit(command) => wait_for(command.run()),
            Self::Key(command) => command.run(),
            Self::Send(command) => wait_for(command.run()),
            Self::Inbox(command) => wait_for(command.run()),
            Self::Message(command) => wait_for(command.run()),
            Self::Mail(command) => command.run(),
            Self::Bridge(command) => wait_for(command.run()),
            Self::Queue(command) => wait_for(command.run()),
            Self::DeadLetter(command) => wait_for(command.run()),
            Self::Policy(command) => command.run(),
            Self::Schema(command) => wait_for(command.run()),
            Self::Session(command) => wait_for(command.run()),
            Self::Workers(command) => wait_for(command.run()),
            Self::Migrate(command) => wait_for(command.run()),
            Self::Backup(command) => wait_for(command.run()),
            Self::Restore(command) => wait_for(command.run()),
            Self::Import(command) => wait_for(command.run()),
            Self::Version(command) => command.run(),
            Self::Completions(command) => command.run(),
            Self::Man(command) => command.run(),
            Self::ConfigReference(command) => command.run(),
            Self::ConfigSchema(command) => command.run(),
        }
    }
}

/// Runs the command of an argument list that begins with the program's name.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let outcome = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli.command.run(),
        Err(usage) => {
            // Nobody is left to tell when the terminal is gone.
            let _ = usage.print();
            let code = if usage.use_stderr() { WRONG_USAGE } else { 0 };
            return code.into();
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !error.is::<Reported>() {
                eprintln!("{}", in_words(&error));
            }
            code_of(&error).into()
        }
    }
}

/// Runs a command that waits for others.
fn wait_for(work: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(work)
}

/// Reads the configuration of a command.
///
/// # Errors
/// Every fault; as the error of a command it becomes exit code 78.
fn load(path: &Path) -> Result<Config, ConfigFaults> {
    Config::load(path, &Environment::of_process())
}

/// The error of a command that has told everything itself.
#[derive(Debug, thiserror::Error)]
#[error("exit code {0}")]
struct Reported(u8);

fn code_of(error: &anyhow::Error) -> u8 {
    match error.downcast_ref::<Reported>() {
        Some(Reported(code)) => *code,
        None if is_of_files(error) => BAD_CONFIGURATION,
        None => FAILED,
    }
}

/// Whether files of the operator have faults: every fault begins with its file.
fn is_of_files(error: &anyhow::Error) -> bool {
    let start = error.downcast_ref::<StartError>();
    let of_start = start.is_some_and(|it| {
        matches!(
            it,
            StartError::Policies(_) | StartError::Schemas(OpenFault::Folder(_))
        )
    });
    of_start || error.is::<ConfigFaults>()
}

fn in_words(error: &anyhow::Error) -> String {
    if is_of_files(error) {
        return error.to_string();
    }
    format!("amtpd: {error:#}")
}

/// Writes a long text; that the reader went away (`| head`) is no fault.
fn show(text: &str) -> Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_options_of_all_commands_fit_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn errors_have_their_exit_codes() {
        let faults = load_nothing().unwrap_err();
        assert_eq!(code_of(&faults.into()), 78);
        assert_eq!(code_of(&Reported(2).into()), 2);
        assert_eq!(code_of(&anyhow::anyhow!("no")), 1);
    }

    fn load_nothing() -> Result<Config, ConfigFaults> {
        Config::load(Path::new("/nowhere/amtpd.yaml"), &Environment::default())
    }
}
