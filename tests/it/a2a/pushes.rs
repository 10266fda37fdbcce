//! Changes of tasks are posted where clients want it, also after a kill; and how tasks end.

use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::client::{Client, ON, agent, answer, mail, message, message_for, reply};
use crate::support::backend::Backend;
use crate::support::behaviour::Behaviour;
use crate::support::metrics::metrics;
use crate::support::server::Seen;
use crate::support::webhook::WebhookTarget;
use crate::support::{Agent, Daemon, eventually_so};

/// Longer than a place is held by a gateway that was killed.
const SOON: Duration = Duration::from_secs(90);
const ALLOWED: (&str, &str) = ("AMTPD__NET__ALLOW__A2A", "[127.0.0.0/8]");
const PAUSE: (&str, &str) = ("AMTPD__DELIVERY__RETRY__MAX", "1s");

/// A receiver on this machine, and how a client of 1.0 names it.
fn receiver(name: &str) -> (WebhookTarget, Value) {
    let target = WebhookTarget::start_plain("127.0.0.1:0".parse().unwrap());
    let config = json!({
        "id": name,
        "url": target.url("127.0.0.1"),
        "token": format!("token-of-{name}"),
        "authentication": { "scheme": "Bearer", "credentials": format!("secret-of-{name}") },
    });
    (target, config)
}

/// The parameters of a message whose client does not wait, and wants to be told elsewhere.
fn message_with(push: &Value) -> Value {
    let mut params = message("hello");
    params["configuration"] = json!({
        "returnImmediately": true,
        "taskPushNotificationConfig": push,
    });
    params
}

/// What the events say, in the order in which they came; what came twice in a row once.
fn said(seen: &[Seen]) -> Vec<String> {
    let word = |it: &Seen| {
        let body = &it.json;
        let artifact = &body["artifactUpdate"]["artifact"]["parts"][0]["text"];
        let status = &body["statusUpdate"]["status"];
        let text = &status["message"]["parts"][0]["text"];
        let words = [artifact, text, &status["state"]];
        let word = words.into_iter().find_map(Value::as_str);
        word.unwrap_or_else(|| panic!("{body}")).to_owned()
    };
    let mut all: Vec<String> = seen.iter().map(word).collect();
    all.dedup();
    all
}

async fn works(daemon: &Daemon, orders: &Agent, asked: &Value, text: &str) {
    let progress = json!({ "headers": { "a2a-state": "working" }, "payload": text });
    reply(daemon, orders, asked, progress).await;
}

