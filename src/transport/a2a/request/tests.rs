//! What is asked, and what answers mean.

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::*;
use crate::task::{Role, TaskState};

const NOW: Timestamp = Timestamp::from_millis(0);

fn place(binding: Binding) -> Interface {
    Interface {
        url: "https://x.test/a".to_owned(),
        binding,
        tenant: Some("t/1".to_owned()),
        calls_back: true,
    }
}

fn answer(status: u16, body: &Value) -> Answer {
    Answer {
        status: StatusCode::from_u16(status).unwrap(),
        headers: HeaderMap::new(),
        body: Bytes::from(body.to_string()),
        remote: None,
    }
}

fn message() -> Message {
    Message {
        message_id: "m".to_owned(),
        task_id: Some("t".to_owned()),
        role: Role::User,
        ..Message::of_agent("m", "hello")
    }
}

async fn written(binding: Binding, question: Question<'_>) -> (String, String, Value) {
    let request = write(&place(binding), question, HeaderMap::new()).unwrap();
    let (head, body) = request.into_parts();
    assert_eq!(head.headers["content-type"], "application/json");
    let body = body.collect().await.unwrap().to_bytes();
    let value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let version = head.headers["a2a-version"].to_str().unwrap().to_owned();
    (format!("{} {}", head.method, head.uri), version, value)
}

#[tokio::test]
async fn questions_are_written_as_each_binding_has_them() {
    let message = message();
    let send = Question::Send {
        message: &message,
        modes: &[],
        callback: Some("https://us.test/c"),
    };
    let (line, version, body) = written(Binding::Rpc, send).await;
    assert_eq!(
        (line.as_str(), version.as_str()),
        ("POST https://x.test/a", "1.0")
    );
    assert_eq!(body["method"], "SendMessage");
    let params = &body["params"];
    assert_eq!(params["tenant"], "t/1");
    assert_eq!(
        params["configuration"],
        json!({"historyLength": 0, "returnImmediately": true,
            "taskPushNotificationConfig": {"url": "https://us.test/c"}})
    );
    let (_, version, body) = written(Binding::OldRpc, send).await;
    assert_eq!(version, "0.3");
    assert_eq!(body["method"], "message/send");
    assert_eq!(
        body["params"]["message"],
        json!({"kind": "message", "messageId": "m", "taskId": "t", "role": "user",
            "parts": [{"kind": "text", "text": "hello"}]})
    );
    assert_eq!(
        body["params"]["configuration"],
        json!({"historyLength": 0, "blocking": false,
            "pushNotificationConfig": {"url": "https://us.test/c"}})
    );
    let (line, _, body) = written(Binding::Rest, send).await;
    assert_eq!(line, "POST https://x.test/a/t%2F1/message:send");
    assert_eq!(body["message"]["parts"], json!([{"text": "hello"}]));
    for (question, line) in [
        (
            Question::Look("a/b"),
            "GET https://x.test/a/t%2F1/tasks/a%2Fb?historyLength=0",
        ),
        (
            Question::Cancel("c"),
            "POST https://x.test/a/t%2F1/tasks/c:cancel",
        ),
    ] {
        assert_eq!(written(Binding::Rest, question).await.0, line);
    }
    let (_, _, body) = written(Binding::OldRpc, Question::Look("t")).await;
    assert_eq!(
        (&body["method"], &body["params"]["id"]),
        (&json!("tasks/get"), &json!("t"))
    );
}

#[test]
fn answers_are_a_task_a_message_or_a_problem() {
    let message = message();
    let send = Question::Send {
        message: &message,
        modes: &[],
        callback: None,
    };
    let result = |value: Value| answer(200, &json!({"jsonrpc": "2.0", "id": 1, "result": value}));
    let task = json!({"id": "t", "contextId": "c", "status": {"state": "TASK_STATE_WORKING"}});
    let old = json!({"kind": "task", "id": "t", "contextId": "c", "status": {"state": "unknown"},
        "artifacts": [{"artifactId": "1", "parts": [{"kind": "file", "file": {"bytes": "AQI=", "mimeType": "x/y"}}]}]});
    for (binding, question, answer) in [
        (Binding::Rpc, send, result(json!({ "task": task }))),
        (Binding::Rpc, Question::Look("t"), result(task.clone())),
        (Binding::Rest, send, answer(200, &json!({ "task": task }))),
        (Binding::Rest, Question::Look("t"), answer(200, &task)),
        (Binding::OldRpc, send, result(old.clone())),
        (Binding::OldRpc, Question::Look("t"), result(old)),
    ] {
        let heard = read_answer(binding, question, &answer, NOW).unwrap();
        let Heard::Task(task) = heard else { panic!() };
        assert_eq!(
            (task.id.as_str(), task.status.state),
            ("t", TaskState::Working)
        );
    }
    let error = |code: i64| json!({"jsonrpc": "2.0", "id": null, "error": {"code": code, "message": "a\u{202e}b"}});
    let reason =
        json!({"error": {"code": 404, "message": "x", "details": [{"reason": "TASK_NOT_FOUND"}]}});
    let look = Question::Look("t");
    for (binding, question, answer, words) in [
        (
            Binding::Rpc,
            send,
            answer(200, &error(-32004)),
            "error -32004: a b",
        ),
        (
            Binding::Rpc,
            send,
            answer(500, &error(-32603)),
            "error -32603",
        ),
        (Binding::Rest, look, answer(404, &reason), "error -32001"),
        (
            Binding::Rest,
            look,
            answer(404, &json!({"error": {"code": 404}})),
            "404 Not Found",
        ),
        (Binding::Rpc, look, answer(503, &json!({})), "503"),
        (
            Binding::Rpc,
            look,
            answer(302, &json!({})),
            "redirects are not followed",
        ),
        (
            Binding::Rpc,
            look,
            result(json!({"id": "u", "status": {"state": 2}})),
            "another task",
        ),
        (
            Binding::Rpc,
            send,
            result(json!({"task": {"id": "", "status": {"state": 2}}})),
            "without a usable id",
        ),
        (Binding::Rpc, send, result(task), "must have exactly one"),
        (
            Binding::OldRpc,
            send,
            result(json!({"kind": "status-update"})),
            "must be task or message",
        ),
    ] {
        let problem = read_answer(binding, question, &answer, NOW).unwrap_err();
        assert!(problem.to_string().contains(words), "{problem}");
    }
}
