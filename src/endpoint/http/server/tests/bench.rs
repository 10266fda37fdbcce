//! A listener on port 0, a throw-away CA, and clients.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::routing::{get, post};
use axum::{Extension, Router};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::{Clock, TestClock};
use crate::endpoint::http::edge::Edge;
use crate::endpoint::http::error::ApiError;
use crate::endpoint::http::server::{
    BodyReader, BodyTimes, Connection, Server, ServerFault, ServerOptions,
};
use crate::protocol::Timestamp;
use crate::telemetry::Metrics;
use crate::tls::TlsIdentity;

pub(super) const BODY_LIMIT: usize = 1_000;

/// A throw-away CA that writes certificates for `localhost` into a folder.
pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self {
            issuer,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(super) fn issue(&self) -> TlsIdentity {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let (cert, private) = (
            self.folder.path().join("cert.pem"),
            self.folder.path().join("key.pem"),
        );
        std::fs::write(&cert, certificate.pem()).unwrap();
        std::fs::write(&private, key.serialize_pem()).unwrap();
        TlsIdentity::load(&cert, &private).unwrap()
    }

    pub(super) fn client(
        &self,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    }
}

/// A running listener.
pub(super) struct Bench {
    pub(super) address: SocketAddr,
    pub(super) test: Arc<TestClock>,
    pub(super) metrics: Metrics,
    pub(super) authority: Authority,
    pub(super) identity: TlsIdentity,
    pub(super) stop: CancellationToken,
    /// A request to `/gate` adds a permit to the first and takes one from the second.
    pub(super) gate: Gate,
    ended: tokio::task::JoinHandle<Result<(), ServerFault>>,
    clients: TaskTracker,
}

#[derive(Clone)]
pub(super) struct Gate {
    pub(super) entered: Arc<Semaphore>,
    pub(super) open: Arc<Semaphore>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Security {
    Tls,
    Plain,
}

fn app(gate: Gate, edge: Edge) -> Router {
    let reader = BodyReader::new(BodyTimes::default(), 1_000_000, edge.clock.clone());
    let router = Router::new()
        .route(
            "/who",
            get(|Extension(c): Extension<Connection>| async move { c.client.to_string() }),
        )
        .route("/gate", get(pass_gate).with_state(gate.clone()))
        .route("/large", get(|| async { vec![b'x'; 64 * 1024 * 1024] }))
        .route(
            "/echo",
            post(move |request: Request| async move {
                gate.entered.add_permits(1);
                reader
                    .read(request, BODY_LIMIT)
                    .await
                    .map_err(ApiError::from)
            }),
        );
    edge.around(router)
}

async fn pass_gate(State(gate): State<Gate>) -> &'static str {
    gate.entered.add_permits(1);
    gate.open.acquire().await.unwrap().forget();
    "passed"
}

impl Bench {
    pub(super) async fn start(security: Security, options: ServerOptions) -> Self {
        let test = TestClock::at(Timestamp::from_millis(0));
        let (clock, metrics) = (Clock::over(test.clone()), Metrics::new());
        let authority = Authority::new();
        let identity = authority.issue();
        let tls = (security == Security::Tls).then(|| identity.server_config());
        let any = "127.0.0.1:0".parse().unwrap();
        let server = Server::bind(any, options, tls, (clock.clone(), metrics.clone()))
            .await
            .unwrap();
        let address = server.local_addr();
        let gate = Gate {
            entered: Arc::new(Semaphore::new(0)),
            open: Arc::new(Semaphore::new(0)),
        };
        let app = app(
            gate.clone(),
            Edge {
                clock,
                metrics: metrics.clone(),
                admission: None,
            },
        );
        let (stop, clients) = (CancellationToken::new(), TaskTracker::new());
        let ended = clients.spawn(server.run(app, stop.clone()));
        Self {
            address,
            test,
            metrics,
            authority,
            identity,
            stop,
            gate,
            ended,
            clients,
        }
    }

    #[allow(clippy::disallowed_methods, reason = "a test's client")]
    pub(super) async fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    pub(super) async fn tls(&self, alpn: &str) -> std::io::Result<TlsStream<TcpStream>> {
        self.tls_over(self.tcp().await, alpn).await
    }

    pub(super) async fn tls_over(
        &self,
        tcp: TcpStream,
        alpn: &str,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut config = self.authority.client(&[&rustls::version::TLS13]);
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        let name = "localhost".try_into().unwrap();
        TlsConnector::from(Arc::new(config))
            .connect(name, tcp)
            .await
    }

    pub(super) async fn http2(&self) -> http2::SendRequest<Full<Bytes>> {
        let io = TokioIo::new(self.tls("h2").await.unwrap());
        let (sender, driver) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        self.clients.spawn(driver);
        sender
    }

    pub(super) async fn http1<S>(&self, stream: S) -> http1::SendRequest<Full<Bytes>>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        self.clients.spawn(driver);
        sender
    }

    /// The listener's own end.
    pub(super) async fn ended(self) -> Result<(), ServerFault> {
        in_time(self.ended).await.unwrap()
    }

    pub(super) fn abandon(&self) {
        self.ended.abort();
    }

    pub(super) fn count(&self, series: &str) -> u64 {
        let text = self.metrics.encode();
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        line.map_or(0, |value| value.trim().parse().unwrap())
    }

    /// Lets a second pass again and again until `work` is done.
    pub(super) async fn while_time_passes<T>(&self, work: impl Future<Output = T>) -> T {
        let passing = async {
            loop {
                self.test.advance(Duration::from_secs(1));
                tokio::task::yield_now().await;
            }
        };
        in_time(async {
            tokio::select! {
                done = work => done,
                () = passing => unreachable!("time does not end"),
            }
        })
        .await
    }

    pub(super) fn elapsed(&self) -> Duration {
        Clock::over(self.test.clone()).monotonic()
    }
}

pub(super) fn get_request(path: &str) -> http::Request<Full<Bytes>> {
    http::Request::get(format!("https://localhost{path}"))
        .body(Full::default())
        .unwrap()
}

pub(super) async fn text(response: http::Response<hyper::body::Incoming>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Everything until the other side closes; a reset counts as the end.
pub(super) async fn read_to_end(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut all = Vec::new();
    let mut piece = [0; 4_096];
    let reading = async {
        while let Ok(length @ 1..) = stream.read(&mut piece).await {
            all.extend_from_slice(&piece[..length]);
        }
    };
    in_time(reading).await;
    String::from_utf8_lossy(&all).into_owned()
}

/// A test that waits for what never comes fails instead of hanging.
pub(super) async fn in_time<T>(work: impl Future<Output = T>) -> T {
    let patience = Duration::from_secs(30);
    tokio::time::timeout(patience, work)
        .await
        .expect("this never comes")
}

/// Sends text and reads one answer of which the body ends with `end`.
pub(super) async fn ask<S>(stream: &mut S, request: &str, end: &str) -> String
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut all = String::new();
    let mut piece = [0; 4_096];
    while !all.ends_with(end) {
        let length = in_time(stream.read(&mut piece)).await.unwrap();
        assert_ne!(length, 0, "closed after {all}");
        all.push_str(&String::from_utf8_lossy(&piece[..length]));
    }
    all
}
