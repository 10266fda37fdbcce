//! What an agent can do over one connection.

use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::message;
use crate::support::websocket::{Answer, Raw};
use crate::support::{Daemon, amtpd, words};

#[tokio::test]
async fn a_message_is_sent_received_pushed_and_acknowledged() {
    let daemon = Daemon::start(&[]).await;
    let (alice, bob) = (daemon.agent("alice").await, daemon.agent("bob").await);
    let (mut from, welcome) = Raw::session(&daemon, &alice, "credit=5").await;
    assert_eq!(welcome["address"], alice.address);
    assert_eq!(welcome["inbox"], alice.address);
    assert_eq!(welcome["credit"], 5);
    assert_eq!(welcome["resumed"], false);
    assert_eq!(welcome["heartbeat"], 30.0);
    let (mut to, other) = Raw::session(&daemon, &bob, "").await;
    assert_ne!(welcome["session"], other["session"]);
    let sent = json!({ "type": "send", "ref": "1", "message": message(&alice, &bob.address, &json!({"n": 1.50})) });
    from.say(&sent).await;
    let receipt = from.hear().await;
    assert_eq!(receipt["type"], "receipt", "{receipt}");
    assert_eq!(
        (&receipt["ref"], &receipt["status"]),
        (&json!("1"), &json!("accepted"))
    );
    assert_eq!(receipt["recipients"][0]["status"], "delivered", "{receipt}");
    let pushed = to.hear().await;
    assert_eq!(pushed["type"], "message", "{pushed}");
    assert_eq!(pushed["redelivered"], false);
    assert_eq!(pushed["message"]["message_id"], receipt["message_id"]);
    assert_eq!(pushed["message"]["sender"], alice.address);
    assert_eq!(
        pushed["message"]["sender_verification"]["result"],
        "authenticated"
    );
    assert_eq!(daemon.inbox(&bob).await.len(), 0, "claimed by the session");
    let ack = json!({ "type": "ack", "ids": [receipt["message_id"]] });
    assert_eq!(to.ask(ack.clone()).await["type"], "done");
    let again = to.ask(ack).await;
    assert_eq!(again["code"], "NOT_FOUND", "{again}");
    assert_eq!(again["details"]["not_found"][0], receipt["message_id"]);
    let path = format!(
        "/v1/messages/{}/status",
        receipt["message_id"].as_str().unwrap()
    );
    let (_, status) = daemon
        .call(Method::GET, &path, Some(&alice.key), None)
        .await;
    assert_eq!(status["recipients"][0]["acknowledged"], true, "{status}");
}

#[tokio::test]
async fn messages_of_one_connection_keep_their_order() {
    let daemon = Daemon::start(&[]).await;
    let (alice, bob) = (daemon.agent("alice").await, daemon.agent("bob").await);
    let (mut from, _) = Raw::session(&daemon, &alice, "").await;
    let (mut to, _) = Raw::session(&daemon, &bob, "credit=1000").await;
    for n in 0..300 {
        let body = message(&alice, &bob.address, &json!(n));
        from.say(&json!({ "type": "send", "ref": n.to_string(), "message": body }))
            .await;
    }
    for n in 0..300 {
        assert_eq!(to.message().await["payload"], n);
    }
    for _ in 0..300 {
        assert_eq!(from.hear().await["type"], "receipt");
    }
}

#[tokio::test]
async fn who_is_not_known_by_the_request_says_it_in_the_first_frame() {
    let daemon = Daemon::start(&[]).await;
    let alice = daemon.agent("alice").await;
    let Answer {
        status,
        mut raw,
        head,
    } = Raw::shake_hands(&daemon, "/v1/ws", &[]).await;
    assert_eq!(status, 101);
    assert!(
        !head.to_lowercase().contains("sec-websocket-protocol"),
        "{head}"
    );
    let auth = json!({ "type": "auth", "token": alice.key, "credit": 7 });
    let welcome = raw.ask(auth).await;
    assert_eq!(welcome["type"], "welcome");
    assert_eq!(
        (&welcome["address"], &welcome["credit"]),
        (&json!(alice.address), &json!(7))
    );
    assert_eq!(raw.ask(json!({ "type": "ping" })).await["type"], "pong");
    assert_eq!(
        raw.ask(json!({ "type": "auth", "token": "x" })).await["code"],
        "CONFLICT"
    );
}

#[tokio::test]
async fn credit_bounds_what_is_unacknowledged() {
    let daemon = Daemon::start(&[]).await;
    let (alice, bob) = (daemon.agent("alice").await, daemon.agent("bob").await);
    let (mut from, _) = Raw::session(&daemon, &alice, "").await;
    let (mut to, _) = Raw::session(&daemon, &bob, "credit=2").await;
    for n in 0..6 {
        let body = message(&alice, &bob.address, &json!(n));
        let receipt = from.ask(json!({ "type": "send", "message": body })).await;
        assert_eq!(receipt["type"], "receipt");
    }
    let first = to.hear().await;
    let second = to.hear().await;
    assert_eq!(
        (&first["message"]["payload"], &second["message"]["payload"]),
        (&json!(0), &json!(1))
    );
    assert!(to.is_quiet(Duration::from_millis(300)).await);
    to.say(&json!({ "type": "ack", "ids": [first["message"]["message_id"]] }))
        .await;
    assert_eq!(to.hear().await["message"]["payload"], 2);
    assert!(to.is_quiet(Duration::from_millis(300)).await);
    assert_eq!(
        to.ask(json!({ "type": "credit", "credit": 4 })).await["type"],
        "done"
    );
    for n in [3, 4] {
        assert_eq!(to.hear().await["message"]["payload"], n);
    }
    assert!(to.is_quiet(Duration::from_millis(300)).await);
    let back = json!({ "type": "nack", "ids": [second["message"]["message_id"]], "delay": "0s" });
    to.say(&back).await;
    let again = to.hear().await;
    assert_eq!(again["message"]["payload"], 1, "{again}");
    assert_eq!(again["redelivered"], true);
}

