//! Registries of others: a real server that speaks TLS, good and bad answers.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use tokio::net::TcpListener;

use super::*;
use crate::net::testing::{Here, tls_of};
use crate::net::{AddressFilter, GuardOptions, Plain, Times, TlsVersions};
use crate::protocol::GatewayUrl;

/// What the registry says.
#[derive(Clone)]
struct Says {
    status: u16,
    body: Bytes,
    signature: Option<String>,
    cache: &'static str,
    silent: bool,
}

/// A registry that runs, and whoever asks it.
struct World {
    bench: Bench,
    key: EcdsaKeyPair,
    says: Arc<Mutex<Says>>,
    asked: Arc<AtomicUsize>,
    paths: Arc<Mutex<Vec<String>>>,
    port: u16,
}

impl World {
    async fn new() -> Self {
        let bench = Bench::new().await;
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap();
        let says = Says {
            status: 404,
            body: Bytes::new(),
            signature: None,
            cache: "max-age=600",
            silent: false,
        };
        let mut world = Self {
            bench,
            key,
            says: Arc::new(Mutex::new(says)),
            asked: Arc::default(),
            paths: Arc::default(),
            port: 0,
        };
        world.serve().await;
        world
    }

    async fn serve(&mut self) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.port = listener.local_addr().unwrap().port();
        let acceptor = tls_of("registry.test", self.bench.folder.path());
        let (says, asked, paths) = (self.says.clone(), self.asked.clone(), self.paths.clone());
        let stop = self.bench.stop.clone();
        let tasks = self.bench.tasks.clone();
        let serving = async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let acceptor = acceptor.clone();
                let (says, asked, paths) = (says.clone(), asked.clone(), paths.clone());
                let one = async move {
                    let Ok(tls) = acceptor.accept(tcp).await else {
                        return;
                    };
                    let service = service_fn(|request: Request<Incoming>| {
                        asked.fetch_add(1, Ordering::SeqCst);
                        let path = request.uri().path().to_owned();
                        paths.lock().unwrap().push(path);
                        answer(says.lock().unwrap().clone())
                    });
                    let http = hyper::server::conn::http1::Builder::new();
                    drop(http.serve_connection(TokioIo::new(tls), service).await);
                };
                drop(tasks.spawn(stop.clone().run_until_cancelled_owned(one)));
            }
        };
        let stop = self.bench.stop.clone();
        self.bench
            .tasks
            .spawn(stop.run_until_cancelled_owned(serving));
    }

    fn says(&self, change: impl FnOnce(&mut Says)) {
        change(&mut self.says.lock().unwrap());
    }

    fn sign(&self, body: &[u8]) -> String {
        let signature = self.key.sign(&SystemRandom::new(), body).unwrap();
        URL_SAFE_NO_PAD.encode(signature)
    }

    /// The registry has this document.
    fn publishes(&self, document: &Value) {
        let body = Bytes::from(document.to_string());
        let signature = Some(self.sign(&body));
        self.says(|it| (it.status, it.body, it.signature) = (200, body, signature));
    }

    async fn open(&self, allowed: &[&str]) -> Schemas {
        let ranges: Vec<_> = allowed.iter().map(|it| it.parse().unwrap()).collect();
        let client = GuardedClient::new(GuardOptions {
            resolver: Arc::new(Here),
            filter: AddressFilter::allowing(&ranges),
            trusted_ca_files: vec![self.bench.folder.path().join("ca.pem")],
            client_identity: None,
            tls: TlsVersions::Only13,
            plain: Plain::Refused,
            times: Times::default(),
            clock: Clock::over(self.bench.clock.clone()),
        });
        let url = format!("https://registry.test:{}/schemas", self.port);
        let registry = RegistryEntry {
            url: GatewayUrl::parse(&url).unwrap(),
            key: self.key.public_key().as_ref().to_vec(),
            patterns: vec![SchemaPattern::parse("agntcy:partner.*").unwrap()],
        };
        let options = SchemaOptions {
            remote: Some((vec![registry], client.unwrap())),
            ..SchemaOptions::default()
        };
        self.bench.open_with(options).await.unwrap()
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn fetches(&self, outcome: &'static str) -> u64 {
        self.bench.metrics.schemas().fetches(outcome)
    }
}

async fn answer(says: Says) -> Result<Response<Full<Bytes>>, Infallible> {
    if says.silent {
        std::future::pending::<()>().await;
    }
    let mut response = Response::builder()
        .status(says.status)
        .header("cache-control", says.cache)
        .header("location", "https://registry.test/elsewhere");
    if let Some(signature) = says.signature {
        response = response.header("x-amtp-schema-signature", signature);
    }
    Ok(response.body(Full::new(says.body)).unwrap())
}

const THING: &str = "agntcy:partner.thing.v1";
const LOOPBACK: &[&str] = &["127.0.0.0/8"];

fn thing() -> Value {
    json!({"$id": THING, "type": "object", "required": ["a"]})
}

