//! Mail with domain signatures between gateways: signed, forged, and under changing keys.

use std::path::PathBuf;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::site::{FEATURES, Site, World};
use crate::support::{Agent, DOMAIN, Daemon, amtpd, words};

/// A new key of a domain, published under a selector; gives the file.
pub(super) fn key(world: &World, domain: &str, selector: &str, algorithm: &str) -> PathBuf {
    let file = world.folder.path().join(format!("{domain}-{selector}.key"));
    let done = amtpd()
        .args(["key", "generate", "--json", "--algorithm", algorithm])
        .args(["--selector", selector, "--out"])
        .arg(&file)
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", words(&done));
    let said: Value = serde_json::from_slice(&done.stdout).unwrap();
    let strings: Vec<&str> = said["records"][0]["strings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|part| part.as_str().unwrap())
        .collect();
    let name = format!("{selector}._amtpkey.{domain}");
    world.dns.set_txt(&name, &strings);
    file
}

/// A running gateway that signs under `k1`.
pub(super) async fn signing(world: &World, domain: &str, address: &str, algorithm: &str) -> Site {
    let file = key(world, domain, "k1", algorithm);
    let file = file.to_str().unwrap();
    let variables = [
        ("AMTPD__SIGNING__SELECTOR", "k1"),
        ("AMTPD__SIGNING__KEY_FILE", file),
    ];
    world.start(domain, address, &variables).await
}

pub(super) fn verification(mail: &Value) -> (&str, &str, &str) {
    let record = &mail["sender_verification"];
    let word = |name: &str| record[name].as_str().unwrap_or("");
    (word("result"), word("keyid"), word("algorithm"))
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_mail_is_verified_and_a_forged_one_is_not() {
    let domains = ["a.test", "b.test", "c.test"];
    let world = World::new("127.0.0.1:0".parse().unwrap(), &domains);
    let a = signing(&world, "a.test", "127.0.2.1", "ES256").await;
    let b = signing(&world, "b.test", "127.0.2.2", "ES256").await;
    let c = signing(&world, "c.test", "127.0.2.3", "RS256").await;
    let (alice, bob, carol) = (
        a.agent("alice").await,
        b.agent("bob").await,
        c.agent("carol").await,
    );
    // Enough for batches, to two domains: every body is signed for itself.
    for n in 0..50 {
        let to = [bob.address.as_str(), carol.address.as_str()];
        a.send(&alice, &to, json!({ "n": n, "price": 29.99 })).await;
    }
    for (site, agent) in [(&b, &bob), (&c, &carol)] {
        for mail in site.mail(agent, 50).await {
            assert_eq!(verification(&mail), ("verified", "k1", "ES256"), "{mail}");
        }
    }
    let id = c.send(&carol, &[&bob.address], json!("by RSA")).await;
    c.reaches(&carol, &id, "delivered").await;
    let mail = b.mail(&bob, 51).await;
    assert_eq!(verification(&mail[50]), ("verified", "k1", "RS256"));
    // What has a number that cannot be signed goes unsigned; its gateway calls from another address.
    let body = json!({ "sender": alice.address, "recipients": [bob.address],
        "payload": { "n": 9_007_199_254_740_993_u64 } });
    a.submit(&alice, body).await;
    let mail = b.mail(&bob, 52).await;
    assert_eq!(verification(&mail[51]), ("unsigned", "", ""));
    forged(&world, &b, &bob, &mail[0]).await;
}

/// What others send in alice's name.
async fn forged(world: &World, b: &Site, bob: &Agent, genuine: &Value) {
    let mut message = genuine.clone();
    for added in ["sender_verification", "status", "cursor"] {
        message.as_object_mut().unwrap().remove(added);
    }
    message["recipients"] = json!([bob.address]);
    let other = |number: u32, change: &dyn Fn(&mut Value)| {
        let mut message = message.clone();
        message["idempotency_key"] = json!(format!("01234567-89ab-4cde-8123-{number:012}"));
        change(&mut message);
        message
    };
    // Who writes to nobody makes us ask for no key.
    let nobody = other(0, &|it| {
        it["signature"]["keyid"] = json!("k77");
        it["recipients"] = json!(["nobody@b.test"]);
    });
    let (status, _) = b
        .call(Method::POST, "/v1/messages", None, Some(nobody))
        .await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(world.dns.queries("k77._amtpkey.a.test"), 0);
    for (at, (body, result)) in [
        (other(1, &|_| {}), "invalid"),
        (
            other(2, &|it| it["signature"]["keyid"] = json!("k9")),
            "key_unavailable",
        ),
        (
            other(3, &|it| it["signature"]["keyid"] = json!("K1")),
            "invalid",
        ),
        (
            other(4, &|it| {
                drop(it.as_object_mut().unwrap().remove("signature"))
            }),
            "unsigned",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let (status, answer) = b.call(Method::POST, "/v1/messages", None, Some(body)).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
        let mail = b.mail(bob, 53 + at).await;
        let found = verification(&mail[52 + at]);
        assert_eq!(found.0, result, "{}", mail[52 + at]);
    }
    // Names in the DNS have no case: it was asked for under k1 only.
    assert_eq!(world.dns.queries("k9._amtpkey.a.test"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_keys_loses_nothing() {
    let world = World::new("127.0.0.1:0".parse().unwrap(), &["a.test", "b.test"]);
    let mut a = signing(&world, "a.test", "127.0.2.4", "ES256").await;
    let mut b = world.start("b.test", "127.0.2.5", &[]).await;
    let (alice, bob) = (a.agent("alice").await, b.agent("bob").await);
    a.send(&alice, &[&bob.address], json!(0)).await;
    assert_eq!(verification(&b.mail(&bob, 1).await[0]).1, "k1");
    // What waits was signed with the old key already.
    b.kill();
    for n in 1..=10 {
        a.send(&alice, &[&bob.address], json!(n)).await;
    }
    let id = a.send(&alice, &[&bob.address], json!(11)).await;
    a.reaches(&alice, &id, "retrying").await;
    // The new record first, then the switch.
    let file = key(&world, "a.test", "k2", "ES256");
    a.kill();
    a.set("AMTPD__SIGNING__SELECTOR", "k2");
    a.set("AMTPD__SIGNING__KEY_FILE", file.to_str().unwrap());
    a.set("AMTPD__SIGNING__PREVIOUS", "[k1]");
    a.run().await;
    a.send(&alice, &[&bob.address], json!(12)).await;
    world.publish("b.test", b.https(), FEATURES);
    b.run().await;
    let mail = b.mail(&bob, 13).await;
    for (n, mail) in mail.iter().enumerate() {
        let selector = if n == 0 { "k1" } else { "k2" };
        assert_eq!(mail["payload"], n);
        assert_eq!(verification(mail), ("verified", selector, "ES256"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_of_its_gateway_speaks_for_a_domain() {
    let domains = ["a.test", "b.test", "c.test"];
    let world = World::new("127.0.0.1:0".parse().unwrap(), &domains);
    let own = world.certificate("a.test");
    let (certificate, key) = (own.certificate.to_str().unwrap(), own.key.to_str().unwrap());
    let showing = [
        ("AMTPD__TLS__CLIENT_CERT_FILE", certificate),
        ("AMTPD__TLS__CLIENT_KEY_FILE", key),
    ];
    let a = world.start("a.test", "127.0.2.6", &showing).await;
    let b = world.start("b.test", "127.0.2.7", &[]).await;
    // Another's certificate speaks for nobody, and its mail comes all the same.
    let c = world.start("c.test", "127.0.2.8", &showing).await;
    let (alice, bob, carol) = (
        a.agent("alice").await,
        b.agent("bob").await,
        c.agent("carol").await,
    );
    a.send(&alice, &[&bob.address], json!(1)).await;
    let mail = b.mail(&bob, 1).await;
    let expected =
        json!({"result": "verified", "method": "client_certificate", "domain": "a.test"});
    assert_eq!(mail[0]["sender_verification"], expected);
    c.send(&carol, &[&bob.address], json!(2)).await;
    let mail = b.mail(&bob, 2).await;
    assert_eq!(verification(&mail[1]), ("unsigned", "", ""));
}

#[test]
fn keys_are_listed_and_their_records_printed() {
    let daemon = Daemon::prepare(&[]);
    let config = daemon.config();
    let file = config.with_file_name("k2.key");
    let run = |arguments: &[&str]| {
        let mut command = amtpd();
        command.arg("key").args(arguments);
        command.output().unwrap()
    };
    let of_config = |what: &str| {
        let path = config.to_str().unwrap();
        run(&[what, "--config", path, "--json"])
    };
    assert_eq!(of_config("dns").status.code(), Some(1));
    let none: Value = serde_json::from_slice(&of_config("list").stdout).unwrap();
    assert_eq!(none, json!({ "keys": [] }));
    let out = file.to_str().unwrap();
    assert!(run(&["generate", "--out", out]).status.success());
    assert_eq!(run(&["generate", "--out", out]).status.code(), Some(1));
    let bad = run(&["generate", "--selector", "K1", "--out", "x"]);
    assert_eq!(bad.status.code(), Some(2));
    let mut text = std::fs::read_to_string(config).unwrap();
    text.push_str("\nsigning: {selector: k2, key_file: k2.key, previous: [k1]}\n");
    std::fs::write(config, text).unwrap();
    let listed: Value = serde_json::from_slice(&of_config("list").stdout).unwrap();
    assert_eq!(listed["keys"][0]["state"], "signing");
    assert_eq!(listed["keys"][0]["algorithm"], "ES256");
    assert_eq!(listed["keys"][1]["selector"], "k1");
    let records: Value = serde_json::from_slice(&of_config("dns").stdout).unwrap();
    let name = format!("k2._amtpkey.{DOMAIN}");
    assert_eq!(records["records"][0]["name"], name.as_str());
    assert_eq!(records["keep"][0], format!("k1._amtpkey.{DOMAIN}"));
}
