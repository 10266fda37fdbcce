//! Mail that a rule holds, on both databases.

use hyper::{Method, StatusCode};
use serde_json::json;

use super::{fates, payloads, push_agent, reaches, rule, send, taken};
use crate::support::backend::Backend;
use crate::support::behaviour::Behaviour;
use crate::support::webhook::WebhookTarget;
use crate::support::{Daemon, eventually_so};

const POLICY: &str = r#"
version: "1.0"
default_policy: allow
rules:
  - {name: looked-at, sender_pattern: mallory@it.test, action: hold}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn held_mail_comes_when_it_is_released_with_sqlite() {
    held_mail_comes_when_it_is_released(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn held_mail_comes_when_it_is_released_with_postgresql() {
    held_mail_comes_when_it_is_released(Backend::Postgres).await;
}

async fn held_mail_comes_when_it_is_released(backend: Backend) {
    // An immediate path does not take what is held.
    let variables = [
        ("AMTPD__NET__ALLOW__WEBHOOKS", "[127.0.0.0/8]"),
        ("AMTPD__DELIVERY__PATH", "immediate"),
    ];
    let (mut daemon, base) = backend.prepare(&variables);
    rule(&mut daemon, POLICY);
    daemon.run().await;
    let hook = WebhookTarget::start_plain("127.0.8.1:0".parse().unwrap());
    hook.always(Behaviour::json(200, &json!({})));
    let (mallory, alice) = (daemon.agent("mallory").await, daemon.agent("alice").await);
    let bob = daemon.agent("bob").await;
    let pushed = push_agent(&daemon, "hook", &hook.url("127.0.8.1")).await;

    let mut ids = Vec::new();
    for n in 0..3 {
        let to = [bob.address.as_str(), pushed.as_str()];
        let (status, answer, _) = send(&daemon, &mallory, &to, json!({ "payload": n })).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
        assert_eq!(fates(&answer), ["held", "held"], "{answer}");
        let id = answer["message_id"].as_str().unwrap().to_owned();
        reaches(&daemon, &mallory, &id, "held").await;
        ids.push(id);
    }
    // What is not held goes on, also where held mail waits for the same agent.
    taken(&daemon, &alice, &bob.address, json!({ "payload": "a" })).await;
    let id = taken(&daemon, &alice, &pushed, json!({ "payload": "a" })).await;
    reaches(&daemon, &alice, &id, "delivered").await;
    assert_eq!(payloads(&daemon, &bob).await, [json!("a")]);
    assert_eq!(seen(&hook), [json!("a")]);

    // It waits over a crash too.
    base.end(&mut daemon, 0);
    daemon.run().await;
    let (_, list) = daemon
        .admin(Method::GET, "/v1/admin/deliveries?state=held", None)
        .await;
    assert_eq!(list["deliveries"].as_array().unwrap().len(), 6, "{list}");
    assert_eq!(payloads(&daemon, &bob).await, [json!("a")]);

    release(&daemon, json!({ "message_id": ids[1] })).await;
    reaches(&daemon, &mallory, &ids[1], "delivered").await;
    assert_eq!(payloads(&daemon, &bob).await, [json!("a"), json!(1)]);
    reaches(&daemon, &mallory, &ids[0], "held").await;
    let changed = release(&daemon, json!({ "sender": mallory.address })).await;
    assert_eq!(changed, 4);
    for id in &ids {
        reaches(&daemon, &mallory, id, "delivered").await;
    }
    let all = [json!("a"), json!(1), json!(0), json!(2)];
    assert_eq!(payloads(&daemon, &bob).await, all);
    let calls = eventually_so("all calls", super::SOON, async || {
        let seen = seen(&hook);
        (seen.len() >= all.len()).then_some(seen)
    });
    assert_eq!(calls.await, all);
    // A key that its sender gave is known while the message is held, and its repetition told so.
    let keyed = json!({ "payload": 9, "idempotency_key": "k" });
    for _ in 0..2 {
        let to = [bob.address.as_str()];
        let (_, answer, _) = send(&daemon, &mallory, &to, keyed.clone()).await;
        assert_eq!(fates(&answer), ["held"], "{answer}");
    }
    assert_eq!(release(&daemon, json!({ "all": true })).await, 1);
}

fn seen(hook: &WebhookTarget) -> Vec<serde_json::Value> {
    let requests = hook.requests();
    requests
        .iter()
        .map(|it| it.json["payload"].clone())
        .collect()
}

async fn release(daemon: &Daemon, filter: serde_json::Value) -> u64 {
    let path = "/v1/admin/deliveries/release";
    let (status, answer) = daemon.admin(Method::POST, path, Some(filter)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer["changed"].as_u64().unwrap()
}
