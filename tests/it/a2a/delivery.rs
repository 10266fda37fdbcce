//! Agents of each kind look the same to A2A clients: inbox, event stream, WebSocket, webhook.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::client::{Client, agent, mail, message};
use crate::support::behaviour::Behaviour;
use crate::support::events::Events;
use crate::support::webhook::WebhookTarget;
use crate::support::websocket::Raw;
use crate::support::{Agent, Daemon};

const VARIABLES: [(&str, &str); 2] = [
    ("AMTPD__A2A__ORGANIZATION", "Example Ltd."),
    ("AMTPD__NET__ALLOW__WEBHOOKS", "[127.0.0.0/8]"),
];

/// What a client of each kind of agent sees, from the first event to the last.
const SEEN: [&str; 4] = ["SUBMITTED", "WORKING", "done", "COMPLETED"];

async fn seen(client: Client<'_>, act: impl Future<Output = ()>) -> Vec<String> {
    let hello = message("hello");
    let mut stream = client.follow("SendStreamingMessage", &hello).await.unwrap();
    act.await;
    let mut words = Vec::new();
    while let Some(event) = stream.try_next().await {
        let result = &event.data["result"];
        let state = result["task"]["status"]["state"].as_str();
        let state = state.or(result["statusUpdate"]["status"]["state"].as_str());
        let text = result["artifactUpdate"]["artifact"]["parts"][0]["text"].as_str();
        let word = state.or(text).unwrap();
        words.push(word.replace("TASK_STATE_", ""));
    }
    words
}

async fn done(daemon: &Daemon, agent: &Agent, asked: &Value) {
    let answer = json!({ "payload": "done" });
    super::client::reply(daemon, agent, asked, answer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_the_same_however_it_gets_its_mail() {
    let daemon = Daemon::start(&VARIABLES).await;
    let alice = daemon.agent("alice").await;
    let names = ["polls", "streams", "connects"];
    let mut agents = Vec::new();
    for name in names {
        agents.push(agent(&daemon, name, json!({})).await);
    }
    let client = |name: &str| Client::new(&daemon, name).of(&alice);
    let polls = &agents[0];
    let by_inbox = seen(client("polls"), async {
        let asked = mail(&daemon, polls, 1).await;
        done(&daemon, polls, &asked).await;
    });
    assert_eq!(by_inbox.await, SEEN);
    let streams = &agents[1];
    let mut stream = Events::open(&daemon, streams, "", &[]).await.unwrap();
    let by_stream = seen(client("streams"), async {
        let asked = stream.next().await.data;
        done(&daemon, streams, &asked).await;
    });
    assert_eq!(by_stream.await, SEEN);
    let connects = &agents[2];
    let (mut socket, _) = Raw::session(&daemon, connects, "").await;
    let by_socket = seen(client("connects"), async {
        let asked = socket.hear().await;
        done(&daemon, connects, &asked["message"]).await;
    });
    assert_eq!(by_socket.await, SEEN);
    let hook = WebhookTarget::start_plain("127.0.8.7:0".parse().unwrap());
    hook.always(Behaviour::json(200, &json!({ "response": "done" })));
    let form = json!({
        "address": "called", "delivery_mode": "push", "push_target": hook.url("127.0.8.7"),
    });
    let made = daemon.admin(Method::POST, "/v1/admin/agents", Some(form));
    assert_eq!(made.await.0, StatusCode::CREATED);
    let by_hook = seen(client("called"), async {});
    assert_eq!(by_hook.await, SEEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_message_cannot_be_delivered_fails() {
    let daemon = Daemon::start(&VARIABLES).await;
    let alice = daemon.agent("alice").await;
    let hook = WebhookTarget::start_plain("127.0.8.8:0".parse().unwrap());
    hook.always(Behaviour::json(410, &json!({})));
    let form = json!({
        "address": "called", "delivery_mode": "push", "push_target": hook.url("127.0.8.8"),
    });
    let made = daemon.admin(Method::POST, "/v1/admin/agents", Some(form));
    assert_eq!(made.await.0, StatusCode::CREATED);
    let client = Client::new(&daemon, "called").of(&alice);
    let task = client.result("SendMessage", &message("hello")).await["task"].clone();
    assert_eq!(task["status"]["state"], "TASK_STATE_FAILED", "{task}");
    let why = task["status"]["message"]["parts"][0]["text"]
        .as_str()
        .unwrap();
    assert!(why.contains(':'), "{why}");
}
