//! Values, states, requests and answers of tasks.

use base64::Engine as _;
use bytes::Bytes;
use serde_json::{Value, json};

use super::change::{Change, Target};
use super::json::{Json, Object, Place};
use super::page::{self, ListRequest};
use super::reply::{Answered, changes};
use super::request::{self, Kind, Profile, Request, Route, task_address, task_of_address};
use super::state::{States, TaskState};
use super::{
    AMTP_EXTENSION, Content, Dialect, Fault, Message, Owner, Part, StreamResponse, push, read,
    whole,
};
use crate::envelope::Principal;
use crate::protocol::{
    self, Address, Attachment, Domain, IdempotencyKey, Limits, MessageId, Profile as Rules,
    Timestamp,
};
use crate::store::{Otherwise, Sealer, StoredPush, TaskCursor, TaskEvent, When};

fn object(text: &str) -> Object<'_> {
    Place::top(text, "").object().unwrap()
}

fn message(text: &str) -> Result<Message, Fault> {
    read::message(&Place::top(text, "message"))
}

fn written<T: serde::Serialize>(value: &T) -> Value {
    serde_json::from_str(Json::of(value).get()).unwrap()
}

// --- Reading -----------------------------------------------------------------------------------

#[test]
fn a_message_is_read_as_any_writer_of_protojson_sends_it() {
    let plain = r#"{"messageId":"m","contextId":"c","taskId":"t","role":"ROLE_USER",
        "parts":[{"text":"hi"},{"raw":"-_8=","filename":"f","mediaType":"a/b"},{"data":null}],
        "referenceTaskIds":["x"],"metadata":{"a":1}}"#;
    let other = r#"{"message_id":"m","context_id":"c","task_id":"t","role":1,"unknown":{"x":[]},
        "parts":[{"text":"hi","raw":null},{"raw":"+/8","filename":"f","media_type":"a/b"},{"data":null}],
        "reference_task_ids":["x"],"metadata":{ "a" : 1 },"extensions":null}"#;
    let one = message(plain).unwrap();
    assert_eq!(one, message(other).unwrap());
    assert_eq!(one.parts[1].content, Content::Raw("+/8=".to_owned()));
    assert_eq!(
        written(&one),
        json!({"messageId":"m","contextId":"c","taskId":"t","role":"ROLE_USER",
            "parts":[{"text":"hi"},{"raw":"+/8=","filename":"f","mediaType":"a/b"},{"data":null}],
            "referenceTaskIds":["x"],"metadata":{"a":1}})
    );
}

