//! `amtpd doctor` and `GET /v1/capabilities`: what is seen of a domain through a real DNS server.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;

use crate::support::background::{self, Task};
use crate::support::dns::{DnsServer, mx, txt};
use crate::support::pki::{self, Ca, Issued, Versions};
use crate::support::{DOMAIN, Daemon, amtpd, words};

const LOOPBACK: std::net::IpAddr = std::net::IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A domain's records in a DNS server, the names of its gateway, and who signs for them.
struct World {
    folder: TempDir,
    dns: DnsServer,
    ca: Ca,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ca = Ca::new(folder.path());
        let dns = DnsServer::start();
        dns.set_a("gw.test", LOOPBACK);
        Self { folder, dns, ca }
    }

    fn publish(&self, domain: &str, port: u16) {
        let record = format!(
            "v=amtp1;gateway=https://gw.test:{port};max-size=10485760;\
             features=agent-discovery,multi-recipient,domain-signatures,batch,wait"
        );
        self.dns.set_txt(&format!("_amtp.{domain}"), &[&record]);
    }

    fn doctor(&self, domain: &str) -> Command {
        let mut command = amtpd();
        command
            .args(["doctor", domain, "--json", "--dns"])
            .arg(self.dns.address().to_string())
            .arg("--ca")
            .arg(self.ca.pem_path());
        command
    }

    fn looked(&self, domain: &str, more: &[&str]) -> Looked {
        Looked::of(&self.doctor(domain).args(more).output().unwrap())
    }

    fn certificate(&self, names: &[&str]) -> Issued {
        self.ca.issue(names, self.folder.path())
    }
}

/// What the doctor said.
struct Looked {
    code: i32,
    checks: Vec<Value>,
    words: String,
}

impl Looked {
    fn of(output: &Output) -> Self {
        let words = words(output);
        let report: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|fault| panic!("no report ({fault}): {words}"));
        Self {
            code: output.status.code().unwrap(),
            checks: report["checks"].as_array().unwrap().clone(),
            words,
        }
    }

    /// The checks of a name, each as `result: text -> fix`.
    fn said(&self, name: &str) -> Vec<String> {
        let of_name = self.checks.iter().filter(|check| check["name"] == name);
        let line = |check: &Value| {
            let part = |member: &str| check[member].as_str().unwrap_or_default().to_owned();
            format!("{}: {} -> {}", part("result"), part("text"), part("fix"))
        };
        of_name.map(line).collect()
    }

    /// Some check of a name begins like this and holds these words.
    #[track_caller]
    fn assert(&self, name: &str, result: &str, part: &str) {
        let said = self.said(name);
        let found = said
            .iter()
            .any(|line| line.starts_with(result) && line.contains(part));
        assert!(found, "no {name} {result} {part:?} in {}", self.words);
    }
}

/// A gateway that believes it is `it.test` at `gw.test`.
async fn gateway(world: &World) -> Daemon {
    let issued = world.certificate(&["gw.test", "localhost"]);
    let daemon = Daemon::prepare(&[]);
    let tls = daemon.config().with_file_name("tls");
    let put = |file: &Path, name: &str| std::fs::copy(file, tls.join(name)).unwrap();
    put(&issued.certificate, "cert.pem");
    put(&issued.key, "key.pem");
    let mut daemon = daemon.believing(world.ca.pem_path());
    daemon.run().await;
    daemon
}

/// A TLS server that answers every request alike.
struct Stub {
    port: u16,
    _task: Task,
}

impl Stub {
    fn start(issued: &Issued, versions: Versions, answer: &'static str) -> Self {
        let listener = TcpListener::bind((LOOPBACK, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let listener = background::adopt(listener);
        let mut config = pki::server_config(issued, versions);
        Arc::get_mut(&mut config).unwrap().alpn_protocols = vec![b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(config);
        let serve = async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(tcp).await else {
                    continue;
                };
                let mut request = [0; 4_096];
                if stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                    drop(stream.write_all(answer.as_bytes()).await);
                    drop(stream.shutdown().await);
                }
            }
        };
        Self {
            port,
            _task: background::run(serve),
        }
    }
}

