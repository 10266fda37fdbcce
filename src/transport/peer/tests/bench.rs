//! A transport with a store, a DNS and a peer of its own.

use std::collections::HashMap;
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::super::samples::NOW;
use super::super::{PeerOptions, PeerSettings, PeerTools, PeerTransport};
use crate::clock::{Clock, TestClock};
use crate::config::{Database, Secret};
use crate::discovery::Discovery;
use crate::events::Events;
use crate::net::{
    AddressFilter, Asked, DnsFault, GuardOptions, GuardedClient, MailExchange, Plain, Records,
    Resolver, Times, TlsVersions,
};
use crate::protocol::Domain;
use crate::store::{Store, StoreOptions, open};
use crate::telemetry::Metrics;
use crate::tls::TlsIdentity;
use crate::transport::{Attempted, Destination, Load, Parcel, Transport as _};

/// A request the peer got.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    /// Decompressed.
    pub(super) body: Bytes,
}

impl Seen {
    /// The messages in it.
    pub(super) fn messages(&self) -> Vec<Value> {
        let lines = self.body.split(|byte| *byte == b'\n');
        let lines = lines.filter(|line| !line.is_empty());
        lines
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }

    pub(super) fn ids(&self) -> Vec<String> {
        let messages = self.messages();
        let id = |message: &Value| message["message_id"].as_str().unwrap().to_owned();
        messages.iter().map(id).collect()
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

/// What the peer answers: a status and a body.
pub(super) type Script = Box<dyn FnMut(&Seen) -> (u16, String) + Send>;

#[derive(Default)]
struct Peer {
    seen: Mutex<Vec<Seen>>,
    script: Mutex<Option<Script>>,
}

impl Peer {
    async fn answer(
        &self,
        request: http::Request<hyper::body::Incoming>,
    ) -> Result<Response<Full<Bytes>>, hyper::Error> {
        let (head, body) = request.into_parts();
        let mut body = body.collect().await?.to_bytes();
        if head.headers.contains_key("content-encoding") {
            let mut plain = Vec::new();
            let mut decoder = flate2::read::GzDecoder::new(&body[..]);
            decoder.read_to_end(&mut plain).unwrap();
            body = plain.into();
        }
        let seen = Seen {
            path: head.uri.path().to_owned(),
            headers: head.headers,
            body,
        };
        self.seen.lock().unwrap().push(seen.clone());
        let mut script = self.script.lock().unwrap();
        let (status, body) = script
            .as_mut()
            .map_or((202, String::new()), |script| script(&seen));
        let answer = Response::builder().status(status);
        Ok(answer.body(Full::new(body.into())).unwrap())
    }
}

/// Knows one address and the records it was told.
#[derive(Clone, Default)]
struct Names(Arc<Mutex<HashMap<String, Vec<String>>>>);

impl Resolver for Names {
    fn txt<'a>(&'a self, name: &'a str) -> Asked<'a, String> {
        let records = self.0.lock().unwrap().get(name).cloned();
        Box::pin(async move {
            let ttl = Duration::from_secs(3_600);
            match records {
                Some(records) if records.is_empty() => Err(DnsFault::Failed("SERVFAIL".into())),
                Some(records) => Ok(Records { records, ttl }),
                None => Err(DnsFault::Nothing { ttl: None }),
            }
        })
    }

    fn mx<'a>(&'a self, _: &'a str) -> Asked<'a, MailExchange> {
        Box::pin(async { Err(DnsFault::Nothing { ttl: None }) })
    }

    fn addresses<'a>(&'a self, _: &'a str) -> Asked<'a, IpAddr> {
        let records = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
        let ttl = Duration::from_secs(3_600);
        Box::pin(async move { Ok(Records { records, ttl }) })
    }
}

pub(super) struct Bench {
    pub(super) transport: PeerTransport,
    pub(super) store: Store,
    pub(super) clock: Arc<TestClock>,
    pub(super) port: u16,
    names: Names,
    peer: Arc<Peer>,
    stop: CancellationToken,
    tasks: TaskTracker,
    folder: TempDir,
}

impl Bench {
    pub(super) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let test = TestClock::at(NOW);
        let clock = Clock::over(test.clone());
        let options = StoreOptions {
            database: Database::Sqlite(folder.path().join("amtpd.db")),
        };
        let metrics = Metrics::default();
        let (store, committer) = open(&options, Events::default(), metrics.clone(), clock.clone())
            .await
            .unwrap();
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(committer.run(stop.clone()));
        let identity = issue(&folder);
        let peer = Arc::<Peer>::default();
        let port = listen(&identity, &peer, &tasks).await;
        let names = Names::default();
        let tools = PeerTools {
            store: store.clone(),
            discovery: Discovery::new(Arc::new(names.clone()), clock.clone(), metrics),
            clock: clock.clone(),
        };
        Self {
            transport: PeerTransport::new(tools, settings(&folder, &names, &clock)),
            store,
            clock: test,
            port,
            names,
            peer,
            stop,
            tasks,
            folder,
        }
    }

    /// Publishes a record for `b.test` with these fields.
    pub(super) fn publish(&self, fields: &str) {
        self.publish_all(vec![self.record(fields)]);
    }

    /// A record of the peer.
    pub(super) fn record(&self, fields: &str) -> String {
        format!(
            "v=amtp1;gateway=https://localhost:{}/in;{fields}",
            self.port
        )
    }

    /// Publishes the peer's record for another domain.
    pub(super) fn publish_for(&self, domain: &str) {
        let mut names = self.names.0.lock().unwrap();
        names.insert(format!("_amtp.{domain}"), vec![self.record("")]);
    }

    /// Publishes records for `b.test`; without any the DNS fails.
    pub(super) fn publish_all(&self, records: Vec<String>) {
        let mut names = self.names.0.lock().unwrap();
        names.insert("_amtp.b.test".to_owned(), records);
    }

    pub(super) fn answers(&self, script: impl FnMut(&Seen) -> (u16, String) + Send + 'static) {
        *self.peer.script.lock().unwrap() = Some(Box::new(script));
    }

    /// The requests since the last call.
    pub(super) fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.peer.seen.lock().unwrap())
    }

    pub(super) async fn carry(&self, parcels: Vec<Parcel>) -> Vec<Vec<Attempted>> {
        let patience = Duration::from_secs(30);
        let to = destination();
        let carrying = self.transport.carry(&to, parcels);
        tokio::time::timeout(patience, carrying)
            .await
            .expect("this never comes")
    }

    pub(super) fn load(&self) -> Load {
        self.transport.load(&destination())
    }

    /// From now on the store takes nothing.
    pub(super) async fn close_store(&self) {
        self.stop.cancel();
        self.tasks.close();
        // The listener runs on; only the committer is waited for.
        while self.store.remember_domain(domain(), NOW).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }

    /// A port on which nobody listens.
    pub(super) async fn dead_port() -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.stop.cancel();
        assert!(self.folder.path().exists());
    }
}

