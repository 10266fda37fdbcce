//! Connections to others: every one goes through here.
//!
//! - A name is resolved once, every address is checked, and the connection goes to a checked one:
//!   no second look-up, no redirect, no proxy.
//! - The addresses of a host are tried in turn until one shakes hands.
//! - TLS 1.3 with gateways, 1.2 or newer with others; the certificate must be valid for the host.
//! - HTTP/2 where the other side speaks it. Connections are kept and shared; pings find dead ones,
//!   and one on which time ran out takes no further request.
//! - Every answer is bounded in size and time, its headers in number and size.

mod connect;
mod fault;
mod stream;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::http::{Extensions, HeaderMap, StatusCode};
use hyper::upgrade::Upgraded;
use hyper::{Request, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use super::dns::Resolver;
use super::filter::AddressFilter;
use super::roots;
use crate::clock::Clock;
use crate::telemetry::Metrics;
use connect::Connector;
use stream::Reached;

pub use super::roots::FileFault;
pub use fault::NetFault;

/// What the other side may send ahead of our reading: most answers come in one go over a long
/// link. How far ahead we may send is theirs to say.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// Pings find a connection whose other end is gone, used or not.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_WITHIN: Duration = Duration::from_secs(10);
/// The most that is read of an answer's head, in bytes; over HTTP/1.1, whose buffer grows by
/// doubling, up to twice as much. There the number of headers has a limit of its own.
const HEAD: u32 = 64 * 1024;
const HEADERS: usize = 128;
/// How many unused HTTP/1.1 connections are kept for one host.
const KEPT: usize = 16;

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
    meter: Option<(Metrics, &'static str)>,
}

impl GuardedClient {
    /// A client with these options.
    ///
    /// # Errors
    /// [`FileFault`] names the file of certificates that cannot be used.
    pub fn new(options: GuardOptions) -> Result<Self, FileFault> {
        Self::speaking(options, &[b"h2", b"http/1.1"])
    }

    /// A client with these options for [`GuardedClient::upgrade`]: it speaks HTTP/1.1 only.
    ///
    /// # Errors
    /// [`FileFault`] names the file of certificates that cannot be used.
    pub fn for_upgrades(options: GuardOptions) -> Result<Self, FileFault> {
        Self::speaking(options, &[b"http/1.1"])
    }

    fn speaking(options: GuardOptions, protocols: &[&[u8]]) -> Result<Self, FileFault> {
        let mut believed = roots::of_system();
        for path in &options.trusted_ca_files {
            roots::add(&mut believed, path)?;
        }
        let versions: &[_] = match options.tls {
            TlsVersions::Only13 => &[&rustls::version::TLS13],
            TlsVersions::From12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
        };
        let mut config = roots::config(versions, believed, options.client_identity.as_ref())?;
        config.alpn_protocols = protocols.iter().map(|it| it.to_vec()).collect();
        let clock = options.clock.clone();
        let client = pool(options.times.idle).build(Connector::new(options, config));
        Ok(Self {
            client,
            clock,
            meter: None,
        })
    }

    /// Counts what comes of requests, under what they are for.
    #[must_use]
    pub fn metered(self, metrics: Metrics, purpose: &'static str) -> Self {
        Self {
            meter: Some((metrics, purpose)),
            ..self
        }
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// [`NetFault`] says how far it came.
    pub async fn send(
        &self,
        mut request: Request<Full<Bytes>>,
        limits: AnswerLimits,
    ) -> Result<Answer, NetFault> {
        let host = host_of(request.uri());
        let used = capture_connection(&mut request);
        let exchange = self.exchange(request, limits.size, &host);
        let outcome = match self.clock.within(limits.time, exchange).await {
            Some(outcome) => outcome.map_err(|fault| fault.with_alert(alert_of(&used))),
            None => Err(NetFault::TimedOut {
                host,
                phase: give_up(&used),
            }),
        };
        if let Some((metrics, purpose)) = &self.meter {
            let result = match &outcome {
                Ok(answer) => class_of(answer.status),
                Err(fault) => fault.kind(),
            };
            metrics.outgoing(purpose, result);
        }
        outcome
    }

    /// Sends a request that asks for another protocol; gives the headers of the answer, and the
    /// connection where it is spoken from now on. An answer with another status is not read.
    ///
    /// # Errors
    /// [`NetFault`] says how far it came.
    pub async fn upgrade(
        &self,
        mut request: Request<Full<Bytes>>,
        time: Duration,
    ) -> Result<(StatusCode, HeaderMap, Option<TokioIo<Upgraded>>), NetFault> {
        let host = host_of(request.uri());
        let used = capture_connection(&mut request);
        let asked = async {
            let fault = |error| NetFault::of(&host, &error);
            let mut answer = self.client.request(request).await.map_err(fault)?;
            let status = answer.status();
            let upgraded = match status {
                StatusCode::SWITCHING_PROTOCOLS => {
                    let upgraded = hyper::upgrade::on(&mut answer).await;
                    Some(TokioIo::new(upgraded.map_err(|error| {
                        NetFault::Connect {
                            host: host.clone(),
                            cause: error.to_string(),
                        }
                    })?))
                }
                _ => None,
            };
            Ok((status, answer.headers().clone(), upgraded))
        };
        let outcome = self.clock.within(time, asked).await;
        let outcome = outcome.unwrap_or_else(|| {
            Err(NetFault::TimedOut {
                host: host.clone(),
                phase: give_up(&used),
            })
        });
        if let Some((metrics, purpose)) = &self.meter {
            let result = match &outcome {
                Ok((status, ..)) => class_of(*status),
                Err(fault) => fault.kind(),
            };
            metrics.outgoing(purpose, result);
        }
        outcome
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
        size: usize,
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
            .map(|reached| reached.remote);
        let (head, body) = answer.into_parts();
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: read(body, size, host).await?,
            remote,
        })
    }
}

