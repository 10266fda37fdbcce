use std::collections::BTreeSet;

use jsonschema::Validator;
use serde_json::json;

use super::*;
use crate::intake::{Receipt, Received, Signing};
use crate::protocol::DeliveryStatus;

const SCHEMA: &str = include_str!("../../../../schemas/amtp-websocket-1.0.json");
const ID: &str = "018f2f5e-0000-7000-8000-000000000000";

/// The schema of one side.
fn schema(side: &str) -> Validator {
    let mut schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let whole = schema.as_object_mut().unwrap();
    whole.remove("oneOf");
    whole.insert("$ref".to_owned(), json!(format!("#/$defs/{side}")));
    jsonschema::validator_for(&schema).unwrap()
}

fn reads(frame: &Value) -> Result<(), Misread> {
    let text = frame.to_string();
    let head = Head::read(&text)?;
    ClientFrame::read(&head.kind, &text).map(drop)
}

/// The `type`s of the frames of one side, by the schema.
fn kinds(side: &str) -> BTreeSet<String> {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let frames = schema["$defs"][side]["oneOf"].as_array().unwrap();
    let kind = |frame: &Value| {
        let name = frame["$ref"].as_str().unwrap().rsplit('/').next().unwrap();
        let kind = &schema["$defs"][name]["properties"]["type"]["const"];
        kind.as_str().unwrap().to_owned()
    };
    frames.iter().map(kind).collect()
}

fn client_frames() -> Vec<Value> {
    vec![
        json!({ "type": "auth", "token": "t" }),
        json!({ "type": "auth", "ref": "1", "token": "t", "credit": 0, "resume": "r", "inbox": "g@b.test" }),
        json!({ "type": "send", "message": { "a": 1 } }),
        json!({ "type": "request", "message": {}, "wait": "500ms", "ack": true }),
        json!({ "type": "request", "message": {} }),
        json!({ "type": "ack", "ids": [ID] }),
        json!({ "type": "nack", "ref": "x", "ids": [ID, ID], "delay": "5m" }),
        json!({ "type": "credit", "credit": 100_000 }),
        json!({ "type": "subscribe", "topic": "t@b.test" }),
        json!({ "type": "subscribe", "topic": "t@b.test", "durable": true, "from": "retained",
            "filter": { "schemas": ["agntcy:a.*"], "headers": { "x": "y" } } }),
        json!({ "type": "subscribe", "topic": "t@b.test", "from": { "seq": 7 } }),
        json!({ "type": "subscribe", "topic": "t@b.test", "from": { "time": "2026-08-14T10:30:00Z" } }),
        json!({ "type": "unsubscribe", "topic": "t@b.test", "subscription": ID }),
        json!({ "type": "publish", "topic": "t@b.test", "message": {}, "expected_version": 0 }),
        json!({ "type": "broadcast", "message": {}, "to": "registered" }),
        json!({ "type": "presence", "addresses": ["a@b.test"] }),
        json!({ "type": "ping", "ref": "1" }),
    ]
}

#[test]
fn what_the_schema_lets_a_client_say_is_read_and_the_other_way_round() {
    let schema = schema("client");
    let mut seen = BTreeSet::new();
    for frame in client_frames() {
        assert!(schema.is_valid(&frame), "{frame}");
        assert_eq!(reads(&frame), Ok(()), "{frame}");
        seen.insert(frame["type"].as_str().unwrap().to_owned());
        let mut more = frame.clone();
        more["unknown"] = json!(1);
        assert!(!schema.is_valid(&more) && reads(&more).is_err(), "{more}");
    }
    assert_eq!(seen, kinds("client"));
    let ids = vec![json!(ID); 1_001];
    for frame in [
        json!({ "type": "dance" }),
        json!({}),
        json!([]),
        json!({ "type": "ping", "ref": "" }),
        json!({ "type": "ping", "ref": "x".repeat(129) }),
        json!({ "type": "ping", "ref": 1 }),
        json!({ "type": "auth" }),
        json!({ "type": "auth", "token": "t", "credit": -1 }),
        json!({ "type": "send" }),
        json!({ "type": "request", "message": {}, "wait": "soon" }),
        json!({ "type": "request", "message": {}, "ack": 1 }),
        json!({ "type": "ack", "ids": [] }),
        json!({ "type": "ack", "ids": ids }),
        json!({ "type": "ack", "ids": [7] }),
        json!({ "type": "nack", "ids": [ID], "delay": 5 }),
        json!({ "type": "credit", "credit": -1 }),
        json!({ "type": "credit", "credit": 1.5 }),
        json!({ "type": "subscribe", "topic": "nowhere" }),
        json!({ "type": "subscribe", "topic": "t@b.test", "from": "never" }),
        json!({ "type": "subscribe", "topic": "t@b.test", "filter": { "x": 1 } }),
        json!({ "type": "publish", "topic": "t@b.test" }),
        json!({ "type": "broadcast", "message": {}, "to": "all" }),
        json!({ "type": "presence", "addresses": [] }),
    ] {
        assert!(!schema.is_valid(&frame), "{frame}");
        assert!(reads(&frame).is_err(), "{frame}");
    }
}

