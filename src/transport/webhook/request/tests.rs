//! Bodies and signatures as a receiver checks them.

use std::sync::Arc;

use serde_json::Value;

use super::*;
use crate::envelope::{Origin, Trust};
use crate::protocol::Profile;
use crate::transport::Copy;

fn sealer() -> Sealer {
    Sealer::new(&STANDARD.encode([7; 32])).unwrap()
}

fn parcel(raw: &str) -> Parcel {
    let body = Bytes::from(raw.to_owned());
    let message = Message::parse(body.clone(), Profile::Relay, &Limits::default()).unwrap();
    let recipient = message.recipients()[0].clone();
    let stored = StoredMessage {
        mid: 1,
        message_id: MessageId::parse("m-1").unwrap(),
        sender: message.sender().key(),
        trust: Trust::Unverified,
        origin: Origin::Peer,
        accepted_at: Timestamp::from_millis(1_800_000_000_000),
        notes: serde_json::from_str(
            r#"{"v":{"result":"unsigned","method":"none","domain":"one.test"},"k":"key-1","r":""}"#,
        )
        .unwrap(),
        body,
    };
    let copy = Copy {
        seq: 1,
        recipient,
        attempts: 0,
        first_attempt: None,
        wire: None,
        renew: false,
    };
    Parcel {
        stored: Arc::new(stored),
        message,
        copies: vec![copy],
    }
}

fn agent(settings: &str) -> Agent {
    Agent {
        id: 7,
        address: Address::parse("b@two.test").unwrap(),
        settings: serde_json::from_str(settings).unwrap(),
        sealed_headers: None,
        active: true,
        created_at: Timestamp::from_millis(0),
        updated_at: Timestamp::from_millis(0),
        last_active_at: None,
    }
}

fn text(parcel: &Parcel) -> String {
    String::from_utf8(body(parcel, &parcel.copies[0].recipient)).unwrap()
}

fn names(text: &str) -> Vec<String> {
    let value: Value = serde_json::from_str(text).unwrap();
    value.as_object().unwrap().keys().cloned().collect()
}

#[test]
fn the_signature_is_that_of_standard_webhooks() {
    // The example of the specification.
    let secret = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let signed = Signed {
        id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
        seconds: "1614265330",
        body: br#"{"test": 2432232314}"#,
    };
    assert_eq!(
        signed.with(&secret),
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    );
}

#[test]
fn for_a_day_after_a_rotation_the_old_secret_signs_too() {
    let signed = Signed {
        id: "m-1",
        seconds: "1800000000",
        body: b"{}",
    };
    let sealer = sealer();
    let by = |generation| signed.with(&sealer.webhook_secret(7, generation));
    let rotated = r#"{"delivery_mode":"push","listed":true,"secret_generation":3,
        "secret_rotated_at":"2026-11-21T10:00:00.000Z"}"#;
    let fresh = r#"{"delivery_mode":"push","listed":true}"#;
    for (settings, now, expected) in [
        (fresh, "2026-11-21T10:00:00Z", by(0)),
        (
            rotated,
            "2026-11-21T10:00:00Z",
            format!("{} {}", by(3), by(2)),
        ),
        (
            rotated,
            "2026-11-22T09:59:59Z",
            format!("{} {}", by(3), by(2)),
        ),
        (rotated, "2026-11-22T10:00:00Z", by(3)),
    ] {
        let now = Timestamp::parse_rfc3339(now).unwrap();
        assert_eq!(signed.by(&agent(settings), &sealer, now), Ok(expected));
    }
}

#[test]
fn what_was_received_is_shown_to_the_digit() {
    let shown = text(&parcel(
        r#"{"sender":"A@One.test","recipients":["B+tag@two.test", "c@two.test"],"unknown":1,
            "message_id":"wire-9","idempotency_key":"k-9","timestamp":"2026-11-21T10:00:00.5+02:00",
            "subject":"\u00e9","schema":"agntcy:a.b.v1","headers":{"x": 1.10},
            "payload":{"total": 9007199254740993.10},"in_reply_to":"m-0","response_type":"error",
            "attachments":[ ],"signature":{"x":1}}"#,
    ));
    assert_eq!(
        shown,
        concat!(
            r#"{"message_id":"m-1","idempotency_key":"k-9","sender":"A@One.test","#,
            r#""recipient":"B+tag@two.test","recipients":["B+tag@two.test", "c@two.test"],"#,
            r#""timestamp":"2026-11-21T10:00:00.5+02:00","subject":"\u00e9","#,
            r#""schema":"agntcy:a.b.v1","headers":{"x": 1.10},"#,
            r#""attachments":[ ],"#,
            r#""payload":{"total": 9007199254740993.10},"in_reply_to":"m-0","workflow_id":null,"#,
            r#""response_type":"error","sender_verification":"#,
            r#"{"result":"unsigned","method":"none","domain":"one.test"}}"#
        )
    );
}