/// The class of an answer, as metrics name it.
fn class_of(status: StatusCode) -> &'static str {
    match status.as_u16() {
        101 | 200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        500..=599 => "5xx",
        _ => "other",
    }
}

/// How connections are kept and spoken on.
fn pool(idle: Duration) -> hyper_util::client::legacy::Builder {
    let mut pool = Client::builder(TokioExecutor::new());
    pool.pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .pool_idle_timeout(idle)
        .pool_max_idle_per_host(KEPT)
        .http1_max_headers(HEADERS)
        .http1_max_buf_size(HEAD as usize)
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_initial_connection_window_size(CONNECTION_WINDOW)
        .http2_max_header_list_size(HEAD)
        .http2_keep_alive_interval(PING_EVERY)
        .http2_keep_alive_timeout(PING_WITHIN)
        .http2_keep_alive_while_idle(true)
        // Only what never left is sent again.
        .retry_canceled_requests(true);
    pool
}

/// Reads a body of at most `limit` bytes. Its pieces are put together as they come: kept apart,
/// pieces of one byte would cost many times their size.
async fn read(mut body: Incoming, limit: usize, host: &str) -> Result<Bytes, NetFault> {
    let too_large = || NetFault::TooLarge {
        host: host.to_owned(),
        limit,
    };
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| NetFault::of(host, &error))?;
        if let Ok(piece) = frame.into_data() {
            if piece.len() > limit - whole.len() {
                return Err(too_large());
            }
            whole.extend_from_slice(&piece);
        }
    }
    Ok(whole.freeze())
}

/// Takes the connection on which time ran out out of use, and says what was waited for.
///
/// Other requests on it go on; it closes after the last. Its other end may answer pings and
/// nothing else, so pings alone would keep it for ever.
fn give_up(used: &CaptureConnection) -> &'static str {
    match used.connection_metadata().as_ref() {
        Some(connected) => {
            connected.poison();
            "the answer"
        }
        None => "the connection",
    }
}

/// What TLS said on the connection after its handshake.
fn alert_of(used: &CaptureConnection) -> Option<String> {
    let mut known = Extensions::new();
    used.connection_metadata().as_ref()?.get_extras(&mut known);
    known.get::<Reached>()?.alert()
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
