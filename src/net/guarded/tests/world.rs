//! What the tests of the guarded client talk to: an authority, servers, a resolver.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::clock::{Clock, TestClock};
use crate::net::AddressFilter;
use crate::net::dns::{Asked, DnsFault, MailExchange, Records, Resolver};
use crate::net::guarded::{
    Answer, AnswerLimits, GuardOptions, GuardedClient, NetFault, Plain, Times, TlsVersions,
};
use crate::protocol::Timestamp;

pub(super) const LIMITS: AnswerLimits = AnswerLimits {
    size: 100_000,
    time: Duration::from_secs(30),
};

/// A throw-away authority, its clock, and the servers that live as long as it does.
pub(super) struct World {
    folder: TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
    pub(super) clock: Arc<TestClock>,
    pub(super) tasks: JoinSet<()>,
    /// Told when a server has what it waits for.
    pub(super) met: Arc<Notify>,
}

impl World {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Two authorities of one name would be taken for each other.
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, folder.path().display().to_string());
        let key = KeyPair::generate().unwrap();
        let authority = CertifiedIssuer::self_signed(params, key).unwrap();
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        Self {
            folder,
            authority,
            clock: TestClock::at(Timestamp::from_millis(1_700_000_000_000)),
            tasks: JoinSet::new(),
            met: Arc::default(),
        }
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Options that allow loopback and believe this authority; every name has these addresses.
    pub(super) fn options(&self, addresses: &[&str]) -> GuardOptions {
        GuardOptions {
            resolver: Arc::new(Names::of(addresses)),
            filter: AddressFilter::allowing(&["127.0.0.0/8".parse().unwrap()]),
            trusted_ca_files: vec![self.file("ca.pem")],
            client_identity: None,
            tls: TlsVersions::Only13,
            plain: Plain::Refused,
            times: Times::default(),
            clock: Clock::over(self.clock.clone()),
        }
    }

    /// A client where every name is this machine.
    pub(super) fn client(&self) -> GuardedClient {
        GuardedClient::new(self.options(&["127.0.0.1"])).unwrap()
    }

    /// A certificate for `host` that ends in `year`, written to `host.pem` and `host.key`.
    pub(super) fn issue(
        &self,
        host: &str,
        year: i32,
    ) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        std::fs::write(self.file(&format!("{host}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.file(&format!("{host}.key")), key.serialize_pem()).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        (vec![certificate.der().clone()], key)
    }

    /// A server's configuration with a good certificate for `peer.test`.
    pub(super) fn config(&self) -> ServerConfig {
        let (chain, key) = self.issue("peer.test", 2100);
        tls(&[&rustls::version::TLS13])
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap()
    }

    /// The authority as those a server believes.
    pub(super) fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        Arc::new(roots)
    }

    /// A server of pages that speaks `h2` and `http/1.1`. Tells its port.
    pub(super) async fn serve(&mut self, mut config: ServerConfig) -> u16 {
        if config.alpn_protocols.is_empty() {
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let met = self.met.clone();
        self.tasks.spawn(async move {
            let acceptor = TlsAcceptor::from(Arc::new(config));
            let mut open = JoinSet::new();
            for nth in 1.. {
                let (tcp, _) = listener.accept().await.unwrap();
                let (acceptor, met) = (acceptor.clone(), met.clone());
                open.spawn(async move {
                    if let Ok(tls) = acceptor.accept(tcp).await {
                        pages(tls, nth, met).await;
                    }
                });
            }
        });
        port
    }

    /// A server of pages without TLS. Tells its port.
    pub(super) async fn serve_plain(&mut self) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let met = self.met.clone();
        self.tasks.spawn(async move {
            let (tcp, _) = listener.accept().await.unwrap();
            pages(tcp, 1, met).await;
        });
        port
    }

    /// A server that does what `script` says on its one connection. Tells its port.
    pub(super) async fn play<F>(
        &mut self,
        alpn: &str,
        script: impl FnOnce(TlsStream<TcpStream>) -> F + Send + 'static,
    ) -> u16
    where
        F: Future<Output = io::Result<()>> + Send,
    {
        let mut config = self.config();
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        self.tasks.spawn(async move {
            let (tcp, _) = listener.accept().await.unwrap();
            let acceptor = TlsAcceptor::from(Arc::new(config));
            let tls = acceptor.accept(tcp).await.unwrap();
            // The client may hang up first.
            drop(script(tls).await);
        });
        port
    }
}