#[tokio::test]
async fn a_signed_schema_is_fetched_once_and_kept_as_long_as_it_says() {
    let world = World::new().await;
    let schemas = world.open(LOOPBACK).await;
    world.publishes(&thing());
    for _ in 0..3 {
        assert_eq!(refused(&schemas.judge(&id(THING), "{}").await), "a");
    }
    assert_eq!(
        schemas.judge(&id(THING), r#"{"a":1}"#).await,
        Judgement::Valid
    );
    assert_eq!((world.asked(), world.fetches("fetched")), (1, 1));
    assert_eq!(world.paths.lock().unwrap()[0], format!("/schemas/{THING}"));
    world.bench.clock.advance(Duration::from_secs(601));
    assert_eq!(refused(&schemas.judge(&id(THING), "{}").await), "a");
    assert_eq!(world.asked(), 2);
    // An hour is the most.
    world.says(|it| it.cache = "public, max-age=86400");
    world.bench.clock.advance(Duration::from_secs(601));
    schemas.judge(&id(THING), "{}").await;
    world.bench.clock.advance(Duration::from_secs(3_601));
    schemas.judge(&id(THING), "{}").await;
    assert_eq!(world.asked(), 4);
    // Others are none of its business.
    schemas.judge(&id("agntcy:other.thing.v1"), "{}").await;
    assert_eq!(world.asked(), 4);
    world.bench.close().await;
}

#[tokio::test]
async fn many_who_ask_at_a_time_are_one_question() {
    let world = World::new().await;
    let schemas = world.open(LOOPBACK).await;
    world.publishes(&thing());
    let thing = id(THING);
    let all = (0..20).map(|_| schemas.judge(&thing, "{}"));
    let mut all: Vec<_> = all.map(Box::pin).collect();
    std::future::poll_fn(|context| {
        all.retain_mut(|one| one.as_mut().poll(context).is_pending());
        match all.is_empty() {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    assert_eq!(world.asked(), 1);
    world.bench.close().await;
}

#[tokio::test]
async fn what_is_not_signed_for_this_name_is_unknown() {
    let world = World::new().await;
    let good = thing();
    let other = json!({"$id": "agntcy:partner.other.v1"});
    let body = |value: &Value| Bytes::from(value.to_string());
    let signed = |value: &Value| Some(world.sign(&body(value)));
    let table = [
        ("no signature", body(&good), None, "unsigned"),
        ("of another body", body(&good), signed(&other), "unsigned"),
        ("nonsense", body(&good), Some("%%%".to_owned()), "unsigned"),
        ("short", body(&good), Some("AAAA".to_owned()), "unsigned"),
        ("another schema", body(&other), signed(&other), "malformed"),
        (
            "no schema",
            body(&json!([])),
            signed(&json!([])),
            "malformed",
        ),
        (
            "leads outside",
            body(&json!({"$id": THING, "$ref": "https://x.test/"})),
            signed(&json!({"$id": THING, "$ref": "https://x.test/"})),
            "malformed",
        ),
    ];
    for (what, body, signature, outcome) in table {
        // Nothing is remembered from the row before.
        let schemas = world.open(LOOPBACK).await;
        let before = world.fetches(outcome);
        world.says(|it| (it.status, it.body, it.signature) = (200, body, signature));
        assert_eq!(
            schemas.judge(&id(THING), "{}").await,
            Judgement::Unknown,
            "{what}"
        );
        assert_eq!(world.fetches(outcome), before + 1, "{what}");
    }
    world.bench.close().await;
}

#[tokio::test]
async fn a_failure_is_remembered_for_half_a_minute() {
    let world = World::new().await;
    for (status, outcome) in [(404, "absent"), (302, "unreachable"), (500, "unreachable")] {
        let schemas = world.open(LOOPBACK).await;
        world.publishes(&thing());
        world.says(|it| it.status = status);
        let asked = world.asked();
        for _ in 0..3 {
            assert_eq!(schemas.judge(&id(THING), "{}").await, Judgement::Unknown);
        }
        assert_eq!(
            world.asked(),
            asked + 1,
            "{status}: no redirect is followed"
        );
        assert!(world.fetches(outcome) > 0);
        world.bench.clock.advance(Duration::from_secs(31));
        world.says(|it| it.status = 200);
        assert_eq!(refused(&schemas.judge(&id(THING), "{}").await), "a");
    }
    world.bench.close().await;
}

#[tokio::test]
async fn too_much_and_too_slow_are_unknown_in_time() {
    let world = World::new().await;
    let schemas = world.open(LOOPBACK).await;
    let large = json!({"$id": THING, "description": "x".repeat(MOST_BYTES)});
    world.publishes(&large);
    assert_eq!(schemas.judge(&id(THING), "{}").await, Judgement::Unknown);
    assert_eq!(world.fetches("unreachable"), 1);
    world.says(|it| it.silent = true);
    world.bench.clock.advance(Duration::from_secs(31));
    let thing = id(THING);
    let mut waiting = Box::pin(schemas.judge(&thing, "{}"));
    let asked = world.asked();
    loop {
        tokio::select! {
            biased;
            judgement = &mut waiting => panic!("{judgement:?}"),
            () = tokio::task::yield_now() => {}
        }
        if world.asked() > asked {
            break;
        }
    }
    world.bench.clock.advance(Duration::from_secs(3));
    assert_eq!(waiting.await, Judgement::Unknown);
    world.bench.close().await;
}

#[tokio::test]
async fn an_inner_address_is_not_connected_to_unless_it_is_allowed() {
    let world = World::new().await;
    world.publishes(&thing());
    let schemas = world.open(&[]).await;
    assert_eq!(schemas.judge(&id(THING), "{}").await, Judgement::Unknown);
    assert_eq!((world.asked(), world.fetches("unreachable")), (0, 1));
    world.bench.close().await;
}
