//! Today's Go gateway: a duplicate table by key that answers with the first request, one domain a
//! request, permanent 4xx.

use std::net::{IpAddr, SocketAddr};

use serde_json::json;

use crate::support::agentry::{Agentry, Fault};
use crate::support::behaviour::Behaviour;
use crate::support::peer::ScriptedPeer;
use crate::support::site::{Site, World};

async fn meet(address: &str) -> (World, Site, ScriptedPeer, Agentry) {
    let world = World::new("127.0.0.1:0".parse().unwrap(), &["a.test", "go.test"]);
    let here: IpAddr = address.parse().unwrap();
    let peer = ScriptedPeer::start(SocketAddr::new(here, 0), &world.certificate("go.test"));
    let agentry = Agentry::new("go.test");
    peer.always(Behaviour::Agentry(agentry.clone()));
    world.publish("go.test", peer.address(), "");
    let site = world.start("a.test", address, &[]).await;
    (world, site, peer, agentry)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_ours_is_lost_on_it() {
    let (_world, a, _peer, agentry) = meet("127.0.3.1").await;
    let (alice, carol) = (a.agent("alice").await, a.agent("carol").await);
    let mut sent = Vec::new();
    for n in 0..30 {
        // Subsets, repeats of one set, ids and keys of our agents' own making.
        let to: &[&str] = match n % 3 {
            0 => &["bob@go.test", "eve@go.test"],
            1 => &["eve@go.test"],
            _ => &["bob@go.test", "eve@go.test", "dave@go.test"],
        };
        if n % 7 == 3 {
            agentry.fail_next(1, &Fault::Undelivered);
        }
        if n % 7 == 5 {
            agentry.fail_next(1, &Fault::Unavailable);
        }
        if n % 7 == 6 {
            agentry.fail_next(1, &Fault::UndeliveredTo("eve@go.test".to_owned()));
        }
        let from = if n % 2 == 0 { &alice } else { &carol };
        let mut body = json!({ "sender": from.address, "recipients": to, "payload": n });
        if n % 4 == 0 {
            body["message_id"] = json!(format!("order-{n}"));
        }
        if n % 5 == 0 {
            body["idempotency_key"] = json!(format!("key {n}"));
        }
        let id = a.submit(from, body).await;
        sent.push((from, id, n, to));
    }
    for (from, id, _, _) in &sent {
        a.reaches(from, id, "delivered").await;
    }
    let inbox = agentry.inbox();
    for (from, _, n, to) in &sent {
        for recipient in *to {
            let copies = inbox
                .iter()
                .filter(|it| {
                    it.recipient == *recipient
                        && it.payload == json!(n)
                        && it.sender == from.address
                })
                .count();
            // It may keep one twice where it took some recipients and said it failed.
            assert!(copies >= 1, "{n} is missing for {recipient}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_sends_is_taken_once() {
    let world = World::new("127.0.0.1:0".parse().unwrap(), &["a.test"]);
    let a = world.start("a.test", "127.0.3.2", &[]).await;
    let bob = a.agent("bob").await;
    let eve = a.agent("eve").await;
    // Fifteen members, absent ones null or empty, one request a recipient under one id and key.
    let body = |to: &str| {
        json!({
            "version": "1.0", "message_id": "01987654-3210-7654-8765-432198765432",
            "idempotency_key": "01234567-89ab-4cde-8123-456789abcdef",
            "timestamp": "2026-08-14T10:30:00Z", "sender": "dan@go.test", "recipients": [to],
            "subject": "", "schema": "", "coordination": null, "headers": null, "payload": {"n": 1},
            "attachments": null, "signature": null, "in_reply_to": "", "response_type": "",
        })
    };
    for _ in 0..3 {
        for to in [&bob, &eve] {
            let (status, answer) = a
                .call(
                    hyper::Method::POST,
                    "/v1/messages",
                    None,
                    Some(body(&to.address)),
                )
                .await;
            assert_eq!(status, 202, "{answer}");
        }
    }
    assert_eq!(a.inbox(&bob).await.len(), 1);
    assert_eq!(a.inbox(&eve).await.len(), 1);
}
