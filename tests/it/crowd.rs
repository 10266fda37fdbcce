//! Many agents that write to one another over WebSocket, through the kill of the gateway and a
//! network that is away: nothing that was promised is lost, the order of each pair is kept, and
//! nothing comes again whose acknowledgement was answered.
//!
//! What an agent said without having heard the receipt it says again on its next connection, under
//! the same key and before anything new.

#![allow(clippy::disallowed_methods, reason = "the crowd lives in real time")]

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use amtpd::clock::Clock;
use amtpd::endpoint::websocket::{Client, Handshake, Heard};
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use uuid::Uuid;

use crate::crash::{kills, report};
use crate::support::caller::Caller;
use crate::support::relay::DelayRelay;
use crate::support::{Agent, Daemon};

/// Between two messages of an agent.
const PACE: Duration = Duration::from_millis(100);
/// So many may be without a receipt.
const UNHEARD: usize = 32;
/// How long the last message may take.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long an attempt to connect may take.
const CONNECTING: Duration = Duration::from_secs(15);

type Socket = Client<TokioIo<Upgraded>>;

/// What all agents count together.
#[derive(Default)]
struct Counts {
    promised: AtomicU64,
    arrived: AtomicU64,
    repeated: AtomicU64,
    /// Messages without a receipt.
    open: AtomicUsize,
}

/// How it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Talk,
    Listen,
    Leave,
}

/// A message that was said and not answered yet.
struct Said {
    reference: String,
    to: String,
    frame: Value,
}

/// One agent, over all its connections.
struct Member {
    own: Agent,
    number: usize,
    others: Arc<Vec<String>>,
    counts: Arc<Counts>,
    unheard: VecDeque<Said>,
    /// What the gateway had no room for.
    again: Vec<Value>,
    next: HashMap<String, u64>,
    said: usize,
    /// By sender: the numbers in the order in which they first came.
    came: BTreeMap<String, Vec<u64>>,
    seen: HashSet<String>,
    /// Ids whose acknowledgement was answered.
    done: HashSet<String>,
}

impl Member {
    async fn run(mut self, caller: Caller, mut phase: watch::Receiver<Phase>) -> Self {
        while *phase.borrow() != Phase::Leave {
            let connecting = timeout(CONNECTING, connect(&caller, &self.own));
            let Ok(Some(socket)) = connecting.await else {
                sleep(PACE).await;
                continue;
            };
            self.converse(socket, &mut phase).await;
        }
        self
    }

    async fn converse(&mut self, mut socket: Socket, phase: &mut watch::Receiver<Phase>) {
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_open = false;
        loop {
            tokio::select! {
                heard = socket.hear() => match heard {
                    Heard::Frame(frame) => is_open |= self.hear(&frame, &mut socket),
                    Heard::Closed { .. } | Heard::Gone => return,
                },
                _ = pace.tick(), if is_open => {
                    let phase = *phase.borrow();
                    self.talk(&mut socket, phase);
                }
                changed = phase.changed() => {
                    if changed.is_err() || *phase.borrow() == Phase::Leave {
                        return socket.close().await;
                    }
                }
            }
        }
    }

    /// Takes a frame; whether it is the welcome.
    fn hear(&mut self, frame: &Value, socket: &mut Socket) -> bool {
        match frame["type"].as_str() {
            Some("welcome") => {
                socket.beat_every(Duration::from_secs(1));
                self.again.clear();
                self.unheard.iter().for_each(|it| socket.say(&it.frame));
                return true;
            }
            Some("message") => self.take(&frame["message"], socket),
            Some("receipt") => {
                // Answers come in the order in which the messages were said, or not at all.
                let reference = frame["ref"].as_str().unwrap_or_default();
                let before = self.unheard.len();
                self.unheard.retain(|it| it.reference != reference);
                let heard = before - self.unheard.len();
                self.counts.open.fetch_sub(heard, Ordering::Relaxed);
                self.counts.promised.fetch_add(1, Ordering::Relaxed);
            }
            Some("done") => {
                self.done.extend(frame["ref"].as_str().map(str::to_owned));
            }
            // Too much at a time: it is said again, later.
            Some("error") => {
                let found = self.unheard.iter().find(|it| frame["ref"] == *it.reference);
                if let Some(said) = found {
                    assert!(!frame["retry_after"].is_null(), "{frame}");
                    self.again.push(said.frame.clone());
                }
            }
            _ => {}
        }
        false
    }

    fn take(&mut self, message: &Value, socket: &mut Socket) {
        let id = message["message_id"].as_str().unwrap().to_owned();
        assert!(!self.done.contains(&id), "{id} came after it was done");
        if self.seen.insert(id.clone()) {
            let sender = message["sender"].as_str().unwrap().to_owned();
            let number = message["payload"].as_u64().unwrap();
            self.came.entry(sender).or_default().push(number);
            self.counts.arrived.fetch_add(1, Ordering::Relaxed);
        } else {
            self.counts.repeated.fetch_add(1, Ordering::Relaxed);
        }
        socket.say(&json!({ "type": "ack", "ref": id, "ids": [id] }));
    }