fn raw(value: &Value) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).unwrap()
}

fn server_frames() -> Vec<ServerFrame> {
    let reference = || Some("7".to_owned());
    let receipt = || {
        ReceiptView::of(Receipt {
            message_id: MessageId::parse(ID).unwrap(),
            recipients: vec![
                Received {
                    address: Address::parse("a@b.test").unwrap(),
                    status: DeliveryStatus::Delivered,
                    error_code: None,
                },
                Received {
                    address: Address::parse("c@b.test").unwrap(),
                    status: DeliveryStatus::Failed,
                    error_code: Some(ErrorCode::AgentUnknown),
                },
            ],
            signing: Signing::Impossible,
        })
    };
    vec![
        ServerFrame::Welcome {
            reference: reference(),
            session: Uuid::nil(),
            resume: "r".to_owned(),
            resumed: false,
            address: "a@b.test".to_owned(),
            inbox: "a@b.test".to_owned(),
            heartbeat: 30.0,
            credit: 16,
            max_frame: 1,
        },
        ServerFrame::Message {
            redelivered: true,
            message: raw(&json!({ "message_id": ID, "sender": "a@b.test", "payload": 1 })),
        },
        ServerFrame::Receipt {
            reference: None,
            receipt: receipt(),
            version: None,
        },
        ServerFrame::Receipt {
            reference: reference(),
            receipt: receipt(),
            version: Some(3),
        },
        ServerFrame::Reply {
            reference: reference(),
            message_id: ID.to_owned(),
            message: raw(&json!({ "message_id": ID })),
        },
        ServerFrame::Done {
            reference: "7".to_owned(),
        },
        ServerFrame::Subscribed {
            reference: None,
            topic: "t@b.test".to_owned(),
            subscription: ID.to_owned(),
            state: "active",
        },
        ServerFrame::Presence {
            reference: None,
            agents: vec![PresenceView {
                address: "a@b.test".to_owned(),
                connected: true,
                sessions: 2,
            }],
        },
        ServerFrame::Pong { reference: None },
        ServerFrame::Error {
            reference: None,
            code: ErrorCode::NotFound,
            message: "Nothing.".to_owned(),
            details: Some(json!({ "not_found": [ID] })),
            retry_after: Some(0.5),
        },
    ]
}

#[test]
fn what_a_gateway_says_is_what_the_schema_says() {
    let schema = schema("server");
    let mut seen = BTreeSet::new();
    for frame in server_frames() {
        let text = serde_json::to_string(&frame).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        assert!(schema.is_valid(&value), "{text}");
        seen.insert(value["type"].as_str().unwrap().to_owned());
    }
    assert_eq!(seen, kinds("server"));
}

#[test]
fn a_pushed_message_keeps_the_text_of_its_numbers() {
    let message = RawValue::from_string(r#"{"payload":1.50}"#.to_owned()).unwrap();
    let frame = ServerFrame::Message {
        redelivered: false,
        message,
    };
    assert_eq!(
        serde_json::to_string(&frame).unwrap(),
        r#"{"type":"message","redelivered":false,"message":{"payload":1.50}}"#
    );
}
