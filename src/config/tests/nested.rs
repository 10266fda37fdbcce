//! What deliveries, the DNS and outgoing connections are told; sections inside sections.

use std::net::SocketAddr;
use std::time::Duration;

use super::Folder;
use crate::config::DeliveryPath;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn what_is_left_out_has_its_default() {
    let folder = Folder::new();
    let config = folder.load(&folder.needed(), &[]).unwrap();
    assert!(config.dns.servers.is_empty() && config.peers.is_empty());
    assert_eq!(config.dns.timeout, 3 * SECOND);
    assert!(config.net.allow.webhooks.is_empty());
    assert!(config.tls.trusted_ca_file.is_none() && config.tls.client_cert_file.is_none());
    assert_eq!(config.delivery.path, DeliveryPath::Durable);
    assert_eq!(config.delivery.concurrency, 16);
    assert_eq!(config.delivery.delay_notice, None);
    let retry = config.delivery.retry;
    assert_eq!((retry.initial, retry.max), (SECOND, 3_600 * SECOND));
    assert_eq!((retry.attempts, retry.give_up), (168, 7 * 86_400 * SECOND));
    assert_eq!(config.retention.dead_letters, 30 * 86_400 * SECOND);
    assert_eq!(
        (config.limits.bounces, config.limits.queue_window),
        (1_000, 20_000)
    );
}

