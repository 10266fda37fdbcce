//! What becomes of a message by the operator's rules and by the schema of its payload, at a gateway
//! of its own for each test.

mod carried;
mod held;
mod order;
mod reload;
mod schemas;
mod verdicts;

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use hyper::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::support::{Agent, Daemon, eventually_so};

const SOON: Duration = Duration::from_secs(30);
const FILE: &str = "10-rules.yaml";

/// The folder of a gateway's policies.
fn folder(daemon: &Daemon) -> PathBuf {
    daemon.folder.path().join("policies")
}

/// Puts a finished file of policies in its place.
fn put(daemon: &Daemon, text: &str) {
    let folder = folder(daemon);
    std::fs::create_dir_all(&folder).unwrap();
    let fresh = folder.join(".fresh");
    std::fs::write(&fresh, text).unwrap();
    std::fs::rename(fresh, folder.join(FILE)).unwrap();
}

/// Gives a gateway that does not run yet this policy.
fn rule(daemon: &mut Daemon, policy: &str) {
    put(daemon, policy);
    let dir = folder(daemon).display().to_string();
    let variable = ("AMTPD__POLICIES__DIR".to_owned(), dir);
    daemon.variables.push(variable);
}

/// A gateway that runs with this policy.
async fn ruled(policy: &str, variables: &[(&str, &str)]) -> Daemon {
    let mut daemon = Daemon::prepare(variables);
    rule(&mut daemon, policy);
    daemon.run().await;
    daemon
}

/// Submits a message: with these members beside sender and recipients.
async fn send(
    daemon: &Daemon,
    from: &Agent,
    to: &[&str],
    more: Value,
) -> (StatusCode, Value, Response<Bytes>) {
    let mut body = json!({ "sender": from.address, "recipients": to, "payload": 1 });
    for (member, value) in more.as_object().unwrap() {
        body[member] = value.clone();
    }
    let key = Some(from.key.as_str());
    let asked = daemon.caller();
    let answer = asked.ask(Method::POST, "/v1/messages", key, Some(body));
    let answer = answer.await.unwrap();
    let value = serde_json::from_slice(answer.body()).unwrap();
    (answer.status(), value, answer)
}

/// Submits a message that must be taken, and gives its id.
async fn taken(daemon: &Daemon, from: &Agent, to: &str, more: Value) -> String {
    let (status, answer, _) = send(daemon, from, &[to], more).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    answer["message_id"].as_str().unwrap().to_owned()
}

/// What the answer says of each recipient: its word, with the code if there is one.
fn fates(answer: &Value) -> Vec<String> {
    let told = answer["recipients"].as_array().into_iter().flatten();
    told.map(|one| {
        let word = one["status"].as_str().unwrap();
        match one["error_code"].as_str() {
            Some(code) => format!("{word} {code}"),
            None => word.to_owned(),
        }
    })
    .collect()
}

fn code(answer: &Value) -> &str {
    answer["error"]["code"].as_str().unwrap_or("")
}

/// An agent with a webhook.
async fn push_agent(daemon: &Daemon, name: &str, target: &str) -> String {
    let form = json!({ "address": name, "delivery_mode": "push", "push_target": target });
    let (status, answer) = daemon
        .admin(Method::POST, "/v1/admin/agents", Some(form))
        .await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    answer["agent"]["address"].as_str().unwrap().to_owned()
}

/// Waits until a message as a whole is in this state.
async fn reaches(daemon: &Daemon, from: &Agent, id: &str, status: &str) {
    let path = format!("/v1/messages/{id}/status");
    eventually_so(&format!("{id} {status}"), SOON, async || {
        let (_, found) = daemon.call(Method::GET, &path, Some(&from.key), None).await;
        (found["status"] == status).then_some(())
    })
    .await;
}

/// The payloads in an inbox, oldest first.
async fn payloads(daemon: &Daemon, agent: &Agent) -> Vec<Value> {
    let mail = daemon.inbox(agent).await;
    mail.iter().map(|mail| mail["payload"].clone()).collect()
}
