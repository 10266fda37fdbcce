//! The immediate path: messages to agents with webhooks are answered when they are on their way.
//!
//! The webhooks are in this process and answer at once. There are many more lanes than messages in
//! flight, because only what nothing stands in front of takes this path.

use anyhow::Result;

use super::accept::{latency_goal, side};
use crate::bench::{Bench, Runs, addresses};
use crate::clock::now;
use crate::daemon::Daemon;
use crate::hooks::Hooks;
use crate::ledger::Ledger;
use crate::load;
use crate::report::{Detail, Figure, Goal, median, to_float};

const NAME: &str = "immediate";
const HOOKS: usize = 32;
/// For each message in flight.
const LANES: usize = 8;

/// What lets a gateway deliver to webhooks of this machine.
pub(crate) fn local_webhooks() -> (&'static str, String) {
    ("AMTPD__NET__ALLOW__WEBHOOKS", "[127.0.0.0/8]".to_owned())
}

pub(crate) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let hooks = Hooks::start(HOOKS).await?;
    let mut daemon = Daemon::prepare(&bench.binary, "load.test")?;
    let path = ("AMTPD__DELIVERY__PATH", "immediate".to_owned());
    // What is measured is how much goes through, not what is shed.
    let patient = ("AMTPD__LIMITS__COMMIT_WAIT", "1s".to_owned());
    daemon.serve(&[local_webhooks(), path, patient]).await?;
    let senders = daemon.pollers("agent", bench.options.senders).await?;
    let pushed = daemon.pushed(hooks.targets()).await?;
    let (_bare, ceiling) = bench.bare(&daemon, &senders)?;
    let own = side(&daemon)?;
    let many = bench.shape().in_flight * LANES;
    let lanes = load::lanes(&senders, &addresses(&pushed), many);
    let mut ledger = Ledger::default();
    let mut runs = Runs::default();
    let mut delivered = Vec::new();
    let before = daemon.process()?.usage()?;
    for number in 0..bench.pairs() {
        let bare = bench
            .closed(&ceiling, &lanes, &mut Ledger::default())
            .await?;
        let began = now();
        let run = bench.closed(&own, &lanes, &mut ledger).await?;
        hooks.arrived(ledger.total()).await?;
        let rate = to_float(run.measured.answered) / began.elapsed().as_secs_f64();
        let what = format!(
            "bare server {:.0}/s, gateway {:.0}/s, at the webhooks {rate:.0}/s",
            bare.measured.rate, run.measured.rate
        );
        bench.progress(NAME, number, &what);
        delivered.push((rate, rate / bare.measured.rate));
        runs.add(run, bare);
    }
    let full = ledger.total();
    let usage = daemon.process()?.usage()?.since(before);
    let half = bench
        .half_load(
            NAME,
            (&ceiling, &own),
            (&senders, &pushed),
            (runs.rate() / 2.0, &mut ledger),
        )
        .await?;
    hooks.arrived(ledger.total()).await?;
    hooks.check(&ledger)?;
    daemon.stop().await?;
    let title = format!(
        "immediate path to webhooks, {} in flight",
        bench.shape().in_flight
    );
    let mut figure = Figure::new(NAME, &title, runs.pairs()).goal(Goal::AtLeast(0.55));
    let of = |part: fn(&(f64, f64)) -> f64| median(delivered.iter().map(part)).unwrap_or_default();
    figure.details = vec![
        Detail::new("delivered", "arrived at the webhooks", "/s", of(|it| it.0)),
        Detail::new(
            "delivered_ratio",
            "the same, of the bare server",
            "ratio",
            of(|it| it.1),
        ),
        Detail::new(
            "written_bytes",
            "written to disk",
            "bytes",
            to_float(usage.written) / to_float(full.max(1)),
        ),
    ];
    figure.details.extend(half.into_iter().map(latency_goal));
    figure.details.extend(runs.costs());
    Ok(vec![figure])
}
