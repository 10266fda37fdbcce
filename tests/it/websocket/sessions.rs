//! What outlasts a connection.

use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::json;

use super::message;
use crate::support::Daemon;
use crate::support::websocket::{Raw, frame};

#[tokio::test]
async fn a_resumed_session_loses_nothing_and_repeats_what_was_unacknowledged() {
    let daemon = Daemon::start(&[]).await;
    let (alice, bob) = (daemon.agent("alice").await, daemon.agent("bob").await);
    let (mut from, _) = Raw::session(&daemon, &alice, "").await;
    let (mut to, first) = Raw::session(&daemon, &bob, "credit=3").await;
    let send = async |from: &mut Raw, n: i64| {
        let body = message(&alice, &bob.address, &json!(n));
        let receipt = from.ask(json!({ "type": "send", "message": body })).await;
        assert_eq!(receipt["type"], "receipt");
    };
    for n in 0..3 {
        send(&mut from, n).await;
    }
    let acknowledged = to.hear().await;
    let ack = json!({ "type": "ack", "ids": [acknowledged["message"]["message_id"]] });
    assert_eq!(to.ask(ack).await["type"], "done");
    drop(to);
    for n in 3..5 {
        send(&mut from, n).await;
    }
    let resume = format!("credit=9&resume={}", first["resume"].as_str().unwrap());
    let (mut to, again) = Raw::session(&daemon, &bob, &resume).await;
    assert_eq!(again["resumed"], true, "{again}");
    assert_eq!(again["session"], first["session"]);
    for n in 1..5 {
        let pushed = to.hear_of("message").await;
        assert_eq!(pushed["message"]["payload"], n, "{pushed}");
    }
}

#[tokio::test]
async fn sessions_share_mail_and_a_lost_ones_goes_to_the_next() {
    let daemon = Daemon::start(&[]).await;
    let (alice, carol) = (daemon.agent("alice").await, daemon.agent("carol").await);
    let bob = daemon.agent("bob").await;
    let (mut from, _) = Raw::session(&daemon, &alice, "").await;
    let (mut other, _) = Raw::session(&daemon, &carol, "").await;
    let (mut one, _) = Raw::session(&daemon, &bob, "credit=1").await;
    let (mut two, _) = Raw::session(&daemon, &bob, "credit=1").await;
    let body =
        |who, n: i64| json!({ "type": "send", "message": message(who, &bob.address, &json!(n)) });
    assert_eq!(from.ask(body(&alice, 1)).await["type"], "receipt");
    assert_eq!(from.ask(body(&alice, 2)).await["type"], "receipt");
    assert_eq!(other.ask(body(&carol, 3)).await["type"], "receipt");
    let (a, b) = (one.hear().await, two.hear().await);
    let payload = |it: &serde_json::Value| it["message"]["payload"].as_i64().unwrap();
    let mut both = [payload(&a), payload(&b)];
    both.sort_unstable();
    assert_eq!(both, [1, 3], "the second of one sender waits for the first");
    let (lost, mut left, mine) = if payload(&a) == 1 {
        (one, two, b)
    } else {
        (two, one, a)
    };
    drop(lost);
    left.say(&json!({ "type": "ack", "ids": [mine["message"]["message_id"]] }))
        .await;
    assert_eq!(left.message().await["payload"], 1);
    assert_eq!(left.message().await["payload"], 2);
}

#[tokio::test]
async fn a_gateway_that_stops_says_so_and_finishes_what_it_took() {
    let mut daemon = Daemon::start(&[]).await;
    let (alice, bob) = (daemon.agent("alice").await, daemon.agent("bob").await);
    let (mut raw, _) = Raw::session(&daemon, &alice, "").await;
    let body = message(&alice, &bob.address, &json!(1));
    raw.say(&json!({ "type": "request", "ref": "r", "message": body, "wait": "60s" }))
        .await;
    raw.say(&json!({ "type": "ping", "ref": "p" })).await;
    assert_eq!(raw.hear_of("pong").await["ref"], "p");
    let stopping = std::thread::spawn(move || {
        let code = daemon.terminate();
        (daemon, code)
    });
    let receipt = raw.hear().await;
    assert_eq!(
        (&receipt["type"], &receipt["ref"]),
        (&json!("receipt"), &json!("r"))
    );
    assert_eq!(raw.closed().await.0, 1001);
    let (mut daemon, code) = stopping.join().unwrap();
    assert_eq!(code, Some(0));
    daemon.run().await;
    assert_eq!(daemon.inbox(&bob).await.len(), 1);
}

