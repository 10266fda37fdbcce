//! A store with tasks, workers over it, and receivers that say what they are told to.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{HOLD, OLD, PushRetry, PushTools, Pusher};
use crate::clock::{Clock, TestClock};
use crate::events::Events;
use crate::net::testing::Here;
use crate::net::{AddressFilter, GuardOptions, GuardedClient, Plain, Times, TlsVersions};
use crate::protocol::Timestamp;
use crate::store::tests::Home;
use crate::store::{self, Advance, Advanced, NewPush, NewTask, Sealer, Store, StoredPush};
use crate::task::change::{Target, bytes};
use crate::task::state::States;
use crate::task::{
    Change, Dialect, Message, PushAuthentication, PushConfig, TaskState, TaskStatus, push,
};
use crate::telemetry::Metrics;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// What a receiver got.
pub(super) struct Got {
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Value,
}

impl Got {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

/// A receiver: it keeps what it gets.
pub(super) struct Receiver {
    port: u16,
    got: mpsc::UnboundedReceiver<Got>,
}

impl Receiver {
    /// This receiver as a client names it.
    pub(super) fn place(&self, id: &str, dialect: Dialect, token: Option<&str>) -> NewPush {
        let authentication = token.map(|_| PushAuthentication {
            scheme: "Bearer".to_owned(),
            credentials: Some("s3cret".to_owned()),
        });
        let config = PushConfig {
            tenant: None,
            id: Some(id.to_owned()),
            task_id: None,
            url: format!("http://receiver.test:{}/in?x=1", self.port),
            token: token.map(str::to_owned),
            authentication,
        };
        push::stored(&config, "t", (dialect, NOW), &sealer())
    }

    pub(super) async fn next(&mut self) -> Got {
        self.got.recv().await.unwrap()
    }

    /// The next one, while time goes on.
    pub(super) async fn next_in_time(&mut self, world: &World) -> Got {
        let mut found = None;
        world
            .until(async || {
                world.pass_time().await;
                found = self.got.try_recv().ok();
                found.is_some()
            })
            .await;
        found.unwrap()
    }

