//! Topics over real databases of both kinds.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::subscribing::TOKEN;
use super::*;
use crate::clock::TestClock;
use crate::config::DeliveryPath;
use crate::envelope::{Envelope, KeySource, Origin, Principal, Role, Scopes, Trust, Verification};
use crate::events::Events;
use crate::intake::{LocalNames, Rules};
use crate::policy::Policies;
use crate::protocol::{AgentName, Domain, Limits, Message, MessageId, Profile, Timestamp};
use crate::schema::{SchemaOptions, Schemas};
use crate::store::tests::Home;
use crate::store::{
    self, Acceptance, AgentSettings, AttemptNote, Created, Decision, Delivery, Ending, Feed, Grant,
    InboxQuery, NewAgent, NewKey, Plan, Planned, ReadFilter, Reason, RetentionRules, Settlement,
    Space, StoreOptions, StoredMessage, SubscriptionState, Take, Terms, list_destination,
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

const START: i64 = 1_800_000_000_000;

struct World {
    store: Store,
    topics: Topics,
    hand: Arc<TestClock>,
    clock: Clock,
    stop: CancellationToken,
    tasks: TaskTracker,
    home: Home,
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn kept(keep: u64, retain: bool) -> TopicSettings {
    TopicSettings {
        keep: Some(keep),
        retain,
        retention_seconds: None,
    }
}

impl World {
    async fn at(home: Home) -> Self {
        Self::with(home, CHUNK, None).await
    }

    async fn with(home: Home, chunk: usize, rules: Option<&str>) -> Self {
        let hand = TestClock::at(Timestamp::from_millis(START));
        let clock = Clock::over(hand.clone());
        let metrics = Metrics::default();
        let options = StoreOptions {
            database: home.database(),
        };
        let opened = store::open(&options, Events::default(), metrics.clone(), clock.clone());
        let (store, committer) = opened.await.unwrap();
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(committer.run(stop.clone()));
        let domain = Domain::parse("a.test").unwrap();
        let names = Arc::new(LocalNames {
            domains: [domain.clone()].into(),
            ..LocalNames::default()
        });
        let limits = Rules {
            limits: Limits::default(),
            give_up: Duration::from_secs(86_400),
        };
        let space = Space::watch(None, 0, metrics.clone()).unwrap();
        let stored = (store.clone(), space);
        let mut intake = Intake::new(stored, names, limits, clock.clone(), metrics.clone());
        if let Some(rules) = rules {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("rules.yaml"), rules).unwrap();
            let counters = metrics.policies().clone();
            let policies =
                Policies::load(Some(folder.path()), vec![domain], clock.clone(), counters).unwrap();
            let options = SchemaOptions {
                dir: None,
                unknown: None,
                remote: None,
            };
            let schemas = Schemas::open(options, store.clone(), clock.clone(), &metrics);
            let schemas = schemas.await.unwrap();
            intake = intake.with_rules(policies, schemas, DeliveryPath::Durable);
        }
        let topics = Topics(Arc::new(Shared {
            store: store.clone(),
            intake,
            clock: clock.clone(),
            chunk,
            behind: Notify::new(),
        }));
        Self {
            store,
            topics,
            hand,
            clock,
            stop,
            tasks,
            home,
        }
    }

    /// As after a restart.
    async fn again(self, chunk: usize) -> Self {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        drop(self.topics);
        drop(self.store);
        Self::with(self.home, chunk, None).await
    }

    async fn register(&self, name: &str, settings: AgentSettings) -> i64 {
        let new = NewAgent {
            domain: Domain::parse("a.test").unwrap(),
            name: AgentName::parse(name).unwrap(),
            settings,
            sealed_headers: None,
            key: NewKey {
                id: format!("key-of-{name}"),
                hash: vec![1; 32],
                grant: Grant::default(),
            },
            token: None,
            now: self.clock.now(),
        };
        match self.store.create_agent(new).await.unwrap() {
            Created::Agent(id) => id,
            other => panic!("{other:?}"),
        }
    }

    async fn agent(&self, name: &str) -> i64 {
        self.register(name, AgentSettings::fresh()).await
    }

    async fn topic(&self, name: &str, topic: TopicSettings) -> i64 {
        let settings = AgentSettings {
            kind: AgentKind::Topic,
            topic: Some(topic),
            ..AgentSettings::fresh()
        };
        self.register(name, settings).await
    }

    async fn subscribe(
        &self,
        who: &str,
        topic: &str,
        change: impl FnOnce(&mut Subscribing),
    ) -> Result<Subscribed, TopicFault> {
        let mut request = Subscribing {
            topic: address(topic),
            subscriber: address(who),
            session: None,
            filter: Filter::default(),
            from: None,
        };
        change(&mut request);
        self.topics.subscribe(&principal(who), request).await
    }

    async fn publish(
        &self,
        who: &str,
        content: &str,
        expected_version: Option<i64>,
    ) -> Result<Published, TopicFault> {
        let publishing = Publishing {
            topic: address("t@a.test"),
            content: Bytes::copy_from_slice(content.as_bytes()),
            expected_version,
            by: caller(principal(who)),
        };
        self.topics.publish(publishing).await
    }

    /// Publishes numbers as payloads.
    async fn publish_all(&self, numbers: impl IntoIterator<Item = u32>) {
        for number in numbers {
            let content = format!(r#"{{"payload":{number}}}"#);
            self.publish("pub@a.test", &content, None).await.unwrap();
        }
    }

    /// What waits for topics and for other domains.
    async fn queue(&self) -> Vec<Delivery> {
        let rows = self.store.feed(&Feed::After(0), 10_000).await.unwrap();
        let seqs: Vec<i64> = rows.iter().map(|row| row.seq).collect();
        let mut found = self.store.load_deliveries(&seqs).await.unwrap();
        found.sort_by_key(|it| it.seq);
        found
    }

    /// Makes all copies; what goes to other domains is left. Answers what failed.
    async fn work(&self) -> Vec<ErrorCode> {
        let mut failed = Vec::new();
        loop {
            let queue = self.queue().await;
            let lists = queue
                .iter()
                .filter_map(|it| Some((store::list_number(&it.destination)?, it)));
            let lists: Vec<_> = lists.collect();
            if lists.is_empty() {
                return failed;
            }
            for (number, delivery) in lists {
                let message = delivery.stored.message().unwrap();
                let carried = self
                    .topics
                    .carry(number, (&delivery.stored, &message), &delivery.recipient)
                    .await;
                let fate = match carried {
                    Ok(()) => Ending::Delivered,
                    Err(fault) => {
                        failed.push(fault.code);
                        failure(fault.code)
                    }
                };
                self.settle(delivery, fate).await;
            }
        }
    }

    async fn settle(&self, delivery: &Delivery, fate: Ending) {
        let settlement = Settlement {
            seq: delivery.seq,
            mid: delivery.stored.mid,
            recipient: delivery.recipient.to_string(),
            at: self.clock.now(),
            held: None,
            attempt: Some(AttemptNote {
                made_at: self.clock.now(),
                took: 1,
                remote: None,
            }),
            fate,
        };
        let settled = self.store.settle(vec![settlement], Vec::new());
        settled.await.unwrap();
    }

    async fn mail(&self, mailbox: i64) -> Vec<StoredMessage> {
        let query = InboxQuery {
            mailbox,
            limit: 1_000,
            offset: 0,
            after: 0,
            since: None,
            filter: ReadFilter::All,
            now: self.clock.now(),
            take: Take::Read,
        };
        let page = self.store.take_mail(query).await.unwrap();
        page.items.into_iter().map(|item| item.message).collect()
    }

    async fn payloads(&self, mailbox: i64) -> Vec<String> {
        let mail = self.mail(mailbox).await;
        let payload = |it: &StoredMessage| it.message().unwrap().payload().to_owned();
        mail.iter().map(payload).collect()
    }

    /// A message from another domain for the topic.
    async fn abroad(&self, sender: &str, trust: Trust, more: &str) {
        let text = format!(r#"{{"sender":"{sender}","recipients":["t@a.test"]{more}}}"#);
        let message = Message::parse(text.into(), Profile::Relay, &Limits::default()).unwrap();
        let domain = message.sender().domain().clone();
        let topic = self.topics.find(&address("t@a.test")).await.unwrap();
        let plan = Plan::Queue {
            party: topic.id,
            destination: list_destination(topic.id),
            give_up_at: self.clock.now().plus(Duration::from_secs(3_600)),
            wire: None,
            reserved: None,
            terms: Terms::default(),
        };
        let envelope = Envelope {
            message_id: MessageId::from(self.clock.mint_v7()),
            idempotency_key: uuid::Uuid::new_v4().into(),
            key_source: KeySource::Minted,
            timestamp: self.clock.now(),
            origin: Origin::Peer,
            trust,
            verification: match trust {
                Trust::Unverified => Verification::unsigned(&domain),
                _ => Verification::source_address(&domain),
            },
            received_at: self.clock.now(),
            remote: None,
            request_id: "r".to_owned(),
            answers: None,
            message,
        };
        let acceptance = Acceptance {
            envelope,
            recipients: vec![Planned {
                address: address("t@a.test"),
                plan,
            }],
            reserved: None,
            place: None,
            succession: None,
            blobs: Vec::new(),
        };
        let decision = self.store.accept(acceptance).await.unwrap();
        assert!(matches!(decision, Decision::Taken { .. }));
    }

    /// The tokens that were sent to an address and are still on their way.
    async fn tokens(&self, to: &str) -> Vec<String> {
        let queue = self.queue().await;
        let to = queue.iter().filter(|it| it.recipient == address(to));
        let token = |it: &Delivery| {
            let message = it.stored.message().unwrap();
            let payload: serde_json::Value = serde_json::from_str(message.payload()).unwrap();
            payload["token"].as_str().map(str::to_owned)
        };
        to.filter_map(token).collect()
    }

    async fn confirm(&self, sender: &str, trust: Trust, token: &str) -> Vec<ErrorCode> {
        let more = format!(r#","message_type":"topic_confirm","payload":{{"token":"{token}"}}"#);
        self.abroad(sender, trust, &more).await;
        self.work().await
    }

    async fn states(&self, who: &str) -> Vec<SubscriptionState> {
        let topic = self.topics.find(&address("t@a.test")).await.unwrap();
        let who = address(who);
        let of = self.store.subscriptions_of(topic.id, &who);
        of.await.unwrap().iter().map(|it| it.state).collect()
    }
}

fn failure(code: ErrorCode) -> Ending {
    Ending::Failed {
        reason: Reason {
            code,
            text: "no".to_owned(),
        },
        bounce: store::BounceFate::None,
        held: None,
    }
}

fn principal(who: &str) -> Principal {
    Principal::Agent {
        // Nobody owns a topic by this number.
        id: i64::MAX,
        address: address(who),
        key_id: String::new(),
        scopes: Scopes::ALL,
        tier: None,
    }
}

fn operator() -> Principal {
    Principal::Staff {
        name: "o".to_owned(),
        role: Role::Operator,
    }
}

fn caller(principal: Principal) -> Caller {
    Caller {
        principal,
        remote: IpAddr::V4(Ipv4Addr::LOCALHOST),
        request_id: "r".to_owned(),
        entry: None,
    }
}

fn code<T: std::fmt::Debug>(refused: Result<T, TopicFault>) -> ErrorCode {
    refused.unwrap_err().code
}

const ALLOW_SUBSCRIBERS: &str = r#"
version: "1.0"
default_policy: allow
rules:
  - {name: partners, direction: subscribe, sender_pattern: "*@b.test", action: allow}
"#;

both!(what_is_published_reaches_each_subscriber_whose_filter_lets_it);
async fn what_is_published_reaches_each_subscriber_whose_filter_lets_it(home: Home) {
    let world = World::at(home).await;
    world.topic("t", TopicSettings::default()).await;
    let (all, some) = (world.agent("all").await, world.agent("some").await);
    world.agent("pub").await;
    world
        .subscribe("all@a.test", "t@a.test", |_| {})
        .await
        .unwrap();
    let only = r#"{"schemas":["agntcy:shop.*"],"headers":{"region":"eu"}}"#;
    let only: Filter = serde_json::from_str(only).unwrap();
    let filtered = |it: &mut Subscribing| it.filter = only;
    world
        .subscribe("some@a.test", "t@a.test", filtered)
        .await
        .unwrap();
    let priced = r#"{"schema":"agntcy:shop.price.v1","headers":{"region":"eu"},"payload":1}"#;
    let published = world.publish("pub@a.test", priced, None).await.unwrap();
    assert_eq!(published.version, Some(1));
    world.publish_all([2, 3]).await;
    assert_eq!(world.work().await, []);
    assert_eq!(world.payloads(all).await, ["1", "2", "3"]);
    assert_eq!(world.payloads(some).await, ["1"]);
    let copy = &world.mail(some).await[0];
    let message = copy.message().unwrap();
    assert_eq!(message.sender(), &address("t@a.test"));
    assert_eq!(copy.origin, Origin::List);
    assert_ne!(copy.message_id, published.receipt.message_id);
    assert_eq!(message.header("x-amtp-list"), Some(r#""t@a.test""#));
    assert_eq!(message.header("x-amtp-list-seq"), Some("1"));
    assert_eq!(
        message.header("x-amtp-original-sender"),
        Some(r#""pub@a.test""#)
    );
    let id = format!("\"{}\"", published.receipt.message_id);
    assert_eq!(message.header("x-amtp-original-id"), Some(id.as_str()));
    // Subscribing again changes the filter, and nobody gets two.
    world
        .subscribe("some@a.test", "t@a.test", |_| {})
        .await
        .unwrap();
    world.publish_all([4]).await;
    world.work().await;
    assert_eq!(world.payloads(some).await, ["1", "4"]);
    let (some_of_them, topic) = (principal("some@a.test"), address("t@a.test"));
    let left = world.topics.unsubscribe(&some_of_them, &topic, None);
    assert!(left.await.unwrap());
    world.publish_all([5]).await;
    world.work().await;
    assert_eq!(world.payloads(some).await, ["1", "4"]);
}

both!(a_crash_between_chunks_leaves_nobody_out_and_repeats_nothing);
async fn a_crash_between_chunks_leaves_nobody_out_and_repeats_nothing(home: Home) {
    const SUBSCRIBERS: usize = 23;
    let mut world = World::with(home, 5, None).await;
    world.topic("t", TopicSettings::default()).await;
    world.agent("pub").await;
    let mut boxes = Vec::new();
    for number in 0..SUBSCRIBERS {
        let name = format!("s{number}");
        boxes.push(world.agent(&name).await);
        let who = format!("{name}@a.test");
        world.subscribe(&who, "t@a.test", |_| {}).await.unwrap();
    }
    world.publish_all([7]).await;
    let delivery = world.queue().await.remove(0);
    let message = delivery.stored.message().unwrap();
    let number = store::list_number(&delivery.destination).unwrap();
    let have = async |world: &World| {
        let mut have = 0;
        for mailbox in &boxes {
            let mail = world.payloads(*mailbox).await;
            assert!(mail.len() <= 1, "one of them has {mail:?}");
            have += mail.len();
        }
        have
    };
    let mut crashes = 0;
    loop {
        // The gateway goes as soon as a chunk is on disk.
        let before = have(&world).await;
        let mut arrivals: Vec<_> = Vec::new();
        for mailbox in &boxes {
            let topic = crate::events::Topic::Mailbox(*mailbox);
            arrivals.push(world.store.events().subscribe(topic));
        }
        let any = futures_any(&mut arrivals);
        let carry = world
            .topics
            .carry(number, (&delivery.stored, &message), &delivery.recipient);
        let done = tokio::select! {
            biased;
            () = any => false,
            carried = carry => {
                carried.unwrap();
                true
            }
        };
        drop(arrivals);
        if done {
            break;
        }
        crashes += 1;
        world = world.again(5).await;
        assert!(have(&world).await > before, "nothing went on");
    }
    assert_eq!(have(&world).await, SUBSCRIBERS);
    assert!(crashes >= 4, "{crashes} crashes");
    // Another attempt after all is done does nothing.
    assert_eq!(world.work().await, []);
    assert_eq!(have(&world).await, SUBSCRIBERS);
}

/// Completes with the first of them.
async fn futures_any(subscriptions: &mut [crate::events::Subscription]) {
    let mut changes: Vec<_> = subscriptions
        .iter_mut()
        .map(|it| Box::pin(it.changed()))
        .collect();
    std::future::poll_fn(move |context| {
        let ready = changes
            .iter_mut()
            .any(|it| it.as_mut().poll(context).is_ready());
        match ready {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
}

both!(only_who_knows_the_last_version_changes_the_value);
async fn only_who_knows_the_last_version_changes_the_value(home: Home) {
    let world = World::at(home).await;
    world.topic("t", kept(10, true)).await;
    world.agent("pub").await;
    let set = async |expected, payload: &str| {
        let content = format!(r#"{{"payload":{payload}}}"#);
        world.publish("pub@a.test", &content, expected).await
    };
    assert_eq!(set(Some(0), "1").await.unwrap().version, Some(1));
    let refused = set(Some(0), "2").await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Conflict);
    assert_eq!(refused.details.unwrap()["version"], 1);
    // Of many that know the same version one wins, whoever they are.
    let many: Vec<_> = (0..8)
        .map(|_| {
            let topics = world.topics.clone();
            let publishing = Publishing {
                topic: address("t@a.test"),
                content: Bytes::from_static(br#"{"payload":3}"#),
                expected_version: Some(1),
                by: caller(principal("pub@a.test")),
            };
            world
                .tasks
                .spawn(async move { topics.publish(publishing).await })
        })
        .collect();
    let mut won = 0;
    for one in many {
        match one.await.unwrap() {
            Ok(published) => {
                assert_eq!(published.version, Some(2));
                won += 1;
            }
            Err(refused) => assert_eq!(refused.code, ErrorCode::Conflict),
        }
    }
    assert_eq!(won, 1);
    assert_eq!(set(None, "4").await.unwrap().version, Some(3));
    assert_eq!(world.work().await, []);
}

both!(what_was_published_before_comes_in_order_and_before_what_is_new);
async fn what_was_published_before_comes_in_order_and_before_what_is_new(home: Home) {
    let world = World::at(home).await;
    world.topic("t", kept(1_000, true)).await;
    world.agent("pub").await;
    world.publish_all(1..=5).await;
    world.work().await;
    world.hand.advance(Duration::from_secs(60));
    let moment = world.clock.now();
    world.publish_all(6..=9).await;
    let (seq, time, last, now) = (
        world.agent("seq").await,
        world.agent("time").await,
        world.agent("last").await,
        world.agent("now").await,
    );
    for (who, from) in [
        ("seq@a.test", Some(From::Seq(3))),
        ("time@a.test", Some(From::Time(moment))),
        ("last@a.test", Some(From::Retained)),
        ("now@a.test", None),
    ] {
        let made = world.subscribe(who, "t@a.test", |it| it.from = from).await;
        let state = match from {
            Some(_) => SubscriptionState::Behind,
            None => SubscriptionState::Active,
        };
        assert_eq!(made.unwrap().state, state);
    }
    // What is published meanwhile is not missed, and not given twice.
    world.publish_all([10]).await;
    world.work().await;
    world.topics.catch_up_all().await.unwrap();
    world.publish_all([11]).await;
    world.work().await;
    let numbers = |from: u32| (from..=11).map(|it| it.to_string()).collect::<Vec<_>>();
    assert_eq!(world.payloads(seq).await, numbers(4));
    assert_eq!(world.payloads(time).await, numbers(6));
    assert_eq!(world.payloads(last).await, numbers(9));
    assert_eq!(world.payloads(now).await, numbers(10));
    assert_eq!(
        world.states("seq@a.test").await,
        [SubscriptionState::Active]
    );
}

both!(a_topic_keeps_what_it_says_and_no_more);
async fn a_topic_keeps_what_it_says_and_no_more(home: Home) {
    let world = World::at(home).await;
    let settings = TopicSettings {
        retention_seconds: Some(100),
        keep: Some(3),
        retain: true,
    };
    let topic = world.topic("t", settings).await;
    let reader = world.agent("reader").await;
    world.agent("pub").await;
    world.publish_all(1..=5).await;
    // Before its copies are made nothing is forgotten.
    world.topics.tidy().await.unwrap();
    let seqs = async || {
        let (found, more) = world.store.publications_after(topic, 0, 64).await.unwrap();
        assert!(!more);
        found.iter().map(|it| it.seq).collect::<Vec<_>>()
    };
    assert_eq!(seqs().await, [1, 2, 3, 4, 5]);
    world.work().await;
    world.topics.tidy().await.unwrap();
    assert_eq!(seqs().await, [3, 4, 5]);
    // The messages of what is kept outlive the history of their delivery.
    world.hand.advance(Duration::from_secs(50));
    let rules = RetentionRules {
        settled: Duration::from_secs(1),
        acknowledged: Duration::from_secs(1),
        dead_letters: Duration::from_secs(1),
    };
    while world
        .store
        .sweep(rules, world.clock.now())
        .await
        .unwrap()
        .more
    {}
    assert_eq!(seqs().await, [3, 4, 5]);
    world.hand.advance(Duration::from_secs(51));
    world.topics.tidy().await.unwrap();
    assert_eq!(seqs().await, [5]);
    let from = |it: &mut Subscribing| it.from = Some(From::Seq(0));
    world
        .subscribe("reader@a.test", "t@a.test", from)
        .await
        .unwrap();
    world.topics.catch_up_all().await.unwrap();
    assert_eq!(world.payloads(reader).await, ["5"]);
}

both!(a_loop_of_topics_ends);
async fn a_loop_of_topics_ends(home: Home) {
    let world = World::at(home).await;
    world.topic("t", TopicSettings::default()).await;
    world.topic("u", TopicSettings::default()).await;
    world.agent("pub").await;
    let reader = world.agent("reader").await;
    let cross = async |topic: &str, subscriber: &str| {
        let request = Subscribing {
            topic: address(topic),
            subscriber: address(subscriber),
            session: None,
            filter: Filter::default(),
            from: None,
        };
        world.topics.subscribe(&operator(), request).await
    };
    cross("t@a.test", "u@a.test").await.unwrap();
    cross("u@a.test", "t@a.test").await.unwrap();
    assert_eq!(
        code(cross("t@a.test", "t@a.test").await),
        ErrorCode::InvalidParameter
    );
    cross("u@a.test", "reader@a.test").await.unwrap();
    world.publish_all([1]).await;
    world.work().await;
    let mail = world.mail(reader).await;
    assert_eq!(mail.len(), 1, "one copy of a copy");
    let message = mail[0].message().unwrap();
    assert_eq!(message.sender(), &address("u@a.test"));
    let path = message.header("x-amtp-list-path");
    assert_eq!(path, Some(r#"["t@a.test","u@a.test"]"#));
    // Who published first stands there still.
    assert_eq!(
        message.header("x-amtp-original-sender"),
        Some(r#""pub@a.test""#)
    );
    assert_eq!(message.hops(), 2);
}

both!(an_address_of_another_domain_confirms_with_its_token);
async fn an_address_of_another_domain_confirms_with_its_token(home: Home) {
    let world = World::with(home, CHUNK, Some(ALLOW_SUBSCRIBERS)).await;
    world.topic("t", TopicSettings::default()).await;
    world.agent("pub").await;
    let ask = async || {
        let asks = r#","message_type":"topic_subscribe""#;
        world.abroad("bob@b.test", Trust::Trusted, asks).await;
        world.work().await
    };
    assert_eq!(ask().await, []);
    assert_eq!(
        world.states("bob@b.test").await,
        [SubscriptionState::Pending]
    );
    let token = world.tokens("bob@b.test").await.remove(0);
    // A pending one gets nothing, and no other answer makes it one.
    world.publish_all([1]).await;
    world.work().await;
    for (sender, trust, token, expected) in [
        (
            "eve@b.test",
            Trust::Trusted,
            token.as_str(),
            ErrorCode::NotFound,
        ),
        ("bob@b.test", Trust::Trusted, "0", ErrorCode::NotFound),
        (
            "bob@b.test",
            Trust::Unverified,
            token.as_str(),
            ErrorCode::AccessDenied,
        ),
    ] {
        let failed = world.confirm(sender, trust, token).await;
        assert_eq!(failed, [expected], "{sender} {token}");
        assert_eq!(
            world.states("bob@b.test").await,
            [SubscriptionState::Pending]
        );
    }
    assert_eq!(
        world.confirm("bob@b.test", Trust::Trusted, &token).await,
        []
    );
    assert_eq!(
        world.states("bob@b.test").await,
        [SubscriptionState::Active]
    );
    // A token is good once.
    let again = world.confirm("bob@b.test", Trust::Trusted, &token).await;
    assert_eq!(again, [ErrorCode::NotFound]);
    world.publish_all([2]).await;
    world.work().await;
    let copies: Vec<_> = world.queue().await;
    let copies: Vec<_> = copies
        .iter()
        .filter(|it| it.destination == "domain:b.test")
        .collect();
    let payloads: Vec<String> = copies
        .iter()
        .map(|it| it.stored.message().unwrap())
        .filter(|message| !message.is_automatic())
        .map(|message| {
            assert_eq!(message.recipients(), [address("bob@b.test")]);
            message.payload().to_owned()
        })
        .collect();
    assert_eq!(payloads, ["2"]);
    let leaves = r#","message_type":"topic_unsubscribe""#;
    world.abroad("bob@b.test", Trust::Unverified, leaves).await;
    assert_eq!(world.work().await, [ErrorCode::AccessDenied]);
    assert_eq!(world.states("bob@b.test").await.len(), 1);
    world.abroad("bob@b.test", Trust::Trusted, leaves).await;
    assert_eq!(world.work().await, []);
    assert_eq!(world.states("bob@b.test").await, []);
}

both!(an_address_is_asked_three_times_a_day_and_a_token_ends);
async fn an_address_is_asked_three_times_a_day_and_a_token_ends(home: Home) {
    let world = World::with(home, CHUNK, Some(ALLOW_SUBSCRIBERS)).await;
    world.topic("t", TopicSettings::default()).await;
    world.topic("u", TopicSettings::default()).await;
    let ask = async |topic: &str| {
        let request = Subscribing {
            topic: address(topic),
            subscriber: address("bob@b.test"),
            session: None,
            filter: Filter::default(),
            from: None,
        };
        world.topics.subscribe(&operator(), request).await
    };
    for topic in ["t@a.test", "u@a.test", "t@a.test"] {
        let made = ask(topic).await.unwrap();
        assert_eq!(made.state, SubscriptionState::Pending);
    }
    // Whichever topic asks.
    assert_eq!(code(ask("u@a.test").await), ErrorCode::RateLimitExceeded);
    let tokens = world.tokens("bob@b.test").await;
    assert_eq!(tokens.len(), 3);
    assert_eq!(tokens.iter().collect::<BTreeSet<_>>().len(), 3);
    // The first question of the topic was overtaken by the second.
    let overtaken = world
        .confirm("bob@b.test", Trust::Trusted, &tokens[0])
        .await;
    assert_eq!(overtaken, [ErrorCode::NotFound]);
    world.hand.advance(TOKEN);
    let late = world
        .confirm("bob@b.test", Trust::Trusted, &tokens[2])
        .await;
    assert_eq!(late, [ErrorCode::NotFound]);
    world.hand.advance(Duration::from_secs(1));
    world.topics.tidy().await.unwrap();
    assert_eq!(world.states("bob@b.test").await, []);
    ask("t@a.test").await.unwrap();
}

both!(who_cannot_be_reached_five_times_in_a_row_is_unsubscribed);
async fn who_cannot_be_reached_five_times_in_a_row_is_unsubscribed(home: Home) {
    let world = World::with(home, CHUNK, Some(ALLOW_SUBSCRIBERS)).await;
    world.topic("t", TopicSettings::default()).await;
    world.agent("pub").await;
    let asks = r#","message_type":"topic_subscribe""#;
    world.abroad("bob@b.test", Trust::Trusted, asks).await;
    world.work().await;
    let token = world.tokens("bob@b.test").await.remove(0);
    world.confirm("bob@b.test", Trust::Trusted, &token).await;
    let bounce = concat!(
        r#","message_type":"delivery_failure","payload":{"original_message_id":"m","#,
        r#""failed_recipients":["bob@b.test"],"error_code":"AGENT_UNKNOWN"}"#
    );
    // A stranger's word does not count, nor that of another domain.
    for (sender, trust) in [
        ("postmaster@b.test", Trust::Unverified),
        ("postmaster@c.test", Trust::Trusted),
    ] {
        for _ in 0..5 {
            world.abroad(sender, trust, bounce).await;
            assert_eq!(world.work().await, []);
        }
        assert_eq!(world.states("bob@b.test").await.len(), 1, "{sender}");
    }
    let (topic, bob) = (address("t@a.test"), address("bob@b.test"));
    let fail = async |times: u32| {
        for _ in 0..times {
            world.hand.advance(Duration::from_secs(1));
            world.topics.note_failed(&topic, &bob).await.unwrap();
        }
    };
    fail(4).await;
    // A copy that arrives begins the count anew.
    world.hand.advance(Duration::from_secs(1));
    world.publish_all([1]).await;
    world.work().await;
    let queue = world.queue().await;
    let copy = queue
        .iter()
        .find(|it| !it.stored.message().unwrap().is_automatic());
    world.settle(copy.unwrap(), Ending::Delivered).await;
    fail(4).await;
    assert_eq!(world.states("bob@b.test").await.len(), 1);
    // The fifth is told by the other gateway.
    world.hand.advance(Duration::from_secs(1));
    world
        .abroad("postmaster@b.test", Trust::Trusted, bounce)
        .await;
    assert_eq!(world.work().await, []);
    assert_eq!(world.states("bob@b.test").await, []);
}

both!(who_may_subscribe_and_publish);
async fn who_may_subscribe_and_publish(home: Home) {
    let rules = r#"
version: "1.0"
default_policy: allow
rules:
  - {name: silent, sender_pattern: "quiet@a.test", recipient_pattern: "t@a.test", action: deny}
  - {name: blind, direction: subscribe, sender_pattern: "blind@a.test", action: deny}
  - {name: loud, direction: broadcast, sender_pattern: "loud@a.test", action: allow}
"#;
    let world = World::with(home, CHUNK, Some(rules)).await;
    let topic = world.topic("t", TopicSettings::default()).await;
    for name in ["quiet", "blind", "loud", "pub"] {
        world.agent(name).await;
    }
    let quiet = world
        .publish("quiet@a.test", r#"{"payload":1}"#, None)
        .await;
    assert_eq!(code(quiet), ErrorCode::PolicyDenied);
    world
        .subscribe("quiet@a.test", "t@a.test", |_| {})
        .await
        .unwrap();
    let blind = world.subscribe("blind@a.test", "t@a.test", |_| {}).await;
    assert_eq!(code(blind), ErrorCode::PolicyDenied);
    for (who, topic, expected) in [
        ("pub@a.test", "none@a.test", ErrorCode::NotFound),
        ("pub@a.test", "loud@a.test", ErrorCode::NotFound),
    ] {
        let refused = world.subscribe(who, topic, |_| {}).await;
        assert_eq!(code(refused), expected, "{who} {topic}");
    }
    // Nobody subscribes another, but the topic itself and operators.
    let other = |it: &mut Subscribing| it.subscriber = address("quiet@a.test");
    let foreign = world.subscribe("pub@a.test", "t@a.test", other).await;
    assert_eq!(code(foreign), ErrorCode::AccessDenied);
    let own = Principal::Agent {
        id: topic,
        address: address("t@a.test"),
        key_id: String::new(),
        scopes: Scopes::ALL,
        tier: None,
    };
    let request = Subscribing {
        topic: address("t@a.test"),
        subscriber: address("blind@a.test"),
        session: None,
        filter: Filter::default(),
        from: None,
    };
    let made = world.topics.subscribe(&own, request).await.unwrap();
    let id = uuid::Uuid::parse_str(&made.id).unwrap();
    let end = |by| {
        let topics = world.topics.clone();
        async move {
            topics
                .unsubscribe(&by, &address("t@a.test"), Some(id))
                .await
        }
    };
    assert!(!end(principal("pub@a.test")).await.unwrap());
    assert!(end(principal("blind@a.test")).await.unwrap());
    // Strangers of another domain have no rule that lets them in.
    let asks = r#","message_type":"topic_subscribe""#;
    world.abroad("bob@b.test", Trust::Trusted, asks).await;
    assert_eq!(world.work().await, [ErrorCode::PolicyDenied]);
    let broadcast = async |who: &str| {
        let broadcasting = Broadcasting {
            content: Bytes::from_static(br#"{"payload":1}"#),
            audience: Audience::Registered,
            by: caller(principal(who)),
        };
        world.topics.broadcast(broadcasting).await
    };
    assert_eq!(code(broadcast("pub@a.test").await), ErrorCode::PolicyDenied);
    broadcast("loud@a.test").await.unwrap();
}

both!(a_broadcast_reaches_all_agents_but_its_sender);
async fn a_broadcast_reaches_all_agents_but_its_sender(home: Home) {
    let rules = r#"
version: "1.0"
default_policy: allow
rules:
  - {name: everybody, direction: broadcast, action: allow}
"#;
    let world = World::with(home, 4, Some(rules)).await;
    let topic = world.topic("t", TopicSettings::default()).await;
    let sender = world.agent("loud").await;
    let mut others = Vec::new();
    for number in 0..11 {
        others.push(world.agent(&format!("s{number}")).await);
    }
    let send = async |audience| {
        let broadcasting = Broadcasting {
            content: Bytes::from_static(br#"{"payload":"all"}"#),
            audience,
            by: caller(principal("loud@a.test")),
        };
        world.topics.broadcast(broadcasting).await.unwrap()
    };
    send(Audience::Registered).await;
    assert_eq!(world.work().await, []);
    for other in &others {
        let mail = world.mail(*other).await;
        assert_eq!(mail.len(), 1);
        let message = mail[0].message().unwrap();
        assert_eq!(message.sender(), &address("loud@a.test"));
        assert_eq!(message.header("x-amtp-list"), Some(r#""broadcast@a.test""#));
    }
    assert_eq!(world.mail(sender).await.len(), 0);
    assert_eq!(world.mail(topic).await.len(), 0);
    // Nobody is connected.
    send(Audience::Connected).await;
    assert_eq!(world.work().await, []);
    assert_eq!(world.mail(others[0]).await.len(), 1);
}

both!(subscriptions_of_agents_that_are_gone_end);
async fn subscriptions_of_agents_that_are_gone_end(home: Home) {
    let world = World::at(home).await;
    world.topic("t", TopicSettings::default()).await;
    world.agent("pub").await;
    let old = world.agent("bob").await;
    world
        .subscribe("bob@a.test", "t@a.test", |_| {})
        .await
        .unwrap();
    world
        .store
        .delete_agent(old, world.clock.now())
        .await
        .unwrap();
    let new = world.agent("bob").await;
    // A new agent of the name did not subscribe.
    world.publish_all([1]).await;
    assert_eq!(world.work().await, []);
    assert_eq!(world.mail(new).await.len(), 0);
    assert_eq!(world.states("bob@a.test").await, []);
    world
        .subscribe("bob@a.test", "t@a.test", |_| {})
        .await
        .unwrap();
    world
        .store
        .delete_agent(new, world.clock.now())
        .await
        .unwrap();
    world.topics.tidy().await.unwrap();
    assert_eq!(world.states("bob@a.test").await, []);
}

both!(an_address_has_a_thousand_subscriptions_at_most);
async fn an_address_has_a_thousand_subscriptions_at_most(home: Home) {
    let world = World::at(home).await;
    let topic = world.topic("t", TopicSettings::default()).await;
    let bob = world.agent("bob").await;
    world.agent("pub").await;
    for session in 1..=1_000 {
        let made = world.store.subscribe(store::NewSubscription {
            public_id: format!("s{session}"),
            topic,
            address: address("bob@a.test"),
            agent: Some(bob),
            session: Some(session),
            filter: b"{}".to_vec(),
            start: store::Start::Now,
            asking: None,
            most: 1_000,
            now: world.clock.now(),
        });
        made.await.unwrap();
    }
    let refused = world.subscribe("bob@a.test", "t@a.test", |_| {}).await;
    assert_eq!(code(refused), ErrorCode::RateLimitExceeded);
    // None of these sessions is open: they get nothing, and are cleared away.
    world.publish_all([1]).await;
    assert_eq!(world.work().await, []);
    assert_eq!(world.mail(bob).await.len(), 0);
    world.topics.tidy().await.unwrap();
    world.topics.tidy().await.unwrap();
    assert_eq!(world.states("bob@a.test").await, []);
}

both!(a_topic_that_keeps_nothing_gives_nothing_of_before);
async fn a_topic_that_keeps_nothing_gives_nothing_of_before(home: Home) {
    let world = World::at(home).await;
    let topic = world.topic("t", TopicSettings::default()).await;
    world.agent("bob").await;
    world.agent("pub").await;
    for from in [
        From::Seq(0),
        From::Time(Timestamp::from_millis(0)),
        From::Retained,
    ] {
        let refused = world
            .subscribe("bob@a.test", "t@a.test", |it| it.from = Some(from))
            .await;
        assert_eq!(code(refused), ErrorCode::InvalidParameter, "{from:?}");
    }
    world.publish_all([1]).await;
    world.work().await;
    world.topics.tidy().await.unwrap();
    let (found, _) = world.store.publications_after(topic, 0, 64).await.unwrap();
    assert!(found.is_empty());
}

both!(a_thousand_subscribers_get_one_publication);
async fn a_thousand_subscribers_get_one_publication(home: Home) {
    const SUBSCRIBERS: i64 = 1_000;
    let world = World::at(home).await;
    let topic = world.topic("t", TopicSettings::default()).await;
    world.agent("pub").await;
    let mut boxes = Vec::new();
    for number in 0..SUBSCRIBERS {
        let mailbox = world.agent(&format!("s{number}")).await;
        let made = world.store.subscribe(store::NewSubscription {
            public_id: format!("s{number}"),
            topic,
            address: address(&format!("s{number}@a.test")),
            agent: Some(mailbox),
            session: None,
            filter: b"{}".to_vec(),
            start: store::Start::Now,
            asking: None,
            most: 1,
            now: world.clock.now(),
        });
        made.await.unwrap();
        boxes.push(mailbox);
    }
    world.publish_all([1]).await;
    let before = Clock::system().monotonic();
    assert_eq!(world.work().await, []);
    let took = Clock::system().monotonic().saturating_sub(before);
    let mut mids = BTreeSet::new();
    for mailbox in boxes {
        let mail = world.mail(mailbox).await;
        assert_eq!(mail.len(), 1);
        mids.insert(mail[0].mid);
    }
    assert_eq!(mids.len(), 1, "one body for all");
    // Far more than it takes: a copy for each would not be done by then.
    assert!(took < Duration::from_secs(20), "{took:?}");
}

both!(a_body_that_fills_a_commit_goes_to_other_domains_in_chunks);
async fn a_body_that_fills_a_commit_goes_to_other_domains_in_chunks(home: Home) {
    let world = World::at(home).await;
    let topic = world.topic("t", TopicSettings::default()).await;
    world.agent("pub").await;
    for number in 0..5 {
        let subscribed = world.store.subscribe(store::NewSubscription {
            public_id: format!("s{number}"),
            topic,
            address: address(&format!("s{number}@b.test")),
            agent: None,
            session: None,
            filter: b"{}".to_vec(),
            start: store::Start::Now,
            asking: None,
            most: 1,
            now: world.clock.now(),
        });
        subscribed.await.unwrap();
    }
    let large = format!(r#"{{"payload":"{}"}}"#, "x".repeat(3 * 1024 * 1024));
    world.publish("pub@a.test", &large, None).await.unwrap();
    assert_eq!(world.work().await, []);
    let mut recipients: Vec<String> = Vec::new();
    for delivery in world.queue().await {
        recipients.push(delivery.recipient.to_string());
    }
    recipients.sort();
    let expected: Vec<String> = (0..5).map(|it| format!("s{it}@b.test")).collect();
    assert_eq!(recipients, expected);
}
