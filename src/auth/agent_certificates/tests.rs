use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose as Usage, IsCa, Issuer, KeyPair,
    SanType, SerialNumber, date_time_ymd,
};
use rustls::RootCertStore;

use super::*;
use crate::clock::TestClock;
use crate::protocol::Timestamp;

/// In 2027.
const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    own: CertificateDer<'static>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let own = params.self_signed(&key).unwrap().der().clone();
        let issuer = Issuer::new(params, key);
        Self { issuer, own }
    }

    fn issue(&self, change: impl FnOnce(&mut CertificateParams)) -> Vec<CertificateDer<'static>> {
        let mut params = CertificateParams::default();
        params.serial_number = Some(SerialNumber::from_slice(&[0x0a, 0xbc]));
        params.extended_key_usages = vec![Usage::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        vec![certificate.der().clone()]
    }

    fn reader(&self) -> AgentCertificates {
        let mut clients = RootCertStore::empty();
        clients.add(self.own.clone()).unwrap();
        let chains = ClientChains::new(clients, RootCertStore::empty());
        let domains = ["b.test", "c.test"].map(|name| Domain::parse(name).unwrap());
        let clock = Clock::over(TestClock::at(NOW));
        AgentCertificates::new(chains, domains.to_vec(), clock)
    }
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

fn mail(text: &str) -> SanType {
    SanType::Rfc822Name(text.try_into().unwrap())
}

fn host(text: &str) -> SanType {
    SanType::DnsName(text.try_into().unwrap())
}

fn shown(found: Option<Certified>) -> Option<String> {
    found.map(|it| format!("{}@{} {}", it.name.as_str(), it.domain, it.serial))
}

#[test]
fn a_certificate_names_one_agent_of_ours() {
    let authority = Authority::new();
    let reader = authority.reader();
    for (names, expected) in [
        (vec![uri("amtp:alice@b.test")], Some("alice@b.test 0abc")),
        (vec![uri("AMTP:Alice@B.test")], Some("alice@b.test 0abc")),
        (vec![mail("alice@c.test")], Some("alice@c.test 0abc")),
        (
            vec![uri("https://x.test"), host("b.test"), mail("alice@b.test")],
            Some("alice@b.test 0abc"),
        ),
        (
            vec![mail("alice@b.test"), uri("amtp:alice@b.test")],
            Some("alice@b.test 0abc"),
        ),
        (
            vec![mail("alice@d.test"), mail("alice@b.test")],
            Some("alice@b.test 0abc"),
        ),
        (vec![mail("alice@b.test"), mail("bob@b.test")], None),
        (vec![uri("amtp:alice@d.test")], None),
        (vec![uri("mailto:alice@b.test")], None),
        (vec![uri("amtp://alice@b.test")], None),
        (vec![uri("amtp:alice%40b.test")], None),
        (vec![uri("amt")], None),
        (vec![uri("amtp:alice+tag@b.test")], None),
        (vec![mail("b.test")], None),
        (vec![host("alice.b.test")], None),
        (vec![], None),
    ] {
        let chain = authority.issue(|params| params.subject_alt_names.clone_from(&names));
        assert_eq!(shown(reader.find(&chain)).as_deref(), expected, "{names:?}");
    }
}

#[test]
fn only_a_good_chain_for_clients_counts() {
    let authority = Authority::new();
    let reader = authority.reader();
    let alice = |params: &mut CertificateParams| {
        params.subject_alt_names = vec![mail("alice@b.test")];
    };
    let good = authority.issue(alice);
    assert!(reader.find(&good).is_some());
    let server = authority.issue(|params| {
        alice(params);
        params.extended_key_usages = vec![Usage::ServerAuth];
    });
    let over = authority.issue(|params| {
        alice(params);
        params.not_after = date_time_ymd(2026, 1, 1);
    });
    let early = authority.issue(|params| {
        alice(params);
        params.not_before = date_time_ymd(2028, 1, 1);
    });
    let other = Authority::new();
    for (chain, why) in [
        (server, "for servers"),
        (over, "over"),
        (early, "not good yet"),
        (other.issue(alice), "of another authority"),
        (
            vec![other.issue(alice)[0].clone(), good[0].clone()],
            "the first one counts",
        ),
        (
            vec![good[0].clone().into_owned()[1..].to_vec().into()],
            "no certificate",
        ),
        (vec![], "nothing"),
    ] {
        assert_eq!(reader.find(&chain), None, "{why}");
    }
}

#[test]
fn a_chain_that_is_over_is_not_remembered_for_long() {
    let authority = Authority::new();
    let chain = authority.issue(|params| {
        params.subject_alt_names = vec![mail("alice@b.test")];
        params.not_after = date_time_ymd(2027, 2, 1);
    });
    let mut clients = RootCertStore::empty();
    clients.add(authority.own.clone()).unwrap();
    let chains = ClientChains::new(clients, RootCertStore::empty());
    let test = TestClock::at(NOW);
    let clock = Clock::over(test.clone());
    let ours = vec![Domain::parse("b.test").unwrap()];
    let reader = AgentCertificates::new(chains, ours, clock);
    assert!(reader.find(&chain).is_some());
    test.advance(Duration::from_secs(30 * 86_400));
    assert!(reader.find(&chain).is_none());
}
