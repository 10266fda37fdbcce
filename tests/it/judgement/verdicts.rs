//! Refusals: of a message, and of single recipients.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::{code, fates, payloads, ruled, send};
use crate::support::dns::DnsServer;
use crate::support::{Agent, Daemon};

const POLICY: &str = r#"
version: "1.0"
default_policy: allow
restricted:
  - {recipient_pattern: payroll@it.test, senders: ["hr@it.test"]}
rules:
  - {name: closed, recipient_pattern: "closed*@it.test", action: deny}
  - {name: small, recipient_pattern: small@it.test, action: allow, max_size: 1KiB}
  - {name: sealed, recipient_pattern: sealed@it.test, action: allow, require: [encrypted]}
  - {name: slow, recipient_pattern: slow@it.test, action: allow, rate_limit: 2/hour}
  - {name: few, recipient_pattern: few@it.test, action: allow, quota: {messages: 2}}
  - {name: bytes, recipient_pattern: bytes@it.test, action: allow, quota: {bytes: 4KiB}}
  - {name: no-secrets, schemas: ["agntcy:secret.*"], action: deny}
  - {name: known, direction: inbound, recipient_pattern: known@it.test, require: [verified], action: allow}
  - {name: seen, direction: inbound, recipient_pattern: seen@it.test, require: [trusted], action: allow}
  - {name: strict, direction: inbound, recipient_pattern: strict@it.test, signature_policy: reject, action: allow}
  - {name: kept-in, direction: outbound, sender_pattern: inside@it.test, action: deny}
"#;

