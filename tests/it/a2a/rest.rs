//! HTTP+JSON: the same operations and results as by JSON-RPC.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::client::{Client, ON, agent, mail, message, reply};
use crate::support::Daemon;
use crate::support::events::Events;

async fn ok(client: &Client<'_>, method: Method, path: &str, body: &Value) -> Value {
    let body = match body {
        Value::Null => String::new(),
        body => body.to_string(),
    };
    let (status, answer) = client.json(method, path, &body).await;
    assert_eq!(status, StatusCode::OK, "{path} {answer}");
    answer
}

/// Without what differs from task to task.
fn bare(mut task: Value) -> Value {
    fn clear(value: &mut Value) {
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    match name.as_str() {
                        "id" | "taskId" | "contextId" | "timestamp" | "artifactId" => {
                            assert!(value.is_string());
                            *value = json!("*");
                        }
                        _ => clear(value),
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(clear),
            _ => {}
        }
    }
    clear(&mut task);
    task
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_task_over_both_bindings_gives_equal_results() {
    let daemon = Daemon::start(&ON).await;
    let orders = agent(&daemon, "orders", json!({})).await;
    let alice = daemon.agent("alice").await;
    let client = Client::new(&daemon, "orders").of(&alice);
    let hello = message("hello");
    let done = json!({ "payload": { "n": 1 }, "subject": "result" });
    let (by_rpc, ()) = tokio::join!(client.result("SendMessage", &hello), async {
        let asked = mail(&daemon, &orders, 1).await;
        reply(&daemon, &orders, &asked, done.clone()).await;
    });
    let (by_rest, ()) = tokio::join!(ok(&client, Method::POST, "/message:send", &hello), async {
        let asked = mail(&daemon, &orders, 2).await;
        reply(&daemon, &orders, &asked, done.clone()).await;
    });
    assert_eq!(bare(by_rpc.clone()), bare(by_rest.clone()));
    let id = by_rest["task"]["id"].as_str().unwrap();
    let get = json!({ "id": id, "historyLength": 0 });
    let path = format!("/tasks/{id}?historyLength=0");
    assert_eq!(
        client.result("GetTask", &get).await,
        ok(&client, Method::GET, &path, &Value::Null).await
    );
    let list = json!({ "pageSize": 1, "includeArtifacts": true, "status": "TASK_STATE_COMPLETED" });
    let path = "/tasks?pageSize=1&includeArtifacts=true&status=TASK_STATE_COMPLETED";
    assert_eq!(
        client.result("ListTasks", &list).await,
        ok(&client, Method::GET, path, &Value::Null).await
    );
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "every operation once")]
async fn every_operation_has_its_path() {
    let daemon = Daemon::start(&ON).await;
    let orders = agent(&daemon, "orders", json!({})).await;
    let alice = daemon.agent("alice").await;
    let client = Client::new(&daemon, "orders").of(&alice);
    let mut hello = message("hello");
    hello["configuration"] = json!({ "returnImmediately": true });
    let task = ok(&client, Method::POST, "/message:send", &hello).await["task"].clone();
    let id = task["id"].as_str().unwrap();
    for method in [Method::GET, Method::POST] {
        let path = format!("/tasks/{id}:subscribe");
        let request = client.request(method, &path, "");
        let mut stream = Events::ask(&daemon, request).await.unwrap();
        let first = stream.next().await.data;
        assert_eq!(first["task"]["id"], id, "bare, not wrapped");
    }
    let configs = format!("/tasks/{id}/pushNotificationConfigs");
    let authentication = json!({ "scheme": "Bearer", "credentials": "secret" });
    let config = json!({
        "taskId": "another", "url": "https://hooks.test/x", "token": "t", "authentication": authentication,
    });
    let made = ok(&client, Method::POST, &configs, &config).await;
    assert_eq!((&made["taskId"], &made["id"]), (&json!(id), &json!(id)));
    let named = json!({ "id": "a/b", "url": "https://hooks.test/y" });
    ok(&client, Method::POST, &configs, &named).await;
    let one = ok(
        &client,
        Method::GET,
        &format!("{configs}/a%2Fb"),
        &Value::Null,
    )
    .await;
    assert_eq!(one["url"], "https://hooks.test/y");
    let page = ok(
        &client,
        Method::GET,
        &format!("{configs}?pageSize=1"),
        &Value::Null,
    )
    .await;
    let token = page["nextPageToken"].as_str().unwrap();
    assert_eq!(page["configs"].as_array().unwrap().len(), 1);
    let path = format!("{configs}?pageSize=1&pageToken={token}");
    let rest = ok(&client, Method::GET, &path, &Value::Null).await;
    assert_eq!(
        (
            &rest["nextPageToken"],
            rest["configs"].as_array().unwrap().len()
        ),
        (&json!(""), 1)
    );
    for _ in 0..2 {
        let gone = ok(
            &client,
            Method::DELETE,
            &format!("{configs}/a%2Fb"),
            &Value::Null,
        )
        .await;
        assert_eq!(gone, json!({}));
    }
    let (status, answer) = client
        .json(Method::GET, &format!("{configs}/a%2Fb"), "")
        .await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{answer}");
    let all = client
        .result("ListTaskPushNotificationConfigs", &json!({ "taskId": id }))
        .await;
    assert_eq!(all["configs"][0]["authentication"]["credentials"], "secret");
    let path = format!("/tasks/{id}:cancel");
    let canceled = ok(&client, Method::POST, &path, &Value::Null).await;
    assert_eq!(canceled["status"]["state"], "TASK_STATE_CANCELED");
    // Also for a task that has ended.
    ok(&client, Method::POST, &configs, &config).await;
    let request = client.request(
        Method::POST,
        "/message:stream",
        &message("hello").to_string(),
    );
    let mut stream = Events::ask(&daemon, request).await.unwrap();
    assert!(stream.next().await.data["task"].is_object());
    // The canceled one was taken back.
    let asked = mail(&daemon, &orders, 1).await;
    reply(&daemon, &orders, &asked, json!({ "payload": "x" })).await;
    let mut last = Value::Null;
    while let Some(event) = stream.try_next().await {
        last = event.data;
    }
    assert_eq!(
        last["statusUpdate"]["status"]["state"],
        "TASK_STATE_COMPLETED"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_has_the_type_of_the_request() {
    let daemon = Daemon::start(&ON).await;
    agent(&daemon, "orders", json!({})).await;
    let alice = daemon.agent("alice").await;
    let client = Client::new(&daemon, "orders").of(&alice);
    const A2A: &str = "application/a2a+json";
    const JSON: &str = "application/json";
    for (accept, expected, on_error) in [
        ("", A2A, JSON),
        ("*/*", A2A, JSON),
        (JSON, JSON, JSON),
        (A2A, A2A, A2A),
        ("application/a2a+json, application/json", A2A, A2A),
    ] {
        let client = match accept {
            "" => client.clone(),
            accept => client.clone().with("accept", accept),
        };
        let found = client.raw(Method::GET, "/tasks", "").await;
        assert_eq!(found.headers()["content-type"], expected, "{accept}");
        let fault = client.raw(Method::GET, "/tasks/none", "").await;
        assert_eq!(fault.headers()["content-type"], on_error, "{accept}");
        assert_eq!(fault.status(), StatusCode::NOT_FOUND);
    }
    let mut hello = message("hello");
    hello["configuration"] = json!({ "returnImmediately": true });
    for sent in [A2A, JSON] {
        let client = client.clone().with("content-type", sent);
        let done = client
            .raw(Method::POST, "/message:send", &hello.to_string())
            .await;
        assert_eq!(done.headers()["content-type"], sent);
    }
}
