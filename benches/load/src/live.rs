//! Agents with sessions: what an idle one takes, how long a push takes, how fast a topic spreads.
//!
//! Every agent has a WebSocket. First the memory of the gateway is read before and after they
//! connect. Then messages go at given moments from some of them to all in turn; a latency counts
//! from the moment a message was to be sent until it is pushed, and each is acknowledged. At last
//! messages are published to a topic that all have subscribed to, one after the other.

mod socket;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use hdrhistogram::Histogram;
use rustls::RootCertStore;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::bench::{Bench, write_json};
use crate::clock::{now, pause};
use crate::daemon::{Agent, Daemon};
use crate::report::{line, progress, to_float};
use socket::{Receiver, Sender};

const TOPIC: &str = "news";
/// Sessions that are opened at a time.
const AT_ONCE: usize = 32;
/// How long the last message may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// The unacknowledged messages a session takes.
const CREDIT: u32 = 64;

/// What to measure.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Agents, each with one session
    #[arg(long, default_value_t = 1000)]
    sessions: usize,
    /// Messages a second from agents to agents
    #[arg(long, default_value_t = 1000)]
    rate: u32,
    /// Seconds of them
    #[arg(long, default_value_t = 10)]
    part: u32,
    /// Publications
    #[arg(long, default_value_t = 5)]
    publications: u32,
}

#[derive(Debug, Serialize)]
struct Figures {
    sessions: usize,
    idle_session_bytes: f64,
    rate: u32,
    push_p50_ms: f64,
    push_p99_ms: f64,
    /// Until the last subscriber has a publication: the median.
    fan_out_ms: f64,
    fan_out_per_second: f64,
}

/// A message that came in at an agent: when it was to be sent, in microseconds of this run, and when
/// it was there.
struct Arrived {
    sent: u64,
    at: Instant,
}

/// The agents' sessions.
struct Crowd {
    addresses: Vec<String>,
    speakers: Vec<mpsc::Sender<Value>>,
    arrivals: mpsc::UnboundedReceiver<Arrived>,
    tasks: JoinSet<Result<()>>,
}

/// Measures and prints.
pub(crate) async fn execute(options: Options, bench: &Bench) -> Result<()> {
    let mut gateway = Daemon::prepare(&bench.binary, "load.test")?;
    let places = (options.sessions * 2).to_string();
    gateway
        .serve(&[
            ("AMTPD__LIMITS__CONNECTIONS", places.clone()),
            ("AMTPD__LIMITS__CONNECTIONS_PER_ADDRESS", places),
        ])
        .await?;
    progress("live", "registering agents");
    let agents = gateway.pollers("agent", options.sessions).await?;
    gateway.topic(TOPIC).await?;
    let (before, _) = gateway.process()?.memory()?;
    progress("live", "opening sessions");
    let mut crowd = Crowd::open(&gateway.roots()?, &gateway, &agents).await?;
    // What was needed to open them is given back.
    pause(2_000).await;
    let (after, _) = gateway.process()?.memory()?;
    let idle_session_bytes =
        to_float(after.saturating_sub(before)) / to_float(u64::try_from(options.sessions)?);
    line(&format!(
        "an idle session takes {idle_session_bytes:.0} bytes"
    ));
    let pushes = crowd.pushes(&options).await?;
    line(&format!(
        "pushed at {}/s: p50 {:.2} ms, p99 {:.2} ms",
        options.rate,
        millis(pushes.value_at_quantile(0.5)),
        millis(pushes.value_at_quantile(0.99))
    ));
    let fan_out_ms = crowd.publications(&options).await?;
    let figures = Figures {
        sessions: options.sessions,
        idle_session_bytes,
        rate: options.rate,
        push_p50_ms: millis(pushes.value_at_quantile(0.5)),
        push_p99_ms: millis(pushes.value_at_quantile(0.99)),
        fan_out_ms,
        fan_out_per_second: to_float(u64::try_from(options.sessions)?) * 1e3 / fan_out_ms,
    };
    line(&format!(
        "a publication is at all {} subscribers after {:.0} ms: {:.0}/s",
        figures.sessions, figures.fan_out_ms, figures.fan_out_per_second
    ));
    crowd.tasks.abort_all();
    gateway.stop().await?;
    write_json(bench.options.json.as_deref(), &figures)
}

fn millis(micros: u64) -> f64 {
    to_float(micros) / 1e3
}

