//! More comes than can be written: what is shed, what still comes in, and that it passes by itself.
//!
//! The store is stopped from outside, by a second connection that holds SQLite's write lock.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Frame};
use hyper::client::conn::http2;
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Executor as _};
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::metrics::metrics;
use crate::support::site::{FEATURES, Site, World};
use crate::support::{Agent, eventually_so};

const SOON: Duration = Duration::from_secs(30);
/// Requests fired at once: what one HTTP/2 connection carries.
const VOLLEY: u64 = 100;
const DOMAINS: [&str; 1] = ["a.test"];

/// A body of these pieces that never ends.
struct Endless(Option<Bytes>);

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.0.take() {
            Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            None => Poll::Pending,
        }
    }
}

type Answered = (StatusCode, HeaderMap, Value);

struct Bench {
    world: World,
    site: Site,
    alice: Agent,
    bob: Agent,
    /// What was sent and is not answered yet.
    sent: JoinSet<Answered>,
}

impl Bench {
    async fn new(variables: &[(&str, &str)]) -> Self {
        let world = World::new("127.0.0.1:0".parse().unwrap(), &DOMAINS);
        // Mail of this domain comes from where the test is.
        world.publish("peer.test", "127.0.0.1:1".parse().unwrap(), FEATURES);
        // While the gateway is behind a message counts as several; here nobody is to be slowed down by
        // that before it is shed.
        let mut variables = variables.to_vec();
        variables.push(("AMTPD__LIMITS__SENDER_RATE", "1000000/s"));
        let site = world.start("a.test", "127.0.0.1", &variables).await;
        let (alice, bob) = (site.agent("alice").await, site.agent("bob").await);
        Self {
            world,
            site,
            alice,
            bob,
            sent: JoinSet::new(),
        }
    }

    /// Stops the store until this is dropped or closed.
    async fn stop_the_store(&self) -> SqliteConnection {
        let folder = self.site.config();
        let database = folder.parent().unwrap().join("data/amtpd.db");
        let options = SqliteConnectOptions::new().filename(database);
        let mut lock = options.connect().await.unwrap();
        lock.execute("BEGIN IMMEDIATE").await.unwrap();
        lock
    }

