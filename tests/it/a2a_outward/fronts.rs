//! Addresses here that stand for agents of other domains.

use hyper::Method;
use serde_json::{Value, json};

use crate::support::Agent;
use crate::support::site::{Site, World};

async fn stand_in(site: &Site, name: &str, target: &str) -> (u16, Value) {
    let form = json!({ "address": name, "delivery_mode": "peer", "push_target": target });
    let (status, answer) = site
        .admin(Method::POST, "/v1/admin/agents", Some(form))
        .await;
    (status.as_u16(), answer)
}

async fn answer(site: &Site, from: &Agent, to: &Value, text: &str) -> String {
    let body = json!({ "sender": from.address, "recipients": [to["sender"]],
        "in_reply_to": to["message_id"], "payload": { "text": text } });
    site.submit(from, body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_goes_on_to_the_other_domain_and_answers_come_back_as_from_the_address() {
    let world = World::new(
        "127.0.0.1:0".parse().unwrap(),
        &["a.test", "b.test", "c.test"],
    );
    let a = world.start("a.test", "127.0.0.1", &[]).await;
    let b = world.start("b.test", "127.0.0.1", &[]).await;
    let c = world.start("c.test", "127.0.0.1", &[]).await;
    assert_eq!(stand_in(&a, "front", "bob@b.test").await.0, 201);
    let (alice, bob, carol) = (
        a.agent("alice").await,
        b.agent("bob").await,
        c.agent("carol").await,
    );
    let id = a.send(&alice, &["front@a.test"], json!({ "n": 1 })).await;
    let seen = b.mail(&bob, 1).await.remove(0);
    assert_eq!(seen["sender"], "front@a.test");
    assert_eq!(seen["recipients"], json!(["bob@b.test"]));
    assert_eq!(seen["payload"], json!({ "n": 1 }));
    assert_eq!(seen["headers"]["x-amtp-on-behalf-of"], "alice@a.test");
    assert_eq!(seen["headers"]["x-amtp-hops"], 1);
    assert_ne!(seen["message_id"], id.as_str());
    a.reaches(&alice, &id, "delivered").await;
    let said = answer(&b, &bob, &seen, "yes").await;
    let reply = a.mail(&alice, 1).await.remove(0);
    assert_eq!(reply["sender"], "front@a.test");
    assert_eq!(reply["in_reply_to"], id.as_str());
    assert_eq!(reply["payload"], json!({ "text": "yes" }));
    assert_eq!(
        reply["message_id"],
        said.as_str(),
        "what is said in reply names what bob said"
    );
    // The conversation goes on: bob sees that his own message is answered.
    answer(&a, &alice, &reply, "thanks").await;
    let thanks = b.mail(&bob, 2).await.remove(1);
    assert_eq!(thanks["in_reply_to"], said.as_str());
    // Who refers to an own message refers to it as bob knows it.
    let more = json!({ "sender": alice.address, "recipients": ["front@a.test"], "in_reply_to": id, "payload": 2 });
    a.submit(&alice, more).await;
    let more = b.mail(&bob, 3).await.remove(2);
    assert_eq!(more["in_reply_to"], seen["message_id"]);
    // One of a third domain is served alike.
    let id = c.send(&carol, &["front@a.test"], json!({ "n": 2 })).await;
    let seen = b.mail(&bob, 4).await.remove(3);
    assert_eq!(seen["sender"], "front@a.test");
    answer(&b, &bob, &seen, "to carol").await;
    let reply = c.mail(&carol, 1).await.remove(0);
    assert_eq!(reply["sender"], "front@a.test");
    assert_eq!(reply["in_reply_to"], id.as_str());
    assert_eq!(a.mail(&alice, 1).await.len(), 1, "it is nothing to alice");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_message_to_the_address_and_to_the_agent_itself_arrives_twice() {
    let world = World::new("127.0.0.1:0".parse().unwrap(), &["a.test", "b.test"]);
    let a = world.start("a.test", "127.0.0.1", &[]).await;
    let b = world.start("b.test", "127.0.0.1", &[]).await;
    stand_in(&a, "front", "bob@b.test").await;
    let (alice, bob) = (a.agent("alice").await, b.agent("bob").await);
    let to = ["front@a.test", "bob@b.test"];
    let id = a.send(&alice, &to, json!(1)).await;
    a.reaches(&alice, &id, "delivered").await;
    let mut senders: Vec<Value> = b
        .mail(&bob, 2)
        .await
        .iter()
        .map(|it| it["sender"].clone())
        .collect();
    senders.sort_by_key(Value::to_string);
    assert_eq!(senders, [json!("alice@a.test"), json!("front@a.test")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_there_is_told_here_and_nothing_goes_round() {
    let world = World::new("127.0.0.1:0".parse().unwrap(), &["a.test", "b.test"]);
    let a = world.start("a.test", "127.0.0.1", &[]).await;
    let b = world.start("b.test", "127.0.0.1", &[]).await;
    stand_in(&a, "nobody", "nobody@b.test").await;
    let alice = a.agent("alice").await;
    let id = a.send(&alice, &["nobody@a.test"], json!(1)).await;
    a.reaches(&alice, &id, "failed").await;
    let bounce = a.mail(&alice, 1).await.remove(0);
    assert_eq!(bounce["message_type"], "delivery_failure");
    assert_eq!(bounce["payload"]["original_message_id"], id.as_str());
    assert_eq!(
        bounce["payload"]["failed_recipients"],
        json!(["nobody@a.test"])
    );
    // Two that stand for each other.
    stand_in(&a, "ping", "pong@b.test").await;
    stand_in(&b, "pong", "ping@a.test").await;
    let id = a.send(&alice, &["ping@a.test"], json!(2)).await;
    let bounces = a.mail(&alice, 2).await;
    assert_eq!(
        bounces[1]["message_type"], "delivery_failure",
        "{}",
        bounces[1]
    );
    assert_eq!(bounces[1]["payload"]["original_message_id"], id.as_str());
    // What the agent behind an address says unasked goes nowhere.
    stand_in(&a, "front", "bob@b.test").await;
    let bob = b.agent("bob").await;
    let id = b.send(&bob, &["front@a.test"], json!(3)).await;
    let bounce = b.mail(&bob, 1).await.remove(0);
    assert_eq!(bounce["message_type"], "delivery_failure", "{bounce}");
    assert_eq!(bounce["payload"]["error_code"], "LOOP_DETECTED");
    assert_eq!(bounce["payload"]["original_message_id"], id.as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_operators_make_stand_ins_and_only_of_other_domains() {
    let world = World::new("127.0.0.1:0".parse().unwrap(), &["a.test"]);
    let a = world.start("a.test", "127.0.63.1", &[]).await;
    for (name, target) in [("x", "bob@a.test"), ("x", "https://b.test/"), ("x", "")] {
        let (status, answer) = stand_in(&a, name, target).await;
        assert_eq!(status, 400, "{answer}");
        assert!(answer.to_string().contains("push_target"), "{answer}");
    }
    for target in [
        "wss://b.test/",
        "ftp://b.test/",
        "https://b.test/?a=1",
        "bob@b.test",
    ] {
        let form = json!({ "address": "x", "delivery_mode": "a2a", "push_target": target });
        let (status, answer) = a.admin(Method::POST, "/v1/admin/agents", Some(form)).await;
        assert_eq!(status, 400, "{target}: {answer}");
    }
    let form = json!({ "names": "*", "uses": 3, "expires_in": "1h" });
    let (_, token) = a
        .admin(Method::POST, "/v1/admin/enrolment-tokens", Some(form))
        .await;
    let token = token["enrolment_token"]["token"]
        .as_str()
        .unwrap()
        .to_owned();
    for (mode, target) in [("peer", "bob@b.test"), ("a2a", "https://b.test/")] {
        let form = json!({ "address": "x", "delivery_mode": mode, "push_target": target });
        let (status, answer) = a
            .call(
                Method::POST,
                "/v1/agents/register",
                Some(&token),
                Some(form),
            )
            .await;
        assert_eq!(status, 400, "{answer}");
        assert!(answer.to_string().contains("for operators"), "{answer}");
    }
    // Mail that nobody vouches for does not leave as ours.
    assert_eq!(stand_in(&a, "front", "bob@b.test").await.0, 201);
    let stranger = json!({ "version": "1.0", "sender": "eve@c.test", "recipients": ["front@a.test"],
        "timestamp": "2026-08-14T10:30:00Z", "payload": 1 });
    let (status, answer) = a
        .call(Method::POST, "/v1/messages", None, Some(stranger))
        .await;
    assert!(!status.is_success(), "{answer}");
    assert!(answer.to_string().contains("RELAY_DENIED"), "{answer}");
}
