use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;
use crate::clock::Clock;
use crate::events::Events;
use crate::intake::{LocalNames, People, Rules};
use crate::mime::{MailLimits, parse};
use crate::protocol::Domain;
use crate::store::tests::Home;
use crate::store::{
    AgentSettings, Created, Ending, Feed, Grant, NewAgent, NewKey, Party, QueueFilter, ReturnPath,
    Settlement, Space, Store, StoreOptions, open, party_hash,
};
use crate::telemetry::Metrics;

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

struct Bench {
    intake: Intake,
    store: Store,
    stop: CancellationToken,
    tasks: TaskTracker,
    _home: Home,
}

/// The fields and the parts of a mail that says that another came back.
const REPORT: &str = "MIME-Version: 1.0\r\n\
    Content-Type: multipart/report; report-type=delivery-status; boundary=cut\r\n\r\n\
    --cut\r\nContent-Type: message/delivery-status\r\n\r\n\
    Reporting-MTA: dns; mx.old.test\r\n\r\nFinal-Recipient: rfc822; person@old.test\r\n\
    Action: failed\r\nStatus: 5.1.1\r\n\r\n--cut--\r\n";

/// The local part that mail about this message to `person@old.test` comes back to.
fn return_path(mid: i64) -> String {
    let party = party_hash("person@old.test");
    Sealer::new(KEY)
        .unwrap()
        .return_path(ReturnPath { mid, party })
}

