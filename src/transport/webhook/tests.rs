//! The transport against a real webhook.

mod group;

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use ring::hmac;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;
use crate::clock::TestClock;
use crate::config::Database;
use crate::envelope::{Origin, Trust};
use crate::events::Events;
use crate::net::testing::Here;
use crate::net::{AddressFilter, GuardOptions, Plain, Times, TlsVersions};
use crate::protocol::{Address, AgentName, Domain, Limits, Message, MessageId, Profile, Timestamp};
use crate::store::{
    self, AgentChange, Created, Grant, NewAgent, NewKey, StoreOptions, StoredMessage,
};
use crate::telemetry::Metrics;

const NOW: i64 = 1_800_000_000_000;

/// What a webhook got.
struct Got {
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

/// A webhook that says what it is told to, and keeps what it got.
#[derive(Clone, Default)]
struct Hook {
    got: Arc<Mutex<Vec<Got>>>,
    says: Arc<Mutex<Vec<(u16, String)>>>,
    /// Told when a request has come that is never answered.
    silent: Arc<Notify>,
}

impl Hook {
    /// What it says next; 0 = nothing, ever.
    fn says(&self, answers: &[(u16, &str)]) {
        let answers = answers.iter().rev();
        *self.says.lock().unwrap() = answers
            .map(|(status, body)| (*status, (*body).to_owned()))
            .collect();
    }

    fn got(&self) -> Vec<Got> {
        std::mem::take(&mut *self.got.lock().unwrap())
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let (head, body) = request.into_parts();
        let got = Got {
            path: head.uri.to_string(),
            headers: head.headers,
            body: body.collect().await.unwrap().to_bytes(),
        };
        self.got.lock().unwrap().push(got);
        let says = self.says.lock().unwrap().pop();
        let (status, body) = says.unwrap_or((200, String::new()));
        if status == 0 {
            self.silent.notify_one();
            std::future::pending::<()>().await;
        }
        Ok(Response::builder()
            .status(status)
            .header("location", "/elsewhere")
            .body(Full::new(Bytes::from(body)))
            .unwrap())
    }

    async fn listen(&self, tasks: &TaskTracker, stop: &CancellationToken) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (hook, tracker, over) = (self.clone(), tasks.clone(), stop.clone());
        let serve = async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let hook = hook.clone();
                let service = service_fn(move |request| hook.clone().answer(request));
                let serving = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(tcp), service);
                tracker.spawn(over.clone().run_until_cancelled_owned(serving));
            }
        };
        tasks.spawn(stop.clone().run_until_cancelled_owned(serve));
        address
    }
}

struct Bench {
    hook: Hook,
    url: String,
    store: Store,
    clock: Arc<TestClock>,
    stop: CancellationToken,
    tasks: TaskTracker,
    _folder: TempDir,
}