/// The gateway, its agents by name, and who answers for the DNS.
async fn gateway() -> (Daemon, DnsServer) {
    let dns = DnsServer::start();
    let servers = format!("[\"{}\"]", dns.address());
    let daemon = ruled(POLICY, &[("AMTPD__DNS__SERVERS", servers.as_str())]).await;
    (daemon, dns)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_rule_refuses_is_refused_and_not_stored() {
    let (daemon, _dns) = gateway().await;
    let mut agents: Vec<Agent> = Vec::new();
    for name in "alice hr inside payroll closed small sealed".split(' ') {
        agents.push(daemon.agent(name).await);
    }
    let by = |name: &str| {
        agents
            .iter()
            .find(|it| it.address.starts_with(name))
            .unwrap()
    };
    let (plain, large) = (json!({}), json!({ "payload": "x".repeat(2_000) }));
    let jwe = json!({ "payload": { "protected": "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0",
        "iv": "AAAAAAAAAAAAAAAA", "ciphertext": "AAAA", "tag": "AAAAAAAAAAAAAAAAAAAAAA" } });
    let secret = json!({ "schema": "agntcy:secret.plan.v1" });
    let table = [
        ("alice", "closed", &plain, 403, "POLICY_DENIED"),
        ("alice", "closed+tag", &plain, 403, "POLICY_DENIED"),
        ("alice", "CLOSED", &plain, 403, "POLICY_DENIED"),
        ("alice", "small", &large, 413, "MESSAGE_TOO_LARGE"),
        ("alice", "small", &plain, 202, ""),
        ("alice", "sealed", &plain, 403, "POLICY_DENIED"),
        ("alice", "sealed", &jwe, 202, ""),
        ("alice", "payroll", &plain, 403, "POLICY_DENIED"),
        ("hr", "payroll", &plain, 202, ""),
        ("hr", "payroll", &secret, 403, "POLICY_DENIED"),
        ("inside", "alice", &plain, 202, ""),
    ];
    for (from, to, more, status, expected) in table {
        let to = format!("{to}@it.test");
        let (found, answer, _) = send(&daemon, by(from), &[&to], more.clone()).await;
        assert_eq!(
            (found.as_u16(), code(&answer)),
            (status, expected),
            "{from} {to}: {answer}"
        );
    }
    let (_, answer, _) = send(&daemon, by("inside"), &["x@other.test"], plain).await;
    assert_eq!(code(&answer), "POLICY_DENIED", "{answer}");
    for (name, count) in [("closed", 0), ("small", 1), ("sealed", 1), ("payroll", 1)] {
        assert_eq!(daemon.inbox(by(name)).await.len(), count, "{name}");
    }
    let (_, list) = daemon
        .admin(Method::GET, "/v1/admin/deliveries", None)
        .await;
    assert_eq!(list["deliveries"], json!([]), "nothing of it waits");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recipient_is_refused_by_itself_and_the_first_code_is_that_of_all() {
    let (daemon, _dns) = gateway().await;
    let (alice, bob) = (daemon.agent("alice").await, daemon.agent("bob").await);
    let closed = daemon.agent("closed").await;
    for name in ["payroll", "small"] {
        daemon.agent(name).await;
    }
    let large = json!({ "payload": "x".repeat(2_000), "idempotency_key": "k" });
    let to = [
        "closed@it.test",
        "bob@it.test",
        "small@it.test",
        "nobody@it.test",
    ];
    let expected = [
        "failed POLICY_DENIED",
        "delivered",
        "failed MESSAGE_TOO_LARGE",
        "failed AGENT_UNKNOWN",
    ];
    // A repetition is told the same, and delivers nothing twice.
    for _ in 0..2 {
        let (status, answer, _) = send(&daemon, &alice, &to, large.clone()).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
        assert_eq!(fates(&answer), expected);
    }
    assert_eq!(daemon.inbox(&bob).await.len(), 1);
    assert!(daemon.inbox(&closed).await.is_empty());
    let id = &daemon.inbox(&bob).await[0]["message_id"];
    let path = format!("/v1/messages/{}/status", id.as_str().unwrap());
    let (_, status) = daemon
        .call(Method::GET, &path, Some(&alice.key), None)
        .await;
    assert_eq!(status["status"], "partial", "{status}");
    let (mut found, mut expected) = (fates(&status), expected);
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    let unlike = json!({ "payload": "x".repeat(2_000) });
    for (to, status, expected) in [
        (["nobody@it.test", "closed@it.test"], 404, "AGENT_UNKNOWN"),
        (["closed@it.test", "nobody@it.test"], 403, "POLICY_DENIED"),
        (
            ["small@it.test", "closed@it.test"],
            413,
            "MESSAGE_TOO_LARGE",
        ),
        (["payroll@it.test", "small@it.test"], 403, "POLICY_DENIED"),
    ] {
        let (found, answer, _) = send(&daemon, &alice, &to, unlike.clone()).await;
        assert_eq!(
            (found.as_u16(), code(&answer)),
            (status, expected),
            "{answer}"
        );
        let each = &answer["error"]["details"]["recipients"];
        assert_eq!(each.as_array().unwrap().len(), 2, "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_over_a_limit_is_told_when_to_come_again_and_others_are_not() {
    let (daemon, _dns) = gateway().await;
    let (alice, carol) = (daemon.agent("alice").await, daemon.agent("carol").await);
    for name in ["slow", "few", "bytes", "bob"] {
        daemon.agent(name).await;
    }
    let small = json!({});
    let big = json!({ "payload": "x".repeat(1_800) });
    // An hour's and a day's share of one message, or of the two KiB that are missing.
    for (to, more, waits, policy) in [
        (
            "slow@it.test",
            &small,
            1_700..=1_800,
            "\"policy\";q=2;w=3600",
        ),
        (
            "few@it.test",
            &small,
            43_000..=43_200,
            "\"policy\";q=2;w=86400",
        ),
        ("bytes@it.test", &big, 43_000..=43_200, ""),
    ] {
        for sender in [&alice, &carol] {
            for _ in 0..2 {
                let (status, answer, _) = send(&daemon, sender, &[to], more.clone()).await;
                assert_eq!(status, StatusCode::ACCEPTED, "{to}: {answer}");
            }
            let (status, answer, whole) = send(&daemon, sender, &[to], more.clone()).await;
            assert_eq!(
                (status.as_u16(), code(&answer)),
                (429, "RATE_LIMIT_EXCEEDED")
            );
            let header = |name| {
                whole
                    .headers()
                    .get(name)
                    .map_or("", |it| it.to_str().unwrap())
            };
            let wait: u64 = header("retry-after").parse().unwrap();
            assert!(waits.contains(&wait), "{to}: {wait}");
            assert_eq!(header("ratelimit-policy"), policy, "{to}");
        }
    }
    // The others of a message are taken, and a message that never fits is not asked to come again.
    let (_, answer, _) = send(&daemon, &alice, &["slow@it.test", "bob@it.test"], small).await;
    assert_eq!(fates(&answer), ["failed RATE_LIMIT_EXCEEDED", "delivered"]);
    let huge = json!({ "payload": "x".repeat(5_000) });
    let (_, answer, _) = send(&daemon, &carol, &["bytes@it.test"], huge).await;
    assert_eq!(code(&answer), "MESSAGE_TOO_LARGE");
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_senders_are_held_to_what_a_rule_requires() {
    let (daemon, dns) = gateway().await;
    let mut agents = Vec::new();
    for name in ["known", "seen", "strict", "bob", "closed"] {
        agents.push(daemon.agent(name).await);
    }
    // near.test has its gateway where we call from, far.test has none.
    dns.set_txt(
        "_amtp.near.test",
        &["v=amtp1;gateway=https://gateway.near.test"],
    );
    dns.set_a("gateway.near.test", "127.0.0.1".parse().unwrap());
    let signed = json!({ "algorithm": "ES256", "keyid": "k1", "value": "A".repeat(86) });
    let post = async |domain: &str, to: &str, signature: Option<&Value>| {
        let mut body = json!({ "sender": format!("x@{domain}"), "payload": 1, "version": "1.0",
            "recipients": [format!("{to}@it.test")],
            "message_id": uuid::Uuid::new_v4(), "idempotency_key": uuid::Uuid::new_v4(),
            "timestamp": now() });
        if let Some(signature) = signature {
            body["signature"] = signature.clone();
        }
        let (status, answer) = daemon
            .call(Method::POST, "/v1/messages", None, Some(body))
            .await;
        (status.as_u16(), code(&answer).to_owned())
    };
    for (domain, to, signature, status, expected) in [
        ("near.test", "known", None, 403, "SIGNATURE_REQUIRED"),
        ("near.test", "seen", None, 202, ""),
        ("near.test", "strict", None, 403, "SIGNATURE_REQUIRED"),
        ("near.test", "bob", None, 202, ""),
        ("near.test", "closed", None, 403, "POLICY_DENIED"),
        ("far.test", "seen", None, 403, "POLICY_DENIED"),
        ("far.test", "bob", None, 202, ""),
        (
            "far.test",
            "known",
            Some(&signed),
            503,
            "SIGNATURE_KEY_UNAVAILABLE",
        ),
        (
            "far.test",
            "strict",
            Some(&signed),
            503,
            "SIGNATURE_KEY_UNAVAILABLE",
        ),
        (
            "far.test",
            "seen",
            Some(&signed),
            503,
            "SIGNATURE_KEY_UNAVAILABLE",
        ),
        ("far.test", "bob", Some(&signed), 202, ""),
    ] {
        let found = post(domain, to, signature).await;
        assert_eq!(found, (status, expected.to_owned()), "{domain} to {to}");
    }
    let counts: Vec<usize> = {
        let mut counts = Vec::new();
        for agent in &agents {
            counts.push(payloads(&daemon, agent).await.len());
        }
        counts
    };
    assert_eq!(counts, [0, 1, 0, 3, 0]);
}

#[allow(clippy::disallowed_methods, reason = "a sender has its own clock")]
fn now() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let millis = i64::try_from(since.unwrap().as_millis()).unwrap();
    amtpd::protocol::Timestamp::from_millis(millis).to_string()
}
