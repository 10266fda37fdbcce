//! Connections to agents that are opened by this gateway and kept open.
//!
//! An agent that is registered with a `wss://` address is connected to; over the connection the same
//! is spoken as over one that it opened itself, and it need not say who it is. A connection that is
//! lost, or cannot be had, is tried again, later each time. Of several gateways of a database one
//! connects to an agent.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::Full;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::acts::{Peer, Tools, Wish};
use super::conversation::{Conversation, Manner};
use super::handshake::Handshake;
use crate::envelope::{Principal, Scopes};
use crate::live::SessionKind;
use crate::net::GuardedClient;
use crate::protocol::Timestamp;
use crate::store::Agent;

/// How often it is looked who is to be connected to.
const LOOK: Duration = Duration::from_secs(5);
/// To so many agents at most.
const MOST: usize = 10_000;
/// Between two attempts, at first and at most.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);
/// A connection that lasted so long was a good one: the next attempt comes soon.
const GOOD: Duration = Duration::from_secs(60);
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(20);

/// The headers with which an agent is greeted, for an attempt of this id; or why there can be none.
pub type Greeting =
    Arc<dyn Fn(&Agent, &str, Timestamp) -> Result<HeaderMap, &'static str> + Send + Sync>;

/// Whether what is done for an agent is this gateway's to do.
pub type Mine = Arc<dyn Fn(i64) -> bool + Send + Sync>;

/// Keeps connections to agents open.
pub struct Dialler {
    tools: Tools,
    client: GuardedClient,
    greeting: Greeting,
    mine: Mine,
}

/// A connection that is kept open, for an agent as it was when this began.
struct Line {
    since: Timestamp,
    stop: CancellationToken,
}

impl Dialler {
    /// Nobody is connected to yet.
    #[must_use]
    pub fn new(tools: Tools, client: GuardedClient, greeting: Greeting, mine: Mine) -> Self {
        Self {
            tools,
            client,
            greeting,
            mine,
        }
    }

    /// Connects to agents until stopped.
    pub async fn run(self, stop: CancellationToken) {
        let dialler = Arc::new(self);
        let mut lines = HashMap::new();
        let mut tasks = JoinSet::new();
        loop {
            dialler.look(&mut lines, &mut tasks).await;
            let pause = dialler.tools.clock.wait(LOOK);
            tokio::pin!(pause);
            loop {
                tokio::select! {
                    Some(_) = tasks.join_next() => {}
                    () = &mut pause => break,
                    () = stop.cancelled() => {
                        lines.values().for_each(|line: &Line| line.stop.cancel());
                        while tasks.join_next().await.is_some() {}
                        return;
                    }
                }
            }
        }
    }

    /// Begins and ends connections as agents come, change and go.
    async fn look(self: &Arc<Self>, lines: &mut HashMap<i64, Line>, tasks: &mut JoinSet<()>) {
        let agents = match self.tools.store.dialled_agents(MOST).await {
            Ok(agents) => agents,
            Err(error) => {
                tracing::warn!(%error, "it is not known which agents to connect to");
                return;
            }
        };
        let agents = agents.into_iter().filter(|agent| (self.mine)(agent.id));
        let wanted: HashMap<i64, Agent> = agents.map(|agent| (agent.id, agent)).collect();
        lines.retain(|number, line| {
            let same = wanted
                .get(number)
                .is_some_and(|agent| agent.updated_at == line.since);
            if !same {
                line.stop.cancel();
            }
            same
        });
        for (number, agent) in wanted {
            lines.entry(number).or_insert_with(|| {
                let stop = self.tools.draining.child_token();
                let since = agent.updated_at;
                tasks.spawn(self.clone().keep_open(agent, stop.clone()));
                Line { since, stop }
            });
        }
    }

    /// Connects to one agent, again and again.
    async fn keep_open(self: Arc<Self>, agent: Agent, stop: CancellationToken) {
        let clock = self.tools.clock.clone();
        let (mut pause, mut resume) = (FIRST, None);
        loop {
            let began = clock.monotonic();
            tokio::select! {
                opened = self.dial(&agent) => match opened {
                    Ok((stream, manner)) => {
                        let wish = Wish { resume: resume.take(), ..Wish::default() };
                        resume = self.converse(&agent, (stream, manner), wish, &stop).await;
                    }
                    Err(reason) => {
                        tracing::info!(agent.address = %agent.address, reason,
                            "an agent cannot be connected to");
                    }
                },
                () = stop.cancelled() => return,
            }
            if clock.monotonic() >= began + GOOD {
                pause = FIRST;
            }
            tokio::select! {
                () = clock.wait(jittered(pause)) => {}
                () = stop.cancelled() => return,
            }
            pause = (pause * 2).min(LONGEST);
        }
    }

    /// Opens a connection, or says why there is none.
    async fn dial(&self, agent: &Agent) -> Result<(TokioIo<Upgraded>, Manner), String> {
        let target = agent.settings.dials().unwrap_or_default();
        let target = target.replacen("wss://", "https://", 1);
        let clock = &self.tools.clock;
        let attempt = clock.mint_v7().to_string();
        let mut headers = (self.greeting)(agent, &attempt, clock.now())?;
        let offer = Handshake::offer(self.tools.room.compression);
        headers.extend(offer.clone());
        let mut request = Request::get(target)
            .body(Full::<Bytes>::default())
            .map_err(|_| "its address is no URL")?;
        *request.headers_mut() = headers;
        let asked = self.client.upgrade(request, HANDSHAKE).await;
        let (status, answer, stream) = asked.map_err(|fault| fault.to_string())?;
        if status != StatusCode::SWITCHING_PROTOCOLS {
            return Err(format!("it answered {status}"));
        }
        let manner = Handshake::agreed(&offer, &answer);
        let agreed = stream.zip(manner);
        agreed.ok_or_else(|| "its handshake is not that of amtp.v1".to_owned())
    }

    async fn converse(
        &self,
        agent: &Agent,
        (stream, manner): (TokioIo<Upgraded>, Manner),
        wish: Wish,
        stop: &CancellationToken,
    ) -> Option<String> {
        let principal = Principal::Agent {
            id: agent.id,
            address: agent.address.clone(),
            key_id: "dialled".to_owned(),
            scopes: Scopes::ALL,
            tier: None,
        };
        let peer = Peer {
            remote: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            place: agent.settings.dials().unwrap_or_default().to_owned(),
            certificates: Arc::default(),
            kind: SessionKind::Dialled,
        };
        let tools = Tools {
            draining: stop.clone(),
            ..self.tools.clone()
        };
        let known = (Some(principal), wish);
        let conversation = Conversation::new(stream, manner, (tools, peer), known);
        conversation.run().await
    }
}

/// From half of it to all of it.
fn jittered(pause: Duration) -> Duration {
    let part = f64::from(Uuid::new_v4().as_bytes()[0]) / 255.0;
    pause.mul_f64(part.mul_add(0.5, 0.5))
}
