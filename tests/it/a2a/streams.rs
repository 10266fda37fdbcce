//! Streams of tasks: in order, the same for all, also after a kill.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::client::{Client, ON, agent, mail, message, message_for, reply};
use crate::support::Daemon;
use crate::support::events::Events;

fn kind(event: &Value) -> String {
    let result = event.get("result").unwrap_or(event);
    let state = |of: &Value| {
        of["status"]["state"]
            .as_str()
            .unwrap()
            .replace("TASK_STATE_", "")
    };
    if let Some(task) = result.get("task") {
        return format!("task {}", state(task));
    }
    if let Some(update) = result.get("statusUpdate") {
        return state(update);
    }
    let update = &result["artifactUpdate"];
    let artifact = &update["artifact"];
    let last = match update["lastChunk"] == true {
        true => "!",
        false => "",
    };
    format!("{}{last}", artifact["parts"][0]["text"].as_str().unwrap())
}

async fn rest(stream: &mut Events) -> Vec<String> {
    let mut kinds = Vec::new();
    while let Some(event) = stream.try_next().await {
        kinds.push(kind(&event.data));
    }
    kinds
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_has_everything_in_order_and_ends_with_the_task() {
    let daemon = Daemon::start(&ON).await;
    let orders = agent(&daemon, "orders", json!({})).await;
    let alice = daemon.agent("alice").await;
    let client = Client::new(&daemon, "orders").of(&alice);
    let hello = message("hello");
    let mut stream = client.follow("SendStreamingMessage", &hello).await.unwrap();
    let first = stream.next().await.data;
    assert_eq!(
        (&first["jsonrpc"], &first["id"]),
        (&json!("2.0"), &json!(7))
    );
    assert_eq!(kind(&first), "task SUBMITTED");
    let task = first["result"]["task"].clone();
    let subscribe = json!({ "id": task["id"] });
    let mut other = client.follow("SubscribeToTask", &subscribe).await.unwrap();
    assert_eq!(kind(&other.next().await.data), "task SUBMITTED");
    let mut gone = client.follow("SubscribeToTask", &subscribe).await.unwrap();
    gone.next().await;
    drop(gone);
    let asked = mail(&daemon, &orders, 1).await;
    for (text, append, last) in [
        ("a", "false", "false"),
        ("b", "true", "false"),
        ("c", "true", "true"),
    ] {
        let headers = json!({
            "a2a-state": "working", "a2a-artifact-id": "r", "a2a-append": append, "a2a-last-chunk": last,
        });
        reply(
            &daemon,
            &orders,
            &asked,
            json!({ "headers": headers, "payload": text }),
        )
        .await;
    }
    let headers = json!({ "a2a-state": "auth-required" });
    reply(
        &daemon,
        &orders,
        &asked,
        json!({ "headers": headers, "payload": "log in" }),
    )
    .await;
    let last = json!({ "headers": { "a2a-state": "working" }, "payload": "on it" });
    reply(&daemon, &orders, &asked, last).await;
    let failed = json!({ "headers": { "a2a-state": "failed" }, "payload": "out of stock" });
    reply(&daemon, &orders, &asked, failed).await;
    let expected = [
        "WORKING",
        "a",
        "b",
        "c!",
        "AUTH_REQUIRED",
        "WORKING",
        "FAILED",
    ];
    assert_eq!(rest(&mut stream).await, expected);
    assert_eq!(rest(&mut other).await, expected);
    let get = client.result("GetTask", &subscribe).await;
    let texts: Vec<&str> = get["artifacts"][0]["parts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|part| part["text"].as_str().unwrap())
        .collect();
    assert_eq!(texts, ["a", "b", "c"], "the chunks of one artifact");
    assert_eq!(client.error("SubscribeToTask", &subscribe).await, -32004);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_stream_ends_at_a_question_and_a_subscription_does_not() {
    let daemon = Daemon::start(&ON).await;
    let orders = agent(&daemon, "orders", json!({})).await;
    let alice = daemon.agent("alice").await;
    let client = Client::new(&daemon, "orders").of(&alice);
    let hello = message("hello");
    let mut stream = client.follow("SendStreamingMessage", &hello).await.unwrap();
    let task = stream.next().await.data["result"]["task"].clone();
    let subscribe = json!({ "id": task["id"] });
    let mut other = client.follow("SubscribeToTask", &subscribe).await.unwrap();
    let asked = mail(&daemon, &orders, 1).await;
    let question = json!({ "headers": { "a2a-state": "input-required" }, "payload": "which?" });
    reply(&daemon, &orders, &asked, question).await;
    assert_eq!(rest(&mut stream).await, ["WORKING", "INPUT_REQUIRED"]);
    let more = message_for(&task, "that");
    let mut again = client.follow("SendStreamingMessage", &more).await.unwrap();
    assert_eq!(kind(&again.next().await.data), "task WORKING");
    let asked = mail(&daemon, &orders, 2).await;
    reply(&daemon, &orders, &asked, json!({ "payload": "there" })).await;
    assert_eq!(rest(&mut again).await, ["there!", "COMPLETED"]);
    let expected = [
        "task SUBMITTED",
        "WORKING",
        "INPUT_REQUIRED",
        "WORKING",
        "there!",
        "COMPLETED",
    ];
    let seen = rest(&mut other).await;
    // It may have begun behind the first steps.
    assert!(seen[0].starts_with("task "), "{seen:?}");
    assert_eq!(seen[seen.len() - 4..], expected[2..], "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_the_client_comes_again_and_gets_the_rest() {
    let mut daemon = Daemon::start(&ON).await;
    let orders = agent(&daemon, "orders", json!({})).await;
    let alice = daemon.agent("alice").await;
    let chunk = |text: &str| {
        let headers =
            json!({ "a2a-state": "working", "a2a-artifact-id": "r", "a2a-append": "true" });
        json!({ "headers": headers, "payload": text })
    };
    let (asked, task, last) = {
        let client = Client::new(&daemon, "orders").of(&alice);
        let hello = message("hello");
        let mut stream = client.follow("SendStreamingMessage", &hello).await.unwrap();
        let task = stream.next().await.data["result"]["task"].clone();
        let asked = mail(&daemon, &orders, 1).await;
        reply(&daemon, &orders, &asked, chunk("a")).await;
        assert_eq!(kind(&stream.next().await.data), "WORKING");
        let last = stream.next().await;
        assert_eq!(kind(&last.data), "a");
        (asked, task, last.id)
    };
    reply(&daemon, &orders, &asked, chunk("b")).await;
    daemon.kill();
    daemon.run().await;
    let subscribe = json!({ "id": task["id"] });
    let client = Client::new(&daemon, "orders").of(&alice);
    let resuming = client.clone().with("last-event-id", &last);
    let mut stream = resuming
        .follow("SubscribeToTask", &subscribe)
        .await
        .unwrap();
    assert_eq!(
        kind(&stream.next().await.data),
        "b",
        "what came behind the last event"
    );
    let mut fresh = client.follow("SubscribeToTask", &subscribe).await.unwrap();
    assert_eq!(kind(&fresh.next().await.data), "task WORKING");
    reply(&daemon, &orders, &asked, json!({ "payload": "end" })).await;
    assert_eq!(rest(&mut stream).await, ["end!", "COMPLETED"]);
    assert_eq!(rest(&mut fresh).await, ["end!", "COMPLETED"]);
    // What a client missed of a task that has ended is still there.
    let mut late = resuming
        .follow("SubscribeToTask", &subscribe)
        .await
        .unwrap();
    assert_eq!(rest(&mut late).await, ["b", "end!", "COMPLETED"]);
    let last = late_end(&client, &subscribe).await;
    let nothing = client.clone().with("last-event-id", &last);
    assert_eq!(nothing.error("SubscribeToTask", &subscribe).await, -32004);
    let bad = client.with("last-event-id", "nonsense");
    assert_eq!(bad.error("SubscribeToTask", &subscribe).await, -32602);
}

/// The id of the last event of a task that has ended.
async fn late_end(client: &Client<'_>, subscribe: &Value) -> String {
    let all = client.clone().with("last-event-id", "0");
    let mut stream = all.follow("SubscribeToTask", subscribe).await.unwrap();
    let mut last = String::new();
    while let Some(event) = stream.try_next().await {
        last = event.id;
    }
    last
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_reads_holds_up_nobody() {
    let daemon = Daemon::start(&ON).await;
    let orders = agent(&daemon, "orders", json!({})).await;
    let alice = daemon.agent("alice").await;
    let client = Client::new(&daemon, "orders").of(&alice);
    let hello = message("hello");
    let deaf = client.follow("SendStreamingMessage", &hello).await.unwrap();
    let asked = mail(&daemon, &orders, 1).await;
    let id = asked["headers"]["a2a-task-id"].clone();
    let subscribe = json!({ "id": id });
    let mut other = client.follow("SubscribeToTask", &subscribe).await.unwrap();
    let large = "x".repeat(1_000_000);
    let headers = json!({ "a2a-state": "working", "a2a-artifact-id": "r", "a2a-append": "true" });
    for _ in 0..12 {
        let chunk = json!({ "headers": headers, "payload": large });
        reply(&daemon, &orders, &asked, chunk).await;
    }
    reply(&daemon, &orders, &asked, json!({ "payload": "end" })).await;
    let seen = rest(&mut other).await;
    assert_eq!(seen.last().unwrap(), "COMPLETED");
    assert_eq!(seen.iter().filter(|it| it.len() == 1_000_000).count(), 12);
    drop(deaf);
    let got = client.result("GetTask", &subscribe).await;
    assert_eq!(got["artifacts"][0]["parts"].as_array().unwrap().len(), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_may_have_no_streams() {
    let daemon = Daemon::start(&ON).await;
    agent(&daemon, "orders", json!({ "streaming": false })).await;
    let alice = daemon.agent("alice").await;
    let client = Client::new(&daemon, "orders").of(&alice);
    let (status, card) = client
        .json(Method::GET, "/.well-known/agent-card.json", "")
        .await;
    assert_eq!(
        (status, &card["capabilities"]["streaming"]),
        (StatusCode::OK, &json!(false))
    );
    let task = client.begin("hello").await;
    let refused = client
        .error("SendStreamingMessage", &message("hello"))
        .await;
    assert_eq!(refused, -32004);
    let subscribe = json!({ "id": task["id"] });
    assert_eq!(client.error("SubscribeToTask", &subscribe).await, -32004);
    assert_eq!(client.result("ListTasks", &json!({})).await["totalSize"], 1);
}