    /// What came and was not looked at.
    pub(super) fn waiting(&self) -> usize {
        self.got.len()
    }
}

/// A worker that runs.
pub(super) struct Worker {
    pub(super) stop: CancellationToken,
    pub(super) done: JoinHandle<()>,
}

pub(super) struct World {
    pub(super) store: Store,
    pub(super) clock: Arc<TestClock>,
    metrics: Metrics,
    stop: CancellationToken,
    tasks: TaskTracker,
    _home: Home,
}

pub(super) fn inside() -> AddressFilter {
    AddressFilter::allowing(&["127.0.0.0/8".parse().unwrap()])
}

fn sealer() -> Sealer {
    Sealer::new(&STANDARD.encode([7; 32])).unwrap()
}

impl World {
    pub(super) async fn at(home: Home) -> Self {
        let clock = TestClock::at(NOW);
        let options = store::StoreOptions {
            database: home.database(),
        };
        let (events, metrics) = (Events::default(), Metrics::default());
        let opened = store::open(
            &options,
            events,
            metrics.clone(),
            Clock::over(clock.clone()),
        );
        let (store, committer) = opened.await.unwrap();
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(committer.run(stop.clone()));
        Self {
            store,
            clock,
            metrics,
            stop,
            tasks,
            _home: home,
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        Clock::over(self.clock.clone()).now()
    }

    pub(super) fn metrics(&self) -> String {
        self.metrics.encode()
    }

    pub(super) fn worker(&self, filter: AddressFilter) -> Worker {
        let clock = Clock::over(self.clock.clone());
        let client = GuardedClient::new(GuardOptions {
            resolver: Arc::new(Here),
            filter,
            trusted_ca_files: Vec::new(),
            client_identity: None,
            tls: TlsVersions::From12,
            plain: Plain::Inside,
            times: Times::default(),
            clock: clock.clone(),
        });
        let tools = PushTools {
            store: self.store.clone(),
            client: client.unwrap(),
            sealer: Some(sealer()),
            old_task: OLD,
            clock,
            metrics: self.metrics.clone(),
        };
        let retry = PushRetry::new(Duration::from_secs(1), Duration::from_secs(60), 16);
        let stop = CancellationToken::new();
        let run = Pusher::new(tools, retry).run(stop.clone());
        let done = self.tasks.spawn(run);
        Worker { stop, done }
    }

    /// A receiver that answers with these, 0 = never, and then with 200.
    pub(super) async fn receiver(&self, says: &[u16]) -> Receiver {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let says: Vec<u16> = says.iter().rev().copied().collect();
        let says = Arc::new(Mutex::new(says));
        let (send, got) = mpsc::unbounded_channel();
        let (tracker, over) = (self.tasks.clone(), self.stop.clone());
        let serve = async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (says, send) = (says.clone(), send.clone());
                let service =
                    service_fn(move |request| answer(request, says.clone(), send.clone()));
                let serving = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(tcp), service);
                tracker.spawn(over.clone().run_until_cancelled_owned(serving));
            }
        };
        self.tasks
            .spawn(self.stop.clone().run_until_cancelled_owned(serve));
        Receiver { port, got }
    }

    pub(super) async fn open(&self, id: &str, places: &[NewPush]) {
        self.open_until(id, places, Timestamp::from_millis(0)).await;
    }

    /// A task that its client has not seen.
    pub(super) async fn open_held(&self, id: &str, places: &[NewPush]) {
        let until = NOW.plus(Duration::from_secs(60));
        self.open_until(id, places, until).await;
    }

    async fn open_until(&self, id: &str, places: &[NewPush], held_until: Timestamp) {
        let status = TaskStatus {
            state: TaskState::Submitted,
            message: None,
            timestamp: Some(NOW),
        };
        let task = NewTask {
            id: id.to_owned(),
            agent: 7,
            owner: "agent:1".to_owned(),
            context: "c".to_owned(),
            dialect: Dialect::V1.code(),
            alias: (id == "t").then(|| "mine".to_owned()),
            state: TaskState::Submitted.code(),
            status: bytes(&status),
            message: bytes(&Message::of_agent("m-1", "hello")),
            metadata: None,
            request: None,
            key: None,
            held_until,
            deadline_at: None,
            push: None,
            now: NOW,
        };
        self.store.open_task(task, None).await.unwrap();
        for place in places {
            let put = self.store.put_push(id.to_owned(), place.clone());
            assert_eq!(put.await.unwrap(), Some(true));
        }
    }

    pub(super) async fn change(&self, task: &str, changes: &[Change]) {
        let target = Target {
            task,
            context: "c",
            at: self.now(),
        };
        let advance = Advance {
            task: task.to_owned(),
            from: States::open().0,
            steps: target.steps(changes),
            link: None,
            key: None,
            now: self.now(),
        };
        let advanced = self.store.advance_task(advance, None).await.unwrap();
        assert!(matches!(advanced, Advanced::Done { .. }), "{advanced:?}");
    }

    pub(super) async fn state(&self, task: &str, state: TaskState) {
        let target = Target {
            task,
            context: "c",
            at: self.now(),
        };
        let update = target.update(state, None);
        self.change(task, &[Change::Status(update)]).await;
    }

    pub(super) async fn places(&self, task: &str) -> Vec<StoredPush> {
        self.store.list_pushes(task, "", 9).await.unwrap()
    }

    /// Lets a little time pass where a place waits for its turn, and none while one is posted to.
    pub(super) async fn pass_time(&self) {
        let next = self.store.next_push_at().await.unwrap();
        if next.is_some_and(|next| next.since(self.now()) < HOLD / 2) {
            self.clock.advance(Duration::from_millis(100));
        }
    }

    /// Waits for the network and the database, not for time.
    pub(super) async fn until(&self, mut probe: impl AsyncFnMut() -> bool) {
        for _ in 0..100_000 {
            if probe().await {
                return;
            }
            self.store.next_push_at().await.unwrap();
        }
        panic!("it never came to that");
    }

    pub(super) async fn all_is_posted(&self) {
        self.until(async || self.store.next_push_at().await.unwrap().is_none())
            .await;
    }

    /// Waits until a place has failed so often, as far as the worker has noted.
    pub(super) async fn failed(&self, failures: u32) {
        let line = r#"amtp_a2a_pushes_total{outcome="deferred"} "#;
        let count = || {
            let text = self.metrics();
            let shown = text
                .lines()
                .find_map(|it| it.strip_prefix(line)?.parse().ok());
            shown.unwrap_or(0_u32)
        };
        self.until(async || count() >= failures).await;
    }

    pub(super) async fn close(self, worker: Worker) {
        worker.stop.cancel();
        worker.done.await.unwrap();
        self.end().await;
    }

    pub(super) async fn end(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn answer(
    request: Request<Incoming>,
    says: Arc<Mutex<Vec<u16>>>,
    send: mpsc::UnboundedSender<Got>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let got = Got {
        path: head.uri.to_string(),
        headers: head.headers,
        body: serde_json::from_slice(&body).unwrap(),
    };
    let status = says.lock().unwrap().pop().unwrap_or(200);
    // The test may be over.
    drop(send.send(got));
    if status == 0 {
        std::future::pending::<()>().await;
    }
    Ok(Response::builder()
        .status(status)
        .header("location", "/elsewhere")
        .body(Full::new(Bytes::new()))
        .unwrap())
}