async fn goes_on_after_a_kill(backend: Backend) {
    let (mut daemon, _base) = backend.prepare(&[ON[0], ALLOWED, PAUSE]);
    daemon.run().await;
    let orders = agent(&daemon, "orders", json!({})).await;
    let alice = daemon.agent("alice").await;
    let (hangs, first) = receiver("hangs");
    let (fails, second) = receiver("fails");
    let (old, _) = receiver("old");
    let asked = {
        let client = Client::new(&daemon, "orders").of(&alice);
        let begun = client.result("SendMessage", &message_with(&first)).await;
        let id = begun["task"]["id"].clone();
        let mut config = second.clone();
        config["taskId"] = id.clone();
        let made = client.result("CreateTaskPushNotificationConfig", &config);
        assert_eq!(made.await["id"], "fails");
        let set = json!({
            "taskId": id, "pushNotificationConfig": { "url": old.url("127.0.0.1"), "token": "old" },
        });
        let older = client.clone().speaking("0.3");
        older.result("tasks/pushNotificationConfig/set", &set).await;
        mail(&daemon, &orders, 1).await
    };
    works(&daemon, &orders, &asked, "one").await;
    let posted = hangs.wait_for(2, SOON).await.remove(1);
    assert_eq!(posted.header("content-type"), "application/a2a+json");
    assert_eq!(posted.header("x-a2a-notification-token"), "token-of-hangs");
    assert_eq!(posted.header("authorization"), "Bearer secret-of-hangs");
    fails.wait_for(2, SOON).await;
    let task = old.wait_for(1, SOON).await.remove(0);
    assert_eq!(task.json["kind"], "task");
    assert_eq!(task.header("content-type"), "application/json");
    assert_eq!(task.header("x-a2a-notification-token"), "old");
    // From now on one never answers, and one says that it cannot.
    hangs.always(Behaviour::Hang);
    fails.always(Behaviour::json(503, &json!({})));
    works(&daemon, &orders, &asked, "two").await;
    hangs.wait_for(3, SOON).await;
    fails.wait_for(3, SOON).await;
    daemon.kill();
    for target in [&hangs, &fails] {
        target.always(Behaviour::json(200, &json!({})));
    }
    daemon.run().await;
    reply(&daemon, &orders, &asked, json!({ "payload": "three" })).await;
    let expected = [
        "TASK_STATE_WORKING",
        "one",
        "two",
        "three",
        "TASK_STATE_COMPLETED",
    ];
    for target in [&hangs, &fails] {
        eventually_so("the rest", SOON, async || {
            let said = said(&target.requests());
            (said.last().map(String::as_str) == Some(expected[4])).then_some(())
        })
        .await;
        assert_eq!(said(&target.requests()), expected);
    }
    eventually_so("the last state", SOON, async || {
        let requests = old.requests();
        let last = &requests.last()?.json;
        (last["status"]["state"] == "completed").then_some(())
    })
    .await;
    let log = std::fs::read_to_string(daemon.log()).unwrap();
    for secret in ["secret-of-", "token-of-", "/hook"] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn posting_goes_on_after_a_kill_on_sqlite() {
    goes_on_after_a_kill(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn posting_goes_on_after_a_kill_on_postgresql() {
    goes_on_after_a_kill(Backend::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn receivers_that_are_not_public_or_refuse_are_given_up() {
    let daemon = Daemon::start(&[ON[0], PAUSE]).await;
    let orders = agent(&daemon, "orders", json!({})).await;
    let alice = daemon.agent("alice").await;
    let client = Client::new(&daemon, "orders").of(&alice);
    let (target, config) = receiver("p");
    let begun = client.result("SendMessage", &message_with(&config)).await;
    let asked = mail(&daemon, &orders, 1).await;
    reply(&daemon, &orders, &asked, json!({ "payload": "done" })).await;
    eventually_so("it is given up", SOON, async || {
        let metrics = metrics(daemon.ops()).await;
        let line = r#"amtp_a2a_pushes_total{outcome="given_up"} 1"#;
        metrics.contains(line).then_some(())
    })
    .await;
    assert_eq!(target.connections(), 0);
    let list = json!({ "taskId": begun["task"]["id"] });
    let left = client.result("ListTaskPushNotificationConfigs", &list);
    assert_eq!(left.await["configs"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_not_followed() {
    let daemon = Daemon::start(&[ON[0], ALLOWED, PAUSE]).await;
    let orders = agent(&daemon, "orders", json!({})).await;
    let alice = daemon.agent("alice").await;
    let client = Client::new(&daemon, "orders").of(&alice);
    let (elsewhere, _) = receiver("elsewhere");
    let (target, config) = receiver("p");
    target.always(Behaviour::RedirectTo(elsewhere.url("127.0.0.1")));
    client.result("SendMessage", &message_with(&config)).await;
    mail(&daemon, &orders, 1).await;
    target.wait_for(3, SOON).await;
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canceled_task_is_taken_back_or_its_agent_is_told() {
    let daemon = Daemon::start(&ON).await;
    let orders = agent(&daemon, "orders", json!({})).await;
    let alice = daemon.agent("alice").await;
    let client = Client::new(&daemon, "orders").of(&alice);
    let unseen = client.begin("never mind").await;
    let canceled = client
        .result("CancelTask", &json!({ "id": unseen["id"] }))
        .await;
    assert_eq!(canceled["status"]["state"], "TASK_STATE_CANCELED");
    assert!(daemon.inbox(&orders).await.is_empty());
    let task = client.begin("hello").await;
    let asked = mail(&daemon, &orders, 1).await;
    let cancel = json!({ "id": task["id"] });
    client.result("CancelTask", &cancel).await;
    let told = mail(&daemon, &orders, 2).await;
    assert_eq!(told["headers"]["a2a-kind"], "cancel");
    assert_eq!(told["headers"]["a2a-task-id"], task["id"]);
    assert_eq!(told["in_reply_to"], asked["message_id"]);
    assert_eq!(client.error("CancelTask", &cancel).await, -32002);
    let more = message_for(&task, "more");
    assert_eq!(client.error("SendMessage", &more).await, -32004);
    let (status, late) = answer(&daemon, &orders, &asked, json!({ "payload": 1 })).await;
    assert_eq!(status, StatusCode::CONFLICT, "{late}");
    assert_eq!(late["error"]["code"], "TASK_TERMINAL", "{late}");
    let path = "/v1/admin/audit?event=task.answer";
    let log = eventually_so("an entry of the audit log", SOON, async || {
        let (_, log) = daemon.admin(Method::GET, path, None).await;
        let id = task["id"].as_str().unwrap();
        log.to_string().contains(id).then_some(log)
    })
    .await;
    assert!(log.to_string().contains("TASK_TERMINAL"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_time_is_up_or_whose_agent_is_gone_fails() {
    let daemon = Daemon::start(&ON).await;
    agent(&daemon, "slow", json!({ "deadline_seconds": 1 })).await;
    let gone = agent(&daemon, "gone", json!({})).await;
    let alice = daemon.agent("alice").await;
    let slow = Client::new(&daemon, "slow").of(&alice);
    let hello = message("hello");
    let waits = slow.result("SendMessage", &hello);
    let removed = async {
        let client = Client::new(&daemon, "gone").of(&alice);
        let task = client.begin("hello").await;
        let path = format!("/v1/admin/agents/{}", gone.address);
        let (status, answer) = daemon.admin(Method::DELETE, &path, None).await;
        assert!(status.is_success(), "{answer}");
        task
    };
    let (ended, _) = tokio::join!(waits, removed);
    let status = &ended["task"]["status"];
    assert_eq!(status["state"], "TASK_STATE_FAILED", "{ended}");
    let text = status["message"]["parts"][0]["text"].as_str().unwrap();
    assert_eq!(text, "The agent did not finish the task in time.");
    eventually_so("both have ended", SOON, async || {
        let shown = metrics(daemon.ops()).await;
        let line = |cause: &str| format!(r#"amtp_a2a_tasks_ended_total{{cause="{cause}"}} 1"#);
        let all = shown.contains(&line("deadline")) && shown.contains(&line("lost"));
        all.then_some(())
    })
    .await;
}
