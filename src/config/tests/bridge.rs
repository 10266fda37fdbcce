//! Mail to people.

use super::Folder;
use crate::config::{MailFace, MailServer, MailTls, SmarthostTls};

const SECRETS: &str = "secrets: {key_file: secrets.key}\n";
const WHOLE: &str = "\
bridge:
  host: gw.example.com
  from: agent
  tls: required
  port: 2525
  domains: [example.org]
  next_hop: \"[2001:db8::1]:26\"
  concurrency: 9
  rate: 100/h
  smarthost:
    host: 192.0.2.1
    port: 465
    tls: implicit
    user: me
    password: file:smarthost.password
  dkim: {selector: a, key_file: dkim.key, second_selector: b, second_key_file: dkim.key}
net: {allow: {smtp: [10.0.0.0/8]}}
";

#[test]
fn every_key_of_the_bridge_is_taken_and_one_is_needed() {
    let folder = Folder::new();
    let config = folder
        .load(&(folder.needed() + SECRETS + WHOLE), &[])
        .unwrap();
    assert_eq!(config.net.allow.smtp.len(), 1);
    let bridging = config.bridge.unwrap();
    let bridge = &bridging.bridge;
    assert_eq!(bridge.host.as_str(), "gw.example.com");
    assert_eq!(
        (bridge.from, bridge.tls),
        (MailFace::Agent, MailTls::Required)
    );
    assert_eq!((bridge.port, bridge.concurrency), (2_525, 9));
    let hop = MailServer {
        host: "2001:db8::1".to_owned(),
        port: 26,
    };
    assert_eq!(bridge.next_hop, Some(hop));
    let smarthost = bridging.smarthost.unwrap();
    assert_eq!(
        (smarthost.port, smarthost.tls),
        (465, SmarthostTls::Implicit)
    );
    assert_eq!(smarthost.password.unwrap().reveal(), "geheim");
    assert!(bridging.dkim.unwrap().second_key.is_some());
    let few = "bridge: {host: gw.example.com}\n";
    let config = folder
        .load(&(folder.needed() + SECRETS + few), &[])
        .unwrap();
    let bridging = config.bridge.unwrap();
    assert_eq!(bridging.bridge.tls, MailTls::MtaSts);
    assert!(bridging.smarthost.is_none() && bridging.dkim.is_none());
    let none = folder.load(&folder.needed(), &[]).unwrap();
    assert!(none.bridge.is_none());
}

#[test]
fn one_wrong_line_of_the_bridge_is_one_fault() {
    let folder = Folder::new();
    let table = [
        ("{}", "bridge.host: is missing"),
        (
            "{host: gw.a, from: me}",
            "bridge.from: \"me\" is not `bridge` or `agent`",
        ),
        ("{host: gw.a, tls: none}", "bridge.tls: \"none\" is not"),
        ("{host: gw.a, port: 0}", "bridge.port: \"0\" is not a port"),
        (
            "{host: gw.a, domains: [example.org]}",
            "bridge.domains: means nothing without",
        ),
        (
            "{host: gw.a, next_hop: m.a, domains: [other.test]}",
            "bridge.domains: names other.test, which is not in `domains`",
        ),
        (
            "{host: gw.a, next_hop: \"m.a:x\"}",
            "bridge.next_hop: \"m.a:x\" is not a host",
        ),
        (
            "{host: gw.a, smarthost: {host: m.a, user: me}}",
            "bridge.smarthost.user: needs bridge.smarthost.password",
        ),
        (
            "{host: gw.a, smarthost: {host: m.a, password: geheim}}",
            "bridge.smarthost.password: must be `file:`",
        ),
        (
            "{host: gw.a, smarthost: {host: m.a, tls: none, user: me, password: \"file:smarthost.password\"}}",
            "bridge.smarthost.tls: is none, and a password",
        ),
        (
            "{host: gw.a, dkim: {selector: a, key_file: admin.key}}",
            "bridge.dkim.key_file: \"admin.key\" holds no key that signs mail",
        ),
        (
            "{host: gw.a, dkim: {selector: a, key_file: dkim.key, second_selector: b}}",
            "bridge.dkim.second_selector: needs bridge.dkim.second_key_file",
        ),
        (
            "{host: gw.a, dkim: {selector: a, key_file: dkim.key, second_selector: a, second_key_file: dkim.key}}",
            "bridge.dkim.second_selector: is the selector of the first key too",
        ),
    ];
    for (wrong, fault) in table {
        let faults = folder.faults(&format!("{SECRETS}bridge: {wrong}\n"));
        assert_eq!(faults.len(), 1, "{wrong}: {faults:?}");
        assert!(faults[0].contains(fault), "{fault:?} is not in {faults:?}");
        assert!(!faults[0].contains("geheim"), "{faults:?}");
    }
    let unsealed = folder.faults("bridge: {host: gw.example.com}\n");
    assert!(
        unsealed[0].contains("bridge: needs secrets.key_file"),
        "{unsealed:?}"
    );
}
