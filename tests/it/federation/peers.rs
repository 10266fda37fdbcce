//! Two of our gateways that find each other by the DNS.

use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::Agent;
use crate::support::relay::DelayRelay;
use crate::support::site::{FEATURES, World};

#[tokio::test(flavor = "multi_thread")]
async fn messages_go_both_ways_to_several_recipients() {
    let world = World::new("127.0.0.1:0".parse().unwrap(), &["a.test", "b.test"]);
    let a = world.start("a.test", "127.0.0.1", &[]).await;
    let b = world.start("b.test", "127.0.0.1", &[]).await;
    let (alice, bob, eve) = (
        a.agent("alice").await,
        b.agent("bob").await,
        b.agent("eve").await,
    );
    let to = [bob.address.as_str(), eve.address.as_str(), "nobody@b.test"];
    let id = a.send(&alice, &to, json!({ "total": 1 })).await;
    let (for_bob, for_eve) = (b.mail(&bob, 1).await, b.mail(&eve, 1).await);
    for mail in [&for_bob, &for_eve] {
        assert_eq!(mail[0]["message_id"], id.as_str());
        assert_eq!(mail[0]["recipients"], json!(to));
        assert_eq!(mail[0]["sender_verification"]["result"], "source_address");
    }
    let status = a.reaches(&alice, &id, "partial").await;
    let words: Vec<&str> = status["recipients"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["status"].as_str().unwrap())
        .collect();
    assert_eq!(words, ["delivered", "delivered", "failed"], "{status}");
    assert_eq!(status["recipients"][2]["error_code"], "AGENT_UNKNOWN");
    let bounce = &a.mail(&alice, 1).await[0];
    assert_eq!(bounce["message_type"], "delivery_failure");
    assert_eq!(
        bounce["payload"]["failed_recipients"],
        json!(["nobody@b.test"])
    );
    let answer = json!({
        "sender": bob.address, "recipients": [alice.address], "payload": "ok", "in_reply_to": id,
    });
    b.submit(&bob, answer).await;
    assert_eq!(a.mail(&alice, 2).await[1]["in_reply_to"], id.as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_under_an_id_that_is_no_uuid_travels_under_another_and_its_reply_finds_it() {
    let world = World::new("127.0.0.1:0".parse().unwrap(), &["a.test", "b.test"]);
    let a = world.start("a.test", "127.0.0.1", &[]).await;
    let b = world.start("b.test", "127.0.0.1", &[]).await;
    let (alice, bob) = (a.agent("alice").await, b.agent("bob").await);
    let body = json!({
        "message_id": "order-1", "sender": alice.address, "recipients": [bob.address], "payload": 1,
    });
    assert_eq!(a.submit(&alice, body).await, "order-1");
    let got = b.mail(&bob, 1).await.remove(0);
    assert_ne!(got["message_id"], "order-1");
    let answer = json!({
        "sender": bob.address, "recipients": [alice.address], "payload": 2,
        "in_reply_to": got["message_id"],
    });
    b.submit(&bob, answer).await;
    let reply = a.mail(&alice, 1).await.remove(0);
    assert_eq!(reply["in_reply_to"], "order-1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_moves_is_found_again() {
    let world = World::new("127.0.0.1:0".parse().unwrap(), &["a.test", "b.test"]);
    let a = world.start("a.test", "127.0.1.5", &[]).await;
    let mut b = world.start("b.test", "127.0.1.6", &[]).await;
    let (alice, bob) = (a.agent("alice").await, b.agent("bob").await);
    b.kill();
    let id = a.send(&alice, &[&bob.address], json!(1)).await;
    a.reaches(&alice, &id, "retrying").await;
    let moved = ([127, 0, 1, 7], b.https().port()).into();
    let relay = DelayRelay::start(moved, b.https(), Duration::ZERO);
    world.dns.set_a("gateway.b.test", relay.address().ip());
    b.run().await;
    a.reaches(&alice, &id, "delivered").await;
    assert_eq!(b.inbox(&bob).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_way_is_used_by_batches() {
    let world = World::new("127.0.0.1:0".parse().unwrap(), &["a.test", "b.test"]);
    let a = world.start("a.test", "127.0.1.8", &[]).await;
    let mut b = world.site("b.test", "127.0.1.9".parse().unwrap(), None, &[]);
    b.run().await;
    let there = (std::net::Ipv4Addr::new(127, 0, 1, 10), 0).into();
    let relay = DelayRelay::start(there, b.https(), Duration::from_millis(50));
    world.publish("b.test", relay.address(), FEATURES);
    let (alice, bob) = (a.agent("alice").await, b.agent("bob").await);
    for n in 0..300 {
        a.send(&alice, &[&bob.address], json!(n)).await;
    }
    let mail = b.mail(&bob, 300).await;
    let numbers: Vec<u64> = mail
        .iter()
        .map(|it| it["payload"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, (0..300).collect::<Vec<u64>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_takes_what_is_right_and_refuses_what_is_not() {
    let world = World::new("127.0.0.1:0".parse().unwrap(), &["a.test"]);
    let a = world.start("a.test", "127.0.1.11", &[]).await;
    let (alice, bob) = (a.agent("alice").await, a.agent("bob").await);
    let line = |to: &str| {
        json!({ "sender": alice.address, "recipients": [to], "payload": to }).to_string()
    };
    let body = format!(
        "{}\nnot json\n{}\n{}\n",
        line(&bob.address),
        line("no@a.test"),
        line(&bob.address)
    );
    let (status, answer) = a.batch(&alice, body.into_bytes(), "").await;
    assert_eq!(status, StatusCode::OK);
    let shown: Vec<(u64, &str)> = answer
        .iter()
        .map(|it| {
            let code = it["error"]["code"].as_str();
            (
                it["status"].as_u64().unwrap(),
                code.unwrap_or(it["receipt"]["status"].as_str().unwrap_or("")),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            (202, "accepted"),
            (400, "INVALID_MESSAGE_FORMAT"),
            (404, "AGENT_UNKNOWN"),
            (202, "accepted")
        ]
    );
    assert_eq!(a.inbox(&bob).await.len(), 2);
    let many = "{}\n".repeat(201);
    assert_eq!(
        a.batch(&alice, many.into_bytes(), "").await.0,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(
        a.batch(&alice, b"junk".to_vec(), "gzip").await.0,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(
        a.batch(&alice, b"{}".to_vec(), "br").await.0,
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    );
    let (status, _) = a
        .call(Method::GET, "/v1/messages/batch", Some(&alice.key), None)
        .await;
    assert!(status.is_client_error());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fits_into_a_mailbox_does_not_overtake_what_did_not() {
    let world = World::new("127.0.0.1:0".parse().unwrap(), &["a.test"]);
    let a = world.start("a.test", "127.0.1.12", &[]).await;
    let (alice, bob) = (a.agent("alice").await, a.agent("bob").await);
    let carol = a.agent("carol").await;
    let path = format!("/v1/admin/agents/{}", bob.address);
    let bound = json!({ "bounds": { "bytes": 2_000 } });
    let (status, answer) = a.admin(Method::PATCH, &path, Some(bound)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let line = |to: &Agent, payload: Value| {
        let body =
            json!({ "sender": alice.address, "recipients": [to.address], "payload": payload });
        format!("{body}\n")
    };
    let lines = [
        line(&bob, json!(1)),
        line(&bob, json!("x".repeat(3_000))),
        line(&bob, json!(2)),
        line(&carol, json!(3)),
    ];
    let (_, answer) = a.batch(&alice, lines.concat().into_bytes(), "").await;
    let said: Vec<&Value> = answer.iter().map(|it| &it["status"]).collect();
    assert_eq!(said, [202, 503, 503, 202], "{answer:?}");
    assert_eq!(answer[2]["error"]["code"], "MAILBOX_FULL");
    // By itself it may go: its sender knows by now that the other one has to wait.
    a.send(&alice, &[&bob.address], json!(2)).await;
    let mail = a.inbox(&bob).await;
    let mail: Vec<&Value> = mail.iter().map(|it| &it["payload"]).collect();
    assert_eq!(mail, [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_writes_to_nobody_makes_us_ask_nobody() {
    let world = World::new("127.0.0.1:0".parse().unwrap(), &["a.test"]);
    let a = world.start("a.test", "127.0.0.1", &[]).await;
    let bob = a.agent("bob").await;
    let from =
        |to: &str| json!({ "sender": "eve@stranger.test", "recipients": [to], "payload": 1 });
    let send = |body| a.call(Method::POST, "/v1/messages", None, Some(body));
    let (status, answer) = send(from("nobody@a.test")).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{answer}");
    assert_eq!(world.dns.queries("_amtp.stranger.test"), 0);
    let (status, answer) = send(from(&bob.address)).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    assert_eq!(world.dns.queries("_amtp.stranger.test"), 1);
}
