//! Tasks by JSON-RPC 1.0: sending, waiting, more turns, lists, whose they are.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::client::{Client, ON, agent, answer, mail, message, message_for, reply};
use crate::support::{Daemon, eventually_so};

const SOON: std::time::Duration = std::time::Duration::from_secs(10);

fn state(task: &Value) -> &str {
    task["status"]["state"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_waits_for_the_answer_of_an_agent_that_polls() {
    let daemon = Daemon::start(&ON).await;
    let orders = agent(&daemon, "orders", json!({})).await;
    let alice = daemon.agent("alice").await;
    let client = Client::new(&daemon, "orders").of(&alice);
    let mut params = message("Order 100 widgets");
    let data = json!({ "data": { "sku": "W-1", "qty": 100, "big": 9_007_199_254_740_993_i64 } });
    let parts = params["message"]["parts"].as_array_mut().unwrap();
    parts.push(data);
    let (result, asked) = tokio::join!(client.result("SendMessage", &params), async {
        let asked = mail(&daemon, &orders, 1).await;
        let payload = json!({ "order_id": "PO-9", "status": "confirmed" });
        let attachment = json!({
            "filename": "po.pdf", "content_type": "application/pdf", "size": 1024,
            "hash": format!("sha256:{}", "ab".repeat(32)), "url": "https://files.test/x",
        });
        let more = json!({
            "schema": "agntcy:commerce.order.v2", "payload": payload, "attachments": [attachment],
        });
        reply(&daemon, &orders, &asked, more).await;
        asked
    });
    assert_eq!(asked["sender"], alice.address.as_str());
    assert_eq!(asked["schema"], "agntcy:a2a.message.v1");
    assert_eq!(asked["subject"], "Order 100 widgets");
    let said = &asked["payload"]["message"];
    assert_eq!(said["parts"][1]["data"]["big"], 9_007_199_254_740_993_i64);
    let task = &result["task"];
    assert_eq!(asked["headers"]["a2a-task-id"], task["id"]);
    assert_eq!(asked["headers"]["a2a-context-id"], task["contextId"]);
    assert_eq!(asked["headers"]["a2a-message-id"], "m-1");
    assert_eq!(state(task), "TASK_STATE_COMPLETED");
    assert!(task["status"]["timestamp"].as_str().unwrap().ends_with('Z'));
    let artifact = &task["artifacts"][0];
    assert_eq!(artifact["name"], "response");
    assert_eq!(artifact["parts"][0]["data"]["order_id"], "PO-9");
    let schema = &artifact["parts"][0]["metadata"]["schema"];
    assert_eq!(schema, "agntcy:commerce.order.v2");
    assert_eq!(artifact["parts"][1]["url"], "https://files.test/x");
    assert_eq!(task["history"].as_array().unwrap().len(), 1);
    assert_eq!(task["history"][0]["taskId"], task["id"]);
    // The answer is for the task, and not for the inbox of who asked.
    assert!(daemon.inbox(&alice).await.is_empty());
    let get = json!({ "id": task["id"] });
    assert_eq!(client.result("GetTask", &get).await, *task);
    let bare = json!({ "id": task["id"], "history_length": "0" });
    let bare = client.result("GetTask", &bare).await;
    assert!(bare.get("history").is_none(), "{bare}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_seen_at_once_and_survives_a_kill() {
    let mut daemon = Daemon::start(&ON).await;
    let orders = agent(&daemon, "orders", json!({})).await;
    let alice = daemon.agent("alice").await;
    let task = {
        let client = Client::new(&daemon, "orders").of(&alice);
        let task = client.begin("hello").await;
        assert_eq!(state(&task), "TASK_STATE_SUBMITTED");
        task
    };
    daemon.kill();
    daemon.run().await;
    let client = Client::new(&daemon, "orders").of(&alice);
    let get = json!({ "id": task["id"] });
    let found = client.result("GetTask", &get).await;
    assert_eq!(state(&found), "TASK_STATE_SUBMITTED");
    let asked = mail(&daemon, &orders, 1).await;
    let found = client.result("GetTask", &get).await;
    assert_eq!(state(&found), "TASK_STATE_WORKING", "the agent has it");
    reply(&daemon, &orders, &asked, json!({ "payload": "done" })).await;
    let found = client.result("GetTask", &get).await;
    assert_eq!(state(&found), "TASK_STATE_COMPLETED");
    assert_eq!(found["artifacts"][0]["parts"][0]["text"], "done");
    assert_eq!(
        client
            .error("SendMessage", &message_for(&task, "more"))
            .await,
        -32004
    );
    assert_eq!(client.error("CancelTask", &get).await, -32002);
    let (status, refused) = answer(&daemon, &orders, &asked, json!({ "payload": "again" })).await;
    assert_ne!(status, StatusCode::ACCEPTED, "{refused}");
    assert!(refused.to_string().contains("TASK_TERMINAL"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_asks_and_the_client_answers() {
    let daemon = Daemon::start(&ON).await;
    let orders = agent(&daemon, "orders", json!({})).await;
    let alice = daemon.agent("alice").await;
    let client = Client::new(&daemon, "orders").of(&alice);
    let first = message("Order a widget");
    let (result, asked) = tokio::join!(client.result("SendMessage", &first), async {
        let asked = mail(&daemon, &orders, 1).await;
        let headers = json!({ "a2a-state": "input-required" });
        let more = json!({ "headers": headers, "payload": { "text": "Which colour?" } });
        reply(&daemon, &orders, &asked, more).await;
        asked
    });
    let task = result["task"].clone();
    assert_eq!(state(&task), "TASK_STATE_INPUT_REQUIRED");
    assert_eq!(
        task["status"]["message"]["parts"][0]["text"],
        "Which colour?"
    );
    let mut elsewhere = message_for(&task, "red");
    elsewhere["message"]["contextId"] = json!("another");
    assert_eq!(client.error("SendMessage", &elsewhere).await, -32602);
    let second = message_for(&task, "red");
    let (result, again) = tokio::join!(client.result("SendMessage", &second), async {
        let again = mail(&daemon, &orders, 2).await;
        reply(
            &daemon,
            &orders,
            &again,
            json!({ "payload": { "text": "here" } }),
        )
        .await;
        again
    });
    assert_ne!(
        again["in_reply_to"], asked["message_id"],
        "it answers the agent's question"
    );
    assert_eq!(again["headers"]["a2a-task-id"], task["id"]);
    let done = &result["task"];
    assert_eq!(
        (&done["id"], state(done)),
        (&task["id"], "TASK_STATE_COMPLETED")
    );
    let said: Vec<&str> = done["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["parts"][0]["text"].as_str().unwrap())
        .collect();
    assert_eq!(said, ["Order a widget", "Which colour?", "red"]);
    let last = json!({ "id": task["id"], "historyLength": 1 });
    let last = client.result("GetTask", &last).await;
    assert_eq!(last["history"].as_array().unwrap().len(), 1);
    assert_eq!(last["history"][0]["parts"][0]["text"], "red");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_answers_directly_instead_of_by_a_task() {
    let daemon = Daemon::start(&ON).await;
    let orders = agent(&daemon, "orders", json!({ "profile": "plain" })).await;
    let alice = daemon.agent("alice").await;
    let client = Client::new(&daemon, "orders").of(&alice);
    let hello = message("hello");
    let (result, asked) = tokio::join!(client.result("SendMessage", &hello), async {
        let asked = mail(&daemon, &orders, 1).await;
        let more = json!({ "headers": { "a2a-state": "message" }, "payload": "hello yourself" });
        reply(&daemon, &orders, &asked, more).await;
        asked
    });
    assert_eq!(
        asked["payload"],
        json!({ "text": "hello" }),
        "profile plain"
    );
    assert_eq!(result["message"]["role"], "ROLE_AGENT");
    assert_eq!(result["message"]["parts"][0]["text"], "hello yourself");
    let listed = client.result("ListTasks", &json!({})).await;
    assert_eq!(
        (&listed["tasks"], &listed["totalSize"]),
        (&json!([]), &json!(0))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_too_long_gets_the_task_as_it_is() {
    let variables = [("AMTPD__A2A__BLOCKING_MAX_WAIT", "1s")];
    let daemon = Daemon::start(&variables).await;
    agent(&daemon, "orders", json!({})).await;
    let alice = daemon.agent("alice").await;
    let client = Client::new(&daemon, "orders").of(&alice);
    let result = client.result("SendMessage", &message("hello")).await;
    assert_eq!(state(&result["task"]), "TASK_STATE_SUBMITTED");
    let listed = client.result("ListTasks", &json!({})).await;
    assert_eq!(listed["tasks"][0]["id"], result["task"]["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_cancelled_once() {
    let daemon = Daemon::start(&ON).await;
    agent(&daemon, "orders", json!({})).await;
    let alice = daemon.agent("alice").await;
    let client = Client::new(&daemon, "orders").of(&alice);
    let task = client.begin("hello").await;
    let get = json!({ "id": task["id"] });
    let canceled = client.result("CancelTask", &get).await;
    assert_eq!(state(&canceled), "TASK_STATE_CANCELED");
    assert_eq!(canceled["id"], task["id"]);
    assert_eq!(client.error("CancelTask", &get).await, -32002);
    let path = "/v1/admin/audit?event=task.canceled";
    eventually_so("an entry of the audit log", SOON, async || {
        let (_, log) = daemon.admin(Method::GET, path, None).await;
        let text = log.to_string();
        text.contains(task["id"].as_str().unwrap()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_paged_filtered_and_ones_own() {
    let daemon = Daemon::start(&ON).await;
    agent(&daemon, "orders", json!({})).await;
    agent(&daemon, "other", json!({})).await;
    let (alice, bob) = (daemon.agent("alice").await, daemon.agent("bob").await);
    let client = Client::new(&daemon, "orders").of(&alice);
    let mut tasks = Vec::new();
    for n in 0..5 {
        let mut params = message(&format!("task {n}"));
        params["message"]["contextId"] = json!(format!("c-{}", n % 2));
        params["configuration"] = json!({ "returnImmediately": true });
        tasks.push(client.result("SendMessage", &params).await["task"].clone());
    }
    assert_eq!(tasks[1]["contextId"], "c-1");
    client
        .result("CancelTask", &json!({ "id": tasks[0]["id"] }))
        .await;
    let all = client.result("ListTasks", &json!({})).await;
    assert_eq!(all["totalSize"], 5);
    assert_eq!(
        (&all["pageSize"], &all["nextPageToken"]),
        (&json!(50), &json!(""))
    );
    assert_eq!(
        all["tasks"][0]["id"], tasks[0]["id"],
        "the newest status first"
    );
    assert!(all["tasks"][0].get("artifacts").is_none());
    let mut seen = Vec::new();
    let mut token = String::new();
    loop {
        let asked = json!({ "pageSize": 2, "pageToken": token });
        let page = client.result("ListTasks", &asked).await;
        let found = page["tasks"].as_array().unwrap();
        seen.extend(found.iter().map(|it| it["id"].clone()));
        page["nextPageToken"]
            .as_str()
            .unwrap()
            .clone_into(&mut token);
        if token.is_empty() {
            break;
        }
        let elsewhere = json!({ "pageToken": token, "contextId": "c-0" });
        assert_eq!(client.error("ListTasks", &elsewhere).await, -32602);
        let bobs = Client::new(&daemon, "orders").of(&bob);
        assert_eq!(
            bobs.error("ListTasks", &json!({ "pageToken": token }))
                .await,
            -32602
        );
    }
    assert_eq!(seen.len(), 5);
    for (filter, count) in [
        (json!({ "contextId": "c-0" }), 3),
        (json!({ "context_id": "c-1" }), 2),
        (json!({ "status": "TASK_STATE_CANCELED" }), 1),
        (json!({ "status": 1 }), 4),
        (
            json!({ "statusTimestampAfter": tasks[4]["status"]["timestamp"] }),
            2,
        ),
        (json!({ "statusTimestampAfter": "2999-01-01T00:00:00Z" }), 0),
    ] {
        let found = client.result("ListTasks", &filter).await;
        assert_eq!(found["totalSize"], count, "{filter} {found}");
    }
    for others in [
        Client::new(&daemon, "orders").of(&bob),
        Client::new(&daemon, "other").of(&alice),
    ] {
        let found = others.result("ListTasks", &json!({})).await;
        assert_eq!(found["totalSize"], 0, "{found}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_cannot_tell_a_foreign_task_from_none() {
    let daemon = Daemon::start(&ON).await;
    let orders = agent(&daemon, "orders", json!({})).await;
    let open = agent(&daemon, "open", json!({ "access": "public" })).await;
    let (alice, bob) = (daemon.agent("alice").await, daemon.agent("bob").await);
    let client = Client::new(&daemon, "orders").of(&alice);
    let task = client.begin("mine").await;
    let absent = json!("0193a2b4-0000-7000-8000-000000000001");
    let strangers = [
        Client::new(&daemon, "orders").of(&bob),
        Client::new(&daemon, "orders").of(&orders),
        Client::new(&daemon, "open").of(&alice),
        Client::new(&daemon, "open"),
    ];
    for stranger in &strangers {
        for method in ["GetTask", "CancelTask", "SubscribeToTask"] {
            let ask = async |id: &Value| {
                let answer = stranger.call(method, &json!({ "id": id })).await;
                let text = answer["error"].to_string();
                (
                    answer["error"]["code"].clone(),
                    text.replace(id.as_str().unwrap(), "ID"),
                )
            };
            let (foreign, none) = (ask(&task["id"]).await, ask(&absent).await);
            assert_eq!(foreign.0, -32001, "{method}");
            assert_eq!(foreign, none, "{method}");
        }
        assert_eq!(
            stranger
                .error("SendMessage", &message_for(&task, "x"))
                .await,
            -32001
        );
        let config = json!({ "taskId": task["id"], "url": "https://x.test/" });
        let method = "CreateTaskPushNotificationConfig";
        assert_eq!(stranger.error(method, &config).await, -32001);
    }
    // Nobody's task is that of who knows its id.
    let nobody = Client::new(&daemon, "open");
    let task = nobody.begin("hello").await;
    let get = json!({ "id": task["id"] });
    assert_eq!(nobody.result("GetTask", &get).await["id"], task["id"]);
    assert_eq!(nobody.result("ListTasks", &json!({})).await["totalSize"], 0);
    assert_eq!(
        Client::new(&daemon, "open")
            .of(&alice)
            .error("GetTask", &get)
            .await,
        -32001
    );
    let asked = mail(&daemon, &open, 1).await;
    let sender = asked["sender"].as_str().unwrap();
    assert!(sender.starts_with("a2a+"), "{sender}");
    assert_eq!(asked["headers"]["a2a-task-id"], task["id"]);
    // Another agent's answer never touches it.
    let (status, _) = answer(&daemon, &bob, &asked, json!({ "payload": "forged" })).await;
    assert_ne!(status, StatusCode::ACCEPTED);
    reply(&daemon, &open, &asked, json!({ "payload": "true" })).await;
    let done = nobody.result("GetTask", &get).await;
    assert_eq!(done["artifacts"][0]["parts"][0]["text"], "true");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_those_may_call_whom_the_agent_takes() {
    let daemon = Daemon::start(&ON).await;
    agent(&daemon, "closed", json!({})).await;
    agent(&daemon, "open", json!({ "access": "public" })).await;
    let list = json!({ "access": "allow-list", "allow": ["alice@it.test"] });
    agent(&daemon, "listed", list).await;
    let (alice, bob) = (daemon.agent("alice").await, daemon.agent("bob").await);
    let call = json!({ "jsonrpc": "2.0", "id": 7, "method": "ListTasks" }).to_string();
    for (name, key, status) in [
        ("closed", None, 401),
        ("closed", Some("ak_x_y".to_owned()), 401),
        ("closed", Some(bob.key.clone()), 200),
        ("open", None, 200),
        ("open", Some("ak_x_y".to_owned()), 401),
        ("listed", None, 401),
        ("listed", Some(bob.key.clone()), 403),
        ("listed", Some(alice.key.clone()), 200),
        ("nobody", Some(alice.key.clone()), 404),
    ] {
        let mut client = Client::new(&daemon, name);
        client.key = key;
        let answer = client.raw(Method::POST, "", &call).await;
        assert_eq!(answer.status(), status, "{name}");
        let value: Value = serde_json::from_slice(answer.body()).unwrap();
        assert_eq!(value["jsonrpc"], "2.0", "{value}");
        let asks = answer.headers().contains_key("www-authenticate");
        assert_eq!(asks, status == 401, "{name}");
        let rest = client.raw(Method::GET, "/tasks", "").await;
        assert_eq!(rest.status(), status, "{name}");
        if status != 200 {
            let value: Value = serde_json::from_slice(rest.body()).unwrap();
            assert_eq!(value["error"]["code"], status, "{value}");
        }
    }
    for event in ["a2a.denied", "auth.failed"] {
        let path = format!("/v1/admin/audit?event={event}");
        eventually_so("an entry of the audit log", SOON, async || {
            let (_, log) = daemon.admin(Method::GET, &path, None).await;
            log.to_string().contains(event).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_counts_once_where_the_client_asks_so() {
    let daemon = Daemon::start(&ON).await;
    let orders = agent(&daemon, "orders", json!({})).await;
    let alice = daemon.agent("alice").await;
    let client = Client::new(&daemon, "orders").of(&alice);
    let (one, other) = (client.begin("x").await, client.begin("x").await);
    assert_ne!(
        one["id"], other["id"],
        "a repeated messageId is another task"
    );
    let client = client.with("idempotency-key", "k-1");
    let (one, other) = (client.begin("x").await, client.begin("x").await);
    assert_eq!(one["id"], other["id"]);
    assert_eq!(daemon.inbox(&orders).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_comes_to_the_agent_by_reference() {
    let daemon = Daemon::start(&ON).await;
    let orders = agent(&daemon, "orders", json!({})).await;
    let alice = daemon.agent("alice").await;
    let client = Client::new(&daemon, "orders").of(&alice);
    let mut params = message("see");
    let raw = "QUFB".repeat(30_000);
    let file = json!({ "raw": raw, "filename": "a.txt", "mediaType": "text/plain" });
    params["message"]["parts"]
        .as_array_mut()
        .unwrap()
        .push(file.clone());
    params["configuration"] = json!({ "returnImmediately": true });
    let task = client.result("SendMessage", &params).await["task"].clone();
    assert_eq!(task["history"][0]["parts"][1], file, "history is verbatim");
    let asked = mail(&daemon, &orders, 1).await;
    let attachment = &asked["attachments"][0];
    assert_eq!(
        (&attachment["size"], &attachment["filename"]),
        (&json!(90_000), &json!("a.txt"))
    );
    let part = &asked["payload"]["message"]["parts"][1];
    assert_eq!(part["url"], attachment["url"]);
    assert!(part.get("raw").is_none());
    let url = attachment["url"].as_str().unwrap();
    let path = url.strip_prefix("https://localhost:8443").unwrap();
    let ask = async |key: &str| {
        let answer = daemon
            .caller()
            .ask(Method::GET, path, Some(key), None)
            .await;
        answer.unwrap()
    };
    let file = ask(&orders.key).await;
    assert_eq!((file.status().as_u16(), file.body().len()), (200, 90_000));
    assert_eq!(ask(&alice.key).await.status(), 404, "it is the agent's");
}
