//! Tokens of an issuer that runs and speaks TLS; key sets and claims by table.

mod tables;

use std::convert::Infallible;
use std::sync::Mutex;

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
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::auth::jwt::{Algorithm, Claims};
use crate::clock::TestClock;
use crate::net::testing::{Here, tls_of};
use crate::net::{AddressFilter, GuardOptions, Plain, Times, TlsVersions};

const NOW: i64 = 1_800_000_000;
const DOMAIN: &str = "issuer.test";
const MINUTE: Duration = Duration::from_secs(60);

/// A key pair of an issuer.
struct Pair {
    id: &'static str,
    private: Vec<u8>,
    point: Vec<u8>,
}

impl Pair {
    fn new(id: &'static str) -> Self {
        let (random, algorithm) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
        let private = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let private = private.as_ref().to_vec();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, &private, &random).unwrap();
        let point = pair.public_key().as_ref().to_vec();
        Self { id, private, point }
    }

    fn jwk(&self) -> Value {
        let part = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&self.point[range]);
        json!({"kty": "EC", "crv": "P-256", "kid": self.id, "x": part(1..33), "y": part(33..65)})
    }

    fn sign(&self, claims: &Value) -> String {
        let claims: Claims = serde_json::from_value(claims.clone()).unwrap();
        jwt::sign(&claims, self.id, &self.private).unwrap()
    }
}

/// What the issuer says.
#[derive(Default)]
struct Says {
    status: u16,
    configuration: Value,
    keys: Value,
    cache: &'static str,
    asked: Vec<String>,
}

/// An issuer that runs, and whoever believes it.
struct World {
    says: Arc<Mutex<Says>>,
    clock: Arc<TestClock>,
    metrics: Metrics,
    issuers: Issuers,
    name: String,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl World {
    /// The worker runs, and has asked once.
    async fn new(keys: &[&Pair], change: impl FnOnce(&mut Says)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let says = Arc::new(Mutex::new(Says::default()));
        let mut tasks = JoinSet::new();
        let port = serve(folder.path(), &says, &mut tasks).await;
        let name = format!("https://{DOMAIN}:{port}/realm");
        {
            let mut says = says.lock().unwrap();
            says.status = 200;
            says.keys = set(keys);
            says.cache = "max-age=600";
            let uri = format!("https://{DOMAIN}:{port}/jwks");
            says.configuration = json!({"issuer": name, "jwks_uri": uri});
            change(&mut says);
        }
        let clock = TestClock::at(Timestamp::from_millis(NOW * 1_000));
        let shared = Clock::over(clock.clone());
        let client = GuardedClient::new(GuardOptions {
            resolver: Arc::new(Here),
            filter: AddressFilter::allowing(&["127.0.0.0/8".parse().unwrap()]),
            trusted_ca_files: vec![folder.path().join("ca.pem")],
            client_identity: None,
            tls: TlsVersions::From12,
            plain: Plain::Refused,
            times: Times::default(),
            clock: shared.clone(),
        });
        let metrics = Metrics::new();
        let domain = Domain::parse(DOMAIN).unwrap();
        let settings = tables::settings(Some(&name));
        let all = BTreeMap::from([(domain, settings)]);
        let ours = [Domain::parse("b.test").unwrap()];
        let issuers = Issuers::new(&all, &ours, &client.unwrap(), &shared, &metrics);
        let stop = CancellationToken::new();
        for keeper in issuers.keepers() {
            tasks.spawn(keeper.run(stop.clone()));
        }
        let world = Self {
            says,
            clock,
            metrics,
            issuers,
            name,
            stop,
            tasks,
        };
        world.asked(1).await;
        world
    }

    fn says(&self, change: impl FnOnce(&mut Says)) {
        change(&mut self.says.lock().unwrap());
    }

    fn claims(&self) -> Value {
        let exp = NOW + 100_000;
        json!({"iss": self.name, "sub": "alice", "aud": "us", "exp": exp})
    }

    fn token(&self, pair: &Pair) -> String {
        pair.sign(&self.claims())
    }

    async fn is_good(&self, token: &str) -> bool {
        self.issuers.read(token).await.is_some()
    }

    /// Waits until the worker has asked so often.
    async fn asked(&self, times: u64) {
        self.issuers.keepers().next().unwrap().asked(times).await;
    }

    /// How often the key set was asked for.
    fn key_sets(&self) -> usize {
        let says = self.says.lock().unwrap();
        says.asked.iter().filter(|path| *path == "/jwks").count()
    }

    fn fetches(&self, outcome: &'static str) -> u64 {
        self.metrics.issuers().fetches(DOMAIN, outcome)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
        self.tasks.abort_all();
    }
}

fn set(keys: &[&Pair]) -> Value {
    json!({"keys": keys.iter().map(|pair| pair.jwk()).collect::<Vec<_>>()})
}

/// Runs the issuer's server; its authority is `ca.pem`.
async fn serve(folder: &std::path::Path, says: &Arc<Mutex<Says>>, tasks: &mut JoinSet<()>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = tls_of(DOMAIN, folder);
    let says = says.clone();
    tasks.spawn(async move {
        let mut open = JoinSet::new();
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let (acceptor, says) = (acceptor.clone(), says.clone());
            open.spawn(async move {
                let Ok(tls) = acceptor.accept(tcp).await else {
                    return;
                };
                let service = service_fn(|request| answer(request, says.clone()));
                let http = hyper::server::conn::http1::Builder::new();
                drop(http.serve_connection(TokioIo::new(tls), service).await);
            });
        }
    });
    port
}

