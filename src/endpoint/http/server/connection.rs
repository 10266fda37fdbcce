//! One connection from its first byte to its last.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::header::UPGRADE;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

use super::activity::{Activity, Answer, Heads, Quiet, Watched};
use super::runtime::{ClockTimer, Tracked};
use super::upgrade::{Lent, Upgrade};
use super::{Connection, ServerOptions, forwarded};
use crate::clock::Clock;
use crate::endpoint::proxy_protocol;
use crate::endpoint::seats::Seat;
use crate::telemetry::{Metrics, RefusedConnection};

/// After our last byte, the client's are still taken for so long and so far: closing at once would
/// reset the connection and take the answer from a client that is still sending.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: u64 = 16 * 1024 * 1024;
/// What a stream, and a connection, may have in flight towards us before we read it.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// What a stream may have waiting for its client.
const SEND_BUFFER: usize = 128 * 1024;
/// Streams reset by the client and not yet seen by us; many are an attack.
const PENDING_RESETS: usize = 20;

/// What all connections of a listener share.
pub(super) struct Shared {
    pub(super) options: ServerOptions,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) app: Router,
    pub(super) clock: Clock,
    pub(super) timer: ClockTimer,
    pub(super) metrics: Metrics,
    pub(super) tasks: TaskTracker,
    /// Requests in flight are to finish.
    pub(super) stop: CancellationToken,
    /// Nothing is waited for any longer.
    pub(super) abort: CancellationToken,
}

/// Serves one connection until it ends, is stopped, or is cut.
pub(super) async fn serve(shared: Arc<Shared>, tcp: TcpStream, peer: SocketAddr, seat: Seat) {
    let abort = shared.abort.clone();
    tokio::select! {
        biased;
        () = abort.cancelled() => {}
        () = admit(&shared, tcp, peer, seat) => {}
    }
}

async fn admit(shared: &Arc<Shared>, mut tcp: TcpStream, peer: SocketAddr, mut seat: Seat) {
    let options = &shared.options;
    let introduction = shared.clock.within(options.times.handshake, async {
        let client = introduced(shared, &mut tcp, peer, &mut seat).await?;
        let stream = match &shared.tls {
            None => Stream::Plain(tcp),
            Some(acceptor) => {
                let accepted = acceptor.accept(tcp).await;
                let accepted = accepted.map_err(|_| RefusedConnection::Handshake)?;
                Stream::Tls(Box::new(accepted))
            }
        };
        Ok((client, stream))
    });
    let introduction = tokio::select! {
        introduction = introduction => introduction,
        () = shared.stop.cancelled() => return,
    };
    let late = if shared.tls.is_some() {
        RefusedConnection::Handshake
    } else {
        RefusedConnection::ProxyHeader
    };
    match introduction.unwrap_or(Err(late)) {
        Ok((client, stream)) => {
            let _open = shared.metrics.connection(options.name);
            converse(shared, stream, client).await;
        }
        Err(reason) => {
            tracing::debug!(
                listener = options.name,
                client.address = %peer.ip(),
                reason = reason.as_str(),
                "connection refused"
            );
            shared.metrics.connection_refused(reason);
        }
    }
}

/// The client behind the connection, with its seat.
async fn introduced(
    shared: &Shared,
    tcp: &mut TcpStream,
    peer: SocketAddr,
    seat: &mut Seat,
) -> Result<SocketAddr, RefusedConnection> {
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    let mut client = peer;
    if shared.options.proxy_protocol && shared.options.trusts(peer.ip()) {
        let named = proxy_protocol::read_header(tcp).await;
        client = named
            .map_err(|_| RefusedConnection::ProxyHeader)?
            .unwrap_or(peer);
    }
    if !shared.options.trusts(client.ip()) {
        seat.assign(client.ip())?;
    }
    Ok(client)
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::server::TlsStream<TcpStream>>),
}

async fn converse(shared: &Arc<Shared>, stream: Stream, client: SocketAddr) {
    let connection = Connection {
        client,
        tls: false,
        client_certificates: Arc::default(),
    };
    match stream {
        Stream::Plain(tcp) => {
            if let Some(mut tcp) = speak_http1(shared, tcp, connection).await {
                linger(shared, &mut tcp).await;
            }
        }
        Stream::Tls(tls) => {
            let session = tls.get_ref().1;
            let chain: Option<&[CertificateDer<'static>]> = session.peer_certificates();
            let connection = Connection {
                tls: true,
                client_certificates: chain.unwrap_or_default().into(),
                ..connection
            };
            if session.alpn_protocol() == Some(b"h2") {
                speak_http2(shared, *tls, connection).await;
            } else if let Some(mut tls) = speak_http1(shared, *tls, connection).await {
                linger(shared, tls.get_mut().0).await;
            }
        }
    }
}

/// Serves requests, and what a request asked to go on with; gives the stream back.
async fn speak_http1<S>(shared: &Arc<Shared>, stream: S, connection: Connection) -> Option<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (stream, mut home) = Lent::new(stream);
    let upgrade = Upgrade::default();
    serve_http1(shared, stream, (connection, &upgrade)).await;
    upgrade.go_on().await;
    home.try_recv().ok()
}