impl Crowd {
    async fn open(roots: &RootCertStore, gateway: &Daemon, agents: &[Agent]) -> Result<Self> {
        let (told, arrivals) = mpsc::unbounded_channel();
        let (mut speakers, mut tasks) = (Vec::new(), JoinSet::new());
        let places = Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
        let mut opening = JoinSet::new();
        for (number, agent) in agents.iter().cloned().enumerate() {
            let (roots, server, places) = (roots.clone(), gateway.address(), places.clone());
            opening.spawn(async move {
                let _place = places.acquire_owned().await?;
                let ends = socket::open(&roots, server, (&agent, CREDIT)).await;
                anyhow::Ok((number, ends.with_context(|| agent.address.clone())?))
            });
        }
        let mut opened = Vec::new();
        while let Some(ends) = opening.join_next().await {
            opened.push(ends??);
        }
        opened.sort_by_key(|(number, _)| *number);
        for (_, (sender, receiver)) in opened {
            let (speaker, to_say) = mpsc::channel(64);
            tasks.spawn(hear(receiver, speaker.clone(), told.clone()));
            tasks.spawn(speak(sender, to_say));
            speakers.push(speaker);
        }
        Ok(Self {
            addresses: crate::bench::addresses(agents),
            speakers,
            arrivals,
            tasks,
        })
    }

    /// Messages at given moments from all to all in turn; how long each took, in microseconds.
    async fn pushes(&mut self, options: &Options) -> Result<Histogram<u64>> {
        let count = options.rate * options.part;
        let began = now() + Duration::from_millis(50);
        let every = Duration::from_secs(1) / options.rate;
        let agents = self.addresses.len();
        let (speakers, addresses) = (self.speakers.clone(), self.addresses.clone());
        let sending = async move {
            for number in 0..count {
                let due = every * number;
                let ahead = (began + due).saturating_duration_since(now());
                if ahead > Duration::from_millis(1) {
                    pause(u64::try_from(ahead.as_millis())?).await;
                }
                let from = usize::try_from(number)? % agents;
                let to = (from * 7 + 1 + usize::try_from(number)? / agents) % agents;
                let sent = u64::try_from(due.as_micros())?;
                let message = message(&addresses[from], &addresses[to], sent);
                let frame = json!({ "type": "send", "message": message });
                speakers[from]
                    .send(frame)
                    .await
                    .context("a session ended")?;
            }
            anyhow::Ok(())
        };
        let hearing = self.hear_all(count);
        let (sent, arrived) = tokio::join!(sending, hearing);
        sent?;
        let mut all = Histogram::new(3)?;
        for it in arrived? {
            let took = it
                .at
                .saturating_duration_since(began + Duration::from_micros(it.sent));
            all.record(u64::try_from(took.as_micros())?)?;
        }
        Ok(all)
    }

    /// Publications, one after the other: the median of the milliseconds until all have one.
    async fn publications(&mut self, options: &Options) -> Result<f64> {
        let topic = format!("{TOPIC}@load.test");
        for speaker in &self.speakers {
            let frame = json!({ "type": "subscribe", "topic": topic });
            speaker.send(frame).await.context("a session ended")?;
        }
        // No answer is asked for: the first publication shows who is subscribed.
        pause(3_000).await;
        let subscribers = u32::try_from(self.addresses.len())?;
        let mut took = Vec::new();
        for number in 0..options.publications {
            // Who speaks is known, and whom it goes to is what the frame says: the topic.
            let message = json!({ "payload": { "sent": number } });
            let frame = json!({ "type": "publish", "topic": topic, "message": message });
            let began = now();
            let speaker = &self.speakers[0];
            speaker.send(frame).await.context("a session ended")?;
            self.hear_all(subscribers).await?;
            took.push(began.elapsed().as_secs_f64() * 1e3);
        }
        crate::report::median(took.into_iter()).context("no publications")
    }

    async fn hear_all(&mut self, count: u32) -> Result<Vec<Arrived>> {
        let mut arrived = Vec::new();
        while arrived.len() < usize::try_from(count)? {
            tokio::select! {
                it = self.arrivals.recv() => arrived.push(it.context("all sessions ended")?),
                ended = self.tasks.join_next() => match ended {
                    Some(Ok(Err(error))) => return Err(error),
                    other => bail!("a session ended: {other:?}"),
                },
                () = pause(u64::try_from(PATIENCE.as_millis())?) => {
                    ensure!(false, "{} of {count} came", arrived.len());
                }
            }
        }
        Ok(arrived)
    }
}

fn message(from: &str, to: &str, sent: u64) -> Value {
    json!({ "version": "1.0", "sender": from, "recipients": [to], "payload": { "sent": sent } })
}

/// Notes what is pushed and acknowledges it.
async fn hear(
    mut receiver: Receiver,
    speaker: mpsc::Sender<Value>,
    told: mpsc::UnboundedSender<Arrived>,
) -> Result<()> {
    loop {
        let frame = receiver.next().await?;
        match frame["type"].as_str() {
            Some("message") => {}
            Some("error") => bail!("{frame}"),
            _ => continue,
        }
        let message = &frame["message"];
        let arrived = Arrived {
            sent: message["payload"]["sent"].as_u64().context("no number")?,
            at: now(),
        };
        drop(told.send(arrived));
        let ack = json!({ "type": "ack", "ids": [message["message_id"]] });
        speaker.send(ack).await.context("a session ended")?;
    }
}

async fn speak(mut sender: Sender, mut to_say: mpsc::Receiver<Value>) -> Result<()> {
    while let Some(frame) = to_say.recv().await {
        sender.send(&frame).await?;
    }
    Ok(())
}