#[tokio::test]
async fn a_domain_in_order_has_no_fault() {
    let world = World::new();
    let daemon = gateway(&world).await;
    world.publish(DOMAIN, daemon.port());
    world
        .dns
        .set_records(DOMAIN, vec![mx(0, "."), txt(&["v=spf1 -all"])]);
    world.dns.set_txt("_dmarc.it.test", &["v=DMARC1; p=reject"]);
    let looked = world.looked(DOMAIN, &["--allow-private"]);
    assert_eq!(looked.code, 0, "{}", looked.words);
    looked.assert("record", "ok", "valid: \"v=amtp1;gateway=https://gw.test:");
    looked.assert("record-ttl", "ok", "60 s");
    looked.assert(
        "address",
        "warning",
        "127.0.0.1, which is not public (loopback)",
    );
    for (name, words) in [
        ("reach", "takes connections"),
        ("tls", "speaks TLS 1.3"),
        ("tls-1.2", "refuses TLS 1.2"),
        ("certificate-chain", "somebody believed"),
        ("certificate-host", "covers gw.test"),
        ("certificate-days", "more days"),
        ("http2", "speaks HTTP/2"),
        ("amtp", "AUTHENTICATION_FAILED"),
        ("health", "200"),
        ("clock", "agrees"),
        ("mx", "null MX"),
        ("spf", "v=spf1 -all"),
        ("dmarc", "p=reject"),
    ] {
        looked.assert(name, "ok", words);
    }
    assert!(looked.said("key").is_empty() && looked.said("dkim").is_empty());

    let people = amtpd()
        .args(["doctor", DOMAIN, "--allow-private", "--dns"])
        .arg(world.dns.address().to_string())
        .arg("--ca")
        .arg(world.ca.pem_path())
        .output()
        .unwrap();
    assert!(people.status.success());
    assert!(
        words(&people).contains("it.test: 0 faults, 1 warning."),
        "{}",
        words(&people)
    );
}

#[tokio::test]
async fn the_record_is_compared_with_the_configuration() {
    let world = World::new();
    let daemon = gateway(&world).await;
    let config = daemon.config().to_str().unwrap().to_owned();
    let compared = |domain: &str, url: &str, size: &str| {
        let output = world
            .doctor(domain)
            .args(["--allow-private", "--config", &config])
            .env("AMTPD__GATEWAY_URL", url)
            .env("AMTPD__LIMITS__MESSAGE_SIZE", size)
            .output();
        Looked::of(&output.unwrap())
    };
    let url = format!("https://gw.test:{}", daemon.port());
    let nothing = compared(DOMAIN, &url, "1MiB");
    assert_eq!(nothing.code, 1);
    nothing.assert(
        "record",
        "fault",
        &format!("gateway={url};max-size=1048576"),
    );
    nothing.assert("amtp", "ok", "AUTHENTICATION_FAILED");

    world.publish(DOMAIN, daemon.port());
    let good = compared(DOMAIN, &url, "10MiB");
    assert_eq!(good.code, 0, "{}", good.words);
    for name in [
        "config-domain",
        "config-gateway",
        "config-size",
        "config-features",
    ] {
        good.assert(name, "ok", "");
    }
    compared(DOMAIN, &url, "1MiB").assert("config-size", "fault", "publish max-size=1048576");
    compared(DOMAIN, "https://other.test", "10MiB").assert(
        "config-gateway",
        "fault",
        "but gateway_url is https://other.test",
    );
    world.publish("foreign.test", daemon.port());
    compared("foreign.test", &url, "10MiB").assert("config-domain", "fault", "not among");
}

