//! The operator's hands: queue, dead letters, trace, workers, as commands.

use std::net::{IpAddr, SocketAddr};
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::behaviour::Behaviour;
use crate::support::peer::ScriptedPeer;
use crate::support::site::{Site, World};
use crate::support::{amtpd, words};

const SOON: Duration = Duration::from_secs(30);

/// Runs a command as the operator, and gives what it prints.
fn run(world: &World, site: &Site, arguments: &[&str]) -> Value {
    let done = operate(world, site, arguments);
    assert!(done.status.success(), "{arguments:?}: {}", words(&done));
    serde_json::from_slice(&done.stdout).unwrap_or_else(|_| panic!("{}", words(&done)))
}

fn operate(world: &World, site: &Site, arguments: &[&str]) -> Output {
    amtpd()
        .args(arguments)
        .args(["--json", "--gateway", &site.admin_url(), "--resolve"])
        .arg(site.https().ip().to_string())
        .arg("--ca-file")
        .arg(world.ca.pem_path())
        .env("AMTP_KEY", site.admin_key())
        .output()
        .unwrap()
}

async fn meet(address: &str) -> (World, Site, ScriptedPeer) {
    meet_with(address, &[]).await
}

async fn meet_with(address: &str, variables: &[(&str, &str)]) -> (World, Site, ScriptedPeer) {
    let world = World::new("127.0.0.1:0".parse().unwrap(), &["a.test", "b.test"]);
    let here: IpAddr = address.parse().unwrap();
    let peer = ScriptedPeer::start(SocketAddr::new(here, 0), &world.certificate("b.test"));
    world.publish("b.test", peer.address(), "");
    let site = world.start("a.test", address, variables).await;
    (world, site, peer)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_waits_over_a_restart_and_goes_when_it_is_released() {
    let (world, mut a, peer) = meet("127.0.7.1").await;
    let alice = a.agent("alice").await;
    peer.always(Behaviour::RetryAfter(503, 0));
    let mut ids = Vec::new();
    for n in 0..3 {
        ids.push(a.send(&alice, &["bob@b.test"], json!(n)).await);
    }
    a.reaches(&alice, &ids[0], "retrying").await;
    let held = run(&world, &a, &["queue", "hold", "--domain", "b.test"]);
    assert_eq!(held["changed"], 3, "{held}");
    for id in &ids {
        a.reaches(&alice, id, "held").await;
    }
    peer.always(Behaviour::Accept);
    let before = peer.requests().len();
    a.kill();
    a.run().await;
    let waits = run(&world, &a, &["queue", "list", "--state", "held"]);
    assert_eq!(waits["deliveries"].as_array().unwrap().len(), 3, "{waits}");
    // Another message to the same recipient is not held up by those that are.
    let other = a.send(&alice, &["bob@b.test"], json!("other")).await;
    a.reaches(&alice, &other, "delivered").await;
    assert_eq!(peer.requests().len(), before + 1);
    run(&world, &a, &["queue", "release", "--domain", "b.test"]);
    for id in &ids {
        a.reaches(&alice, id, "delivered").await;
    }
    let sent = peer.requests();
    let order: Vec<&Value> = sent[before..]
        .iter()
        .map(|seen| &seen.json["payload"])
        .collect();
    assert_eq!(order, [&json!("other"), &json!(0), &json!(1), &json!(2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_shown_replayed_and_dropped() {
    let (world, a, peer) = meet("127.0.7.2").await;
    let alice = a.agent("alice").await;
    peer.answer(Behaviour::error(403, "POLICY_DENIED"));
    peer.answer(Behaviour::error(403, "POLICY_DENIED"));
    let first = a.send(&alice, &["bob@b.test"], json!(1)).await;
    let second = a.send(&alice, &["bob@b.test"], json!(2)).await;
    a.reaches(&alice, &first, "failed").await;
    a.reaches(&alice, &second, "failed").await;
    let list = run(&world, &a, &["dead-letter", "list"]);
    let letters = list["dead_letters"].as_array().unwrap();
    assert_eq!(letters.len(), 2, "{list}");
    assert_eq!(letters[0]["bounce"], "sent");
    let number = |id: &str| {
        let letter = letters.iter().find(|it| it["message_id"] == id).unwrap();
        letter["id"].to_string().trim_matches('"').to_owned()
    };
    let shown = run(&world, &a, &["dead-letter", "show", &number(&first)]);
    assert_eq!(shown["original_message"]["payload"], 1, "{shown}");
    assert_eq!(shown["failure_reason"]["code"], "POLICY_DENIED");
    run(&world, &a, &["dead-letter", "replay", &number(&first)]);
    a.reaches(&alice, &first, "delivered").await;
    let sent = peer.requests();
    assert_ne!(
        sent.last().unwrap().json["idempotency_key"],
        sent[0].json["idempotency_key"],
        "it travels under a fresh identity"
    );
    run(&world, &a, &["dead-letter", "drop", &number(&second)]);
    let list = run(&world, &a, &["dead-letter", "list"]);
    assert!(
        list["dead_letters"].as_array().unwrap().is_empty(),
        "{list}"
    );
    let done = operate(&world, &a, &["dead-letter", "show", "999"]);
    assert_eq!(done.status.code(), Some(1), "{}", words(&done));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_shows_every_attempt_and_workers_say_what_they_do() {
    let (world, a, peer) = meet("127.0.7.3").await;
    let alice = a.agent("alice").await;
    peer.answer(Behaviour::RetryAfter(503, 0));
    peer.answer(Behaviour::error(500, "INTERNAL_ERROR"));
    let id = a.send(&alice, &["bob@b.test"], json!(1)).await;
    a.reaches(&alice, &id, "delivered").await;
    let trace = run(&world, &a, &["message", "trace", &id, "--no-peer"]);
    let text = trace.to_string();
    for part in ["503", "INTERNAL_ERROR", "delivered", "127.0.7.3"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let workers = run(&world, &a, &["workers"]);
    let names: Vec<&str> = workers["workers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["name"].as_str().unwrap())
        .collect();
    assert!(names.contains(&"queue"), "{workers}");
    peer.always(Behaviour::RetryAfter(429, 3_600));
    let id = a.send(&alice, &["bob@b.test"], json!(2)).await;
    a.reaches(&alice, &id, "retrying").await;
    let workers = run(&world, &a, &["workers"]).to_string();
    assert!(workers.contains("domain:b.test is down"), "{workers}");
    peer.always(Behaviour::Accept);
    run(&world, &a, &["queue", "retry", "--domain", "b.test"]);
    a.reaches(&alice, &id, "delivered").await;
}

#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::disallowed_methods, reason = "the time that really went by")]
async fn who_was_asked_to_come_later_does_so_though_others_are_taken_meanwhile() {
    let longest = [("AMTPD__DELIVERY__RETRY__MAX", "1m")];
    let (_world, a, peer) = meet_with("127.0.7.4", &longest).await;
    let alice = a.agent("alice").await;
    // Its answer comes piece by piece, after the other was sent away.
    peer.answer(Behaviour::SlowBody(Duration::from_millis(10)));
    peer.answer(Behaviour::RetryAfter(429, 4));
    let first = a.send(&alice, &["bob@b.test"], json!(1)).await;
    peer.wait_for(1, SOON).await;
    a.send(&alice, &["eve@b.test"], json!(2)).await;
    peer.wait_for(2, SOON).await;
    let sent_away = Instant::now();
    a.reaches(&alice, &first, "delivered").await;
    let requests = peer.wait_for(3, SOON).await;
    assert_eq!(requests[2].json["recipients"][0], "eve@b.test");
    let waited = sent_away.elapsed();
    assert!(waited > Duration::from_secs(3), "{waited:?}");
}