async fn answer(
    request: Request<Incoming>,
    says: Arc<Mutex<Says>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let response = {
        let mut says = says.lock().unwrap();
        says.asked.push(path.clone());
        let body = match path.as_str() {
            "/realm/.well-known/openid-configuration" => says.configuration.to_string(),
            "/jwks" => says.keys.to_string(),
            _ => "elsewhere".to_owned(),
        };
        (says.status != 0).then(|| {
            Response::builder()
                .status(says.status)
                .header("cache-control", says.cache)
                .header("location", "/jwks")
                .body(Full::new(Bytes::from(body)))
                .unwrap()
        })
    };
    match response {
        Some(response) => Ok(response),
        None => std::future::pending().await,
    }
}

#[tokio::test]
async fn a_token_is_checked_with_the_keys_that_its_issuer_publishes() {
    let pair = Pair::new("k1");
    let world = World::new(&[&pair], |_| {}).await;
    let token = world.token(&pair);
    let bearer = world.issuers.read(&token).await.unwrap();
    let Bearer::Agent { name, key_id, .. } = &bearer else {
        panic!("{bearer:?}");
    };
    assert_eq!(name.as_str(), "alice");
    assert_eq!(*key_id, format!("{}#alice", world.name));
    assert_eq!(world.issuers.read(&token).await, Some(bearer));
    assert_eq!(world.metrics.issuers().tokens(DOMAIN, "good"), 1);
    assert_eq!(world.key_sets(), 1);
}

