//! An agent made with the SDK, behind an address of the gateway.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Bench, Python, SOON, agents};
use crate::support::{Agent, eventually_so, words};

/// The running server. It ends when this is dropped.
struct Widgets {
    process: Child,
    url: String,
}

impl Widgets {
    fn start(mut command: Command, bench: &Bench) -> Self {
        let mut process = command
            .env("SSL_CERT_FILE", bench.authority())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut port = String::new();
        let mut printed = BufReader::new(process.stdout.as_mut().unwrap());
        printed.read_line(&mut port).unwrap();
        let url = format!("http://127.0.0.1:{}/", port.trim());
        Self { process, url }
    }
}

impl Drop for Widgets {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// The answer to what alice says.
async fn answer(bench: &Bench, alice: &Agent, text: &str, to: Option<&Value>) -> Value {
    let mut body = json!({
        "sender": alice.address, "recipients": ["far@it.test"], "payload": { "text": text },
    });
    if let Some(to) = to {
        body["in_reply_to"] = to["message_id"].clone();
    }
    let (key, daemon) = (Some(alice.key.as_str()), &bench.daemon);
    let (status, sent) = daemon
        .call(Method::POST, "/v1/messages", key, Some(body))
        .await;
    assert_eq!(status, StatusCode::ACCEPTED, "{sent}");
    eventually_so("an answer", SOON, async || {
        let mail = daemon.inbox(alice).await;
        mail.into_iter()
            .find(|it| it["in_reply_to"] == sent["message_id"])
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn python_1_3_as_the_agent() {
    let python = Python::with(&["a2a-sdk[http-server]==1.3.0", "uvicorn"]);
    let longest = ("AMTPD__A2A_CLIENT__POLL_LONGEST", "5s");
    let bench = Bench::new(&agents::NAMES[..1], &[longest]).await;
    let widgets = Widgets::start(python.script("tests/a2a/server.py", &[]), &bench);
    let add = [
        "agent",
        "add",
        "far",
        "--mode",
        "a2a",
        "--target",
        widgets.url.as_str(),
    ];
    let added = bench.daemon.command(&add).output().unwrap();
    assert!(added.status.success(), "{}", words(&added));
    let alice = bench.daemon.agent("alice").await;
    for (text, state, said) in [
        ("hello", "completed", "done"),
        ("work", "completed", "a\nb\nc"),
        ("chat", "failed", "no small talk"),
    ] {
        let reply = answer(&bench, &alice, text, None).await;
        assert_eq!(reply["sender"], "far@it.test");
        assert_eq!(reply["payload"], json!({ "text": said }), "{reply}");
        assert_eq!(reply["headers"]["a2a-state"], state, "{reply}");
    }
    let question = answer(&bench, &alice, "ask", None).await;
    assert_eq!(question["payload"], json!({ "text": "which?" }));
    assert_eq!(question["headers"]["a2a-state"], "input-required");
    let told = answer(&bench, &alice, "red", Some(&question)).await;
    assert_eq!(told["payload"], json!({ "text": "red it is" }));
    let task = |reply: &Value| reply["headers"]["a2a-remote-task-id"].clone();
    assert_eq!(task(&told), task(&question), "the same task went on");
    // A client of A2A here gets its task done there.
    let client = python.script("docs/clients/a2a_ask.py", &[&bench.base("far"), "hello"]);
    let printed = bench.run(client, &alice).await;
    assert!(printed.contains("artifact_update done\n"), "{printed}");
}
