//! Durable accept: each message is in an inbox and on disk before its 202.

use anyhow::Result;

use crate::bench::{Bench, Runs, Side};
use crate::daemon::{Agent, Daemon};
use crate::ledger::Ledger;
use crate::report::{Detail, Figure, Goal, progress, to_float};

const NAME: &str = "accept";

/// What the disk and the memory have of the messages.
pub(crate) struct Kept {
    pub(crate) messages: u64,
    /// Written until the gateway had ended, so with the last checkpoint.
    pub(crate) written: u64,
    pub(crate) handed: u64,
    pub(crate) database: u64,
    pub(crate) memory: u64,
}

impl Kept {
    pub(crate) fn details(&self, body: f64) -> Vec<Detail> {
        let each = |bytes: u64| to_float(bytes) / to_float(self.messages.max(1));
        vec![
            Detail::new(
                "written_bytes",
                "written to disk",
                "bytes",
                each(self.written),
            )
            .goal(Goal::AtMost(6.0 * 1_024.0)),
            Detail::new(
                "handed_bytes",
                "handed to writing calls",
                "bytes",
                each(self.handed),
            ),
            Detail::new(
                "kept_bytes",
                "kept on disk beyond the body",
                "bytes",
                each(self.database) - body,
            )
            .goal(Goal::AtMost(0.6 * 1_024.0)),
            Detail::new(
                "rss_mb",
                "memory after all (RSS)",
                "MB",
                to_float(self.memory) / 1e6,
            ),
        ]
    }
}

pub(crate) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let mut daemon = Daemon::prepare(&bench.binary, "load.test")?;
    daemon.serve(&[]).await?;
    let agents = daemon.pollers("agent", bench.options.senders).await?;
    let (_bare, ceiling) = bench.bare(&daemon, &agents)?;
    let mut ledger = Ledger::default();
    let own = side(&daemon)?;
    let before = daemon.process()?.usage()?;
    let runs = pairs(bench, (&ceiling, &own), &agents, &mut ledger).await?;
    let (memory, _) = daemon.process()?.memory()?;
    let usage = daemon.stop().await?.since(before);
    let kept = Kept {
        messages: ledger.total(),
        written: usage.written,
        handed: usage.handed,
        database: daemon.database_bytes()?,
        memory,
    };
    daemon.serve(&[]).await?;
    let own = side(&daemon)?;
    let half = bench
        .half_load(
            NAME,
            (&ceiling, &own),
            (&agents, &agents),
            (runs.rate() / 2.0, &mut ledger),
        )
        .await?;
    progress(NAME, "reading all inboxes");
    ledger.check_inboxes(&own.target, &agents).await?;
    daemon.stop().await?;
    let title = format!(
        "durable accept, SQLite, {} in flight",
        bench.shape().in_flight
    );
    let mut figure = Figure::new(NAME, &title, runs.pairs()).goal(Goal::AtLeast(0.45));
    figure.details.extend(half.into_iter().map(latency_goal));
    figure.details.extend(runs.latencies());
    figure.details.extend(runs.costs());
    figure.details.extend(kept.details(runs.body_bytes()));
    Ok(vec![figure])
}

/// What is asked of the latencies at half load, above the ceiling's own.
pub(crate) fn latency_goal(detail: Detail) -> Detail {
    match detail.name {
        "half_load_p50_ms" => detail.goal(Goal::AtMost(2.0)),
        "half_load_p99_ms" => detail.goal(Goal::AtMost(10.0)),
        _ => detail,
    }
}

/// The gateway under load.
pub(crate) fn side(daemon: &Daemon) -> Result<Side> {
    Ok(Side {
        name: "gateway",
        target: daemon.target()?,
        processes: vec![daemon.process()?],
    })
}

async fn pairs(
    bench: &Bench,
    (bare, own): (&Side, &Side),
    agents: &[Agent],
    ledger: &mut Ledger,
) -> Result<Runs> {
    let lanes = bench.lanes(agents, agents);
    let mut runs = Runs::default();
    for number in 0..bench.pairs() {
        let ceiling = bench.closed(bare, &lanes, &mut Ledger::default()).await?;
        let accept = bench.closed(own, &lanes, ledger).await?;
        bench.progress(
            NAME,
            number,
            &format!(
                "bare server {:.0}/s, gateway {:.0}/s",
                ceiling.measured.rate, accept.measured.rate
            ),
        );
        runs.add(accept, ceiling);
    }
    Ok(runs)
}
