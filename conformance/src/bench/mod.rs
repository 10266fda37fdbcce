//! The bench: everything around the gateway under test. Other domains and their gateways, a DNS
//! server that knows them, a mail server, a certificate authority.
//!
//! The gateway under test must ask [`Dns`], believe [`Authority`], and be allowed to connect to the
//! bench's address. Every test takes domains of its own, so that tests do not meet.

mod authority;
mod behaviour;
mod dns;
mod https;
mod keys;
mod peer;
mod sink;
mod source;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use hickory_resolver::proto::rr::RData;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use uuid::Uuid;

pub(crate) use authority::{Authority, Tls};
pub(crate) use behaviour::{Behaviour, Body, answer as answered};
pub(crate) use dns::{Dns, address, mx, txt};
pub(crate) use https::{Arrived, Face, serve};
pub(crate) use keys::{DomainKey, KeyKind, check};
pub(crate) use peer::{Peer, Seen};
pub(crate) use sink::{Mail, Sink};
pub(crate) use source::Source;
pub(crate) use wire::Wire;

use crate::subject::BenchPlan;
use peer::Peers;

/// The surroundings of one run.
pub(crate) struct Bench {
    plan: BenchPlan,
    pub(crate) authority: Arc<Authority>,
    pub(crate) dns: Arc<Dns>,
    pub(crate) sink: Option<Arc<Sink>>,
    peers: Arc<Peers>,
    /// Where the peers listen, whatever their domain.
    at: SocketAddr,
    patience: Duration,
    taken: AtomicUsize,
    _running: JoinSet<()>,
}

impl Bench {
    /// Starts everything.
    pub(crate) async fn start(plan: BenchPlan, patience: Duration) -> Result<Self> {
        let authority = Arc::new(Authority::open(&plan.folder)?);
        let mut running = JoinSet::new();
        let dns = Arc::new(Dns::new());
        if let Some(path) = &plan.zone_file {
            let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
            dns.load(&text)?;
        }
        let asked = SocketAddr::new(plan.address, plan.dns_port);
        Arc::clone(&dns).serve(asked, &mut running).await?;
        let listener = TcpListener::bind((plan.address, plan.peer_port)).await;
        let listener = listener.context("bench.peer_port")?;
        let at = listener.local_addr()?;
        let peers = Arc::new(Peers::new(Arc::clone(&authority)));
        running.spawn(serve(listener, Arc::clone(&peers) as Arc<dyn Face>));
        let sink = match plan.smtp_port {
            None => None,
            Some(port) => {
                let listener = TcpListener::bind((plan.address, port)).await;
                let sink = Arc::new(Sink::default());
                running.spawn(Arc::clone(&sink).run(listener.context("bench.smtp_port")?));
                Some(sink)
            }
        };
        Ok(Self {
            // Two runs in a row shall not meet in what the gateway remembers of a domain.
            taken: AtomicUsize::new(Uuid::new_v4().as_fields().0 as usize % plan.peers.max(1)),
            plan,
            authority,
            dns,
            sink,
            peers,
            at,
            patience,
            _running: running,
        })
    }

    /// How long anything may take.
    pub(crate) const fn patience(&self) -> Duration {
        self.patience
    }

    /// A domain with a gateway that nobody has used in this run, not published yet.
    pub(crate) fn unpublished(&self, wire: Option<Wire>) -> Peer {
        let number = self.taken.fetch_add(1, Ordering::Relaxed) % self.plan.peers.max(1);
        let domain = format!("p{number:03}.{}", self.plan.zone);
        self.peers.add(domain, self.patience, wire)
    }

    /// The same, published with these features.
    pub(crate) fn peer(&self, features: &str, wire: Option<Wire>) -> Peer {
        let peer = self.unpublished(wire);
        self.dns.set(&peer.host, vec![address(self.at.ip())]);
        let record = format!("v=amtp1;gateway={};features={features}", self.url(&peer));
        self.publish(&peer.domain, &[&record]);
        peer
    }

    /// The URL of a peer's gateway.
    pub(crate) fn url(&self, peer: &Peer) -> String {
        format!("https://{}:{}", peer.host, self.at.port())
    }

    /// The port all peers listen on.
    pub(crate) const fn port(&self) -> u16 {
        self.at.port()
    }

    /// The address of everything here.
    pub(crate) const fn ip(&self) -> std::net::IpAddr {
        self.at.ip()
    }

    /// Gives a domain these discovery records and no other.
    pub(crate) fn publish(&self, domain: &str, records: &[&str]) {
        let records: Vec<RData> = records.iter().map(|text| txt(&[text])).collect();
        self.dns.set(&format!("_amtp.{domain}"), records);
    }

    /// A domain of its own without a gateway: its senders are strangers until a key or mail records
    /// are published for it.
    pub(crate) fn stranger(&self) -> String {
        format!("s-{}.{}", Uuid::new_v4().simple(), self.plan.zone)
    }

    /// A domain that takes mail here and has no gateway.
    pub(crate) fn mail_domain(&self) -> String {
        let domain = format!("m-{}.{}", Uuid::new_v4().simple(), self.plan.zone);
        let host = format!("mx.{domain}");
        self.dns.set(&host, vec![address(self.at.ip())]);
        self.dns.set(&domain, vec![mx(10, &format!("{host}."))]);
        domain
    }
}

/// Connects to an address that the subject's description names.
#[allow(clippy::disallowed_methods, reason = "a client of the outside world")]
pub(crate) async fn connect(to: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(to).await;
    let stream = stream.with_context(|| format!("connecting to {to}"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