    async fn connect(&self, protocol: &[u8]) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_file(self.world.ca.pem_path()).unwrap();
        roots.add(authority).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        #[allow(clippy::disallowed_methods, reason = "a client of our own gateway")]
        let stream = TcpStream::connect(self.site.https()).await.unwrap();
        let name = ServerName::try_from(World::host("a.test")).unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect(name, stream).await.unwrap()
    }

    async fn http2<B>(&self) -> http2::SendRequest<B>
    where
        B: Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static,
    {
        let stream = TokioIo::new(self.connect(b"h2").await);
        let (client, connection) = http2::handshake(TokioExecutor::new(), stream)
            .await
            .unwrap();
        #[allow(clippy::disallowed_methods, reason = "it ends with the test")]
        tokio::spawn(connection);
        client
    }

    fn url(&self, route: &str) -> String {
        let port = self.site.https().port();
        format!("https://{}:{port}{route}", World::host("a.test"))
    }

    fn post<B>(&self, key: Option<&str>, body: B) -> Request<B> {
        let request = Request::post(self.url("/v1/messages"));
        let mut request = request.header("content-type", "application/json");
        if let Some(key) = key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        request.body(body).unwrap()
    }

    fn post_batch(&self, lines: Vec<u8>) -> Request<Full<Bytes>> {
        Request::post(self.url("/v1/messages/batch"))
            .header("content-type", "application/x-ndjson")
            .body(Full::from(lines))
            .unwrap()
    }

    /// What is answered to these lines.
    async fn batch(&self, lines: Vec<u8>) -> Vec<Value> {
        let mut client = self.http2::<Full<Bytes>>().await;
        let answer = client.send_request(self.post_batch(lines)).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        lines_of(&answer.into_body().collect().await.unwrap().to_bytes())
    }

    fn message(&self, sender: &str, headers: Value) -> Bytes {
        let to = [self.bob.address.as_str()];
        json!({ "sender": sender, "recipients": to, "payload": "x", "headers": headers })
            .to_string()
            .into()
    }

    /// Sends messages until some are shed; waits for none but those. Gives how many of each class
    /// came in.
    async fn press(
        &mut self,
        sender: &str,
        key: Option<&str>,
        headers: Value,
    ) -> BTreeMap<String, u64> {
        let before = self.counts("amtp_admitted_total").await;
        let shed = total(&self.counts("amtp_shed_total").await);
        let decided = total(&before) + shed;
        let mut fired = 0;
        loop {
            let client = self.http2::<Full<Bytes>>().await;
            for _ in 0..VOLLEY {
                let body = Full::new(self.message(sender, headers.clone()));
                let answer = client.clone().send_request(self.post(key, body));
                self.sent.spawn(async move {
                    let (head, body) = answer.await.unwrap().into_parts();
                    let body = body.collect().await.unwrap().to_bytes();
                    let body = serde_json::from_slice(&body).unwrap();
                    (head.status, head.headers, body)
                });
            }
            fired += VOLLEY;
            let (admitted, shed_now) = eventually_so("all are decided", SOON, async || {
                let admitted = self.counts("amtp_admitted_total").await;
                let shed = total(&self.counts("amtp_shed_total").await);
                (total(&admitted) + shed == decided + fired).then_some((admitted, shed))
            })
            .await;
            if shed_now > shed {
                return admitted
                    .into_iter()
                    .map(|(class, count)| {
                        let already = before.get(&class).copied().unwrap_or_default();
                        (class, count - already)
                    })
                    .collect();
            }
            assert!(fired < 10_000, "nothing is shed");
        }
    }

    /// Has a peer's message accepted and believed; gives its id.
    async fn make_the_peer_known(&self) -> String {
        let client = self.http2::<Full<Bytes>>().await;
        let body = Full::new(self.message("x@peer.test", json!({})));
        let answer = client.clone().send_request(self.post(None, body)).await;
        assert_eq!(answer.unwrap().status(), StatusCode::ACCEPTED);
        let mail = self.site.inbox(&self.bob).await.pop().unwrap();
        assert_eq!(mail["sender_verification"]["result"], "source_address");
        mail["message_id"].as_str().unwrap().to_owned()
    }

    /// Only the head is sent, and the answer is here.
    async fn assert_a_head_is_enough(&self) {
        let client = self.http2::<Endless>().await;
        let head = self.post(Some(&self.alice.key), Endless(None));
        let answer = client.clone().send_request(head).await.unwrap();
        let (head, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&body).unwrap();
        assert_is_shed(head.status, &head.headers, &body);
    }

    /// Acknowledging waits for the store like the others, but has its room. Lets the store go on
    /// once it has come in.
    async fn acknowledge(&self, agent: &Agent, id: &str, lock: SqliteConnection) {
        let path = format!("/v1/inbox/{}/{id}", agent.address);
        let acknowledged = self
            .site
            .call(Method::DELETE, &path, Some(&agent.key), None);
        let release = async {
            eventually_so("it has come in", SOON, async || {
                let text = self.metrics().await;
                let line = r#"amtp_admitted_total{class="drain"} 1"#;
                text.lines().any(|shown| shown == line).then_some(())
            })
            .await;
            sqlx::Connection::close(lock).await.unwrap();
        };
        let ((status, body), ()) = tokio::join!(acknowledged, release);
        assert_eq!(status, StatusCode::OK, "{body}");
    }

    /// The ids of all that was answered 202; all else was shed.
    async fn promised(&mut self) -> Vec<String> {
        let mut promised = Vec::new();
        while let Some(answered) = self.sent.join_next().await {
            let (status, headers, body) = answered.unwrap();
            match status {
                StatusCode::ACCEPTED => {
                    promised.push(body["message_id"].as_str().unwrap().to_owned());
                }
                _ => assert_is_shed(status, &headers, &body),
            }
        }
        promised
    }

    /// A series by class, without what only chooses the way of a message.
    async fn counts(&self, series: &str) -> BTreeMap<String, u64> {
        let text = self.metrics().await;
        let lines = text.lines().filter_map(|line| line.strip_prefix(series));
        lines
            .map(|rest| {
                let (label, count) = rest.split_once(' ').unwrap();
                let class = label.split('"').nth(1).unwrap().to_owned();
                (class, count.parse().unwrap())
            })
            .filter(|(class, _)| !matches!(class.as_str(), "immediate" | "read" | "drain"))
            .collect()
    }

    async fn metrics(&self) -> String {
        metrics(self.site.ops()).await
    }
}

