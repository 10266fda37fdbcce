//! What single domains are told.

use std::fs;

use super::Folder;
use crate::config::{Config, Environment, Peer, Place};
use crate::protocol::Domain;

fn peer<'a>(config: &'a Config, domain: &str) -> &'a Peer {
    &config.peers[&Domain::parse(domain).unwrap()]
}

const PARTNER: &str = "\
peers:
  Partner.Example:
    gateway: https://gw.partner.example:8443
    authorization: file:partner.key
    client_cert: cert.pem
    client_key: key.pem
    trusted_ca: tls/ca.pem
    allow_private: true
    rate: 100/s
    batch: false
  other.example:
";

#[test]
fn every_key_is_taken_and_none_is_needed() {
    let folder = Folder::new();
    let config = folder.load(&(folder.needed() + PARTNER), &[]).unwrap();
    assert_eq!(config.peers.len(), 2);
    let partner = peer(&config, "partner.example");
    let gateway = partner.gateway.as_ref().unwrap();
    assert_eq!(gateway.as_str(), "https://gw.partner.example:8443");
    let authorization = partner.authorization.as_ref().unwrap();
    assert_eq!(authorization.reveal(), "Bearer hidden");
    assert_eq!(partner.client_cert, Some(folder.path("cert.pem")));
    assert_eq!(partner.client_key, Some(folder.path("key.pem")));
    assert_eq!(partner.trusted_ca, Some(folder.path("tls/ca.pem")));
    assert_eq!(partner.rate.unwrap().to_string(), "100/s");
    assert!(partner.allow_private && !partner.batch);
    let other = peer(&config, "other.example");
    assert!(other.gateway.is_none() && other.authorization.is_none());
    assert!(other.client_cert.is_none() && other.client_key.is_none());
    assert!(other.trusted_ca.is_none() && other.rate.is_none());
    assert!(!other.allow_private && other.batch);
}

#[test]
fn one_wrong_line_is_one_fault() {
    let folder = Folder::new();
    let table = [
        (
            "  partner.com:\n    gateway: http://gw.partner.com\n",
            "amtpd.yaml:11:14: peers.partner.com.gateway: \"http://gw.partner.com\" is not an https URL",
        ),
        (
            "  partner.com:\n    gatway: https://gw.partner.com\n",
            "amtpd.yaml:11:5: peers.partner.com.gatway: is no key; did you mean `gateway`?",
        ),
        (
            "  partner.com: {foo: 1}\n",
            "amtpd.yaml:10:17: peers.partner.com.foo: is no key; known here: gateway, authorization",
        ),
        (
            "  partner.com: {rate: 1/s, rate: 2/s}\n",
            "amtpd.yaml:10:28: peers.partner.com.rate: stands twice",
        ),
        (
            "  partner.com: {rate: 100}\n",
            "amtpd.yaml:10:23: peers.partner.com.rate: \"100\" is not a rate",
        ),
        (
            "  Partner.COM: {batch: 2}\n",
            "amtpd.yaml:10:24: peers.partner.com.batch: \"2\" is not `true` or `false`",
        ),
        (
            "  partner.com: https://gw.partner.com\n",
            "amtpd.yaml:10:3: peers.partner.com: must hold keys, such as `gateway: https",
        ),
        (
            "  partner_com: {}\n",
            "amtpd.yaml:10:3: peers.partner_com: is not a domain, such as `partner.example`",
        ),
        (
            "  192.0.2.1: {rate: 1/s}\n",
            "amtpd.yaml:10:3: peers.192.0.2.1: is not a domain",
        ),
        (
            "  partner.com: {}\n  Partner.com.: {}\n",
            "amtpd.yaml:11:3: peers.partner.com: stands twice; keep one",
        ),
        (
            "  example.ORG: {rate: 1/s}\n",
            "amtpd.yaml:10:16: peers.example.org: is a domain of this gateway",
        ),
        (
            "  partner.com: {client_cert: cert.pem}\n",
            "amtpd.yaml:10:30: peers.partner.com.client_cert: means nothing without peers.partner.com.client_key;",
        ),
        (
            "  partner.com: {client_key: key.pem}\n",
            "amtpd.yaml:10:29: peers.partner.com.client_key: means nothing without peers.partner.com.client_cert;",
        ),
        (
            "  partner.com: {trusted_ca: none.pem}\n",
            "amtpd.yaml:10:29: peers.partner.com.trusted_ca: \"none.pem\" cannot be read",
        ),
        (
            "  partner.com: {authorization: env:NONE}\n",
            "amtpd.yaml:10:32: peers.partner.com.authorization: \"env:NONE\" names \"NONE\", which is not set",
        ),
        (
            "  - partner.com\n",
            "amtpd.yaml:9:1: peers: must hold keys, such as `partner.example`",
        ),
    ];
    for (lines, beginning) in table {
        let faults = folder.faults(&format!("peers:\n{lines}"));
        assert_eq!(faults.len(), 1, "{lines}: {faults:#?}");
        assert!(
            faults[0].starts_with(beginning),
            "{}\n{beginning}",
            faults[0]
        );
    }
}

