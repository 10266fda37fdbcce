//! Today's Go gateway, with the habits that matter to its peers.

use bytes::Bytes;
use hyper::Response;
use serde_json::{Value, json};
use uuid::Uuid;

use super::peer::Meeting;
use crate::support::agentry::{Agentry, Fault};
use crate::support::behaviour::Behaviour;

fn agentry() -> (Meeting, Agentry) {
    let meeting = Meeting::new();
    let agentry = Agentry::new("peer.test");
    meeting.peer.always(Behaviour::Agentry(agentry.clone()));
    (meeting, agentry)
}

/// A message it takes; `n` makes another id.
fn message(n: u8, recipients: &[&str]) -> Value {
    json!({
        "version": "1.0",
        "message_id": format!("01890000-0000-7000-8000-0000000000{n:02}"),
        "idempotency_key": Uuid::new_v4().to_string(),
        "timestamp": "2026-08-14T10:30:00Z",
        "sender": "me@it.test",
        "recipients": recipients,
        "payload": n,
    })
}

async fn send(meeting: &Meeting, message: &Value) -> (u16, Value) {
    let answer: Response<Bytes> = meeting.send(message).await.unwrap();
    let body = serde_json::from_slice(answer.body()).unwrap();
    (answer.status().as_u16(), body)
}

#[tokio::test]
async fn agentry_answers_a_known_key_with_the_first_message_and_its_recipients() {
    let (meeting, agentry) = agentry();
    let first = message(1, &["a@peer.test", "b@peer.test"]);
    let (code, one) = send(&meeting, &first).await;
    assert_eq!((code, &one["status"]), (200, &json!("delivered")));
    let mut second = message(2, &["c@peer.test"]);
    second["idempotency_key"] = first["idempotency_key"].clone();
    assert_eq!(send(&meeting, &second).await, (200, one));
    let inbox = agentry.inbox();
    let to: Vec<&str> = inbox.iter().map(|one| one.recipient.as_str()).collect();
    assert_eq!(to, ["a@peer.test", "b@peer.test"]);
    assert_eq!(
        (&inbox[0].sender[..], &inbox[0].payload),
        ("me@it.test", &json!(1))
    );
    assert_eq!(inbox[0].idempotency_key, first["idempotency_key"]);
    agentry.a_day_passes();
    assert_eq!(
        send(&meeting, &second).await.1["message_id"],
        second["message_id"]
    );
    assert_eq!(agentry.inbox().len(), 3);
}

#[tokio::test]
async fn agentry_repeats_a_failure_under_its_key_but_not_a_503() {
    let (meeting, agentry) = agentry();
    let mut message = message(1, &["a@peer.test", "b@peer.test"]);
    agentry.fail_next(1, &Fault::Unavailable);
    let (code, body) = send(&meeting, &message).await;
    assert_eq!(
        (code, &body["error"]["code"]),
        (503, &json!("TEMPORARY_FAILURE"))
    );
    agentry.fail_next(1, &Fault::Undelivered);
    let (code, body) = send(&meeting, &message).await;
    assert_eq!((code, body.get("error")), (400, None));
    assert_eq!(send(&meeting, &message).await, (400, body));
    assert!(agentry.inbox().is_empty());
    message["idempotency_key"] = json!(Uuid::new_v4().to_string());
    agentry.fail_next(1, &Fault::UndeliveredTo("a@peer.test".to_owned()));
    let (code, body) = send(&meeting, &message).await;
    assert_eq!(
        (code, &body["recipients"][0]["status"]),
        (400, &json!("failed"))
    );
    assert_eq!(body["recipients"][1]["status"], "delivered");
    assert_eq!(agentry.inbox()[0].recipient, "b@peer.test");
}

#[tokio::test]
async fn agentry_has_one_domain_and_one_message_per_id() {
    let (meeting, agentry) = agentry();
    let (code, body) = send(&meeting, &message(1, &["a@PEER.test"])).await;
    assert_eq!((code, body.get("error")), (400, None));
    for recipient in ["a@peer.test", "b@peer.test"] {
        assert_eq!(send(&meeting, &message(2, &[recipient])).await.0, 200);
    }
    let inbox = agentry.inbox();
    assert_eq!(inbox.len(), 1, "the second took the place of the first");
    assert_eq!(inbox[0].recipient, "b@peer.test");
}

#[tokio::test]
async fn agentry_refuses_what_does_not_look_like_its_own() {
    let (meeting, agentry) = agentry();
    let id = "01890000-0000-7000-8000-000000000009";
    let cases = [
        ("message_id", json!(Uuid::new_v4().to_string()), 400),
        ("idempotency_key", json!(id), 400),
        ("timestamp", Value::Null, 400),
        ("sender", json!("me"), 400),
        ("recipients", json!([]), 400),
        ("in_reply_to", json!("m-1"), 400),
        ("in_reply_to", json!(id), 200),
        ("schema", json!("agntcy:a.b.1"), 400),
        ("schema", json!("agntcy:a.b.v1"), 200),
        ("coordination", json!({ "type": "parallel" }), 400),
        (
            "coordination",
            json!({ "type": "parallel", "timeout": 5 }),
            200,
        ),
    ];
    for (member, value, wanted) in cases {
        let mut message = message(1, &["a@peer.test"]);
        message[member] = value;
        let (code, body) = send(&meeting, &message).await;
        assert_eq!(
            (code, body.get("error").is_some()),
            (wanted, wanted == 400),
            "{message}"
        );
    }
    assert_eq!(agentry.inbox().len(), 1);
}
