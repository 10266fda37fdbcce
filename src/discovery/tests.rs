use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{RData, RecordType};
use tokio::task::JoinSet;

use super::*;
use crate::clock::TestClock;
use crate::net::{Asked, HickoryResolver};
use crate::protocol::Timestamp;

mod resolver;
mod server;

use server::{DnsServer, Fault, NEGATIVE_TTL, alias, gateway, mx, txt, v4, v6};

const PATIENT: Duration = Duration::from_secs(20);
const SERVFAIL: Option<Fault> = Some(Fault::Code(ResponseCode::ServFail));
const A_DAY: u64 = 86_400;

/// A discovery that asks a server of its own, by a clock that stands still.
struct Bench {
    dns: DnsServer,
    clock: Arc<TestClock>,
    metrics: Metrics,
    discovery: Discovery,
}

impl Bench {
    async fn start() -> Self {
        Self::with_timeout(PATIENT).await
    }

    async fn with_timeout(timeout: Duration) -> Self {
        let dns = DnsServer::start().await;
        let resolver = HickoryResolver::new(&[dns.address], timeout).unwrap();
        let clock = TestClock::at(Timestamp::from_millis(1_700_000_000_000));
        let metrics = Metrics::new();
        let discovery = Discovery::new(
            Arc::new(resolver),
            Clock::over(clock.clone()),
            metrics.clone(),
        );
        Self {
            dns,
            clock,
            metrics,
            discovery,
        }
    }

    async fn publish<const N: usize>(&self, ttl: u32, data: [RData; N]) {
        self.dns.set("_amtp.a.example", ttl, data).await;
    }

    fn fault(&self, fault: Option<Fault>) {
        self.dns.fault("_amtp.a.example", RecordType::TXT, fault);
    }

    async fn find(&self) -> Result<Arc<Found>, DiscoveryFault> {
        self.discovery.find(&domain("a.example")).await
    }

    /// The hosts of the gateways that are found, and whether they are stale.
    async fn hosts(&self) -> (Vec<String>, bool) {
        let found = self.find().await.unwrap();
        (hosts(&found), found.stale)
    }

    fn asked(&self) -> usize {
        self.dns.asked("_amtp.a.example", RecordType::TXT)
    }

    fn now(&self) -> Timestamp {
        Clock::over(self.clock.clone()).now()
    }

    fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    #[track_caller]
    fn assert_counted(&self, kind: &str, outcome: &str, times: u64) {
        let line =
            format!(r#"amtp_dns_lookups_total{{kind="{kind}",outcome="{outcome}"}} {times}"#);
        let text = self.metrics.encode();
        assert!(text.lines().any(|shown| shown == line), "{line}\n{text}");
    }
}

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

fn hosts(found: &Found) -> Vec<String> {
    let Answer::Gateways(gateways) = &found.answer else {
        return Vec::new();
    };
    let mut hosts: Vec<String> = gateways
        .iter()
        .map(|one| one.gateway.host().to_owned())
        .collect();
    hosts.sort_unstable();
    hosts
}

fn seconds(duration: Duration) -> u64 {
    duration.as_secs()
}

fn fresh(host: &str) -> (Vec<String>, bool) {
    (vec![host.to_owned()], false)
}

fn stale(host: &str) -> (Vec<String>, bool) {
    (vec![host.to_owned()], true)
}

#[tokio::test]
async fn a_record_is_found_and_asked_for_once() {
    let bench = Bench::start().await;
    bench.publish(120, [gateway("g.example")]).await;
    assert_eq!(bench.discovery.cached(&domain("a.example")), None);
    let found = bench.find().await.unwrap();
    assert_eq!(hosts(&found), ["g.example"]);
    assert_eq!(seconds(found.ttl), 120);
    assert_eq!(found.expires_at, bench.now().plus(found.ttl));
    assert_eq!(bench.find().await.unwrap(), found);
    assert_eq!(bench.discovery.cached(&domain("a.example")), Some(found));
    assert_eq!(bench.asked(), 1);
    bench.assert_counted("txt", "found", 1);
    bench.assert_counted("txt", "cached", 1);
}

#[tokio::test]
async fn a_record_of_two_strings_and_300_bytes_is_one_record() {
    let bench = Bench::start().await;
    let record = format!("v=amtp1;gateway=https://g.example/{}", "p".repeat(266));
    assert_eq!(record.len(), 300);
    let (head, tail) = record.as_bytes().split_at(250);
    bench.publish(120, [txt(&[head, tail])]).await;
    assert_eq!(bench.hosts().await, fresh("g.example"));
}

#[tokio::test]
async fn an_over_long_record_is_passed_over() {
    let bench = Bench::start().await;
    let record = format!(
        "v=amtp1;gateway=https://long.example;x={}",
        "x".repeat(4_096)
    );
    let parts: Vec<&[u8]> = record.as_bytes().chunks(255).collect();
    bench
        .publish(120, [txt(&parts), gateway("g.example")])
        .await;
    assert_eq!(bench.hosts().await, fresh("g.example"));
    assert!(bench.dns.asked_over_tcp());
}

#[tokio::test]
async fn several_valid_records_are_alternatives() {
    let bench = Bench::start().await;
    let other = txt(&[b"v=spf1 -all"]);
    bench
        .publish(120, [gateway("g1.example"), other, gateway("g2.example")])
        .await;
    let (hosts, _) = bench.hosts().await;
    assert_eq!(hosts, ["g1.example", "g2.example"]);
}

#[tokio::test]
async fn a_record_of_another_version_is_none_and_is_told() {
    let bench = Bench::start().await;
    let record = b"v=amtp2;gateway=https://g.example";
    bench.publish(3_600, [txt(&[record])]).await;
    let found = bench.find().await.unwrap();
    let Answer::NoRecord { invalid } = &found.answer else {
        panic!("{found:?}");
    };
    assert_eq!(invalid.len(), 1);
    assert_eq!(
        seconds(found.ttl),
        300,
        "nothing is kept for 5 minutes at most"
    );
    bench.assert_counted("txt", "none", 1);
}

#[tokio::test]
async fn aliases_are_followed() {
    let bench = Bench::start().await;
    bench.publish(300, [alias("b.example")]).await;
    bench.dns.set("b.example", 90, [alias("c.example")]).await;
    bench
        .dns
        .set("c.example", 300, [gateway("g.example")])
        .await;
    assert_eq!(bench.hosts().await, fresh("g.example"));
    assert_eq!(seconds(bench.find().await.unwrap().ttl), 90);
}

#[tokio::test]
async fn a_missing_name_is_remembered_as_long_as_the_zone_says() {
    let bench = Bench::start().await;
    let found = bench.find().await.unwrap();
    assert_eq!(found.answer, Answer::NoRecord { invalid: vec![] });
    assert_eq!(seconds(found.ttl), u64::from(NEGATIVE_TTL));
    bench.publish(300, [gateway("g.example")]).await;
    bench.advance(u64::from(NEGATIVE_TTL) - 1);
    assert_eq!(bench.hosts().await, (vec![], false));
    assert_eq!(bench.asked(), 1);
    bench.advance(1);
    assert_eq!(bench.discovery.cached(&domain("a.example")), None);
    assert_eq!(bench.hosts().await, fresh("g.example"));
}

#[tokio::test]
async fn a_withdrawn_record_is_gone_when_its_time_is_over() {
    let bench = Bench::start().await;
    bench.publish(60, [gateway("g.example")]).await;
    assert_eq!(bench.hosts().await, fresh("g.example"));
    bench.dns.withdraw("_amtp.a.example", RecordType::TXT).await;
    bench.advance(59);
    assert_eq!(bench.hosts().await, fresh("g.example"));
    bench.advance(1);
    assert_eq!(bench.hosts().await, (vec![], false));
    // What the DNS has taken back does not come again when it fails.
    bench.fault(SERVFAIL);
    bench.advance(u64::from(NEGATIVE_TTL));
    assert!(matches!(bench.find().await, Err(DiscoveryFault::Dns(_))));
}

#[tokio::test]
async fn a_time_to_live_has_a_floor_and_a_cap() {
    for (published, kept) in [(0, 30), (29, 30), (31, 31), (90_000, 86_400)] {
        let bench = Bench::start().await;
        bench.publish(published, [gateway("g.example")]).await;
        assert_eq!(seconds(bench.find().await.unwrap().ttl), kept);
        bench.advance(kept - 1);
        assert_eq!(bench.hosts().await, fresh("g.example"));
        assert_eq!(bench.asked(), 1, "{published}");
        bench.advance(1);
        assert_eq!(bench.hosts().await, fresh("g.example"));
        assert_eq!(bench.asked(), 2, "{published}");
    }
}

#[tokio::test]
async fn a_failure_is_no_answer_and_is_remembered_for_five_seconds() {
    let bench = Bench::start().await;
    bench.publish(60, [gateway("g.example")]).await;
    bench.fault(SERVFAIL);
    assert!(matches!(bench.find().await, Err(DiscoveryFault::Dns(_))));
    let asked = bench.asked();
    bench.fault(None);
    bench.clock.advance(Duration::from_millis(4_999));
    assert!(matches!(bench.find().await, Err(DiscoveryFault::Dns(_))));
    assert_eq!(bench.asked(), asked);
    bench.clock.advance(Duration::from_millis(1));
    assert_eq!(bench.hosts().await, fresh("g.example"));
    bench.assert_counted("txt", "failed", 2);
}

#[tokio::test]
async fn a_server_that_never_answers_is_a_failure() {
    let bench = Bench::with_timeout(Duration::from_millis(50)).await;
    bench.fault(Some(Fault::Silence));
    assert!(matches!(bench.find().await, Err(DiscoveryFault::Dns(_))));
}

#[tokio::test]
async fn a_stale_record_serves_while_the_dns_fails() {
    let bench = Bench::start().await;
    bench.publish(60, [gateway("g.example")]).await;
    let first = bench.find().await.unwrap();
    bench.fault(SERVFAIL);
    bench.advance(60);
    assert_eq!(bench.hosts().await, stale("g.example"));
    assert_eq!(bench.find().await.unwrap().expires_at, first.expires_at);
    assert_eq!(bench.discovery.cached(&domain("a.example")), None);
    let asked = bench.asked();
    bench.advance(29);
    assert_eq!(bench.hosts().await, stale("g.example"));
    assert_eq!(bench.asked(), asked, "asked again within 30 seconds");
    bench.advance(1);
    assert_eq!(bench.hosts().await, stale("g.example"));
    assert!(bench.asked() > asked, "not asked again after 30 seconds");
    bench.fault(None);
    bench.publish(60, [gateway("new.example")]).await;
    bench.advance(30);
    assert_eq!(bench.hosts().await, fresh("new.example"));
    bench.assert_counted("txt", "stale", 4);
}

#[tokio::test]
async fn a_stale_record_serves_for_a_day_at_most() {
    let bench = Bench::start().await;
    bench.publish(60, [gateway("g.example")]).await;
    bench.find().await.unwrap();
    bench.fault(SERVFAIL);
    bench.advance(60 + A_DAY - 1);
    assert_eq!(bench.hosts().await, stale("g.example"));
    bench.advance(1);
    assert!(matches!(bench.find().await, Err(DiscoveryFault::Dns(_))));
    // Nor does it come back later.
    bench.advance(A_DAY);
    assert!(matches!(bench.find().await, Err(DiscoveryFault::Dns(_))));
}

#[tokio::test]
async fn a_stale_record_serves_while_the_server_is_down() {
    let bench = Bench::with_timeout(Duration::from_millis(500)).await;
    bench.publish(60, [gateway("g.example")]).await;
    assert_eq!(bench.hosts().await, fresh("g.example"));
    let discovery = bench.discovery.clone();
    bench.dns.stop().await;
    bench.clock.advance(Duration::from_secs(60));
    let found = discovery.find(&domain("a.example")).await.unwrap();
    assert_eq!((hosts(&found), found.stale), stale("g.example"));
    let unknown = discovery.find(&domain("b.example")).await;
    assert!(matches!(unknown, Err(DiscoveryFault::Dns(_))));
}

#[tokio::test]
async fn a_hundred_who_ask_at_once_ask_once() {
    let bench = Bench::start().await;
    bench.publish(60, [gateway("g.example")]).await;
    let mut all = JoinSet::new();
    for _ in 0..100 {
        let discovery = bench.discovery.clone();
        all.spawn(async move { discovery.find(&domain("a.example")).await });
    }
    let found = all.join_all().await;
    assert!(
        found
            .iter()
            .all(|one| hosts(one.as_ref().unwrap()) == ["g.example"])
    );
    assert_eq!(bench.asked(), 1);
    bench.assert_counted("txt", "found", 1);
    bench.assert_counted("txt", "cached", 99);
}

#[tokio::test]
async fn a_fixed_gateway_needs_no_dns() {
    let bench = Bench::start().await;
    bench.publish(60, [gateway("g.example")]).await;
    let fixed = Advertisement::parse("v=amtp1;gateway=https://fixed.example").unwrap();
    let fixed = HashMap::from([(domain("a.example"), fixed)]);
    let discovery = bench.discovery.clone().with_overrides(fixed);
    let found = discovery.find(&domain("a.example")).await.unwrap();
    assert_eq!((hosts(&found), found.stale), fresh("fixed.example"));
    assert_eq!(seconds(found.ttl), A_DAY);
    assert_eq!(discovery.cached(&domain("a.example")), Some(found));
    assert_eq!(bench.asked(), 0);
}

#[tokio::test]
async fn mail_goes_to_the_exchanges_in_order() {
    let bench = Bench::start().await;
    let records = [mx(20, "b.example"), mx(10, "a.example")];
    bench.dns.set("m.example", 60, records).await;
    let to = |preference, host: &str| MailExchange {
        preference,
        host: host.to_owned(),
    };
    for _ in 0..2 {
        assert_eq!(
            bench.discovery.mail_exchanges(&domain("m.example")).await,
            Ok(MailRoute::Exchanges(vec![
                to(10, "a.example"),
                to(20, "b.example")
            ]))
        );
    }
    assert_eq!(bench.dns.asked("m.example", RecordType::MX), 1);
    bench.assert_counted("mx", "found", 1);
    bench.assert_counted("mx", "cached", 1);
}

#[tokio::test]
async fn a_domain_without_exchanges_is_its_own_or_has_no_mail() {
    let bench = Bench::start().await;
    bench.dns.set("host.example", 60, [v4("192.0.2.1")]).await;
    bench.dns.set("null.example", 60, [mx(0, "")]).await;
    bench.dns.set("null.example", 60, [v4("192.0.2.1")]).await;
    let route = async |name: &str| bench.discovery.mail_exchanges(&domain(name)).await;
    assert_eq!(
        route("host.example").await,
        Ok(MailRoute::Implicit("host.example".to_owned()))
    );
    assert_eq!(route("null.example").await, Ok(MailRoute::None));
    assert_eq!(route("missing.example").await, Ok(MailRoute::None));
    // Where nobody knows of exchanges, the host does not stand in for them.
    bench.dns.set("fails.example", 60, [v4("192.0.2.1")]).await;
    bench.dns.fault("fails.example", RecordType::MX, SERVFAIL);
    assert!(matches!(
        route("fails.example").await,
        Err(DiscoveryFault::Dns(_))
    ));
}

#[tokio::test]
async fn addresses_are_remembered_like_the_rest() {
    let bench = Bench::start().await;
    bench.dns.set("h.example", 60, [v4("192.0.2.1")]).await;
    bench.dns.set("h.example", 60, [v6("2001:db8::1")]).await;
    let of = async |host: &str| bench.discovery.addresses(host).await.unwrap();
    let both: [IpAddr; 2] = ["2001:db8::1".parse().unwrap(), "192.0.2.1".parse().unwrap()];
    assert_eq!(of("h.example").await, both);
    assert_eq!(of("H.example.").await, both);
    assert_eq!(bench.dns.asked("h.example", RecordType::A), 1);
    assert_eq!(
        of("192.0.2.9").await,
        ["192.0.2.9".parse::<IpAddr>().unwrap()]
    );
    assert!(of("missing.example").await.is_empty());
    bench.assert_counted("address", "found", 1);
    bench.assert_counted("address", "cached", 1);
    bench.assert_counted("address", "none", 1);
}

/// Never answers; counts who waits.
#[derive(Default)]
struct Mute(AtomicUsize);

impl Resolver for Mute {
    fn txt<'a>(&'a self, _: &'a str) -> Asked<'a, String> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Box::pin(std::future::pending())
    }