#[test]
fn data_keeps_every_digit_and_fits_in_one_line() {
    let text = "{\"messageId\":\"m\",\"role\":\"ROLE_USER\",\"parts\":[{\"data\":\n [ 42, 9007199254740993.10,\r\n \"a\\n b\\\\\" ]}]}";
    let one = message(text).unwrap();
    let out = Json::of(&one);
    assert!(
        out.get().contains(r#"[42,9007199254740993.10,"a\n b\\"]"#),
        "{}",
        out.get()
    );
    assert!(!out.get().contains(['\n', '\r']));
}

/// Bodies of messages, and what is wrong with them.
const BROKEN: &str = r#"
[] => message must be an object
{"role":"ROLE_USER","parts":[{"text":"x"}]} => message.messageId is required
{"messageId":"","role":"ROLE_USER","parts":[{"text":"x"}]} => message.messageId is required
{"messageId":7,"role":"ROLE_USER","parts":[{"text":"x"}]} => message.messageId must be text
{"messageId":"m","parts":[{"text":"x"}]} => message.role is required
{"messageId":"m","role":"user","parts":[{"text":"x"}]} => message.role must be ROLE_USER or ROLE_AGENT
{"messageId":"m","role":0,"parts":[{"text":"x"}]} => message.role must be ROLE_USER or ROLE_AGENT
{"messageId":"m","role":"ROLE_USER"} => message.parts is required
{"messageId":"m","role":"ROLE_USER","parts":[]} => message.parts must have at least one element
{"messageId":"m","role":"ROLE_USER","parts":[{"text":"x"}],"metadata":[]} => message.metadata must be an object
{"messageId":"m","role":"ROLE_USER","parts":[{"text":"x"}],"extensions":"x"} => message.extensions must be an array
"#;

/// The second part of a message, and what is wrong with it.
const BROKEN_PARTS: &str = r#"
{} =>  must have exactly one of text, raw, url and data
{"text":"x","data":null} =>  must have exactly one of text, raw, url and data
{"text":"x","url":"https://x"} =>  must have exactly one of text, raw, url and data
{"text":1} => .text must be text
{"raw":"*"} => .raw must be base64
7 =>  must be an object
"#;

#[test]
fn what_is_wrong_with_a_message_is_named() {
    for line in BROKEN.trim().lines() {
        let (text, expected) = line.split_once(" => ").unwrap();
        assert_eq!(message(text).unwrap_err().to_string(), expected);
    }
    let part = |part: &str| {
        format!(r#"{{"messageId":"m","role":"ROLE_USER","parts":[{{"text":"x"}},{part}]}}"#)
    };
    for line in BROKEN_PARTS.trim().lines() {
        let (text, expected) = line.split_once(" => ").unwrap();
        let expected = format!("message.parts[1]{expected}");
        assert_eq!(message(&part(text)).unwrap_err().to_string(), expected);
    }
    let deep = format!(r#"{{"data":{}1{}}}"#, "[".repeat(101), "]".repeat(101));
    let many = vec![r#"{"text":"x"}"#; 10_000].join(",");
    let long = format!(
        r#"{{"messageId":"m","role":"ROLE_USER","parts":[{{"text":"x"}}],"contextId":"{}"}}"#,
        "x".repeat(129)
    );
    for (text, expected) in [
        (part(&deep), "message.parts[1].data is nested too deep"),
        (part(&many), "message.parts must have at most 1000 elements"),
        (long, "message.contextId must have at most 128 bytes"),
    ] {
        assert_eq!(message(&text).unwrap_err().to_string(), expected);
    }
}

#[test]
fn the_parameters_of_a_send_are_read() {
    let text = r#"{"message":{"messageId":"m","role":"ROLE_USER","parts":[{"text":"x"}]},
        "configuration":{"accepted_output_modes":["a/b"],"historyLength":"3","return_immediately":true,
        "taskPushNotificationConfig":{"url":"https://x.test/","token":"t","authentication":{"scheme":"Bearer","credentials":"c"}}},
        "metadata":{"k":[1]}}"#;
    let request = read::send_request(&object(text)).unwrap();
    assert_eq!(request.configuration.history_length, Some(3));
    assert!(request.configuration.return_immediately);
    assert_eq!(request.configuration.accepted_output_modes, ["a/b"]);
    let push = request.configuration.push.unwrap();
    assert_eq!(push.authentication.as_ref().unwrap().scheme, "Bearer");
    let shown = format!("{push:?} {:?}", push.authentication);
    assert!(!shown.contains("credentials: Some"), "{shown}");
    let message = r#""message":{"messageId":"m","role":"ROLE_USER","parts":[{"text":"x"}]}"#;
    for (more, expected) in [
        (
            r#""configuration":{"historyLength":-1}"#,
            "configuration.historyLength must not be negative",
        ),
        (
            r#""configuration":{"historyLength":1.5}"#,
            "configuration.historyLength must be a whole number",
        ),
        (
            r#""configuration":{"returnImmediately":"yes"}"#,
            "configuration.returnImmediately must be true or false",
        ),
        (
            r#""configuration":{"taskPushNotificationConfig":{}}"#,
            "configuration.taskPushNotificationConfig.url is required",
        ),
        (
            r#""configuration":{"taskPushNotificationConfig":{"url":"https://x","token":"a\r\nb"}}"#,
            "configuration.taskPushNotificationConfig.token must have printable signs of ASCII only",
        ),
        (
            r#""configuration":{"taskPushNotificationConfig":{"url":"https://x","authentication":{"scheme":"a b"}}}"#,
            "configuration.taskPushNotificationConfig.authentication.scheme must be the name of a scheme",
        ),
    ] {
        let text = format!("{{{message},{more}}}");
        assert_eq!(
            read::send_request(&object(&text)).unwrap_err().to_string(),
            expected
        );
    }
    for url in [
        "ftp://x",
        "https://",
        "https:///x",
        "x",
        "https://a b",
        "file:///etc/passwd",
        "http://:1/",
    ] {
        let text = format!(r#"{{"url":"{url}"}}"#);
        let fault = read::push_config(&Place::top(&text, "")).unwrap_err();
        assert_eq!(
            fault.to_string(),
            "url must be an http or https URL without user information",
            "{url}"
        );
    }
    let text = r#"{"message":{"messageId":"m","role":"ROLE_AGENT","parts":[{"text":"x"}]}}"#;
    let fault = read::send_request(&object(text)).unwrap_err();
    assert_eq!(fault.to_string(), "message.role must be ROLE_USER");
    let fault = read::send_request(&object("{}")).unwrap_err();
    assert_eq!(fault.to_string(), "message is required");
}

// --- States ------------------------------------------------------------------------------------

#[test]
fn states_follow_each_other_as_the_table_says() {
    use TaskState::{AuthRequired, InputRequired, Submitted, Working};
    let ends = TaskState::ALL
        .into_iter()
        .filter(|state| state.is_terminal());
    let ends: Vec<TaskState> = ends.collect();
    assert_eq!(ends.len(), 4);
    for from in TaskState::ALL {
        for to in TaskState::ALL {
            let may = match from {
                Submitted => to != Submitted,
                Working => to != Submitted,
                InputRequired | AuthRequired => to == Working || ends.contains(&to),
                _ => false,
            };
            assert_eq!(from.may_become(to), may, "{from} {to}");
            assert_eq!(States::before(to).has(from), may);
        }
        assert_eq!(States::open().has(from), !States::terminal().has(from));
        assert_eq!(TaskState::from_code(from.code()), Some(from));
        assert_eq!(TaskState::of_word(from.word()), Some(from));
        let quoted = format!("\"{}\"", from.as_str());
        for text in [quoted, from.code().to_string()] {
            assert_eq!(TaskState::read(&Place::top(&text, "s")), Ok(Some(from)));
        }
    }
    for text in ["\"TASK_STATE_UNSPECIFIED\"", "0"] {
        assert_eq!(TaskState::read(&Place::top(text, "s")), Ok(None));
    }
    for text in ["\"working\"", "9", "-1", "{}", "\"\""] {
        TaskState::read(&Place::top(text, "s")).unwrap_err();
    }
}

// --- Lists -------------------------------------------------------------------------------------

#[test]
fn a_page_token_is_good_for_its_own_list_only() {
    let ask = |text: &str| ListRequest::read(&object(text));
    let list = ask(r#"{"contextId":"c","pageSize":"7","status":2}"#).unwrap();
    assert_eq!(list.page_size, 7);
    let query = list.query("agent:1", 5).unwrap();
    let cursor = TaskCursor {
        at: Timestamp::from_millis(99),
        id: "0193-é".to_owned(),
    };
    let token = page::token(&query, &cursor);
    let with = |mut list: ListRequest| {
        list.page_token.clone_from(&token);
        list
    };
    let next = with(list.clone()).query("agent:1", 5).unwrap();
    assert_eq!(next.before, Some(cursor));
    let other = ask(r#"{"contextId":"d","pageSize":7,"status":2}"#).unwrap();
    for fault in [
        with(list.clone()).query("agent:2", 5),
        with(list.clone()).query("agent:1", 6),
        with(other).query("agent:1", 5),
        ListRequest {
            page_token: "nonsense".to_owned(),
            ..list
        }
        .query("agent:1", 5),
    ] {
        assert_eq!(
            fault.unwrap_err().to_string(),
            "pageToken is no token of this list"
        );
    }
    assert_eq!(ask("{}").unwrap().page_size, 50);
    for (text, expected) in [
        (r#"{"pageSize":0}"#, "pageSize must be from 1 to 100"),
        (r#"{"pageSize":150}"#, "pageSize must be from 1 to 100"),
        (r#"{"pageSize":-3}"#, "pageSize must be from 1 to 100"),
        (r#"{"status":"running"}"#, "status is no state of a task"),
        (
            r#"{"historyLength":-1}"#,
            "historyLength must not be negative",
        ),
        (
            r#"{"statusTimestampAfter":"yesterday"}"#,
            "statusTimestampAfter is not an RFC 3339 date and time",
        ),
    ] {
        assert_eq!(ask(text).unwrap_err().to_string(), expected);
    }
}

#[test]
fn whoever_knows_no_credential_owns_one_task_at_a_time() {
    let staff = Principal::Staff {
        name: "ann".to_owned(),
        role: crate::envelope::Role::Operator,
    };
    assert_eq!(Owner::of(&staff, "t").as_str(), "staff:ann");
    let nobody = Owner::of(&Principal::Anonymous, "t");
    assert_ne!(nobody, Owner::of(&Principal::Anonymous, "u"));
    assert_eq!(nobody.as_str(), "anonymous:t");
}

// --- Requests to agents --------------------------------------------------------------------------

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn asked(message: &Message, profile: Profile, metadata: Option<&Json>) -> protocol::Message {
    let domain = Domain::parse("a.test").unwrap();
    let sender = task_address("0193a2b4-0000-7000-8000-000000000001", &domain);
    let recipient = Address::parse("orders@a.test").unwrap();
    let (id, key) = (
        MessageId::parse("0193a2b4-0000-7000-8000-0000000000aa").unwrap(),
        IdempotencyKey::parse("4c1c9f9e-3f4b-4c55-8e0e-0d6c3f1d2b3a").unwrap(),
    );
    let attachments = [Attachment {
        filename: "f.bin".into(),
        content_type: "a/b".into(),
        size: 3,
        hash: "sha256:00".into(),
        url: "https://a.test/f".into(),
        flagged: false,
    }];
    let raw = request::write(
        &Route {
            sender: &sender,
            recipient: &recipient,
            reply_to: None,
            message_id: &id,
            idempotency_key: &key,
            in_reply_to: None,
            now: NOW,
        },
        &Request {
            kind: Kind::Message,
            dialect: Dialect::V1,
            message,
            metadata,
            accepted_output_modes: &["text/plain".to_owned(), "a/b".to_owned()],
            extensions: &[],
            attachments: &attachments,
            profile,
        },
    );
    protocol::Message::parse(raw, Rules::Submission, &Limits::default()).unwrap()
}

fn said(parts: &str) -> Message {
    let text = format!(r#"{{"messageId":"m-1","role":"ROLE_USER","parts":{parts}}}"#);
    let ids = ("0193a2b4-0000-7000-8000-000000000001", "c-1");
    message(&text).unwrap().placed(ids)
}

#[test]
fn an_agent_gets_the_whole_message_in_an_envelope() {
    let message = said(r#"[{"text":"Order\n100 widgets"},{"data":{"qty":9007199254740993}}]"#);
    let got = asked(&message, Profile::Envelope, None);
    assert_eq!(got.schema().unwrap().as_str(), "agntcy:a2a.message.v1");
    assert_eq!(got.subject(), Some("Order 100 widgets"));
    assert!(got.payload().contains("9007199254740993"));
    let payload: Value = serde_json::from_str(got.payload()).unwrap();
    assert_eq!(payload["message"]["contextId"], "c-1");
    assert_eq!(payload["configuration"]["acceptedOutputModes"][1], "a/b");
    for (name, value) in [
        ("a2a-kind", "\"message\""),
        ("a2a-task-id", "\"0193a2b4-0000-7000-8000-000000000001\""),
        ("a2a-context-id", "\"c-1\""),
        ("a2a-message-id", "\"m-1\""),
        ("a2a-version", "\"1.0\""),
        ("a2a-accepted-output-modes", "\"text/plain,a/b\""),
    ] {
        assert_eq!(got.header(name), Some(value), "{name}");
    }
    assert_eq!(got.header("a2a-extensions"), None);
    assert_eq!(got.attachments()[0].size, 3);
    let task = task_of_address(got.sender()).unwrap();
    assert_eq!(task, "0193a2b4-0000-7000-8000-000000000001");
    let other = Address::parse("orders+x@a.test").unwrap();
    assert_eq!(task_of_address(&other), None);
}

#[test]
fn a_plain_agent_gets_text_or_data_alone() {
    for (parts, payload) in [
        (r#"[{"data":[1,2.50]}]"#, "[1,2.50]"),
        (r#"[{"text":"a"},{"text":"b"}]"#, r#"{"text":"a\nb"}"#),
    ] {
        let got = asked(&said(parts), Profile::Plain, None);
        assert_eq!(got.payload(), payload);
        assert_eq!(got.schema(), None);
    }
    for parts in [
        r#"[{"text":"a"},{"data":1}]"#,
        r#"[{"url":"https://x"}]"#,
        r#"[{"data":1},{"data":2}]"#,
    ] {
        let got = asked(&said(parts), Profile::Plain, None);
        assert!(got.payload().starts_with(r#"{"message":"#), "{parts}");
    }
}

#[test]
fn a_client_that_knows_amtp_says_subject_and_schema() {
    let words = format!(
        r#"{{"{AMTP_EXTENSION}":{{"subject":"Mine","schema":"agntcy:commerce.order.v2"}}}}"#
    );
    let words = Json::read(&words).unwrap();
    let got = asked(&said(r#"[{"data":{"a":1}}]"#), Profile::Plain, Some(&words));
    assert_eq!(got.subject(), Some("Mine"));
    assert_eq!(got.schema().unwrap().as_str(), "agntcy:commerce.order.v2");
    let long = format!(r#"[{{"text":"{}"}}]"#, "é".repeat(200));
    let got = asked(&said(&long), Profile::Plain, None);
    assert_eq!(got.subject().unwrap().chars().count(), 78);
}

// --- Answers of agents ---------------------------------------------------------------------------

fn answered(more: &str) -> Result<Vec<Change>, Fault> {
    let raw = format!(
        r#"{{"version":"1.0","sender":"orders@a.test","recipients":["a2a+t-1@a.test"],{more}}}"#
    );
    let message =
        protocol::Message::parse(Bytes::from(raw), Rules::Relay, &Limits::default()).unwrap();
    let mut count = 0;
    changes(
        &message,
        Answered {
            task: "t-1",
            context: "c-1",
            at: NOW,
            mint: &mut || {
                count += 1;
                format!("new-{count}")
            },
        },
    )
}

/// The changes as the client of a stream sees them.
fn shown(more: &str) -> Value {
    let changes = answered(more).unwrap();
    let shown = changes.into_iter().map(|change| {
        written(&match change {
            Change::Status(it) => StreamResponse::StatusUpdate(it),
            Change::Artifact(it) => StreamResponse::ArtifactUpdate(it),
            Change::Answer(it) => StreamResponse::Message(it),
        })
    });
    Value::Array(shown.collect())
}

fn status(state: &str, text: Option<(&str, &str)>) -> Value {
    let mut status = json!({"state": state, "timestamp": "2027-01-15T08:00:00.000Z"});
    if let Some((id, text)) = text {
        status["message"] = json!({"messageId": id, "contextId": "c-1", "taskId": "t-1",
            "role": "ROLE_AGENT", "parts": [{"text": text}]});
    }
    json!({"statusUpdate": {"taskId": "t-1", "contextId": "c-1", "status": status}})
}

#[test]
fn an_answer_that_says_nothing_of_a2a_completes_the_task() {
    let done = status("TASK_STATE_COMPLETED", None);
    let artifact = |name: &str, parts: Value| {
        json!({"artifactUpdate": {"taskId": "t-1", "contextId": "c-1", "lastChunk": true,
            "artifact": {"artifactId": "new-1", "name": name, "parts": parts}}})
    };
    for (more, name, parts) in [
        (r#""payload":"hi""#, "response", json!([{"text": "hi"}])),
        (
            r#""payload":{"text":"hi"},"subject":"S""#,
            "S",
            json!([{"text": "hi"}]),
        ),
        (
            r#""payload":{"message":"hi"}"#,
            "response",
            json!([{"text": "hi"}]),
        ),
        (
            r#""payload":{"text":"hi","x":1}"#,
            "response",
            json!([{"data": {"text": "hi", "x": 1}, "mediaType": "application/json"}]),
        ),
        (
            r#""payload":{"order_id":"PO-9"},"schema":"agntcy:commerce.order.v2","attachments":[
                {"filename":"po.pdf","content_type":"application/pdf","size":1024,"hash":"sha256:ab","url":"https://x.test/x"}]"#,
            "response",
            json!([
                {"data": {"order_id": "PO-9"}, "mediaType": "application/json",
                 "metadata": {"schema": "agntcy:commerce.order.v2"}},
                {"url": "https://x.test/x", "filename": "po.pdf", "mediaType": "application/pdf",
                 "metadata": {"sha256": "ab", "size": 1024}}]),
        ),
        (
            r#""payload":{"status":"fine"},"response_type":"workflow_response""#,
            "response",
            json!([{"data": {"status": "fine"}, "mediaType": "application/json"}]),
        ),
    ] {
        assert_eq!(shown(more), json!([artifact(name, parts), done]), "{more}");
    }
    assert_eq!(shown(r#""payload":null"#), json!([done]));
}

#[test]
fn an_answer_may_say_the_state() {
    for (word, state) in [
        ("working", "TASK_STATE_WORKING"),
        ("input-required", "TASK_STATE_INPUT_REQUIRED"),
        ("auth-required", "TASK_STATE_AUTH_REQUIRED"),
        ("failed", "TASK_STATE_FAILED"),
        ("rejected", "TASK_STATE_REJECTED"),
    ] {
        let more = format!(r#""payload":"why","headers":{{"a2a-state":"{word}"}}"#);
        assert_eq!(shown(&more), json!([status(state, Some(("new-1", "why")))]));
    }
    let silent = shown(r#""payload":null,"headers":{"a2a-state":"auth-required"}"#);
    let said = "The agent needs a credential to go on.";
    let told = status("TASK_STATE_AUTH_REQUIRED", Some(("new-1", said)));
    assert_eq!(silent, json!([told]));
    let done = shown(r#""payload":"r","headers":{"a2a-state":"completed"}"#);
    assert_eq!(
        done[0]["artifactUpdate"]["artifact"]["parts"],
        json!([{"text": "r"}])
    );
    assert_eq!(done[1], status("TASK_STATE_COMPLETED", None));
    let direct = shown(r#""payload":"r","headers":{"a2a-state":"message"}"#);
    assert_eq!(direct[0]["message"]["parts"], json!([{"text": "r"}]));
    let piece = shown(
        r#""payload":"r","headers":{"a2a-state":"working","a2a-artifact-id":"x","a2a-append":"true","a2a-last-chunk":true}"#,
    );
    assert_eq!(
        piece,
        json!([{"artifactUpdate": {"taskId": "t-1", "contextId": "c-1", "append": true, "lastChunk": true,
            "artifact": {"artifactId": "x", "name": "response", "parts": [{"text": "r"}]}}}])
    );
    for word in ["canceled", "submitted", "done", "WORKING"] {
        let more = format!(r#""payload":"r","headers":{{"a2a-state":"{word}"}}"#);
        assert_eq!(answered(&more).unwrap_err().field, "headers.a2a-state");
    }
}

#[test]
fn a_participant_may_say_that_it_failed() {
    for (word, state) in [
        ("failed", "TASK_STATE_FAILED"),
        ("error", "TASK_STATE_FAILED"),
        ("rejected", "TASK_STATE_REJECTED"),
    ] {
        let payload = format!(r#""payload":{{"status":"{word}"}}"#);
        let found = shown(&format!(r#"{payload},"response_type":"workflow_response""#));
        assert_eq!(found[0]["statusUpdate"]["status"]["state"], state);
        let found = shown(&payload);
        assert_eq!(
            found[1]["statusUpdate"]["status"]["state"],
            "TASK_STATE_COMPLETED"
        );
    }
}

#[test]
fn an_answer_may_be_any_stream_response() {
    let with =
        |payload: &str| format!(r#""schema":"agntcy:a2a.stream-response.v1","payload":{payload}"#);
    let found = shown(&with(
        r#"[{"artifactUpdate":{"artifact":{"artifactId":"a","parts":[{"data":1.50}]},"append":true}},
            {"statusUpdate":{"taskId":"t-1","status":{"state":"TASK_STATE_WORKING","timestamp":"2020-01-01T00:00:00Z"},
             "metadata":{"k":1}}},
            {"task":{"contextId":"c-1","status":{"state":3},"artifacts":[{"artifactId":"b","parts":[{"text":"x"}]}]}}]"#,
    ));
    assert_eq!(found[0]["artifactUpdate"]["taskId"], "t-1");
    assert_eq!(found[0]["artifactUpdate"]["append"], true);
    assert_eq!(found[1]["statusUpdate"]["metadata"]["k"], 1);
    // Times are this gateway's.
    assert_eq!(
        found[1]["statusUpdate"]["status"]["timestamp"],
        "2027-01-15T08:00:00.000Z"
    );
    assert_eq!(found[2]["artifactUpdate"]["artifact"]["artifactId"], "b");
    assert_eq!(found[3], status("TASK_STATE_COMPLETED", None));
    let direct = shown(&with(
        r#"{"message":{"messageId":"m","role":"ROLE_USER","parts":[{"text":"x"}]}}"#,
    ));
    assert_eq!(direct[0]["message"]["role"], "ROLE_AGENT");
    assert_eq!(direct[0]["message"]["taskId"], "t-1");
    for (payload, field) in [
        ("[]", "payload"),
        ("7", "payload"),
        ("{}", "payload"),
        (
            r#"[{"statusUpdate":{"status":{"state":3}},"message":{"messageId":"m","role":2,"parts":[{"text":""}]}}]"#,
            "payload[0]",
        ),
        (
            r#"{"statusUpdate":{"taskId":"t-2","status":{"state":3}}}"#,
            "payload",
        ),
        (
            r#"{"statusUpdate":{"contextId":"c-2","status":{"state":3}}}"#,
            "payload",
        ),
        (r#"{"task":{"id":"t-2","status":{"state":3}}}"#, "payload"),
        (
            r#"{"artifactUpdate":{"taskId":"t-2","artifact":{"artifactId":"a","parts":[{"text":""}]}}}"#,
            "payload",
        ),
        (
            r#"{"message":{"taskId":"t-2","messageId":"m","role":2,"parts":[{"text":""}]}}"#,
            "payload",
        ),
        (
            r#"{"statusUpdate":{"status":{"state":"done"}}}"#,
            "payload.statusUpdate.status.state",
        ),
        (
            r#"{"statusUpdate":{"status":{}}}"#,
            "payload.statusUpdate.status.state",
        ),
        (
            r#"{"artifactUpdate":{"artifact":{"parts":[{"text":""}]}}}"#,
            "payload.artifactUpdate.artifact.artifactId",
        ),
    ] {
        assert_eq!(
            answered(&with(payload)).unwrap_err().field,
            field,
            "{payload}"
        );
    }
}

// --- Steps ---------------------------------------------------------------------------------------

const TARGET: Target<'static> = Target {
    task: "t-1",
    context: "c-1",
    at: NOW,
};

#[test]
fn steps_say_from_where_they_may_be_taken() {
    let done = TARGET.steps(&answered(r#""payload":"r""#).unwrap());
    assert_eq!(done.len(), 2);
    assert_eq!(done[0].from, States::open().0);
    assert_eq!(done[0].artifact.as_ref().unwrap().artifact, "new-1");
    assert_eq!(done[1].from, States::before(TaskState::Completed).0);
    assert_eq!(
        done[1].status.as_ref().unwrap().state,
        TaskState::Completed.code()
    );
    let asks = TARGET
        .steps(&answered(r#""payload":"?","headers":{"a2a-state":"input-required"}"#).unwrap());
    assert!(
        asks[0].message.is_some(),
        "what the agent says is in the history"
    );
    assert!(!States(asks[0].from).has(TaskState::Completed));
    let direct = TARGET.steps(&[Change::Answer(Message::of_agent("m", "r"))]);
    assert_eq!((direct[0].when, direct[1].when), (When::Held, When::Shown));
    assert!(direct[0].close && !direct[1].close);
    assert_eq!(
        TARGET.delivered().from,
        States::of(&[TaskState::Submitted]).0
    );
    assert_eq!(TARGET.delivered().otherwise, Otherwise::Skip);
}

#[test]
fn events_read_as_they_were_written() {
    for more in [
        r#""payload":{"n":1.500}"#,
        r#""payload":"?","headers":{"a2a-state":"auth-required"}"#,
    ] {
        for step in TARGET.steps(&answered(more).unwrap()) {
            let body = step.event.unwrap();
            let event = whole::event(&TaskEvent {
                seq: 1,
                body: body.clone(),
            })
            .unwrap();
            assert_eq!(Json::of(&event).get().as_bytes(), body);
        }
    }
    whole::event(&TaskEvent {
        seq: 1,
        body: b"nonsense".to_vec(),
    })
    .unwrap_err();
}

#[test]
fn what_is_shown_to_receivers_is_stored_sealed() {
    let key = |byte: u8| base64::engine::general_purpose::STANDARD.encode([byte; 32]);
    let sealer = Sealer::new(&key(1)).unwrap();
    let read = |text: &str| read::push_config(&Place::top(text, "")).unwrap();
    let config = read(
        r#"{"id":"p","taskId":"t","url":"https://p.test/","token":"tok","authentication":{"scheme":"Basic","credentials":"cred"}}"#,
    );
    let new = push::stored(&config, "t", (Dialect::V03, NOW), &sealer);
    let stored = StoredPush {
        task: "t".to_owned(),
        id: new.id.clone(),
        dialect: new.dialect,
        url: new.url.clone(),
        sealed: new.sealed.clone(),
    };
    assert!(!format!("{new:?}").contains("cred"));
    assert_eq!(push::opened(&stored, &sealer).unwrap(), config);
    let other = Sealer::new(&key(2)).unwrap();
    push::opened(&stored, &other).unwrap_err();
    // Without a name it has that of the task; where nothing is shown nothing is sealed.
    let bare = push::stored(
        &read(r#"{"url":"https://p.test/"}"#),
        "t",
        (Dialect::V1, NOW),
        &sealer,
    );
    assert_eq!((bare.id.as_str(), bare.sealed), ("t", None));
}

#[test]
fn a_part_is_written_with_one_content() {
    let part = Part {
        filename: Some("f".to_owned()),
        ..Part::of(Content::Url("https://x".to_owned()))
    };
    assert_eq!(written(&part), json!({"url": "https://x", "filename": "f"}));
}
