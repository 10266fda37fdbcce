//! What the benchmark says.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is the program's output"
)]

use serde::Serialize;

use crate::Pair;

/// All figures of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    pairs: Vec<Pair>,
    /// The median of the pairs' ratios.
    ratio: f64,
    messages: u64,
    /// Bytes of the database for each stored message, body included.
    disk_bytes_per_message: f64,
    body_bytes: f64,
}

impl Figures {
    pub(crate) fn of(pairs: Vec<Pair>, messages: u64, disk: u64) -> Self {
        let ratio = median(pairs.iter().map(|pair| pair.ratio)).unwrap_or_default();
        let body_bytes = pairs.first().map_or(0.0, |pair| pair.accept.body_bytes);
        let each = |bytes: u64| to_float(bytes) / to_float(messages.max(1));
        Self {
            ratio,
            messages,
            disk_bytes_per_message: each(disk),
            body_bytes,
            pairs,
        }
    }
}

pub(crate) fn median(figures: impl Iterator<Item = f64>) -> Option<f64> {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    let upper = *figures.get(figures.len() / 2)?;
    let lower = figures[(figures.len() - 1) / 2];
    Some(f64::midpoint(lower, upper))
}

#[allow(clippy::cast_precision_loss, reason = "figures for people")]
pub(crate) fn to_float(number: u64) -> f64 {
    number as f64
}

pub(crate) fn complain(error: &anyhow::Error) {
    eprintln!("amtp-load: {error:#}");
}

/// One line, or a few.
pub(crate) fn line(text: &str) {
    println!("{text}");
}

pub(crate) fn progress(number: usize, of: usize, what: &str) {
    eprintln!("pair {} of {of}: {what}", number + 1);
}

pub(crate) fn table(figures: &Figures) {
    println!(
        "{:>5} {:>12} {:>12} {:>7}   p50/p95/p99 ms: bare, accept",
        "pair", "bare/s", "accept/s", "ratio"
    );
    for (number, pair) in figures.pairs.iter().enumerate() {
        println!(
            "{:>5} {:>12.0} {:>12.0} {:>7.3}   {}, {}",
            number + 1,
            pair.bare.rate,
            pair.accept.rate,
            pair.ratio,
            pair.bare.latencies(),
            pair.accept.latencies(),
        );
    }
    println!(
        "durable accept into an inbox: {:.3} of the ceiling (median of {}); {} messages, every one found again",
        figures.ratio,
        figures.pairs.len(),
        figures.messages
    );
    println!(
        "on disk: {:.0} bytes a message, of which {:.0} are its body",
        figures.disk_bytes_per_message, figures.body_bytes
    );
}