#[test]
fn what_is_absent_is_null_and_only_some_have_more() {
    let plain = text(&parcel(
        r#"{"sender":"a@one.test","recipients":["b@two.test"],"subject":"","payload":""}"#,
    ));
    let value: Value = serde_json::from_str(&plain).unwrap();
    for name in [
        "subject",
        "schema",
        "headers",
        "attachments",
        "in_reply_to",
        "workflow_id",
        "response_type",
    ] {
        assert!(value.get(name).is_some_and(Value::is_null), "{name}");
    }
    assert_eq!(value["payload"], "");
    assert_eq!(value["idempotency_key"], "key-1");
    assert_eq!(value["timestamp"], "2027-01-15T08:00:00.000Z");
    let usual = names(&plain);
    assert_eq!(usual.len(), 15);
    let bounce = text(&parcel(
        r#"{"sender":"a@one.test","recipients":["b@two.test"],"message_type":"delivery_failure"}"#,
    ));
    let mut more = names(&bounce);
    more.retain(|name| !usual.contains(name));
    assert_eq!(more, ["message_type"]);
}

#[test]
fn a_coordination_says_whether_this_recipient_must_answer() {
    let all = r#""type":"parallel","timeout":9"#;
    let other = r#""type":"parallel","timeout":9,"required_responses":["c@two.test"]"#;
    let in_turn = r#""type":"sequential","timeout":9,"sequence":["b@two.test"]"#;
    for (coordination, workflow, id, required) in [
        (all, "", "m-1", true),
        (all, r#","workflow_id":"w-1""#, "w-1", true),
        (other, "", "m-1", false),
        (in_turn, "", "m-1", true),
        (r#""type":"dance""#, "", "m-1", false),
    ] {
        let shown = text(&parcel(&format!(
            r#"{{"sender":"a@one.test","recipients":["B@two.test","c@two.test"],"payload":1,
                "coordination":{{{coordination}}}{workflow}}}"#
        )));
        let value: Value = serde_json::from_str(&shown).unwrap();
        assert!(shown.contains(&format!(r#""coordination":{{{coordination}}}"#)));
        assert_eq!(value["workflow_id"], id, "{coordination}");
        assert_eq!(value["requires_response"], required, "{coordination}");
    }
}

#[test]
fn an_agents_own_headers_are_sent_and_cannot_replace_ours() {
    let sealer = sealer();
    let given = r#"{"Authorization":"Bearer x","Webhook-Id":"forged","User-Agent":"me"}"#;
    let mut agent = agent(
        r#"{"delivery_mode":"push","listed":true,"push_target":"https://h.test/in?token=t"}"#,
    );
    agent.sealed_headers = Some(sealer.seal(WEBHOOK_HEADERS, given.as_bytes()));
    let parcel = parcel(r#"{"sender":"a@one.test","recipients":["b@two.test"],"payload":1}"#);
    let to = (&parcel, &parcel.copies[0].recipient);
    let now = Timestamp::from_millis(1_800_000_000_999);
    let letter = write(&agent, &sealer, to, now).unwrap();
    assert_eq!(letter.uri(), "https://h.test/in?token=t");
    let headers = letter.headers();
    assert_eq!(headers["authorization"], "Bearer x");
    assert!(headers["authorization"].is_sensitive());
    assert_eq!(headers["webhook-id"], "m-1");
    assert_eq!(headers["webhook-timestamp"], "1800000000");
    assert_eq!(headers["x-amtp-local-delivery"], "true");
    assert_eq!(headers["content-type"], "application/json");
    let us = concat!("AMTP/1.0 (amtpd/", env!("CARGO_PKG_VERSION"), ")");
    assert_eq!(headers["user-agent"], us);
    assert_eq!(headers.get_all("webhook-id").iter().count(), 1);

    agent.sealed_headers = Some(sealer.seal("another purpose", given.as_bytes()));
    let refused = write(&agent, &sealer, to, now).unwrap_err();
    assert!(refused.contains("secrets.key_file"), "{refused}");
}
