//! `amtp-load`: each figure of the gateway beside its ceiling, in one run.
//!
//! Everything is started here, in processes of its own: the real gateway with agents and keys, and
//! the ceiling, a bare server of the same stack. Runs alternate in pairs, so that a noisy machine
//! disturbs both alike. Every accepted message is found again.

mod bare;
mod bench;
mod charts;
mod client;
mod clock;
mod cluster;
mod daemon;
mod far;
mod figures;
mod h2;
mod hooks;
mod ledger;
mod live;
mod load;
mod metrics;
mod names;
mod overload;
mod process;
mod report;

use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use bench::Bench;
use figures::{accept, between, immediate, inbox, judged, postgres, restart, webhook};
use report::{Figure, Machine, Report};

/// Measures the gateway: each figure beside its ceiling, as ratios of paired runs.
///
/// Without a figure all of them are measured. The ceiling is a bare server of the same stack (axum
/// on hyper, rustls with ring, HTTP/2) that reads and parses the message, looks the bearer token up
/// and answers. The load, the gateway and the ceiling share this machine.
///
/// Every accepted message is counted and found again, and the order of each pair of agents is
/// checked: a figure whose messages are not all there is an error.
#[derive(Debug, Parser)]
#[command(name = "amtp-load", version)]
struct Options {
    #[command(subcommand)]
    figure: Option<Which>,
    #[command(flatten)]
    options: bench::Setup,
}

#[derive(Debug, Clone, Subcommand)]
enum Which {
    /// Messages accepted a second into inboxes, each on disk before its 202 (SQLite)
    ///
    /// Also its p50, p95 and p99 at half that rate: messages are sent at given moments whatever
    /// became of those before, and a latency counts from that moment. And processor time, bytes
    /// written and bytes kept for each message.
    Accept,
    /// Messages accepted a second for agents with webhooks, where `delivery.path` is `immediate`
    ///
    /// The webhooks are in this program and answer at once. Also what arrives there a second.
    Immediate,
    /// Messages a second from one gateway to another, on disk at both, order kept
    ///
    /// The time ends when the first gateway knows that the second has all of them. Once with
    /// batches, once with one message a request.
    Between,
    /// Signed messages a second from one gateway to another that verifies and judges them
    ///
    /// As `between` with batches, beside the same without: the first gateway signs each message
    /// (ES256), the second verifies it, asks a policy of 1,000 rules and holds the payload against a
    /// schema. Both are on disk before they count.
    Judged,
    /// Messages read and acknowledged a second by several agents that poll, a page at a time
    Inbox,
    /// Messages a second from a full queue to webhooks that answer at once
    Webhook,
    /// As `accept` on PostgreSQL, with one gateway and with two over one database
    ///
    /// Starts a database server of its own and throws it away. Its programs must be installed.
    Postgres,
    /// The time until ready, and memory, with a long queue, beside those of an empty store
    Restart,
    /// One pair of agents at two gateways, near and far from each other
    Far(far::Options),
    /// Agents with sessions: memory of an idle one, how long a push takes, how fast a topic spreads
    Live(live::Options),
    /// What the accepted wait at three times the gateway's capacity, beside half of it
    Overload(overload::Options),
    #[command(hide = true)]
    Bare(bare::Options),
}

fn main() -> ExitCode {
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(until_stopped(Options::parse())));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// A signal ends everything that was started, because it ends with the values that hold it.
async fn until_stopped(options: Options) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        outcome = execute(options) => outcome,
        _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
        _ = terminate.recv() => anyhow::bail!("terminated"),
    }
}

async fn execute(options: Options) -> Result<()> {
    match options.figure {
        Some(Which::Bare(options)) => bare::execute(options).await,
        Some(Which::Far(far)) => far::execute(far, &Bench::new(options.options)?).await,
        Some(Which::Overload(overload)) => {
            overload::execute(overload, &Bench::new(options.options)?).await
        }
        Some(Which::Live(live)) => live::execute(live, &Bench::new(options.options)?).await,
        Some(figure) => measure(&[figure], Bench::new(options.options)?).await,
        None => {
            let all = [
                Which::Accept,
                Which::Immediate,
                Which::Between,
                Which::Judged,
                Which::Inbox,
                Which::Webhook,
                Which::Postgres,
                Which::Restart,
            ];
            measure(&all, Bench::new(options.options)?).await
        }
    }
}

async fn measure(which: &[Which], bench: Bench) -> Result<()> {
    let mut report = Report {
        machine: Machine::here(),
        figures: Vec::new(),
        failed: Vec::new(),
    };
    for which in which {
        let (name, outcome) = one(which, &bench).await;
        match outcome {
            Ok(mut figures) => report.figures.append(&mut figures),
            Err(error) => {
                report::left_out(name, &error);
                report.failed.push((name, format!("{error:#}")));
            }
        }
    }
    report::table(&report);
    bench::write_json(bench.options.json.as_deref(), &report)?;
    if let Some(folder) = &bench.options.charts {
        charts::write(&report, folder)?;
    }
    let failed = report.failed.len();
    ensure!(failed == 0, "{failed} figures could not be measured");
    Ok(())
}

async fn one(which: &Which, bench: &Bench) -> (&'static str, Result<Vec<Figure>>) {
    match which {
        Which::Accept => ("accept", accept::measure(bench).await),
        Which::Immediate => ("immediate", immediate::measure(bench).await),
        Which::Between => ("between", between::measure(bench).await),
        Which::Judged => ("judged", judged::measure(bench).await),
        Which::Inbox => ("inbox", inbox::measure(bench).await),
        Which::Webhook => ("webhook", webhook::measure(bench).await),
        Which::Postgres => ("postgres", postgres::measure(bench).await),
        Which::Restart => ("restart", restart::measure(bench).await),
        Which::Far(_) | Which::Live(_) | Which::Overload(_) | Which::Bare(_) => {
            ("", Ok(Vec::new()))
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Options;

    #[test]
    fn the_options_go_together() {
        Options::command().debug_assert();
    }
}
