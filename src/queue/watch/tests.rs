//! What the watch sees and says.

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::*;
use crate::clock::TestClock;
use crate::config::Database;
use crate::envelope::{Envelope, KeySource, Origin, Trust, Verification};
use crate::events::Events;
use crate::protocol::{Address, AgentName, Domain, Limits, Message, Profile};
use crate::store::{
    self, Acceptance, AgentSettings, Created, Grant, NewAgent, NewKey, Plan, Planned, StoreOptions,
    Terms,
};
use crate::telemetry::Metrics;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

struct Bench {
    watch: Watch,
    metrics: Metrics,
    clock: Arc<TestClock>,
    stop: CancellationToken,
    tasks: TaskTracker,
    _folder: tempfile::TempDir,
}

impl Bench {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = StoreOptions {
            database: Database::Sqlite(folder.path().join("amtpd.db")),
        };
        let metrics = Metrics::default();
        let clock = TestClock::at(NOW);
        let events = Events::default();
        let opened = store::open(&options, events, metrics.clone(), Clock::system()).await;
        let (store, committer) = opened.unwrap();
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(committer.run(stop.clone()));
        let thresholds = Thresholds {
            every: Duration::from_secs(30),
            queue_deliveries: 2,
            queue_age: Duration::from_secs(100),
            lag_messages: 2,
            lag_age: Duration::from_secs(100),
        };
        let alerts = metrics.alerts().clone();
        let watch = Watch::new(store, Clock::over(clock.clone()), alerts, thresholds);
        Self {
            watch,
            metrics,
            clock,
            stop,
            tasks,
            _folder: folder,
        }
    }

    async fn agent(&self, name: &str) -> i64 {
        let created = self.watch.store.create_agent(NewAgent {
            domain: Domain::parse("a.test").unwrap(),
            name: AgentName::parse(name).unwrap(),
            settings: AgentSettings::fresh(),
            sealed_headers: None,
            key: NewKey {
                id: format!("key-{name}"),
                hash: vec![1; 32],
                grant: Grant::default(),
            },
            token: None,
            now: NOW,
        });
        match created.await.unwrap() {
            Created::Agent(id) => id,
            other => panic!("{other:?}"),
        }
    }

    async fn accept(&self, id: &str, plan: Plan) {
        let raw = r#"{"sender":"alice@a.test","recipients":["bob@a.test"],"payload":1}"#;
        let raw = bytes::Bytes::from(raw);
        let message = Message::parse(raw, Profile::Relay, &Limits::default()).unwrap();
        let acceptance = Acceptance {
            envelope: Envelope {
                message_id: crate::protocol::MessageId::parse(id).unwrap(),
                idempotency_key: uuid::Uuid::new_v4().into(),
                key_source: KeySource::Minted,
                timestamp: NOW,
                origin: Origin::Submission,
                trust: Trust::Local,
                verification: Verification::authenticated(message.sender().domain()),
                received_at: NOW,
                remote: None,
                answers: None,
                request_id: "r".to_owned(),
                message,
            },
            recipients: vec![Planned {
                address: Address::parse("bob@a.test").unwrap(),
                plan,
            }],
            reserved: None,
            place: None,
            succession: None,
            blobs: Vec::new(),
        };
        self.watch.store.accept(acceptance).await.unwrap();
    }

    async fn close(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

#[tokio::test]
async fn alerts_rise_beyond_their_thresholds_and_end_when_all_is_well() {
    let bench = Bench::new().await;
    let (bob, carol) = (bench.agent("bob").await, bench.agent("carol").await);
    let to_bob = || Plan::Inbox {
        mailbox: bob,
        priority: None,
    };
    bench.accept("m-0", to_bob()).await;
    bench.accept("m-1", to_bob()).await;
    bench.watch.look().await.unwrap();
    let alerts = bench.metrics.alerts().clone();
    assert_eq!(alerts.raised(), []);
    bench.accept("m-2", to_bob()).await;
    for number in 0..3 {
        let plan = Plan::Queue {
            party: carol,
            destination: format!("group:{carol}"),
            give_up_at: NOW.plus(Duration::from_secs(3_600)),
            wire: None,
            reserved: None,
            terms: Terms::default(),
        };
        bench.accept(&format!("q-{number}"), plan).await;
    }
    bench.watch.look().await.unwrap();
    assert_eq!(
        alerts.raised(),
        [Alert::QueueDeliveries, Alert::LagMessages]
    );
    bench.clock.advance(Duration::from_secs(101));
    bench.watch.look().await.unwrap();
    assert_eq!(alerts.raised(), Alert::ALL);
    let shown = bench.metrics.encode();
    for line in [
        "amtp_alert{alert=\"lag_age\"} 1",
        "amtp_lag_messages{agent=\"bob@a.test\",kind=\"agent\"} 3",
        "amtp_lag_messages{agent=\"carol@a.test\",kind=\"agent\"} 3",
        "amtp_lag_oldest_seconds{agent=\"bob@a.test\",kind=\"agent\"} 101",
    ] {
        assert!(shown.contains(line), "{line}\n{shown}");
    }
    let lags = bench.watch.store.lag(10).await.unwrap();
    let lags: Vec<(u64, u64)> = lags.iter().map(|lag| (lag.waiting, lag.queued)).collect();
    assert_eq!(lags, [(3, 0), (0, 3)]);
    for number in 0..3 {
        let id = crate::protocol::MessageId::parse(&format!("m-{number}")).unwrap();
        bench
            .watch
            .store
            .acknowledge(bob, vec![id], NOW)
            .await
            .unwrap();
    }
    bench.watch.look().await.unwrap();
    assert!(
        !bench.metrics.encode().contains("bob@a.test"),
        "nothing waits for bob"
    );
    assert_eq!(bench.watch.store.lag(10).await.unwrap().len(), 1);
    let agent = bench.watch.store.find_agent_by_number(carol).await.unwrap();
    let lag = bench.watch.store.lag_of(agent.unwrap()).await.unwrap();
    assert_eq!((lag.messages(), lag.oldest), (3, Some(NOW)));
    bench.close().await;
}
