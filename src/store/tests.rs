//! The store through its verbs, on real databases of both kinds.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use bytes::Bytes;
use sqlx::Connection as _;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{
    Acceptance, AgentChange, AgentSettings, Created, Decision, Fate, Grant, InboxQuery, KeyMark,
    ListQuery, Negative, NewAgent, NewKey, OpenError, Party, Plan, Planned, ReadFilter,
    RetentionRules, Store, StoreLock, StoreOptions, Take, Terms, backup, open, restore, verify,
};
use crate::clock::Clock;
use crate::config::{Database, PostgresUrl, Secret};
use crate::envelope::{Envelope, KeySource, Origin, Trust, Verification};
use crate::events::{Events, Topic};
use crate::protocol::{
    Address, AgentName, DeliveryStatus, Domain, ErrorCode, IdempotencyKey, Limits, Message,
    MessageId, Profile, Timestamp,
};
use crate::telemetry::Metrics;

/// Runs a test on both databases.
macro_rules! both {
    ($name:ident) => {
        mod $name {
            #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
            async fn sqlite() {
                super::$name(crate::store::tests::Home::sqlite()).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
            async fn postgres() {
                super::$name(crate::store::tests::Home::postgres()).await;
            }
        }
    };
}

pub(crate) use both;

mod audit;
mod blobs;
mod calls;
mod dead_letters;
mod mail;
mod memory;
mod postgres;
mod queue;
mod resealing;
mod room;
mod schemas;
mod sessions;
mod shards;
mod shared;
pub(crate) mod size;
mod tasks;
mod trace;
mod upgrade;

const NOW: i64 = 1_800_000_000_000;

/// Where a test's database is.
pub(crate) enum Home {
    Sqlite(TempDir),
    Postgres(String),
}

impl Home {
    pub(crate) fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().unwrap())
    }

    pub(crate) fn postgres() -> Self {
        Self::Postgres(postgres::Cluster::shared().database())
    }

    pub(crate) fn database(&self) -> Database {
        match self {
            Self::Sqlite(folder) => Database::Sqlite(folder.path().join("amtpd.db")),
            Self::Postgres(url) => {
                Database::Postgres(PostgresUrl::parse(Secret::new(url.clone())).unwrap())
            }
        }
    }

    /// Runs a statement beside the gateway.
    async fn run(&self, statement: &str) {
        match self {
            Self::Sqlite(_) => {
                let path = self.database().file().unwrap().display().to_string();
                let mut connection = sqlx::SqliteConnection::connect(&path).await.unwrap();
                let query = sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned()));
                query.execute(&mut connection).await.unwrap();
            }
            Self::Postgres(url) => {
                postgres::Cluster::shared().query_in(url, statement);
            }
        }
    }
}

pub(crate) struct Bench {
    pub(crate) store: Store,
    stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
    home: Home,
    next: std::cell::Cell<u32>,
}

impl Bench {
    pub(crate) async fn at(home: Home) -> Self {
        let options = StoreOptions {
            database: home.database(),
        };
        let (store, committer) = open(
            &options,
            Events::default(),
            Metrics::default(),
            Clock::system(),
        )
        .await
        .unwrap();
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(committer.run(stop.clone()));
        Self {
            store,
            stop,
            tasks,
            home,
            next: std::cell::Cell::new(0),
        }
    }

    pub(crate) const fn home(&self) -> &Home {
        &self.home
    }

    pub(crate) async fn close(self) -> Home {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.home
    }

    pub(crate) async fn agent(&self, name: &str) -> i64 {
        match self.store.create_agent(new_agent(name)).await.unwrap() {
            Created::Agent(id) => id,
            other => panic!("{other:?}"),
        }
    }

