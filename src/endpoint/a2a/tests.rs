//! What takes its time: signs of life, patience, and who may wait.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{HeaderMap, Response};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::place::Place;
use super::tools::{A2a, Tools, Visitor};
use crate::auth::audit::Audit;
use crate::clock::{Clock, TestClock};
use crate::config;
use crate::envelope::Principal;
use crate::events::Events;
use crate::intake::{Intake, LocalNames, Rules};
use crate::protocol::{AgentName, Domain, Limits, Timestamp};
use crate::store::tests::Home;
use crate::store::{
    self, A2aAccess, AgentSettings, Created, Grant, NewAgent, NewKey, Space, StoreOptions,
};
use crate::telemetry::Metrics;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const PATIENCE: Duration = Duration::from_secs(60);

struct Bench {
    a2a: A2a,
    time: Arc<TestClock>,
    stop: CancellationToken,
    tasks: TaskTracker,
    _home: Home,
}

fn rules() -> config::A2a {
    config::A2a {
        default_agent: None,
        blocking_max_wait: PATIENCE,
        assume_version: config::AssumedVersion::V1,
        legacy_card: config::LegacyCard::Negotiate,
        extended_card: false,
        push_notifications: false,
        card_max_age: Duration::ZERO,
        inline_size: 1_024,
        organization: None,
    }
}

impl Bench {
    async fn new() -> Self {
        let (home, time) = (Home::sqlite(), TestClock::at(NOW));
        let clock = Clock::over(time.clone());
        let options = StoreOptions {
            database: home.database(),
        };
        let (events, metrics) = (Events::default(), Metrics::default());
        let opened = store::open(&options, events, metrics.clone(), clock.clone()).await;
        let (store, committer) = opened.unwrap();
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(committer.run(stop.clone()));
        let domain = Domain::parse("a.test").unwrap();
        let names = Arc::new(LocalNames {
            domains: HashSet::from([domain.clone()]),
            ..LocalNames::default()
        });
        let limits = Rules {
            limits: Limits::default(),
            give_up: Duration::from_secs(3_600),
        };
        let space = Space::watch(None, 0, metrics.clone()).unwrap();
        let stored = (store.clone(), space);
        let intake = Intake::new(stored, names.clone(), limits, clock.clone(), metrics);
        let mut settings = AgentSettings::fresh();
        settings.a2a.access = A2aAccess::Public;
        let agent = NewAgent {
            domain: domain.clone(),
            name: AgentName::parse("orders").unwrap(),
            settings,
            sealed_headers: None,
            key: NewKey {
                id: "k".to_owned(),
                hash: vec![0; 32],
                grant: Grant::default(),
            },
            token: None,
            now: NOW,
        };
        let created = store.create_agent(agent).await.unwrap();
        assert!(matches!(created, Created::Agent(_)));
        let (audit, _) = Audit::new(store.clone(), clock.clone(), "main".to_owned());
        let a2a = A2a::new(Tools {
            intake,
            store,
            names,
            main_domain: domain,
            gateway: "https://a.test".to_owned(),
            clock,
            sealer: None,
            keys: None,
            audit,
            draining: CancellationToken::new(),
            rules: rules(),
        });
        Self {
            a2a,
            time,
            stop,
            tasks,
            _home: home,
        }
    }

    async fn call(&self, method: &str, params: Value) -> Response<Body> {
        let visitor = Visitor {
            principal: Principal::Anonymous,
            remote: IpAddr::V4(Ipv4Addr::LOCALHOST),
            request_id: "r".to_owned(),
            headers: HeaderMap::from_iter([(
                http::header::CONTENT_TYPE,
                http::HeaderValue::from_static("application/json"),
            )]),
            query: Vec::new(),
        };
        let place = Place::read("/a2a/orders", |_| false).unwrap();
        let agent = self.a2a.enter(&place, &visitor).await.unwrap();
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        self.a2a
            .call(agent, &visitor, body.to_string().as_bytes())
            .await
    }

    /// A second for every time that nothing else is to be done.
    async fn while_time_passes<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = tokio::task::yield_now() => self.time.advance(Duration::from_secs(1)),
            }
        }
    }

    async fn close(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

fn hello() -> Value {
    json!({ "message": { "messageId": "m", "role": "ROLE_USER", "parts": [{ "text": "x" }] } })
}

async fn read(answer: Response<Body>) -> Value {
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&body).unwrap()
}

#[tokio::test]
async fn a_silent_stream_shows_that_it_lives_until_the_gateway_drains() {
    let bench = Bench::new().await;
    let answer = bench.call("SendStreamingMessage", hello()).await;
    assert_eq!(answer.headers()["x-accel-buffering"], "no");
    let mut body = answer.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(first.starts_with(b"id: 0\ndata: {"), "{first:?}");
    for _ in 0..2 {
        let next = bench.while_time_passes(body.frame()).await;
        let comment = next.unwrap().unwrap().into_data().unwrap();
        assert_eq!(&comment[..], b": keep-alive\n\n");
    }
    bench.a2a.draining.cancel();
    assert!(body.frame().await.is_none());
    bench.close().await;
}

#[tokio::test]
async fn who_waits_is_given_the_task_when_time_is_up() {
    let bench = Bench::new().await;
    let sent = bench.call("SendMessage", hello());
    let answer = read(bench.while_time_passes(sent).await).await;
    assert!(bench.a2a.clock.monotonic() >= PATIENCE);
    let task = &answer["result"]["task"];
    assert_eq!(task["status"]["state"], "TASK_STATE_SUBMITTED", "{answer}");
    let found = bench.call("GetTask", json!({ "id": task["id"] })).await;
    assert_eq!(read(found).await["result"]["id"], task["id"]);
    bench.close().await;
}
