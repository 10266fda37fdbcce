//! Instructions a message costs the gateway: run under callgrind by `benches/instructions/check`.
//!
//! One thread, no sockets: requests are handed to the router of the gateway, deliveries to a transport
//! that says yes. Messages come in rounds of a fixed number, so that every commit holds as many as
//! the last one. After each round [`Counted::step`] is called: callgrind writes its counts there.
//! What happens in few rounds only (a cache that expires, a checkpoint) falls out of the median that
//! `check` takes.

mod gateway;
mod loopback;

use anyhow::Result;
use tokio::task::JoinSet;

use gateway::{Agent, Gateway};

/// Messages in flight at a time.
const IN_FLIGHT: usize = 128;
/// Rounds before anything is counted, and rounds that are.
const WARM: usize = 4;
const ROUNDS: usize = 16;
/// Agents, and foreign recipients in each of the foreign domains.
const AGENTS: usize = 8;
const DOMAINS: usize = 4;

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(count())
}

async fn count() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut gateway = Gateway::start(folder.path()).await?;
    let mut agents = Vec::new();
    for number in 0..AGENTS {
        agents.push(gateway.register(&format!("agent-{number}")).await?);
    }
    let traffic = Traffic { agents };
    let mut counted = Counted::default();
    for kind in [Kind::Inbox, Kind::Keyed, Kind::Foreign] {
        for round in 0..WARM {
            traffic.round(&gateway, round, kind).await?;
        }
    }
    gateway.deliver(WARM * IN_FLIGHT).await?;
    counted.step("-", 1);
    for (kind, name) in [
        (Kind::Inbox, "accepted"),
        (Kind::Keyed, "accepted-with-key"),
        (Kind::Foreign, "queued"),
    ] {
        for round in WARM..WARM + ROUNDS {
            traffic.round(&gateway, round, kind).await?;
            counted.step(name, IN_FLIGHT);
        }
    }
    gateway.deliver(ROUNDS * IN_FLIGHT).await?;
    counted.step("delivered", ROUNDS * IN_FLIGHT);
    gateway.stop().await?;
    counted.report();
    Ok(())
}

/// What was counted, in the order of callgrind's files.
#[derive(Default)]
struct Counted(Vec<(&'static str, usize)>);

impl Counted {
    /// So many messages were done under this name since the last call.
    #[inline(never)]
    fn step(&mut self, name: &'static str, messages: usize) {
        self.0.push((name, messages));
    }

    #[allow(clippy::print_stdout, reason = "this is the program's output")]
    fn report(&self) {
        for (name, messages) in &self.0 {
            println!("{name} {messages}");
        }
    }
}

/// For whom messages are, and what they carry.
#[derive(Clone, Copy)]
enum Kind {
    /// One of our agents that polls.
    Inbox,
    /// The same, under a key and an id of the sender.
    Keyed,
    /// Somebody elsewhere.
    Foreign,
}

struct Traffic {
    agents: Vec<Agent>,
}

impl Traffic {
    /// Sends messages all at once and waits for the answers.
    async fn round(&self, gateway: &Gateway, round: usize, kind: Kind) -> Result<()> {
        let mut requests = JoinSet::new();
        for number in 0..IN_FLIGHT {
            let sender = &self.agents[number % AGENTS];
            let body = self.body(sender, (round, number), kind);
            requests.spawn(gateway.submit(&sender.authorization, body));
        }
        while let Some(answer) = requests.join_next().await {
            answer??;
        }
        Ok(())
    }

    fn body(&self, sender: &Agent, (round, number): (usize, usize), kind: Kind) -> String {
        let other = number / AGENTS % AGENTS;
        let (recipient, ids) = match kind {
            Kind::Inbox => (self.agents[other].address.clone(), String::new()),
            Kind::Keyed => (self.agents[other].address.clone(), fresh_ids(round, number)),
            Kind::Foreign => {
                let domain = number % DOMAINS;
                (format!("agent-{other}@far-{domain}.test"), String::new())
            }
        };
        let text = "It is a truth universally acknowledged. ".repeat(24);
        format!(
            r#"{{"version":"1.0",{ids}"sender":"{}","recipients":["{recipient}"],"subject":"Message {number}","headers":{{"priority":"normal"}},"payload":{{"text":"{text}","number":{number}}}}}"#,
            sender.address,
        )
    }
}

/// An id and a key that look random and are the same in every run.
fn fresh_ids(round: usize, number: usize) -> String {
    let mixed = |salt: u64| {
        let seed = u64::try_from(round * IN_FLIGHT + number).unwrap_or_default() + salt;
        let mut mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 27)
    };
    let uuid = |version: char, salt: u64| {
        let (high, low) = (mixed(salt), mixed(salt + 500_000));
        let text = format!("{high:016x}{low:016x}");
        format!(
            "{}-{}-{version}{}-8{}-{}",
            &text[..8],
            &text[8..12],
            &text[13..16],
            &text[17..20],
            &text[20..32]
        )
    };
    format!(
        r#""message_id":"{}","idempotency_key":"{}","#,
        uuid('7', 0),
        uuid('4', 1_000_000)
    )
}