pub(super) fn domain() -> Domain {
    Domain::parse("b.test").unwrap()
}

fn destination() -> Destination {
    Destination::Peer(domain())
}

fn settings(folder: &TempDir, names: &Names, clock: &Clock) -> PeerOptions {
    let client = |filter| {
        let options = GuardOptions {
            resolver: Arc::new(names.clone()),
            filter,
            trusted_ca_files: vec![folder.path().join("ca.pem")],
            client_identity: None,
            tls: TlsVersions::Only13,
            plain: Plain::Refused,
            times: Times::default(),
            clock: clock.clone(),
        };
        GuardedClient::new(options).unwrap()
    };
    let own = PeerSettings {
        client: client(AddressFilter::any()),
        authorization: Some(Secret::new("Bearer hidden".to_owned())),
        batch: true,
    };
    let others = PeerSettings {
        client: client(AddressFilter::public()),
        authorization: None,
        batch: true,
    };
    PeerOptions {
        peers: HashMap::from([(domain(), own)]),
        others,
    }
}

/// A certificate for `localhost`, and beside it the throw-away CA that signed it.
fn issue(folder: &TempDir) -> TlsIdentity {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    file("ca.pem", issuer.pem());
    let cert = file("cert.pem", certificate.pem());
    let key = file("key.pem", key.serialize_pem());
    TlsIdentity::load(&cert, &key).unwrap()
}

async fn listen(identity: &TlsIdentity, peer: &Arc<Peer>, tasks: &TaskTracker) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = TlsAcceptor::from(identity.server_config());
    let (peer, connections) = (peer.clone(), tasks.clone());
    tasks.spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let (acceptor, peer) = (acceptor.clone(), peer.clone());
            connections.spawn(async move {
                let Ok(tls) = acceptor.accept(tcp).await else {
                    return;
                };
                let service = service_fn(move |request| {
                    let peer = peer.clone();
                    async move { peer.answer(request).await }
                });
                let builder = auto::Builder::new(TokioExecutor::new());
                // How a connection ends is no matter here.
                let _ = builder.serve_connection(TokioIo::new(tls), service).await;
            });
        }
    });
    port
}
