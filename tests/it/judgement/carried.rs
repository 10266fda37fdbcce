//! How a rule lets a message travel: its priority, its order, its path.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Executor as _};

use super::{push_agent, reaches, rule, ruled, send, taken};
use crate::support::behaviour::Behaviour;
use crate::support::metrics::metrics;
use crate::support::webhook::WebhookTarget;
use crate::support::{Daemon, eventually_so};

const POLICY: &str = r#"
version: "1.0"
default_policy: allow
rules:
  - {name: alarm, recipient_pattern: alarm@it.test, action: allow, priority: urgent}
  - {name: loose, recipient_pattern: loose@it.test, action: allow, ordering: none}
  - {name: fast, recipient_pattern: fast@it.test, action: allow, path: immediate}
"#;
const WEBHOOKS: (&str, &str) = ("AMTPD__NET__ALLOW__WEBHOOKS", "[127.0.0.0/8]");
/// What failed once waits until it is asked for.
const LATER: [(&str, &str); 2] = [
    ("AMTPD__DELIVERY__RETRY__INITIAL", "1h"),
    ("AMTPD__DELIVERY__RETRY__MAX", "1h"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_sets_the_priority_and_lets_a_message_overtake() {
    let daemon = ruled(POLICY, &[WEBHOOKS, LATER[0], LATER[1]]).await;
    let alice = daemon.agent("alice").await;
    for (name, address, order) in [
        ("alarm", "127.0.8.2", [0, 0, 1]),
        ("loose", "127.0.8.3", [0, 1, 0]),
    ] {
        let hook = WebhookTarget::start_plain(format!("{address}:0").parse().unwrap());
        hook.answer(Behaviour::json(404, &json!({})));
        hook.always(Behaviour::json(200, &json!({})));
        let to = push_agent(&daemon, name, &hook.url(address)).await;
        let low = json!({ "payload": 0, "headers": { "priority": "low" } });
        let first = taken(&daemon, &alice, &to, low).await;
        reaches(&daemon, &alice, &first, "retrying").await;
        let (_, list) = daemon
            .admin(Method::GET, "/v1/admin/deliveries", None)
            .await;
        let expected = if name == "alarm" { "urgent" } else { "low" };
        assert_eq!(list["deliveries"][0]["priority"], expected, "{list}");
        let second = taken(&daemon, &alice, &to, json!({ "payload": 1 })).await;
        if name == "loose" {
            reaches(&daemon, &alice, &second, "delivered").await;
        }
        let all = Some(json!({ "all": true }));
        let (status, _) = daemon
            .admin(Method::POST, "/v1/admin/deliveries/retry", all)
            .await;
        assert_eq!(status, StatusCode::OK);
        for id in [&first, &second] {
            reaches(&daemon, &alice, id, "delivered").await;
        }
        let seen = hook.requests();
        let seen: Vec<&Value> = seen.iter().map(|it| &it.json["payload"]).collect();
        assert_eq!(seen, order, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_lets_a_message_go_before_it_is_on_disk() {
    let patient = ("AMTPD__LIMITS__COMMIT_WAIT", "60s");
    let mut daemon = Daemon::on_a_file(&[WEBHOOKS, patient]);
    rule(&mut daemon, POLICY);
    daemon.run().await;
    let hook = WebhookTarget::start_plain("127.0.8.4:0".parse().unwrap());
    let alice = daemon.agent("alice").await;
    let fast = push_agent(&daemon, "fast", &hook.url("127.0.8.4")).await;
    let usual = push_agent(&daemon, "usual", &hook.url("127.0.8.4")).await;
    // Nothing can be written now.
    let database = daemon.config().parent().unwrap().join("data/amtpd.db");
    let options = SqliteConnectOptions::new().filename(database);
    let mut lock = options.connect().await.unwrap();
    lock.execute("BEGIN IMMEDIATE").await.unwrap();
    let (id, answer, _) = send(&daemon, &alice, &[&fast], json!({ "payload": "fast" })).await;
    assert_eq!(id, StatusCode::ACCEPTED, "{answer}");
    let first = eventually_so("the call", super::SOON, async || {
        hook.requests().first().map(|it| it.json["payload"].clone())
    });
    assert_eq!(first.await, "fast");
    let usual = [usual.as_str()];
    let waits = send(&daemon, &alice, &usual, json!({ "payload": "usual" }));
    let mut waits = std::pin::pin!(waits);
    tokio::select! {
        biased;
        (status, answer, _) = &mut waits => panic!("{status} before it is on disk: {answer}"),
        () = came_in(&daemon) => {}
    }
    sqlx::Connection::close(lock).await.unwrap();
    let (status, told, _) = waits.await;
    assert_eq!(status, StatusCode::ACCEPTED, "{told}");
    for answer in [answer, told] {
        let id = answer["message_id"].as_str().unwrap();
        reaches(&daemon, &alice, id, "delivered").await;
    }
}

/// Waits until the second message was let in.
async fn came_in(daemon: &Daemon) {
    eventually_so("it came in", super::SOON, async || {
        let text = metrics(daemon.ops()).await;
        let line = "amtp_admitted_total{class=\"submission\"} 2";
        text.lines().any(|it| it == line).then_some(())
    })
    .await;
}