async fn serve_http1<S>(
    shared: &Arc<Shared>,
    stream: S,
    (connection, upgrade): (Connection, &Upgrade),
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let options = &shared.options;
    let activity = Activity::new(shared.clock.clone(), options.times, Heads::Timed);
    let mut builder = http1::Builder::new();
    // The library's own header timer also ends idle connections; ours tells the two apart.
    builder
        .header_read_timeout(None)
        .max_header_size(options.limits.head_bytes);
    if options.limits.headers != super::ConnectionLimits::default().headers {
        builder.max_headers(options.limits.headers);
    }
    let service = service_fn(|mut request: Request<Incoming>| {
        if request.headers().contains_key(UPGRADE) {
            request.extensions_mut().insert(upgrade.clone());
        }
        answer(
            shared.clone(),
            activity.clone(),
            connection.clone(),
            request,
        )
    });
    let io = TokioIo::new(Watched {
        stream,
        activity: activity.clone(),
    });
    let mut http = pin!(builder.serve_connection(io, service).with_upgrades());
    let ending = tokio::select! {
        biased;
        _ = http.as_mut() => return,
        () = shared.stop.cancelled() => None,
        quiet = activity.quiet() => Some(quiet),
    };
    http.as_mut().graceful_shutdown();
    finish(shared, ending, &activity, http).await;
}

async fn speak_http2<S>(shared: &Arc<Shared>, stream: S, connection: Connection)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let options = &shared.options;
    let activity = Activity::new(shared.clock.clone(), options.times, Heads::Untimed);
    let mut builder = http2::Builder::new(Tracked(shared.tasks.clone()));
    builder
        .timer(shared.timer.clone())
        .max_concurrent_streams(options.limits.streams)
        .max_header_list_size(u32::try_from(options.limits.head_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_send_buf_size(SEND_BUFFER)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(options.times.ping)
        .keep_alive_timeout(options.times.ping);
    let service = {
        let (shared, activity) = (shared.clone(), activity.clone());
        service_fn(move |request| {
            answer(
                shared.clone(),
                activity.clone(),
                connection.clone(),
                request,
            )
        })
    };
    let io = TokioIo::new(Watched {
        stream,
        activity: activity.clone(),
    });
    let mut http = pin!(builder.serve_connection(io, service));
    let ending = tokio::select! {
        biased;
        _ = http.as_mut() => return,
        () = shared.stop.cancelled() => None,
        quiet = activity.quiet() => Some(quiet),
    };
    http.as_mut().graceful_shutdown();
    finish(shared, ending, &activity, http).await;
}

/// Lets a connection that was told to end do so: a stopped one as long as it has requests whose
/// client is not slow, an idle one at once, a slow one not at all.
async fn finish(shared: &Shared, ending: Option<Quiet>, activity: &Activity, http: impl Future) {
    let mut http = pin!(http);
    let slow = match ending {
        Some(Quiet::Idle) => {
            shared.clock.within(LINGER, http).await;
            return;
        }
        Some(slow) => slow,
        None => loop {
            tokio::select! {
                _ = http.as_mut() => return,
                slow = activity.quiet() => break slow,
                // A client that has nothing to wait for and does not leave is not waited for.
                () = shared.clock.wait(LINGER) => if activity.between_requests() { return },
            }
        },
    };
    tracing::debug!(listener = shared.options.name, reason = ?slow, "slow client cut");
}

async fn answer(
    shared: Arc<Shared>,
    activity: Activity,
    connection: Connection,
    mut request: Request<Incoming>,
) -> Result<Response<Answer>, Infallible> {
    let handling = activity.begin();
    let forwarded = forwarded::client(connection.client, request.headers(), &shared.options);
    let extensions = request.extensions_mut();
    let client = forwarded.unwrap_or_else(|fault| {
        extensions.insert(fault);
        connection.client
    });
    // A proxy's certificate is not its client's.
    let client_certificates = match client == connection.client {
        true => connection.client_certificates,
        false => Arc::default(),
    };
    extensions.insert(Connection {
        client,
        client_certificates,
        ..connection
    });
    let response = shared.app.clone().call(request).await?;
    Ok(response.map(|body| handling.answer(body)))
}

/// Takes what the client still sends until it closes too.
async fn linger(shared: &Shared, tcp: &mut TcpStream) {
    let mut rest = tcp.take(LINGER_BYTES);
    let mut sink = tokio::io::sink();
    let drained = tokio::io::copy(&mut rest, &mut sink);
    tokio::select! {
        _ = shared.clock.within(LINGER, drained) => {}
        () = shared.stop.cancelled() => {}
    }
}