#[test]
fn every_peer_is_looked_at() {
    let folder = Folder::new();
    let faults = folder.faults(
        "peers:\n  partner: {rate: 0/s}\n  partner.com: {rate: 0/s, client_cert: key.pem}\n  \
         b.example: {client_cert: key.pem}\n  -c: {}\n",
    );
    let beginnings = [
        "amtpd.yaml:10:19: peers.partner.rate: ",
        "amtpd.yaml:11:23: peers.partner.com.rate: ",
        "amtpd.yaml:12:28: peers.b.example.client_cert: ",
        "amtpd.yaml:13:3: peers.-c: ",
    ];
    assert_eq!(faults.len(), beginnings.len(), "{faults:#?}");
    for (fault, beginning) in faults.iter().zip(beginnings) {
        assert!(fault.starts_with(beginning), "{fault}\n{beginning}");
    }
}

#[test]
fn a_secret_is_never_shown() {
    let folder = Folder::new();
    fs::write(folder.path("lines.key"), "hidden\nhidden").unwrap();
    fs::write(folder.path("empty.key"), "\n").unwrap();
    let table = [
        ("Bearer hidden", "must be `file:` and the path"),
        ("hidden", "must be `file:` and the path"),
        ("file:lines.key", "does not hold one line"),
        ("file:empty.key", "holds nothing"),
        ("env:TOKEN", "does not hold one line"),
    ];
    for (written, part) in table {
        let text = format!("peers: {{a.example: {{authorization: {written}}}}}\n");
        let faults = folder.load(&(folder.needed() + &text), &[("TOKEN", "hidden\u{e9}")]);
        let faults = faults.unwrap_err();
        assert_eq!(faults.len(), 1, "{faults:#?}");
        assert!(faults[0].contains(part), "{}", faults[0]);
        assert!(!faults[0].contains("hidden"), "{}", faults[0]);
    }
    let config = folder.load(&(folder.needed() + PARTNER), &[]).unwrap();
    assert!(!format!("{config:?}").contains("hidden"));
}

#[test]
fn one_variable_sets_all_peers() {
    let folder = Folder::new();
    let text = folder.needed() + PARTNER;
    let value = "{B.example: {rate: 5/s, authorization: 'env:TOKEN'}}";
    let variables = [("AMTPD__PEERS", value), ("TOKEN", "Bearer hidden")];
    let config = folder.load(&text, &variables).unwrap();
    assert_eq!(config.peers.len(), 1);
    let set = peer(&config, "b.example");
    assert_eq!(set.rate.unwrap().to_string(), "5/s");
    assert_eq!(
        set.authorization.as_ref().unwrap().reveal(),
        "Bearer hidden"
    );
    let config = folder.load(&text, &[("AMTPD__PEERS", "")]).unwrap();
    assert!(config.peers.is_empty());
    let table = [
        (
            ("AMTPD__PEERS", "{b.example: {rate: 5}}"),
            "environment variable AMTPD__PEERS: peers.b.example.rate: \"5\" is not a rate",
        ),
        (
            ("AMTPD__PEERS", "{b.example: {rat: 5/s}}"),
            "environment variable AMTPD__PEERS: peers.b.example.rat: is no key; did you mean `rate`?",
        ),
        (
            ("AMTPD__PEERS", "b.example"),
            "environment variable AMTPD__PEERS: peers: must hold keys",
        ),
        (
            ("AMTPD__PEERS", "{b.example"),
            "environment variable AMTPD__PEERS: is not YAML",
        ),
        (
            ("AMTPD__PEERS__DOMAIN__RATE", "5/s"),
            "environment variable AMTPD__PEERS__DOMAIN__RATE: sets no key; AMTPD__PEERS sets all of `peers`",
        ),
        (
            ("AMTPD__PEER", "{}"),
            "environment variable AMTPD__PEER: sets no key; did you mean AMTPD__PEERS?",
        ),
    ];
    for (variable, beginning) in table {
        let faults = folder.load(&text, &[variable]).unwrap_err();
        assert_eq!(faults.len(), 1, "{faults:#?}");
        assert!(
            faults[0].starts_with(beginning),
            "{}\n{beginning}",
            faults[0]
        );
    }
}

#[test]
fn the_place_of_a_peers_key_is_found_by_its_normal_name() {
    let folder = Folder::new();
    let file = folder.path("amtpd.yaml");
    fs::write(&file, folder.needed() + PARTNER).unwrap();
    let (_, places) = Config::load_with_places(&file, &Environment::default()).unwrap();
    let (line, column) = (Some(17), Some(11));
    assert_eq!(
        places.find("peers.partner.example.rate"),
        Place::File { file, line, column }
    );
}
