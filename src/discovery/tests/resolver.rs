//! The resolver against a real server.

use std::net::IpAddr;
use std::time::Duration;

use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::RecordType;

use super::server::{DnsServer, Fault, NEGATIVE_TTL, alias, delegation, gateway, mx, txt, v4, v6};
use crate::net::{DnsFault, HickoryResolver, Resolver as _};

const PATIENT: Duration = Duration::from_secs(20);

fn resolver(servers: &[&DnsServer], timeout: Duration) -> HickoryResolver {
    let servers: Vec<_> = servers.iter().map(|server| server.address).collect();
    HickoryResolver::new(&servers, timeout).unwrap()
}

fn nothing_for(seconds: u32) -> DnsFault {
    DnsFault::Nothing {
        ttl: Some(Duration::from_secs(seconds.into())),
    }
}

fn addresses(list: &str) -> Vec<IpAddr> {
    list.split_whitespace()
        .map(|one| one.parse().unwrap())
        .collect()
}

#[tokio::test]
async fn the_strings_of_a_text_are_put_together() {
    let dns = DnsServer::start().await;
    let (a, b) = ("a".repeat(255), "b".repeat(45));
    let both = txt(&[a.as_bytes(), b.as_bytes()]);
    dns.set("t.example", 77, [both]).await;
    let found = resolver(&[&dns], PATIENT).txt("t.example").await.unwrap();
    assert_eq!(found.records, [a + &b]);
    assert_eq!(found.ttl, Duration::from_secs(77));
    assert!(!dns.asked_over_tcp());
}

#[tokio::test]
async fn an_answer_that_does_not_fit_comes_over_tcp_and_an_over_long_text_is_passed_over() {
    let dns = DnsServer::start().await;
    let part = [b'x'; 255];
    let longest: Vec<&[u8]> = [&part[..]; 16].into_iter().chain([&part[..16]]).collect();
    let over_long: Vec<&[u8]> = [&part[..]; 16].into_iter().chain([&part[..17]]).collect();
    dns.set(
        "t.example",
        60,
        [txt(&over_long), txt(&longest), txt(&[b"short"])],
    )
    .await;
    let found = resolver(&[&dns], PATIENT).txt("t.example").await.unwrap();
    let mut lengths: Vec<usize> = found.records.iter().map(String::len).collect();
    lengths.sort_unstable();
    assert_eq!(lengths, [5, 4_096]);
    assert!(dns.asked_over_tcp());
}

#[tokio::test]
async fn a_text_that_is_not_utf8_is_passed_over() {
    let dns = DnsServer::start().await;
    let resolver = resolver(&[&dns], PATIENT);
    dns.set("t.example", 60, [txt(&[b"\xff\xfe"]), txt(&[b"good"])])
        .await;
    assert_eq!(resolver.txt("t.example").await.unwrap().records, ["good"]);
    dns.set("t.example", 60, [txt(&[b"\xff\xfe"])]).await;
    assert_eq!(resolver.txt("t.example").await, Err(nothing_for(60)));
    // One letter in two strings is one letter.
    dns.set("t.example", 60, [txt(&[b"\xc3", b"\xa4"])]).await;
    assert_eq!(resolver.txt("t.example").await.unwrap().records, ["ä"]);
}

#[tokio::test]
async fn a_missing_name_and_a_missing_type_are_sure_for_as_long_as_the_zone_says() {
    let dns = DnsServer::start().await;
    dns.set("t.example", 60, [v4("192.0.2.1")]).await;
    let resolver = resolver(&[&dns], PATIENT);
    for name in ["missing.example", "t.example"] {
        assert_eq!(resolver.txt(name).await, Err(nothing_for(NEGATIVE_TTL)));
    }
    assert_eq!(
        resolver.addresses("missing.example").await,
        Err(nothing_for(NEGATIVE_TTL))
    );
    // An alias to nowhere.
    dns.set("alias.example", 60, [alias("missing.example")])
        .await;
    assert!(matches!(
        resolver.txt("alias.example").await,
        Err(DnsFault::Nothing { .. })
    ));
}

#[tokio::test]
async fn a_chain_of_aliases_is_followed_and_lives_as_long_as_its_shortest_link() {
    let dns = DnsServer::start().await;
    dns.set("a.example", 300, [alias("b.example")]).await;
    dns.set("b.example", 40, [alias("c.example")]).await;
    dns.set("c.example", 300, [gateway("g.example")]).await;
    let found = resolver(&[&dns], PATIENT).txt("a.example").await.unwrap();
    assert_eq!(found.records, ["v=amtp1;gateway=https://g.example"]);
    assert_eq!(found.ttl, Duration::from_secs(40));
}