#[tokio::test]
async fn what_is_wrong_with_a_token_makes_it_nobodys() {
    let (pair, other) = (Pair::new("k1"), Pair::new("k1"));
    let world = World::new(&[&pair], |_| {}).await;
    let with = |member: &str, value: Value| {
        let mut claims = world.claims();
        claims[member] = value;
        pair.sign(&claims)
    };
    let good = world.token(&pair);
    let parts: Vec<&str> = good.split('.').collect();
    let headed = |header: Value| {
        let header = URL_SAFE_NO_PAD.encode(header.to_string());
        format!("{header}.{}.{}", parts[1], parts[2])
    };
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &pair.point);
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","kid":"k1"}"#);
    let signed = format!("{header}.{}", parts[1]);
    let by_secret = ring::hmac::sign(&key, signed.as_bytes());
    let by_secret = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(by_secret));
    for (token, why) in [
        (with("exp", json!(NOW - 60)), "it is over"),
        (with("nbf", json!(NOW + 61)), "it is not good yet"),
        (with("iat", json!(NOW + 61)), "it is of the future"),
        (with("aud", json!("them")), "it is for others"),
        (with("aud", json!([])), "it is for nobody"),
        (
            with("iss", json!("https://other.test")),
            "of another issuer",
        ),
        (
            with("iss", json!(format!("{}/", world.name))),
            "of nearly this issuer",
        ),
        (with("sub", json!("")), "about nobody"),
        (with("sub", json!("eve@evil.test")), "about another's agent"),
        (world.token(&other), "by another key of this name"),
        (headed(json!({"alg": "none", "kid": "k1"})), "not signed"),
        (
            headed(json!({"alg": "none"})) + "",
            "not signed, without a key",
        ),
        (format!("{}.{}.", parts[0], parts[1]), "without signature"),
        (
            headed(json!({"alg": "RS256", "kid": "k1"})),
            "another algorithm",
        ),
        (headed(json!({"alg": "ES384", "kid": "k1"})), "not agreed"),
        (by_secret, "signed with the public key as a secret"),
    ] {
        assert!(!world.is_good(&token).await, "{why}");
    }
    for (token, why) in [
        (with("exp", json!(NOW - 59)), "within the skew"),
        (with("nbf", json!(NOW + 60)), "within the skew"),
        (with("aud", json!(["them", "us"])), "for us too"),
        (with("exp", json!(i64::MAX)), "for ever"),
    ] {
        assert!(world.is_good(&token).await, "{why}");
    }
}

#[tokio::test]
async fn an_extension_that_must_be_understood_is_not() {
    let pair = Pair::new("k1");
    let world = World::new(&[&pair], |_| {}).await;
    let random = SystemRandom::new();
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let key = EcdsaKeyPair::from_pkcs8(algorithm, &pair.private, &random).unwrap();
    let claims = URL_SAFE_NO_PAD.encode(world.claims().to_string());
    for (header, expected) in [
        (json!({"alg": "ES256", "kid": "k1"}), true),
        (
            json!({"alg": "ES256", "kid": "k1", "crit": ["b64"], "b64": true}),
            false,
        ),
    ] {
        let signed = format!("{}.{claims}", URL_SAFE_NO_PAD.encode(header.to_string()));
        let signature = key.sign(&random, signed.as_bytes()).unwrap();
        let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
        assert_eq!(world.is_good(&token).await, expected, "{header}");
    }
}

#[tokio::test]
async fn unknown_keys_make_it_ask_once_in_thirty_seconds() {
    let (old, new) = (Pair::new("k1"), Pair::new("k2"));
    let world = World::new(&[&old], |_| {}).await;
    world.says(|it| it.keys = set(&[&old, &new]));
    assert!(world.is_good(&world.token(&new)).await, "it was looked for");
    assert_eq!(world.key_sets(), 2);
    let mut flood = JoinSet::new();
    for number in 0..500 {
        let mut claims = world.claims();
        claims["sub"] = json!(format!("agent-{number}"));
        let (issuers, strange) = (world.issuers.clone(), Pair::new("k3"));
        flood.spawn(async move { issuers.read(&strange.sign(&claims)).await });
    }
    assert!(flood.join_all().await.iter().all(Option::is_none));
    assert_eq!(world.key_sets(), 2);
    world.clock.advance(Duration::from_secs(30));
    let mut flood = JoinSet::new();
    for _ in 0..50 {
        let (issuers, token) = (world.issuers.clone(), world.token(&Pair::new("k3")));
        flood.spawn(async move { issuers.read(&token).await });
    }
    assert!(flood.join_all().await.iter().all(Option::is_none));
    assert_eq!(world.key_sets(), 3);
    assert!(world.is_good(&world.token(&old)).await);
    assert_eq!(world.metrics.issuers().tokens(DOMAIN, "unknown_key"), 550);
}

