//! Two gateways: how fast the mail of one sender for one recipient gets from one to the other.
//!
//! Each run has fresh gateways. Runs without and with delay alternate, so that a noisy machine
//! disturbs both alike; both go through a relay, so that only the delay is between them.

mod pair;
mod relay;
mod report;
mod traffic;

use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use crate::bench::{Bench, write_json};
use pair::Pair;
use report::{Figures, Round};
use traffic::Measured;

/// One pair of agents at two gateways, near and far from each other
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Messages of each run
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    messages: u64,
    /// The length of the way: a delay each way, such as 50ms or 1s; 0 runs without only
    #[arg(long, default_value = "50ms", value_parser = duration)]
    delay: Duration,
    /// One message a request
    #[arg(long)]
    no_batch: bool,
    /// Rounds: one run without and one with the delay
    #[arg(long, default_value = "3")]
    rounds: NonZeroUsize,
}

pub(crate) async fn execute(options: Options, bench: &Bench) -> Result<()> {
    let mut rounds = Vec::new();
    let count = options.rounds.get();
    for number in 0..count {
        let run = async |delay: Duration| {
            report::progress(number, count, delay.as_millis());
            run(&bench.binary, &options, delay).await
        };
        let near = run(Duration::ZERO).await?;
        let far = match options.delay.is_zero() {
            true => None,
            false => Some(run(options.delay).await?),
        };
        rounds.push(Round::of(near, far));
    }
    let figures = Figures {
        messages: options.messages,
        delay_ms: options.delay.as_millis(),
        batch: !options.no_batch,
        ratio: crate::report::median(rounds.iter().filter_map(|round| round.ratio)),
        rounds,
    };
    report::table(&figures);
    write_json(bench.options.json.as_deref(), &figures)
}

async fn run(binary: &Path, options: &Options, delay: Duration) -> Result<Measured> {
    let pair = Pair::start(binary, delay, !options.no_batch).await?;
    traffic::run(&pair, options.messages, delay).await
}

/// A whole number of `ms` or `s`, or 0.
fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit): (&str, fn(u64) -> Duration) = if let Some(number) = text.strip_suffix("ms")
    {
        (number, Duration::from_millis)
    } else if let Some(number) = text.strip_suffix('s') {
        (number, Duration::from_secs)
    } else if text == "0" {
        (text, Duration::from_secs)
    } else {
        return Err("write it as 50ms or 1s".to_owned());
    };
    number.parse().map(unit).map_err(|error| error.to_string())
}