    /// A message from `sender` that nobody sent before.
    pub(crate) fn envelope(&self, sender: &str, key: Option<&str>, payload: &str) -> Envelope {
        self.next.set(self.next.get() + 1);
        let raw =
            format!(r#"{{"sender":"{sender}","recipients":["bob@a.test"],"payload":{payload}}}"#);
        let message = Message::parse(Bytes::from(raw), Profile::Relay, &Limits::default()).unwrap();
        let minted = format!("key-{}", self.next.get());
        Envelope {
            message_id: MessageId::parse(&format!("id-{}", self.next.get())).unwrap(),
            idempotency_key: IdempotencyKey::parse(key.unwrap_or(&minted)).unwrap(),
            key_source: if key.is_some() {
                KeySource::Given
            } else {
                KeySource::Minted
            },
            timestamp: Timestamp::from_millis(NOW),
            origin: Origin::Submission,
            trust: Trust::Local,
            verification: Verification::authenticated(message.sender().domain()),
            received_at: Timestamp::from_millis(NOW),
            remote: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            answers: None,
            request_id: "r".to_owned(),
            message,
        }
    }

    pub(crate) async fn accept(
        &self,
        envelope: Envelope,
        recipients: Vec<Planned>,
    ) -> (MessageId, Vec<Fate>) {
        match self
            .store
            .accept(Acceptance {
                envelope,
                recipients,
                reserved: None,
                place: None,
                succession: None,
                blobs: Vec::new(),
            })
            .await
            .unwrap()
        {
            Decision::Taken { message_id, fates } => (message_id, fates),
            Decision::Conflict => panic!("conflict"),
        }
    }

    async fn mail(&self, mailbox: i64) -> Vec<String> {
        let page = self.store.take_mail(query(mailbox)).await.unwrap();
        page.items
            .iter()
            .map(|item| item.message.message_id.as_str().to_owned())
            .collect()
    }
}

fn query(mailbox: i64) -> InboxQuery {
    InboxQuery {
        mailbox,
        limit: 100,
        offset: 0,
        after: 0,
        since: None,
        filter: ReadFilter::All,
        now: Timestamp::from_millis(NOW),
        take: Take::Read,
    }
}

fn new_agent(name: &str) -> NewAgent {
    NewAgent {
        domain: Domain::parse("a.test").unwrap(),
        name: AgentName::parse(name).unwrap(),
        settings: AgentSettings::fresh(),
        sealed_headers: None,
        key: NewKey {
            id: format!("key-of-{name}"),
            hash: vec![1; 32],
            grant: Grant::default(),
        },
        token: None,
        now: Timestamp::from_millis(NOW),
    }
}

pub(crate) fn to_inbox(address: &str, mailbox: i64) -> Planned {
    Planned {
        address: Address::parse(address).unwrap(),
        plan: Plan::Inbox {
            mailbox,
            priority: None,
        },
    }
}

fn to_queue(address: &str, party: i64) -> Planned {
    let give_up_at = Timestamp::from_millis(NOW).plus(Duration::from_secs(3_600));
    let plan = Plan::Queue {
        party,
        destination: format!("agent:{party}"),
        give_up_at,
        wire: None,
        reserved: None,
        terms: Terms::default(),
    };
    Planned {
        address: Address::parse(address).unwrap(),
        plan,
    }
}

both!(what_is_accepted_is_in_the_inbox_in_order_and_survives_a_restart);
async fn what_is_accepted_is_in_the_inbox_in_order_and_survives_a_restart(home: Home) {
    let bench = Bench::at(home).await;
    let bob = bench.agent("bob").await;
    let mut arrivals = bench.store.events().subscribe(Topic::Mailbox(bob));
    let mut sent = Vec::new();
    for _ in 0..5 {
        let (id, fates) = bench
            .accept(
                bench.envelope("alice@a.test", None, "1"),
                vec![to_inbox("bob@a.test", bob)],
            )
            .await;
        assert_eq!(fates, [Fate::New(DeliveryStatus::Delivered)]);
        sent.push(id.as_str().to_owned());
    }
    arrivals.changed().await;
    assert_eq!(bench.mail(bob).await, sent);
    let bench = Bench::at(bench.close().await).await;
    assert_eq!(bench.mail(bob).await, sent);
}

both!(many_at_once_keep_positions_without_gaps);
async fn many_at_once_keep_positions_without_gaps(home: Home) {
    let bench = Bench::at(home).await;
    let bob = bench.agent("bob").await;
    let tasks: Vec<_> = (0..300)
        .map(|_| {
            let envelope = bench.envelope("alice@a.test", None, "1");
            let store = bench.store.clone();
            bench.tasks.spawn(async move {
                let recipients = vec![to_inbox("bob@a.test", bob), to_inbox("bob+x@a.test", bob)];
                store
                    .accept(Acceptance {
                        envelope,
                        recipients,
                        reserved: None,
                        place: None,
                        succession: None,
                        blobs: Vec::new(),
                    })
                    .await
                    .unwrap()
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let mut all = query(bob);
    all.limit = 1_000;
    let page = bench.store.take_mail(all).await.unwrap();
    let seqs: Vec<i64> = page.items.iter().map(|item| item.seq).collect();
    assert_eq!(seqs, (1..=600).collect::<Vec<i64>>());
}

both!(a_known_key_is_delivered_once_and_other_content_conflicts);
async fn a_known_key_is_delivered_once_and_other_content_conflicts(home: Home) {
    let bench = Bench::at(home).await;
    let (bob, eve) = (bench.agent("bob").await, bench.agent("eve").await);
    let to_bob = || vec![to_inbox("bob@a.test", bob)];
    let (first, _) = bench
        .accept(bench.envelope("alice@a.test", Some("k"), "1"), to_bob())
        .await;
    let (again, fates) = bench
        .accept(bench.envelope("alice@a.test", Some("k"), "1"), to_bob())
        .await;
    assert_eq!(again, first);
    assert!(matches!(fates[..], [Fate::Known(_)]));
    let other = Acceptance {
        envelope: bench.envelope("alice@a.test", Some("k"), "2"),
        recipients: to_bob(),
        reserved: None,
        place: None,
        succession: None,
        blobs: Vec::new(),
    };
    assert_eq!(bench.store.accept(other).await.unwrap(), Decision::Conflict);
    let more = vec![to_inbox("bob@a.test", bob), to_inbox("eve@a.test", eve)];
    let (id, fates) = bench
        .accept(bench.envelope("alice@a.test", Some("k"), "1"), more)
        .await;
    assert_eq!(id, first);
    assert!(matches!(fates[..], [Fate::Known(_), Fate::New(_)]));
    let (stranger, _) = bench
        .accept(bench.envelope("mallory@a.test", Some("k"), "9"), to_bob())
        .await;
    assert_ne!(stranger, first);
    assert_eq!(bench.mail(bob).await.len(), 2);
    assert_eq!(bench.mail(eve).await, [first.as_str()]);
}

both!(equal_keys_in_one_batch_are_one_message);
async fn equal_keys_in_one_batch_are_one_message(home: Home) {
    let bench = Bench::at(home).await;
    let bob = bench.agent("bob").await;
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let envelope = bench.envelope("alice@a.test", Some("same"), "1");
            let store = bench.store.clone();
            bench.tasks.spawn(async move {
                let recipients = vec![to_inbox("bob@a.test", bob)];
                store
                    .accept(Acceptance {
                        envelope,
                        recipients,
                        reserved: None,
                        place: None,
                        succession: None,
                        blobs: Vec::new(),
                    })
                    .await
                    .unwrap()
            })
        })
        .collect();
    for task in tasks {
        assert!(matches!(task.await.unwrap(), Decision::Taken { .. }));
    }
    assert_eq!(bench.mail(bob).await.len(), 1);
}

both!(a_stranger_cannot_claim_a_key_ahead_of_another);
async fn a_stranger_cannot_claim_a_key_ahead_of_another(home: Home) {
    let bench = Bench::at(home).await;
    let bob = bench.agent("bob").await;
    let unverified = |payload| Envelope {
        trust: Trust::Unverified,
        origin: Origin::Peer,
        ..bench.envelope("alice@b.test", Some("k"), payload)
    };
    let to_bob = || vec![to_inbox("bob@a.test", bob)];
    bench.accept(unverified("\"forged\""), to_bob()).await;
    let (_, fates) = bench.accept(unverified("\"true\""), to_bob()).await;
    assert_eq!(fates, [Fate::New(DeliveryStatus::Delivered)]);
}

both!(a_peers_equal_content_is_new_after_a_day_under_another_id);
async fn a_peers_equal_content_is_new_after_a_day_under_another_id(home: Home) {
    let bench = Bench::at(home).await;
    let bob = bench.agent("bob").await;
    let at = |hours: u64| Envelope {
        trust: Trust::Unverified,
        origin: Origin::Peer,
        received_at: Timestamp::from_millis(NOW).plus(Duration::from_secs(hours * 3_600)),
        ..bench.envelope("alice@b.test", Some("k"), "1")
    };
    let to_bob = || vec![to_inbox("bob@a.test", bob)];
    bench.accept(at(0), to_bob()).await;
    let (_, soon) = bench.accept(at(23), to_bob()).await;
    assert!(matches!(soon[..], [Fate::Known(_)]));
    let (_, late) = bench.accept(at(25), to_bob()).await;
    assert_eq!(late, [Fate::New(DeliveryStatus::Delivered)]);
    let (_, after) = bench.accept(at(26), to_bob()).await;
    assert!(matches!(after[..], [Fate::Known(_)]));
}

both!(a_vanished_mailbox_refuses_its_recipient_only);
async fn a_vanished_mailbox_refuses_its_recipient_only(home: Home) {
    let bench = Bench::at(home).await;
    let (bob, eve) = (bench.agent("bob").await, bench.agent("eve").await);
    assert!(
        bench
            .store
            .delete_agent(eve, Timestamp::from_millis(NOW))
            .await
            .unwrap()
    );
    let both = vec![to_inbox("eve@a.test", eve), to_inbox("bob@a.test", bob)];
    let (id, fates) = bench
        .accept(bench.envelope("alice@a.test", None, "1"), both)
        .await;
    assert_eq!(fates[0], Fate::Refused(ErrorCode::AgentUnknown));
    let tracked = bench
        .store
        .find_message(&id, &Party::Operator)
        .await
        .unwrap();
    let states: Vec<_> = tracked[0]
        .recipients
        .iter()
        .map(|it| (it.address.as_str(), it.status))
        .collect();
    assert_eq!(
        states,
        [
            ("bob@a.test", DeliveryStatus::Delivered),
            ("eve@a.test", DeliveryStatus::Failed)
        ]
    );
    let new_eve = bench.agent("eve").await;
    assert_ne!(new_eve, eve);
    assert!(bench.mail(new_eve).await.is_empty());
}

both!(acknowledged_mail_is_gone_from_the_inbox_and_told_in_the_status);
async fn acknowledged_mail_is_gone_from_the_inbox_and_told_in_the_status(home: Home) {
    let bench = Bench::at(home).await;
    let bob = bench.agent("bob").await;
    let recipients = vec![to_inbox("bob@a.test", bob), to_inbox("bob+tag@a.test", bob)];
    let (id, _) = bench
        .accept(bench.envelope("alice@a.test", None, "1"), recipients)
        .await;
    let now = Timestamp::from_millis(NOW + 5);
    let missing = MessageId::parse("missing").unwrap();
    let answers = bench
        .store
        .acknowledge(bob, vec![id.clone(), missing], now)
        .await
        .unwrap();
    assert_eq!(answers, [true, false]);
    assert!(bench.mail(bob).await.is_empty());
    assert_eq!(
        bench
            .store
            .acknowledge(bob, vec![id.clone()], now)
            .await
            .unwrap(),
        [false]
    );
    let tracked = bench
        .store
        .find_message(&id, &Party::Operator)
        .await
        .unwrap();
    assert!(
        tracked[0]
            .recipients
            .iter()
            .all(|it| it.acknowledged_at == Some(now))
    );
    assert_eq!(tracked[0].recipients.len(), 2);
}

both!(an_acknowledgement_under_a_shared_id_touches_one_sender_only);
async fn an_acknowledgement_under_a_shared_id_touches_one_sender_only(home: Home) {
    let bench = Bench::at(home).await;
    let bob = bench.agent("bob").await;
    let id = MessageId::parse("shared").unwrap();
    for sender in ["alice@a.test", "mallory@a.test"] {
        let envelope = Envelope {
            message_id: id.clone(),
            ..bench.envelope(sender, None, "1")
        };
        bench
            .accept(envelope, vec![to_inbox("bob@a.test", bob)])
            .await;
    }
    bench
        .store
        .acknowledge(bob, vec![id], Timestamp::from_millis(NOW))
        .await
        .unwrap();
    let page = bench.store.take_mail(query(bob)).await.unwrap();
    let senders: Vec<&str> = page
        .items
        .iter()
        .map(|item| item.message.sender.as_str())
        .collect();
    assert_eq!(senders, ["mallory@a.test"]);
}

both!(leased_mail_is_hidden_until_the_lease_ends_or_it_is_put_back);
async fn leased_mail_is_hidden_until_the_lease_ends_or_it_is_put_back(home: Home) {
    let bench = Bench::at(home).await;
    let bob = bench.agent("bob").await;
    let (id, _) = bench
        .accept(
            bench.envelope("alice@a.test", None, "1"),
            vec![to_inbox("bob@a.test", bob)],
        )
        .await;
    let later = Timestamp::from_millis(NOW + 30_000);
    let leasing = InboxQuery {
        take: Take::Lease(later),
        ..query(bob)
    };
    assert_eq!(
        bench
            .store
            .take_mail(leasing.clone())
            .await
            .unwrap()
            .items
            .len(),
        1
    );
    assert!(
        bench
            .store
            .take_mail(leasing.clone())
            .await
            .unwrap()
            .items
            .is_empty()
    );
    let back = Negative {
        mailbox: bob,
        message_ids: vec![id],
        until: Timestamp::from_millis(NOW),
    };
    assert_eq!(bench.store.put_back(back).await.unwrap(), [true]);
    let again = bench.store.take_mail(leasing).await.unwrap();
    assert_eq!(again.items.len(), 1);
    assert!(again.items[0].read);
    assert_eq!(
        bench
            .store
            .take_mail(InboxQuery {
                now: later,
                ..query(bob)
            })
            .await
            .unwrap()
            .items
            .len(),
        1
    );
}

both!(filters_and_positions_page_through_a_mailbox);
async fn filters_and_positions_page_through_a_mailbox(home: Home) {
    let bench = Bench::at(home).await;
    let bob = bench.agent("bob").await;
    for _ in 0..5 {
        bench
            .accept(
                bench.envelope("alice@a.test", None, "1"),
                vec![to_inbox("bob@a.test", bob)],
            )
            .await;
    }
    let first = bench
        .store
        .take_mail(InboxQuery {
            limit: 2,
            ..query(bob)
        })
        .await
        .unwrap();
    assert!(first.more && !first.items[0].read);
    let unread = InboxQuery {
        filter: ReadFilter::Unread,
        ..query(bob)
    };
    assert_eq!(
        bench
            .store
            .take_mail(unread.clone())
            .await
            .unwrap()
            .items
            .len(),
        3
    );
    assert_eq!(bench.store.take_mail(unread).await.unwrap().items.len(), 0);
    let rest = bench
        .store
        .take_mail(InboxQuery {
            after: first.items[1].seq,
            ..query(bob)
        })
        .await
        .unwrap();
    assert_eq!(rest.items.len(), 3);
    let skipped = bench
        .store
        .take_mail(InboxQuery {
            offset: 4,
            ..query(bob)
        })
        .await
        .unwrap();
    assert_eq!(skipped.items.len(), 1);
    let future = InboxQuery {
        since: Some(Timestamp::from_millis(NOW + 1)),
        ..query(bob)
    };
    assert!(
        bench
            .store
            .take_mail(future)
            .await
            .unwrap()
            .items
            .is_empty()
    );
}

both!(a_queued_delivery_can_be_cancelled_once);
async fn a_queued_delivery_can_be_cancelled_once(home: Home) {
    let bench = Bench::at(home).await;
    let hook = bench.agent("hook").await;
    let (id, fates) = bench
        .accept(
            bench.envelope("alice@a.test", None, "1"),
            vec![to_queue("hook@a.test", hook)],
        )
        .await;
    assert_eq!(fates, [Fate::New(DeliveryStatus::Queued)]);
    let mid = bench
        .store
        .find_message(&id, &Party::Operator)
        .await
        .unwrap()[0]
        .message
        .mid;
    assert_eq!(
        bench
            .store
            .cancel(vec![mid], Timestamp::from_millis(NOW))
            .await
            .unwrap(),
        1
    );
    assert_eq!(
        bench
            .store
            .cancel(vec![mid], Timestamp::from_millis(NOW))
            .await
            .unwrap(),
        0
    );
    let tracked = bench
        .store
        .find_message(&id, &Party::Operator)
        .await
        .unwrap();
    assert_eq!(tracked[0].recipients[0].status, DeliveryStatus::Cancelled);
}

fn list(party: Party, limit: usize, before: Option<i64>) -> ListQuery {
    ListQuery {
        party,
        sender: None,
        recipient: None,
        since: None,
        before,
        limit,
        offset: 0,
    }
}

both!(parties_see_their_own_part_and_lists_are_newest_first);
async fn parties_see_their_own_part_and_lists_are_newest_first(home: Home) {
    let bench = Bench::at(home).await;
    let (alice, bob, eve) = (
        bench.agent("alice").await,
        bench.agent("bob").await,
        bench.agent("eve").await,
    );
    let both = || vec![to_inbox("bob@a.test", bob), to_inbox("eve@a.test", eve)];
    let (one, _) = bench
        .accept(bench.envelope("alice@a.test", None, "1"), both())
        .await;
    let (two, _) = bench
        .accept(
            bench.envelope("bob@a.test", None, "1"),
            vec![to_inbox("eve@a.test", eve)],
        )
        .await;
    let party = |id, key: &str| Party::Agent {
        id,
        key: key.to_owned(),
    };
    let seen = |party: Party, id: MessageId| {
        let store = bench.store.clone();
        async move {
            store
                .find_message(&id, &party)
                .await
                .unwrap()
                .first()
                .map(|it| it.recipients.len())
        }
    };
    assert_eq!(
        seen(party(alice, "alice@a.test"), one.clone()).await,
        Some(2)
    );
    assert_eq!(seen(party(eve, "eve@a.test"), one.clone()).await, Some(1));
    assert_eq!(seen(party(alice, "alice@a.test"), two.clone()).await, None);
    let ids = |page: &super::MessagePage| -> Vec<String> {
        page.messages
            .iter()
            .map(|it| it.message.message_id.as_str().to_owned())
            .collect()
    };
    let page = bench
        .store
        .list_messages(&list(party(bob, "bob@a.test"), 10, None), |_| true)
        .await
        .unwrap();
    assert_eq!(ids(&page), [two.as_str(), one.as_str()]);
    let first = bench
        .store
        .list_messages(&list(Party::Operator, 1, None), |_| true)
        .await
        .unwrap();
    assert_eq!(ids(&first), [two.as_str()]);
    let rest = bench
        .store
        .list_messages(&list(Party::Operator, 1, first.next), |_| true)
        .await
        .unwrap();
    assert_eq!(
        (ids(&rest), rest.next),
        (vec![one.as_str().to_owned()], None)
    );
    let to_bob = ListQuery {
        recipient: Some(bob),
        ..list(Party::Operator, 10, None)
    };
    assert_eq!(
        ids(&bench.store.list_messages(&to_bob, |_| true).await.unwrap()),
        [one.as_str()]
    );
}

both!(retention_forgets_in_steps_and_keeps_what_waits);
async fn retention_forgets_in_steps_and_keeps_what_waits(home: Home) {
    let bench = Bench::at(home).await;
    let bob = bench.agent("bob").await;
    let to_bob = || vec![to_inbox("bob@a.test", bob)];
    let (old, _) = bench
        .accept(bench.envelope("alice@a.test", Some("k"), "1"), to_bob())
        .await;
    let (waiting, _) = bench
        .accept(bench.envelope("alice@a.test", None, "1"), to_bob())
        .await;
    bench
        .store
        .acknowledge(bob, vec![old.clone()], Timestamp::from_millis(NOW))
        .await
        .unwrap();
    let rules = RetentionRules {
        settled: Duration::from_secs(7 * 86_400),
        acknowledged: Duration::from_secs(86_400),
        dead_letters: Duration::from_secs(30 * 86_400),
    };
    let day = |days: u64| Timestamp::from_millis(NOW).plus(Duration::from_secs(days * 86_400 + 1));
    let early = bench
        .store
        .sweep(rules, Timestamp::from_millis(NOW))
        .await
        .unwrap();
    assert_eq!((early.rows, early.messages), (0, 0));
    let swept = bench.store.sweep(rules, day(1)).await.unwrap();
    assert_eq!((swept.rows, swept.messages, swept.more), (1, 1, false));
    assert!(
        bench
            .store
            .find_message(&old, &Party::Operator)
            .await
            .unwrap()
            .is_empty()
    );
    let swept = bench.store.sweep(rules, day(30)).await.unwrap();
    assert_eq!(swept.rows, 1, "the idempotency key");
    assert_eq!(bench.mail(bob).await, [waiting.as_str()]);
}

both!(a_large_content_is_read_back_chunk_by_chunk_and_goes_with_its_message);
async fn a_large_content_is_read_back_chunk_by_chunk_and_goes_with_its_message(home: Home) {
    let bench = Bench::at(home).await;
    let content: Vec<u8> = (0..600_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let now = Timestamp::from_millis(NOW);
    let mut blob = bench
        .store
        .begin_blob("b1".to_owned(), "text/plain".to_owned(), now)
        .await
        .unwrap();
    for part in content.chunks(100_000) {
        blob.write(part).await.unwrap();
    }
    assert!(
        bench.store.find_blob("b1").await.unwrap().is_none(),
        "not complete yet"
    );
    blob.complete().await.unwrap();
    let meta = bench.store.find_blob("b1").await.unwrap().unwrap();
    assert_eq!(meta.size, 600_000);
    assert_eq!(
        meta.sha256,
        ring::digest::digest(&ring::digest::SHA256, &content).as_ref()
    );
    let mut read = Vec::new();
    let mut chunk = 0;
    while let Some(bytes) = bench.store.blob_chunk("b1", chunk).await.unwrap() {
        read.extend_from_slice(&bytes);
        chunk += 1;
    }
    assert_eq!((read, chunk), (content, 3));
    let rules = RetentionRules {
        settled: Duration::from_secs(60),
        acknowledged: Duration::from_secs(60),
        dead_letters: Duration::from_secs(60),
    };
    bench
        .store
        .sweep(rules, now.plus(Duration::from_secs(90_000)))
        .await
        .unwrap();
    assert!(
        bench.store.find_blob("b1").await.unwrap().is_none(),
        "nobody claimed it"
    );
    assert!(bench.store.blob_chunk("b1", 0).await.unwrap().is_none());
}

#[tokio::test]
async fn a_backup_of_a_running_store_is_sound_and_can_be_restored() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("amtpd.db");
    let copy = folder.path().join("copy.db");
    let damaged = folder.path().join("damaged.db");
    let bench = Bench::at(Home::Sqlite(folder)).await;
    let bob = bench.agent("bob").await;
    let (id, _) = bench
        .accept(
            bench.envelope("alice@a.test", None, "1"),
            vec![to_inbox("bob@a.test", bob)],
        )
        .await;
    let report = backup(&database, &copy).await.unwrap();
    assert_eq!((report.messages, report.inbox, report.agents), (1, 1, 1));
    assert!(
        backup(&database, &copy).await.is_err(),
        "a backup never overwrites"
    );
    bench
        .store
        .acknowledge(bob, vec![id.clone()], Timestamp::from_millis(NOW))
        .await
        .unwrap();
    let home = bench.close().await;
    let lock = StoreLock::take(&database).unwrap();
    assert!(restore(&copy, &database).await.is_err(), "the gateway runs");
    drop(lock);
    let (_, kept) = restore(&copy, &database).await.unwrap();
    assert!(kept.unwrap().exists());
    let bench = Bench::at(home).await;
    assert_eq!(bench.mail(bob).await, [id.as_str()]);
    std::fs::write(&damaged, b"SQLite format 3\0 and nothing more").unwrap();
    assert!(verify(&damaged).await.is_err());
}

#[test]
fn a_second_process_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("amtpd.db");
    let held = StoreLock::take(&path).unwrap();
    assert!(matches!(
        StoreLock::take(&path),
        Err(OpenError::InUse { .. })
    ));
    drop(held);
    assert!(StoreLock::take(&path).is_ok());
}

both!(a_database_of_a_newer_version_is_refused);
async fn a_database_of_a_newer_version_is_refused(home: Home) {
    let home = Bench::at(home).await.close().await;
    let future = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                  SELECT 999, 'future', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1";
    home.run(future).await;
    let opened = open(
        &StoreOptions {
            database: home.database(),
        },
        Events::default(),
        Metrics::default(),
        Clock::system(),
    )
    .await
    .map(drop);
    assert!(
        matches!(opened, Err(OpenError::Newer { version: 999, .. })),
        "{opened:?}"
    );
}

both!(a_change_made_of_older_settings_does_not_bring_an_old_webhook_secret_back);
async fn a_change_made_of_older_settings_does_not_bring_an_old_webhook_secret_back(home: Home) {
    let bench = Bench::at(home).await;
    let bob = bench.agent("bob").await;
    let find = || async {
        bench
            .store
            .find_agent_by_number(bob)
            .await
            .unwrap()
            .unwrap()
            .as_ref()
            .clone()
    };
    let before = find().await;
    let later = Timestamp::from_millis(NOW + 5);
    let mark = KeyMark::try_from("0badcafe".to_owned()).unwrap();
    let rotated = bench
        .store
        .rotate_webhook_secret(bob, mark, later)
        .await
        .unwrap();
    assert_eq!(rotated, Some(1));
    let change = AgentChange {
        id: bob,
        settings: AgentSettings {
            role: Some("clerk".to_owned()),
            ..before.settings
        },
        sealed_headers: None,
        active: true,
        now: later,
    };
    assert!(bench.store.change_agent(change).await.unwrap());
    let settings = find().await.settings;
    assert_eq!(settings.role.as_deref(), Some("clerk"));
    assert_eq!(settings.secret_generation, 1);
    assert_eq!(settings.secret_rotated_at, Some(later));
    assert_eq!(settings.secret_keys.present, Some(mark));
    bench.store.delete_agent(bob, later).await.unwrap();
    let gone = bench
        .store
        .rotate_webhook_secret(bob, mark, later)
        .await
        .unwrap();
    assert_eq!(gone, None);
}

both!(a_foreign_message_is_one_whether_its_sender_could_be_believed_or_not);
async fn a_foreign_message_is_one_whether_its_sender_could_be_believed_or_not(home: Home) {
    let bench = Bench::at(home).await;
    let bob = bench.agent("bob").await;
    let to_bob = || vec![to_inbox("bob@a.test", bob)];
    let foreign = |key: &str, payload: &str, trust, seconds: i64| {
        let envelope = bench.envelope("eve@b.test", Some(key), payload);
        Envelope {
            origin: Origin::Peer,
            trust,
            verification: match trust {
                Trust::Trusted => Verification::source_address(envelope.message.sender().domain()),
                _ => Verification::unsigned(envelope.message.sender().domain()),
            },
            received_at: Timestamp::from_millis(NOW + seconds * 1_000),
            ..envelope
        }
    };
    let (first, _) = bench
        .accept(foreign("k", "1", Trust::Unverified, 0), to_bob())
        .await;
    let (again, fates) = bench
        .accept(foreign("k", "1", Trust::Trusted, 60), to_bob())
        .await;
    assert_eq!(again, first);
    assert!(matches!(fates[..], [Fate::Known(_)]), "{fates:?}");
    let page = bench.store.take_mail(query(bob)).await.unwrap();
    assert_eq!(page.items.len(), 1);
    assert_eq!(
        page.items[0].message.trust,
        Trust::Trusted,
        "it is believed now"
    );
    assert_eq!(
        page.items[0].message.notes.verification.method,
        "source_address"
    );
    // The other way round, and with other content under the key of a believed one.
    bench
        .accept(foreign("j", "1", Trust::Trusted, 0), to_bob())
        .await;
    let (_, fates) = bench
        .accept(foreign("j", "1", Trust::Unverified, 60), to_bob())
        .await;
    assert!(matches!(fates[..], [Fate::Known(_)]), "{fates:?}");
    let (_, fates) = bench
        .accept(foreign("j", "2", Trust::Unverified, 60), to_bob())
        .await;
    assert!(
        matches!(fates[..], [Fate::New(_)]),
        "nobody claims another's key"
    );
    // Long after, an unbelieved copy is not raised: it may have been anybody's.
    bench
        .accept(foreign("l", "1", Trust::Unverified, 0), to_bob())
        .await;
    let (_, fates) = bench
        .accept(foreign("l", "1", Trust::Trusted, 3_601), to_bob())
        .await;
    assert!(matches!(fates[..], [Fate::New(_)]), "{fates:?}");
}
