//! The worker on both databases.

use std::time::Duration;

use bytes::Bytes;
use tokio_util::task::TaskTracker;

use super::*;
use crate::clock::TestClock;
use crate::envelope::{Envelope, KeySource, Origin, Trust, Verification};
use crate::events::Events;
use crate::protocol::{
    Address, AgentName, Domain, Limits, Message as Mail, MessageId, Profile, Timestamp,
};
use crate::store::tests::{Home, both};
use crate::store::{
    self, Acceptance, AgentSettings, Created, Grant, NewAgent, NewKey, NewTask, Plan, Planned,
    StoreOptions, TaskParts, Terms,
};
use crate::task::change::bytes;
use crate::task::{Content, Task, TaskStatus, whole};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

struct World {
    store: Store,
    clock: std::sync::Arc<TestClock>,
    metrics: Metrics,
    agent: i64,
    stop: CancellationToken,
    tasks: TaskTracker,
    _home: Home,
}

impl World {
    /// A store with an agent, and a worker over it.
    async fn at(home: Home) -> Self {
        let test_clock = TestClock::at(NOW);
        let clock = Clock::over(test_clock.clone());
        let options = StoreOptions {
            database: home.database(),
        };
        let (events, metrics) = (Events::default(), Metrics::default());
        let opened = store::open(&options, events, metrics.clone(), clock.clone());
        let (store, committer) = opened.await.unwrap();
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(committer.run(stop.clone()));
        let agent = agent(&store).await;
        let worker = Overdue::new(store.clone(), clock, metrics.clone());
        tasks.spawn(worker.run(stop.clone()));
        Self {
            store,
            clock: test_clock,
            metrics,
            agent,
            stop,
            tasks,
            _home: home,
        }
    }

    async fn open(&self, id: &str, agent: i64, deadline: Option<u64>) -> MessageId {
        let acceptance = request();
        let request = acceptance.envelope.message_id.clone();
        let status = TaskStatus {
            state: TaskState::Submitted,
            message: None,
            timestamp: Some(NOW),
        };
        let task = NewTask {
            id: id.to_owned(),
            agent,
            owner: "agent:1".to_owned(),
            context: "c".to_owned(),
            dialect: 10,
            alias: None,
            state: TaskState::Submitted.code(),
            status: bytes(&status),
            message: bytes(&Message::of_agent("m-1", "hello")),
            metadata: None,
            request: Some(request.clone()),
            key: None,
            held_until: Timestamp::from_millis(0),
            deadline_at: deadline.map(|after| NOW.plus(Duration::from_secs(after))),
            push: None,
            now: NOW,
        };
        self.store.open_task(task, Some(acceptance)).await.unwrap();
        request
    }

    async fn task(&self, id: &str) -> Task {
        let row = self.store.find_any_task(id).await.unwrap().unwrap();
        let found = self.store.whole_task(row, TaskParts::ALL).await.unwrap();
        whole::task(&found.unwrap()).unwrap()
    }

    /// The task once it has ended, while time goes on.
    async fn ended(&self, id: &str) -> (TaskState, String) {
        for _ in 0..10_000 {
            let status = self.task(id).await.status;
            if status.state.is_terminal() {
                let said = status.message.unwrap().parts.remove(0).content;
                let Content::Text(text) = said else {
                    panic!("{said:?}");
                };
                return (status.state, text);
            }
            self.clock.advance(Duration::from_millis(1));
        }
        panic!("it goes on");
    }