#[tokio::test]
async fn a_request_is_answered_by_its_reply_or_by_its_receipt_at_the_deadline() {
    let daemon = Daemon::start(&[]).await;
    let (alice, bob) = (daemon.agent("alice").await, daemon.agent("bob").await);
    let (mut from, _) = Raw::session(&daemon, &alice, "").await;
    let (mut to, _) = Raw::session(&daemon, &bob, "").await;
    let body = message(&alice, &bob.address, &json!("how much?"));
    from.say(
        &json!({ "type": "request", "ref": "q", "message": body, "wait": "20s", "ack": true }),
    )
    .await;
    let asked = to.message().await;
    let mut answer = message(&bob, &alice.address, &json!("seven"));
    answer["in_reply_to"] = asked["message_id"].clone();
    to.say(&json!({ "type": "send", "message": answer })).await;
    let mut heard = from.hear().await;
    if heard["type"] == "message" {
        heard = from.hear().await;
    }
    assert_eq!(
        (&heard["type"], &heard["ref"]),
        (&json!("reply"), &json!("q")),
        "{heard}"
    );
    assert_eq!(heard["message"]["payload"], "seven");
    assert_eq!(heard["message_id"], asked["message_id"]);
    let body = message(&alice, &bob.address, &json!("and now?"));
    from.say(&json!({ "type": "request", "ref": "late", "message": body, "wait": "200ms" }))
        .await;
    let late = from.hear_of("receipt").await;
    assert_eq!(late["ref"], "late");
    assert_eq!(late["status"], "accepted");
}

#[tokio::test]
async fn presence_tells_who_is_connected() {
    let daemon = Daemon::start(&[]).await;
    let (alice, bob) = (daemon.agent("alice").await, daemon.agent("bob").await);
    let hidden = json!({ "address": "hidden", "delivery_mode": "pull", "listed": false });
    let (status, answer) = daemon
        .admin(Method::POST, "/v1/admin/agents", Some(hidden))
        .await;
    assert_eq!(status, StatusCode::CREATED);
    let hidden = crate::support::Agent {
        address: answer["agent"]["address"].as_str().unwrap().to_owned(),
        key: answer["agent"]["api_key"].as_str().unwrap().to_owned(),
    };
    let (mut raw, _) = Raw::session(&daemon, &alice, "").await;
    let (_unseen, _) = Raw::session(&daemon, &hidden, "").await;
    let query = json!({ "type": "presence", "addresses": [
        alice.address, bob.address, hidden.address, "nobody@it.test", "someone@elsewhere.example"
    ] });
    let connected = |answer: &Value| -> Vec<bool> {
        let agents = answer["agents"].as_array().unwrap().iter();
        agents
            .map(|it| it["connected"].as_bool().unwrap())
            .collect()
    };
    let answer = raw.ask(query.clone()).await;
    assert_eq!(
        connected(&answer),
        [true, false, false, false, false],
        "{answer}"
    );
    let (_bob, _) = Raw::session(&daemon, &bob, "").await;
    let answer = raw.ask(query).await;
    assert_eq!(
        connected(&answer),
        [true, true, false, false, false],
        "{answer}"
    );
    assert_eq!(answer["agents"][1]["sessions"], 1);
}

#[tokio::test]
async fn the_watching_command_prints_what_arrives_and_goes_on_after_a_restart() {
    let mut daemon = Daemon::start(&[]).await;
    let (alice, bob) = (daemon.agent("alice").await, daemon.agent("bob").await);
    let key = daemon.folder.path().join("bob.key");
    std::fs::write(&key, &bob.key).unwrap();
    let mut command = amtpd();
    command
        .args([
            "inbox",
            "watch",
            "--ack",
            "--count",
            "2",
            "--resolve",
            "127.0.0.1",
        ])
        .args(["--gateway", &format!("https://localhost:{}", daemon.port())])
        .arg("--key-file")
        .arg(&key)
        .arg("--ca-file")
        .arg(daemon.folder.path().join("gateway/tls/cert.pem"))
        .env("AMTP_PROFILE", "/dev/null")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let watching = command.spawn().unwrap();
    let send = async |daemon: &Daemon, n: i64| {
        let body = message(&alice, &bob.address, &json!(n));
        let sent = daemon.call(Method::POST, "/v1/messages", Some(&alice.key), Some(body));
        assert_eq!(sent.await.0, StatusCode::ACCEPTED);
    };
    send(&daemon, 1).await;
    assert_eq!(daemon.terminate(), Some(0));
    daemon.run().await;
    send(&daemon, 2).await;
    let done = tokio::task::spawn_blocking(move || watching.wait_with_output().unwrap());
    let done = done.await.unwrap();
    assert_eq!(done.status.code(), Some(0), "{}", words(&done));
    let lines: Vec<Value> = String::from_utf8(done.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let payloads: Vec<&Value> = lines.iter().map(|it| &it["payload"]).collect();
    assert_eq!(payloads, [1, 2]);
    assert_eq!(daemon.inbox(&bob).await.len(), 0);
}
