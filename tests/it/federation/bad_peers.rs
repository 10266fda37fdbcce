//! Peers that answer wrongly, late or not at all: nothing of ours is lost on them.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde_json::json;

use crate::support::behaviour::Behaviour;
use crate::support::peer::ScriptedPeer;
use crate::support::pki::{Ca, Versions, server_config};
use crate::support::site::{Site, World};

/// A gateway of `a.test` and a peer of `b.test`.
async fn meet(address: &str, features: &str) -> (World, Site, ScriptedPeer) {
    let world = World::new("127.0.0.1:0".parse().unwrap(), &["a.test", "b.test"]);
    let here: IpAddr = address.parse().unwrap();
    let peer = ScriptedPeer::start(SocketAddr::new(here, 0), &world.certificate("b.test"));
    world.publish("b.test", peer.address(), features);
    let site = world.start("a.test", address, &[]).await;
    (world, site, peer)
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_peer_does_the_message_arrives_in_the_end() {
    let (_world, a, peer) = meet("127.0.2.1", "").await;
    let alice = a.agent("alice").await;
    let text = |code: u16, body: &str| Behaviour::Status {
        code,
        content_type: "text/html".to_owned(),
        body: body.to_owned(),
        headers: Vec::new(),
    };
    let bad = [
        ("another id", Behaviour::OtherId),
        ("HTML", Behaviour::HtmlOk),
        ("400 without an error", text(400, "<html>no</html>")),
        ("403", text(403, "<html>no</html>")),
        ("404", text(404, "<html>no</html>")),
        (
            "301",
            Behaviour::RedirectTo("https://elsewhere.test/".to_owned()),
        ),
        ("429 for a year", Behaviour::RetryAfter(429, 31_536_000)),
        ("503", Behaviour::RetryAfter(503, 0)),
        ("500", text(500, "")),
        ("half an answer", Behaviour::HalfAnswer),
        ("no end", Behaviour::EndlessBody),
        ("GOAWAY", Behaviour::GoAway),
        ("RST", Behaviour::Reset),
    ];
    for (what, behaviour) in bad {
        peer.answer(behaviour);
        let id = a.send(&alice, &["bob@b.test"], json!(what)).await;
        let status = a.reaches(&alice, &id, "delivered").await;
        assert_eq!(
            status["recipients"][0]["status"], "delivered",
            "{what}: {status}"
        );
    }
    let bounces = a.inbox(&alice).await;
    assert!(bounces.is_empty(), "{bounces:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_final_is_final() {
    let (_world, a, peer) = meet("127.0.2.2", "").await;
    let alice = a.agent("alice").await;
    for (behaviour, code) in [
        (
            Behaviour::error(400, "INVALID_RECIPIENT"),
            "INVALID_RECIPIENT",
        ),
        (Behaviour::error(403, "POLICY_DENIED"), "POLICY_DENIED"),
        (
            Behaviour::error(413, "MESSAGE_TOO_LARGE"),
            "MESSAGE_TOO_LARGE",
        ),
    ] {
        peer.answer(behaviour);
        let id = a.send(&alice, &["bob@b.test"], json!(code)).await;
        let status = a.reaches(&alice, &id, "failed").await;
        assert_eq!(status["recipients"][0]["error_code"], code, "{status}");
        assert_eq!(status["attempts"], 1, "{status}");
    }
    assert_eq!(a.mail(&alice, 3).await.len(), 3, "each failure is told");
    // A failure frees the key: the sender may try the same again.
    let body = json!({
        "sender": alice.address, "recipients": ["eve@b.test"], "payload": 1, "idempotency_key": "again",
    });
    peer.answer(Behaviour::error(403, "POLICY_DENIED"));
    let first = a.submit(&alice, body.clone()).await;
    a.reaches(&alice, &first, "failed").await;
    let second = a.submit(&alice, body.clone()).await;
    assert_ne!(second, first);
    a.reaches(&alice, &second, "delivered").await;
    assert_eq!(
        a.submit(&alice, body).await,
        second,
        "and what was delivered is known"
    );
    let id = a.send(&alice, &["bob@b.test"], json!("fine")).await;
    a.reaches(&alice, &id, "delivered").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_202_counts() {
    let (_world, a, peer) = meet("127.0.2.3", "").await;
    let alice = a.agent("alice").await;
    peer.answer(Behaviour::Empty202);
    let id = a.send(&alice, &["bob@b.test"], json!(1)).await;
    let status = a.reaches(&alice, &id, "delivered").await;
    assert_eq!(status["attempts"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_cannot_prove_itself_gets_nothing() {
    let (world, mut a, peer) = meet("127.0.2.4", "").await;
    let alice = a.agent("alice").await;
    let folder = world.folder.path();
    let good = world.certificate("b.test");
    let host = World::host("b.test");
    let foreign = Ca::other(folder).issue(&[&host], folder);
    let expired = world.ca.issue_expired(&[&host], folder);
    let elsewhere = world.ca.issue(&["gateway.c.test"], folder);
    for (what, config) in [
        ("foreign", server_config(&foreign, Versions::Tls13)),
        ("expired", server_config(&expired, Versions::Tls13)),
        ("another host's", server_config(&elsewhere, Versions::Tls13)),
        ("TLS 1.2", server_config(&good, Versions::Tls12)),
    ] {
        // Without the connection it has already.
        a.kill();
        a.run().await;
        peer.set_tls(config);
        let before = peer.requests().len();
        let id = a.send(&alice, &["bob@b.test"], json!(what)).await;
        a.reaches(&alice, &id, "retrying").await;
        assert_eq!(peer.requests().len(), before, "{what}");
        peer.set_tls(server_config(&good, Versions::Tls13));
        a.reaches(&alice, &id, "delivered").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_message_does_not_stop_its_pair() {
    let variables = [("AMTPD__DELIVERY__RETRY__MAX", "100ms")];
    let world = World::new("127.0.0.1:0".parse().unwrap(), &["a.test", "b.test"]);
    let here: IpAddr = "127.0.2.5".parse().unwrap();
    let peer = ScriptedPeer::start(SocketAddr::new(here, 0), &world.certificate("b.test"));
    world.publish("b.test", peer.address(), "");
    let a = world.start("a.test", "127.0.2.5", &variables).await;
    let alice = a.agent("alice").await;
    for _ in 0..5 {
        peer.answer(Behaviour::error(500, "INTERNAL_ERROR"));
    }
    let poison = a.send(&alice, &["bob@b.test"], json!("poison")).await;
    let next = a.send(&alice, &["bob@b.test"], json!("next")).await;
    a.reaches(&alice, &next, "delivered").await;
    let order: Vec<String> = peer
        .requests()
        .iter()
        .filter_map(|seen| seen.json["payload"].as_str().map(str::to_owned))
        .collect();
    let waited = order.iter().position(|it| it == "next").unwrap();
    assert_eq!(waited, 5, "the next one waits for five attempts: {order:?}");
    a.reaches(&alice, &poison, "delivered").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_settings_is_survived() {
    let (_world, a, peer) = meet("127.0.2.6", "").await;
    let alice = a.agent("alice").await;
    peer.answer(Behaviour::SettingsFlood);
    let first = a.send(&alice, &["bob@b.test"], json!(1)).await;
    let status = a.reaches(&alice, &first, "delivered").await;
    assert_eq!(status["recipients"][0]["status"], "delivered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_without_a_record_is_told_so() {
    let (_world, a, _peer) = meet("127.0.2.7", "").await;
    let alice = a.agent("alice").await;
    let id = a.send(&alice, &["bob@nowhere.test"], json!(1)).await;
    let status = a.reaches(&alice, &id, "failed").await;
    assert_eq!(status["recipients"][0]["error_code"], "RECIPIENT_NOT_FOUND");
    let bounce = a.mail(&alice, 1).await.remove(0);
    assert_eq!(bounce["payload"]["error_code"], "RECIPIENT_NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_was_withdrawn_is_waited_for() {
    let (world, a, peer) = meet("127.0.2.8", "").await;
    let alice = a.agent("alice").await;
    let id = a.send(&alice, &["bob@b.test"], json!(1)).await;
    a.reaches(&alice, &id, "delivered").await;
    // What was learnt is gone with the process; that there was a record is not.
    let mut a = a;
    a.kill();
    world.dns.remove("_amtp.b.test");
    a.run().await;
    let id = a.send(&alice, &["bob@b.test"], json!(2)).await;
    let status = a.reaches(&alice, &id, "retrying").await;
    assert_eq!(status["recipients"][0]["status"], "retrying", "{status}");
    assert_eq!(peer.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_address_is_not_connected_to_unless_allowed() {
    let world = World::new("127.0.0.1:0".parse().unwrap(), &["a.test"]);
    let here: IpAddr = "127.0.2.9".parse().unwrap();
    let peer = ScriptedPeer::start(SocketAddr::new(here, 0), &world.certificate("b.test"));
    world.publish("b.test", peer.address(), "");
    let a = world.start("a.test", "127.0.2.9", &[]).await;
    let alice = a.agent("alice").await;
    let id = a.send(&alice, &["bob@b.test"], json!(1)).await;
    a.reaches(&alice, &id, "retrying").await;
    assert_eq!(peer.connections(), 0);
    assert!(a.log().contains("loopback"), "{}", a.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_or_silent_peer_does_not_hold_up_others() {
    let world = World::new(
        "127.0.0.1:0".parse().unwrap(),
        &["a.test", "b.test", "c.test"],
    );
    let here: IpAddr = "127.0.2.10".parse().unwrap();
    let slow = ScriptedPeer::start(SocketAddr::new(here, 0), &world.certificate("b.test"));
    let well = ScriptedPeer::start(SocketAddr::new(here, 0), &world.certificate("c.test"));
    world.publish("b.test", slow.address(), "");
    world.publish("c.test", well.address(), "");
    slow.always(Behaviour::Hang);
    slow.answer(Behaviour::SlowBody(Duration::from_secs(5)));
    let a = world.start("a.test", "127.0.2.10", &[]).await;
    let alice = a.agent("alice").await;
    for n in 0..40 {
        a.send(&alice, &[&format!("agent-{n}@b.test")], json!(n))
            .await;
    }
    let id = a.send(&alice, &["bob@c.test"], json!("well")).await;
    a.reaches(&alice, &id, "delivered").await;
}