#[test]
fn faults_of_the_record_are_told_with_their_remedy() {
    let world = World::new();
    world.publish("none.test", 443);
    world.dns.remove("_amtp.none.test");
    let missing = world.looked("none.test", &[]);
    assert_eq!(missing.code, 1);
    missing.assert(
        "record",
        "fault",
        "has no TXT record -> publish in DNS: _amtp.none.test. 3600 IN TXT",
    );
    missing.assert("reach", "skipped", "no valid record");
    missing.assert("spf", "warning", "v=spf1 -all");

    world
        .dns
        .set_txt("_amtp.old.test", &["v=amtp2;gateway=https://gw.test"]);
    let old = world.looked("old.test", &[]);
    assert_eq!(old.code, 1);
    old.assert("record", "fault", "does not say v=amtp1");

    world
        .dns
        .set_txt("lost.test", &["v=amtp1;gateway=https://gw.test"]);
    world.looked("lost.test", &[]).assert(
        "record",
        "warning",
        "stands at lost.test -> move it to _amtp.lost.test",
    );

    world.dns.fail("_amtp.broken.test");
    let broken = world.looked("broken.test", &[]);
    assert_eq!(broken.code, 1);
    broken.assert("record", "fault", "the DNS does not answer");

    let two = ["v=amtp1;", "gateway=https://nowhere.test"];
    world.dns.set_txt("_amtp.split.test", &two);
    let split = world.looked("split.test", &[]);
    split.assert("record", "warning", "split into 2 strings");
    split.assert("address", "fault", "nowhere.test has no address");
}

