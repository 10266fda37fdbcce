//! Real answers of every operation, held against the document.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request};
use serde_json::{Value, json};

use super::Home;
use super::reader::{Reader, word};
use super::steps::{about, agents, queue, rules, sessions, staff, topics};
use crate::support::{Agent, eventually_so};

/// What is not seen here: a switch of protocols, what needs a broken database, and what only mail
/// brings.
const ELSEWHERE: [(&str, u16); 12] = [
    ("showA2aCard", 200),
    ("showOldA2aCard", 200),
    ("showA2aKeys", 200),
    ("listA2aAgents", 200),
    ("listA2aAgentsToo", 200),
    ("noteA2aCallback", 204),
    ("openWebSocket", 101),
    ("streamInbox", 200),
    ("showReadiness", 503),
    ("fetchFile", 200),
    ("linkFile", 200),
    ("releaseSuppression", 204),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_answers_what_the_document_says() {
    let home = Home::start().await;
    let mut reader = Reader::of(&home).await;
    let (alice, bob) = (
        home.daemon.agent("alice").await,
        home.daemon.agent("bob").await,
    );
    mail(&mut reader, &alice, &bob).await;
    replies(&mut reader, &home, (&alice, &bob)).await;
    failures(&mut reader, &alice).await;
    methods(&reader).await;
    queue(&mut reader, &alice).await;
    agents(&mut reader).await;
    sessions(&mut reader, &home, &bob).await;
    topics(&mut reader, (&alice, &bob)).await;
    rules(&mut reader).await;
    staff(&mut reader).await;
    about(&mut reader, &alice).await;
    let faults = &reader.book.faults;
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
    let mut missing = Vec::new();
    for (_, _, operation) in reader.book.operations() {
        let name = operation["operationId"].as_str().unwrap();
        for (status, answer) in operation["responses"].as_object().unwrap() {
            let Ok(number) = status.parse() else {
                continue;
            };
            let one = (name.to_owned(), number);
            let is_elsewhere = ELSEWHERE.contains(&(name, one.1));
            if answer.get("$ref").is_none() && !is_elsewhere && !reader.book.seen.contains(&one) {
                missing.push(one);
            }
        }
    }
    assert!(missing.is_empty(), "not seen: {missing:?}");
}

/// Sending, looking, reading, acknowledging.
async fn mail(reader: &mut Reader, alice: &Agent, bob: &Agent) {
    let message = json!({
        "sender": alice.address, "recipients": [bob.address, "nobody@it.test"], "payload": {"n": 1.10},
        "subject": "s", "headers": {"priority": "high", "x": [1]}, "unknown": null,
        "attachments": [{"filename": "a", "content_type": "a/b", "size": 1, "hash": "sha256:00", "url": "https://x.test/a"}],
    });
    let sent = reader
        .ask("POST /v1/messages", &alice.key, message, 202)
        .await;
    let id = word(&sent["message_id"]);
    for path in ["", "/status", "/trace"] {
        let what = format!("GET /v1/messages/{id}{path}");
        reader.ask(&what, &alice.key, Value::Null, 200).await;
        reader.ask(&what, &bob.key, Value::Null, 200).await;
        reader.staff(&what, Value::Null, 200).await;
        reader
            .ask(
                &format!("GET /v1/messages/none{path}"),
                &alice.key,
                Value::Null,
                404,
            )
            .await;
    }
    for query in ["", "?status=delivered&limit=1&offset=0", "?status=pending"] {
        reader
            .ask(
                &format!("GET /v1/messages{query}"),
                &bob.key,
                Value::Null,
                200,
            )
            .await;
    }
    reader
        .ask(
            &format!("DELETE /v1/messages/{id}"),
            &alice.key,
            Value::Null,
            409,
        )
        .await;
    inbox(reader, bob, &id).await;
    batch(reader, alice, bob).await;
}

async fn inbox(reader: &mut Reader, bob: &Agent, id: &str) {
    let inbox = format!("/v1/inbox/{}", bob.address);
    reader
        .ask(&format!("GET {inbox}?lease=1h"), &bob.key, Value::Null, 200)
        .await;
    let ids = json!({ "message_ids": [id, "none"] });
    reader
        .ask(&format!("POST {inbox}/nack"), &bob.key, ids.clone(), 200)
        .await;
    reader
        .ask(&format!("GET {inbox}"), &bob.key, Value::Null, 200)
        .await;
    reader
        .ask(&format!("DELETE {inbox}/{id}"), &bob.key, Value::Null, 200)
        .await;
    reader
        .ask(&format!("DELETE {inbox}/{id}"), &bob.key, Value::Null, 404)
        .await;
    reader
        .ask(&format!("POST {inbox}/ack"), &bob.key, ids, 200)
        .await;
    reader
        .ask(
            &format!("GET {inbox}/stream?ack=maybe"),
            &bob.key,
            Value::Null,
            400,
        )
        .await;
}

async fn batch(reader: &mut Reader, alice: &Agent, bob: &Agent) {
    let lines = format!(
        "{}\n{}\n{{",
        json!({ "sender": alice.address, "recipients": [bob.address], "payload": 1 }),
        json!({ "sender": alice.address, "recipients": ["nobody@it.test"], "payload": 2 }),
    );
    let batch = (Method::POST, "/v1/messages/batch");
    let key = Some(alice.key.as_str());
    let answer = reader
        .send(batch, key, ("application/x-ndjson", lines))
        .await;
    assert_eq!(answer.status(), 200);
}

/// A reply in the answer.
async fn replies(reader: &mut Reader, home: &Home, (alice, bob): (&Agent, &Agent)) {
    let question = json!({ "sender": alice.address, "recipients": [bob.address], "payload": "?" });
    let asked = reader.ask(
        "POST /v1/messages?wait=60s&ack=1",
        &alice.key,
        question,
        200,
    );
    let answered = async {
        let found = eventually_so("the question", Duration::from_secs(30), async || {
            let mail = home.daemon.inbox(bob).await;
            mail.into_iter().find(|it| it["payload"] == "?")
        });
        let reply = json!({
            "sender": bob.address, "recipients": [alice.address], "payload": "!",
            "in_reply_to": found.await["message_id"],
        });
        let path = "/v1/messages";
        home.daemon
            .call(Method::POST, path, Some(&bob.key), Some(reply))
            .await;
    };
    let (answer, ()) = tokio::join!(asked, answered);
    assert_eq!(answer["reply"]["payload"], "!");
}

/// Whatever is asked of whatever route: no key, a wrong key, another body, nothing that is there.
async fn failures(reader: &mut Reader, alice: &Agent) {
    for (method, path, operation) in reader.book.operations() {
        let path = path
            .replace("{domain}", "it.test")
            .replace("{address}", "nobody@it.test");
        let path = path.replace("{name}", "none").replace("{id}", "0");
        let path = path.replace("{message_id}", "0").replace("{key_id}", "0");
        let admin = reader.admin.clone();
        for key in [
            None,
            Some("ak_wrong"),
            Some(alice.key.as_str()),
            Some(admin.as_str()),
        ] {
            // A reload does no harm, and neither does what is refused; what is let in is asked later.
            let harmless = operation.get("requestBody").is_some()
                || method == Method::GET
                || path.contains("/0");
            if !harmless {
                continue;
            }
            let asked = (method.clone(), path.as_str());
            reader.send(asked.clone(), key, ("", String::new())).await;
            if operation.get("requestBody").is_some() {
                for body in [
                    ("text/plain", "x"),
                    ("application/json", "{"),
                    ("application/json", "[null, null]"),
                    ("application/json", r#"{"sender": 1}"#),
                ] {
                    reader
                        .send(asked.clone(), key, (body.0, body.1.to_owned()))
                        .await;
                }
            }
        }
    }
}

/// A method that a path does not have, asked for by nobody.
async fn methods(reader: &Reader) {
    for (_, path, _) in reader.book.operations() {
        let port = match path.starts_with("/v1/admin") {
            true => reader.caller.admin,
            false => reader.caller.https,
        };
        let request = Request::put(format!("https://localhost:{port}{path}"));
        let request = request.body(Full::new(Bytes::new())).unwrap();
        let answer = reader.caller.client.send(request).await.unwrap();
        assert_eq!(answer.status(), 405, "{path}");
        assert!(answer.headers().contains_key("allow"), "{path}");
    }
}
