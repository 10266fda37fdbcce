use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Mutex;

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose as Usage, IsCa, Issuer, KeyPair,
};
use rustls::RootCertStore;

use super::*;
use crate::clock::TestClock;
use crate::net::{Asked, DnsFault, MailExchange, Records, Resolver};
use crate::protocol::signature::attach;
use crate::protocol::{Limits, Profile, Signer, Timestamp};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const P256: &str = include_str!("../../protocol/signature/tests/p256.pem");
const RSA: &str = include_str!("../../protocol/signature/tests/rsa2048.pem");
const RSA_1024: &str = include_str!("../../protocol/signature/tests/rsa1024.pub");
const LONG: Duration = Duration::from_secs(4);
const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 99));

/// What TXT records a name has; a name that is not here fails.
#[derive(Clone, Default)]
struct Names {
    texts: Arc<Mutex<HashMap<String, Vec<String>>>>,
    asked: Arc<Mutex<Vec<String>>>,
    silent: Arc<Mutex<bool>>,
}

impl Resolver for Names {
    fn txt<'a>(&'a self, name: &'a str) -> Asked<'a, String> {
        self.asked.lock().unwrap().push(name.to_owned());
        let found = self.texts.lock().unwrap().get(name).cloned();
        let silent = *self.silent.lock().unwrap();
        Box::pin(async move {
            if silent {
                std::future::pending::<()>().await;
            }
            match found {
                None => Err(DnsFault::Failed("SERVFAIL".to_owned())),
                Some(records) if records.is_empty() => Err(DnsFault::Nothing { ttl: None }),
                Some(records) => Ok(Records {
                    records,
                    ttl: Duration::from_secs(3_600),
                }),
            }
        })
    }

    fn mx<'a>(&'a self, _name: &'a str) -> Asked<'a, MailExchange> {
        Box::pin(async { Err(DnsFault::Nothing { ttl: None }) })
    }

    fn addresses<'a>(&'a self, _host: &'a str) -> Asked<'a, IpAddr> {
        Box::pin(async {
            Ok(Records {
                records: vec![GATEWAY],
                ttl: Duration::from_secs(60),
            })
        })
    }
}

struct Bench {
    names: Names,
    clock: Arc<TestClock>,
    check: SenderCheck,
    metrics: Metrics,
}

impl Bench {
    fn new() -> Self {
        Self::believing(ClientChains::none())
    }

    fn believing(chains: ClientChains) -> Self {
        let (names, metrics, test) = (Names::default(), Metrics::new(), TestClock::at(NOW));
        let clock = Clock::over(test.clone());
        let discovery = Discovery::new(Arc::new(names.clone()), clock.clone(), metrics.clone());
        let bench = Self {
            check: SenderCheck::new(discovery, chains, clock, metrics.clone()),
            names,
            clock: test,
            metrics,
        };
        bench.publish("_amtp.a.test", &["v=amtp1;gateway=https://g.a.test"]);
        bench
    }

    fn publish(&self, name: &str, records: &[&str]) {
        let records = records.iter().map(|&record| record.to_owned()).collect();
        self.names
            .texts
            .lock()
            .unwrap()
            .insert(name.to_owned(), records);
    }

    fn publish_key(&self, signer: &Signer) {
        self.publish("k1._amtpkey.a.test", &[&signer.record().to_string()]);
    }

    /// Which names were asked for since the last call.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.names.asked.lock().unwrap())
    }

    async fn verify(&self, body: &str, remote: IpAddr) -> Verification {
        self.verify_with(body, remote, &[]).await
    }

    async fn verify_with(
        &self,
        body: &str,
        remote: IpAddr,
        certificates: &[CertificateDer<'static>],
    ) -> Verification {
        let body = Bytes::from(body.to_owned());
        let message = Message::parse(body, Profile::Relay, &Limits::default()).unwrap();
        let whence = Whence {
            remote: Some(remote),
            certificates,
        };
        let until = Clock::over(self.clock.clone()).monotonic() + LONG;
        self.check.verify(&message, whence, until).await
    }

    async fn result(&self, body: &str) -> VerificationResult {
        self.verify(body, STRANGER).await.result
    }
}