    /// Says again what has to be, else the next message to the next of the others; nothing to one
    /// whose last message has no receipt: what is refused would come after what is said behind it.
    fn talk(&mut self, socket: &mut Socket, phase: Phase) {
        if let Some(frame) = self.again.pop() {
            return socket.say(&frame);
        }
        if phase != Phase::Talk || self.unheard.len() >= UNHEARD {
            return;
        }
        self.said += 1;
        let step = 1 + self.said * (self.number + 7) % (self.others.len() - 1);
        let to = self.others[(self.number + step) % self.others.len()].clone();
        if self.unheard.iter().any(|it| it.to == to) {
            return;
        }
        let number = self.next.entry(to.clone()).or_default();
        let reference = self.said.to_string();
        let message = json!({
            "sender": self.own.address, "recipients": [to], "payload": number,
            "idempotency_key": Uuid::new_v4().to_string(),
        });
        *number += 1;
        let frame = json!({ "type": "send", "ref": reference, "message": message });
        socket.say(&frame);
        self.counts.open.fetch_add(1, Ordering::Relaxed);
        self.unheard.push_back(Said {
            reference,
            to,
            frame,
        });
    }
}

async fn connect(caller: &Caller, agent: &Agent) -> Option<Socket> {
    let offer = Handshake::offer(false);
    let mut request = Request::get(format!(
        "https://{}:{}/v1/ws?credit=64",
        caller.host, caller.https
    ));
    request.headers_mut().unwrap().extend(offer.clone());
    let request = request
        .header("authorization", format!("Bearer {}", agent.key))
        .body(Full::new(Bytes::new()))
        .unwrap();
    let (answer, stream) = caller.client.upgrade(request).await.ok()?;
    let manner = Handshake::agreed(&offer, &answer)?;
    Some(Client::new(stream, manner, Clock::system()))
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_that_are_connected_lose_nothing_in_a_crash_and_a_cut() {
    let (agents, talking, away) = match kills() {
        100.. => (1_000, Duration::from_secs(20), Duration::from_secs(30)),
        _ => (40, Duration::from_secs(2), Duration::from_secs(4)),
    };
    let most = (agents * 4).to_string();
    let mut daemon = Daemon::start(&[
        ("AMTPD__LIVE__HEARTBEAT", "1s"),
        ("AMTPD__LIMITS__CONNECTIONS", &most),
        ("AMTPD__LIMITS__CONNECTIONS_PER_ADDRESS", &most),
    ])
    .await;
    let here = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let relay = DelayRelay::start(here(0), here(daemon.port()), Duration::ZERO);
    let caller = Caller {
        https: relay.address().port(),
        ..daemon.caller()
    };
    let mut known = Vec::new();
    for number in 0..agents {
        known.push(daemon.agent(&format!("agent-{number}")).await);
    }
    let others: Arc<Vec<String>> = Arc::new(known.iter().map(|it| it.address.clone()).collect());
    let counts = Arc::new(Counts::default());
    let (tell, phase) = watch::channel(Phase::Talk);
    let mut members = JoinSet::new();
    for (number, own) in known.into_iter().enumerate() {
        let member = Member {
            own,
            number,
            others: others.clone(),
            counts: counts.clone(),
            unheard: VecDeque::new(),
            again: Vec::new(),
            next: HashMap::new(),
            said: 0,
            came: BTreeMap::new(),
            seen: HashSet::new(),
            done: HashSet::new(),
        };
        members.spawn(member.run(caller.clone(), phase.clone()));
    }
    sleep(talking).await;
    daemon.kill();
    daemon.run().await;
    sleep(talking).await;
    relay.cut();
    sleep(away).await;
    relay.restore();
    sleep(talking).await;
    tell.send_replace(Phase::Listen);
    settled(&counts, &mut members).await;
    tell.send_replace(Phase::Leave);
    check(members.join_all().await, &counts);
}

/// Waits until all that was said has its receipt, as much came as was promised, and nothing more comes.
async fn settled(counts: &Counts, members: &mut JoinSet<Member>) {
    let until = Instant::now() + PATIENCE;
    let mut before = (0, 0);
    loop {
        sleep(Duration::from_secs(2)).await;
        if let Some(ended) = members.try_join_next() {
            panic!("an agent ended: {:?}", ended.map(|it| it.own.address));
        }
        let promised = counts.promised.load(Ordering::Relaxed);
        let now = (promised, counts.arrived.load(Ordering::Relaxed));
        let open = counts.open.load(Ordering::Relaxed);
        if now == before && now.1 >= promised && promised > 0 && open == 0 {
            return;
        }
        assert!(
            Instant::now() < until,
            "promised and arrived: {now:?}; without receipts: {open}"
        );
        before = now;
    }
}

fn check(members: Vec<Member>, counts: &Counts) {
    let mut said: HashMap<(String, String), u64> = HashMap::new();
    for member in &members {
        assert!(
            member.unheard.is_empty(),
            "{} without receipts",
            member.unheard.len()
        );
        for (to, count) in &member.next {
            said.insert((member.own.address.clone(), to.clone()), *count);
        }
    }
    for member in &members {
        for (from, numbers) in &member.came {
            let count = said.remove(&(from.clone(), member.own.address.clone()));
            let all: Vec<u64> = (0..count.unwrap()).collect();
            assert_eq!(*numbers, all, "{from} to {}", member.own.address);
        }
    }
    assert!(said.is_empty(), "nothing came of {said:?}");
    report(&format!(
        "{} agents: {} messages promised and arrived, {} of them again before they were acknowledged",
        members.len(),
        counts.promised.load(Ordering::Relaxed),
        counts.repeated.load(Ordering::Relaxed)
    ));
}
