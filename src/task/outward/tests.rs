use serde_json::{Value, json};

use super::*;
use crate::protocol::{IdempotencyKey, Limits, Message as Mail, Profile, Timestamp};
use crate::task::change::Change;
use crate::task::model::Content;
use crate::task::reply::{Answered, changes};
use crate::task::state::TaskState;

const ID: &str = "0193a2b4-0000-7000-8000-000000000001";

fn mail(more: &Value) -> Mail {
    let mut raw = json!({"sender": "alice@a.test", "recipients": ["x@a.test"], "payload": null});
    let members = raw.as_object_mut().unwrap();
    members.extend(more.as_object().unwrap().clone());
    parse(raw.to_string().into())
}

fn parse(raw: bytes::Bytes) -> Mail {
    Mail::parse(raw, Profile::Relay, &Limits::default()).unwrap()
}

fn asked_of(mail: &Mail) -> (Message, Vec<String>) {
    let id = MessageId::parse(ID).unwrap();
    said(mail, (&id, &mail.recipients()[0]))
}

#[test]
fn payloads_are_asked_as_parts() {
    let file = json!({"filename": "a.pdf", "content_type": "application/pdf", "size": 3,
        "hash": format!("sha256:{}", "a".repeat(64)), "url": "https://f.test/a"});
    for (more, parts) in [
        (
            json!({"payload": {"text": "hello"}}),
            json!([{"text": "hello"}]),
        ),
        (json!({"payload": "hello"}), json!([{"text": "hello"}])),
        (json!({"subject": "hello"}), json!([{"text": "hello"}])),
        (json!({}), json!([{"text": ""}])),
        (
            json!({"payload": {"n": 1}, "schema": "agntcy:a.b.v1"}),
            json!([{"data": {"n": 1}, "mediaType": "application/json", "metadata": {"schema": "agntcy:a.b.v1"}}]),
        ),
        (
            json!({"attachments": [file]}),
            json!([{"url": "https://f.test/a", "filename": "a.pdf", "mediaType": "application/pdf",
                "metadata": {"size": 3, "sha256": "a".repeat(64)}}]),
        ),
    ] {
        let (message, modes) = asked_of(&mail(&more));
        assert_eq!(
            serde_json::to_value(&message.parts).unwrap(),
            parts,
            "{more}"
        );
        assert_eq!(
            (message.message_id.as_str(), message.role),
            (ID, Role::User)
        );
        assert!(modes.is_empty());
    }
}

#[test]
fn what_an_a2a_client_said_is_asked_as_it_was_said() {
    let whole = json!({
        "schema": "agntcy:a2a.message.v1",
        "headers": {"a2a-kind": "message"},
        "payload": {
            "message": {"messageId": "m", "role": "ROLE_USER", "taskId": "t", "contextId": "c",
                "parts": [{"text": "a", "metadata": {"k": 1.50}}, {"raw": "AQI="}],
                "metadata": {"mine": 9_007_199_254_740_993_u64, AMTP_EXTENSION: {"subject": "s"}},
                "extensions": ["urn:x"]},
            "configuration": {"acceptedOutputModes": ["text/plain"]},
        },
    });
    let (message, modes) = asked_of(&mail(&whole));
    assert_eq!(modes, ["text/plain"]);
    assert_eq!((message.task_id, message.context_id), (None, None));
    assert_eq!(message.extensions, ["urn:x"]);
    assert_eq!(message.parts[1].content, Content::Raw("AQI=".to_owned()));
    let metadata: Value = serde_json::from_str(message.metadata.unwrap().get()).unwrap();
    assert_eq!(metadata["mine"], json!(9_007_199_254_740_993_u64));
    let words = &metadata[AMTP_EXTENSION];
    assert_eq!(words["sender"], "alice@a.test");
    assert_eq!(words["messageId"], ID);
    assert_eq!(words["headers"], json!({"a2a-kind": "message"}));
    assert_eq!(words.get("subject"), None, "nobody speaks for the gateway");
    // What only claims to be one is passed on as it is.
    let (message, _) = asked_of(&mail(
        &json!({"schema": "agntcy:a2a.message.v1", "payload": {"message": 1}}),
    ));
    assert_eq!(message.parts.len(), 1);
}