fn signer(pem: &str) -> Signer {
    Signer::read(Selector::parse("k1").unwrap(), pem).unwrap()
}

fn body() -> String {
    format!(
        r#"{{"version":"1.0","message_id":"01987654-3210-7654-8765-432198765432","idempotency_key":"01234567-89ab-4cde-8123-456789abcdef","timestamp":"{NOW}","sender":"alice@a.test","recipients":["bob@b.test"],"payload":{{"total":1.5}},"x-unknown":[1]}}"#
    )
}

fn signed(signer: &Signer, body: &str) -> String {
    let canonical = signature::canonical(body.as_bytes()).unwrap();
    let signature = signer.sign(&canonical).unwrap().to_json();
    String::from_utf8(attach(body.as_bytes(), &signature)).unwrap()
}

#[tokio::test]
async fn a_signature_of_the_senders_domain_verifies() {
    for (pem, algorithm) in [(P256, "ES256"), (RSA, "RS256")] {
        let bench = Bench::new();
        let signer = signer(pem);
        bench.publish_key(&signer);
        let found = bench.verify(&signed(&signer, &body()), STRANGER).await;
        assert_eq!(found.result, VerificationResult::Verified);
        assert_eq!(found.method, "domain_signature");
        assert_eq!(found.domain, "a.test");
        assert_eq!(found.keyid.as_deref(), Some("k1"));
        assert_eq!(found.algorithm.as_deref(), Some(algorithm));
        assert_eq!(bench.asked(), ["k1._amtpkey.a.test"]);
        let line = r#"amtp_sender_verifications_total{result="verified"} 1"#;
        assert!(bench.metrics.encode().contains(line));
    }
}

#[tokio::test]
async fn a_signature_that_does_not_hold_is_invalid_wherever_it_comes_from() {
    let bench = Bench::new();
    let signer = signer(P256);
    bench.publish_key(&signer);
    let good = signed(&signer, &body());
    for (from, to) in [
        ("1.5", "1.6"),
        ("[1]", "[2]"),
        ("\"x-unknown\":[1],", ""),
        ("bob@b.test", "eve@b.test"),
        ("ES256", "RS256"),
        ("ES256", "none"),
        ("\"k1\"", "\"K1\""),
        ("\"k1\"", "\"k1.evil.test\""),
        ("\"keyid\":", "\"x\":1,\"keyid\":"),
        ("\"version\":\"1.0\",", ""),
        ("1.5", "9007199254740993"),
        ("1.5", "1e400"),
    ] {
        assert!(good.contains(from), "{from}");
        let forged = good.replacen(from, to, 1);
        let found = bench.verify(&forged, GATEWAY).await;
        assert_eq!(found.result, VerificationResult::Invalid, "{from} => {to}");
        assert_eq!(found.trust(), crate::envelope::Trust::Unverified);
    }
    bench
        .clock
        .advance(signature::OLDEST + Duration::from_secs(1));
    assert_eq!(bench.result(&good).await, VerificationResult::Invalid);
}

#[tokio::test]
async fn a_large_body_is_no_exception() {
    let bench = Bench::new();
    let signer = signer(P256);
    bench.publish_key(&signer);
    let large = body().replace("1.5", &format!("\"{}\"", "x".repeat(1_000_000)));
    let good = signed(&signer, &large);
    assert_eq!(bench.result(&good).await, VerificationResult::Verified);
    let forged = good.replace("xx\"", "xy\"");
    assert_eq!(bench.result(&forged).await, VerificationResult::Invalid);
}

