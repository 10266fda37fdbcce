//! Notices of failed deliveries: who is told, and whom we believe.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};

use crate::support::eventually_so;
use crate::support::peer::ScriptedPeer;
use crate::support::site::World;

fn bounce(from: &str, to: &str, original: &str, failed: &str) -> Value {
    json!({
        "version": "1.0", "sender": from, "recipients": [to],
        "timestamp": "2026-08-14T10:30:00Z",
        "message_type": "delivery_failure", "in_reply_to": original,
        "payload": {
            "original_message_id": original, "failed_recipients": [failed],
            "error_code": "AGENT_UNKNOWN", "error_message": "gone", "retry_count": 0,
            "final_attempt": "2026-08-14T10:30:00Z",
        },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bounce_counts_only_from_the_gateway_of_the_failed_recipients() {
    let world = World::new(
        "127.0.0.1:0".parse().unwrap(),
        &["a.test", "b.test", "c.test"],
    );
    let here: IpAddr = "127.0.4.1".parse().unwrap();
    let peer = ScriptedPeer::start(SocketAddr::new(here, 0), &world.certificate("b.test"));
    world.publish("b.test", peer.address(), "");
    let a = world.start("a.test", "127.0.4.1", &[]).await;
    let alice = a.agent("alice").await;
    let id = a.send(&alice, &["bob@b.test"], json!(1)).await;
    a.reaches(&alice, &id, "delivered").await;
    // Forged: b.test says so, but not from its gateway's address.
    let elsewhere = world.start("c.test", "127.0.4.2", &[]).await;
    world
        .dns
        .set_a("gateway.b.test", "127.0.4.3".parse().unwrap());
    let mut a = a;
    a.kill();
    a.run().await;
    let forged = bounce("postmaster@b.test", &alice.address, &id, "bob@b.test");
    let (status, answer) = a
        .call(Method::POST, "/v1/messages", None, Some(forged))
        .await;
    assert_eq!(status, 202, "{answer}");
    assert_eq!(a.mail(&alice, 1).await.len(), 1, "it is plain mail");
    assert_eq!(a.status(&alice, &id).await["status"], "delivered");
    // Believed: the request comes from the address that the DNS names (127.0.0.1, this test's own).
    world
        .dns
        .set_a("gateway.b.test", "127.0.0.1".parse().unwrap());
    a.kill();
    a.run().await;
    let other = bounce("postmaster@b.test", &alice.address, &id, "eve@c.test");
    a.call(Method::POST, "/v1/messages", None, Some(other))
        .await;
    assert_eq!(
        a.status(&alice, &id).await["status"],
        "delivered",
        "not its domain"
    );
    let real = bounce("postmaster@b.test", &alice.address, &id, "bob@b.test");
    let (status, answer) = a.call(Method::POST, "/v1/messages", None, Some(real)).await;
    assert_eq!(status, 202, "{answer}");
    let status = a.status(&alice, &id).await;
    assert_eq!(status["recipients"][0]["status"], "failed", "{status}");
    assert_eq!(status["recipients"][0]["error_code"], "AGENT_UNKNOWN");
    drop(elsewhere);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_too_late_expires_and_its_sender_is_told() {
    let world = World::new("127.0.0.1:0".parse().unwrap(), &["a.test", "b.test"]);
    world.publish("b.test", "127.0.4.9:1".parse().unwrap(), "");
    let a = world.start("a.test", "127.0.4.4", &[]).await;
    let alice = a.agent("alice").await;
    let soon = amtpd::clock::Clock::system()
        .now()
        .plus(Duration::from_millis(600));
    let body = json!({
        "sender": alice.address, "recipients": ["bob@b.test"], "payload": 1,
        "headers": { "expires": soon.to_string() },
    });
    let id = a.submit(&alice, body).await;
    a.reaches(&alice, &id, "expired").await;
    assert_eq!(
        a.mail(&alice, 1).await[0]["payload"]["error_code"],
        "MESSAGE_EXPIRED"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_for_an_agent_that_was_deleted_bounces() {
    let world = World::new("127.0.0.1:0".parse().unwrap(), &["a.test"]);
    let a = world.start("a.test", "127.0.4.5", &[]).await;
    let alice = a.agent("alice").await;
    let (hook, _) = a.push_agent("hook", "http://127.0.4.6:1/", json!({})).await;
    let id = a.send(&alice, &[&hook.address], json!(1)).await;
    a.reaches(&alice, &id, "retrying").await;
    let path = format!("/v1/admin/agents/{}", hook.address);
    let (status, answer) = a.admin(Method::DELETE, &path, None).await;
    assert!(status.is_success(), "{answer}");
    let status = a.reaches(&alice, &id, "failed").await;
    assert_eq!(status["recipients"][0]["error_code"], "AGENT_UNKNOWN");
    assert_eq!(
        a.mail(&alice, 1).await[0]["message_type"],
        "delivery_failure"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_is_told_once_that_its_message_is_late_where_that_is_wanted() {
    let world = World::new("127.0.0.1:0".parse().unwrap(), &["a.test", "b.test"]);
    world.publish("b.test", "127.0.4.9:1".parse().unwrap(), "");
    let variables = [("AMTPD__DELIVERY__DELAY_NOTICE", "1s")];
    let a = world.start("a.test", "127.0.4.7", &variables).await;
    let alice = a.agent("alice").await;
    let id = a.send(&alice, &["bob@b.test"], json!(1)).await;
    let notice = a.mail(&alice, 1).await.remove(0);
    assert_eq!(notice["message_type"], "delivery_delay");
    assert_eq!(notice["in_reply_to"], id.as_str());
    let attempts = async || a.status(&alice, &id).await["attempts"].as_u64().unwrap();
    let so_far = attempts().await;
    eventually_so("more attempts", Duration::from_secs(20), async || {
        (attempts().await > so_far + 2).then_some(())
    })
    .await;
    assert_eq!(a.inbox(&alice).await.len(), 1, "once");
    assert_eq!(a.status(&alice, &id).await["status"], "retrying");
}
