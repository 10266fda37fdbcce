//! What is not as it must be: the right number, with the field that is wrong.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::client::{Client, ON, agent, message, message_for};
use crate::support::Daemon;

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "one table")]
async fn what_is_no_call_is_told() {
    let daemon = Daemon::start(&ON).await;
    agent(&daemon, "orders", json!({})).await;
    let alice = daemon.agent("alice").await;
    let client = Client::new(&daemon, "orders").of(&alice);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for (body, code, id) in [
        ("", -32700, Value::Null),
        ("{", -32700, Value::Null),
        ("\u{feff}{}", -32700, Value::Null),
        (deep.as_str(), -32700, Value::Null),
        ("[]", -32600, Value::Null),
        (
            r#"[{"jsonrpc":"2.0","id":1,"method":"GetTask"}]"#,
            -32600,
            Value::Null,
        ),
        ("1", -32600, Value::Null),
        (
            r#"{"jsonrpc":"2.0","method":"GetTask"}"#,
            -32600,
            Value::Null,
        ),
        (
            r#"{"jsonrpc":"2.0","id":null,"method":"GetTask"}"#,
            -32600,
            Value::Null,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1.5,"method":"GetTask"}"#,
            -32600,
            Value::Null,
        ),
        (
            r#"{"jsonrpc":"2.0","id":{},"method":"GetTask"}"#,
            -32600,
            Value::Null,
        ),
        (
            r#"{"jsonrpc":"1.0","id":1,"method":"GetTask"}"#,
            -32600,
            json!(1),
        ),
        (r#"{"id":1,"method":"GetTask"}"#, -32600, json!(1)),
        (r#"{"jsonrpc":"2.0","id":"x"}"#, -32600, json!("x")),
        (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, -32600, json!(1)),
        (
            r#"{"jsonrpc":"2.0","id":-3,"method":"Nothing"}"#,
            -32601,
            json!(-3),
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"GetTask","params":[]}"#,
            -32602,
            json!(1),
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"GetTask","params":"x"}"#,
            -32602,
            json!(1),
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"GetTask"}"#,
            -32602,
            json!(1),
        ),
    ] {
        let client = client.clone().with("content-type", "application/json");
        let (status, answer) = client.json(Method::POST, "", body).await;
        let shown: String = body.chars().take(60).collect();
        assert_eq!(status, StatusCode::OK, "{shown}");
        assert_eq!(answer["error"]["code"], code, "{shown} {answer}");
        assert_eq!(
            (&answer["jsonrpc"], &answer["id"]),
            (&json!("2.0"), &id),
            "{shown}"
        );
        let info = &answer["error"]["data"][0];
        assert_eq!(info["domain"], "a2a-protocol.org", "{answer}");
    }
    let hello = message("hello").to_string();
    for (sent, status, code) in [
        ("text/plain", 415, -32005),
        ("application/a2a+json", 415, -32005),
        ("application/json; charset=utf-8", 200, -32600),
    ] {
        let client = client.clone().with("content-type", sent);
        let (found, answer) = client.json(Method::POST, "", &hello).await;
        assert_eq!(
            (found.as_u16(), &answer["error"]["code"]),
            (status, &json!(code)),
            "{sent}"
        );
    }
    let huge = "x".repeat(11 * 1_024 * 1_024);
    let (status, answer) = client.json(Method::POST, "", &huge).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{answer}");
    assert_eq!(answer["jsonrpc"], "2.0");
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "one table")]
async fn what_is_wrong_with_a_message_is_told_with_its_field() {
    let daemon = Daemon::start(&ON).await;
    let orders = agent(&daemon, "orders", json!({})).await;
    let alice = daemon.agent("alice").await;
    let client = Client::new(&daemon, "orders").of(&alice);
    let without = |name: &str| {
        let mut params = message("x");
        params["message"].as_object_mut().unwrap().remove(name);
        params
    };
    let with = |name: &str, value: Value| {
        let mut params = message("x");
        params["message"][name] = value;
        params
    };
    let parts = |value: Value| with("parts", value);
    let many: Vec<Value> = (0..10_000).map(|_| json!({ "text": "x" })).collect();
    let configured = |value: Value| {
        let mut params = message("x");
        params["configuration"] = value;
        params
    };
    let mut cases = vec![
        (json!({}), "message"),
        (json!({ "message": null }), "message"),
        (json!({ "message": [] }), "message"),
        (without("messageId"), "message.messageId"),
        (with("messageId", json!("")), "message.messageId"),
        (
            with("messageId", json!("x".repeat(300))),
            "message.messageId",
        ),
        (without("role"), "message.role"),
        (with("role", json!("ROLE_AGENT")), "message.role"),
        (with("role", json!("user")), "message.role"),
        (without("parts"), "message.parts"),
        (parts(json!([])), "message.parts"),
        (parts(json!(many)), "message.parts"),
        (parts(json!([{}])), "message.parts[0]"),
        (
            parts(json!([{ "text": "x", "url": "https://x.test" }])),
            "message.parts[0]",
        ),
        (parts(json!([{ "text": 7 }])), "message.parts[0].text"),
        (parts(json!([{ "raw": "%%" }])), "message.parts[0].raw"),
        (
            with("contextId", json!("x".repeat(129))),
            "message.contextId",
        ),
        (with("metadata", json!([])), "message.metadata"),
        (
            configured(json!({ "historyLength": -1 })),
            "configuration.historyLength",
        ),
        (
            configured(json!({ "returnImmediately": "perhaps" })),
            "configuration.returnImmediately",
        ),
        (
            configured(json!({ "taskPushNotificationConfig": { "url": "ftp://x.test" } })),
            "configuration.taskPushNotificationConfig.url",
        ),
    ];
    let mut deep = json!(1);
    for _ in 0..110 {
        deep = json!([deep]);
    }
    cases.push((parts(json!([{ "data": deep }])), "message.parts[0].data"));
    for (params, field) in cases {
        let answer = client.call("SendMessage", &params).await;
        let error = &answer["error"];
        assert_eq!(error["code"], -32602, "{field} {answer}");
        let violation = &error["data"][1]["fieldViolations"][0];
        assert_eq!(violation["field"], field, "{answer}");
        let (status, rest) = client
            .json(Method::POST, "/message:send", &params.to_string())
            .await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{field}");
        assert_eq!(rest["error"]["details"], error["data"], "{field}");
    }
    assert!(
        daemon.inbox(&orders).await.is_empty(),
        "nothing came through"
    );
    assert_eq!(
        client
            .error("SendMessage", &with("taskId", json!("mine")))
            .await,
        -32001
    );
    for (params, field) in [
        (json!({ "pageSize": 0 }), "pageSize"),
        (json!({ "pageSize": 101 }), "pageSize"),
        (json!({ "pageToken": "none" }), "pageToken"),
        (json!({ "status": "TASK_STATE_BORED" }), "status"),
        (json!({ "status": 99 }), "status"),
        (json!({ "historyLength": -1 }), "historyLength"),
        (
            json!({ "statusTimestampAfter": "yesterday" }),
            "statusTimestampAfter",
        ),
        (json!({ "includeArtifacts": 7 }), "includeArtifacts"),
    ] {
        let answer = client.call("ListTasks", &params).await;
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
        let violation = &answer["error"]["data"][1]["fieldViolations"][0];
        assert_eq!(violation["field"], field, "{answer}");
    }
    let get = json!({ "id": "x", "historyLength": -1 });
    assert_eq!(client.error("GetTask", &get).await, -32602);
    assert_eq!(client.error("GetTask", &json!({ "id": "" })).await, -32602);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_client_is_told_in_its_own_numbers() {
    let daemon = Daemon::start(&ON).await;
    let types = json!({ "input_modes": ["text/*"] });
    agent(&daemon, "orders", types).await;
    let alice = daemon.agent("alice").await;
    let client = Client::new(&daemon, "orders").of(&alice).speaking("");
    let message = |part: Value| {
        let message = json!({ "messageId": "m", "role": "user", "parts": [part] });
        json!({ "message": message })
    };
    for (params, code) in [
        (json!({}), -32602),
        (message(json!({ "kind": "smell" })), -32602),
        (message(json!({ "kind": "data", "data": 1 })), -32602),
        (message(json!({ "kind": "file", "file": {} })), -32602),
        (message(json!({ "kind": "data", "data": {} })), -32005),
    ] {
        assert_eq!(
            client.error("message/send", &params).await,
            code,
            "{params}"
        );
    }
    let early = json!({ "id": "t", "message": { "role": "user", "parts": [{ "type": "data", "data": {} }] } });
    assert_eq!(client.error("tasks/send", &early).await, -32005);
    assert_eq!(client.error("tasks/send", &json!({})).await, -32602);
}

#[tokio::test(flavor = "multi_thread")]
async fn types_extensions_and_places_that_an_agent_does_not_take() {
    let daemon = Daemon::start(&[("AMTPD__A2A__PUSH_NOTIFICATIONS", "false")]).await;
    let uri = "https://ext.test/v1";
    let a2a = json!({
        "input_modes": ["text/plain"], "extensions": [{ "uri": uri, "required": true }],
    });
    agent(&daemon, "orders", a2a).await;
    let alice = daemon.agent("alice").await;
    let client = Client::new(&daemon, "orders").of(&alice);
    assert_eq!(client.error("ListTasks", &json!({})).await, -32008);
    let (status, answer) = client.json(Method::GET, "/tasks", "").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let reason = &answer["error"]["details"][0]["reason"];
    assert_eq!(reason, "EXTENSION_SUPPORT_REQUIRED");
    // Another version of it is another extension.
    let other = client.clone().with("a2a-extensions", "https://ext.test/v2");
    assert_eq!(other.error("ListTasks", &json!({})).await, -32008);
    let named = format!("urn:unknown, {uri}");
    let client = client.with("a2a-extensions", &named);
    let list = json!({ "jsonrpc": "2.0", "id": 7, "method": "ListTasks" }).to_string();
    let answer = client.raw(Method::POST, "", &list).await;
    assert_eq!(answer.headers()["a2a-extensions"], uri);
    let mut params = message("x");
    params["message"]["parts"] = json!([{ "data": {} }]);
    let refused = client.call("SendMessage", &params).await;
    assert_eq!(refused["error"]["code"], -32005);
    let mut params = message("x");
    params["configuration"] = json!({ "taskPushNotificationConfig": { "url": "https://x.test" } });
    assert_eq!(client.error("SendMessage", &params).await, -32003);
    let task = client.begin("x").await;
    let one = json!({ "taskId": task["id"], "id": "x", "url": "https://x.test" });
    for method in ["Create", "Get", "Delete"] {
        let method = format!("{method}TaskPushNotificationConfig");
        assert_eq!(client.error(&method, &one).await, -32003, "{method}");
    }
    let method = "ListTaskPushNotificationConfigs";
    assert_eq!(client.error(method, &one).await, -32003);
    let path = format!(
        "/tasks/{}/pushNotificationConfigs",
        task["id"].as_str().unwrap()
    );
    let (status, _) = client.json(Method::GET, &path, "").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn places_to_post_to_are_looked_at() {
    let daemon = Daemon::start(&ON).await;
    agent(&daemon, "orders", json!({})).await;
    let alice = daemon.agent("alice").await;
    let client = Client::new(&daemon, "orders").of(&alice);
    let (one, other) = (client.begin("x").await, client.begin("y").await);
    let create = "CreateTaskPushNotificationConfig";
    for (config, code) in [
        (json!({ "url": "https://x.test/" }), -32602),
        (json!({ "taskId": one["id"] }), -32602),
        (json!({ "taskId": one["id"], "url": "" }), -32602),
        (
            json!({ "taskId": one["id"], "url": "file:///etc/passwd" }),
            -32602,
        ),
        (
            json!({ "taskId": one["id"], "url": "https://a:b@x.test/" }),
            -32602,
        ),
        (
            json!({ "taskId": one["id"], "url": "https://x.test/", "token": "a\r\nb" }),
            -32602,
        ),
        (
            json!({ "taskId": one["id"], "url": "https://x.test/", "authentication": {} }),
            -32602,
        ),
        (
            json!({ "taskId": "none", "url": "https://x.test/" }),
            -32001,
        ),
    ] {
        assert_eq!(client.error(create, &config).await, code, "{config}");
    }
    for n in 0..20 {
        let config =
            json!({ "taskId": one["id"], "id": format!("c{n:02}"), "url": "https://x.test/" });
        client.result(create, &config).await;
    }
    let more = json!({ "taskId": one["id"], "id": "more", "url": "https://x.test/" });
    assert_eq!(client.error(create, &more).await, -32602);
    let list = "ListTaskPushNotificationConfigs";
    let page = client
        .result(list, &json!({ "taskId": one["id"], "pageSize": 15 }))
        .await;
    let token = &page["nextPageToken"];
    let rest = client
        .result(list, &json!({ "taskId": one["id"], "pageToken": token }))
        .await;
    assert_eq!(rest["configs"].as_array().unwrap().len(), 5);
    let elsewhere = json!({ "taskId": other["id"], "pageToken": token });
    assert_eq!(client.error(list, &elsewhere).await, -32602);
    let get = json!({ "taskId": other["id"], "id": "c00" });
    assert_eq!(
        client.error("GetTaskPushNotificationConfig", &get).await,
        -32001
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_that_are_none_are_told() {
    let daemon = Daemon::start(&ON).await;
    agent(&daemon, "orders", json!({})).await;
    let alice = daemon.agent("alice").await;
    let client = Client::new(&daemon, "orders").of(&alice);
    let task = client.begin("x").await;
    let id = task["id"].as_str().unwrap();
    for (method, path, status) in [
        (Method::GET, "/message:send".to_owned(), 404),
        (Method::POST, "/message:shout".to_owned(), 404),
        (Method::POST, "/v1/message:send".to_owned(), 404),
        (Method::POST, format!("/tasks/{id}"), 404),
        (Method::POST, format!("/tasks/{id}:forget"), 404),
        (Method::DELETE, format!("/tasks/{id}"), 404),
        (Method::GET, "/tasks/none".to_owned(), 404),
        (Method::GET, "/tasks?pageSize=1&pageSize=2".to_owned(), 400),
        (Method::GET, "/tasks?pageSize=many".to_owned(), 400),
        (Method::POST, "/message:send".to_owned(), 415),
    ] {
        let (found, answer) = client.json(method.clone(), &path, "").await;
        assert_eq!(found.as_u16(), status, "{method} {path} {answer}");
        assert_eq!(answer["error"]["code"], status, "{answer}");
        assert!(answer["error"]["status"].is_string(), "{answer}");
    }
    let (status, answer) = client.json(Method::POST, "/message:send", "[]").await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shared_endpoint_needs_the_name_of_an_agent() {
    let daemon = Daemon::start(&ON).await;
    agent(&daemon, "orders", json!({})).await;
    agent(&daemon, "open", json!({ "access": "public" })).await;
    let alice = daemon.agent("alice").await;
    let mut client = Client::new(&daemon, "orders").of(&alice);
    for base in ["/a2a", "/a2a/"] {
        base.clone_into(&mut client.base);
        let listed = client
            .result("ListTasks", &json!({ "tenant": "orders" }))
            .await;
        assert_eq!(listed["totalSize"], 0);
        let full = json!({ "tenant": "it.test/orders" });
        client.result("ListTasks", &full).await;
        assert_eq!(client.error("ListTasks", &json!({})).await, -32602);
    }
    let ask = async |client: &Client<'_>, tenant: &str| {
        let params = json!({ "tenant": tenant });
        let call = json!({ "jsonrpc": "2.0", "id": 7, "method": "ListTasks", "params": params });
        let (status, answer) = client.json(Method::POST, "", &call.to_string()).await;
        assert_eq!(answer["id"], 7, "{answer}");
        status.as_u16()
    };
    assert_eq!(ask(&client, "nobody").await, 404);
    assert_eq!(ask(&client, "else.test/orders").await, 404);
    client.key = None;
    assert_eq!(ask(&client, "orders").await, 401);
    assert_eq!(ask(&client, "open").await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_too_much_is_told_when_to_come_again() {
    let variables = [
        ("AMTPD__A2A__ORGANIZATION", "Example Ltd."),
        ("AMTPD__LIMITS__SENDER_RATE", "3/h"),
    ];
    let daemon = Daemon::start(&variables).await;
    let open = agent(&daemon, "open", json!({ "access": "public" })).await;
    let nobody = Client::new(&daemon, "open");
    for _ in 0..3 {
        nobody.begin("hello").await;
    }
    let mut params = message("hello");
    params["configuration"] = json!({ "returnImmediately": true });
    let answer = nobody
        .raw(Method::POST, "/message:send", &params.to_string())
        .await;
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(answer.headers().contains_key("retry-after"));
    let call = json!({ "jsonrpc": "2.0", "id": 7, "method": "SendMessage", "params": params });
    let (status, answer) = nobody.json(Method::POST, "", &call.to_string()).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS, "{answer}");
    assert_eq!(
        answer["error"]["data"][0]["metadata"]["amtpCode"],
        "RATE_LIMIT_EXCEEDED"
    );
    assert_eq!(
        daemon.inbox(&open).await.len(),
        3,
        "of the others there is no task"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn proto_json_is_read_as_its_writers_send_it() {
    let daemon = Daemon::start(&ON).await;
    agent(&daemon, "orders", json!({})).await;
    let alice = daemon.agent("alice").await;
    let client = Client::new(&daemon, "orders").of(&alice);
    let parts = json!([
        { "text": "x", "media_type": "text/plain", "unknown": 1 },
        { "raw": "_-8", "filename": "f" },
        { "data": null },
    ]);
    let params = json!({
        "message": { "message_id": "m", "role": 1, "parts": parts, "context_id": "c", "task_id": null },
        "configuration": { "return_immediately": true, "history_length": "5" },
        "unknown": {},
    });
    let task = client.result("SendMessage", &params).await["task"].clone();
    assert_eq!(task["contextId"], "c");
    let said = &task["history"][0];
    assert_eq!(
        said["parts"][0],
        json!({ "text": "x", "mediaType": "text/plain" })
    );
    assert_eq!(said["parts"][1]["raw"], "/+8=");
    assert_eq!(said["parts"][2], json!({ "data": null }));
    let more = message_for(&task, "y");
    let mut again = more.clone();
    again["configuration"] = json!({ "returnImmediately": true });
    let again = client.result("SendMessage", &again).await;
    assert_eq!(again["task"]["contextId"], "c", "taken from the task");
}
