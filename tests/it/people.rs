//! Mail to people: a gateway before a real mail server.

mod answers;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use hickory_resolver::proto::rr::rdata::MX;
use hickory_resolver::proto::rr::{Name, RData};
use hyper::Method;
use serde_json::{Value, json};

use crate::support::behaviour::Behaviour;
use crate::support::dkim::python;
use crate::support::peer::ScriptedPeer;
use crate::support::postfix::Postfix;
use crate::support::site::{Site, World};
use crate::support::{Agent, amtpd, eventually, eventually_so, words};

/// A world with a gateway of `a.test` at an address, and the mail server of `people.test` beside it.
struct Town {
    world: World,
    postfix: Postfix,
    server: SocketAddr,
    a: Site,
    alice: Agent,
}

impl Town {
    async fn build(address: &str, users: &[&str], variables: &[(&str, &str)]) -> Self {
        let world = World::new("127.0.0.1:0".parse().unwrap(), &["a.test"]);
        let server = free(address);
        let folder = world.folder.path().join("mx");
        std::fs::create_dir_all(&folder).unwrap();
        let issued = world.ca.issue(&["mx.people.test"], &folder);
        let postfix = Postfix::start(server, "people.test", users, &issued);
        exchange(&world, "people.test", "mx.people.test");
        world.dns.set_a("mx.people.test", server.ip());
        let port = server.port().to_string();
        let bridge = [
            ("AMTPD__BRIDGE__HOST", "gateway.a.test"),
            ("AMTPD__BRIDGE__PORT", port.as_str()),
            ("AMTPD__NET__ALLOW__SMTP", "[127.0.0.0/8]"),
        ];
        let all = [&bridge, variables].concat();
        let a = world.start("a.test", address, &all).await;
        let alice = a.agent("alice").await;
        Self {
            world,
            postfix,
            server,
            a,
            alice,
        }
    }

    /// Where the mail server is.
    fn server(&self) -> SocketAddr {
        self.server
    }

    /// The mails a person has, as soon as there are so many.
    async fn mails(&self, user: &str, count: usize) -> Vec<std::path::PathBuf> {
        eventually("mails", Duration::from_secs(30), || {
            let mails = self.postfix.mails(user);
            (mails.len() >= count).then_some(mails)
        })
        .await
    }

    /// What became of one recipient, as soon as it is this.
    async fn recipient(&self, id: &str, address: &str, status: &str) -> Value {
        let what = format!("{address} {status}");
        eventually_so(&what, Duration::from_secs(30), async || {
            let found = self.a.status(&self.alice, id).await;
            let all = found["recipients"].as_array().unwrap().clone();
            let one = all.into_iter().find(|it| it["address"] == address)?;
            (one["status"] == status).then_some(one)
        })
        .await
    }

    async fn trace(&self, id: &str) -> String {
        let path = format!("/v1/messages/{id}/trace");
        let asked = self.a.call(Method::GET, &path, Some(&self.alice.key), None);
        asked.await.1.to_string()
    }
}

/// A port at this address that nobody has.
fn free(address: &str) -> SocketAddr {
    let taken = std::net::TcpListener::bind((address, 0)).unwrap();
    taken.local_addr().unwrap()
}

fn exchange(world: &World, domain: &str, host: &str) {
    let host = Name::from_ascii(format!("{host}.")).unwrap();
    world
        .dns
        .set_records(domain, vec![RData::MX(MX::new(10, host))]);
}

/// A mail as Python reads it, its signatures checked by dkimpy.
fn read_mail(mail: &Path, records: &Value) -> Value {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/people/read.py");
    let done = python()
        .arg(script)
        .arg(mail)
        .arg(records.to_string())
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", words(&done));
    serde_json::from_slice(&done.stdout).unwrap()
}

fn make_key(file: &Path, options: &[&str]) -> String {
    let done = Command::new("openssl")
        .arg("genpkey")
        .args(options)
        .arg("-out")
        .arg(file)
        .output();
    let done = done.unwrap();
    assert!(done.status.success(), "{}", words(&done));
    file.display().to_string()
}

