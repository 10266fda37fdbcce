//! More than a gateway can take: what the accepted wait at three times its capacity.
//!
//! Each round first finds the capacity (many requests in flight, one after the other), then offers
//! half of it and three times of it: messages are sent at given moments, whatever became of those
//! before, and a latency counts from that moment. Messages with many recipients cost the store
//! more than they cost this program, which shares the machine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bytes::Bytes;
use hdrhistogram::Histogram;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::SendRequest;
use hyper::{Request, StatusCode};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::bench::{Bench, write_json};
use crate::clock::{now, pause};
use crate::daemon::{Agent, Daemon};
use crate::report::to_float;

/// Requests on one connection; the gateway takes 128. What finds all connections full is not sent.
const STREAMS: usize = 120;

/// What to offer.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Rounds, each with a gateway of its own
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of each part of a round
    #[arg(long, default_value_t = 8)]
    part: u64,
    /// Recipients of a message: more make it dearer for the gateway and not for this program
    #[arg(long, default_value_t = 16)]
    recipients: usize,
    /// Connections over which it comes
    #[arg(long, default_value_t = 32)]
    ways: usize,
}

/// What came of one part of a round.
#[derive(Debug, Serialize)]
struct Offered {
    /// Messages a second that were to be sent.
    wanted: f64,
    /// Messages a second that were sent: this program may be too slow.
    sent: f64,
    /// Messages a second that were accepted.
    accepted: f64,
    accepted_p50_ms: f64,
    accepted_p99_ms: f64,
    /// Messages a second that were answered 503.
    shed: f64,
    shed_p50_ms: f64,
    shed_p99_ms: f64,
}

#[derive(Debug, Serialize)]
struct Round {
    capacity: f64,
    half: Offered,
    triple: Offered,
    /// The p99 of the accepted at three times the capacity over that at half of it.
    ratio: f64,
}

/// Measures and prints.
pub(crate) async fn execute(options: Options, bench: &Bench) -> Result<()> {
    let mut rounds = Vec::new();
    for number in 0..options.rounds {
        let step = format!("round {} of {}", number + 1, options.rounds);
        crate::report::progress("overload", &step);
        let mut gateway = Daemon::prepare(&bench.binary, "load.test")?;
        gateway.serve(&[]).await?;
        let round = Load::new(&options, &gateway, bench.options.body).await?;
        let round = round.round(&options, bench.options.in_flight).await?;
        gateway.stop().await?;
        crate::report::line(&shown(&round));
        rounds.push(round);
    }
    rounds.sort_by(|one, other| one.ratio.total_cmp(&other.ratio));
    let median = rounds[rounds.len() / 2].ratio;
    let text = format!("p99 of the accepted, 3x over 0.5x: median {median:.2}");
    crate::report::line(&text);
    write_json(bench.options.json.as_deref(), &rounds)
}

fn shown(round: &Round) -> String {
    let part = |part: &Offered| {
        format!(
            "sent {:.0} of {:.0}/s, accepted {:.0}/s p50/p99 {:.1}/{:.1} ms, shed {:.0}/s p50/p99 {:.1}/{:.1} ms",
            part.sent,
            part.wanted,
            part.accepted,
            part.accepted_p50_ms,
            part.accepted_p99_ms,
            part.shed,
            part.shed_p50_ms,
            part.shed_p99_ms
        )
    };
    format!(
        "capacity {:.0}/s\n  0.5x: {}\n  3x:   {}\n  ratio {:.2}",
        round.capacity,
        part(&round.half),
        part(&round.triple),
        round.ratio
    )
}

/// One answer: whether it was accepted, and after how long.
type Answer = (StatusCode, Duration);

/// The connections and what is sent over them.
struct Load {
    connections: Vec<Connection>,
    bodies: Vec<(Agent, Bytes)>,
}

#[derive(Clone)]
struct Connection {
    client: SendRequest<Full<Bytes>>,
    busy: Arc<AtomicUsize>,
}

impl Load {
    async fn new(options: &Options, gateway: &Daemon, body: usize) -> Result<Self> {
        let count = options.recipients.max(8);
        let agents = gateway.pollers("agent", count).await?;
        let payload = "x".repeat(body);
        let bodies = agents.iter().enumerate().map(|(number, sender)| {
            let to = agents.iter().cycle().skip(number + 1);
            let to: Vec<&str> = to
                .take(options.recipients)
                .map(|it| it.address.as_str())
                .collect();
            let body = serde_json::json!({
                "version": "1.0", "sender": sender.address, "recipients": to, "payload": payload,
            });
            (sender.clone(), Bytes::from(body.to_string()))
        });
        let roots = gateway.roots()?;
        let mut connections = Vec::new();
        for _ in 0..options.ways {
            connections.push(Connection {
                client: crate::client::connect(&roots, gateway.address()).await?,
                busy: Arc::default(),
            });
        }
        Ok(Self {
            connections,
            bodies: bodies.collect(),
        })
    }

