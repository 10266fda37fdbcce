use std::net::IpAddr;
use std::sync::Mutex;

use super::*;
use crate::clock::TestClock;
use crate::net::{
    AddressFilter, Asked, GuardOptions, MailExchange, Plain, Records, Times, TlsVersions,
};

const POLICY: &str =
    "version: STSv1\r\nmode: enforce\r\nmx: mx.a.test\r\nmx: *.mail.a.test\r\nmax_age: 86400\r\n";

#[test]
fn policies_are_read_and_name_hosts() {
    let policy = StsPolicy::parse(POLICY).unwrap();
    assert_eq!(policy.mode, StsMode::Enforce);
    for (host, named) in [
        ("mx.a.test", true),
        ("MX.A.TEST.", true),
        ("one.mail.a.test", true),
        ("mail.a.test", false),
        ("two.one.mail.a.test", false),
        ("mx.b.test", false),
    ] {
        assert_eq!(policy.names(host), named, "{host}");
    }
}

#[test]
fn what_is_no_policy_is_none() {
    for text in [
        "",
        "version: STSv2\nmode: enforce\nmx: a\nmax_age: 1",
        "version: STSv1\nmode: strict\nmx: a\nmax_age: 1",
        "version: STSv1\nmode: enforce\nmax_age: 1",
        "version: STSv1\nmode: enforce\nmx: a",
        "version: STSv1\nmode: enforce\nmx: a\nmax_age: long",
    ] {
        assert_eq!(StsPolicy::parse(text), None, "{text}");
    }
    let ended = StsPolicy::parse("version: STSv1\nmode: none\nmax_age: 99999999999").unwrap();
    assert_eq!(ended.mode, StsMode::None);
    assert_eq!(ended.max_age, Duration::from_secs(YEAR));
}

#[test]
fn exactly_one_record_announces_a_policy() {
    let table: [(&[&str], Option<&str>); 7] = [
        (&["v=STSv1; id=20260101;"], Some("20260101")),
        (&["v=spf1 -all", "v=STSv1;id=a"], Some("a")),
        (&["v=STSv1; id=a", "v=STSv1; id=b"], None),
        (&["v=STSv1"], None),
        (&["v=STSv10; id=a"], None),
        (&["v=STSv1; id=a b"], None),
        (&[], None),
    ];
    for (records, id) in table {
        let records: Vec<String> = records.iter().map(|&one| one.to_owned()).collect();
        assert_eq!(sts_id(&records).as_deref(), id, "{records:?}");
    }
}

/// Answers TXT questions with one record, or none.
struct Fixed(Mutex<Option<&'static str>>);

impl Resolver for Fixed {
    fn txt<'a>(&'a self, _name: &'a str) -> Asked<'a, String> {
        let record = *self.0.lock().unwrap();
        Box::pin(async move {
            let record = record.ok_or(DnsFault::Nothing { ttl: None })?;
            Ok(Records {
                records: vec![record.to_owned()],
                ttl: Duration::from_secs(60),
            })
        })
    }

    fn mx<'a>(&'a self, _name: &'a str) -> Asked<'a, MailExchange> {
        Box::pin(async { Err(DnsFault::Nothing { ttl: None }) })
    }

    fn addresses<'a>(&'a self, _host: &'a str) -> Asked<'a, IpAddr> {
        Box::pin(async { Err(DnsFault::Nothing { ttl: None }) })
    }
}

struct Bench {
    dns: Arc<Fixed>,
    clock: Arc<TestClock>,
    sts: MtaSts,
}

impl Bench {
    fn new(record: Option<&'static str>) -> Self {
        let dns = Arc::new(Fixed(Mutex::new(record)));
        let clock = TestClock::at(Timestamp::from_millis(1_700_000_000_000));
        let client = GuardedClient::new(GuardOptions {
            resolver: dns.clone(),
            filter: AddressFilter::public(),
            trusted_ca_files: Vec::new(),
            client_identity: None,
            tls: TlsVersions::From12,
            plain: Plain::Refused,
            times: Times::default(),
            clock: Clock::over(clock.clone()),
        });
        let sts = MtaSts::new(dns.clone(), client.unwrap(), Clock::over(clock.clone()));
        Self { dns, clock, sts }
    }

    fn publish(&self, record: Option<&'static str>) {
        *self.dns.0.lock().unwrap() = record;
    }

    /// Asks; the policy's text is `served`. Says what was found, and whether it was fetched.
    async fn find(&self, served: Option<&str>) -> (Option<Arc<StsPolicy>>, bool) {
        let fetched = Mutex::new(false);
        let domain = Domain::parse("a.test").unwrap();
        let found = self.sts.find_by(&domain, |_| async {
            *fetched.lock().unwrap() = true;
            served.map(str::to_owned)
        });
        let found = found.await;
        (found, fetched.into_inner().unwrap())
    }
}

#[tokio::test]
async fn a_policy_is_fetched_once_and_holds_though_its_record_goes() {
    let bench = Bench::new(Some("v=STSv1; id=1"));
    assert!(matches!(bench.find(Some(POLICY)).await, (Some(_), true)));
    assert!(matches!(bench.find(None).await, (Some(_), false)));
    bench.publish(None);
    bench.clock.advance(Duration::from_secs(3_600));
    assert!(matches!(bench.find(None).await, (Some(_), false)));
    bench.clock.advance(Duration::from_secs(86_400));
    assert!(matches!(bench.find(None).await, (None, false)));
}

#[tokio::test]
async fn another_id_brings_another_policy_and_one_that_cannot_be_fetched_changes_nothing() {
    let bench = Bench::new(Some("v=STSv1; id=1"));
    bench.find(Some(POLICY)).await;
    bench.publish(Some("v=STSv1; id=2"));
    bench.clock.advance(LOOK);
    let (kept, fetched) = bench.find(None).await;
    assert!(fetched && kept.is_some_and(|policy| policy.mode == StsMode::Enforce));
    bench.clock.advance(LOOK);
    let (changed, fetched) = bench
        .find(Some("version: STSv1\nmode: none\nmax_age: 600"))
        .await;
    assert!(fetched && changed.is_some_and(|policy| policy.mode == StsMode::None));
}

#[tokio::test]
async fn a_domain_without_a_policy_is_asked_again_after_a_while() {
    let bench = Bench::new(None);
    assert!(matches!(bench.find(Some(POLICY)).await, (None, false)));
    bench.publish(Some("v=STSv1; id=1"));
    assert!(matches!(bench.find(Some(POLICY)).await, (None, false)));
    bench.clock.advance(LOOK);
    assert!(matches!(bench.find(Some(POLICY)).await, (Some(_), true)));
}