#[test]
fn private_addresses_are_named_and_not_connected_to() {
    let world = World::new();
    let listener = TcpListener::bind((LOOPBACK, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    world.publish("inner.test", listener.local_addr().unwrap().port());
    let looked = world.looked("inner.test", &[]);
    assert_eq!(looked.code, 1);
    looked.assert(
        "address",
        "fault",
        "gw.test is 127.0.0.1, which is not public (loopback)",
    );
    assert!(looked.said("reach").is_empty(), "{}", looked.words);
    assert!(listener.accept().is_err(), "somebody came");
}

#[test]
fn certificates_are_judged_and_nobody_is_asked_behind_a_wrong_one() {
    let world = World::new();
    let folder = world.folder.path();
    let stranger = Ca::other(folder).issue(&["gw.test"], folder);
    for (issued, name, said) in [
        (
            world.ca.issue_expired(&["gw.test"], folder),
            "certificate-days",
            "expired on 2021-01-01",
        ),
        (
            world.certificate(&["www.test"]),
            "certificate-host",
            "does not cover gw.test, but www.test",
        ),
        (
            stranger,
            "certificate-chain",
            "nobody this machine believes",
        ),
    ] {
        let stub = Stub::start(&issued, Versions::Tls13, "");
        world.publish("c.test", stub.port);
        let looked = world.looked("c.test", &["--allow-private"]);
        assert_eq!(looked.code, 1);
        looked.assert(name, "fault", said);
        let faults = looked
            .checks
            .iter()
            .filter(|check| check["result"] == "fault");
        assert_eq!(faults.count(), 1, "{}", looked.words);
        looked.assert("amtp", "skipped", "with this certificate");
    }
}

#[test]
fn what_is_no_gateway_is_told_apart() {
    let world = World::new();
    let issued = world.certificate(&["gw.test"]);
    let redirecting = "HTTP/1.1 301 Moved\r\nlocation: https://www.test/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let page = "HTTP/1.1 200 OK\r\ndate: Sat, 01 Jan 2000 00:00:00 GMT\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi";
    for (versions, answer, expected) in [
        (
            Versions::Tls13,
            redirecting,
            &[
                (
                    "amtp",
                    "fault",
                    "redirected (301 Moved Permanently) to https://www.test/",
                ),
                ("health", "fault", "gateways never follow a redirect"),
                ("http2", "warning", "does not offer HTTP/2"),
            ][..],
        ),
        (
            Versions::Tls13,
            page,
            &[
                ("amtp", "fault", "not by an AMTP gateway"),
                ("health", "ok", "200"),
                ("clock", "fault", "behind this machine's"),
            ],
        ),
        (
            Versions::Tls12,
            page,
            &[
                ("tls", "fault", "speaks TLS 1.2, but not 1.3"),
                ("amtp", "skipped", ""),
            ],
        ),
    ] {
        let stub = Stub::start(&issued, versions, answer);
        world.publish("s.test", stub.port);
        let looked = world.looked("s.test", &["--allow-private"]);
        assert_eq!(looked.code, 1);
        for (name, result, words) in expected {
            looked.assert(name, result, words);
        }
    }
    let silent = TcpListener::bind((LOOPBACK, 0)).unwrap();
    world.publish("s.test", silent.local_addr().unwrap().port());
    let looked = world.looked("s.test", &["--allow-private", "--timeout", "300ms"]);
    assert_eq!(looked.code, 1);
    looked.assert("tls", "fault", "no answer in time");

    let closed = TcpListener::bind((LOOPBACK, 0)).unwrap();
    world.publish("s.test", closed.local_addr().unwrap().port());
    drop(closed);
    let looked = world.looked("s.test", &["--allow-private"]);
    looked.assert("reach", "fault", "no connection");
    assert_eq!(looked.code, 1);
}

#[test]
fn keys_are_looked_at_when_they_are_named() {
    let world = World::new();
    let key = "v=amtpkey1;alg=ES256;p=MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEfpvYdVJA70+GxjSPOWOfg7qrGPtSeYI/NmiS816KhmEMPCeB7a4+eGO0d5cPQhV50sVgA8/s1EcPxToOqhxqlQ==";
    world.dns.set_txt("k1._amtpkey.k.test", &[key]);
    world.dns.set_txt("m._domainkey.k.test", &["v=DKIM1; p="]);
    let looked = world.looked("k.test", &["--selector", "k1", "--dkim-selector", "m"]);
    looked.assert("key", "ok", "(ES256)");
    looked.assert("dkim", "fault", "revoked");
    world
        .looked("k.test", &["--selector", "k2"])
        .assert("key", "fault", "has no key record");
}

#[test]
fn a_silent_dns_is_not_waited_for_for_ever() {
    let world = World::new();
    world.dns.silence(true);
    let looked = world.looked("silent.test", &["--timeout", "200ms"]);
    assert_eq!(looked.code, 1);
    looked.assert("record", "fault", "the DNS does not answer");
}

#[test]
fn wrong_usage_and_a_bad_configuration_have_their_codes() {
    for (arguments, code) in [
        (&["doctor"][..], 2),
        (&["doctor", "not a domain"], 2),
        (&["doctor", "a.test", "--dns", "somewhere"], 2),
        (&["doctor", "a.test", "--timeout", "1y"], 2),
        (&["doctor", "a.test", "--selector", "K_1"], 2),
        (&["doctor", "a.test", "--config", "/nowhere/amtpd.yaml"], 78),
        (
            &[
                "doctor",
                "a.test",
                "--dns",
                "127.0.0.1",
                "--ca",
                "/nowhere/ca.pem",
            ],
            1,
        ),
    ] {
        let output = amtpd().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", words(&output));
        assert!(output.stdout.is_empty(), "{}", words(&output));
    }
}

/// A gateway that asks this DNS server.
async fn asking(dns: SocketAddr) -> Daemon {
    let servers = format!("[\"{dns}\"]");
    Daemon::start(&[
        ("AMTPD__DNS__SERVERS", &servers),
        ("AMTPD__DNS__TIMEOUT", "1s"),
    ])
    .await
}

#[tokio::test]
async fn capabilities_of_others_are_asked_for_by_those_we_know() {
    let dns = DnsServer::start();
    dns.set_txt(
        "_amtp.b.test",
        &["v=amtp1;gateway=https://gw.b.test;auth=cert;max-size=7;features=batch"],
    );
    dns.set_ttl(Duration::from_secs(600));
    let daemon = asking(dns.address()).await;
    let alice = daemon.agent("alice").await;
    let path = "/v1/capabilities/B.test";
    for key in [None, Some("ak_wrong")] {
        let (status, answer) = daemon.call(Method::GET, path, key, None).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        assert_eq!(answer["error"]["code"], "AUTHENTICATION_FAILED");
    }
    assert_eq!(dns.queries("_amtp.b.test"), 0);
    let (status, answer) = daemon.call(Method::GET, path, Some(&alice.key), None).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let ttl = answer["ttl"].as_u64().unwrap();
    assert!((590..=600).contains(&ttl), "{answer}");
    let expected = json!({
        "domain": "b.test", "version": "1.0", "gateway": "https://gw.b.test", "auth": ["cert"],
        "max_size": 7, "features": ["batch"], "ttl": ttl, "stale": false,
    });
    assert_eq!(answer, expected);
    let (status, answer) = daemon.call(Method::GET, path, None, None).await;
    assert_eq!(status, StatusCode::OK, "it is known now: {answer}");
    assert_eq!(dns.queries("_amtp.b.test"), 1);

    let (status, _) = daemon
        .admin(Method::GET, "/v1/capabilities/c.test", None)
        .await;
    assert_eq!(status, StatusCode::NOT_FOUND, "operators may ask, too");
    assert_eq!(dns.queries("_amtp.c.test"), 1);
}

#[tokio::test]
async fn several_gateways_are_all_shown() {
    let dns = DnsServer::start();
    let hosts = ["https://g1.test", "https://g2.test", "https://g3.test"];
    let records = hosts.map(|host| txt(&[&format!("v=amtp1;gateway={host}")]));
    dns.set_records("_amtp.b.test", records.to_vec());
    let daemon = asking(dns.address()).await;
    let alice = daemon.agent("alice").await;
    let (_, answer) = daemon
        .call(
            Method::GET,
            "/v1/capabilities/b.test",
            Some(&alice.key),
            None,
        )
        .await;
    let others = answer["alternatives"].as_array().unwrap();
    let mut shown: Vec<&str> = others
        .iter()
        .chain([&answer])
        .map(|one| one["gateway"].as_str().unwrap())
        .collect();
    shown.sort_unstable();
    assert_eq!(shown, hosts);
}

#[tokio::test]
async fn capabilities_that_cannot_be_found_say_why() {
    let dns = DnsServer::start();
    dns.set_txt("_amtp.wrong.test", &["v=amtp1;gateway=http://g.test"]);
    dns.fail("_amtp.broken.test");
    let daemon = asking(dns.address()).await;
    let alice = daemon.agent("alice").await;
    for (domain, status, code, part) in [
        ("none.test", 404, "NOT_FOUND", "_amtp.none.test"),
        (
            "wrong.test",
            404,
            "NOT_FOUND",
            "the gateway is not an absolute https URL: v=amtp1;gateway=http://g.test",
        ),
        (
            "broken.test",
            503,
            "TEMPORARY_FAILURE",
            "The DNS does not answer.",
        ),
        ("a..b", 400, "INVALID_PARAMETER", "domain"),
        ("192.0.2.1", 400, "INVALID_PARAMETER", "domain"),
    ] {
        let path = format!("/v1/capabilities/{domain}");
        let (answered, answer) = daemon
            .call(Method::GET, &path, Some(&alice.key), None)
            .await;
        assert_eq!(
            (answered.as_u16(), &answer["error"]["code"]),
            (status, &json!(code))
        );
        assert!(answer.to_string().contains(part), "{answer}");
    }
}

#[tokio::test]
async fn our_own_capabilities_are_open_to_everybody() {
    let daemon = Daemon::start(&[("AMTPD__LIMITS__MESSAGE_SIZE", "1MiB")]).await;
    let path = format!("/v1/capabilities/{DOMAIN}");
    let (status, answer) = daemon.call(Method::GET, &path, None, None).await;
    assert_eq!(status, StatusCode::OK);
    let expected = json!({
        "domain": DOMAIN, "version": "1.0", "gateway": "https://localhost:8443", "auth": [],
        "max_size": 1_048_576, "features": ["agent-discovery", "multi-recipient", "domain-signatures", "batch", "wait"],
        "ttl": 3600, "stale": false,
    });
    assert_eq!(answer, expected);
}
