//! The immediate path, and waiting for the reply.

use hyper::{Method, StatusCode};
use serde_json::json;

use crate::support::behaviour::Behaviour;
use crate::support::site::World;
use crate::support::webhook::WebhookTarget;

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_waits_gets_the_reply_on_both_paths() {
    for (path, address, target) in [
        ("durable", "127.0.6.1", "127.0.6.2"),
        ("immediate", "127.0.6.3", "127.0.6.4"),
    ] {
        let world = World::new("127.0.0.1:0".parse().unwrap(), &["a.test"]);
        let variables = [("AMTPD__DELIVERY__PATH", path)];
        let a = world.start("a.test", address, &variables).await;
        let hook = WebhookTarget::start_plain(format!("{target}:0").parse().unwrap());
        hook.always(Behaviour::json(200, &json!({ "response": 42 })));
        let alice = a.agent("alice").await;
        let (agent, _) = a.push_agent("hook", &hook.url(target), json!({})).await;
        let body = json!({ "sender": alice.address, "recipients": [agent.address], "payload": 1 });
        let key = Some(alice.key.as_str());
        let url = "/v1/messages?wait=20&ack=1";
        let (status, answer) = a.call(Method::POST, url, key, Some(body.clone())).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        assert_eq!(answer["status"], "delivered");
        assert_eq!(answer["reply"]["payload"], 42);
        assert_eq!(answer["reply"]["in_reply_to"], answer["message_id"]);
        assert!(a.inbox(&alice).await.is_empty(), "it was acknowledged");
        let id = answer["message_id"].as_str().unwrap().to_owned();
        a.reaches(&alice, &id, "delivered").await;
        hook.always(Behaviour::json(200, &json!({})));
        let (status, answer) = a
            .call(Method::POST, "/v1/messages?wait=1", key, Some(body))
            .await;
        assert_eq!(status, StatusCode::ACCEPTED, "{path}: {answer}");
        let bad = a
            .call(Method::POST, "/v1/messages?wait=61", key, Some(json!({})))
            .await;
        assert_eq!(bad.0, StatusCode::BAD_REQUEST);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_at_once_goes_on_durably_and_in_order() {
    let world = World::new("127.0.0.1:0".parse().unwrap(), &["a.test"]);
    let variables = [("AMTPD__DELIVERY__PATH", "immediate")];
    let mut a = world.start("a.test", "127.0.6.5", &variables).await;
    let hook = WebhookTarget::start_plain("127.0.6.6:0".parse().unwrap());
    let alice = a.agent("alice").await;
    let (agent, _) = a
        .push_agent("hook", &hook.url("127.0.6.6"), json!({}))
        .await;
    hook.always(Behaviour::json(503, &json!({})));
    let mut ids = Vec::new();
    for n in 0..20 {
        ids.push(a.send(&alice, &[&agent.address], json!(n)).await);
    }
    a.reaches(&alice, &ids[0], "retrying").await;
    a.kill();
    let before = hook.requests().len();
    hook.always(Behaviour::json(200, &json!({})));
    a.run().await;
    for id in &ids {
        a.reaches(&alice, id, "delivered").await;
    }
    let order: Vec<u64> = hook.requests()[before..]
        .iter()
        .map(|seen| seen.json["payload"].as_u64().unwrap())
        .collect();
    assert_eq!(order, (0..20).collect::<Vec<u64>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_is_one_message_on_the_immediate_path() {
    let world = World::new("127.0.0.1:0".parse().unwrap(), &["a.test"]);
    let variables = [("AMTPD__DELIVERY__PATH", "immediate")];
    let a = world.start("a.test", "127.0.6.7", &variables).await;
    let hook = WebhookTarget::start_plain("127.0.6.8:0".parse().unwrap());
    let alice = a.agent("alice").await;
    let (agent, _) = a
        .push_agent("hook", &hook.url("127.0.6.8"), json!({}))
        .await;
    let body = json!({
        "sender": alice.address, "recipients": [agent.address], "payload": 1, "idempotency_key": "k",
    });
    let send = || {
        a.call(
            Method::POST,
            "/v1/messages",
            Some(&alice.key),
            Some(body.clone()),
        )
    };
    let answers = tokio::join!(send(), send(), send(), send());
    let ids =
        [&answers.0.1, &answers.1.1, &answers.2.1, &answers.3.1].map(|it| it["message_id"].clone());
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    a.reaches(&alice, ids[0].as_str().unwrap(), "delivered")
        .await;
    assert_eq!(hook.requests().len(), 1);
}
