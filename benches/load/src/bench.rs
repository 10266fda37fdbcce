//! What all figures share: the options, and runs with what they cost.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::bare::Bare;
use crate::daemon::{Agent, Daemon};
use crate::ledger::Ledger;
use crate::load::{self, Lane, Measured, Shape, Target};
use crate::process::{Process, busy};
use crate::report::{self, Detail, Pair, median, to_float};

/// Lanes of an open load: so many that a message does not wait for another of its lane.
const OPEN_LANES: usize = 1_024;

/// How everything is measured
#[derive(Debug, Clone, Args)]
pub(crate) struct Setup {
    /// Pairs of runs
    #[arg(long, global = true, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pairs: u32,
    /// Seconds of each run
    #[arg(long, global = true, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Requests in flight
    #[arg(long, global = true, default_value_t = 128)]
    pub(crate) in_flight: usize,
    /// Connections the requests are shared out among
    #[arg(long, global = true, default_value_t = 4)]
    connections: usize,
    /// Sending agents
    #[arg(long, global = true, default_value_t = 8)]
    pub(crate) senders: usize,
    /// Bytes of a message's payload
    #[arg(long, global = true, default_value_t = 1024)]
    pub(crate) body: usize,
    /// Messages in the queue of the restart
    #[arg(long, global = true, default_value_t = 1_000_000)]
    pub(crate) queued: u64,
    /// The gateway; else the amtpd beside this program
    #[arg(long, global = true, value_name = "FILE")]
    gateway_binary: Option<PathBuf>,
    /// Write the figures as JSON
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write charts as SVG
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) charts: Option<PathBuf>,
}

/// A name, what it is called, and where it is found.
type Part<T> = (&'static str, &'static str, fn(&T) -> f64);

/// Medians of both sides of these pairs, each with its unit.
fn medians<T>(pairs: &[(T, T)], parts: &[Part<T>], unit: &'static str) -> Vec<Detail> {
    let detail = |(name, text, part): &Part<T>| {
        let own = median(pairs.iter().map(|(own, _)| part(own)));
        let bare = median(pairs.iter().map(|(_, bare)| part(bare)));
        Detail::new(name, text, unit, own.unwrap_or_default()).beside(bare.unwrap_or_default())
    };
    parts.iter().map(detail).collect()
}

/// One figure's surroundings.
pub(crate) struct Bench {
    pub(crate) options: Setup,
    pub(crate) binary: PathBuf,
}

/// A server under load.
pub(crate) struct Side {
    pub(crate) name: &'static str,
    pub(crate) target: Target,
    /// Whose time counts.
    pub(crate) processes: Vec<Process>,
}

/// A run with what it cost, in microseconds of processor time a message.
pub(crate) struct Run {
    pub(crate) measured: Measured,
    pub(crate) server_us: f64,
    pub(crate) load_us: f64,
    pub(crate) machine_us: f64,
}

impl Bench {
    pub(crate) fn new(options: Setup) -> Result<Self> {
        let binary = match &options.gateway_binary {
            Some(path) => path.clone(),
            None => std::env::current_exe()?.with_file_name("amtpd"),
        };
        ensure!(
            binary.exists(),
            "{} is not there: build it, or give --gateway-binary",
            binary.display()
        );
        Ok(Self { options, binary })
    }

    pub(crate) fn pairs(&self) -> u32 {
        self.options.pairs
    }

    pub(crate) fn time(&self) -> Duration {
        Duration::from_secs(self.options.seconds)
    }

    pub(crate) fn shape(&self) -> Shape {
        Shape {
            in_flight: self.options.in_flight,
            connections: self.options.connections,
            time: self.time(),
            payload: self.options.body,
            schema: None,
        }
    }

    /// As many lanes as messages are in flight.
    pub(crate) fn lanes(&self, senders: &[Agent], recipients: &[Agent]) -> Vec<Lane> {
        load::lanes(senders, &addresses(recipients), self.options.in_flight)
    }

    /// Says what comes, with its place among the pairs.
    pub(crate) fn progress(&self, figure: &str, number: u32, what: &str) {
        let step = format!("pair {} of {}: {what}", number + 1, self.options.pairs);
        report::progress(figure, &step);
    }

    /// A closed load.
    pub(crate) async fn closed(
        &self,
        side: &Side,
        lanes: &[Lane],
        ledger: &mut Ledger,
    ) -> Result<Run> {
        let shape = self.shape();
        costed(&side.processes, async {
            load::closed(&shape, &side.target, lanes, ledger).await
        })
        .await
        .context(side.name)
    }