impl Bench {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = TestClock::at(Timestamp::from_millis(NOW));
        let options = StoreOptions {
            database: Database::Sqlite(folder.path().join("amtpd.db")),
        };
        let opened = store::open(
            &options,
            Events::default(),
            Metrics::default(),
            Clock::system(),
        );
        let (store, committer) = opened.await.unwrap();
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(committer.run(stop.clone()));
        let hook = Hook::default();
        let port = hook.listen(&tasks, &stop).await.port();
        Self {
            url: format!("http://hook.test:{port}/in?token=t"),
            hook,
            store,
            clock,
            stop,
            tasks,
            _folder: folder,
        }
    }

    fn transport(&self, filter: AddressFilter, sealer: Option<Sealer>) -> WebhookTransport {
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
        WebhookTransport::new(self.store.clone(), client.unwrap(), sealer, clock)
    }

    fn usual(&self) -> WebhookTransport {
        self.transport(inside(), Some(sealer()))
    }

    async fn agent(&self) -> i64 {
        let settings = json!({ "delivery_mode": "push", "push_target": self.url, "listed": true });
        let created = self.store.create_agent(NewAgent {
            domain: Domain::parse("two.test").unwrap(),
            name: AgentName::parse("bob").unwrap(),
            settings: serde_json::from_value(settings).unwrap(),
            sealed_headers: Some(sealer().seal(
                crate::store::WEBHOOK_HEADERS,
                br#"{"authorization":"Bearer mine"}"#,
            )),
            key: NewKey {
                id: "key".to_owned(),
                hash: vec![1; 32],
                grant: Grant::default(),
            },
            token: None,
            now: Timestamp::from_millis(NOW),
        });
        match created.await.unwrap() {
            Created::Agent(number) => number,
            other => panic!("{other:?}"),
        }
    }

    async fn change(&self, number: i64, mode: DeliveryMode, active: bool) {
        let agent = self.store.find_agent_by_number(number).await.unwrap();
        let mut settings = agent.unwrap().settings.clone();
        settings.delivery_mode = mode;
        let change = AgentChange {
            id: number,
            settings,
            sealed_headers: None,
            active,
            now: Timestamp::from_millis(NOW),
        };
        assert!(self.store.change_agent(change).await.unwrap());
    }

    async fn close(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

fn inside() -> AddressFilter {
    AddressFilter::allowing(&["127.0.0.0/8".parse().unwrap()])
}

fn sealer() -> Sealer {
    Sealer::new(&STANDARD.encode([7; 32])).unwrap()
}

fn parcel(id: &str, sender: &str, attempts: u32) -> Parcel {
    let raw =
        format!(r#"{{"sender":"{sender}","recipients":["bob@two.test"],"payload":{{"n":1.10}}}}"#);
    let body = Bytes::from(raw);
    let message = Message::parse(body.clone(), Profile::Relay, &Limits::default()).unwrap();
    let copy = Copy {
        seq: 1,
        recipient: message.recipients()[0].clone(),
        attempts,
        first_attempt: None,
        wire: None,
        renew: false,
    };
    let stored = StoredMessage {
        mid: 1,
        message_id: MessageId::parse(id).unwrap(),
        sender: sender.to_owned(),
        trust: Trust::Local,
        origin: Origin::Submission,
        accepted_at: Timestamp::from_millis(NOW),
        notes: serde_json::from_str(
            r#"{"v":{"result":"authenticated","method":"api_key","domain":"one.test"},"k":"k","r":""}"#,
        )
        .unwrap(),
        body,
    };
    Parcel {
        stored: Arc::new(stored),
        message,
        copies: vec![copy],
    }
}

/// Carries one message and says what came of it.
async fn carry(transport: &WebhookTransport, number: i64, attempts: u32) -> Attempted {
    let parcels = vec![parcel("m-1", "alice@one.test", attempts)];
    let carried = transport.carry(&Destination::Agent(number), parcels).await;
    carried.into_iter().flatten().next().unwrap()
}

fn trouble(attempted: Attempted) -> Trouble {
    match attempted.outcome {
        Outcome::Deferred(trouble) => trouble,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_webhook_gets_the_message_signed_and_its_answer_is_kept() {
    let bench = Bench::new().await;
    let number = bench.agent().await;
    bench.hook.says(&[(202, r#"{"response":{"total":2.50}}"#)]);
    let attempted = carry(&bench.usual(), number, 0).await;
    let reply = Some(Bytes::from_static(br#"{"total":2.50}"#));
    assert_eq!(attempted.outcome, Outcome::Delivered { reply });
    assert!(attempted.remote.unwrap().starts_with("127.0.0.1:"));
    let got = bench.hook.got().remove(0);
    assert_eq!(got.path, "/in?token=t");
    assert_eq!(got.headers["authorization"], "Bearer mine");
    assert_eq!(got.headers["x-amtp-local-delivery"], "true");
    let body: Value = serde_json::from_slice(&got.body).unwrap();
    assert_eq!(body["message_id"], "m-1");
    assert_eq!(body["recipient"], "bob@two.test");
    assert!(String::from_utf8_lossy(&got.body).contains(r#""payload":{"n":1.10}"#));
    // As a receiver checks it, knowing the secret it was shown.
    let shown = sealer().shown_webhook_secret(number, 0);
    let secret = STANDARD.decode(shown.trim_start_matches("whsec_")).unwrap();
    let signed = [b"m-1.1800000000.".as_slice(), &got.body].concat();
    let expected = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), &signed);
    let expected = format!("v1,{}", STANDARD.encode(expected));
    assert_eq!(got.headers["webhook-signature"], expected.as_str());
    bench.close().await;
}

#[tokio::test]
async fn a_repetition_has_the_same_id_and_a_refusal_is_final_at_the_third() {
    let bench = Bench::new().await;
    let number = bench.agent().await;
    bench.hook.says(&[(410, ""), (302, ""), (404, "")]);
    let transport = bench.usual();
    for attempts in 0..2 {
        let trouble = trouble(carry(&transport, number, attempts).await);
        assert_eq!(trouble.code, ErrorCode::RecipientUnavailable);
    }
    let last = carry(&transport, number, 2).await.outcome;
    assert!(matches!(last, Outcome::Failed(_)), "{last:?}");
    let got = bench.hook.got();
    // The redirect was not followed.
    assert_eq!(got.len(), 3);
    for got in got {
        assert_eq!(got.headers["webhook-id"], "m-1");
        assert_eq!(got.path, "/in?token=t");
    }
    bench.close().await;
}

#[tokio::test]
async fn a_webhook_has_ten_seconds_and_one_mebibyte() {
    let bench = Bench::new().await;
    let number = bench.agent().await;
    let transport = bench.usual();
    let long = "x".repeat((1 << 20) + 1);
    bench.hook.says(&[(200, &long), (0, "")]);
    let large = trouble(carry(&transport, number, 0).await);
    assert_eq!(large.fault, Fault::Message);
    let hook = bench.hook.clone();
    let (slow, ()) = tokio::join!(carry(&transport, number, 0), async {
        hook.silent.notified().await;
        bench.clock.advance(Duration::from_secs(10));
    });
    let slow = trouble(slow);
    assert_eq!(slow.fault, Fault::Destination);
    assert!(slow.text.contains("too slow"), "{}", slow.text);
    bench.close().await;
}

#[tokio::test]
async fn what_stands_in_the_way_is_told_without_a_request() {
    let bench = Bench::new().await;
    let number = bench.agent().await;
    let refused = bench.transport(AddressFilter::public(), Some(sealer()));
    let refused = trouble(carry(&refused, number, 0).await);
    assert!(
        refused.text.contains("net.allow.webhooks"),
        "{}",
        refused.text
    );
    let unsigned = bench.transport(inside(), None);
    let unsigned = trouble(carry(&unsigned, number, 0).await);
    assert!(
        unsigned.text.contains("secrets.key_file"),
        "{}",
        unsigned.text
    );

    let transport = bench.usual();
    bench.change(number, DeliveryMode::Push, false).await;
    let inactive = trouble(carry(&transport, number, 0).await);
    assert_eq!(inactive.code, ErrorCode::RecipientUnavailable);
    bench.change(number, DeliveryMode::Pull, true).await;
    let polls = trouble(carry(&transport, number, 9).await);
    for trouble in [refused, unsigned, inactive, polls] {
        assert_eq!(trouble.fault, Fault::Destination, "{}", trouble.text);
        assert!(!trouble.text.contains("hook.test"), "{}", trouble.text);
    }
    let now = Timestamp::from_millis(NOW);
    bench.store.delete_agent(number, now).await.unwrap();
    match carry(&transport, number, 0).await.outcome {
        Outcome::Failed(trouble) => assert_eq!(trouble.code, ErrorCode::AgentUnknown),
        other => panic!("{other:?}"),
    }
    assert!(bench.hook.got().is_empty());
    bench.close().await;
}

#[tokio::test]
async fn nothing_overtakes_what_was_deferred() {
    let bench = Bench::new().await;
    let number = bench.agent().await;
    let transport = bench.usual();
    for (status, expected) in [(500, ["m-1", "m-3"].as_slice()), (503, &["m-1"])] {
        bench.hook.says(&[(status, "")]);
        let parcels = vec![
            parcel("m-1", "alice@one.test", 0),
            parcel("m-2", "alice@one.test", 0),
            parcel("m-3", "carol@one.test", 0),
        ];
        let carried = transport.carry(&Destination::Agent(number), parcels).await;
        assert_eq!(carried.len(), 3);
        // Behind a trouble of the whole webhook, or of the same two.
        let behind = match status {
            503 => carried[0][0].outcome.clone(),
            _ => Outcome::Waits,
        };
        assert_eq!(carried[1][0].outcome, behind);
        let got = bench.hook.got();
        let ids: Vec<&str> = got
            .iter()
            .map(|got| got.headers["webhook-id"].to_str().unwrap())
            .collect();
        assert_eq!(ids, expected, "{status}");
    }
    bench.close().await;
}