    fn mx<'a>(&'a self, _: &'a str) -> Asked<'a, MailExchange> {
        Box::pin(std::future::pending())
    }

    fn addresses<'a>(&'a self, _: &'a str) -> Asked<'a, IpAddr> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn the_sixty_fifth_question_waits_five_seconds_for_its_place() {
    let mute = Arc::new(Mute::default());
    let clock = TestClock::at(Timestamp::from_millis(0));
    let discovery = Discovery::new(mute.clone(), Clock::over(clock.clone()), Metrics::new());
    let mut waiting = JoinSet::new();
    for n in 0..64 {
        let discovery = discovery.clone();
        waiting.spawn(async move { discovery.find(&domain(&format!("d{n}.example"))).await });
    }
    while mute.0.load(Ordering::SeqCst) < 64 {
        tokio::task::yield_now().await;
    }
    let last = domain("last.example");
    let (first, second, ()) = tokio::join!(
        biased;
        discovery.find(&last),
        discovery.find(&last),
        async { clock.advance(Duration::from_secs(5)) },
    );
    assert_eq!(first, Err(DiscoveryFault::Busy));
    assert_eq!(second, Err(DiscoveryFault::Busy));
    assert_eq!(mute.0.load(Ordering::SeqCst), 64);
    // Who gives up leaves its place.
    waiting.abort_all();
    while waiting.join_next().await.is_some() {}
    tokio::select! {
        biased;
        answer = discovery.find(&last) => panic!("{answer:?}"),
        () = tokio::task::yield_now() => {}
    }
    assert_eq!(mute.0.load(Ordering::SeqCst), 65);
}

#[tokio::test]
async fn names_do_not_share_answers() {
    let bench = Bench::start().await;
    let mut found = HashSet::new();
    for name in ["a", "b", "c"] {
        let at = format!("_amtp.{name}.example");
        bench.dns.set(&at, 60, [gateway(name)]).await;
        let answer = bench
            .discovery
            .find(&domain(&format!("{name}.example")))
            .await;
        found.extend(hosts(&answer.unwrap()));
    }
    assert_eq!(found.len(), 3);
}
