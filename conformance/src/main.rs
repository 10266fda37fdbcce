//! `amtp-conformance`: tests any AMTP gateway over the network only.

mod bench;
mod client;
mod context;
mod dns;
mod hook;
mod level;
mod mutants;
mod report;
mod runner;
mod subject;
mod tests;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};

use bench::{Authority, Bench};
use context::Context;
use level::Asked;
use subject::{Overrides, Subject};

/// How long anything may take while the suite itself is checked.
const MUTANT_PATIENCE: Duration = Duration::from_secs(10);

/// Tests an AMTP gateway over the network and says which levels it reaches.
#[derive(Debug, Parser)]
#[command(name = "amtp-conformance", version, max_term_width = 100)]
#[command(args_conflicts_with_subcommands = true)]
struct Options {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunOptions,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check the suite itself: break one rule at a time before a good gateway, and see it caught
    Mutants(Box<MutantOptions>),
    /// Make the bench's certificate authority, which the gateway has to believe
    Prepare {
        /// The folder for `ca.pem` and `ca.key`
        #[arg(long, value_name = "DIR", default_value = "bench")]
        dir: PathBuf,
    },
}

#[derive(Debug, Args)]
struct RunOptions {
    /// The gateway under test, as a YAML file; see conformance/README.md
    #[arg(long, value_name = "FILE")]
    subject: Option<PathBuf>,
    #[command(flatten)]
    overrides: Overrides,
    /// What is asked; Core is always asked for
    #[arg(long, value_enum, default_value_t = Asked::Amtpd)]
    level: Asked,
    /// Run only tests whose id begins so; may be repeated
    #[arg(long, value_name = "ID")]
    only: Vec<String>,
    /// List the tests instead of running them
    #[arg(long)]
    list: bool,
    /// Tell each test on standard error as it ends
    #[arg(long)]
    progress: bool,
    /// Write a JUnit report
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write a JSON report
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a badge (SVG)
    #[arg(long, value_name = "FILE")]
    badge: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct MutantOptions {
    /// A gateway that passes, as a YAML file
    #[arg(long, value_name = "FILE")]
    subject: Option<PathBuf>,
    #[command(flatten)]
    overrides: Overrides,
    /// Only mutants that are claimed by tests whose id begins so; may be repeated
    #[arg(long, value_name = "ID")]
    only: Vec<String>,
    /// List the mutants instead of trying them
    #[arg(long)]
    list: bool,
    /// Write a JSON report
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match options.command {
        None => tested(options.run),
        Some(Command::Mutants(options)) => tried(*options),
        Some(Command::Prepare { dir }) => Authority::open(&dir).map(|_| 0),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            report::complain(&error);
            ExitCode::from(2)
        }
    }
}

fn is_meant(only: &[String], id: &str) -> bool {
    only.is_empty() || only.iter().any(|begin| id.starts_with(begin))
}

/// The exit code of a run: which level is reached.
fn tested(options: RunOptions) -> Result<u8> {
    let chosen: Vec<_> = tests::all()
        .into_iter()
        .filter(|test| options.level.has(test.level) && is_meant(&options.only, &test.id))
        .collect();
    anyhow::ensure!(!chosen.is_empty(), "no test has such an id; see --list");
    if options.list {
        report::list(&chosen);
        return Ok(0);
    }
    let subject = Subject::load(options.subject.as_deref(), options.overrides)?;
    let name = subject.name.clone();
    let outcomes = runtime()?.block_on(async {
        let context = Arc::new(Context::new(subject.clone(), bench_of(&subject).await?)?);
        let told = options.progress.then_some(report::progress as runner::Told);
        anyhow::Ok(runner::run(context, chosen, told).await)
    })?;
    let standings = report::standings(&outcomes);
    report::table(&outcomes);
    report::summary(&standings, &outcomes);
    write(options.junit.as_deref(), || Ok(report::junit(&outcomes)))?;
    write(options.json.as_deref(), || report::json(&name, &outcomes))?;
    write(options.badge.as_deref(), || Ok(report::badge(&standings)))?;
    Ok(report::exit_code(&standings))
}

/// The exit code of a check of the suite: 0 when every mutant was caught.
fn tried(options: MutantOptions) -> Result<u8> {
    let chosen: Vec<_> = mutants::all()
        .into_iter()
        .filter(|mutant| is_meant(&options.only, mutant.claimed_by))
        .collect();
    anyhow::ensure!(!chosen.is_empty(), "no mutant is claimed by such a test");
    if options.list {
        report::list_mutants(&chosen);
        return Ok(0);
    }
    let mut subject = Subject::load(options.subject.as_deref(), options.overrides)?;
    // What does not come is the usual way to see a mutant: not long.
    subject.patience = subject.patience.min(MUTANT_PATIENCE);
    let results = runtime()?.block_on(async {
        let bench = bench_of(&subject).await?.context(
            "mutants need the bench: `bench` in the subject's file, or --bench-dns-port",
        )?;
        mutants::run(subject, bench, chosen).await
    })?;
    report::mutants(&results);
    write(options.json.as_deref(), || mutants::json(&results))?;
    Ok(u8::from(results.iter().any(|it| it.caught.is_none())))
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    Ok(runtime?)
}

async fn bench_of(subject: &Subject) -> Result<Option<Arc<Bench>>> {
    Ok(match &subject.bench {
        None => None,
        Some(plan) => Some(Arc::new(
            Bench::start(plan.clone(), subject.patience).await?,
        )),
    })
}

fn write(path: Option<&Path>, text: impl FnOnce() -> Result<String>) -> Result<()> {
    match path {
        None => Ok(()),
        Some(path) => std::fs::write(path, text()?).with_context(|| path.display().to_string()),
    }
}
