//! Gateway to gateway: durable on both, order kept, from the first submission until the first
//! gateway knows that the second has all. With batches, and with one message a request.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::bench::{Bench, Run, Runs, Side, costed};
use crate::clock::now;
use crate::daemon::{Agent, Daemon};
use crate::ledger::Ledger;
use crate::load::{self, Lane, Shape};
use crate::metrics::Metrics;
use crate::report::{Detail, Figure, Goal, median, progress, to_float};

const NAME: &str = "between";
pub(super) const ALPHA: &str = "alpha.test";
const BETA: &str = "beta.test";

/// Configuration of a gateway by variables.
pub(super) type Variables = Vec<(&'static str, String)>;

/// The variable by which a gateway knows the other.
pub(crate) fn peer(
    domain: &str,
    at: SocketAddr,
    daemon: &Daemon,
    batch: bool,
) -> Result<(&'static str, String)> {
    let certificate = daemon.certificate_file();
    let known = json!({
        "gateway": format!("https://{at}"),
        "allow_private": true,
        "trusted_ca": certificate.to_str().context("the folder's name is not UTF-8")?,
        "batch": batch,
    });
    Ok(("AMTPD__PEERS", json!({ domain: known }).to_string()))
}

/// Two gateways, the first of which sends to the second.
pub(super) struct Way {
    alpha: Daemon,
    pub(super) beta: Daemon,
    senders: Vec<Agent>,
    recipients: Vec<Agent>,
    lanes: Vec<Lane>,
    side: Side,
    pub(super) shape: Shape,
    metrics: Metrics,
    ledger: Ledger,
    runs: Runs,
    /// What the first took a second.
    accepted: Vec<f64>,
}

impl Way {
    /// Two that run, with more configuration for the first and for the second.
    pub(super) async fn start(
        bench: &Bench,
        batch: bool,
        [mut of_alpha, mut of_beta]: [Variables; 2],
    ) -> Result<Self> {
        let mut alpha = Daemon::prepare(&bench.binary, ALPHA)?;
        let mut beta = Daemon::prepare(&bench.binary, BETA)?;
        of_alpha.push(peer(BETA, beta.address(), &beta, batch)?);
        of_beta.push(peer(ALPHA, alpha.address(), &alpha, batch)?);
        beta.serve(&of_beta).await.context(BETA)?;
        alpha.serve(&of_alpha).await.context(ALPHA)?;
        let senders = alpha.pollers("sender", bench.options.senders).await?;
        let recipients = beta.pollers("recipient", bench.options.senders).await?;
        Ok(Self {
            lanes: bench.lanes(&senders, &recipients),
            side: Side {
                name: "gateways",
                target: alpha.target()?,
                processes: vec![alpha.process()?, beta.process()?],
            },
            shape: bench.shape(),
            metrics: Metrics::new(alpha.ops(), "peer"),
            senders,
            recipients,
            alpha,
            beta,
            ledger: Ledger::default(),
            runs: Runs::default(),
            accepted: Vec::new(),
        })
    }

    pub(super) async fn run(&mut self) -> Result<Run> {
        let Self {
            side,
            shape,
            metrics,
            ledger,
            lanes,
            accepted,
            ..
        } = self;
        costed(&side.processes, async {
            let began = now();
            let mut run = load::closed(shape, &side.target, lanes, ledger).await?;
            accepted.push(run.rate);
            metrics.arrived(ledger.total()).await?;
            run.seconds = began.elapsed().as_secs_f64();
            run.rate = to_float(run.answered) / run.seconds;
            Ok(run)
        })
        .await
    }

    pub(super) async fn finish(mut self) -> Result<(Runs, f64)> {
        let target = self.beta.target()?;
        self.ledger.check_inboxes(&target, &self.recipients).await?;
        self.alpha.stop().await?;
        self.beta.stop().await?;
        let accepted = median(self.accepted.into_iter()).unwrap_or_default();
        Ok((self.runs, accepted))
    }
}

pub(crate) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let mut single = Way::start(bench, false, Default::default()).await?;
    let mut batch = Way::start(bench, true, Default::default()).await?;
    let (_bare, ceiling) = bench.bare(&single.alpha, &single.senders)?;
    let known = single.lanes.clone();
    for number in 0..bench.pairs() {
        for (what, way) in [
            ("one message a request", &mut single),
            ("batches", &mut batch),
        ] {
            let bare = bench
                .closed(&ceiling, &known, &mut Ledger::default())
                .await?;
            let run = way.run().await?;
            let rates = format!(
                "bare server {:.0}/s, {what} {:.0}/s",
                bare.measured.rate, run.measured.rate
            );
            bench.progress(NAME, number, &rates);
            way.runs.add(run, bare);
        }
    }
    progress(NAME, "reading all inboxes");
    let mut figures = Vec::new();
    for (name, what, way, goal) in [
        ("between", "one message a request", single, 0.12),
        ("between_batch", "batches", batch, 0.18),
    ] {
        let (runs, accepted) = way.finish().await?;
        let title = format!("gateway to gateway, {what}");
        let mut figure = Figure::new(name, &title, runs.pairs()).goal(Goal::AtLeast(goal));
        figure.details.push(Detail::new(
            "accepted",
            "accepted by the first meanwhile",
            "/s",
            accepted,
        ));
        figure.details.extend(runs.costs());
        figures.push(figure);
    }
    Ok(figures)
}