/// A server's configuration up to whom it believes.
pub(super) fn tls(
    versions: &[&'static SupportedProtocolVersion],
) -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
}

/// Asks for a page.
pub(super) async fn get(client: &GuardedClient, url: String) -> Result<Answer, NetFault> {
    let request = Request::get(url).body(Full::default()).unwrap();
    client.send(request, LIMITS).await
}

/// Asks `peer.test` for a page.
pub(super) async fn page(
    client: &GuardedClient,
    port: u16,
    path: &str,
) -> Result<Answer, NetFault> {
    get(client, format!("https://peer.test:{port}{path}")).await
}

/// Every name has the same answer.
pub(super) struct Names(pub(super) Result<Vec<IpAddr>, DnsFault>);

impl Names {
    pub(super) fn of(addresses: &[&str]) -> Self {
        Self(Ok(addresses.iter().map(|a| a.parse().unwrap()).collect()))
    }
}

impl Resolver for Names {
    fn txt<'a>(&'a self, _name: &'a str) -> Asked<'a, String> {
        unreachable!("a client asks for addresses only")
    }

    fn mx<'a>(&'a self, _name: &'a str) -> Asked<'a, MailExchange> {
        unreachable!("a client asks for addresses only")
    }

    fn addresses<'a>(&'a self, _host: &'a str) -> Asked<'a, IpAddr> {
        Box::pin(async {
            self.0.clone().map(|records| Records {
                records,
                ttl: Duration::from_secs(60),
            })
        })
    }
}

/// Serves pages on the `nth` connection of a server.
async fn pages<S>(stream: S, nth: usize, met: Arc<Notify>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| answer(request, nth, met.clone()));
    let http = auto::Builder::new(TokioExecutor::new());
    // How the connection ends is the client's to judge.
    drop(http.serve_connection(TokioIo::new(stream), service).await);
}

async fn answer(
    request: Request<Incoming>,
    nth: usize,
    met: Arc<Notify>,
) -> Result<Response<Script>, Infallible> {
    let response = Response::builder();
    let built = match request.uri().path() {
        "/moved" => response
            .status(301)
            .header("location", "https://elsewhere.test/")
            .body(Script::of("gone")),
        "/head" => response
            .header("x-long", "x".repeat(200_000))
            .body(Script::of("")),
        "/endless" => response.body(Script::endless()),
        "/drip" => response.body(Script::drip(met)),
        "/reset" => response.body(Script::reset()),
        "/silent" => {
            met.notify_one();
            std::future::pending().await
        }
        _ => response.body(Script::of(&format!("{:?} {nth}", request.version()))),
    };
    Ok(built.unwrap())
}

/// A body that does as it is told.
struct Script {
    pieces: VecDeque<Result<Bytes, io::Error>>,
    then: Then,
}

enum Then {
    End,
    More,
    Wait(Arc<Notify>),
}

impl Script {
    fn of(text: &str) -> Self {
        Self {
            pieces: [Ok(Bytes::copy_from_slice(text.as_bytes()))].into(),
            then: Then::End,
        }
    }

    fn endless() -> Self {
        Self {
            pieces: VecDeque::new(),
            then: Then::More,
        }
    }

    fn drip(met: Arc<Notify>) -> Self {
        Self {
            pieces: (0..10).map(|_| Ok(Bytes::from_static(b"."))).collect(),
            then: Then::Wait(met),
        }
    }

    fn reset() -> Self {
        let broken = io::Error::other("the test says so");
        Self {
            pieces: [Ok(Bytes::from_static(b"half")), Err(broken)].into(),
            then: Then::End,
        }
    }
}

impl hyper::body::Body for Script {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(piece) = self.pieces.pop_front() {
            return Poll::Ready(Some(piece.map(Frame::data)));
        }
        match &self.then {
            Then::End => Poll::Ready(None),
            Then::More => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[0; 1024]))))),
            Then::Wait(met) => {
                met.notify_one();
                Poll::Pending
            }
        }
    }
}

/// The address a server of this port has.
pub(super) fn here(port: u16) -> Option<SocketAddr> {
    Some(SocketAddr::new("127.0.0.1".parse().unwrap(), port))
}