    async fn round(&self, options: &Options, in_flight: usize) -> Result<Round> {
        let time = Duration::from_secs(options.part);
        let capacity = self.capacity(in_flight, time).await?;
        let half = self.offer(capacity / 2.0, time).await?;
        ensure!(half.accepted > 0.0, "nothing is accepted at half load");
        let triple = self.offer(capacity * 3.0, time).await?;
        let ratio = triple.accepted_p99_ms / half.accepted_p99_ms;
        Ok(Round {
            capacity,
            half,
            triple,
            ratio,
        })
    }

    /// Accepted messages a second with so many in flight.
    async fn capacity(&self, in_flight: usize, time: Duration) -> Result<f64> {
        let until = now() + time;
        let mut workers = JoinSet::new();
        for number in 0..in_flight {
            let connection = self.connections[number % self.connections.len()].clone();
            let message = self.bodies[number % self.bodies.len()].clone();
            workers.spawn(async move {
                let mut accepted = 0_u64;
                while now() < until {
                    let (status, _) = connection.post(&message, now()).await?;
                    match status {
                        StatusCode::ACCEPTED => accepted += 1,
                        // Less than it is asked to wait, and enough not to be load of its own.
                        _ => pause(50).await,
                    }
                }
                anyhow::Ok(accepted)
            });
        }
        let mut accepted = 0;
        while let Some(worker) = workers.join_next().await {
            accepted += worker??;
        }
        Ok(to_float(accepted) / time.as_secs_f64())
    }

    /// Sends so many messages a second, each at its moment.
    async fn offer(&self, rate: f64, time: Duration) -> Result<Offered> {
        let began = now();
        let mut sent = JoinSet::new();
        let mut answers = Answers::default();
        let (mut number, mut due) = (0_usize, Duration::ZERO);
        let gap = Duration::from_secs_f64(1.0 / rate);
        while due < time {
            let moment = began + due;
            while now() < moment {
                pause(1).await;
            }
            if let Some(connection) = self.free(number) {
                let message = self.bodies[number % self.bodies.len()].clone();
                sent.spawn(async move { connection.post(&message, moment).await });
            }
            number += 1;
            due += gap;
            while let Some(answer) = sent.try_join_next() {
                answers.note(answer??)?;
            }
        }
        while let Some(answer) = sent.join_next().await {
            answers.note(answer??)?;
        }
        answers.offered(rate, began.elapsed())
    }

    /// A connection with room for one more; none where the client may not send more.
    fn free(&self, number: usize) -> Option<Connection> {
        let count = self.connections.len();
        (0..count)
            .map(|step| &self.connections[(number + step) % count])
            .find(|connection| connection.busy.load(Ordering::Relaxed) < STREAMS)
            .map(|connection| {
                connection.busy.fetch_add(1, Ordering::Relaxed);
                connection.clone()
            })
    }
}

impl Connection {
    async fn post(&self, (sender, body): &(Agent, Bytes), moment: Instant) -> Result<Answer> {
        let request = Request::post("https://localhost/v1/messages")
            .header("authorization", &sender.authorization)
            .header("content-type", "application/json")
            .body(Full::new(body.clone()))?;
        let mut client = self.client.clone();
        client.ready().await?;
        let answer = client.send_request(request).await?;
        let status = answer.status();
        answer.into_body().collect().await?;
        let _ = self
            .busy
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |busy| {
                busy.checked_sub(1)
            });
        Ok((status, moment.elapsed()))
    }
}

#[derive(Default)]
struct Answers(BTreeMap<u16, Vec<u64>>);

impl Answers {
    fn note(&mut self, (status, took): Answer) -> Result<()> {
        let known = [StatusCode::ACCEPTED, StatusCode::SERVICE_UNAVAILABLE];
        ensure!(known.contains(&status), "an answer with {status}");
        let took = u64::try_from(took.as_micros())?;
        self.0.entry(status.as_u16()).or_default().push(took);
        Ok(())
    }

    fn offered(&self, wanted: f64, took: Duration) -> Result<Offered> {
        let of = |status: StatusCode| -> Result<(f64, f64, f64)> {
            let mut all = Histogram::<u64>::new(3)?;
            for micros in self.0.get(&status.as_u16()).into_iter().flatten() {
                all.record(*micros)?;
            }
            let at = |quantile| to_float(all.value_at_quantile(quantile)) / 1_000.0;
            Ok((to_float(all.len()) / took.as_secs_f64(), at(0.50), at(0.99)))
        };
        let (accepted, accepted_p50_ms, accepted_p99_ms) = of(StatusCode::ACCEPTED)?;
        let (shed, shed_p50_ms, shed_p99_ms) = of(StatusCode::SERVICE_UNAVAILABLE)?;
        Ok(Offered {
            wanted,
            sent: accepted + shed,
            accepted,
            accepted_p50_ms,
            accepted_p99_ms,
            shed,
            shed_p50_ms,
            shed_p99_ms,
        })
    }
}
