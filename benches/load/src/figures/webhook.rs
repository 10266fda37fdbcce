//! Webhook push: a queue that is full is drained to webhooks that answer at once.
//!
//! While it is filled, the webhooks keep their answers back. The time counts from their first answer
//! until all is delivered and settled.

use std::time::Duration;

use anyhow::Result;

use super::accept::side;
use super::immediate::local_webhooks;
use crate::bench::{Bench, Run, Runs, Side, costed};
use crate::clock::now;
use crate::daemon::Daemon;
use crate::hooks::Hooks;
use crate::ledger::Ledger;
use crate::load::{self, Measured};
use crate::metrics::Metrics;
use crate::report::{Figure, to_float};

const NAME: &str = "webhook";
const HOOKS: usize = 32;
/// A gateway waits ten seconds for an answer.
const FILLING: Duration = Duration::from_secs(5);

pub(crate) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let hooks = Hooks::start(HOOKS).await?;
    let mut daemon = Daemon::prepare(&bench.binary, "load.test")?;
    daemon.serve(&[local_webhooks()]).await?;
    let senders = daemon.pollers("agent", bench.options.senders).await?;
    let pushed = daemon.pushed(hooks.targets()).await?;
    let (_bare, ceiling) = bench.bare(&daemon, &senders)?;
    let own = side(&daemon)?;
    let lanes = load::lanes(
        &senders,
        &crate::bench::addresses(&pushed),
        HOOKS * senders.len(),
    );
    let mut shape = bench.shape();
    shape.time = shape.time.min(FILLING);
    let mut metrics = Metrics::new(daemon.ops(), "webhook");
    let mut ledger = Ledger::default();
    let mut runs = Runs::default();
    for number in 0..bench.pairs() {
        let bare = bench
            .closed(&ceiling, &lanes, &mut Ledger::default())
            .await?;
        bench.progress(NAME, number, "filling the queue");
        hooks.open(false);
        load::closed(&shape, &own.target, &lanes, &mut ledger).await?;
        let run = drain(&own, &hooks, &mut metrics, ledger.total()).await?;
        let what = format!(
            "bare server {:.0}/s, delivered {:.0}/s",
            bare.measured.rate, run.measured.rate
        );
        bench.progress(NAME, number, &what);
        runs.add(run, bare);
    }
    hooks.check(&ledger)?;
    daemon.stop().await?;
    let title = format!("webhook push from a full queue, {HOOKS} webhooks");
    let mut figure = Figure::new(NAME, &title, runs.pairs());
    figure.details = runs.costs();
    Ok(vec![figure])
}

/// Lets the webhooks answer until all these have come in all.
async fn drain(own: &Side, hooks: &Hooks, metrics: &mut Metrics, total: u64) -> Result<Run> {
    costed(&own.processes, async {
        let answered = total - hooks.total();
        let began = now();
        hooks.open(true);
        hooks.arrived(total).await?;
        metrics.arrived(total).await?;
        let seconds = began.elapsed().as_secs_f64();
        Ok(Measured {
            rate: to_float(answered) / seconds,
            answered,
            seconds,
            p50_ms: 0.0,
            p95_ms: 0.0,
            p99_ms: 0.0,
            body_bytes: 0.0,
        })
    })
    .await
}
