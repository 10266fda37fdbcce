//! `amtp-load`: each figure of the gateway beside its ceiling, in one run.
//!
//! The ceiling is a bare server of the same stack that reads and parses the body, checks the bearer
//! token and answers. Runs alternate in pairs, so that a noisy machine disturbs both alike.
//!
//! `amtp-load between` measures two gateways, one of which sends to the other, near and far.

mod bare;
mod between;
mod client;
mod clock;
mod daemon;
mod gateway;
mod overload;
mod report;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, Subcommand};

use client::{Load, Measured};

/// Measures accepted messages a second beside a bare server of the same stack.
#[derive(Debug, Parser)]
#[command(name = "amtp-load", version, args_conflicts_with_subcommands = true)]
struct Options {
    #[command(subcommand)]
    other: Option<Figure>,
    /// Seconds of each run
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Pairs of runs
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// Requests in flight
    #[arg(long, default_value_t = 128)]
    in_flight: usize,
    /// Sending agents
    #[arg(long, default_value_t = 8)]
    senders: usize,
    /// Bytes of a message's payload
    #[arg(long, default_value_t = 1024)]
    body: usize,
    /// The gateway; else the amtpd beside this program
    #[arg(long, value_name = "FILE")]
    gateway_binary: Option<PathBuf>,
    /// Write the figures as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Another figure than the accepted messages.
#[derive(Debug, Subcommand)]
enum Figure {
    Between(between::Options),
    /// What the accepted wait at three times the gateway's capacity, beside half of it
    Overload(overload::Options),
}

fn main() -> ExitCode {
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(execute(Options::parse())));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// One pair of runs.
#[derive(Debug, serde::Serialize)]
struct Pair {
    bare: Measured,
    accept: Measured,
    ratio: f64,
}

async fn execute(mut options: Options) -> Result<()> {
    match options.other.take() {
        Some(Figure::Between(options)) => between::execute(options).await,
        Some(Figure::Overload(options)) => overload::execute(options).await,
        None => accept(options).await,
    }
}

async fn accept(options: Options) -> Result<()> {
    let binary = binary(options.gateway_binary.as_deref(), "--gateway-binary")?;
    let gateway = gateway::Gateway::start(&binary, options.senders).await?;
    let bare = bare::start(gateway.certificate(), gateway.key()).await?;
    let load = Load {
        in_flight: options.in_flight,
        time: Duration::from_secs(options.seconds),
        payload: options.body,
    };
    let mut pairs = Vec::new();
    for number in 0..options.pairs {
        report::progress(number, options.pairs, "bare server");
        let ceiling = client::run(&load, gateway.roots(), bare, gateway.senders()).await?;
        report::progress(number, options.pairs, "accept");
        let accept =
            client::run(&load, gateway.roots(), gateway.address(), gateway.senders()).await?;
        let ratio = accept.rate / ceiling.rate;
        pairs.push(Pair {
            bare: ceiling,
            accept,
            ratio,
        });
    }
    let accepted: u64 = pairs.iter().map(|pair| pair.accept.answered).sum();
    let stored = gateway.stored().await.context("counting what is stored")?;
    ensure!(
        stored == accepted,
        "{accepted} messages were accepted, {stored} are in the inboxes"
    );
    let disk = gateway.stop()?;
    let figures = report::Figures::of(pairs, stored, disk);
    report::table(&figures);
    write_json(options.json.as_deref(), &figures)
}

/// The gateway to measure: the one named, or the one beside this program.
fn binary(named: Option<&Path>, option: &str) -> Result<PathBuf> {
    let path = match named {
        Some(path) => path.to_owned(),
        None => std::env::current_exe()?.with_file_name("amtpd"),
    };
    ensure!(
        path.exists(),
        "{} is not there: build it, or give {option}",
        path.display()
    );
    Ok(path)
}

fn write_json(path: Option<&Path>, figures: &impl serde::Serialize) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    std::fs::write(path, serde_json::to_string_pretty(figures)?)
        .with_context(|| path.display().to_string())
}
