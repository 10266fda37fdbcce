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
    return_path_to("person@old.test", mid)
}

fn return_path_to(recipient: &str, mid: i64) -> String {
    let party = party_hash(recipient);
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
        self.post_from("x@sender.test", to, more)
            .await
            .map(|it| it.1)
    }

    /// What is left of the recipients, and the receipt for those.
    async fn post_from(
        &self,
        from: &str,
        to: &[&str],
        more: &str,
    ) -> Result<(Rest, Option<Receipt>), Refusal> {
        let raw = format!("From: {from}\r\nSubject: Hello\r\n{more}\r\nText.\r\n");
        let mail = parse(raw.as_bytes(), &MailLimits::default()).unwrap();
        let to: Vec<Address> = to.iter().map(|it| address(it)).collect();
        let rest = self.intake.note_returns(&mail, from, &to).await?;
        if rest.recipients.is_empty() {
            return Ok((rest, None));
        }
        let posted = Posted {
            mail,
            raw: Bytes::from(raw),
            reverse_path: from.to_owned(),
            rest: rest.clone(),
            verdict: MailVerdict::unknown(),
            remote: "192.0.2.1".parse().unwrap(),
            request_id: "r".to_owned(),
        };
        let receipt = self.intake.accept_mail(posted).await?;
        Ok((rest, Some(receipt)))
    }

    /// A mail to `person@old.test` that was delivered: its receipt, and the local part it comes back to.
    async fn delivered(&self) -> (Receipt, String) {
        let sent = self.post(&["person@old.test"], "").await.unwrap().unwrap();
        let mut rows = self.store.feed(&Feed::After(0), 1).await.unwrap();
        let row = rows.remove(0);
        let settlement = Settlement {
            seq: row.seq,
            mid: row.mid,
            recipient: "person@old.test".to_owned(),
            at: Timestamp::from_millis(1),
            held: None,
            attempt: None,
            fate: Ending::Delivered,
        };
        let settled = self.store.settle(vec![settlement], Vec::new());
        settled.await.unwrap();
        (sent, return_path(row.mid))
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
    let (sent, path) = bench.delivered().await;
    let path = format!("{path}@our.test");
    let state = async || {
        let party = Party::Operator;
        let found = bench.store.find_message(&sent.message_id, &party).await;
        format!("{:?}", found.unwrap()[0].recipients[0].status)
    };
    let before = state().await;
    for machine in ["Auto-Submitted: auto-replied\r\n", "Precedence: bulk\r\n"] {
        let posted = bench.post_from("person@old.test", &[&path], machine).await;
        let (rest, receipt) = posted.unwrap();
        assert_eq!((rest.heard, receipt), (1, None), "{machine}");
    }
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
async fn a_report_that_comes_before_the_end_is_written_comes_again() {
    let bench = Bench::new().await;
    bench.post(&["person@old.test"], "").await.unwrap().unwrap();
    let row = bench
        .store
        .feed(&Feed::After(0), 1)
        .await
        .unwrap()
        .remove(0);
    let path = format!("{}@our.test", return_path(row.mid));
    let early = bench.post(&[&path], REPORT).await.unwrap_err();
    assert_eq!(early.code, ErrorCode::TemporaryFailure);
    // One about what nobody knows any more says nothing, and need not come again.
    let forgotten = format!("{}@our.test", return_path(row.mid + 1));
    assert_eq!(bench.post(&[&forgotten], REPORT).await.unwrap(), None);
    bench.close().await;
}

#[tokio::test]
async fn a_person_who_answers_to_the_return_path_answers_the_message_and_nobody_else_does() {
    let bench = Bench::new().await;
    bench.agent("agent", domain("our.test")).await;
    let raw = r#"{"sender":"agent@our.test","recipients":["person@sender.test"],"payload":1}"#;
    let made = crate::intake::Made {
        raw: raw.into(),
        origin: Origin::Reply,
        request_id: "r".to_owned(),
    };
    let acceptance = bench.intake.judge_made(made).await.unwrap();
    let id = acceptance.envelope.message_id.clone();
    bench.store.accept(acceptance).await.unwrap();
    let row = bench
        .store
        .feed(&Feed::After(0), 1)
        .await
        .unwrap()
        .remove(0);
    let settlement = Settlement {
        seq: row.seq,
        mid: row.mid,
        recipient: "person@sender.test".to_owned(),
        at: Timestamp::from_millis(1),
        held: None,
        attempt: None,
        fate: Ending::Delivered,
    };
    let settled = bench.store.settle(vec![settlement], Vec::new());
    settled.await.unwrap();
    let path = format!("{}@our.test", return_path_to("person@sender.test", row.mid));
    let answered = async |to: &[&str]| {
        let more = format!("X-To: {}\r\n", to.join(" "));
        let posted = bench.post_from("Person@sender.test", to, &more).await;
        let receipt = posted.unwrap().1.unwrap();
        let to: Vec<String> = receipt
            .recipients
            .iter()
            .map(|it| it.address.to_string())
            .collect();
        assert_eq!(to, ["agent@our.test"]);
        let found = bench
            .store
            .find_message(&receipt.message_id, &Party::Operator);
        let message = found.await.unwrap()[0].message.message().unwrap();
        message.in_reply_to().cloned()
    };
    assert_eq!(answered(&[&path]).await, Some(id.clone()));
    assert_eq!(answered(&["agent@our.test", &path]).await, Some(id));
    assert_eq!(answered(&["agent@our.test"]).await, None);
    let stranger = bench.post_from("x@sender.test", &[&path], "").await;
    let (rest, receipt) = stranger.unwrap();
    assert_eq!((rest.paths, rest.heard, receipt), (1, 0, None));
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
