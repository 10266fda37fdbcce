//! What A2A clients ask and what agents answer, through the door and the store.

mod ended;

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Arrival, Asked, Intake, LocalNames, Made, Receipt, Refusal, Rules};
use crate::auth::Presented;
use crate::clock::{Clock, TestClock};
use crate::envelope::{Origin, Principal, Scopes, Trust};
use crate::events::Events;
use crate::protocol::{
    Address, AgentName, Bounce, BounceKind, Domain, ErrorCode, Heading, IdempotencyKey, Limits,
    MessageId, Timestamp,
};
use crate::store::tests::Home;
use crate::store::{
    self, AgentSettings, Created, Decision, Fate, Grant, InboxQuery, NewAgent, NewKey, NewTask,
    OpenedTask, ReadFilter, Space, Store, StoreOptions, Take, TaskParts,
};
use crate::task::change::bytes;
use crate::task::request::{self, Kind, Profile, Request, Route, task_address};
use crate::task::{Dialect, Message, Role, Task, TaskState, TaskStatus, whole};
use crate::telemetry::Metrics;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const TASK: &str = "0193a2b4-0000-7000-8000-000000000001";

struct Door {
    intake: Intake,
    store: Store,
    clock: Clock,
    orders: i64,
    alice: i64,
    stop: CancellationToken,
    tasks: TaskTracker,
    _home: Home,
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn domain() -> Domain {
    Domain::parse("a.test").unwrap()
}

impl Door {
    async fn at(home: Home) -> Self {
        let clock = Clock::over(TestClock::at(NOW));
        let options = StoreOptions {
            database: home.database(),
        };
        let (events, metrics) = (Events::default(), Metrics::default());
        let opened = store::open(&options, events, metrics.clone(), clock.clone()).await;
        let (store, committer) = opened.unwrap();
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(committer.run(stop.clone()));
        let space = Space::watch(None, 0, metrics.clone()).unwrap();
        let names = LocalNames {
            domains: HashSet::from([domain()]),
            ..LocalNames::default()
        };
        let rules = Rules {
            limits: Limits::default(),
            give_up: Duration::from_secs(3_600),
        };
        let stored = (store.clone(), space);
        let intake = Intake::new(stored, Arc::new(names), rules, clock.clone(), metrics);
        let orders = agent(&store, "orders").await;
        let alice = agent(&store, "alice").await;
        agent(&store, "eve").await;
        Self {
            intake,
            store,
            clock,
            orders,
            alice,
            stop,
            tasks,
            _home: home,
        }
    }

