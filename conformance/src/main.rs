//! `amtp-conformance`: tests any AMTP gateway over the network only.

mod client;
mod context;
mod dns;
mod hook;
mod report;
mod runner;
mod subject;
mod tests;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};

use subject::{Overrides, Subject};

/// Tests an AMTP gateway over the network and says which rules it keeps.
#[derive(Debug, Parser)]
#[command(name = "amtp-conformance", version, max_term_width = 100)]
struct Options {
    /// The gateway under test, as a YAML file; see conformance/README.md
    #[arg(long, value_name = "FILE")]
    subject: Option<PathBuf>,
    #[command(flatten)]
    overrides: Overrides,
    /// Run the tests of this level (and of the levels it stands on)
    #[arg(long, value_enum, default_value_t = Level::Amtpd)]
    level: Level,
    /// Run only tests whose id begins so; may be repeated
    #[arg(long, value_name = "ID")]
    only: Vec<String>,
    /// List the tests instead of running them
    #[arg(long)]
    list: bool,
    /// Write a JUnit report
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write a JSON report
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What a gateway can claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Level {
    /// Message format, HTTPS, delivery, validation
    Core,
    /// Tracking, idempotency, status, agent discovery
    Extended,
    /// The choices amtpd documents where the draft is silent
    Amtpd,
}

impl Level {
    const fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Extended => "extended",
            Self::Amtpd => "amtpd",
        }
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    match execute(options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            report::complain(&error);
            ExitCode::from(2)
        }
    }
}

/// Whether every test that ran has passed.
fn execute(options: Options) -> Result<bool> {
    let chosen: Vec<_> = tests::all()
        .into_iter()
        .filter(|test| test.level <= options.level)
        .filter(|test| {
            options.only.is_empty() || options.only.iter().any(|id| test.id.starts_with(id))
        })
        .collect();
    anyhow::ensure!(!chosen.is_empty(), "no test has such an id; see --list");
    if options.list {
        report::list(&chosen);
        return Ok(true);
    }
    let subject = Subject::load(options.subject.as_deref(), options.overrides)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let results = runtime.block_on(runner::run(subject, chosen))?;
    report::table(&results);
    if let Some(path) = &options.junit {
        let text = report::junit(&results);
        std::fs::write(path, text).with_context(|| path.display().to_string())?;
    }
    if let Some(path) = &options.json {
        let text = report::json(&results)?;
        std::fs::write(path, text).with_context(|| path.display().to_string())?;
    }
    report::summary(&results);
    Ok(results.iter().all(|result| result.failure.is_none()))
}
