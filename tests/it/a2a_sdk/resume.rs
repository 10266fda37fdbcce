//! The SDK's client follows a task over a crash of the gateway.

use std::io::{BufRead as _, BufReader, Lines};
use std::process::{ChildStdout, Stdio};

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Bench, Python, SOON};
use crate::support::{Agent, Daemon, eventually_so};

/// A piece of the result, or the last one.
async fn says(daemon: &Daemon, orders: &Agent, asked: &Value, text: &str, last: bool) {
    let working = json!({
        "a2a-state": "working", "a2a-artifact-id": "r", "a2a-append": "true",
    });
    let headers = match last {
        true => json!({}),
        false => working,
    };
    let reply = json!({
        "sender": orders.address, "recipients": [asked["sender"]], "headers": headers,
        "in_reply_to": asked["message_id"], "payload": text,
    });
    let sent = daemon.call(Method::POST, "/v1/messages", Some(&orders.key), Some(reply));
    let (status, answer) = sent.await;
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
}

fn line(lines: &mut Lines<BufReader<ChildStdout>>) -> String {
    lines.next().unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn python_1_3_over_a_crash() {
    let python = Python::with(&["a2a-sdk==1.3.0"]);
    let mut bench = Bench::new(&[], &[]).await;
    let orders = bench.daemon.agent("orders").await;
    let alice = bench.daemon.agent("alice").await;
    let mut client = python
        .script("tests/a2a/resume.py", &[&bench.base("orders")])
        .env("AMTP_KEY", &alice.key)
        .env("SSL_CERT_FILE", bench.authority())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(client.stdout.take().unwrap()).lines();
    let asked = eventually_so("mail", SOON, async || {
        bench.daemon.inbox(&orders).await.pop()
    })
    .await;
    says(&bench.daemon, &orders, &asked, "a", false).await;
    assert_eq!(line(&mut lines), "task");
    assert_eq!(line(&mut lines), "a");
    bench.daemon.kill();
    assert_eq!(line(&mut lines), "lost");
    bench.daemon.run().await;
    says(&bench.daemon, &orders, &asked, "b", false).await;
    // It comes again before that or behind it; nothing is lost, and nothing comes twice.
    let mut heard = vec![line(&mut lines)];
    says(&bench.daemon, &orders, &asked, "c", true).await;
    while heard.last().map(String::as_str) != Some("end") {
        heard.push(line(&mut lines));
    }
    let said = heard.join(" ");
    assert!(client.wait().unwrap().success());
    assert_eq!(said, "task a b c end");
}