    /// The latencies of both at this rate, in pairs; gives the details of the medians.
    pub(crate) async fn half_load(
        &self,
        figure: &str,
        (bare, own): (&Side, &Side),
        (senders, recipients): (&[Agent], &[Agent]),
        (rate, ledger): (f64, &mut Ledger),
    ) -> Result<Vec<Detail>> {
        let lanes = load::lanes(senders, &addresses(recipients), OPEN_LANES);
        let mut runs: Vec<(Measured, Measured)> = Vec::new();
        for number in 0..self.options.pairs {
            let one = async |side: &Side, ledger: &mut Ledger| {
                let run = load::open(&self.shape(), &side.target, (&lanes, rate), ledger).await?;
                let what = format!(
                    "{} at {rate:.0}/s: p50/p95/p99 {} ms",
                    side.name,
                    run.latencies()
                );
                self.progress(figure, number, &what);
                anyhow::Ok(run)
            };
            let ceiling = one(bare, &mut Ledger::default()).await?;
            runs.push((one(own, ledger).await?, ceiling));
        }
        let parts: &[Part<Measured>] = &[
            ("half_load_p50_ms", "p50 at half load", |run| run.p50_ms),
            ("half_load_p95_ms", "p95 at half load", |run| run.p95_ms),
            ("half_load_p99_ms", "p99 at half load", |run| run.p99_ms),
        ];
        Ok(medians(&runs, parts, "ms"))
    }

    /// The ceiling for a gateway: it knows these agents.
    pub(crate) fn bare(&self, daemon: &Daemon, agents: &[Agent]) -> Result<(Bare, Side)> {
        let bare = Bare::start(&daemon.certificate_file(), &daemon.key_file(), agents)?;
        let side = Side {
            name: "bare server",
            target: Target {
                roots: daemon.roots()?,
                servers: vec![bare.address()],
            },
            processes: vec![bare.process()],
        };
        Ok((bare, side))
    }
}

pub(crate) fn addresses(agents: &[Agent]) -> Vec<String> {
    agents.iter().map(|agent| agent.address.clone()).collect()
}

/// Does something and looks at what it cost.
pub(crate) async fn costed(
    processes: &[Process],
    run: impl Future<Output = Result<Measured>>,
) -> Result<Run> {
    let usages = || -> Result<Vec<_>> { processes.iter().map(|it| it.usage()).collect() };
    let (before, own_before, busy_before) = (usages()?, Process::own().usage()?, busy()?);
    let measured = run.await?;
    let count = measured.answered;
    let after = usages()?.into_iter().zip(before);
    Ok(Run {
        server_us: after
            .map(|(after, before)| after.since(before).cpu_us(count))
            .sum(),
        load_us: Process::own().usage()?.since(own_before).cpu_us(count),
        machine_us: (busy()?.saturating_sub(busy_before)).as_secs_f64() * 1e6
            / to_float(count.max(1)),
        measured,
    })
}

/// Runs in pairs, each with that of the bare server before it.
#[derive(Default)]
pub(crate) struct Runs(Vec<(Run, Run)>);

impl Runs {
    pub(crate) fn add(&mut self, own: Run, bare: Run) {
        self.0.push((own, bare));
    }

    pub(crate) fn pairs(&self) -> Vec<Pair> {
        let pair = |(own, bare): &(Run, Run)| Pair::new(own.measured.rate, bare.measured.rate);
        self.0.iter().map(pair).collect()
    }

    /// Messages of all runs.
    pub(crate) fn answered(&self) -> u64 {
        self.0.iter().map(|(own, _)| own.measured.answered).sum()
    }

    /// The rate in the middle.
    pub(crate) fn rate(&self) -> f64 {
        median(self.0.iter().map(|(own, _)| own.measured.rate)).unwrap_or_default()
    }

    pub(crate) fn body_bytes(&self) -> f64 {
        self.0
            .first()
            .map_or(0.0, |(own, _)| own.measured.body_bytes)
    }

    /// What a message cost on both sides.
    pub(crate) fn costs(&self) -> Vec<Detail> {
        let parts: &[Part<Run>] = &[
            ("server_cpu_us", "processor time, server", |run| {
                run.server_us
            }),
            (
                "load_cpu_us",
                "processor time, load and its webhooks",
                |run| run.load_us,
            ),
            ("machine_cpu_us", "processor time, whole machine", |run| {
                run.machine_us
            }),
        ];
        medians(&self.0, parts, "us")
    }

    /// Latencies under full load, of both sides.
    pub(crate) fn latencies(&self) -> Vec<Detail> {
        let parts: &[Part<Run>] = &[
            ("full_load_p50_ms", "p50 at full load", |run| {
                run.measured.p50_ms
            }),
            ("full_load_p99_ms", "p99 at full load", |run| {
                run.measured.p99_ms
            }),
        ];
        medians(&self.0, parts, "ms")
    }
}

pub(crate) fn write_json(path: Option<&Path>, figures: &impl serde::Serialize) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    std::fs::write(path, serde_json::to_string_pretty(figures)? + "\n")
        .with_context(|| path.display().to_string())
}
