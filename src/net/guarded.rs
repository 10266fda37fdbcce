//! Connections to others: every one goes through here.
//!
//! - A name is resolved once, every address is checked, and the connection goes to a checked one:
//!   no second look-up, no redirect, no proxy, nothing from the environment.
//! - All addresses of a host are tried in turn.
//! - TLS 1.3 with gateways, 1.2 or newer with others; the certificate must be valid for the host.
//! - HTTP/2 where the other side speaks it. Connections are kept and shared; pings find dead ones.
//! - Every answer is bounded in size and time.

mod connect;
mod fault;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::http::{HeaderMap, StatusCode};
use hyper::{Request, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::dns::Resolver;
use super::filter::AddressFilter;
use super::roots;
use crate::clock::Clock;
use connect::{Connector, Reached};

pub use super::roots::FileFault;
pub use fault::NetFault;

/// Windows that let a batch of 4 MiB go without waiting for the other side.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;
/// Pings find a connection whose other end is gone, also one on which time ran out.
const PING_EVERY: Duration = Duration::from_secs(15);
const PING_WITHIN: Duration = Duration::from_secs(10);
const HEAD: usize = 64 * 1024;

/// Which versions of TLS are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersions {
    /// 1.3 only: other gateways.
    Only13,
    /// 1.2 and 1.3: everybody else.
    From12,
}

/// Whether URLs without TLS may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plain {
    /// No.
    Refused,
    /// Yes, to addresses outside the global range only: they are ours.
    Inside,
}

/// How long parts of a connection may take.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// To connect to one address.
    pub connect: Duration,
    /// The TLS handshake.
    pub handshake: Duration,
    /// How long an unused connection is kept.
    pub idle: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            handshake: Duration::from_secs(10),
            idle: Duration::from_secs(60),
        }
    }
}

/// What a client is made of.
pub struct GuardOptions {
    /// Answers names.
    pub resolver: Arc<dyn Resolver>,
    /// Judges addresses.
    pub filter: AddressFilter,
    /// Certificates believed beside the system's.
    pub trusted_ca_files: Vec<PathBuf>,
    /// Certificate chain and key shown to those that ask.
    pub client_identity: Option<(PathBuf, PathBuf)>,
    /// Which versions of TLS are spoken.
    pub tls: TlsVersions,
    /// Whether URLs without TLS may be called.
    pub plain: Plain,
    /// How long parts of a connection may take.
    pub times: Times,
    /// What time it is.
    pub clock: Clock,
}

/// How much of an answer is taken.
#[derive(Debug, Clone, Copy)]
pub struct AnswerLimits {
    /// Bytes of its body.
    pub size: usize,
    /// From the start of the request to the last byte.
    pub time: Duration,
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// The address really used.
    pub remote: Option<SocketAddr>,
}

/// A pooled client for connections to others. Cloning is cheap.
#[derive(Clone)]
pub struct GuardedClient {
    client: Client<Connector, Full<Bytes>>,
    clock: Clock,
}

impl GuardedClient {
    /// A client with these options.
    ///
    /// # Errors
    /// [`FileFault`] names the file of certificates that cannot be used.
    pub fn new(options: GuardOptions) -> Result<Self, FileFault> {
        let mut believed = roots::of_system();
        for path in &options.trusted_ca_files {
            roots::add(&mut believed, path)?;
        }
        let versions: &[_] = match options.tls {
            TlsVersions::Only13 => &[&rustls::version::TLS13],
            TlsVersions::From12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
        };
        let mut config = roots::config(versions, believed, options.client_identity.as_ref())?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let clock = options.clock.clone();
        let idle = options.times.idle;
        let connector = Connector::new(options, config);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(idle)
            .pool_max_idle_per_host(8)
            .http1_max_headers(128)
            .http1_read_buf_exact_size(HEAD)
            .http2_initial_stream_window_size(STREAM_WINDOW)
            .http2_initial_connection_window_size(CONNECTION_WINDOW)
            .http2_max_header_list_size(u32::try_from(HEAD).unwrap_or(u32::MAX))
            .http2_keep_alive_interval(PING_EVERY)
            .http2_keep_alive_timeout(PING_WITHIN)
            .http2_keep_alive_while_idle(true)
            .retry_canceled_requests(true)
            .build(connector);
        Ok(Self { client, clock })
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// [`NetFault`] says how far it came.
    pub async fn send(
        &self,
        request: Request<Full<Bytes>>,
        limits: AnswerLimits,
    ) -> Result<Answer, NetFault> {
        let host = host_of(request.uri());
        let exchange = self.exchange(request, limits, &host);
        match self.clock.within(limits.time, exchange).await {
            Some(outcome) => outcome,
            None => Err(NetFault::TimedOut {
                host,
                phase: "the answer",
            }),
        }
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
        limits: AnswerLimits,
        host: &str,
    ) -> Result<Answer, NetFault> {
        let answer = self
            .client
            .request(request)
            .await
            .map_err(|error| NetFault::of(host, &error))?;
        let remote = answer
            .extensions()
            .get::<Reached>()
            .map(|reached| reached.0);
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, limits.size)
            .collect()
            .await
            .map_err(|error| NetFault::of_body(host, limits.size, error.as_ref()))?;
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: body.to_bytes(),
            remote,
        })
    }
}

fn host_of(uri: &Uri) -> String {
    uri.host()
        .unwrap_or_default()
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned()
}

#[cfg(test)]
mod tests;
