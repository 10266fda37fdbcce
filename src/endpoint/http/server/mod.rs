//! The listener under every HTTP endpoint: TCP, PROXY header, TLS, HTTP/1.1 and HTTP/2, with limits everywhere.
//!
//! - A connection passes: limits by number and by address → PROXY header (from trusted proxies) →
//!   TLS handshake → requests. Each step has its time; who is slower is cut.
//! - Between requests a connection may be idle for a while, HTTP/2 connections too. While an answer
//!   is being sent, the client must take some of it from time to time.
//! - A request knows its [`Connection`]: the client's address, also behind trusted proxies.
//! - Stopping: the listener closes, requests in flight finish (HTTP/2 clients are told), idle
//!   connections end, and what outlasts the grace time is aborted.
//! - What cannot be read as HTTP at all (a malformed head, one over its limit) is answered by the
//!   HTTP library with a bare 400 or 431; it never becomes a request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use rustls_pki_types::CertificateDer;

mod activity;
mod body;
mod connection;
mod forwarded;
mod listener;
mod runtime;
mod upgrade;

#[cfg(test)]
mod tests;

pub use body::{BodyFault, BodyReader, BodyTimes};
pub use forwarded::ForwardedFault;
pub use listener::{Server, ServerFault};
pub use upgrade::{Onward, Upgrade};

/// Where a request came from; stands in the extensions of every request.
#[derive(Debug, Clone)]
pub struct Connection {
    /// The client, as far as trusted proxies tell; the port is 0 where a proxy names none.
    pub client: SocketAddr,
    /// Whether the request came over our own TLS.
    pub tls: bool,
    /// The chain the client showed, leaf first, with proof that it has the key; empty when it showed none,
    /// or where a proxy stands between. Whom it is from is not judged yet.
    pub client_certificates: Arc<[CertificateDer<'static>]>,
}

/// How a listener behaves.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Its name in metrics and logs.
    pub name: &'static str,
    /// The proxies whose word about the client counts.
    pub trusted_proxies: Arc<[IpNet]>,
    /// Whether connections from trusted proxies begin with a PROXY header.
    pub proxy_protocol: bool,
    /// What it holds at most.
    pub limits: ConnectionLimits,
    /// How long it waits at most.
    pub times: ConnectionTimes,
}

impl ServerOptions {
    /// A listener named `name` with the default limits and times, not behind a proxy.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            trusted_proxies: Arc::default(),
            proxy_protocol: false,
            limits: ConnectionLimits::default(),
            times: ConnectionTimes::default(),
        }
    }

    fn trusts(&self, peer: std::net::IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.trusted_proxies.iter().any(|net| net.contains(&peer))
    }
}

/// What a listener holds at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Connections in all.
    pub connections: usize,
    /// Connections of one client: an IPv4 address or an IPv6 /64 network. Trusted proxies are not counted.
    pub per_client: usize,
    /// Bytes of a request's head.
    pub head_bytes: usize,
    /// Headers of a request; HTTP/2 counts them by bytes only.
    pub headers: usize,
    /// Requests at a time on one HTTP/2 connection.
    pub streams: u32,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            per_client: 256,
            head_bytes: 16 * 1024,
            headers: 100,
            streams: 128,
        }
    }
}

/// How long a listener waits at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionTimes {
    /// For the PROXY header and the TLS handshake together.
    pub handshake: Duration,
    /// For the head of a request, from its first byte on; on a new connection from its start.
    pub head: Duration,
    /// For the next request on an open connection.
    pub idle: Duration,
    /// For the client to take more of an answer.
    pub write: Duration,
    /// Between two HTTP/2 keep-alive pings; the answer must come within the same time.
    pub ping: Duration,
    /// For requests in flight when the listener is stopped.
    pub grace: Duration,
}

impl Default for ConnectionTimes {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            write: Duration::from_secs(30),
            ping: Duration::from_secs(30),
            grace: Duration::from_secs(25),
        }
    }
}
