//! An HTTP server that records what it is sent and answers by a script: the ground of peers and webhooks.
//!
//! Every request takes the next step of the script, and the usual answer when there is none.
//! A request is recorded, in order of arrival, once its body is here and before it is answered.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::{HeaderMap, Method, Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::background::{self, Task, lock};
use super::behaviour::{Behaviour, Body, play};
use super::eventually;
use super::tap::Tap;

/// How long a broken connection may still say what it has said.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    pub at: Instant,
    /// Which connection it came on, counted from 1.
    pub connection: usize,
    pub version: Version,
    pub method: Method,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// The body, null when it is no JSON.
    pub json: Value,
}

impl Seen {
    /// A header as text, empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

/// How a connection ends before its time.
#[derive(Debug, Clone, Copy)]
pub enum Cut {
    /// It is closed.
    Close,
    /// HTTP/2 says so first.
    GoAway,
    /// By a TCP reset.
    Reset,
}

/// A running server.
pub struct Server {
    address: SocketAddr,
    inner: Arc<Inner>,
    _task: Task,
}

struct Inner {
    tls: Mutex<Option<Arc<ServerConfig>>>,
    state: Mutex<State>,
    connections: AtomicUsize,
}

struct State {
    script: VecDeque<Behaviour>,
    usual: Behaviour,
    seen: Vec<Seen>,
}

impl Server {
    /// A server on this address (port 0 takes a free one); plain HTTP without TLS.
    pub fn start(address: SocketAddr, tls: Option<Arc<ServerConfig>>, usual: Behaviour) -> Self {
        let listener = StdListener::bind(address)
            .unwrap_or_else(|error| panic!("cannot listen on {address}: {error}"));
        let address = listener.local_addr().unwrap();
        let inner = Arc::new(Inner {
            tls: Mutex::new(tls),
            state: Mutex::new(State {
                script: VecDeque::new(),
                usual,
                seen: Vec::new(),
            }),
            connections: AtomicUsize::new(0),
        });
        let task = background::run(serve(background::adopt(listener), Arc::clone(&inner)));
        Self {
            address,
            inner,
            _task: task,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adds a step to the script.
    pub fn answer(&self, behaviour: Behaviour) {
        lock(&self.inner.state).script.push_back(behaviour);
    }

    /// What it does when the script is over.
    pub fn always(&self, behaviour: Behaviour) {
        lock(&self.inner.state).usual = behaviour;
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Seen> {
        lock(&self.inner.state).seen.clone()
    }

    /// All requests so far, as soon as there are this many; panics when that takes too long.
    pub async fn wait_for(&self, count: usize, within: Duration) -> Vec<Seen> {
        let what = format!("{count} requests at {}", self.address);
        eventually(&what, within, || {
            Some(self.requests()).filter(|seen| seen.len() >= count)
        })
        .await
    }

    /// How many connections were made, with or without a request.
    pub fn connections(&self) -> usize {
        self.inner.connections.load(Ordering::Relaxed)
    }

    /// The TLS of every later connection.
    pub fn set_tls(&self, tls: Arc<ServerConfig>) {
        *lock(&self.inner.tls) = Some(tls);
    }
}

async fn serve(listener: TcpListener, inner: Arc<Inner>) {
    let mut open = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        open.spawn(Arc::clone(&inner).meet(stream));
        while open.try_join_next().is_some() {}
    }
}

impl Inner {
    async fn meet(self: Arc<Self>, stream: TcpStream) {
        let number = self.connections.fetch_add(1, Ordering::Relaxed) + 1;
        stream.set_nodelay(true).unwrap();
        let stream = stream.into_std().unwrap();
        let twin = TcpStream::from_std(stream.try_clone().unwrap()).unwrap();
        let stream = TcpStream::from_std(stream).unwrap();
        let tls = lock(&self.tls).clone();
        let Some(tls) = tls else {
            return self.talk(stream, number, twin).await;
        };
        let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await else {
            return;
        };
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") && self.takes_flood() {
            return flood(stream).await;
        }
        self.talk(stream, number, twin).await;
    }

    /// Serves requests until the connection ends or is cut. The twin is the same socket.
    async fn talk<S>(self: Arc<Self>, stream: S, number: usize, twin: TcpStream)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (cuts, mut cut) = mpsc::unbounded_channel();
        let service = hyper::service::service_fn(move |request| {
            let (inner, cuts) = (Arc::clone(&self), cuts.clone());
            async move { Ok::<_, Infallible>(inner.respond(request, number, cuts).await) }
        });
        let builder = auto::Builder::new(TokioExecutor::new());
        let shut = Arc::new(AtomicBool::new(false));
        let stream = Tap {
            stream,
            shut: Arc::clone(&shut),
        };
        let mut connection =
            std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
        let cut = tokio::select! {
            _ = connection.as_mut() => return,
            cut = cut.recv() => cut,
        };
        match cut {
            Some(Cut::Reset) => twin.set_zero_linger().unwrap(),
            Some(Cut::GoAway) => {
                connection.as_mut().graceful_shutdown();
                drop(timeout(LAST_WORDS, connection.as_mut()).await);
                shut.store(true, Ordering::Relaxed);
                drop(timeout(LAST_WORDS, connection.as_mut()).await);
            }
            _ => drop(timeout(LAST_WORDS, connection.as_mut()).await),
        }
    }

    async fn respond(
        &self,
        request: Request<Incoming>,
        connection: usize,
        cuts: mpsc::UnboundedSender<Cut>,
    ) -> Response<Body> {
        let Some(seen) = read(request, connection).await else {
            return std::future::pending().await;
        };
        let step = self.note(&seen);
        play(step, &seen, cuts).await
    }

    /// Records a request and takes its step of the script.
    fn note(&self, seen: &Seen) -> Behaviour {
        let mut state = lock(&self.state);
        state.seen.push(seen.clone());
        // A flood is for the next connection: it stays at the front.
        if let Some(Behaviour::SettingsFlood) = state.script.front() {
            return Behaviour::SettingsFlood;
        }
        let usual = state.usual.clone();
        state.script.pop_front().unwrap_or(usual)
    }

    /// Whether a new connection is flooded, which takes that step.
    fn takes_flood(&self) -> bool {
        let mut state = lock(&self.state);
        match state.script.front() {
            Some(Behaviour::SettingsFlood) => state.script.pop_front().is_some(),
            Some(_) => false,
            None => matches!(state.usual, Behaviour::SettingsFlood),
        }
    }
}

/// A request with its whole body; nothing when that broke off.
async fn read(request: Request<Incoming>, connection: usize) -> Option<Seen> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.ok()?.to_bytes();
    #[allow(clippy::disallowed_methods, reason = "when it came, in real time")]
    let at = Instant::now();
    Some(Seen {
        at,
        connection,
        version: head.version,
        method: head.method,
        path: head.uri.path().to_owned(),
        headers: head.headers,
        json: serde_json::from_slice(&body).unwrap_or(Value::Null),
        body,
    })
}

/// Sends 1,000 SETTINGS frames of HTTP/2, then only listens.
async fn flood(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    // Six bytes of payload, type 4, no flags, stream 0: MAX_CONCURRENT_STREAMS is 100.
    let frame = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100];
    let frames = frame.repeat(1000);
    if stream.write_all(&frames).await.is_err() || stream.flush().await.is_err() {
        return;
    }
    let mut ignored = vec![0; 16_384];
    while stream
        .read(&mut ignored)
        .await
        .is_ok_and(|length| length > 0)
    {}
}
