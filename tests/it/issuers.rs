//! Credentials that others issue: tokens of an issuer that runs, and client certificates of agents.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use amtpd::clock::Clock;
use amtpd::net::{
    AddressFilter, AnswerLimits, Asked, GuardOptions, GuardedClient, MailExchange, Plain, Records,
    Resolver, Times, TlsVersions,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, StatusCode};
use rcgen::SanType;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use rsa::pkcs8::DecodePrivateKey as _;
use rsa::traits::PublicKeyParts as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::support::behaviour::Behaviour;
use crate::support::dns::DnsServer;
use crate::support::pki::{Ca, Issued, Versions, server_config};
use crate::support::server::Server;
use crate::support::{Agent, DOMAIN, Daemon, eventually_so};

const HOST: &str = "issuer.test";
const RSA_2048: &str = include_str!("../../src/protocol/signature/tests/rsa2048.pem");
/// What stands before a SHA-256 in a signature of PKCS #1.
const SHA256: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05,
    0x00, 0x04, 0x20,
];

/// A key of the issuer.
enum Key {
    Ec(&'static str, Box<EcdsaKeyPair>),
    Rsa(&'static str, Box<rsa::RsaPrivateKey>),
}

fn text(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Key {
    fn ec(id: &'static str) -> Self {
        let (random, algorithm) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
        let private = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, private.as_ref(), &random);
        Self::Ec(id, Box::new(pair.unwrap()))
    }

    fn jwk(&self) -> Value {
        match self {
            Self::Ec(id, pair) => {
                let point = pair.public_key().as_ref();
                let (x, y) = (text(&point[1..33]), text(&point[33..]));
                json!({"kty": "EC", "crv": "P-256", "kid": id, "use": "sig", "x": x, "y": y})
            }
            Self::Rsa(id, key) => {
                let (n, e) = (key.n().to_bytes_be(), key.e().to_bytes_be());
                json!({"kty": "RSA", "kid": id, "n": text(n), "e": text(e)})
            }
        }
    }

    fn sign(&self, claims: &Value) -> String {
        let (id, algorithm) = match self {
            Self::Ec(id, _) => (id, "ES256"),
            Self::Rsa(id, _) => (id, "RS256"),
        };
        let signed = signed_part(&json!({"alg": algorithm, "kid": id}), claims);
        let signature = match self {
            Self::Ec(_, pair) => {
                let signature = pair.sign(&SystemRandom::new(), signed.as_bytes());
                signature.unwrap().as_ref().to_vec()
            }
            Self::Rsa(_, key) => {
                let digest = ring::digest::digest(&ring::digest::SHA256, signed.as_bytes());
                let scheme = rsa::Pkcs1v15Sign {
                    hash_len: Some(32),
                    prefix: SHA256.into(),
                };
                key.sign(scheme, digest.as_ref()).unwrap()
            }
        };
        format!("{signed}.{}", text(signature))
    }
}

fn signed_part(header: &Value, claims: &Value) -> String {
    format!("{}.{}", text(header.to_string()), text(claims.to_string()))
}

fn now() -> i64 {
    Clock::system().now().as_millis() / 1_000
}

/// An issuer, and a gateway that believes it.
struct World {
    server: Server,
    _dns: DnsServer,
    _folder: TempDir,
    daemon: Daemon,
    name: String,
}

impl World {
    async fn new(keys: &[&Key]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ca = Ca::new(folder.path());
        let issued = ca.issue(&[HOST], folder.path());
        let tls = server_config(&issued, Versions::Tls12);
        let usual = Behaviour::error(503, "later");
        let server = Server::start("127.0.0.1:0".parse().unwrap(), Some(tls), usual);
        let dns = DnsServer::start();
        dns.set_a(HOST, "127.0.0.1".parse().unwrap());
        let name = format!("https://{HOST}:{}", server.address().port());
        let issuers = json!({ HOST: {
            "issuer": name, "audience": ["amtp"], "role_claim": "groups",
            "admin": ["root"], "operator": ["ops"], "auditor": ["audit"],
        }});
        let servers = format!("[\"{}\"]", dns.address());
        let variables = [
            ("AMTPD__AUTH__ISSUERS", issuers.to_string()),
            ("AMTPD__NET__ALLOW__OIDC", "[127.0.0.0/8]".to_owned()),
            ("AMTPD__TLS__TRUSTED_CA_FILE", shown(ca.pem_path())),
            ("AMTPD__DNS__SERVERS", servers),
        ];
        let variables: Vec<(&str, &str)> = variables
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let mut world = Self {
            server,
            _dns: dns,
            _folder: folder,
            daemon: Daemon::prepare(&variables),
            name,
        };
        world.publish(keys);
        world.daemon.run().await;
        world
    }

    /// One document that is both the issuer's configuration and its key set.
    fn publish(&self, keys: &[&Key]) {
        let keys: Vec<Value> = keys.iter().map(|key| key.jwk()).collect();
        let (issuer, uri) = (&self.name, format!("{}/jwks.json", self.name));
        let document = json!({"issuer": issuer, "jwks_uri": uri, "keys": keys});
        self.server.always(Behaviour::json(200, &document));
    }

    fn claims(&self, subject: &str) -> Value {
        json!({"iss": self.name, "sub": subject, "aud": "amtp", "iat": now(), "exp": now() + 600})
    }

    fn key_sets(&self) -> usize {
        let seen = self.server.requests();
        seen.iter().filter(|it| it.path == "/jwks.json").count()
    }

    /// What a token may read of what it sent and got; 401 says that it stands for nobody.
    async fn sent(&self, token: &str) -> (StatusCode, Value) {
        let asked = self
            .daemon
            .call(Method::GET, "/v1/messages", Some(token), None);
        asked.await
    }

    async fn inbox(&self, agent: &Agent, token: &str) -> (StatusCode, Value) {
        let path = format!("/v1/inbox/{}", agent.address);
        self.daemon
            .call(Method::GET, &path, Some(token), None)
            .await
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn with(mut claims: Value, member: &str, value: Value) -> Value {
    claims[member] = value;
    claims
}

/// An answer without what differs in each.
fn told(answer: &Value) -> Value {
    let error = &answer["error"];
    json!([error["code"], error["message"], error["details"]])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_an_issuer_stands_for_its_agent_and_a_wrong_one_for_nobody() {
    let key = Key::ec("k1");
    let rsa = rsa::RsaPrivateKey::from_pkcs8_pem(RSA_2048).unwrap();
    let rsa = Key::Rsa("r1", Box::new(rsa));
    let weak = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 1_024).unwrap();
    let weak = Key::Rsa("w1", Box::new(weak));
    let world = World::new(&[&key, &rsa, &weak]).await;
    let (alice, bob) = (
        world.daemon.agent("alice").await,
        world.daemon.agent("bob").await,
    );
    let good = key.sign(&world.claims("alice"));
    for token in [&good, &rsa.sign(&world.claims(&alice.address))] {
        let (status, answer) = world.inbox(&alice, token).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let (status, _) = world.inbox(&bob, token).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
    }
    let less = key.sign(&with(world.claims("alice"), "scope", json!("openid send")));
    for (sender, expected) in [
        (&alice, StatusCode::ACCEPTED),
        (&bob, StatusCode::FORBIDDEN),
    ] {
        let body = json!({"sender": sender.address, "recipients": [bob.address], "payload": 1});
        let sent = world
            .daemon
            .call(Method::POST, "/v1/messages", Some(&less), Some(body));
        assert_eq!(sent.await.0, expected);
    }
    assert_eq!(world.inbox(&alice, &less).await.0, StatusCode::FORBIDDEN);

    let claims = || world.claims("alice");
    let by_secret = {
        let signed = signed_part(&json!({"alg": "HS256", "kid": "r1"}), &claims());
        let Key::Rsa(_, rsa) = &rsa else {
            unreachable!()
        };
        let secret = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &rsa.n().to_bytes_be());
        let tag = ring::hmac::sign(&secret, signed.as_bytes());
        format!("{signed}.{}", text(tag))
    };
    let unsigned = signed_part(&json!({"alg": "none", "kid": "k1"}), &claims()) + ".";
    let mut answers = Vec::new();
    for (token, why) in [
        (
            key.sign(&with(claims(), "exp", json!(now() - 61))),
            "expired",
        ),
        (
            key.sign(&with(claims(), "nbf", json!(now() + 120))),
            "not yet valid",
        ),
        (
            key.sign(&with(claims(), "aud", json!("other"))),
            "foreign audience",
        ),
        (
            key.sign(&with(claims(), "iss", json!("https://issuer.test"))),
            "foreign issuer",
        ),
        (unsigned, "alg none"),
        (by_secret, "HS256 with the public key"),
        (weak.sign(&claims()), "RS256 of 1024 bits"),
        (Key::ec("k1").sign(&claims()), "another's key"),
        (
            key.sign(&world.claims("nobody")),
            "an agent that is not there",
        ),
        (key.sign(&world.claims("alice@elsewhere.test")), "not ours"),
    ] {
        let (status, answer) = world.sent(&token).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{why}: {answer}");
        answers.push(told(&answer));
    }
    assert!(
        answers.iter().all(|answer| *answer == answers[0]),
        "{answers:?}"
    );
    assert_eq!(world.inbox(&alice, &good).await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_is_found_and_a_flood_of_unknown_ones_asks_for_nothing() {
    let (old, new) = (Key::ec("k1"), Key::ec("k2"));
    let world = World::new(&[&old]).await;
    let alice = world.daemon.agent("alice").await;
    let token = old.sign(&world.claims("alice"));
    assert_eq!(world.inbox(&alice, &token).await.0, StatusCode::OK);
    assert_eq!(world.key_sets(), 1);
    world.publish(&[&old, &new]);
    let fresh = new.sign(&world.claims("alice"));
    assert_eq!(world.inbox(&alice, &fresh).await.0, StatusCode::OK);
    assert_eq!(world.key_sets(), 2);

    let mut flood = JoinSet::new();
    for number in 0..60 {
        let claims = world.claims(&format!("alice-{number}"));
        let caller = world.daemon.caller();
        flood.spawn(async move {
            let token = Key::ec("k3").sign(&claims);
            let asked = caller.ask(Method::GET, "/v1/messages", Some(&token), None);
            let answer = asked.await;
            answer.unwrap().status()
        });
    }
    for status in flood.join_all().await {
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(world.key_sets(), 2);

    // What is known stays good while the issuer is down.
    world.server.always(Behaviour::Hang);
    for token in [&token, &fresh, &new.sign(&world.claims(&alice.address))] {
        assert_eq!(world.inbox(&alice, token).await.0, StatusCode::OK);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_never_answers_holds_nobody_up_for_long() {
    let key = Key::ec("k1");
    let mut world = World::new(&[&key]).await;
    let alice = world.daemon.agent("alice").await;
    world.daemon.kill();
    world.server.always(Behaviour::Hang);
    world.daemon.run().await;
    let token = key.sign(&world.claims("alice"));
    let clock = Clock::system();
    let begun = clock.monotonic();
    assert_eq!(world.sent(&token).await.0, StatusCode::UNAUTHORIZED);
    assert!(clock.monotonic() - begun < Duration::from_secs(7));
    let begun = clock.monotonic();
    assert_eq!(world.sent(&token).await.0, StatusCode::UNAUTHORIZED);
    assert!(clock.monotonic() - begun < Duration::from_secs(2));
    // Keys of our own do not need it.
    assert_eq!(world.inbox(&alice, &alice.key).await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_of_roles_makes_staff_that_the_audit_log_names() {
    let key = Key::ec("k1");
    let world = World::new(&[&key]).await;
    let token = |groups: Value| key.sign(&with(world.claims("carol"), "groups", groups));
    let form = || Some(json!({"name": "dave", "role": "auditor"}));
    for (groups, read, manage) in [
        (
            json!(["users"]),
            StatusCode::FORBIDDEN,
            StatusCode::FORBIDDEN,
        ),
        (json!(["audit"]), StatusCode::OK, StatusCode::FORBIDDEN),
        (json!("ops"), StatusCode::OK, StatusCode::FORBIDDEN),
        (
            json!(["audit", "root"]),
            StatusCode::OK,
            StatusCode::CREATED,
        ),
    ] {
        let token = token(groups.clone());
        let call = async |method, path, form| {
            let called = world.daemon.call(method, path, Some(&token), form);
            called.await.0
        };
        assert_eq!(
            call(Method::GET, "/v1/admin/agents", None).await,
            read,
            "{groups}"
        );
        assert_eq!(
            call(Method::POST, "/v1/admin/staff", form()).await,
            manage,
            "{groups}"
        );
    }
    let actor = format!("staff:{}#carol", world.name);
    eventually_so(
        "it stands in the audit log",
        Duration::from_secs(10),
        async || {
            let path = "/v1/admin/audit";
            let (_, log) = world.daemon.admin(Method::GET, path, None).await;
            let mut entries = log["entries"].as_array().unwrap().iter();
            let done =
                |entry: &Value| entry["actor"] == actor.as_str() && entry["outcome"] == "done";
            entries.any(|it| done(&it["entry"])).then_some(())
        },
    )
    .await;
}

/// Every host is this machine.
struct Here;

impl Resolver for Here {
    fn txt<'a>(&'a self, _name: &'a str) -> Asked<'a, String> {
        unreachable!("only addresses are asked for")
    }

    fn mx<'a>(&'a self, _name: &'a str) -> Asked<'a, MailExchange> {
        unreachable!("only addresses are asked for")
    }

    fn addresses<'a>(&'a self, _host: &'a str) -> Asked<'a, IpAddr> {
        Box::pin(async {
            Ok(Records {
                records: vec!["127.0.0.1".parse().unwrap()],
                ttl: Duration::from_secs(60),
            })
        })
    }
}

/// No header.
const NONE: (&str, &str) = ("", "");

/// A client that shows a certificate.
struct Shower {
    client: GuardedClient,
    port: u16,
}

impl Shower {
    fn new(daemon: &Daemon, issued: &Issued) -> Self {
        let client = GuardedClient::new(GuardOptions {
            resolver: Arc::new(Here),
            filter: AddressFilter::any(),
            trusted_ca_files: vec![daemon.config().with_file_name("tls").join("cert.pem")],
            client_identity: Some((issued.certificate.clone(), issued.key.clone())),
            tls: TlsVersions::Only13,
            plain: Plain::Refused,
            times: Times::default(),
            clock: Clock::system(),
        });
        Self {
            client: client.unwrap(),
            port: daemon.port(),
        }
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        (header, value): (&str, &str),
        body: &Value,
    ) -> StatusCode {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("https://localhost:{}{path}", self.port))
            .header("content-type", "application/json");
        if !header.is_empty() {
            request = request.header(header, value);
        }
        let body = Full::new(Bytes::from(body.to_string()));
        let limits = AnswerLimits {
            size: 1 << 20,
            time: Duration::from_secs(10),
        };
        let answer = self.client.send(request.body(body).unwrap(), limits).await;
        answer.unwrap().status
    }

    /// 401 says that the request stands for nobody.
    async fn sent(&self, header: (&str, &str)) -> StatusCode {
        let asked = self.call(Method::GET, "/v1/messages", header, &Value::Null);
        asked.await
    }

    async fn inbox(&self, agent: &Agent, header: (&str, &str)) -> StatusCode {
        let path = format!("/v1/inbox/{}", agent.address);
        self.call(Method::GET, &path, header, &Value::Null).await
    }
}

/// A gateway that believes an authority of clients, and two agents.
struct Certified {
    folder: TempDir,
    ca: Ca,
    daemon: Daemon,
    alice: Agent,
    bob: Agent,
}

impl Certified {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ca = Ca::new(folder.path());
        let believed = shown(ca.pem_path());
        let daemon = Daemon::start(&[
            ("AMTPD__TLS__CLIENT_CA_FILE", &believed),
            ("AMTPD__LISTEN__TRUSTED_PROXIES", "[127.0.0.1]"),
        ])
        .await;
        Self {
            folder,
            ca,
            alice: daemon.agent("alice").await,
            bob: daemon.agent("bob").await,
            daemon,
        }
    }

    fn showing(&self, issued: &Issued) -> Shower {
        Shower::new(&self.daemon, issued)
    }

    /// Somebody with a good certificate of this name.
    fn named(&self, name: SanType) -> Shower {
        self.showing(&self.ca.issue_client(&[name], self.folder.path()))
    }
}

fn mail(address: &str) -> SanType {
    SanType::Rfc822Name(address.try_into().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_is_its_agents_credential_and_nobody_elses() {
    let world = Certified::new().await;
    let (alice, bob, folder) = (&world.alice, &world.bob, world.folder.path());
    let uri = SanType::URI(format!("amtp:alice@{DOMAIN}").try_into().unwrap());
    for name in [mail(&alice.address), uri] {
        let shower = world.named(name.clone());
        for (sender, expected) in [(alice, StatusCode::ACCEPTED), (bob, StatusCode::FORBIDDEN)] {
            let body = json!({"sender": sender.address, "recipients": [bob.address], "payload": 1});
            let sent = shower.call(Method::POST, "/v1/messages", NONE, &body);
            assert_eq!(sent.await, expected, "{name:?}");
        }
        assert_eq!(shower.inbox(alice, NONE).await, StatusCode::OK);
        assert_eq!(shower.inbox(bob, NONE).await, StatusCode::FORBIDDEN);
    }
    let other = Ca::other(folder).issue_client(&[mail(&alice.address)], folder);
    for (shower, why) in [
        (world.showing(&other), "another authority"),
        (
            world.named(mail(&format!("nobody@{DOMAIN}"))),
            "no such agent",
        ),
        (world.named(mail("alice@elsewhere.test")), "not ours"),
        (
            world.showing(&world.ca.issue(&["localhost"], folder)),
            "a server's",
        ),
    ] {
        assert_eq!(shower.sent(NONE).await, StatusCode::UNAUTHORIZED, "{why}");
    }
    let shower = world.named(mail(&alice.address));
    assert_eq!(shower.sent(NONE).await, StatusCode::OK);
    let path = format!("/v1/admin/agents/{}", alice.address);
    let form = Some(json!({"active": false}));
    let (status, answer) = world.daemon.admin(Method::PATCH, &path, form).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(shower.sent(NONE).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_counts_only_where_nothing_else_is_shown_and_no_proxy_named_the_client() {
    let world = Certified::new().await;
    let shower = world.named(mail(&world.alice.address));
    let bearer = format!("Bearer {}", world.bob.key);
    let key = ("authorization", bearer.as_str());
    assert_eq!(shower.inbox(&world.bob, key).await, StatusCode::OK);
    assert_eq!(shower.inbox(&world.alice, key).await, StatusCode::FORBIDDEN);
    for header in [
        ("authorization", "Bearer x"),
        ("authorization", "Bearer eyJ.eyJ.x"),
        ("authorization", "Basic eDp5"),
        ("authorization", ""),
        ("x-admin-key", "x"),
        ("x-forwarded-for", "192.0.2.1"),
        ("forwarded", "for=192.0.2.1"),
    ] {
        assert_eq!(
            shower.sent(header).await,
            StatusCode::UNAUTHORIZED,
            "{header:?}"
        );
    }
    assert_eq!(shower.sent(NONE).await, StatusCode::OK);
}
