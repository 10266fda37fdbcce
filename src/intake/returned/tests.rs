use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;
use crate::clock::{Clock, TestClock};
use crate::config::Database;
use crate::events::Events;
use crate::intake::{LocalNames, People, Rules};
use crate::protocol::{Domain, Limits, Timestamp};
use crate::store::{
    Created, Decision, Ending, Feed, InboxQuery, NewAgent, Settlement, Space, Store, StoreOptions,
    open, party_hash,
};
use crate::telemetry::Metrics;

#[test]
fn a_status_says_what_failed_and_whether_the_address_is_gone() {
    for (status, code, gone) in [
        (Some("5.1.1"), ErrorCode::RecipientNotFound, true),
        (Some("5.1.10"), ErrorCode::RecipientNotFound, true),
        (Some("5.1.2"), ErrorCode::RecipientNotFound, false),
        (Some("5.2.1"), ErrorCode::RecipientUnavailable, true),
        (Some("5.2.2"), ErrorCode::MailboxFull, false),
        (Some("5.3.4"), ErrorCode::MessageTooLarge, false),
        (Some("5.7.1"), ErrorCode::PolicyDenied, false),
        (Some("nonsense"), ErrorCode::RecipientUnavailable, false),
        (None, ErrorCode::RecipientUnavailable, false),
    ] {
        assert_eq!(meaning(status), (code, gone), "{status:?}");
    }
}

#[test]
fn a_report_says_what_failed_and_any_other_mail_nothing() {
    let read = |text: &str| {
        let text = text.replace('\n', "\r\n");
        let mail = crate::mime::parse(text.as_bytes(), &crate::mime::MailLimits::default());
        Heard::of(&mail.unwrap())
    };
    let report = |action: &str| {
        format!(
            "From: MAILER-DAEMON@b.test\nMIME-Version: 1.0\nContent-Type: multipart/report; \
             report-type=delivery-status; boundary=x\n\n--x\nContent-Type: text/plain\n\nsorry\n\
             --x\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.b.test\n\n\
             Final-Recipient: rfc822; bob@b.test\nAction: {action}\nStatus: 5.1.1\n\
             Diagnostic-Code: smtp; 550 no such user\n\n--x--\n"
        )
    };
    let Heard::Failed { status, diagnostic } = read(&report("failed")) else {
        panic!("it failed");
    };
    assert_eq!(status.as_deref(), Some("5.1.1"));
    assert!(diagnostic.unwrap().contains("no such user"));
    assert_eq!(read(&report("delayed")), Heard::Nothing);
    assert_eq!(
        read("From: bob@b.test\nSubject: hello\n\nhi\n"),
        Heard::Nothing
    );
}

#[test]
fn what_was_said_is_one_bounded_line() {
    assert_eq!(words(None, None), "the mail came back: 5.0.0");
    let said = words(Some("5.1.1"), Some("no\r\nsuch user"));
    assert_eq!(said, "the mail came back: 5.1.1 no  such user");
    assert!(words(Some(&"5".repeat(999)), Some(&"x".repeat(9_999))).len() < 900);
}

/// A door with a store of its own; alice of `a.test` polls.
struct Bench {
    intake: Intake,
    store: Store,
    alice: i64,
    stop: CancellationToken,
    tasks: TaskTracker,
    _folder: tempfile::TempDir,
}

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

