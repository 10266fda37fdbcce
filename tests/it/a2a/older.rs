//! Clients of 0.3 and of 0.1: each is answered in its own words.

use serde_json::{Value, json};

use super::client::{Client, ON, agent, mail, reply};
use crate::support::Daemon;
use crate::support::events::Events;

fn said(text: &str) -> Value {
    json!({ "message": {
        "kind": "message", "messageId": "m-1", "role": "user",
        "parts": [{ "kind": "text", "text": text }],
    } })
}

fn sent(id: &str, text: &str) -> Value {
    let message = json!({ "role": "user", "parts": [{ "type": "text", "text": text }] });
    json!({ "id": id, "sessionId": "s-1", "message": message })
}

async fn rest(stream: &mut Events) -> Vec<Value> {
    let mut events = Vec::new();
    while let Some(event) = stream.try_next().await {
        events.push(event.data["result"].clone());
    }
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_0_3_sends_waits_and_follows() {
    let daemon = Daemon::start(&ON).await;
    let orders = agent(&daemon, "orders", json!({})).await;
    let alice = daemon.agent("alice").await;
    let client = Client::new(&daemon, "orders").of(&alice).speaking("");
    let hello = said("hello");
    let (task, ()) = tokio::join!(client.result("message/send", &hello), async {
        let asked = mail(&daemon, &orders, 1).await;
        assert_eq!(asked["headers"]["a2a-version"], "0.3");
        reply(&daemon, &orders, &asked, json!({ "payload": [1] })).await;
    });
    assert_eq!(
        (&task["kind"], &task["status"]["state"]),
        (&json!("task"), &json!("completed"))
    );
    let part = &task["artifacts"][0]["parts"][0];
    assert_eq!(
        (&part["kind"], &part["data"]),
        (&json!("data"), &json!({ "value": [1] }))
    );
    assert_eq!(task["history"][0]["role"], "user");
    let get = json!({ "id": task["id"] });
    assert_eq!(client.result("tasks/get", &get).await, task);
    assert_eq!(client.error("tasks/cancel", &get).await, -32002);
    let mut follow_up = said("more");
    follow_up["message"]["taskId"] = task["id"].clone();
    assert_eq!(client.error("message/send", &follow_up).await, -32004);
    let mut stream = client.follow("message/stream", &hello).await.unwrap();
    let first = stream.next().await.data["result"].clone();
    assert_eq!(
        (&first["kind"], &first["status"]["state"]),
        (&json!("task"), &json!("submitted"))
    );
    let resubscribe = json!({ "id": first["id"] });
    let mut other = client
        .follow("tasks/resubscribe", &resubscribe)
        .await
        .unwrap();
    assert_eq!(other.next().await.data["result"]["kind"], "task");
    let asked = mail(&daemon, &orders, 2).await;
    reply(&daemon, &orders, &asked, json!({ "payload": "x" })).await;
    let events = rest(&mut stream).await;
    let kinds: Vec<&str> = events
        .iter()
        .map(|it| it["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["status-update", "artifact-update", "status-update"]);
    let finals: Vec<&Value> = events.iter().map(|it| &it["final"]).collect();
    assert_eq!(finals, [&json!(false), &Value::Null, &json!(true)]);
    assert_eq!(rest(&mut other).await.last(), events.last());
    // A stream that cannot be says so as an event.
    let mut refused = client
        .follow("tasks/resubscribe", &resubscribe)
        .await
        .unwrap();
    assert_eq!(refused.next().await.data["error"]["code"], -32004);
    assert_eq!(refused.try_next().await, None);
    let at_once = json!({ "blocking": false });
    let mut params = said("later");
    params["configuration"] = at_once;
    let task = client.result("message/send", &params).await;
    assert_eq!(task["status"]["state"], "submitted");
}

#[tokio::test(flavor = "multi_thread")]
async fn places_of_0_3_have_their_own_shape() {
    let daemon = Daemon::start(&ON).await;
    agent(&daemon, "orders", json!({})).await;
    let alice = daemon.agent("alice").await;
    let client = Client::new(&daemon, "orders").of(&alice).speaking("0.3");
    let mut params = said("hello");
    params["configuration"] = json!({ "blocking": false });
    let task = client.result("message/send", &params).await;
    let id = &task["id"];
    let config = json!({
        "url": "https://hooks.test/", "authentication": { "schemes": ["Bearer"], "credentials": "c" },
    });
    let set = json!({ "taskId": id, "pushNotificationConfig": config });
    let made = client
        .result("tasks/pushNotificationConfig/set", &set)
        .await;
    assert_eq!(made["pushNotificationConfig"]["id"], *id);
    let get = json!({ "id": id });
    let found = client
        .result("tasks/pushNotificationConfig/get", &get)
        .await;
    assert_eq!(found, made);
    assert_eq!(
        found["pushNotificationConfig"]["authentication"]["schemes"],
        json!(["Bearer"])
    );
    let all = client
        .result("tasks/pushNotificationConfig/list", &get)
        .await;
    assert_eq!(all, json!([made]));
    let delete = json!({ "id": id, "pushNotificationConfigId": id });
    for _ in 0..2 {
        let answer = client
            .call("tasks/pushNotificationConfig/delete", &delete)
            .await;
        assert_eq!(answer.get("result"), Some(&Value::Null), "{answer}");
    }
    let all = client
        .result("tasks/pushNotificationConfig/list", &get)
        .await;
    assert_eq!(all, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_client_names_its_tasks() {
    let daemon = Daemon::start(&ON).await;
    let orders = agent(&daemon, "orders", json!({})).await;
    let (alice, bob) = (daemon.agent("alice").await, daemon.agent("bob").await);
    let client = Client::new(&daemon, "orders").of(&alice).speaking("");
    let first = sent("my-task", "hello");
    let (task, ()) = tokio::join!(client.result("tasks/send", &first), async {
        let asked = mail(&daemon, &orders, 1).await;
        let question = json!({ "headers": { "a2a-state": "input-required" }, "payload": "which?" });
        reply(&daemon, &orders, &asked, question).await;
    });
    assert_eq!(
        (&task["id"], &task["sessionId"]),
        (&json!("my-task"), &json!("s-1"))
    );
    assert_eq!(task["status"]["state"], "input-required");
    assert_eq!(task["status"]["message"]["parts"][0]["type"], "text");
    assert!(task.get("kind").is_none() && task.get("contextId").is_none());
    let second = sent("my-task", "that");
    let (task, ()) = tokio::join!(client.result("tasks/send", &second), async {
        let asked = mail(&daemon, &orders, 2).await;
        reply(&daemon, &orders, &asked, json!({ "payload": "there" })).await;
    });
    assert_eq!(task["status"]["state"], "completed");
    assert_eq!(
        (
            &task["artifacts"][0]["index"],
            &task["artifacts"][0]["parts"][0]["text"]
        ),
        (&json!(0), &json!("there"))
    );
    let get = json!({ "id": "my-task" });
    assert_eq!(client.result("tasks/get", &get).await, task);
    let bobs = Client::new(&daemon, "orders").of(&bob).speaking("");
    assert_eq!(
        bobs.error("tasks/get", &get).await,
        -32001,
        "names are of who gave them"
    );
    // The name of a task that has ended may name another.
    let mut stream = client.follow("tasks/sendSubscribe", &first).await.unwrap();
    let event = stream.next().await.data["result"].clone();
    assert_eq!(
        (&event["id"], &event["status"]["state"]),
        (&json!("my-task"), &json!("submitted"))
    );
    let asked = mail(&daemon, &orders, 3).await;
    reply(&daemon, &orders, &asked, json!({ "payload": "x" })).await;
    let events = rest(&mut stream).await;
    assert_eq!(events[1]["artifact"]["index"], 0);
    assert_eq!(events[2]["final"], true);
    let set =
        json!({ "id": "my-task", "pushNotificationConfig": { "url": "https://hooks.test/" } });
    let made = client.result("tasks/pushNotification/set", &set).await;
    assert_eq!(made, set);
    assert_eq!(client.result("tasks/pushNotification/get", &get).await, set);
    assert_eq!(client.error("tasks/cancel", &get).await, -32002);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobodys_early_task_needs_a_name_that_is_not_guessed() {
    let daemon = Daemon::start(&ON).await;
    agent(&daemon, "open", json!({ "access": "public" })).await;
    let nobody = Client::new(&daemon, "open").speaking("");
    assert_eq!(nobody.error("tasks/send", &sent("1", "x")).await, -32602);
    let name = "a".repeat(32);
    let mut stream = nobody
        .follow("tasks/sendSubscribe", &sent(&name, "x"))
        .await
        .unwrap();
    assert_eq!(stream.next().await.data["result"]["id"], name.as_str());
    let found = nobody.result("tasks/get", &json!({ "id": name })).await;
    assert_eq!(found["id"], name.as_str());
    let canceled = nobody.result("tasks/cancel", &json!({ "id": name })).await;
    assert_eq!(canceled["status"]["state"], "canceled");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_version_and_the_name_of_a_method_go_together() {
    let daemon = Daemon::start(&ON).await;
    agent(&daemon, "orders", json!({})).await;
    let alice = daemon.agent("alice").await;
    let client = Client::new(&daemon, "orders").of(&alice);
    let absent = json!({ "id": "none" });
    for (version, method, code) in [
        ("1.0", "GetTask", -32001),
        ("1.0.1", "GetTask", -32001),
        (" 1.0 ", "GetTask", -32001),
        ("", "GetTask", -32009),
        ("0.3", "GetTask", -32009),
        ("1.1", "GetTask", -32009),
        ("2.0", "GetTask", -32009),
        ("1", "GetTask", -32009),
        ("banana", "GetTask", -32009),
        ("", "tasks/get", -32001),
        ("0.3", "tasks/get", -32001),
        ("0.3.7", "tasks/get", -32001),
        ("0.1", "tasks/get", -32001),
        ("1.0", "tasks/get", -32601),
        // 0.3 has no number for that.
        ("2.0", "tasks/get", -32603),
        ("1.0", "tasks/list", -32601),
        ("1.0", "getTask", -32601),
    ] {
        let client = client.clone().speaking(version);
        assert_eq!(
            client.error(method, &absent).await,
            code,
            "{version} {method}"
        );
    }
    for (version, status, reason) in [
        ("1.0", 404, "TASK_NOT_FOUND"),
        ("", 400, "VERSION_NOT_SUPPORTED"),
        ("0.3", 400, "VERSION_NOT_SUPPORTED"),
        ("3.0", 400, "VERSION_NOT_SUPPORTED"),
    ] {
        let client = client.clone().speaking(version);
        let (found, answer) = client.json(hyper::Method::GET, "/tasks/none", "").await;
        assert_eq!(found, status, "{version} {answer}");
        assert_eq!(answer["error"]["details"][0]["reason"], reason);
    }
    let shown = client.clone().speaking("").call("GetTask", &absent).await;
    let shown = &shown["error"]["data"][0]["metadata"]["supportedVersions"];
    assert_eq!(shown, "1.0, 0.3");
    let mut by_query = client.clone().speaking("");
    by_query.base += "?A2A-Version=1.0";
    assert_eq!(by_query.error("GetTask", &absent).await, -32001);
    let shouting = client.speaking("").with("A2A-VERSION", "1.0");
    assert_eq!(shouting.error("GetTask", &absent).await, -32001);
    let lenient = Daemon::start(&[("AMTPD__A2A__ASSUME_VERSION", "1.0")]).await;
    agent(&lenient, "orders", json!({})).await;
    let alice = lenient.agent("alice").await;
    let client = Client::new(&lenient, "orders").of(&alice).speaking("");
    assert_eq!(client.error("GetTask", &absent).await, -32001);
}