#[test]
fn what_is_written_is_taken() {
    let folder = Folder::new();
    let needed = folder.needed().replace(
        "  key_file: key.pem\n",
        "  key_file: key.pem\n  trusted_ca_file: tls/ca.pem\n  client_cert_file: cert.pem\n  \
         client_key_file: key.pem\n",
    );
    let text = needed
        + "\
dns: {servers: [\"127.0.0.1:5353\", 9.9.9.9, \"::1\", \"[::1]:54\"], timeout: 100ms}
net: {allow: {webhooks: [\"127.0.0.0/8\"]}}
delivery:
  path: immediate
  concurrency: 1
  delay_notice: 4h
  retry: {initial: 10ms, max: 10ms, attempts: 1, give_up: 1s}
retention: {dead_letters: 1d}
limits: {bounces: 1, queue_window: 100}
";
    let config = folder.load(&text, &[]).unwrap();
    let servers: Vec<SocketAddr> = ["127.0.0.1:5353", "9.9.9.9:53", "[::1]:53", "[::1]:54"]
        .map(|server| server.parse().unwrap())
        .to_vec();
    assert_eq!(config.dns.servers, servers);
    assert_eq!(config.dns.timeout, SECOND / 10);
    assert_eq!(config.net.allow.webhooks[0].to_string(), "127.0.0.0/8");
    assert_eq!(config.tls.trusted_ca_file, Some(folder.path("tls/ca.pem")));
    assert_eq!(config.tls.client_cert_file, Some(folder.path("cert.pem")));
    assert_eq!(config.tls.client_key_file, Some(folder.path("key.pem")));
    assert_eq!(config.delivery.path, DeliveryPath::Immediate);
    assert_eq!(config.delivery.concurrency, 1);
    assert_eq!(config.delivery.delay_notice, Some(4 * 3_600 * SECOND));
    let retry = config.delivery.retry;
    assert_eq!((retry.initial, retry.max), (SECOND / 100, SECOND / 100));
    assert_eq!((retry.attempts, retry.give_up), (1, SECOND));
    assert_eq!(config.retention.dead_letters, 86_400 * SECOND);
    assert_eq!(
        (config.limits.bounces, config.limits.queue_window),
        (1, 100)
    );
}

#[test]
fn variables_reach_keys_at_any_depth() {
    let folder = Folder::new();
    let file = "delivery: {concurrency: 2, retry: {initial: 2s, max: 1m}}\nnet:\n";
    let variables = [
        ("AMTPD__DELIVERY__RETRY__MAX", "30m"),
        ("amtpd__delivery__path", "immediate"),
        ("AMTPD__NET__ALLOW__WEBHOOKS", "[127.0.0.0/8, \"::1\"]"),
        ("AMTPD__DNS__SERVERS", "[\"127.0.0.1:5353\"]"),
        ("AMTPD__RETENTION__DEAD_LETTERS", "2d"),
    ];
    let config = folder.load(&(folder.needed() + file), &variables).unwrap();
    let retry = config.delivery.retry;
    assert_eq!((retry.initial, retry.max), (2 * SECOND, 1_800 * SECOND));
    assert_eq!(config.delivery.concurrency, 2);
    assert_eq!(config.delivery.path, DeliveryPath::Immediate);
    assert_eq!(config.net.allow.webhooks.len(), 2);
    assert_eq!(config.dns.servers[0].port(), 5_353);
    assert_eq!(config.retention.dead_letters, 2 * 86_400 * SECOND);
    let faults = folder.load(&folder.needed(), &[("AMTPD__DELIVERY__RETRY__MAX", "10ms")]);
    assert_eq!(
        faults.unwrap_err(),
        [
            "environment variable AMTPD__DELIVERY__RETRY__MAX: delivery.retry.max: is less than \
          delivery.retry.initial, the first pause; make it longer"
        ]
    );
    let twice = [
        ("AMTPD__DELIVERY__RETRY__MAX", "1h"),
        ("amtpd__delivery__retry__max", "2h"),
    ];
    let faults = folder.load(&folder.needed(), &twice).unwrap_err();
    assert!(faults[0].ends_with("keep AMTPD__DELIVERY__RETRY__MAX"));
}

#[test]
#[allow(clippy::too_many_lines, reason = "one table")]
fn one_wrong_line_is_one_fault() {
    let folder = Folder::new();
    let table = [
        (
            "dns: {servers: [ns.example]}\n",
            "amtpd.yaml:9:17: dns.servers: \"ns.example\" is not an IP address, with a port",
        ),
        (
            "dns: {servers: [\"127.0.0.1:0\"]}\n",
            "amtpd.yaml:9:17: dns.servers: \"127.0.0.1:0\" is not",
        ),
        (
            "dns: {servers: [0.0.0.0]}\n",
            "amtpd.yaml:9:17: dns.servers: \"0.0.0.0\" is not",
        ),
        (
            "dns: {timeout: 2m}\n",
            "amtpd.yaml:9:16: dns.timeout: \"2m\" is too much: at most 1m",
        ),
        (
            "dns: {timeout: 99ms}\n",
            "amtpd.yaml:9:16: dns.timeout: \"99ms\" is too little: at least 100ms",
        ),
        (
            "net: {allow: {webhooks: [10.0.0.1/8]}}\n",
            "amtpd.yaml:9:26: net.allow.webhooks: \"10.0.0.1/8\" has bits beyond",
        ),
        (
            "net: {allow: {ftpx: []}}\n",
            "amtpd.yaml:9:15: net.allow.ftpx: is no key; known here: webhooks",
        ),
        (
            "net:\n  allow:\n    webhook: []\n",
            "amtpd.yaml:11:5: net.allow.webhook: is no key; did you mean `webhooks`?",
        ),
        (
            "net: {alow: {}}\n",
            "amtpd.yaml:9:7: net.alow: is no key; did you mean `allow`?",
        ),
        (
            "net: {private: true}\n",
            "amtpd.yaml:9:7: net.private: is no key; known here: allow",
        ),
        (
            "net: {allow: [10.0.0.0/8]}\n",
            "amtpd.yaml:9:7: net.allow: must hold keys, such as `webhooks: [\"10.0.0.0/8\"]`",
        ),
        (
            "net: on\n",
            "amtpd.yaml:9:1: net: must hold keys, such as `allow`",
        ),
        (
            "webhooks: []\n",
            "amtpd.yaml:9:1: webhooks: is no key; did you mean `net.allow.webhooks`?",
        ),
        (
            "delivery: {path: fast}\n",
            "amtpd.yaml:9:18: delivery.path: \"fast\" is not `durable` or `immediate`",
        ),
        (
            "delivery: {concurrency: 1001}\n",
            "amtpd.yaml:9:25: delivery.concurrency: \"1001\" is too much: at most 1000",
        ),
        (
            "delivery: {delay_notice: 4}\n",
            "amtpd.yaml:9:26: delivery.delay_notice: \"4\" is not a duration",
        ),
        (
            "delivery: {attempts: 3}\n",
            "amtpd.yaml:9:12: delivery.attempts: is no key; did you mean `delivery.retry.attempts`?",
        ),
        (
            "delivery: {retrys: {}}\n",
            "amtpd.yaml:9:12: delivery.retrys: is no key; did you mean `retry`?",
        ),
        (
            "delivery: {retry: 5}\n",
            "amtpd.yaml:9:12: delivery.retry: must hold keys, such as `initial: 30s`",
        ),
        (
            "delivery: {retry: {initial: 9ms}}\n",
            "amtpd.yaml:9:29: delivery.retry.initial: \"9ms\" is too little: at least 10ms",
        ),
        (
            "delivery: {retry: {initial: 2h, max: 3h}}\n",
            "amtpd.yaml:9:29: delivery.retry.initial: \"2h\" is too much: at most 1h",
        ),
        (
            "delivery:\n  retry:\n    initial: 10s\n    max: 9s\n",
            "amtpd.yaml:12:10: delivery.retry.max: is less than delivery.retry.initial",
        ),
        (
            "delivery: {retry: {attempts: 0}}\n",
            "amtpd.yaml:9:30: delivery.retry.attempts: \"0\" is too little: at least 1",
        ),
        (
            "delivery: {retry: {attempts: 10001}}\n",
            "amtpd.yaml:9:30: delivery.retry.attempts: \"10001\" is too much: at most 10000",
        ),
        (
            "delivery: {retry: {give_up: 31d}}\n",
            "amtpd.yaml:9:29: delivery.retry.give_up: \"31d\" is too much: at most 30d",
        ),
        (
            "delivery: {retry: {max: 1h, max: 2h}}\n",
            "amtpd.yaml:9:29: delivery.retry.max: stands twice",
        ),
        (
            "retention: {dead_letters: 0s}\n",
            "amtpd.yaml:9:27: retention.dead_letters: \"0s\" is too little: at least 1s",
        ),
        (
            "limits: {bounces: 0}\n",
            "amtpd.yaml:9:19: limits.bounces: \"0\" is too little: at least 1",
        ),
        (
            "limits: {queue_window: 99}\n",
            "amtpd.yaml:9:24: limits.queue_window: \"99\" is too little: at least 100",
        ),
    ];
    for (line, beginning) in table {
        let faults = folder.faults(line);
        assert_eq!(faults.len(), 1, "{line}: {faults:#?}");
        assert!(
            faults[0].starts_with(beginning),
            "{}\n{beginning}",
            faults[0]
        );
    }
}

#[test]
fn a_client_certificate_needs_its_key_and_files_that_are_there() {
    let folder = Folder::new();
    let table = [
        (
            "client_cert_file: cert.pem",
            "amtpd.yaml:6:21: tls.client_cert_file: means nothing without tls.client_key_file",
        ),
        (
            "client_key_file: key.pem",
            "amtpd.yaml:6:20: tls.client_key_file: means nothing without tls.client_cert_file",
        ),
        (
            "trusted_ca_file: none.pem",
            "amtpd.yaml:6:20: tls.trusted_ca_file: \"none.pem\" cannot be read",
        ),
    ];
    for (line, beginning) in table {
        let key = "  key_file: key.pem\n";
        let text = folder.needed().replace(key, &format!("{key}  {line}\n"));
        let faults = folder.load(&text, &[]).unwrap_err();
        assert_eq!(faults.len(), 1, "{line}: {faults:#?}");
        assert!(
            faults[0].starts_with(beginning),
            "{}\n{beginning}",
            faults[0]
        );
    }
}

#[test]
fn a_signing_key_is_read_and_a_wrong_one_is_a_fault() {
    let folder = Folder::new();
    assert!(
        folder
            .load(&folder.needed(), &[])
            .unwrap()
            .signing
            .is_none()
    );
    let lines = "signing: {selector: k2, key_file: signing.key, previous: [k1, k0]}\n";
    let config = folder.load(&(folder.needed() + lines), &[]).unwrap();
    let signing = config.signing.unwrap();
    assert_eq!(signing.signer().selector().as_str(), "k2");
    assert_eq!(signing.previous.len(), 2);
    let key = include_str!("../../protocol/signature/tests/rsa2048.pem");
    let by_variable = [
        ("AMTPD__SIGNING__SELECTOR", "r1"),
        ("AMTPD__SIGNING__KEY_FILE", "env:KEY"),
        ("KEY", key),
    ];
    let config = folder.load(&folder.needed(), &by_variable).unwrap();
    assert_eq!(
        config.signing.unwrap().signer().algorithm().as_str(),
        "RS256"
    );
    for (line, words) in [
        (
            "{selector: K1, key_file: signing.key}",
            "signing.selector: \"K1\" is not a label",
        ),
        ("{selector: a.b, key_file: signing.key}", "signing.selector"),
        (
            "{selector: k1, key_file: cert.pem}",
            "holds no PRIVATE KEY section",
        ),
        (
            "{selector: k1, key_file: none.key}",
            "there is no such file",
        ),
        ("{key_file: signing.key}", "signing.selector"),
        (
            "{selector: k1, key_file: signing.key, previous: [k1]}",
            "needs a new selector",
        ),
    ] {
        let faults = folder.faults(&format!("signing: {line}\n"));
        assert!(
            faults.len() == 1 && faults[0].contains(words),
            "{line}: {faults:?}"
        );
    }
}
