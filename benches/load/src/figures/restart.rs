//! Restart with a long queue: the time until ready, and the memory, beside those of an empty store.
//!
//! The queue is for a domain whose gateway is known and does not run.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::bench::Bench;
use crate::clock::{now, pause};
use crate::daemon::{Agent, Daemon};
use crate::ledger::Ledger;
use crate::load::{self, Lane, Shape};
use crate::metrics::Metrics;
use crate::report::{Detail, Figure, Goal, Pair, median, progress, to_float};

const NAME: &str = "restart";
const ALPHA: &str = "alpha.test";
const BETA: &str = "beta.test";
const RECIPIENTS: usize = 1_000;
/// Milliseconds after which a gateway has read what it keeps in memory.
const SETTLED: u64 = 5_000;
/// How long the gateway may take to count its queue.
const COUNTING: Duration = Duration::from_secs(120);
/// The longest part of the filling at a time.
const PART: f64 = 10.0;

/// Bytes of memory of both: all, and what is not of files.
struct Memory {
    full: (u64, u64),
    empty: (u64, u64),
}

pub(crate) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let way = [("AMTPD__PEERS", nobody())];
    let mut empty = Daemon::prepare(&bench.binary, ALPHA)?;
    let mut full = Daemon::prepare(&bench.binary, ALPHA)?;
    empty.serve(&way).await?;
    empty.pollers("agent", bench.options.senders).await?;
    empty.stop().await?;
    full.serve(&way).await?;
    let senders = full.pollers("agent", bench.options.senders).await?;
    let messages = fill(bench, &full, &senders).await?;
    let (filled, _) = full.process()?.memory()?;
    full.stop().await?;
    let mut pairs = Vec::new();
    let mut memory = Vec::new();
    for number in 0..bench.pairs() {
        let (short, little) = start(&mut empty, &way, 0).await?;
        let (long, much) = start(&mut full, &way, messages).await?;
        let (long, short) = (millis(long), millis(short));
        let what = format!("empty store {short:.0} ms, {messages} queued {long:.0} ms");
        bench.progress(NAME, number, &what);
        pairs.push(Pair::new(long, short));
        memory.push(Memory {
            full: much,
            empty: little,
        });
    }
    let title = format!("start with {messages} queued, until ready");
    let mut figure = Figure::new(NAME, &title, pairs).goal(Goal::AtMost(2.0));
    figure.unit = "ms";
    figure.beside = "empty store";
    let of = |part: fn(&Memory) -> u64| {
        median(memory.iter().map(part).map(to_float)).unwrap_or_default()
    };
    let (much, little) = (of(|it| it.full.0), of(|it| it.empty.0));
    let (much_own, little_own) = (of(|it| it.full.1), of(|it| it.empty.1));
    let each = |bytes: f64| bytes / to_float(messages.max(1));
    figure.details = vec![
        Detail::new(
            "rss_mb",
            "memory 5 s after the start (RSS)",
            "MB",
            much / 1e6,
        )
        .beside(little / 1e6)
        .goal(Goal::AtMost(100.0)),
        Detail::new(
            "anonymous_mb",
            "of which not of files",
            "MB",
            much_own / 1e6,
        )
        .beside(little_own / 1e6),
        Detail::new(
            "filled_rss_mb",
            "memory when the queue was filled",
            "MB",
            to_float(filled) / 1e6,
        ),
        Detail::new(
            "queued_bytes",
            "memory a queued message",
            "bytes",
            each(much - little),
        )
        .goal(Goal::AtMost(200.0)),
    ];
    Ok(vec![figure])
}

/// A peer at a port where nothing listens.
fn nobody() -> String {
    json!({ BETA: { "gateway": "https://127.0.0.1:9", "allow_private": true } }).to_string()
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

/// Submits the messages that stay, and counts them.
async fn fill(bench: &Bench, daemon: &Daemon, senders: &[Agent]) -> Result<u64> {
    let recipients: Vec<String> = (0..RECIPIENTS)
        .map(|number| format!("agent-{number}@{BETA}"))
        .collect();
    let lanes: Vec<Lane> = load::lanes(senders, &recipients, RECIPIENTS);
    let target = daemon.target()?;
    let wanted = bench.options.queued;
    let mut ledger = Ledger::default();
    let mut rate = f64::INFINITY;
    while ledger.total() < wanted {
        let left = to_float(wanted - ledger.total());
        let shape = Shape {
            time: Duration::from_secs_f64((left / rate).clamp(0.5, PART)),
            ..bench.shape()
        };
        rate = load::closed(&shape, &target, &lanes, &mut ledger)
            .await?
            .rate;
        progress(
            NAME,
            &format!("{} of {wanted} queued, {rate:.0}/s", ledger.total()),
        );
    }
    Ok(ledger.total())
}

/// Starts it, waits until it has what it keeps in memory, checks that all are queued, and stops it:
/// the time until ready, and its memory.
async fn start(
    daemon: &mut Daemon,
    way: &[(&str, String)],
    messages: u64,
) -> Result<(Duration, (u64, u64))> {
    let ready = daemon.serve(way).await?;
    pause(SETTLED).await;
    let memory = daemon.process()?.memory()?;
    let mut metrics = Metrics::new(daemon.ops(), "peer");
    let since = now();
    loop {
        let waiting = metrics.waiting().await?;
        if waiting == messages {
            break;
        }
        ensure!(
            since.elapsed() < COUNTING,
            "{messages} messages were accepted, {waiting} are queued"
        );
        pause(100).await;
    }
    drop(metrics);
    daemon.stop().await?;
    Ok((ready, memory))
}
