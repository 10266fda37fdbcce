//! A gateway that takes signed mail only: `signature_policy: reject`.

use std::path::PathBuf;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::signing::{key, signing, verification};
use crate::support::Agent;
use crate::support::site::{FEATURES, Site, World};

const REJECT: &str = "version: \"1.0\"\ndefault_policy: allow\nrules:\n  \
    - {direction: inbound, action: allow, signature_policy: reject}\n";

/// A folder with the policy.
fn policy(world: &World) -> PathBuf {
    let folder = world.folder.path().join("rejecting");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("reject.yaml"), REJECT).unwrap();
    folder
}

/// A running gateway that signs under `k1` and takes signed mail only.
async fn rejecting(world: &World, domain: &str, address: &str) -> Site {
    let (folder, file) = (policy(world), key(world, domain, "k1", "ES256"));
    let variables = [
        ("AMTPD__SIGNING__SELECTOR", "k1"),
        ("AMTPD__SIGNING__KEY_FILE", file.to_str().unwrap()),
        ("AMTPD__POLICIES__DIR", folder.to_str().unwrap()),
    ];
    world.start(domain, address, &variables).await
}

/// Three gateways: a signs, b signs, c signs and takes signed mail only.
async fn three(addresses: [&str; 3]) -> (World, [Site; 3], [Agent; 3]) {
    let domains = ["a.test", "b.test", "c.test"];
    let world = World::new("127.0.0.1:0".parse().unwrap(), &domains);
    let a = signing(&world, "a.test", addresses[0], "ES256").await;
    let b = signing(&world, "b.test", addresses[1], "RS256").await;
    let c = rejecting(&world, "c.test", addresses[2]).await;
    let agents = [
        a.agent("alice").await,
        b.agent("bob").await,
        c.agent("carol").await,
    ];
    (world, [a, b, c], agents)
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_mail_passes_and_what_is_forged_is_refused() {
    let (_world, [a, b, c], [alice, bob, carol]) =
        three(["127.0.9.1", "127.0.9.2", "127.0.9.3"]).await;
    let marked = json!({ "sender": alice.address, "recipients": [carol.address], "payload": 1,
        "x-unknown": { "a": [1.10, null] } });
    a.submit(&alice, marked).await;
    let genuine = c.mail(&carol, 1).await.remove(0);
    b.send(&bob, &[&carol.address], json!(2)).await;
    c.send(&carol, &[&alice.address, &bob.address], json!(3))
        .await;
    let mail = c.mail(&carol, 2).await;
    assert_eq!(
        verification(&mail[0]),
        ("verified", "k1", "ES256"),
        "{}",
        mail[0]
    );
    assert_eq!(
        verification(&mail[1]),
        ("verified", "k1", "RS256"),
        "{}",
        mail[1]
    );
    for (site, agent) in [(&a, &alice), (&b, &bob)] {
        assert_eq!(
            verification(&site.mail(agent, 1).await[0]),
            ("verified", "k1", "ES256")
        );
    }
    // b's signature is of an algorithm that a's key is not for; null removes a member.
    let mut unknown = genuine["signature"].clone();
    unknown["keyid"] = json!("k9");
    for (member, value, status, expected) in [
        ("payload", json!(1), 202, ""),
        ("payload", json!(2), 403, "SIGNATURE_INVALID"),
        (
            "x-unknown",
            json!({"a": [2, null]}),
            403,
            "SIGNATURE_INVALID",
        ),
        ("x-more", json!(1), 403, "SIGNATURE_INVALID"),
        ("sender", json!("eve@a.test"), 403, "SIGNATURE_INVALID"),
        ("sender", json!("bob@b.test"), 403, "SIGNATURE_INVALID"),
        (
            "signature",
            mail[1]["signature"].clone(),
            403,
            "SIGNATURE_INVALID",
        ),
        ("signature", json!(null), 403, "SIGNATURE_REQUIRED"),
        ("signature", unknown, 503, "SIGNATURE_KEY_UNAVAILABLE"),
    ] {
        let message = changed(&genuine, &carol, (member, &value));
        let post = c.call(Method::POST, "/v1/messages", None, Some(message));
        let (found, answer) = post.await;
        let code = answer["error"]["code"].as_str().unwrap_or("");
        let found = (found.as_u16(), code);
        assert_eq!(found, (status, expected), "{member} {value}: {answer}");
    }
    // The genuine one is known already, and of the others nothing is stored.
    assert_eq!(c.inbox(&carol).await.len(), 2);
    let (_, list) = c
        .admin(Method::GET, "/v1/messages?sender=eve@a.test", None)
        .await;
    assert_eq!(list["messages"], json!([]));
}

/// A message as its gateway sent it, from what the inbox shows, with one member changed.
fn changed(mail: &Value, to: &Agent, (member, value): (&str, &Value)) -> Value {
    let mut message = mail.clone();
    let members = message.as_object_mut().unwrap();
    for added in ["sender_verification", "status", "cursor"] {
        members.remove(added);
    }
    members.insert("recipients".to_owned(), json!([to.address]));
    match value {
        Value::Null => drop(members.remove(member)),
        value => drop(members.insert(member.to_owned(), value.clone())),
    }
    message
}

#[tokio::test(flavor = "multi_thread")]
async fn unsigned_mail_is_not_taken_and_its_gateway_tries_again() {
    let domains = ["a.test", "c.test"];
    let world = World::new("127.0.0.1:0".parse().unwrap(), &domains);
    let a = world.start("a.test", "127.0.9.4", &[]).await;
    let c = rejecting(&world, "c.test", "127.0.9.5").await;
    let (alice, carol) = (a.agent("alice").await, c.agent("carol").await);
    let id = a.send(&alice, &[&carol.address], json!(1)).await;
    // Who is asked for a signature may get one yet: its gateway tries for an hour.
    let found = a.reaches(&alice, &id, "retrying").await;
    assert_eq!(
        found["recipients"][0]["error_code"], "SIGNATURE_REQUIRED",
        "{found}"
    );
    assert!(c.inbox(&carol).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_waits_for_the_record_of_its_key() {
    let (world, [a, _b, c], [alice, _bob, carol]) =
        three(["127.0.9.6", "127.0.9.7", "127.0.9.8"]).await;
    world.dns.fail("k1._amtpkey.a.test");
    let id = a.send(&alice, &[&carol.address], json!(1)).await;
    let found = a.reaches(&alice, &id, "retrying").await;
    let code = &found["recipients"][0]["error_code"];
    assert_eq!(code, "SIGNATURE_KEY_UNAVAILABLE", "{found}");
    assert!(c.inbox(&carol).await.is_empty());
    // As a client sees it: come again.
    let asked = c.caller();
    let signature = json!({ "algorithm": "ES256", "keyid": "k1", "value": "A".repeat(86) });
    let body = json!({ "version": "1.0", "sender": alice.address, "recipients": [carol.address],
        "message_id": uuid::Uuid::new_v4(), "idempotency_key": uuid::Uuid::new_v4(),
        "timestamp": found["created_at"], "payload": 1, "signature": signature });
    let answer = asked
        .ask(Method::POST, "/v1/messages", None, Some(body))
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    let wait: u64 = answer.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    key_again(&world, "a.test", &a);
    hurry(&a).await;
    a.reaches(&alice, &id, "delivered").await;
    assert_eq!(verification(&c.mail(&carol, 1).await[0]).0, "verified");
}

/// Publishes the record of the key that a gateway signs with.
fn key_again(world: &World, domain: &str, site: &Site) {
    let output = crate::support::amtpd()
        .args(["key", "dns", "--json", "--config"])
        .arg(site.config())
        .env("AMTPD__SIGNING__SELECTOR", "k1")
        .env(
            "AMTPD__SIGNING__KEY_FILE",
            world.folder.path().join(format!("{domain}-k1.key")),
        )
        .output()
        .unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let strings = said["records"][0]["strings"].as_array().unwrap();
    let strings: Vec<&str> = strings.iter().map(|it| it.as_str().unwrap()).collect();
    world
        .dns
        .set_txt(&format!("k1._amtpkey.{domain}"), &strings);
}

/// Lets everything that waits be tried now.
async fn hurry(site: &Site) {
    let all = Some(json!({ "all": true }));
    let path = "/v1/admin/deliveries/retry";
    let (status, answer) = site.admin(Method::POST, path, all).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_keys_loses_nothing_where_signatures_are_asked_for() {
    let (world, [mut a, _b, mut c], [alice, _bob, carol]) =
        three(["127.0.9.9", "127.0.9.10", "127.0.9.11"]).await;
    a.send(&alice, &[&carol.address], json!(0)).await;
    c.mail(&carol, 1).await;
    // What waits was signed with the old key.
    c.kill();
    for n in 1..=20 {
        a.send(&alice, &[&carol.address], json!(n)).await;
    }
    let file = key(&world, "a.test", "k2", "ES256");
    a.kill();
    a.set("AMTPD__SIGNING__SELECTOR", "k2");
    a.set("AMTPD__SIGNING__KEY_FILE", file.to_str().unwrap());
    a.set("AMTPD__SIGNING__PREVIOUS", "[k1]");
    a.run().await;
    for n in 21..=25 {
        a.send(&alice, &[&carol.address], json!(n)).await;
    }
    // The old record is gone before anything of it arrives.
    world.dns.remove("k1._amtpkey.a.test");
    world.publish("c.test", c.https(), FEATURES);
    c.run().await;
    let mail = c.mail(&carol, 26).await;
    for (n, mail) in mail.iter().enumerate() {
        assert_eq!(mail["payload"], n);
        let selector = if n == 0 { "k1" } else { "k2" };
        assert_eq!(verification(mail), ("verified", selector, "ES256"));
    }
}