    async fn close(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn asked(&self, sender: &str, recipient: &str, principal: Principal) -> Asked {
        let message = Message {
            role: Role::User,
            ..Message::of_agent("m-1", "hello")
        };
        let raw = request::write(
            &Route {
                sender: &address(sender),
                recipient: &address(recipient),
                reply_to: None,
                message_id: &self.clock.mint_v7().into(),
                idempotency_key: &uuid::Uuid::new_v4().into(),
                in_reply_to: None,
                now: NOW,
            },
            &Request {
                kind: Kind::Message,
                dialect: Dialect::V1,
                message: &message.placed((TASK, "c")),
                metadata: None,
                accepted_output_modes: &[],
                extensions: &[],
                attachments: &[],
                profile: Profile::Envelope,
            },
        );
        Asked {
            raw,
            principal,
            remote: IpAddr::V4(Ipv4Addr::LOCALHOST),
            request_id: "r".to_owned(),
        }
    }

    /// Opens the task; answers the id of the request.
    async fn open(&self, sender: &str, principal: Principal) -> MessageId {
        let asked = self.asked(sender, "orders@a.test", principal.clone());
        let acceptance = self.intake.judge_asked(asked).await.unwrap();
        let request = acceptance.envelope.message_id.clone();
        let status = TaskStatus {
            state: TaskState::Submitted,
            message: None,
            timestamp: Some(NOW),
        };
        let task = NewTask {
            id: TASK.to_owned(),
            agent: self.orders,
            owner: crate::task::Owner::of(&principal, TASK).as_str().to_owned(),
            context: "c".to_owned(),
            dialect: Dialect::V1.code(),
            alias: None,
            state: TaskState::Submitted.code(),
            status: bytes(&status),
            message: bytes(&Message::of_agent("m-1", "hello")),
            metadata: None,
            request: Some(request.clone()),
            key: None,
            held_until: Timestamp::from_millis(0),
            deadline_at: None,
            push: None,
            now: NOW,
        };
        let opened = self.store.open_task(task, Some(acceptance)).await.unwrap();
        assert!(matches!(opened, OpenedTask::New(Some(_))), "{opened:?}");
        request
    }

    /// An agent of ours sends a message.
    async fn says(&self, name: &str, message: Value) -> Result<Receipt, Refusal> {
        let sender = address(&format!("{name}@a.test"));
        let mut message = message;
        message["sender"] = sender.as_str().into();
        let arrival = Arrival {
            raw: Bytes::from(message.to_string()),
            presented: Presented::Principal(principal(9, sender)),
            remote: IpAddr::V4(Ipv4Addr::LOCALHOST),
            certificates: Arc::default(),
            request_id: "r".to_owned(),
            verify_by: self.clock.monotonic(),
            reads_answers: true,
            succession: None,
        };
        self.intake.begin(arrival, None).await?.receipt().await
    }

    async fn task(&self) -> Task {
        let row = self.store.find_any_task(TASK).await.unwrap().unwrap();
        let found = self.store.whole_task(row, TaskParts::ALL).await.unwrap();
        whole::task(&found.unwrap()).unwrap()
    }

    async fn mail(&self, mailbox: i64) -> usize {
        let page = self.store.take_mail(query(mailbox)).await;
        page.unwrap().items.len()
    }
}

async fn agent(store: &Store, name: &str) -> i64 {
    let new = NewAgent {
        domain: domain(),
        name: AgentName::parse(name).unwrap(),
        settings: AgentSettings::fresh(),
        sealed_headers: None,
        key: NewKey {
            id: format!("key-of-{name}"),
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

fn principal(id: i64, address: Address) -> Principal {
    Principal::Agent {
        id,
        address,
        key_id: "k".to_owned(),
        scopes: Scopes::ALL,
        tier: None,
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
        now: NOW,
        take: Take::Read,
    }
}

fn of_task() -> String {
    task_address(TASK, &domain()).to_string()
}

fn code(result: &Result<Receipt, Refusal>) -> Option<ErrorCode> {
    match result {
        Ok(receipt) => receipt.recipients[0].error_code,
        Err(refusal) => Some(refusal.code),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_agents_plain_answer_completes_the_task() {
    for home in [Home::sqlite(), Home::postgres()] {
        let door = Door::at(home).await;
        let request = door.open(&of_task(), Principal::Anonymous).await;
        assert_eq!(door.mail(door.orders).await, 1);
        let answer = json!({"recipients": [of_task()], "in_reply_to": request.as_str(),
            "payload": {"order_id": "PO-9"}});
        let receipt = door.says("orders", answer.clone()).await.unwrap();
        assert_eq!(receipt.recipients[0].error_code, None);
        let task = door.task().await;
        assert_eq!(task.status.state, TaskState::Completed);
        assert_eq!(task.artifacts.len(), 1);
        assert_eq!(
            code(&door.says("orders", answer).await),
            Some(ErrorCode::TaskTerminal)
        );
        assert_eq!(door.task().await, task);
        door.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn only_the_agent_of_a_task_answers_it() {
    let door = Door::at(Home::sqlite()).await;
    let request = door.open(&of_task(), Principal::Anonymous).await;
    let before = door.task().await;
    let nobody = Some(ErrorCode::AgentUnknown);
    let answer = json!({"recipients": [of_task()], "in_reply_to": request.as_str(), "payload": 1,
        "headers": {"a2a-task-id": TASK}});
    assert_eq!(code(&door.says("eve", answer.clone()).await), nobody);
    // As for a task that is not there.
    let other =
        json!({"recipients": ["a2a+0193a2b4-0000-7000-8000-000000000009@a.test"], "payload": 1});
    assert_eq!(code(&door.says("eve", other.clone()).await), nobody);
    assert_eq!(code(&door.says("orders", other).await), nobody);
    let broken = json!({"recipients": [of_task()], "payload": 1, "headers": {"a2a-state": "gone"}});
    let refused = door.says("orders", broken).await;
    assert_eq!(code(&refused), Some(ErrorCode::InvalidMessageFormat));
    let foreign = json!({"recipients": [of_task()], "schema": "agntcy:a2a.stream-response.v1",
        "payload": {"statusUpdate": {"taskId": "other", "status": {"state": 3}}}});
    let refused = door.says("orders", foreign).await;
    assert_eq!(code(&refused), Some(ErrorCode::InvalidMessageFormat));
    assert_eq!(door.task().await, before);
    door.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_answer_to_the_agent_that_asked_by_a2a_is_for_the_task() {
    let door = Door::at(Home::sqlite()).await;
    let asker = principal(door.alice, address("alice@a.test"));
    let request = door.open("alice@a.test", asker).await;
    let question = json!({"recipients": ["alice@a.test"], "in_reply_to": request.as_str(),
        "payload": "which colour?", "headers": {"a2a-state": "input-required"}});
    assert_eq!(code(&door.says("orders", question).await), None);
    let task = door.task().await;
    assert_eq!(task.status.state, TaskState::InputRequired);
    assert_eq!(task.history.len(), 2);
    assert_eq!(door.mail(door.alice).await, 0);
    // Other mail to her is hers.
    for mail in [
        json!({"recipients": ["alice@a.test"], "payload": 1}),
        json!({"recipients": ["alice@a.test"], "payload": 1,
            "in_reply_to": "0193a2b4-0000-7000-8000-0000000000ff"}),
    ] {
        assert_eq!(code(&door.says("orders", mail).await), None);
    }
    let of_eve =
        json!({"recipients": ["alice@a.test"], "in_reply_to": request.as_str(), "payload": 1});
    assert_eq!(code(&door.says("eve", of_eve).await), None);
    assert_eq!(door.mail(door.alice).await, 3);
    assert_eq!(door.task().await, task);
    door.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_request_that_cannot_be_delivered_fails_its_task() {
    let door = Door::at(Home::sqlite()).await;
    let request = door.open(&of_task(), Principal::Anonymous).await;
    let notice = |original: &MessageId| {
        let bounce = Bounce {
            original_message_id: original.clone(),
            failed_recipients: vec![address("orders@a.test")],
            error_code: "RECIPIENT_UNAVAILABLE".to_owned(),
            error_message: "the webhook does not answer".to_owned(),
            retry_count: 3,
            final_attempt: None,
        };
        let heading = Heading {
            message_id: &door.clock.mint_v7().into(),
            idempotency_key: &IdempotencyKey::from(uuid::Uuid::new_v4()),
            timestamp: NOW,
            sender: &address("postmaster@a.test"),
            recipient: &task_address(TASK, &domain()),
            hops: 1,
        };
        Made {
            raw: bounce.message(BounceKind::Failure, &heading).into(),
            origin: Origin::Bounce,
            request_id: "r".to_owned(),
        }
    };
    // A notice of another message is nothing to the task.
    let other = MessageId::parse("0193a2b4-0000-7000-8000-0000000000ff").unwrap();
    let refused = door.intake.judge_made(notice(&other)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::AgentUnknown);
    let acceptance = door.intake.judge_made(notice(&request)).await.unwrap();
    // As the queue stores it: with what it settles.
    door.store
        .settle(Vec::new(), vec![acceptance])
        .await
        .unwrap();
    let task = door.task().await;
    assert_eq!(task.status.state, TaskState::Failed);
    let said = task.status.message.unwrap();
    let text =
        crate::task::Content::Text("RECIPIENT_UNAVAILABLE: the webhook does not answer".to_owned());
    assert_eq!(said.parts[0].content, text);
    // One that an agent made up is mail like any other.
    let forged = json!({"recipients": [of_task()], "message_type": "delivery_failure",
        "payload": {"original_message_id": request.as_str(), "failed_recipients": ["orders@a.test"]}});
    assert_eq!(
        code(&door.says("eve", forged).await),
        Some(ErrorCode::AgentUnknown)
    );
    door.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_task_is_worked_on_once_its_agent_has_it() {
    let door = Door::at(Home::sqlite()).await;
    door.open(&of_task(), Principal::Anonymous).await;
    let other = json!({"recipients": ["orders@a.test"], "payload": 1});
    door.says("eve", other).await.unwrap();
    let page = door.store.take_mail(query(door.orders)).await.unwrap();
    assert_eq!(door.task().await.status.state, TaskState::Submitted);
    door.intake.note_handed_over(&page.items[1].message).await;
    assert_eq!(door.task().await.status.state, TaskState::Submitted);
    for _ in 0..2 {
        door.intake.note_handed_over(&page.items[0].message).await;
        assert_eq!(door.task().await.status.state, TaskState::Working);
        assert_eq!(door.store.task_events(TASK, 0, 9).await.unwrap().len(), 1);
    }
    door.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn who_asks_is_who_it_says() {
    let door = Door::at(Home::sqlite()).await;
    let alice = || principal(door.alice, address("alice@a.test"));
    let judge = async |sender: &str, recipient: &str, principal: Principal| {
        let asked = door.asked(sender, recipient, principal);
        door.intake.judge_asked(asked).await
    };
    let task = of_task();
    for (sender, recipient, principal, expected) in [
        ("alice@a.test", "orders@a.test", alice(), Ok(Trust::Local)),
        (task.as_str(), "orders@a.test", alice(), Ok(Trust::Local)),
        (
            task.as_str(),
            "orders@a.test",
            Principal::Anonymous,
            Ok(Trust::Unverified),
        ),
        (
            "orders@a.test",
            "orders@a.test",
            alice(),
            Err(ErrorCode::SenderCredentialMismatch),
        ),
        (
            "alice@a.test",
            "orders@a.test",
            Principal::Anonymous,
            Err(ErrorCode::SenderCredentialMismatch),
        ),
        (
            "a2a+x@b.test",
            "orders@a.test",
            alice(),
            Err(ErrorCode::SenderCredentialMismatch),
        ),
        (
            task.as_str(),
            "x@b.test",
            Principal::Anonymous,
            Err(ErrorCode::RelayDenied),
        ),
        (task.as_str(), "x@b.test", alice(), Ok(Trust::Local)),
        (
            task.as_str(),
            "nobody@a.test",
            alice(),
            Err(ErrorCode::AgentUnknown),
        ),
    ] {
        let judged = judge(sender, recipient, principal).await;
        let found = judged.map(|it| {
            assert_eq!(it.envelope.origin, Origin::A2a);
            it.envelope.trust
        });
        assert_eq!(
            found.map_err(|it| it.code),
            expected,
            "{sender} {recipient}"
        );
    }
    let acceptance = judge(&task, "orders@a.test", Principal::Anonymous)
        .await
        .unwrap();
    assert_eq!(acceptance.envelope.verification.method, "a2a_anonymous");
    let Decision::Taken { fates, .. } = door.store.accept(acceptance).await.unwrap() else {
        panic!();
    };
    assert!(matches!(fates[..], [Fate::New(_)]));
    door.close().await;
}
