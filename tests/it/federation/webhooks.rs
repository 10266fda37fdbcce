//! Agents that are called when mail comes.

use std::time::Duration;

use hyper::Method;
use serde_json::json;

use crate::support::behaviour::Behaviour;
use crate::support::eventually_so;
use crate::support::site::World;
use crate::support::webhook::{WebhookTarget, verify};

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_called_signed_and_its_answer_becomes_a_reply() {
    let world = World::new("127.0.0.1:0".parse().unwrap(), &["a.test"]);
    let a = world.start("a.test", "127.0.5.1", &[]).await;
    let target = WebhookTarget::start_plain("127.0.5.2:0".parse().unwrap());
    target.always(Behaviour::json(200, &json!({ "response": { "total": 3 } })));
    let alice = a.agent("alice").await;
    let more = json!({ "headers": { "x-token": "t" } });
    let (hook, secret) = a.push_agent("hook", &target.url("127.0.5.2"), more).await;
    assert!(secret.starts_with("whsec_"), "{secret}");
    let id = a.send(&alice, &[&hook.address], json!({ "n": 1 })).await;
    let seen = target.wait_for(1, Duration::from_secs(20)).await.remove(0);
    verify(&seen, &secret).unwrap();
    assert_eq!(seen.header("webhook-id"), id);
    assert_eq!(seen.header("x-token"), "t");
    assert_eq!(seen.header("x-amtp-local-delivery"), "true");
    assert_eq!(seen.json["recipient"], hook.address.as_str());
    assert_eq!(seen.json["payload"], json!({ "n": 1 }));
    let reply = a.mail(&alice, 1).await.remove(0);
    assert_eq!(reply["sender"], hook.address.as_str());
    assert_eq!(reply["in_reply_to"], id.as_str());
    assert_eq!(reply["payload"], json!({ "total": 3 }));
    a.reaches(&alice, &id, "delivered").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_in_trouble_is_tried_again_and_one_that_refuses_is_not() {
    let world = World::new("127.0.0.1:0".parse().unwrap(), &["a.test"]);
    let a = world.start("a.test", "127.0.5.3", &[]).await;
    let target = WebhookTarget::start_plain("127.0.5.4:0".parse().unwrap());
    let alice = a.agent("alice").await;
    let (hook, _) = a
        .push_agent("hook", &target.url("127.0.5.4"), json!({}))
        .await;
    for code in [503, 500, 429] {
        target.answer(Behaviour::json(code, &json!({})));
    }
    let id = a.send(&alice, &[&hook.address], json!(1)).await;
    let status = a.reaches(&alice, &id, "delivered").await;
    assert_eq!(status["attempts"], 4, "{status}");
    target.always(Behaviour::json(410, &json!({})));
    let id = a.send(&alice, &[&hook.address], json!(2)).await;
    let status = a.reaches(&alice, &id, "failed").await;
    assert_eq!(status["attempts"], 3, "{status}");
    assert_eq!(
        a.mail(&alice, 1).await[0]["message_type"],
        "delivery_failure"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_webhooks_do_not_answer_each_other_for_ever() {
    let world = World::new("127.0.0.1:0".parse().unwrap(), &["a.test", "b.test"]);
    let a = world.start("a.test", "127.0.0.1", &[]).await;
    let b = world.start("b.test", "127.0.0.1", &[]).await;
    let one = WebhookTarget::start_plain("127.0.5.7:0".parse().unwrap());
    let other = WebhookTarget::start_plain("127.0.5.8:0".parse().unwrap());
    for target in [&one, &other] {
        target.always(Behaviour::json(200, &json!({ "response": "and you?" })));
    }
    let (ping, _) = a.push_agent("ping", &one.url("127.0.5.7"), json!({})).await;
    let (pong, _) = b
        .push_agent("pong", &other.url("127.0.5.8"), json!({}))
        .await;
    let id = a.send(&ping, &[&pong.address], json!("hello")).await;
    let seen = one.wait_for(1, Duration::from_secs(20)).await;
    assert_eq!(seen[0].json["in_reply_to"], id.as_str());
    // A second message to each makes sure that all that could follow the first has come.
    let alice = a.agent("alice").await;
    let last = a.send(&alice, &[&ping.address], json!("last")).await;
    a.reaches(&alice, &last, "delivered").await;
    assert_eq!(other.requests().len(), 1, "the reply was not answered");
    assert_eq!(one.requests().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_moves_to_the_inbox_when_an_agent_begins_to_poll() {
    let world = World::new("127.0.0.1:0".parse().unwrap(), &["a.test"]);
    let a = world.start("a.test", "127.0.5.9", &[]).await;
    let alice = a.agent("alice").await;
    let (hook, _) = a
        .push_agent("hook", "http://127.0.5.10:1/", json!({}))
        .await;
    let id = a.send(&alice, &[&hook.address], json!(1)).await;
    a.reaches(&alice, &id, "retrying").await;
    let path = format!("/v1/admin/agents/{}", hook.address);
    let change = json!({ "delivery_mode": "pull", "push_target": null });
    let (status, answer) = a.admin(Method::PATCH, &path, Some(change)).await;
    assert!(status.is_success(), "{answer}");
    let mail = eventually_so("mail", Duration::from_secs(20), async || {
        let mail = a.inbox(&hook).await;
        (!mail.is_empty()).then_some(mail)
    })
    .await;
    assert_eq!(mail[0]["message_id"], id.as_str());
    a.reaches(&alice, &id, "delivered").await;
}
