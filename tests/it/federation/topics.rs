//! Topics with subscribers here and on another gateway.

use std::path::Path;
use std::time::Duration;

use amtpd::clock::Clock;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::signing::{key, signing, verification};
use crate::crash::{kills, report};
use crate::support::site::{Site, World};
use crate::support::{Agent, amtpd, eventually_so, words};

const RULES: &str = r#"
version: "1.0"
default_policy: allow
rules:
  - {name: partners, direction: subscribe, sender_pattern: "*@b.test", action: allow}
  - {name: loud, direction: broadcast, sender_pattern: "loud@a.test", action: allow}
"#;

async fn meet(here: &str, there: &str) -> (World, Site, Site) {
    let world = World::new("127.0.0.1:0".parse().unwrap(), &["a.test", "b.test"]);
    let folder = world.folder.path().join("rules");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("rules.yaml"), RULES).unwrap();
    let rules = folder.to_str().unwrap();
    let file = key(&world, "a.test", "k1", "ES256");
    let variables = [
        ("AMTPD__POLICIES__DIR", rules),
        ("AMTPD__SIGNING__SELECTOR", "k1"),
        ("AMTPD__SIGNING__KEY_FILE", file.to_str().unwrap()),
    ];
    let a = world.start("a.test", here, &variables).await;
    // Only who can be believed may subscribe.
    let b = signing(&world, "b.test", there, "ES256").await;
    (world, a, b)
}

async fn topic(site: &Site, name: &str, kept: Value) {
    let form = json!({ "address": name, "kind": "topic", "topic": kept });
    let (status, answer) = site
        .admin(Method::POST, "/v1/admin/agents", Some(form))
        .await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    assert_eq!(answer["agent"]["kind"], "topic");
}

async fn call(site: &Site, who: &Agent, path: &str, body: Value) -> (StatusCode, Value) {
    site.call(Method::POST, path, Some(&who.key), Some(body))
        .await
}

async fn subscribe(site: &Site, who: &Agent) {
    let path = "/v1/topics/news/subscriptions";
    let (status, answer) = call(site, who, path, json!({})).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    assert_eq!(answer["subscription"]["state"], "active");
}

/// A message of an agent about its own subscription.
async fn ask(site: &Site, who: &Agent, kind: &str, payload: Value) {
    let body = json!({
        "sender": who.address, "recipients": ["news@a.test"], "message_type": kind,
        "payload": payload,
    });
    site.submit(who, body).await;
}

