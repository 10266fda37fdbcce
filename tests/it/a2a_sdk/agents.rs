//! Agents that know what to say, whichever way their mail comes.

use std::collections::VecDeque;
use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::background::{self, Task};
use crate::support::caller::Caller;
use crate::support::webhook::WebhookTarget;
use crate::support::websocket::Raw;
use crate::support::{Agent, Daemon, pause};

/// The agents: how their mail comes is in their names.
pub const NAMES: [&str; 3] = ["polls", "called", "connects"];

/// How an agent gets its mail.
enum Way {
    Polls(VecDeque<Value>),
    Called(Box<WebhookTarget>, usize),
    Connects(Box<Raw>),
}

/// One agent at work.
struct Worker {
    agent: Agent,
    caller: Caller,
    way: Way,
}

/// Starts the agent of this name. It works until the task is dropped.
pub async fn start(daemon: &Daemon, name: &str) -> Task {
    let hook = (name == "called").then(|| {
        let hook = WebhookTarget::start_plain("127.0.0.1:0".parse().unwrap());
        Box::new(hook)
    });
    let mut form =
        json!({ "address": name, "delivery_mode": "pull", "description": "Sells widgets." });
    if let Some(hook) = &hook {
        form["delivery_mode"] = json!("push");
        form["push_target"] = json!(hook.url("127.0.0.1"));
    }
    if name != "polls" {
        // The others get the whole A2A message.
        form["a2a"] = json!({ "profile": "plain" });
    }
    let made = daemon.admin(Method::POST, "/v1/admin/agents", Some(form));
    let (status, answer) = made.await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    let text = |member: &str| answer["agent"][member].as_str().unwrap().to_owned();
    let agent = Agent {
        address: text("address"),
        key: text("api_key"),
    };
    let way = match (hook, name) {
        (Some(hook), _) => Way::Called(hook, 0),
        (None, "connects") => Way::Connects(Box::new(Raw::session(daemon, &agent, "").await.0)),
        (None, _) => Way::Polls(VecDeque::new()),
    };
    let caller = daemon.caller();
    background::run(Worker { agent, caller, way }.work())
}

impl Worker {
    async fn work(mut self) {
        loop {
            let asked = self.next().await;
            for more in answers(&asked) {
                reply((&self.caller, &self.agent), &asked, more).await;
            }
        }
    }

    /// The next message.
    async fn next(&mut self) -> Value {
        loop {
            let found = match &mut self.way {
                Way::Connects(socket) => return socket.message().await,
                Way::Polls(mail) => mail.pop_front(),
                Way::Called(hook, count) => {
                    let seen = hook.requests().get(*count).cloned();
                    *count += usize::from(seen.is_some());
                    seen.map(|seen| seen.json)
                }
            };
            match found {
                Some(message) => return message,
                None => self.fetch().await,
            }
        }
    }

    /// What is in the inbox is taken out of it.
    async fn fetch(&mut self) {
        pause(Duration::from_millis(20)).await;
        let Way::Polls(mail) = &mut self.way else {
            return;
        };
        let (inbox, key) = (format!("/v1/inbox/{}", self.agent.address), &self.agent.key);
        let asked = self.caller.ask(Method::GET, &inbox, Some(key), None).await;
        let page: Value = serde_json::from_slice(asked.unwrap().body()).unwrap();
        for message in page["messages"].as_array().unwrap() {
            let path = format!("{inbox}/{}", message["message_id"].as_str().unwrap());
            let gone = self.caller.ask(Method::DELETE, &path, Some(key), None);
            // What was taken back meanwhile is none of its business any more.
            if gone.await.unwrap().status() == StatusCode::OK {
                mail.push_back(message.clone());
            }
        }
    }
}

async fn reply((caller, agent): (&Caller, &Agent), asked: &Value, more: Value) {
    let mut reply = json!({
        "sender": agent.address,
        "recipients": [asked["sender"]],
        "in_reply_to": asked["message_id"],
    });
    for (name, value) in more.as_object().unwrap() {
        reply[name] = value.clone();
    }
    let sent = caller.ask(Method::POST, "/v1/messages", Some(&agent.key), Some(reply));
    let sent = sent.await.unwrap();
    let said = String::from_utf8_lossy(sent.body());
    assert_eq!(sent.status(), StatusCode::ACCEPTED, "{said}");
}

/// What an agent answers, one message after the other.
fn answers(asked: &Value) -> Vec<Value> {
    if asked["headers"]["a2a-kind"] == "cancel" {
        return Vec::new();
    }
    let payload = &asked["payload"];
    let text = payload["text"].as_str();
    let text = text.or(payload["message"]["parts"][0]["text"].as_str());
    let chunk = |text: &str, append: bool, last: bool| {
        let headers = json!({
            "a2a-state": "working", "a2a-artifact-id": "r", "a2a-append": append.to_string(),
            "a2a-last-chunk": last.to_string(),
        });
        json!({ "headers": headers, "payload": text })
    };
    match text {
        Some("hello") => vec![json!({ "payload": "done", "subject": "result" })],
        Some("ask") => {
            vec![json!({ "headers": { "a2a-state": "input-required" }, "payload": "which?" })]
        }
        Some("red") => vec![json!({ "payload": "red it is" })],
        Some("work") => {
            let over = json!({ "statusUpdate": { "status": { "state": "TASK_STATE_COMPLETED" } } });
            vec![
                chunk("a", false, false),
                chunk("b", true, false),
                chunk("c", true, true),
                json!({ "schema": "agntcy:a2a.stream-response.v1", "payload": over }),
            ]
        }
        _ => Vec::new(),
    }
}
