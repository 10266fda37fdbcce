//! The registry of schemas through the admin API, and its commands.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Daemon, amtpd};

const PATH: &str = "/v1/admin/schemas";
const ORDER: &str = "agntcy:commerce.order.v1";

async fn post(daemon: &Daemon, form: Value) -> (StatusCode, Value) {
    daemon.admin(Method::POST, PATH, Some(form)).await
}

fn fault(answer: &Value) -> (&str, &str) {
    let error = &answer["error"];
    let field = &error["details"]["validation_errors"][0]["field"];
    (
        error["code"].as_str().unwrap(),
        field.as_str().unwrap_or("-"),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_is_stored_rolled_out_tried_and_removed() {
    let daemon = Daemon::start(&[]).await;
    let document = json!({"type": "object", "required": ["a"]});
    let form = json!({"id": ORDER, "document": document, "state": "accepted"});
    let (status, answer) = post(&daemon, form.clone()).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    assert_eq!(answer["schema"]["revision"], 1);
    assert_eq!(post(&daemon, form).await.0, StatusCode::OK);

    let next = "agntcy:commerce.order.v2";
    let narrower = json!({"type": "object", "required": ["a", "b"]});
    let forced = json!({"id": next, "document": narrower, "force": true});
    assert_eq!(post(&daemon, forced).await.0, StatusCode::CREATED);

    let call =
        async |method, path: &str, form| daemon.admin(method, &format!("{PATH}{path}"), form).await;
    let (_, list) = call(Method::GET, "?limit=1", None).await;
    assert_eq!(list["schemas"][0]["id"], ORDER);
    let cursor = list["next_cursor"].as_str().unwrap();
    let (_, list) = call(Method::GET, &format!("?cursor={cursor}"), None).await;
    assert_eq!(
        (&list["schemas"][0]["id"], &list["next_cursor"]),
        (&json!(next), &Value::Null)
    );
    let (_, shown) = call(Method::GET, &format!("/{ORDER}?revision=1"), None).await;
    assert_eq!(shown["schema"]["document"], document);
    assert_eq!(shown["schema"]["state"], "accepted");
    let state = json!({"state": "required"});
    let (_, changed) = call(Method::PATCH, &format!("/{ORDER}"), Some(state.clone())).await;
    assert_eq!(changed["schema"]["state"], "required");
    let tried = json!({"payload": {}});
    let (_, tried) = call(Method::POST, &format!("/{ORDER}/validate"), Some(tried)).await;
    assert_eq!(
        tried,
        json!({"valid": false, "validation_errors": [{"field": "a", "error": "is missing"}]})
    );
    let (status, _) = call(Method::DELETE, &format!("/{ORDER}"), None).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    for (method, form) in [
        (Method::GET, None),
        (Method::DELETE, None),
        (Method::PATCH, Some(state)),
    ] {
        let (status, _) = call(method, &format!("/{ORDER}"), form).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_good_schema_is_refused_and_not_stored() {
    let daemon = Daemon::start(&[]).await;
    let document = json!({"type": "object", "required": ["a"]});
    let (status, _) = post(&daemon, json!({"id": ORDER, "document": document})).await;
    assert_eq!(status, StatusCode::CREATED);
    let narrower = json!({"type": "object", "required": ["a", "b"]});
    let next = "agntcy:commerce.order.v2";
    let deep: String = format!("{}1{}", "[".repeat(100), "]".repeat(100));
    let table = [
        (
            json!({"id": next, "document": narrower}),
            409,
            ("CONFLICT", "b"),
        ),
        (
            json!({"id": next, "document": {"$ref": "https://x.test/s"}}),
            400,
            ("INVALID_PARAMETER", "document"),
        ),
        (
            json!({"id": next, "document": {"pattern": "(?=a)"}}),
            400,
            ("INVALID_PARAMETER", "document"),
        ),
        (
            json!({"id": next, "document": {"enum": serde_json::from_str::<Value>(&deep).unwrap()}}),
            400,
            ("INVALID_PARAMETER", "document"),
        ),
        (
            json!({"id": next, "document": []}),
            400,
            ("INVALID_PARAMETER", "document"),
        ),
        (
            json!({"id": "", "document": {}}),
            400,
            ("INVALID_PARAMETER", "id"),
        ),
        (
            json!({"id": next, "document": {}, "state": "on"}),
            400,
            ("INVALID_PARAMETER", "state"),
        ),
        (
            json!({"id": next, "document": {}, "compatibility": "x"}),
            400,
            ("INVALID_PARAMETER", "compatibility"),
        ),
        (
            json!({"document": {}}),
            400,
            ("INVALID_PARAMETER", "document"),
        ),
        (
            json!({"id": next, "document": {"description": "x".repeat(5 << 20)}}),
            413,
            ("MESSAGE_TOO_LARGE", "-"),
        ),
    ];
    for (form, status, expected) in table {
        let (answered, answer) = post(&daemon, form).await;
        assert_eq!((answered.as_u16(), fault(&answer)), (status, expected));
    }
    let (_, list) = daemon.admin(Method::GET, PATH, None).await;
    assert_eq!(list["schemas"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_operators_see_and_change_schemas() {
    let daemon = Daemon::start(&[]).await;
    let agent = daemon.agent("alice").await;
    let validate = format!("{PATH}/x/validate");
    let form = || Some(json!({"payload": 1, "document": {}, "state": "draft"}));
    for (method, path, body) in [
        (Method::POST, PATH, form()),
        (Method::GET, PATH, None),
        (Method::GET, "/v1/admin/schemas/x", None),
        (Method::PATCH, "/v1/admin/schemas/x", form()),
        (Method::DELETE, "/v1/admin/schemas/x", None),
        (Method::POST, &validate, form()),
    ] {
        let (status, _) = daemon.call(method.clone(), path, None, body.clone()).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{method} {path}");
        let (status, _) = daemon
            .call(method.clone(), path, Some(&agent.key), body)
            .await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{method} {path}");
    }
}

/// A command against the gateway: its exit code and what it printed as JSON.
fn command(daemon: &Daemon, arguments: &[&str]) -> (Option<i32>, Value) {
    let home = daemon.folder.path().join("gateway");
    let output = amtpd()
        .arg("schema")
        .args(arguments)
        .args(["--json", "--resolve", "127.0.0.1", "--gateway"])
        .arg(format!("https://localhost:{}", daemon.caller().admin))
        .arg("--key-file")
        .arg(home.join("admin.key"))
        .arg("--ca-file")
        .arg(home.join("tls/cert.pem"))
        .output()
        .unwrap();
    let printed = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code(), printed)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_do_what_the_admin_api_does() {
    let daemon = Daemon::start(&[]).await;
    let file = |name: &str, text: &str| {
        let file = daemon.folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        file.display().to_string()
    };
    let wide = file(
        "wide.json",
        r#"{"$id":"agntcy:commerce.order.v1","type":"object"}"#,
    );
    let narrow = file("narrow.json", r#"{"type":"object","required":["a"]}"#);
    let good = file("good.json", r#"{"a":1}"#);
    let bad = file("bad.json", "{}");
    let run = |arguments: &[&str]| command(&daemon, arguments);
    let (code, added) = run(&["add", &wide, "--state", "accepted"]);
    assert_eq!((code, &added["schema"]["id"]), (Some(0), &json!(ORDER)));
    assert_eq!(run(&["add", &narrow, "--id", ORDER]).0, Some(1));
    let forced = run(&["add", &narrow, "--id", ORDER, "--force"]);
    assert_eq!(
        (forced.0, &forced.1["schema"]["revision"]),
        (Some(0), &json!(2))
    );
    let (_, list) = run(&["list"]);
    assert_eq!(list["schemas"].as_array().unwrap().len(), 2);
    let (_, shown) = run(&["show", ORDER, "--revision", "1"]);
    assert_eq!(shown["schema"]["state"], "accepted");
    assert_eq!(run(&["validate", ORDER, &good, "--id"]).0, Some(0));
    let (code, told) = run(&["validate", ORDER, &good, &bad, "--id"]);
    assert_eq!(code, Some(1));
    assert_eq!(told["payloads"][1]["validation_errors"][0]["field"], "a");
    let (_, set) = run(&["state", ORDER, "retired"]);
    assert_eq!(set["schema"]["revision"], 2);
    assert_eq!(run(&["remove", ORDER, "--revision", "1"]).0, Some(0));
    assert_eq!(run(&["show", ORDER, "--revision", "1"]).0, Some(1));
    assert_eq!(run(&["add", &wide, "--state", "on"]).0, Some(2));
}