impl Bench {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = StoreOptions {
            database: Database::Sqlite(folder.path().join("amtpd.db")),
        };
        let clock = Clock::over(TestClock::at(NOW));
        let metrics = Metrics::new();
        let opened = open(&options, Events::default(), metrics.clone(), clock.clone());
        let (store, committer) = opened.await.unwrap();
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(committer.run(stop.clone()));
        let domain = Domain::parse("a.test").unwrap();
        let names = LocalNames {
            domains: HashSet::from([domain.clone()]),
            people: Some(People {
                onward: HashSet::from([domain.clone()]),
            }),
            ..LocalNames::default()
        };
        let rules = Rules {
            limits: Limits::default(),
            give_up: Duration::from_secs(3_600),
        };
        let space = Space::watch(None, 0, metrics.clone()).unwrap();
        let stored = (store.clone(), space);
        let created = store
            .create_agent(NewAgent {
                domain,
                name: crate::protocol::AgentName::parse("alice").unwrap(),
                settings: crate::store::AgentSettings::fresh(),
                sealed_headers: None,
                key: crate::store::NewKey {
                    id: "key".to_owned(),
                    hash: vec![1; 32],
                    grant: crate::store::Grant::default(),
                },
                token: None,
                now: NOW,
            })
            .await;
        let Created::Agent(alice) = created.unwrap() else {
            panic!("alice is new");
        };
        Self {
            intake: Intake::new(stored, Arc::new(names), rules, clock, metrics),
            store,
            alice,
            stop,
            tasks,
            _folder: folder,
        }
    }

    /// A message of alice that was delivered; the number of the message.
    async fn delivered(&self, to: &str) -> i64 {
        let raw = format!(r#"{{"sender":"alice@a.test","recipients":["{to}"],"payload":1}}"#);
        let made = Made {
            raw: raw.into(),
            origin: Origin::Reply,
            request_id: "r".to_owned(),
        };
        let acceptance = self.intake.judge_made(made).await.unwrap();
        let decision = self.store.accept(acceptance).await.unwrap();
        assert!(matches!(decision, Decision::Taken { .. }));
        let row = self.store.feed(&Feed::After(0), 1).await.unwrap().remove(0);
        let settlement = Settlement {
            seq: row.seq,
            mid: row.mid,
            recipient: to.to_owned(),
            at: NOW,
            held: None,
            attempt: None,
            fate: Ending::Delivered,
        };
        self.store
            .settle(vec![settlement], Vec::new())
            .await
            .unwrap();
        row.mid
    }

    async fn bounces(&self) -> Vec<Bounce> {
        let query = InboxQuery {
            mailbox: self.alice,
            limit: 100,
            offset: 0,
            after: 0,
            since: None,
            filter: crate::store::ReadFilter::All,
            now: NOW,
            take: crate::store::Take::Read,
        };
        let page = self.store.take_mail(query).await.unwrap();
        let messages = page
            .items
            .iter()
            .map(|item| item.message.message().unwrap());
        messages
            .filter_map(|it| Bounce::from_message(&it))
            .collect()
    }

    async fn close(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

fn gone() -> Heard {
    Heard::Failed {
        status: Some("5.1.1".to_owned()),
        diagnostic: Some("550 no such user".to_owned()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_failure_that_comes_back_is_told_once_and_the_address_gets_no_more() {
    let bench = Bench::start().await;
    let path = ReturnPath {
        mid: bench.delivered("bob@b.test").await,
        party: party_hash("bob@b.test"),
    };
    let late = bench.intake.take_returned(path, &Heard::Nothing).await;
    assert_eq!(late.unwrap(), Returned::Ignored);
    let first = bench.intake.take_returned(path, &gone()).await;
    assert_eq!(first.unwrap(), Returned::Failed);
    let told = bench.bounces().await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].failed_recipients[0].as_str(), "bob@b.test");
    assert_eq!(told[0].error_code, "RECIPIENT_NOT_FOUND");
    assert!(told[0].error_message.contains("550 no such user"));
    for _ in 0..3 {
        let again = bench.intake.take_returned(path, &gone()).await;
        assert_eq!(again.unwrap(), Returned::Ignored, "a flood changes nothing");
    }
    assert_eq!(bench.bounces().await.len(), 1);
    let bob = Address::parse("bob@b.test").unwrap();
    assert!(bench.store.find_suppression(&bob).await.unwrap().is_some());
    let stranger = ReturnPath { party: 7, ..path };
    let unknown = bench.intake.take_returned(stranger, &gone()).await;
    assert_eq!(unknown.unwrap(), Returned::Ignored);
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_complaint_ends_mail_to_an_address_and_fails_nothing() {
    let bench = Bench::start().await;
    let path = ReturnPath {
        mid: bench.delivered("bob@b.test").await,
        party: party_hash("bob@b.test"),
    };
    let heard = bench.intake.take_returned(path, &Heard::Complaint).await;
    assert_eq!(heard.unwrap(), Returned::Suppressed);
    assert!(bench.bounces().await.is_empty());
    let bob = Address::parse("bob@b.test").unwrap();
    let found = bench.store.find_suppression(&bob).await.unwrap().unwrap();
    assert_eq!(found.because, Because::Complaint);
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn who_is_no_agent_of_ours_may_be_a_person_of_ours() {
    let bench = Bench::start().await;
    for (to, destination) in [
        ("dora@a.test", "mail:a.test"),
        ("bob@b.test", "domain:b.test"),
    ] {
        let raw = format!(r#"{{"sender":"alice@a.test","recipients":["{to}"],"payload":1}}"#);
        let made = Made {
            raw: raw.into(),
            origin: Origin::Reply,
            request_id: "r".to_owned(),
        };
        let acceptance = bench.intake.judge_made(made).await.unwrap();
        match &acceptance.recipients[0].plan {
            crate::store::Plan::Queue {
                destination: found, ..
            } => assert_eq!(found, destination),
            other => panic!("{to}: {other:?}"),
        }
    }
    // Reserved names are nobody's mailbox.
    let raw = r#"{"sender":"alice@a.test","recipients":["mailer-daemon@a.test"],"payload":1}"#;
    let made = Made {
        raw: raw.into(),
        origin: Origin::Reply,
        request_id: "r".to_owned(),
    };
    assert!(bench.intake.judge_made(made).await.is_err());
    bench.close().await;
}