fn domain(name: &str) -> Domain {
    Domain::parse(name).unwrap()
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

impl Bench {
    async fn new() -> Self {
        let home = Home::sqlite();
        let options = StoreOptions {
            database: home.database(),
        };
        let (clock, metrics) = (Clock::system(), Metrics::default());
        let opened = open(&options, Events::default(), metrics.clone(), clock.clone());
        let (store, committer) = opened.await.unwrap();
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(committer.run(stop.clone()));
        let names = LocalNames {
            domains: [domain("our.test"), domain("old.test")].into(),
            people: Some(People {
                onward: [domain("old.test")].into(),
            }),
            ..LocalNames::default()
        };
        let rules = Rules {
            limits: Limits::default(),
            give_up: Duration::from_secs(3_600),
        };
        let space = Space::watch(None, 0, metrics.clone()).unwrap();
        let stored = (store.clone(), space);
        let intake = Intake::new(stored, Arc::new(names), rules, clock, metrics);
        let intake = intake.with_mail(MailDoor {
            gateway: GatewayUrl::parse("https://gateway.our.test").unwrap(),
            returns: Some(Sealer::new(KEY).unwrap()),
        });
        Self {
            intake,
            store,
            stop,
            tasks,
            _home: home,
        }
    }

    async fn agent(&self, name: &str, domain: Domain) {
        let agent = NewAgent {
            domain,
            name: crate::protocol::AgentName::parse(name).unwrap(),
            settings: AgentSettings::fresh(),
            sealed_headers: None,
            key: NewKey {
                id: format!("key-of-{name}"),
                hash: vec![1; 32],
                grant: Grant::default(),
            },
            token: None,
            now: Timestamp::from_millis(0),
        };
        let created = self.store.create_agent(agent).await.unwrap();
        assert!(matches!(created, Created::Agent(_)));
    }

    async fn post(&self, to: &[&str], more: &str) -> Result<Option<Receipt>, Refusal> {
        let raw = format!("From: x@sender.test\r\nSubject: Hello\r\n{more}\r\nText.\r\n");
        let posted = Posted {
            mail: parse(raw.as_bytes(), &MailLimits::default()).unwrap(),
            raw: Bytes::from(raw),
            reverse_path: "x@sender.test".to_owned(),
            recipients: to.iter().map(|it| address(it)).collect(),
            verdict: MailVerdict::unknown(),
            remote: "192.0.2.1".parse().unwrap(),
            request_id: "r".to_owned(),
        };
        self.intake.accept_mail(posted).await
    }

    async fn close(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

#[tokio::test]
async fn mail_is_taken_for_agents_return_paths_and_what_goes_onward() {
    use Admitted::{Foreign, Unknown, Yes};
    let bench = Bench::new().await;
    bench.agent("agent", domain("our.test")).await;
    let known = return_path(1);
    for (to, admitted) in [
        ("agent@our.test", Yes),
        ("Agent+x@OUR.test", Yes),
        ("nobody@our.test", Unknown),
        (format!("{known}@our.test").as_str(), Yes),
        (format!("{known}@old.test").to_uppercase().as_str(), Yes),
        ("bounce+forged@our.test", Unknown),
        ("person@old.test", Yes),
        ("bounce+forged@old.test", Unknown),
        ("workflow@old.test", Unknown),
        ("person@elsewhere.test", Foreign),
        (format!("{known}@elsewhere.test").as_str(), Foreign),
    ] {
        let found = bench.intake.admits(&address(to)).await.unwrap();
        assert_eq!(found, admitted, "{to}");
    }
    bench.close().await;
}

#[tokio::test]
async fn what_is_for_a_return_path_is_a_note_and_no_message() {
    let bench = Bench::new().await;
    bench.agent("agent", domain("our.test")).await;
    let sent = bench.post(&["person@old.test"], "").await.unwrap().unwrap();
    let party = crate::protocol::Address::parse("person@old.test").unwrap();
    let row = bench
        .store
        .feed(&Feed::After(0), 1)
        .await
        .unwrap()
        .remove(0);
    let settlement = Settlement {
        seq: row.seq,
        mid: row.mid,
        recipient: party.to_string(),
        at: Timestamp::from_millis(1),
        held: None,
        attempt: None,
        fate: Ending::Delivered,
    };
    bench
        .store
        .settle(vec![settlement], Vec::new())
        .await
        .unwrap();
    let path = format!("{}@our.test", return_path(row.mid));
    let state = async || {
        let party = Party::Operator;
        let found = bench.store.find_message(&sent.message_id, &party).await;
        format!("{:?}", found.unwrap()[0].recipients[0].status)
    };
    let before = state().await;
    assert_eq!(bench.post(&[&path], "").await.unwrap(), None);
    assert_eq!(state().await, before, "it says nothing");
    let receipt = bench.post(&[&path, "agent@our.test"], REPORT).await;
    let receipt = receipt.unwrap().unwrap();
    let to: Vec<_> = receipt
        .recipients
        .iter()
        .map(|it| it.address.as_str())
        .collect();
    assert_eq!(to, ["agent@our.test"]);
    assert_ne!(state().await, before, "it failed after all");
    bench.close().await;
}

#[tokio::test]
async fn mail_that_goes_onward_is_kept_as_it_came() {
    let bench = Bench::new().await;
    let receipt = bench
        .post(&["person@old.test"], "Message-ID: <1@sender.test>\r\n")
        .await;
    let id = receipt.unwrap().unwrap().message_id;
    let queue = bench
        .store
        .list_deliveries(&QueueFilter::default(), 0, 10)
        .await
        .unwrap();
    let found: Vec<_> = queue
        .iter()
        .map(|it| (it.message_id.as_str(), it.destination.as_str()))
        .collect();
    assert_eq!(found, [(id.as_str(), "mail:old.test")]);
    let stored = bench
        .store
        .find_message(&id, &crate::store::Party::Operator)
        .await
        .unwrap();
    let message = stored[0].message.message().unwrap();
    let key = stored[0].message.idempotency_key(&message).unwrap();
    let raw = bench
        .store
        .find_blob(&raw_mail_id(&stored[0].message.sender, &key))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(raw.message, Some(stored[0].message.mid));
    assert_eq!(raw.media_type, "message/rfc822");
    bench.close().await;
}

#[tokio::test]
async fn a_mail_without_an_author_is_refused_and_so_is_one_for_nobody() {
    let bench = Bench::new().await;
    bench.agent("agent", domain("our.test")).await;
    let code = async |to: &str, more: &str| bench.post(&[to], more).await.unwrap_err().code;
    assert_eq!(code("gone@our.test", "").await, ErrorCode::AgentUnknown);
    let spoofed = "From: agent@our.test\r\n";
    assert!(
        bench.post(&["agent@our.test"], spoofed).await.is_ok(),
        "two authors: the envelope's"
    );
    bench.close().await;
}