fn task(value: &Value) -> Heard {
    let text = value.to_string();
    Heard::Task(Box::new(read::task(&Place::top(&text, "")).unwrap()))
}

fn told(heard: &Heard, form: Form) -> Mail {
    let asked = Asked::of(
        &mail(&json!({"subject": "Order", "workflow_id": "w-1", "headers": {"x-amtp-hops": 3}})),
        (
            &MessageId::parse("m-1").unwrap(),
            &Address::parse("x@a.test").unwrap(),
        ),
        "r",
    );
    let again: Asked = serde_json::from_slice(&serde_json::to_vec(&asked).unwrap()).unwrap();
    assert_eq!(again, asked);
    let heading = Heading {
        message_id: &MessageId::parse(ID).unwrap(),
        idempotency_key: &IdempotencyKey::parse("k").unwrap(),
        now: Timestamp::from_millis(0),
    };
    parse(answer(&asked, heard, &heading, form))
}

#[test]
fn results_come_as_plain_as_they_are() {
    let one = |parts: Value| {
        json!({"id": "t", "contextId": "c", "status": {"state": "TASK_STATE_COMPLETED"},
            "artifacts": [{"artifactId": "1", "parts": parts}], "history": []})
    };
    let status = |state: &str, text: Option<&str>| {
        let message = text.map(|it| json!({"messageId": "m", "role": 2, "parts": [{"text": it}]}));
        json!({"id": "t", "contextId": "c", "status": {"state": state, "message": message}})
    };
    let file = json!({"url": "https://f.test/a", "filename": "a", "mediaType": "x/y",
        "metadata": {"size": 3, "sha256": "A".repeat(64)}});
    for (value, state, schema, payload, files) in [
        (
            one(json!([{"text": "a"}, {"text": "b"}])),
            "completed",
            None,
            json!({"text": "a\nb"}),
            0,
        ),
        (
            one(json!([{"data": [1, 2]}])),
            "completed",
            None,
            json!([1, 2]),
            0,
        ),
        (
            one(json!([{"data": {"a": 1}, "metadata": {"schema": "agntcy:a.b.v1"}}, file])),
            "completed",
            Some("agntcy:a.b.v1"),
            json!({"a": 1}),
            1,
        ),
        (one(json!([file])), "completed", None, json!(null), 1),
        (
            status("TASK_STATE_COMPLETED", Some("done")),
            "completed",
            None,
            json!({"text": "done"}),
            0,
        ),
        (
            status("TASK_STATE_INPUT_REQUIRED", Some("colour?")),
            "input-required",
            None,
            json!({"text": "colour?"}),
            0,
        ),
        (
            status("TASK_STATE_REJECTED", None),
            "rejected",
            None,
            json!({"text": "The agent rejected the task."}),
            0,
        ),
    ] {
        let mail = told(&task(&value), Form::Named);
        assert_eq!(
            mail.header("a2a-state"),
            Some(format!("\"{state}\"").as_str()),
            "{value}"
        );
        assert_eq!(mail.schema().map(|it| it.as_str()), schema, "{value}");
        assert_eq!(
            serde_json::from_str::<Value>(mail.payload()).unwrap(),
            payload,
            "{value}"
        );
        assert_eq!(mail.attachments().len(), files, "{value}");
        assert_eq!(mail.sender().as_str(), "x@a.test");
        assert_eq!(mail.recipients()[0].as_str(), "alice@a.test");
        assert_eq!(mail.in_reply_to().unwrap().as_str(), "m-1");
        assert_eq!(mail.workflow_id().unwrap().as_str(), "w-1");
        assert_eq!(mail.subject(), Some("Re: Order"));
        assert!(mail.is_automatic());
        assert_eq!(mail.hops(), 4);
        assert_eq!(mail.header("a2a-remote-task-id"), Some("\"t\""));
    }
}

