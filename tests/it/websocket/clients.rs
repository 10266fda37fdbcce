//! The clients of the documentation, with the libraries as they come from their registries.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::message;
use crate::support::{Agent, Daemon, eventually_so, words};

/// The folder of the documentation's clients.
fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/clients")
}

fn run(command: &mut Command) {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{command:?}: {}", words(&done));
}

/// Three messages are answered by the client, the gateway being restarted after the first.
async fn answers(client: &mut Command) {
    let mut daemon = Daemon::start(&[]).await;
    let (alice, bob) = (daemon.agent("alice").await, daemon.agent("bob").await);
    let url = format!("wss://localhost:{}/v1/ws", daemon.port());
    let authority = daemon.folder.path().join("gateway/tls/cert.pem");
    let started = client
        .args([&url, "3"])
        .env("AMTP_KEY", &bob.key)
        .env("SSL_CERT_FILE", &authority)
        .env("NODE_EXTRA_CA_CERTS", &authority)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    ask(&daemon, &alice, &bob, 1).await;
    answered(&daemon, &alice, 1).await;
    assert_eq!(daemon.terminate(), Some(0));
    daemon.run().await;
    for n in 2..=3 {
        ask(&daemon, &alice, &bob, n).await;
    }
    answered(&daemon, &alice, 3).await;
    let done = tokio::task::spawn_blocking(move || started.wait_with_output().unwrap());
    let done = done.await.unwrap();
    assert!(done.status.success(), "{}", words(&done));
    let printed = String::from_utf8(done.stdout).unwrap();
    let printed: Vec<Value> = printed
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let payloads: Vec<&Value> = printed.iter().map(|it| &it["payload"]).collect();
    assert_eq!(payloads, [1, 2, 3]);
    assert!(daemon.inbox(&bob).await.is_empty());
}

async fn ask(daemon: &Daemon, from: &Agent, to: &Agent, n: i64) {
    let body = message(from, &to.address, &json!(n));
    let sent = daemon.call(Method::POST, "/v1/messages", Some(&from.key), Some(body));
    assert_eq!(sent.await.0, StatusCode::ACCEPTED);
}

/// Waits until so many answers came, in order.
async fn answered(daemon: &Daemon, agent: &Agent, count: usize) {
    let answers = eventually_so("answers", Duration::from_secs(60), async || {
        let mail = daemon.inbox(agent).await;
        (mail.len() >= count).then_some(mail)
    })
    .await;
    for (at, answer) in answers.iter().enumerate() {
        assert_eq!(answer["payload"]["echo"], at + 1, "{answer}");
    }
}

#[tokio::test]
async fn python_with_websockets() {
    let home = tempfile::tempdir().unwrap();
    let mut install = Command::new("python3");
    install
        .args(["-m", "pip", "install", "--quiet", "--target"])
        .arg(home.path())
        .arg("websockets");
    run(&mut install);
    let mut client = Command::new("python3");
    client
        .arg(clients().join("inbox.py"))
        .env("PYTHONPATH", home.path());
    answers(&mut client).await;
}

#[tokio::test]
async fn node_with_ws() {
    let home = tempfile::tempdir().unwrap();
    let mut install = Command::new("npm");
    install
        .args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"])
        .arg(home.path())
        .arg("ws");
    run(&mut install);
    let mut client = Command::new("node");
    client
        .arg(clients().join("inbox.js"))
        .env("NODE_PATH", home.path().join("node_modules"));
    answers(&mut client).await;
}

#[test]
fn they_are_short() {
    for name in ["inbox.py", "inbox.js"] {
        let text = std::fs::read_to_string(clients().join(name)).unwrap();
        assert!(text.lines().count() <= 55, "{name}");
    }
}
