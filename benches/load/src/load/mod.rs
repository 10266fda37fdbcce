//! The load: messages of many lanes over a few connections, as many as answers come back (closed),
//! or as many a second as were asked for (open).
//!
//! A lane is a sender and a recipient. Of a lane one message is under way at a time, so that the
//! order of its messages is known: it is that of their numbers.

mod drive;
mod pace;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;
use rustls::RootCertStore;
use serde::Serialize;
use tokio::task::JoinSet;

use crate::clock::now;
use crate::daemon::Agent;
use crate::h2::{Connection, MARK, Template};
use crate::ledger::Ledger;
use crate::report::to_float;
use drive::{Driver, Goal};

const ACCEPTED: u16 = 202;
/// What an open load sends before its latencies count.
const WARM_UP: Duration = Duration::from_millis(500);

/// Who writes to whom.
#[derive(Debug, Clone)]
pub(crate) struct Lane {
    pub(crate) sender: Agent,
    pub(crate) recipient: String,
}

/// The first `count` pairs of these, so that neighbours have different senders.
pub(crate) fn lanes(senders: &[Agent], recipients: &[String], count: usize) -> Vec<Lane> {
    let all = recipients.iter().flat_map(|recipient| {
        senders.iter().map(|sender| Lane {
            sender: sender.clone(),
            recipient: recipient.clone(),
        })
    });
    all.take(count).collect()
}

/// How the load is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) in_flight: usize,
    pub(crate) connections: usize,
    pub(crate) time: Duration,
    /// Bytes of a message's payload.
    pub(crate) payload: usize,
    /// The schema that messages name.
    pub(crate) schema: Option<&'static str>,
}

/// Where messages go.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) roots: RootCertStore,
    /// Connections are shared out among these.
    pub(crate) servers: Vec<SocketAddr>,
}

/// What came of a run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Measured {
    /// Answers a second.
    pub(crate) rate: f64,
    pub(crate) answered: u64,
    pub(crate) seconds: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p95_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) body_bytes: f64,
}

impl Measured {
    pub(crate) fn latencies(&self) -> String {
        format!("{:.2}/{:.2}/{:.2}", self.p50_ms, self.p95_ms, self.p99_ms)
    }
}

/// Sends with so many messages in flight until the time is over, and waits for the last answers.
pub(crate) async fn closed(
    shape: &Shape,
    target: &Target,
    lanes: &[Lane],
    ledger: &mut Ledger,
) -> Result<Measured> {
    let until = now() + shape.time;
    run(shape, target, lanes, ledger, |_| Goal::Until(until)).await
}

/// Sends so many messages a second, each at its time, whatever became of those before. A latency
/// counts from the time a message was to be sent.
pub(crate) async fn open(
    shape: &Shape,
    target: &Target,
    (lanes, rate): (&[Lane], f64),
    ledger: &mut Ledger,
) -> Result<Measured> {
    let connections = to_float(u64::try_from(shape.connections)?);
    let interval = Duration::from_secs_f64(connections / rate);
    let began = now() + Duration::from_millis(20);
    let goal = |connection: usize| {
        let offset = to_float(u64::try_from(connection).unwrap_or_default()) / connections;
        Goal::Paced {
            from: began + interval.mul_f64(offset),
            interval,
            until: began + shape.time + WARM_UP,
            counts_from: began + WARM_UP,
        }
    };
    run(shape, target, lanes, ledger, goal).await
}

/// What one connection did.
struct Share {
    latencies: Histogram<u64>,
    sent: Vec<(usize, u64)>,
}

async fn run(
    shape: &Shape,
    target: &Target,
    lanes: &[Lane],
    ledger: &mut Ledger,
    goal: impl Fn(usize) -> Goal,
) -> Result<Measured> {
    let count = shape.connections;
    ensure!(
        count > 0 && lanes.len() >= count && shape.in_flight >= count,
        "fewer messages in flight, or pairs of agents, than connections"
    );
    let run = ledger.begin();
    let mut drivers = Vec::new();
    let mut body_bytes = 0;
    for number in 0..count {
        let server = target.servers[number % target.servers.len()];
        let connection = Connection::open(&target.roots, server, ACCEPTED).await?;
        let mine = lanes.iter().enumerate().skip(number).step_by(count);
        let mut driver = Driver::new(connection, run, shape.in_flight / count);
        for (lane, it) in mine {
            let template = template(it, shape)?;
            body_bytes = template.body_bytes();
            driver.add(lane, template);
        }
        drivers.push(driver);
    }
    let began = now();
    let mut tasks = JoinSet::new();
    for (number, driver) in drivers.into_iter().enumerate() {
        tasks.spawn(driver.run(goal(number)));
    }
    let mut all = Histogram::<u64>::new(3)?;
    let mut answered = 0;
    while let Some(share) = tasks.join_next().await {
        let share = share??;
        all.add(share.latencies)?;
        for (lane, count) in share.sent {
            answered += count;
            ledger.sent(run, lane, count);
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let at = |quantile: f64| to_float(all.value_at_quantile(quantile)) / 1_000.0;
    Ok(Measured {
        rate: to_float(answered) / seconds,
        answered,
        seconds,
        p50_ms: at(0.50),
        p95_ms: at(0.95),
        p99_ms: at(0.99),
        body_bytes: to_float(u64::try_from(body_bytes)?),
    })
}

/// A message of a lane, with a payload of this size.
pub(crate) fn body(lane: &Lane, payload: usize) -> String {
    format!(
        r#"{{"version":"1.0","sender":"{}","recipients":["{}"],"payload":{{{MARK},"text":"{}"}}}}"#,
        lane.sender.address,
        lane.recipient,
        "x".repeat(payload.saturating_sub(MARK.len() + r#"{,"text":""}"#.len())),
    )
}

fn template(lane: &Lane, shape: &Shape) -> Result<Template> {
    let mut body = body(lane, shape.payload);
    if let Some(schema) = shape.schema {
        body.insert_str(1, &format!(r#""schema":"{schema}","#));
    }
    Template::new(&lane.sender.authorization, body.into_bytes())
}