#[tokio::test]
async fn what_cannot_be_a_signature_asks_nobody() {
    let bench = Bench::new();
    let good = signed(&signer(P256), &body());
    for (from, to) in [
        ("\"k1\"", "\"K1\""),
        ("\"k1\"", "\"a.b\""),
        ("ES256", "none"),
        ("\"keyid\":\"k1\",", ""),
        ("\"timestamp\"", "\"time\""),
    ] {
        let found = bench.result(&good.replacen(from, to, 1)).await;
        assert_eq!(found, VerificationResult::Invalid, "{to}");
    }
    assert_eq!(bench.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn exactly_one_key_counts_and_it_is_the_algorithms() {
    let (es, rs) = (signer(P256), signer(RSA));
    let records = [es.record().to_string(), rs.record().to_string()];
    let small = format!("v=amtpkey1;alg=RS256;p={RSA_1024}");
    let table: [(&[&str], VerificationResult); 7] = [
        (&[&records[0]], VerificationResult::Verified),
        (&[&records[0], "v=spf1 -all"], VerificationResult::Verified),
        (&[&records[0], &records[1]], VerificationResult::Invalid),
        (&[&records[1]], VerificationResult::Invalid),
        (&[&small], VerificationResult::Invalid),
        (&["v=spf1 -all"], VerificationResult::KeyUnavailable),
        (&[], VerificationResult::KeyUnavailable),
    ];
    for (records, expected) in table {
        let bench = Bench::new();
        bench.publish("k1._amtpkey.a.test", records);
        let found = bench.result(&signed(&es, &body())).await;
        assert_eq!(found, expected, "{records:?}");
    }
}

#[tokio::test]
async fn a_dns_that_fails_or_is_slow_makes_the_key_unavailable() {
    let bench = Bench::new();
    let signer = signer(P256);
    let good = signed(&signer, &body());
    let found = bench.verify(&good, GATEWAY).await;
    assert_eq!(found.result, VerificationResult::KeyUnavailable);
    assert_eq!(found.keyid.as_deref(), Some("k1"));
    // The failure is remembered for a while, then the key is found.
    bench.publish_key(&signer);
    assert_eq!(
        bench.result(&good).await,
        VerificationResult::KeyUnavailable
    );
    bench.clock.advance(Duration::from_secs(5));
    assert_eq!(bench.result(&good).await, VerificationResult::Verified);
    // A withdrawn key counts for 5 minutes at most, and never as stale.
    bench
        .names
        .texts
        .lock()
        .unwrap()
        .remove("k1._amtpkey.a.test");
    bench.clock.advance(Duration::from_secs(299));
    assert_eq!(bench.result(&good).await, VerificationResult::Verified);
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(
        bench.result(&good).await,
        VerificationResult::KeyUnavailable
    );
    bench.clock.advance(Duration::from_secs(5));
    *bench.names.silent.lock().unwrap() = true;
    let slow = bench.result(&good);
    let late = async {
        tokio::task::yield_now().await;
        bench.clock.advance(LONG);
    };
    let (found, ()) = tokio::join!(slow, late);
    assert_eq!(found, VerificationResult::KeyUnavailable);
}

#[tokio::test]
async fn a_key_that_comes_late_is_found_within_half_a_minute() {
    let bench = Bench::new();
    let signer = signer(P256);
    let good = signed(&signer, &body());
    bench.publish("k1._amtpkey.a.test", &[]);
    assert_eq!(
        bench.result(&good).await,
        VerificationResult::KeyUnavailable
    );
    bench.publish_key(&signer);
    bench.clock.advance(Duration::from_secs(29));
    assert_eq!(
        bench.result(&good).await,
        VerificationResult::KeyUnavailable
    );
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(bench.result(&good).await, VerificationResult::Verified);
    assert_eq!(bench.asked().len(), 2);
}

#[tokio::test]
async fn one_question_serves_all_who_wait_for_a_key() {
    let bench = Bench::new();
    let signer = signer(P256);
    bench.publish_key(&signer);
    let good = signed(&signer, &body());
    let many = (0..20).map(|_| bench.result(&good));
    let mut results = Vec::new();
    let mut running: Vec<_> = many.map(Box::pin).collect();
    std::future::poll_fn(|context| {
        running.retain_mut(|one| match one.as_mut().poll(context) {
            std::task::Poll::Ready(result) => {
                results.push(result);
                false
            }
            std::task::Poll::Pending => true,
        });
        match running.is_empty() {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    assert_eq!(results, [VerificationResult::Verified; 20]);
    assert_eq!(bench.asked(), ["k1._amtpkey.a.test"]);
}

#[tokio::test]
async fn a_stranger_makes_us_ask_for_few_keys() {
    let bench = Bench::new();
    let good = signed(&signer(P256), &body());
    for n in 0..50 {
        let other = good.replacen("\"k1\"", &format!("\"k{n}\""), 1);
        bench.result(&other).await;
    }
    assert_eq!(bench.asked().len(), 5);
}

#[tokio::test]
async fn without_a_signature_the_address_counts() {
    let bench = Bench::new();
    let found = bench.verify(&body(), GATEWAY).await;
    assert_eq!(found.result, VerificationResult::SourceAddress);
    assert_eq!(bench.result(&body()).await, VerificationResult::Unsigned);
    for nothing in ["null", "\"\""] {
        let none = body().replacen('{', &format!("{{\"signature\":{nothing},"), 1);
        assert_eq!(bench.result(&none).await, VerificationResult::Unsigned);
    }
}

/// An authority, and chains it issues.
struct Authority(Issuer<'static, KeyPair>, CertificateDer<'static>);

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let own = params.self_signed(&key).unwrap().der().clone();
        Self(Issuer::new(params, key), own)
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.1.clone()).unwrap();
        roots
    }

    fn issue(&self, name: &str, usage: Usage) -> Vec<CertificateDer<'static>> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2027, 6, 1);
        params.extended_key_usages = vec![usage];
        vec![params.signed_by(&key, &self.0).unwrap().der().clone()]
    }
}

#[tokio::test]
async fn a_certificate_of_the_domain_or_its_gateway_counts() {
    let (clients, servers, other) = (Authority::new(), Authority::new(), Authority::new());
    let chains = ClientChains::new(clients.roots(), servers.roots());
    let bench = Bench::believing(chains);
    use Usage::{ClientAuth, ServerAuth};
    let table = [
        (&clients, "a.test", ClientAuth, true),
        (&clients, "g.a.test", ClientAuth, true),
        (&clients, "c.test", ClientAuth, false),
        (&clients, "a.test", ServerAuth, false),
        (&servers, "g.a.test", ServerAuth, true),
        (&servers, "*.a.test", ServerAuth, true),
        // Only an authority for clients speaks for the domain itself.
        (&servers, "a.test", ServerAuth, false),
        (&servers, "g.c.test", ServerAuth, false),
        (&servers, "g.a.test", ClientAuth, false),
        (&other, "a.test", ClientAuth, false),
        (&other, "g.a.test", ServerAuth, false),
    ];
    for (authority, name, usage, good) in table {
        let chain = authority.issue(name, usage.clone());
        let found = bench.verify_with(&body(), STRANGER, &chain).await;
        let expected = match good {
            true => (VerificationResult::Verified, "client_certificate"),
            false => (VerificationResult::Unsigned, "none"),
        };
        assert_eq!(
            (found.result, found.method.as_str()),
            expected,
            "{name} {usage:?}"
        );
        // It does not make up for a signature that does not hold.
        let forged = signed(&signer(P256), &body()).replace("1.5", "1.6");
        bench.publish_key(&signer(P256));
        let found = bench.verify_with(&forged, STRANGER, &chain).await;
        assert_eq!(found.result, VerificationResult::Invalid);
    }
    let junk = [CertificateDer::from(b"junk".to_vec())];
    let found = bench.verify_with(&body(), GATEWAY, &junk).await;
    assert_eq!(found.result, VerificationResult::SourceAddress);
}

#[tokio::test]
async fn an_ended_certificate_does_not_count() {
    let clients = Authority::new();
    let bench = Bench::believing(ClientChains::new(clients.roots(), RootCertStore::empty()));
    let chain = clients.issue("a.test", Usage::ClientAuth);
    let found = bench.verify_with(&body(), STRANGER, &chain).await;
    assert_eq!(found.method, "client_certificate");
    bench.clock.advance(Duration::from_secs(200 * 86_400));
    let found = bench.verify_with(&body(), STRANGER, &chain).await;
    assert_eq!(found.result, VerificationResult::Unsigned);
}