#[tokio::test]
async fn who_lost_its_key_loses_its_session() {
    let daemon = Daemon::start(&[]).await;
    let alice = daemon.agent("alice").await;
    let (mut raw, _) = Raw::session(&daemon, &alice, "").await;
    let path = format!("/v1/admin/agents/{}", alice.address);
    let (status, answer) = daemon.admin(Method::DELETE, &path, None).await;
    assert!(status.is_success(), "{answer}");
    let (code, reason) = raw.closed().await;
    assert_eq!(code, 4410, "{reason}");
    assert!(!reason.is_empty());
}

#[tokio::test]
async fn what_was_acknowledged_just_before_the_end_is_acknowledged() {
    let daemon = Daemon::start(&[]).await;
    let (alice, bob) = (daemon.agent("alice").await, daemon.agent("bob").await);
    for n in 0..20 {
        let body = message(&alice, &bob.address, &json!(n));
        let sent = daemon.call(Method::POST, "/v1/messages", Some(&alice.key), Some(body));
        assert_eq!(sent.await.0, StatusCode::ACCEPTED);
        let (mut raw, _) = Raw::session(&daemon, &bob, "").await;
        let pushed = raw.hear().await;
        assert_eq!(pushed["message"]["payload"], n, "{pushed}");
        let ack = json!({ "type": "ack", "ids": [pushed["message"]["message_id"]] });
        let bytes = [
            frame(0x81, ack.to_string().as_bytes()),
            frame(0x88, &[3, 0xe8]),
        ]
        .concat();
        raw.send(&bytes).await;
        assert_eq!(raw.closed().await.0, 1000);
    }
    assert!(daemon.inbox(&bob).await.is_empty());
}

#[tokio::test]
async fn topics_reach_those_who_subscribed_over_their_connection() {
    let daemon = Daemon::start(&[]).await;
    let (alice, bob) = (daemon.agent("alice").await, daemon.agent("bob").await);
    let form = json!({ "address": "prices", "delivery_mode": "pull", "kind": "topic", "topic": { "retain": true } });
    let (status, answer) = daemon
        .admin(Method::POST, "/v1/admin/agents", Some(form))
        .await;
    if status == StatusCode::BAD_REQUEST {
        panic!("{answer}");
    }
    let (mut to, _) = Raw::session(&daemon, &bob, "").await;
    let subscribed = to
        .ask(json!({ "type": "subscribe", "topic": "prices@it.test" }))
        .await;
    assert_eq!(subscribed["type"], "subscribed", "{subscribed}");
    let (mut from, _) = Raw::session(&daemon, &alice, "").await;
    let publish = |n: i64| json!({ "type": "publish", "topic": "prices@it.test", "message": { "payload": n } });
    let receipt = from.ask(publish(7)).await;
    assert_eq!(receipt["type"], "receipt", "{receipt}");
    assert_eq!(receipt["version"], 1, "{receipt}");
    let copy = to.message().await;
    assert_eq!(
        (&copy["sender"], &copy["payload"]),
        (&json!("prices@it.test"), &json!(7))
    );
    let mut late = publish(8);
    late["expected_version"] = json!(0);
    assert_eq!(from.ask(late).await["code"], "CONFLICT");
    let end = json!({ "type": "unsubscribe", "topic": "prices@it.test", "subscription": subscribed["subscription"] });
    assert_eq!(to.ask(end).await["type"], "done");
    assert_eq!(from.ask(publish(9)).await["version"], 2);
    assert!(to.is_quiet(Duration::from_millis(500)).await);
}