    async fn close(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn agent(store: &Store) -> i64 {
    let new = NewAgent {
        domain: Domain::parse("a.test").unwrap(),
        name: AgentName::parse("orders").unwrap(),
        settings: AgentSettings::fresh(),
        sealed_headers: None,
        key: NewKey {
            id: "key".to_owned(),
            hash: vec![1; 32],
            grant: Grant::default(),
        },
        token: None,
        now: NOW,
    };
    match store.create_agent(new).await.unwrap() {
        Created::Agent(id) => id,
        other => panic!("{other:?}"),
    }
}

/// A message that waits in the queue.
fn request() -> Acceptance {
    let raw = r#"{"sender":"a2a+t@a.test","recipients":["orders@a.test"],"payload":1}"#;
    let message = Mail::parse(Bytes::from(raw), Profile::Relay, &Limits::default()).unwrap();
    Acceptance {
        envelope: Envelope {
            message_id: uuid::Uuid::new_v4().into(),
            idempotency_key: uuid::Uuid::new_v4().into(),
            key_source: KeySource::Minted,
            timestamp: NOW,
            origin: Origin::A2a,
            trust: Trust::Local,
            verification: Verification::authenticated(message.sender().domain()),
            received_at: NOW,
            remote: None,
            request_id: "r".to_owned(),
            answers: None,
            message,
        },
        recipients: vec![Planned {
            address: Address::parse("orders@a.test").unwrap(),
            plan: Plan::Queue {
                party: 7,
                destination: "agent:7".to_owned(),
                give_up_at: NOW.plus(Duration::from_secs(9_000)),
                wire: None,
                reserved: None,
                terms: Terms::default(),
            },
        }],
        reserved: None,
        place: None,
        succession: None,
        blobs: Vec::new(),
    }
}

both!(a_task_whose_time_is_up_fails_and_its_mail_is_taken_back);
async fn a_task_whose_time_is_up_fails_and_its_mail_is_taken_back(home: Home) {
    let world = World::at(home).await;
    world.open("t", world.agent, Some(60)).await;
    world.open("later", world.agent, Some(3_600)).await;
    world.open("never", world.agent, None).await;
    world.clock.advance(Duration::from_secs(59));
    assert_eq!(world.task("t").await.status.state, TaskState::Submitted);
    let (state, text) = world.ended("t").await;
    assert_eq!(state, TaskState::Failed);
    assert_eq!(text, "The agent did not finish the task in time.");
    // It took its time.
    let since = Clock::over(world.clock.clone()).now().since(NOW);
    assert!(since >= Duration::from_secs(60), "{since:?}");
    let (waiting, _) = world.store.queue_depth().await.unwrap();
    assert_eq!(waiting, 2);
    for id in ["later", "never"] {
        assert_eq!(world.task(id).await.status.state, TaskState::Submitted);
    }
    assert_eq!(world.store.task_events("t", 0, 9).await.unwrap().len(), 1);
    let metrics = world.metrics.encode();
    assert!(
        metrics.contains(r#"amtp_a2a_tasks_ended_total{cause="deadline"} 1"#),
        "{metrics}"
    );
    world.close().await;
}

both!(a_task_whose_request_is_cancelled_is_canceled);
async fn a_task_whose_request_is_cancelled_is_canceled(home: Home) {
    let world = World::at(home).await;
    world.open("t", world.agent, None).await;
    let request = world.store.newest_request("t").await.unwrap().unwrap();
    let cancelled = world.store.cancel(vec![request.mid], NOW).await.unwrap();
    assert_eq!(cancelled, 1);
    let (state, text) = world.ended("t").await;
    assert_eq!(state, TaskState::Canceled);
    assert_eq!(text, "The message to the agent was cancelled.");
    world.close().await;
}

both!(a_task_whose_agent_is_removed_fails);
async fn a_task_whose_agent_is_removed_fails(home: Home) {
    let world = World::at(home).await;
    world.open("t", world.agent, None).await;
    world.store.delete_agent(world.agent, NOW).await.unwrap();
    let (state, text) = world.ended("t").await;
    assert_eq!(state, TaskState::Failed);
    assert!(text.starts_with("AGENT_UNKNOWN: "), "{text}");
    world.close().await;
}

both!(tasks_are_counted_now_and_then);
async fn tasks_are_counted_now_and_then(home: Home) {
    let world = World::at(home).await;
    world.open("t", world.agent, None).await;
    world.open("u", world.agent, Some(1)).await;
    world.ended("u").await;
    for line in [
        r#"amtp_a2a_tasks{state="submitted"} 1"#,
        r#"amtp_a2a_tasks{state="failed"} 1"#,
        r#"amtp_a2a_tasks{state="completed"} 0"#,
        "amtp_a2a_push_receivers_waiting 0",
    ] {
        let mut rounds = 0;
        while !world.metrics.encode().contains(line) {
            world.clock.advance(EVERY);
            world.task("t").await;
            rounds += 1;
            assert!(rounds < 10_000, "{line} in {}", world.metrics.encode());
        }
    }
    world.close().await;
}
