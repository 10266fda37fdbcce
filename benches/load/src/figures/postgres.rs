//! PostgreSQL: durable accept with one gateway, and with two over the same database.

use anyhow::{Context as _, Result};

use super::accept::side;
use crate::bench::{Bench, Runs, Side};
use crate::cluster::Cluster;
use crate::daemon::Daemon;
use crate::ledger::Ledger;
use crate::report::{Detail, Figure, Goal, Pair, progress, to_float};

const NAME: &str = "postgres";

pub(crate) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    progress(NAME, "making a database server");
    let cluster = Cluster::start().await?;
    let store = [("AMTPD__STORE__URL", cluster.url())];
    let mut first = Daemon::prepare(&bench.binary, "load.test")?;
    first.serve(&store).await.context("on PostgreSQL")?;
    let mut second = first.sibling()?;
    let agents = first.pollers("agent", bench.options.senders).await?;
    let (_bare, ceiling) = bench.bare(&first, &agents)?;
    let lanes = bench.lanes(&agents, &agents);
    let mut ledger = Ledger::default();
    let (mut one, mut two) = (Runs::default(), Runs::default());
    let mut written = 0;
    for number in 0..bench.pairs() {
        let bare = async || bench.closed(&ceiling, &lanes, &mut Ledger::default()).await;
        let beside = bare().await?;
        let before = cluster.written()?;
        let alone = bench.closed(&side(&first)?, &lanes, &mut ledger).await?;
        written += cluster.written()?.saturating_sub(before);
        second.serve(&store).await.context("the second gateway")?;
        let beside_both = bare().await?;
        let both = bench
            .closed(&together(&first, &second)?, &lanes, &mut ledger)
            .await?;
        second.stop().await?;
        let what = format!(
            "bare server {:.0}/s, one gateway {:.0}/s, two {:.0}/s",
            beside.measured.rate, alone.measured.rate, both.measured.rate
        );
        bench.progress(NAME, number, &what);
        one.add(alone, beside);
        two.add(both, beside_both);
    }
    progress(NAME, "reading all inboxes");
    ledger.check_inboxes(&first.target()?, &agents).await?;
    first.stop().await?;
    cluster.stop().await?;
    Ok(figures(bench, &one, &two, written))
}

/// Half of the connections to each.
fn together(first: &Daemon, second: &Daemon) -> Result<Side> {
    let mut both = side(first)?;
    both.name = "two gateways";
    both.target.servers.push(second.address());
    both.processes.push(second.process()?);
    Ok(both)
}

fn figures(bench: &Bench, one: &Runs, two: &Runs, written: u64) -> Vec<Figure> {
    let in_flight = bench.shape().in_flight;
    let title = format!("durable accept, PostgreSQL, {in_flight} in flight");
    let mut alone = Figure::new(NAME, &title, one.pairs()).goal(Goal::AtLeast(0.20));
    alone.details = one.latencies();
    alone.details.extend(one.costs());
    alone.details.push(Detail::new(
        "written_bytes",
        "written to disk by the database",
        "bytes",
        to_float(written) / to_float(one.answered().max(1)),
    ));
    let title = format!("the same with two gateways, {in_flight} in flight");
    let mut both = Figure::new("postgres_two", &title, two.pairs());
    both.details = two.latencies();
    both.details.extend(two.costs());
    let (total, single) = (both.pairs.iter(), alone.pairs.iter());
    let pairs = total
        .zip(single)
        .map(|(two, one)| Pair::new(two.value, one.value));
    let mut gain = Figure::new(
        "postgres_second",
        "two gateways beside one",
        pairs.collect(),
    )
    .goal(Goal::AtLeast(1.0));
    gain.beside = "one gateway";
    vec![alone, both, gain]
}