fn topic_command(world: &World, site: &Site, arguments: &[&str]) -> Value {
    let done = amtpd()
        .arg("topic")
        .args(arguments)
        .args(["--json", "--gateway", &site.admin_url(), "--resolve"])
        .arg(site.https().ip().to_string())
        .arg("--ca-file")
        .arg(Path::new(world.ca.pem_path()))
        .env("AMTP_KEY", site.admin_key())
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", words(&done));
    serde_json::from_slice(&done.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_reaches_subscribers_here_and_on_another_gateway() {
    let (world, a, b) = meet("127.0.5.1", "127.0.5.2").await;
    topic(&a, "news", json!({ "retain": true, "keep": 100 })).await;
    let (alice, editor) = (a.agent("alice").await, a.agent("editor").await);
    let bob = b.agent("bob").await;
    subscribe(&a, &alice).await;

    // Bob asks, is asked, and answers with his token.
    ask(&b, &bob, "topic_subscribe", json!({})).await;
    let question = b.mail(&bob, 1).await.remove(0);
    assert_eq!(question["message_type"], "topic_confirmation");
    assert_eq!(question["sender"], "news@a.test");
    let token = question["payload"]["token"].clone();
    ask(&b, &bob, "topic_confirm", json!({ "token": token })).await;
    eventually_so("bob is subscribed", Duration::from_secs(30), async || {
        let found = topic_command(&world, &a, &["subscribers", "news"]);
        let found = found["subscriptions"].as_array().unwrap().clone();
        let bob = found.iter().find(|it| it["subscriber"] == "bob@b.test");
        (bob?["state"] == "active").then_some(())
    })
    .await;

    let path = "/v1/topics/news/messages";
    let (status, answer) = call(&a, &editor, path, json!({ "payload": "one" })).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    assert_eq!(answer["version"], 1);
    let here = a.mail(&alice, 1).await.remove(0);
    let there = b.mail(&bob, 2).await.remove(1);
    for copy in [&here, &there] {
        assert_eq!(copy["payload"], "one");
        assert_eq!(copy["sender"], "news@a.test");
        assert_eq!(copy["headers"]["x-amtp-list"], "news@a.test");
        assert_eq!(copy["headers"]["x-amtp-original-sender"], "editor@a.test");
        assert_eq!(copy["headers"]["x-amtp-original-id"], answer["message_id"]);
        assert_ne!(copy["message_id"], answer["message_id"]);
    }
    assert_eq!(there["recipients"], json!(["bob@b.test"]));
    assert_eq!(verification(&there), ("verified", "k1", "ES256"));

    // From the other domain it is published like any message.
    b.send(&bob, &["news@a.test"], json!("two")).await;
    let here = a.mail(&alice, 2).await.remove(1);
    assert_eq!(here["payload"], "two");
    assert_eq!(here["headers"]["x-amtp-original-sender"], "bob@b.test");

    // The value, and who may change it.
    let value = "/v1/topics/news/value";
    let (status, shown) = a.call(Method::GET, value, Some(&alice.key), None).await;
    assert_eq!((status, &shown["payload"]), (StatusCode::OK, &json!("two")));
    let old = format!("{path}?expected_version=1");
    let (status, refused) = call(&a, &editor, &old, json!({ "payload": "lost" })).await;
    assert_eq!(status, StatusCode::CONFLICT, "{refused}");
    assert_eq!(refused["error"]["details"]["version"], 2, "{refused}");
    let now = format!("{path}?expected_version=2");
    let (status, answer) = call(&a, &editor, &now, json!({ "payload": "three" })).await;
    assert_eq!(
        (status, &answer["version"]),
        (StatusCode::ACCEPTED, &json!(3))
    );

    // A late subscriber gets what was before.
    let late = a.agent("late").await;
    let form = json!({ "from": { "seq": 1 } });
    let (status, made) = call(&a, &late, "/v1/topics/news/subscriptions", form).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let payloads: Vec<Value> = a.mail(&late, 2).await;
    let payloads: Vec<&Value> = payloads.iter().map(|it| &it["payload"]).collect();
    assert_eq!(payloads, ["two", "three"]);

    // Bob has had enough.
    ask(&b, &bob, "topic_unsubscribe", json!(null)).await;
    eventually_so("bob is gone", Duration::from_secs(30), async || {
        let shown = topic_command(&world, &a, &["show", "news"]);
        (shown["topic"]["subscribers"] == 2).then_some(())
    })
    .await;
}

/// 1,000 in the long run; how long they all take is printed.
#[tokio::test(flavor = "multi_thread")]
async fn one_publication_reaches_many_subscribers_on_another_gateway() {
    let count = if kills() < 100 { 40 } else { 1_000 };
    let (world, a, b) = meet("127.0.5.7", "127.0.5.8").await;
    topic(&a, "news", json!({})).await;
    let editor = a.agent("editor").await;
    let mut readers = Vec::new();
    for number in 0..count {
        let reader = b.agent(&format!("r{number}")).await;
        ask(&b, &reader, "topic_subscribe", json!({})).await;
        readers.push(reader);
    }
    for reader in &readers {
        let token = b.mail(reader, 1).await[0]["payload"]["token"].clone();
        ask(&b, reader, "topic_confirm", json!({ "token": token })).await;
    }
    eventually_so("all are subscribed", Duration::from_secs(120), async || {
        let shown = topic_command(&world, &a, &["show", "news"]);
        (shown["topic"]["subscribers"] == count).then_some(())
    })
    .await;
    let clock = Clock::system();
    let began = clock.monotonic();
    let path = "/v1/topics/news/messages";
    let (status, answer) = call(&a, &editor, path, json!({ "payload": "all" })).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    for reader in readers.iter().rev() {
        assert_eq!(b.mail(reader, 2).await[1]["payload"], "all");
    }
    let took = clock.monotonic() - began;
    report(&format!(
        "{count} readers at another gateway after {took:?}"
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_gateway_goes_on_with_the_copies() {
    const SUBSCRIBERS: usize = 40;
    let (_world, mut a, _b) = meet("127.0.5.3", "127.0.5.4").await;
    topic(&a, "news", json!({})).await;
    let editor = a.agent("editor").await;
    let mut readers = Vec::new();
    for number in 0..SUBSCRIBERS {
        let reader = a.agent(&format!("r{number}")).await;
        subscribe(&a, &reader).await;
        readers.push(reader);
    }
    for round in 1..=5 {
        let path = "/v1/topics/news/messages";
        let (status, answer) = call(&a, &editor, path, json!({ "payload": round })).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
        // What is accepted is on disk, whatever becomes of the process.
        a.kill();
        a.run().await;
    }
    for reader in &readers {
        let mail = a.mail(reader, 5).await;
        let payloads: Vec<&Value> = mail.iter().map(|it| &it["payload"]).collect();
        assert_eq!(payloads, [1, 2, 3, 4, 5], "{}", reader.address);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_topic_or_a_subscription_is_told() {
    let (_world, a, _b) = meet("127.0.5.5", "127.0.5.6").await;
    topic(&a, "news", json!({})).await;
    let (alice, loud) = (a.agent("alice").await, a.agent("loud").await);
    let subscriptions = "/v1/topics/news/subscriptions";
    let messages = "/v1/topics/news/messages";
    for (who, path, body, expected) in [
        (&alice, "/v1/topics/none/subscriptions", json!({}), 404),
        (
            &alice,
            "/v1/topics/alice/messages",
            json!({"payload": 1}),
            404,
        ),
        (
            &alice,
            subscriptions,
            json!({"subscriber": "loud@a.test"}),
            403,
        ),
        (&alice, subscriptions, json!({"subscriber": "x"}), 400),
        (
            &alice,
            subscriptions,
            json!({"filter": {"header": {}}}),
            400,
        ),
        (&alice, subscriptions, json!({"from": "retained"}), 400),
        (&alice, subscriptions, json!({"from": {"seq": 1}}), 400),
        (
            &alice,
            messages,
            json!({"payload": 1, "recipients": []}),
            400,
        ),
        (
            &alice,
            messages,
            json!({"payload": 1, "sender": "x@a.test"}),
            400,
        ),
        (
            &alice,
            "/v1/topics/news/messages?expected_version=x",
            json!({}),
            400,
        ),
        (&alice, "/v1/broadcast", json!({"payload": 1}), 403),
        (&loud, "/v1/broadcast?to=nobody", json!({"payload": 1}), 400),
    ] {
        let (status, answer) = call(&a, who, path, body.clone()).await;
        assert_eq!(status.as_u16(), expected, "{path} {body}: {answer}");
    }
    for form in [
        json!({"address": "x", "topic": {}}),
        json!({"address": "x", "kind": "topic", "topic": {"keep": 0}}),
        json!({"address": "x", "kind": "topic", "topic": {"retention_seconds": 0}}),
        json!({"address": "x", "kind": "topic", "delivery_mode": "push", "push_target": "https://x.test/"}),
    ] {
        let (status, answer) = a
            .admin(Method::POST, "/v1/admin/agents", Some(form.clone()))
            .await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{form}: {answer}");
    }
    let change = json!({ "kind": "agent" });
    let (status, _) = a
        .admin(Method::PATCH, "/v1/admin/agents/news", Some(change))
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let body = json!({ "payload": "hello" });
    let (status, answer) = call(&a, &loud, "/v1/broadcast?to=registered", body).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    let mail = a.mail(&alice, 1).await;
    assert_eq!(mail[0]["sender"], "loud@a.test");
    assert_eq!(a.inbox(&loud).await.len(), 0);
}