fn total(counts: &BTreeMap<String, u64>) -> u64 {
    counts.values().sum()
}

fn assert_is_shed(status: StatusCode, headers: &HeaderMap, body: &Value) {
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
    assert_eq!(body["error"]["code"], "TEMPORARY_FAILURE");
    let wait: u64 = headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=4).contains(&wait), "{wait}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_cannot_write_sheds_in_order_keeps_its_word_and_recovers() {
    let mut bench = Bench::new(&[]).await;
    let (alice, bob) = (bench.alice.clone(), bench.bob.clone());
    let first = bench.site.send(&alice, &[&bob.address], json!(0)).await;
    let known = bench.make_the_peer_known().await;
    let lock = bench.stop_the_store().await;

    let our = Some(alice.key.as_str());
    let low = json!({ "priority": "low" });
    let low = bench.press(&alice.address, our, low).await;
    assert!(low["low"] > 0, "{low:?}");
    let ours = bench.press(&alice.address, our, json!({})).await;
    assert!(ours["submission"] > 0, "low priority goes first: {ours:?}");
    bench.assert_a_head_is_enough().await;
    let strangers = bench.press("x@stranger.test", None, json!({})).await;
    assert!(
        strangers["unverified"] > 0,
        "peers have a part: {strangers:?}"
    );
    let peers = bench.press("x@peer.test", None, json!({})).await;
    assert!(peers["verified"] > 0, "verified peers go last: {peers:?}");
    let came_in: u64 = [&low, &ours, &strangers, &peers]
        .into_iter()
        .map(total)
        .sum();

    let (status, ready) = bench.site.call(Method::GET, "/ready", None, None).await;
    assert_eq!(status, StatusCode::OK, "{ready}");
    assert_eq!(ready["dependencies"]["load"], "shedding");
    let inbox = bench.site.inbox(&bob).await;
    assert_eq!(inbox.len(), 2, "who asks for its mail alone is served");
    bench.acknowledge(&bob, &first, lock).await;

    let mut promised = bench.promised().await;
    assert_eq!(promised.len() as u64, came_in, "who came in is written");
    promised.push(known);
    promised.sort_unstable();
    let mail = bench.site.inbox(&bob).await;
    let id = |it: &Value| it["message_id"].as_str().unwrap().to_owned();
    let mut found: Vec<String> = mail.iter().map(id).collect();
    found.sort_unstable();
    assert_eq!(found, promised, "what was promised is there, once");

    let again = json!("again");
    bench.site.send(&alice, &[&bob.address], again).await;
    eventually_so("it says that it sheds no more", SOON, async || {
        let (_, ready) = bench.site.call(Method::GET, "/ready", None, None).await;
        (ready["dependencies"]["load"] == "ok").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_not_read_do_not_hold_up_their_connection() {
    let mut bench = Bench::new(&[]).await;
    let alice = bench.alice.clone();
    let lock = bench.stop_the_store().await;
    bench
        .press(&alice.address, Some(&alice.key), json!({}))
        .await;
    // Far more than a connection may have in flight, each on its own stream, one after the other.
    let client = bench.http2::<Endless>().await;
    for _ in 0..20 {
        let body = Endless(Some(Bytes::from(vec![b'x'; 300_000])));
        let request = bench.post(Some(&alice.key), body);
        let answer = client.clone().send_request(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
    drop(client);

    let mut stream = bench.connect(b"http/1.1").await;
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: 1000\r\n\r\n",
        World::host("a.test"),
        alice.key
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("retry-after: "), "{answer}");
    sqlx::Connection::close(lock).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_which_a_part_comes_too_fast_is_not_overtaken_by_its_end() {
    let rate = [("AMTPD__LIMITS__DOMAIN_RATE", "100/s")];
    let bench = Bench::new(&rate).await;
    let mut lines = bench.message("x@peer.test", json!({})).to_vec();
    lines.push(b'\n');
    let answer = bench.batch(lines.repeat(LINES)).await;
    let states: Vec<u64> = answer
        .iter()
        .map(|it| it["status"].as_u64().unwrap())
        .collect();
    let end = states.iter().position(|state| *state != 202).unwrap();
    // There would be room for some of these meanwhile.
    assert!(
        states[end..].iter().all(|state| [429, 503].contains(state)),
        "{states:?}"
    );
    for line in &answer[..end] {
        assert!(line.get("retry_after").is_none(), "{line}");
    }
    for line in &answer[end..] {
        assert!(line["retry_after"].as_u64().unwrap() >= 1, "{line}");
    }
    assert_eq!(bench.site.inbox(&bench.bob).await.len(), end);
}

/// The lines of an answer to a batch.
fn lines_of(body: &[u8]) -> Vec<Value> {
    let lines = serde_json::Deserializer::from_slice(body).into_iter();
    lines.collect::<Result<_, _>>().unwrap()
}

/// More than are ever in flight without having reached the limit.
const BATCHES: usize = 6;
const LINES: usize = 200;

#[tokio::test(flavor = "multi_thread")]
async fn the_lines_of_a_batch_wait_for_room_and_shut_nobody_out() {
    let mut bench = Bench::new(&[]).await;
    bench.make_the_peer_known().await;
    let lock = bench.stop_the_store().await;
    let client = bench.http2::<Full<Bytes>>().await;
    let mut lines = bench.message("x@peer.test", json!({})).to_vec();
    lines.push(b'\n');
    for _ in 0..BATCHES {
        let request = bench.post_batch(lines.repeat(LINES));
        let answer = client.clone().send_request(request);
        bench.sent.spawn(async move {
            let (head, body) = answer.await.unwrap().into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            (head.status, head.headers, lines_of(&body).into())
        });
    }
    let limit = eventually_so("half of the limit is in flight", SOON, async || {
        let text = bench.metrics().await;
        let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        let limit: u64 = line("amtp_accepts_limit ").unwrap().parse().unwrap();
        let peers = line(r#"amtp_admitted_total{class="verified"} "#).unwrap();
        (peers.parse::<u64>().unwrap() > limit / 2).then_some(limit)
    })
    .await;
    assert!(limit < (BATCHES * LINES) as u64, "{limit}");
    // The others find what they would find without the batches.
    let (alice, bob) = (bench.alice.clone(), bench.bob.clone());
    let mail = bench.site.inbox(&bob).await;
    assert_eq!(mail.len(), 1, "who asks for its mail is served");
    let to = [bob.address.as_str()];
    let submission = bench.site.send(&alice, &to, json!("x"));
    let release = async {
        eventually_so("it has come in", SOON, async || {
            let ours = bench.counts("amtp_admitted_total").await["submission"];
            (ours == 1).then_some(())
        })
        .await;
        sqlx::Connection::close(lock).await.unwrap();
    };
    tokio::join!(submission, release);
    let mut taken = 0;
    while let Some(answered) = bench.sent.join_next().await {
        let (status, _, lines) = answered.unwrap();
        assert_eq!(status, StatusCode::OK);
        for line in lines.as_array().unwrap() {
            assert_eq!(line["status"], 202, "{line}");
            taken += 1;
        }
    }
    assert_eq!(taken, BATCHES * LINES);
    let shed = bench.counts("amtp_shed_total").await;
    assert_eq!(total(&shed), 0, "{shed:?}");
}