#[tokio::test]
async fn a_server_that_fails_refuses_or_points_elsewhere_has_not_answered() {
    let dns = DnsServer::start().await;
    let resolver = resolver(&[&dns], PATIENT);
    dns.set("t.example", 60, [gateway("g.example")]).await;
    for code in [ResponseCode::ServFail, ResponseCode::Refused] {
        dns.fault("t.example", RecordType::TXT, Some(Fault::Code(code)));
        let answer = resolver.txt("t.example").await;
        assert!(matches!(answer, Err(DnsFault::Failed(_))), "{answer:?}");
    }
    dns.set("elsewhere.example", 60, [delegation("ns.far.example")])
        .await;
    let answer = resolver.txt("t.elsewhere.example").await;
    assert!(matches!(answer, Err(DnsFault::Failed(_))), "{answer:?}");
}

#[tokio::test]
async fn a_silent_server_is_given_up() {
    let dns = DnsServer::start().await;
    dns.fault("t.example", RecordType::TXT, Some(Fault::Silence));
    let answer = resolver(&[&dns], Duration::from_millis(50))
        .txt("t.example")
        .await;
    assert!(matches!(answer, Err(DnsFault::Failed(_))), "{answer:?}");
}

#[tokio::test]
async fn a_failing_server_does_not_hide_one_that_knows() {
    let (bad, good) = (DnsServer::start().await, DnsServer::start().await);
    good.set("t.example", 60, [gateway("g.example")]).await;
    let servfail = Some(Fault::Code(ResponseCode::ServFail));
    bad.fault("t.example", RecordType::TXT, servfail);
    let resolver = resolver(&[&bad, &good], PATIENT);
    for _ in 0..3 {
        assert_eq!(resolver.txt("t.example").await.unwrap().records.len(), 1);
    }
    assert_eq!(bad.asked("t.example", RecordType::TXT), 1);
    assert_eq!(good.asked("t.example", RecordType::TXT), 3);
}

#[tokio::test]
async fn addresses_of_both_versions_take_turns() {
    let dns = DnsServer::start().await;
    dns.set("h.example", 50, [v4("192.0.2.1"), v4("192.0.2.2")])
        .await;
    dns.set("h.example", 60, [v6("2001:db8::1")]).await;
    let resolver = resolver(&[&dns], PATIENT);
    let found = resolver.addresses("h.example").await.unwrap();
    let is_v6: Vec<bool> = found.records.iter().map(IpAddr::is_ipv6).collect();
    assert_eq!(is_v6, [true, false, false]);
    assert_eq!(found.ttl, Duration::from_secs(50));

    let servfail = Some(Fault::Code(ResponseCode::ServFail));
    dns.fault("h.example", RecordType::AAAA, servfail);
    let found = resolver.addresses("h.example").await.unwrap();
    assert!(found.records.iter().all(IpAddr::is_ipv4) && found.records.len() == 2);

    dns.withdraw("h.example", RecordType::A).await;
    let answer = resolver.addresses("h.example").await;
    assert!(matches!(answer, Err(DnsFault::Failed(_))), "{answer:?}");
}

#[tokio::test]
async fn an_address_in_digits_is_its_own_answer() {
    let dns = DnsServer::start().await;
    let resolver = resolver(&[&dns], PATIENT);
    for address in ["192.0.2.7", "2001:db8::7"] {
        let found = resolver.addresses(address).await.unwrap();
        assert_eq!(found.records, addresses(address));
    }
}

#[tokio::test]
async fn mail_exchanges_come_by_preference() {
    let dns = DnsServer::start().await;
    dns.set(
        "m.example",
        60,
        [mx(20, "C.example"), mx(5, "a.example"), mx(10, "b.example")],
    )
    .await;
    dns.set("null.example", 60, [mx(0, "")]).await;
    let resolver = resolver(&[&dns], PATIENT);
    let found = resolver.mx("m.example").await.unwrap();
    let hosts: Vec<&str> = found.records.iter().map(|one| one.host.as_str()).collect();
    assert_eq!(hosts, ["a.example", "b.example", "c.example"]);
    let found = resolver.mx("null.example").await.unwrap();
    assert_eq!(found.records.len(), 1);
    assert_eq!(found.records[0].host, "");
}