/// What an A2A client of ours sees of an answer that came from an A2A agent of others.
fn seen(mail: &Mail) -> Vec<Change> {
    let mut n = 0;
    let answered = Answered {
        task: "own",
        context: "own-context",
        at: Timestamp::from_millis(0),
        mint: &mut || {
            n += 1;
            n.to_string()
        },
    };
    changes(mail, answered).unwrap()
}

#[test]
fn a_result_that_is_more_comes_whole_and_is_read_back_to_the_letter() {
    let value = json!({"id": "t", "contextId": "c", "status": {"state": "TASK_STATE_COMPLETED",
            "message": {"messageId": "m", "role": "ROLE_AGENT", "taskId": "t", "contextId": "c", "parts": [{"text": "done"}]}},
        "artifacts": [
            {"artifactId": "1", "name": "first", "parts": [{"raw": "AQI=", "mediaType": "x/y"}]},
            {"artifactId": "2", "parts": [{"data": 12.50}]}],
        "history": [{"messageId": "h", "role": 1, "parts": [{"text": "secret"}]}]});
    let mail = told(&task(&value), Form::Named);
    assert_eq!(mail.schema().unwrap().as_str(), RESPONSE_SCHEMA);
    assert!(!mail.payload().contains("secret"));
    let changes = seen(&mail);
    assert_eq!(changes.len(), 3);
    let Change::Artifact(second) = &changes[1] else {
        panic!()
    };
    assert_eq!(
        second.artifact.parts[0].content,
        Content::Data(Json::read("12.5").unwrap())
    );
    let Change::Status(last) = &changes[2] else {
        panic!()
    };
    assert_eq!(last.status.state, TaskState::Completed);
    assert_eq!(last.task_id, "own");
    // What does not fit its schema comes without one.
    assert!(told(&task(&value), Form::Unnamed).schema().is_none());
}

#[test]
fn every_end_is_the_same_end_for_a_client_of_ours() {
    for state in [
        TaskState::Completed,
        TaskState::Failed,
        TaskState::Canceled,
        TaskState::Rejected,
        TaskState::InputRequired,
        TaskState::AuthRequired,
    ] {
        let value = json!({"id": "t", "contextId": "c", "status": {"state": state.as_str()}});
        let changes = seen(&told(&task(&value), Form::Named));
        let Some(Change::Status(last)) = changes.last() else {
            panic!()
        };
        assert_eq!(last.status.state, state);
    }
    let direct = |parts: Value| {
        let text =
            json!({"messageId": "m", "role": "ROLE_AGENT", "contextId": "c", "parts": parts})
                .to_string();
        let heard = Heard::Message(Box::new(read::message(&Place::top(&text, "")).unwrap()));
        seen(&told(&heard, Form::Named))
    };
    for parts in [
        json!([{"text": "hi"}]),
        json!([{"text": "hi"}, {"raw": "AQI="}]),
    ] {
        let changes = direct(parts.clone());
        let [Change::Answer(message)] = changes.as_slice() else {
            panic!()
        };
        assert_eq!(serde_json::to_value(&message.parts).unwrap(), parts);
    }
}

#[test]
fn why_there_is_no_answer_is_told() {
    let asked = Asked::of(
        &mail(&json!({})),
        (
            &MessageId::parse("m-1").unwrap(),
            &Address::parse("x@a.test").unwrap(),
        ),
        "r",
    );
    let heading = Heading {
        message_id: &MessageId::parse(ID).unwrap(),
        idempotency_key: &IdempotencyKey::parse("k").unwrap(),
        now: Timestamp::from_millis(0),
    };
    let mail = parse(failure(&asked, "it took too long", &heading));
    assert_eq!(mail.payload(), r#"{"text":"it took too long"}"#);
    assert_eq!(mail.header("a2a-state"), Some("\"failed\""));
}