/// The records that the gateway's configuration asks for, by name.
fn records(town: &Town, variables: &[(&str, &str)]) -> Value {
    let done = amtpd()
        .args(["bridge", "dns", "--json", "--config"])
        .arg(town.a.config())
        .env("AMTPD__BRIDGE__HOST", "gateway.a.test")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", words(&done));
    let found: Value = serde_json::from_slice(&done.stdout).unwrap();
    let list = found["records"].as_array().unwrap().iter();
    let texts = list.filter(|it| it["type"] == "TXT");
    Value::Object(
        texts
            .map(|it| (it["name"].as_str().unwrap().to_owned(), it["data"].clone()))
            .collect(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_gets_a_signed_mail_and_a_stranger_loses_nothing_for_her() {
    let keys = tempfile::tempdir().unwrap();
    let rsa = make_key(
        &keys.path().join("rsa.pem"),
        &["-algorithm", "rsa", "-pkeyopt", "rsa_keygen_bits:2048"],
    );
    let ed = make_key(&keys.path().join("ed.pem"), &["-algorithm", "ed25519"]);
    let dkim = [
        ("AMTPD__BRIDGE__DKIM__SELECTOR", "r1"),
        ("AMTPD__BRIDGE__DKIM__KEY_FILE", rsa.as_str()),
        ("AMTPD__BRIDGE__DKIM__SECOND_SELECTOR", "e1"),
        ("AMTPD__BRIDGE__DKIM__SECOND_KEY_FILE", ed.as_str()),
        ("AMTPD__BRIDGE__TLS", "required"),
    ];
    let town = Town::build("127.0.31.1", &["dora"], &dkim).await;
    let place = format!("/v1/admin/agents/{}", town.alice.address);
    for (name, status) in [("A\r\nBcc: eve@evil.test", 400), ("Grüne Läden", 200)] {
        let named = json!({ "display_name": name });
        let answer = town.a.admin(Method::PATCH, &place, Some(named)).await;
        assert_eq!(answer.0, status, "{}", answer.1);
    }
    let message = json!({
        "sender": town.alice.address,
        "recipients": ["dora@people.test", "nobody@people.test"],
        "subject": "Größe der Bestellung",
        "payload": { "menge": 1000, "preis": "12,50 €" },
    });
    let id = town.a.submit(&town.alice, message).await;
    let mail = town.mails("dora", 1).await.remove(0);
    let read = read_mail(&mail, &records(&town, &dkim));
    assert_eq!(read["subject"], "[AMTP] Größe der Bestellung");
    assert_eq!(read["signatures"], json!([true, true]), "{read}");
    assert_eq!(read["changed"], false, "{read}");
    assert_eq!(read["reply_to"], "Grüne Läden <alice@a.test>");
    assert_eq!(read["auto"], "auto-generated");
    assert_eq!(read["message_id"], format!("<{id}@a.test>"));
    assert_eq!(read["message"]["message_id"], id);
    assert_eq!(read["message"]["payload"]["preis"], "12,50 €");
    assert_eq!(read["defects"], json!([]));
    let words = |name: &str| read[name].as_str().unwrap().to_owned();
    assert_eq!(words("from"), "Grüne Läden via AMTP <amtp-bridge@a.test>");
    assert!(words("return_path").starts_with("<bounce+"), "{read}");
    assert!(words("received").contains("TLS"), "{read}");
    assert!(words("text").contains("12,50 €"), "{read}");
    // Who does not exist is told from who does.
    town.recipient(&id, "dora@people.test", "delivered").await;
    let nobody = town.recipient(&id, "nobody@people.test", "failed").await;
    assert_eq!(nobody["error_code"], "RECIPIENT_NOT_FOUND", "{nobody}");
    let trace = town.trace(&id).await;
    assert!(trace.contains("550 5.1.1"), "{trace}");
    assert!(trace.contains("it goes on as mail"), "{trace}");
    let bounce = town.a.mail(&town.alice, 1).await.remove(0);
    assert_eq!(bounce["message_type"], "delivery_failure", "{bounce}");
    assert_eq!(
        bounce["payload"]["failed_recipients"],
        json!(["nobody@people.test"])
    );
    // No more mail goes there until somebody says so.
    let listed = town
        .a
        .admin(Method::GET, "/v1/admin/suppressions", None)
        .await;
    assert_eq!(
        listed.1["suppressions"][0]["address"], "nobody@people.test",
        "{}",
        listed.1
    );
    let again = town
        .a
        .send(&town.alice, &["nobody@people.test"], json!(1))
        .await;
    town.recipient(&again, "nobody@people.test", "failed").await;
    assert!(
        town.trace(&again)
            .await
            .contains("no mail goes to nobody@people.test")
    );
    let place = "/v1/admin/suppressions/nobody@people.test";
    assert_eq!(town.a.admin(Method::DELETE, place, None).await.0, 204);
    assert_eq!(town.a.admin(Method::DELETE, place, None).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn greylisting_and_a_server_that_is_down_delay_mail_and_lose_none() {
    let town = Town::build("127.0.31.2", &["dora"], &[]).await;
    town.postfix
        .answer("dora@people.test 450 4.2.0 Greylisted, come again\n");
    let id = town
        .a
        .send(&town.alice, &["dora@people.test"], json!(1))
        .await;
    town.recipient(&id, "dora@people.test", "retrying").await;
    eventually_so("a greylisting", Duration::from_secs(30), async || {
        town.trace(&id).await.contains("450 4.2.0").then_some(())
    })
    .await;
    town.postfix.answer("");
    town.recipient(&id, "dora@people.test", "delivered").await;
    town.mails("dora", 1).await;
    town.postfix.stop();
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(
            town.a
                .send(&town.alice, &["dora@people.test"], json!(number))
                .await,
        );
    }
    eventually_so("nobody to reach", Duration::from_secs(30), async || {
        town.trace(&ids[0])
            .await
            .contains("can be reached")
            .then_some(())
    })
    .await;
    town.postfix.start_again();
    for id in &ids {
        town.recipient(id, "dora@people.test", "delivered").await;
    }
    let mails = town.mails("dora", 6).await;
    let mut seen: Vec<String> = mails
        .iter()
        .map(|mail| {
            read_mail(mail, &json!({}))["message"]["message_id"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 6, "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_behind_an_earlier_mail_is_not_counted_as_tried() {
    let dora = "dora@people.test";
    let town = Town::build("127.0.31.13", &["dora"], &[]).await;
    town.postfix
        .answer("dora@people.test 450 4.2.0 Greylisted, come again\n");
    let first = town.a.send(&town.alice, &[dora], json!(1)).await;
    let second = town.a.send(&town.alice, &[dora], json!(2)).await;
    eventually_so("three attempts", Duration::from_secs(60), async || {
        let tried = town.recipient(&first, dora, "retrying").await;
        (tried["attempts"].as_u64() >= Some(3)).then_some(())
    })
    .await;
    let waits = town.recipient(&second, dora, "queued").await;
    assert_eq!(waits["attempts"], 0, "{waits}");
    town.postfix.answer("");
    for id in [&first, &second] {
        town.recipient(id, dora, "delivered").await;
    }
    let went = town.recipient(&second, dora, "delivered").await;
    assert_eq!(went["attempts"], 1, "{went}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_a_gateway_does_not_know_may_have_mail() {
    let town = Town::build("127.0.31.3", &["dora"], &[]).await;
    let issued = town.world.certificate("people.test");
    let peer = ScriptedPeer::start("127.0.31.3:0".parse().unwrap(), &issued);
    let unknown = json!({ "error": { "code": "AGENT_UNKNOWN", "message": "no such agent" } });
    peer.always(Behaviour::json(404, &unknown));
    town.world.publish("people.test", peer.address(), "");
    let mut a = town.a;
    a.kill();
    a.set("AMTPD__PEERS", "{people.test: {allow_private: true}}");
    a.run().await;
    let town = Town { a, ..town };
    let id = town
        .a
        .send(&town.alice, &["dora@people.test"], json!(1))
        .await;
    town.recipient(&id, "dora@people.test", "delivered").await;
    assert_eq!(town.mails("dora", 1).await.len(), 1);
    // Any other refusal is final: nothing else goes to people.
    let denied = json!({ "error": { "code": "POLICY_DENIED", "message": "no" } });
    peer.always(Behaviour::json(403, &denied));
    let id = town
        .a
        .send(&town.alice, &["dora@people.test"], json!(2))
        .await;
    let failed = town.recipient(&id, "dora@people.test", "failed").await;
    assert_eq!(failed["error_code"], "POLICY_DENIED");
    assert_eq!(town.postfix.mails("dora").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_gateway_does_not_take_for_long_enough_goes_on_as_mail() {
    let retry = [
        ("AMTPD__DELIVERY__RETRY__ATTEMPTS", "2"),
        ("AMTPD__DELIVERY__RETRY__INITIAL", "100ms"),
        ("AMTPD__PEERS", "{people.test: {allow_private: true}}"),
    ];
    let town = Town::build("127.0.31.10", &["dora"], &retry).await;
    let issued = town.world.certificate("people.test");
    let peer = ScriptedPeer::start("127.0.31.10:0".parse().unwrap(), &issued);
    peer.always(Behaviour::json(503, &json!({})));
    town.world.publish("people.test", peer.address(), "");
    let id = town
        .a
        .send(&town.alice, &["dora@people.test"], json!(1))
        .await;
    town.recipient(&id, "dora@people.test", "delivered").await;
    assert_eq!(town.mails("dora", 1).await.len(), 1);
    let trace = town.trace(&id).await;
    assert!(trace.contains("it goes on as mail"), "{trace}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_keeps_mail_from_people() {
    const POLICY: &str = "version: \"1.0\"\ndefault_policy: allow\nrules:\n  \
        - {direction: bridge-out, recipient_pattern: \"eve@people.test\", action: deny}\n";
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mail.yaml"), POLICY).unwrap();
    let dir = folder.path().to_str().unwrap();
    let variables = [("AMTPD__POLICIES__DIR", dir)];
    let town = Town::build("127.0.31.4", &["dora", "eve"], &variables).await;
    let both = ["dora@people.test", "eve@people.test"];
    let id = town.a.send(&town.alice, &both, json!(1)).await;
    town.recipient(&id, "dora@people.test", "delivered").await;
    let eve = town.recipient(&id, "eve@people.test", "failed").await;
    assert_eq!(eve["error_code"], "RECIPIENT_NOT_FOUND");
    assert!(town.postfix.mails("eve").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_looks_at_what_mail_needs() {
    let keys = tempfile::tempdir().unwrap();
    let ed = make_key(&keys.path().join("ed.pem"), &["-algorithm", "ed25519"]);
    let dkim = [
        ("AMTPD__BRIDGE__DKIM__SELECTOR", "e1"),
        ("AMTPD__BRIDGE__DKIM__KEY_FILE", ed.as_str()),
    ];
    let town = Town::build("127.0.31.12", &["dora"], &dkim).await;
    let looked = || {
        let done = amtpd()
            .args(["doctor", "a.test", "--json", "--config"])
            .arg(town.a.config())
            .args(["--dns", &town.world.dns.address().to_string()])
            .env("AMTPD__BRIDGE__HOST", "gateway.a.test")
            .env("AMTPD__NET__ALLOW__SMTP", "[127.0.0.0/8]")
            .env(
                "AMTPD__DNS__SERVERS",
                format!("[\"{}\"]", town.world.dns.address()),
            )
            .envs(dkim)
            .output()
            .unwrap();
        let report: Value = serde_json::from_slice(&done.stdout).unwrap();
        let checks = report["checks"].as_array().unwrap().clone();
        move |name: &str| -> Vec<String> {
            let of_name = checks.iter().filter(|check| check["name"] == name);
            let result = |check: &Value| match check["result"].as_str() {
                Some("ok") => "ok".to_owned(),
                _ => check.to_string(),
            };
            of_name.map(result).collect()
        }
    };
    let before = looked();
    for name in ["spf", "dmarc", "dkim", "reverse"] {
        let said = before(name);
        assert!(said.iter().any(|it| it != "ok"), "{name}: {said:?}");
    }
    exchange(&town.world, "a.test", "gateway.a.test");
    for (name, data) in records(&town, &dkim).as_object().unwrap() {
        let data = data.as_str().unwrap().as_bytes();
        let strings: Vec<&str> = data
            .chunks(200)
            .map(|piece| std::str::from_utf8(piece).unwrap())
            .collect();
        town.world.dns.set_txt(name, &strings);
    }
    town.world.dns.set_a("gateway.a.test", town.server().ip());
    let after = looked();
    // Loopback has names of its own: what is said of `reverse` is tested beside it.
    for name in ["mx", "spf", "dmarc", "dkim", "mta-sts"] {
        let said = after(name);
        assert!(
            !said.is_empty() && said.iter().all(|it| it == "ok"),
            "{name}: {said:?}"
        );
    }
}