#[tokio::test]
async fn a_withdrawn_key_is_no_longer_good_when_the_set_was_fetched_again() {
    let (old, new) = (Pair::new("k1"), Pair::new("k2"));
    let world = World::new(&[&old], |_| {}).await;
    let token = world.token(&old);
    assert!(world.is_good(&token).await);
    world.says(|it| it.keys = set(&[&new]));
    world.clock.advance(Duration::from_secs(599));
    assert!(world.is_good(&token).await);
    world.clock.advance(Duration::from_secs(1));
    world.asked(2).await;
    assert!(world.is_good(&world.token(&new)).await);
    assert!(!world.is_good(&token).await);
}

#[tokio::test]
async fn keys_are_good_for_a_day_when_the_issuer_is_down() {
    let pair = Pair::new("k1");
    let world = World::new(&[&pair], |_| {}).await;
    world.says(|it| it.status = 503);
    world.clock.advance(10 * MINUTE);
    world.asked(2).await;
    assert_eq!(world.fetches("unreachable"), 1);
    assert!(world.is_good(&world.token(&pair)).await);
    // Nobody waits for who does not answer.
    assert!(!world.is_good(&world.token(&Pair::new("k2"))).await);
    assert_eq!(world.fetches("unreachable"), 1);
    world
        .clock
        .advance(24 * 60 * MINUTE - Duration::from_millis(1));
    world.asked(3).await;
    let late = json!(NOW + 1_000_000);
    let mut claims = world.claims();
    claims["exp"] = late;
    let token = pair.sign(&claims);
    assert!(world.is_good(&token).await);
    world.clock.advance(Duration::from_millis(1));
    assert!(!world.is_good(&token).await);
    world.says(|it| it.status = 200);
    world.clock.advance(MINUTE);
    world.asked(4).await;
    assert!(world.is_good(&token).await);
}

#[tokio::test]
async fn who_asks_waits_five_seconds_and_no_longer() {
    let pair = Pair::new("k1");
    let world = World::new(&[&pair], |_| {}).await;
    world.says(|it| it.status = 0);
    let token = world.token(&Pair::new("k2"));
    let mut waiting = Box::pin(world.issuers.read(&token));
    tokio::select! {
        biased;
        _ = &mut waiting => panic!("answered at once"),
        () = tokio::task::yield_now() => {}
    }
    world.clock.advance(fetch::TIME);
    assert_eq!(waiting.await, None);
    world.asked(2).await;
    assert_eq!(world.fetches("unreachable"), 1);
    assert_eq!(world.issuers.read(&token).await, None);
    assert!(world.is_good(&world.token(&pair)).await);
}

type Change<'a> = &'a dyn Fn(&mut Says);

#[tokio::test]
async fn an_answer_that_is_not_what_it_should_be_is_not_taken() {
    let pair = Pair::new("k1");
    let many: Vec<Value> = (0..101).map(|_| pair.jwk()).collect();
    let changes: [(&str, Change<'_>); 9] = [
        ("malformed", &|it| {
            it.configuration["issuer"] = json!("https://evil.test")
        }),
        ("malformed", &|it| it.configuration = json!({"issuer": 1})),
        ("malformed", &|it| {
            it.configuration["jwks_uri"] = json!("x".repeat(3_000))
        }),
        ("unreachable", &|it| {
            it.configuration["jwks_uri"] = json!("http://issuer.test/jwks")
        }),
        ("malformed", &|it| it.keys = json!([])),
        ("malformed", &|it| it.keys = json!({"keys": many})),
        ("unreachable", &|it| {
            it.keys = json!({"keys": [], "x": "x".repeat(1 << 20)})
        }),
        ("unreachable", &|it| it.status = 302),
        ("unreachable", &|it| it.status = 404),
    ];
    for (outcome, change) in changes {
        let world = World::new(&[&pair], change).await;
        assert_eq!((world.fetches(outcome), world.fetches("fetched")), (1, 0));
        assert!(!world.is_good(&world.token(&pair)).await);
    }
    // A hundred is not too many, and one broken key does not break the others.
    let mut most: Vec<Value> = (0..98).map(|_| json!({"kty": "oct", "k": "x"})).collect();
    most.extend([json!(7), pair.jwk()]);
    let world = World::new(&[&pair], |it| it.keys = json!({"keys": most})).await;
    assert!(world.is_good(&world.token(&pair)).await);
}
