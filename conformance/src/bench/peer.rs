//! Gateways of other domains that do what a test says.
//!
//! They share one listener; the name that a client asks TLS for says which one is meant. Each request
//! takes the next step of its script, or the usual one.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use hyper::Response;
use rustls::ServerConfig;
use serde_json::Value;
use tokio::sync::Notify;

use super::authority::{Authority, Tls};
use super::behaviour::{Behaviour, Body};
use super::https::{Arrived, Face};
use super::wire::Wire;

/// The gateway of a domain of one test.
pub(crate) struct Peer {
    pub(crate) domain: String,
    /// The host of its gateway.
    pub(crate) host: String,
    inner: Arc<Inner>,
    patience: Duration,
}

struct Inner {
    state: Mutex<State>,
    came: Notify,
    wire: Option<Wire>,
}

struct State {
    script: VecDeque<Behaviour>,
    usual: Behaviour,
    seen: Vec<Seen>,
    tls: Tls,
}

/// A request that came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) at: Instant,
    pub(crate) arrived: Arrived,
}

impl Seen {
    #[allow(
        clippy::disallowed_methods,
        reason = "when it came, in the time of the other side"
    )]
    pub(crate) fn new(arrived: Arrived) -> Self {
        Self {
            at: Instant::now(),
            arrived,
        }
    }

    /// The body; null when it is no JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.arrived.body).unwrap_or(Value::Null)
    }

    pub(crate) fn is_batch(&self) -> bool {
        self.arrived.path.ends_with("/batch")
    }

    /// The messages in it, one or many.
    pub(crate) fn messages(&self) -> Vec<Value> {
        if !self.is_batch() {
            return vec![self.json()];
        }
        let encoding = self.header("content-encoding");
        let body = unpacked(&encoding, &self.arrived.body).unwrap_or_default();
        let lines = body.split(|byte| *byte == b'\n');
        let read = |line: &[u8]| serde_json::from_slice(line).ok();
        lines.filter_map(read).collect()
    }

    /// A header as text, empty where there is none.
    pub(crate) fn header(&self, name: &str) -> String {
        let value = self.arrived.headers.get(name);
        let text = value.and_then(|value| value.to_str().ok());
        text.unwrap_or_default().to_owned()
    }
}

fn unpacked(encoding: &str, body: &[u8]) -> Option<Vec<u8>> {
    use std::io::Read as _;
    let mut plain = Vec::new();
    match encoding {
        "" => return Some(body.to_vec()),
        "gzip" => flate2::read::GzDecoder::new(body)
            .read_to_end(&mut plain)
            .ok()?,
        "zstd" => ruzstd::decoding::StreamingDecoder::new(body)
            .ok()?
            .read_to_end(&mut plain)
            .ok()?,
        _ => return None,
    };
    Some(plain)
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Peer {
    /// An address in its domain.
    pub(crate) fn address(&self, local: &str) -> String {
        format!("{local}@{}", self.domain)
    }

    /// The next requests are answered so, one after the other.
    pub(crate) fn script(&self, steps: impl IntoIterator<Item = Behaviour>) {
        self.inner.state().script.extend(steps);
    }

    /// What becomes of requests when the script is over.
    pub(crate) fn always(&self, usual: Behaviour) {
        self.inner.state().usual = usual;
    }

    /// What its later connections are shown.
    pub(crate) fn show(&self, tls: Tls) {
        self.inner.state().tls = tls;
    }

    /// All requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.inner.state().seen.clone()
    }

    /// All requests so far, as soon as there are so many.
    pub(crate) async fn requests(&self, count: usize) -> Result<Vec<Seen>> {
        self.when(&format!("{count} requests"), |seen| seen.len() >= count)
            .await
    }

    /// The first request.
    pub(crate) async fn request(&self) -> Result<Seen> {
        Ok(self.requests(1).await?.remove(0))
    }

    /// All messages so far, as soon as there are so many.
    pub(crate) async fn messages(&self, count: usize) -> Result<Vec<Value>> {
        let flat = |seen: &[Seen]| -> Vec<Value> { seen.iter().flat_map(Seen::messages).collect() };
        let what = format!("{count} messages");
        let seen = self.when(&what, |seen| flat(seen).len() >= count).await?;
        Ok(flat(&seen))
    }

    async fn when(&self, what: &str, enough: impl Fn(&[Seen]) -> bool) -> Result<Vec<Seen>> {
        let wait = async {
            loop {
                let came = self.inner.came.notified();
                let seen = self.seen();
                if enough(&seen) {
                    return seen;
                }
                came.await;
            }
        };
        match tokio::time::timeout(self.patience, wait).await {
            Ok(seen) => Ok(seen),
            Err(_) => bail!(
                "{} got {} requests in {} s; awaited: {what}",
                self.domain,
                self.seen().len(),
                self.patience.as_secs()
            ),
        }
    }
}

/// All peers.
pub(crate) struct Peers {
    authority: Arc<Authority>,
    by_domain: Mutex<HashMap<String, Arc<Inner>>>,
    /// Certificates that were made, by host.
    shown: Mutex<HashMap<(String, u8), Arc<ServerConfig>>>,
}

impl Peers {
    pub(super) fn new(authority: Arc<Authority>) -> Self {
        Self {
            authority,
            by_domain: Mutex::default(),
            shown: Mutex::default(),
        }
    }

    /// A peer for a domain, in place of an older one.
    pub(super) fn add(&self, domain: String, patience: Duration, wire: Option<Wire>) -> Peer {
        let inner = Arc::new(Inner {
            state: Mutex::new(State {
                script: VecDeque::new(),
                usual: Behaviour::Accept,
                seen: Vec::new(),
                tls: Tls::Good,
            }),
            came: Notify::new(),
            wire,
        });
        let mut all = self
            .by_domain
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        all.insert(domain.clone(), Arc::clone(&inner));
        Peer {
            host: format!("gateway.{domain}"),
            domain,
            inner,
            patience,
        }
    }

    /// The peer a host belongs to: that of the domain it ends with.
    fn of(&self, host: &str) -> Option<Arc<Inner>> {
        let all = self
            .by_domain
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let labels: Vec<&str> = host.split('.').collect();
        (0..labels.len()).find_map(|from| all.get(&labels[from..].join(".")).cloned())
    }
}

impl Face for Peers {
    fn tls(&self, host: &str) -> Option<Arc<ServerConfig>> {
        let tls = self.of(host)?.state().tls;
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (host.to_owned(), tls as u8);
        if let Some(config) = shown.get(&key) {
            return Some(Arc::clone(config));
        }
        let config = self.authority.server(host, tls).ok()?;
        shown.insert(key, Arc::clone(&config));
        Some(config)
    }

    fn answer(
        self: Arc<Self>,
        request: Arrived,
    ) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> {
        Box::pin(async move {
            match self.of(&request.host) {
                Some(peer) => peer.respond(Seen::new(request)).await,
                None => Behaviour::bare(421).play(&Seen::new(request)).await,
            }
        })
    }
}

impl Inner {
    async fn respond(&self, seen: Seen) -> Response<Body> {
        let step = {
            let mut state = self.state();
            match self.wire {
                Some(wire) => wire.pass(seen.clone(), &mut state.seen),
                None => state.seen.push(seen.clone()),
            }
            let usual = state.usual.clone();
            state.script.pop_front().unwrap_or(usual)
        };
        self.came.notify_waiters();
        let answer = step.play(&seen).await;
        match self.wire {
            Some(wire) => wire.back(answer),
            None => answer,
        }
    }
}
