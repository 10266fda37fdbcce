//! One message a request.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use super::super::samples::{ID, KEY, NOW, parcel, stored};
use super::bench::{Bench, Seen, domain};
use crate::envelope::{Envelope, KeySource, Origin, Trust, Verification};
use crate::protocol::{Address, ErrorCode, IdempotencyKey, Limits, Message, MessageId, Profile};
use crate::store::{Acceptance, Plan, Planned, Terms};
use crate::transport::{Attempted, Fault, Outcome, Parcel, Trouble};

const DAY: Duration = Duration::from_secs(86_400);
const DELIVERED: Outcome = Outcome::Delivered { reply: None };
const OTHER: &str = "01987654-3210-7654-8765-000000000002";

fn to(recipients: &[&str]) -> Parcel {
    let recipients: Vec<String> = recipients
        .iter()
        .map(|name| format!("{name}@b.test"))
        .collect();
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    parcel(&recipients, "")
}

fn trouble(attempted: &Attempted) -> &Trouble {
    match &attempted.outcome {
        Outcome::Deferred(trouble) | Outcome::Failed(trouble) => trouble,
        Outcome::Delivered { .. } | Outcome::Waits => panic!("{attempted:?}"),
    }
}

fn is_deferred(attempted: &Attempted) -> bool {
    matches!(attempted.outcome, Outcome::Deferred(_))
}

/// Takes the message for these recipients, under an id.
fn receipt(id: &str, recipients: &serde_json::Value) -> String {
    let taken: Vec<_> = recipients
        .as_array()
        .unwrap()
        .iter()
        .map(|address| json!({"address": address, "status": "queued"}))
        .collect();
    json!({"message_id": id, "status": "accepted", "recipients": taken}).to_string()
}

fn accepts(seen: &Seen) -> (u16, String) {
    let message = &seen.messages()[0];
    let id = message["message_id"].as_str().unwrap();
    (202, receipt(id, &message["recipients"]))
}

#[tokio::test]
async fn a_message_reaches_the_gateway_of_its_domain() {
    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let bench = Bench::start().await;
    bench.publish("");
    bench.answers(accepts);
    let more = format!(r#","headers":{{"traceparent":"{TRACE}"}}"#);
    let done = bench.carry(vec![parcel(&["bob@b.test"], &more)]).await;
    assert_eq!(done[0][0].outcome, DELIVERED);
    let remote = format!("127.0.0.1:{}", bench.port);
    assert_eq!(done[0][0].remote.as_deref(), Some(remote.as_str()));
    let seen = bench.seen();
    assert_eq!(seen.len(), 1);
    let agent = concat!("AMTP/1.0 (amtpd/", env!("CARGO_PKG_VERSION"), ")");
    for (name, value) in [
        ("content-type", "application/json"),
        ("user-agent", agent),
        ("x-amtp-version", "1.0"),
        ("authorization", "Bearer hidden"),
        ("traceparent", TRACE),
        ("content-encoding", ""),
    ] {
        assert_eq!(seen[0].header(name), value, "{name}");
    }
    assert_eq!(seen[0].path, "/in/v1/messages");
    let message = &seen[0].messages()[0];
    assert_eq!(message["message_id"], ID);
    assert_eq!(message["idempotency_key"], KEY);
    let noted = bench.store.domain_seen(&domain()).await.unwrap();
    assert_eq!(noted, Some(NOW));
}

#[tokio::test]
async fn a_fresh_identity_is_on_disk_before_it_is_sent() {
    let bench = Bench::start().await;
    bench.publish("");
    bench.answers(|_| (503, String::new()));
    let mut some = to(&["bob", "eve"]);
    some.copies.truncate(1);
    some.copies[0].renew = true;
    let done = bench.carry(vec![some.clone()]).await;
    // It has been renewed: the next attempt is the same request.
    assert!(is_deferred(&done[0][0]) && !done[0][0].renew);
    let ids = bench.seen()[0].ids();
    assert_ne!(ids[0], ID);
    let id = MessageId::parse(&ids[0]).unwrap();
    assert!(id.is_uuid_v7());
    assert_eq!(bench.store.find_alias(&id).await.unwrap(), Some(1));
    bench.close_store().await;
    let done = bench.carry(vec![some, to(&["bob"])]).await;
    assert!(is_deferred(&done[0][0]) && done[0][0].renew);
    assert_eq!(trouble(&done[0][0]).fault, Fault::Message);
    assert!(is_deferred(&done[1][0]));
    assert_eq!(bench.seen().len(), 0);
}

#[tokio::test]
async fn a_peer_with_multi_recipient_gets_any_set_under_the_messages_own_id() {
    let bench = Bench::start().await;
    bench.publish("features=multi-recipient");
    let mut some = to(&["bob", "eve"]);
    some.copies.truncate(1);
    bench.carry(vec![some]).await;
    assert_eq!(bench.seen()[0].ids(), [ID]);
}

/// A message from `eve@b.test` under an id of her own is in the store.
async fn received(bench: &Bench, id: &str) {
    let raw = r#"{"sender":"eve@b.test","recipients":["alice@a.test"],"payload":1}"#;
    let message = Message::parse(Bytes::from(raw), Profile::Relay, &Limits::default()).unwrap();
    let envelope = Envelope {
        message_id: MessageId::parse(id).unwrap(),
        idempotency_key: IdempotencyKey::parse("k").unwrap(),
        key_source: KeySource::Given,
        timestamp: NOW,
        origin: Origin::Peer,
        trust: Trust::Unverified,
        verification: Verification::unsigned(message.sender().domain()),
        received_at: NOW,
        remote: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        answers: None,
        request_id: "r".to_owned(),
        message,
    };
    let recipients = vec![Planned {
        address: Address::parse("alice@a.test").unwrap(),
        plan: Plan::Queue {
            party: 1,
            destination: "agent:1".to_owned(),
            give_up_at: NOW.plus(DAY),
            wire: None,
            reserved: None,
            terms: Terms::default(),
        },
    }];
    let acceptance = Acceptance {
        envelope,
        recipients,
        reserved: None,
        place: None,
        succession: None,
        blobs: Vec::new(),
    };
    bench.store.accept(acceptance).await.unwrap();
}

#[tokio::test]
async fn references_the_peer_cannot_know_are_left_out() {
    let bench = Bench::start().await;
    bench.publish("");
    received(&bench, "order-9").await;
    let refer = |answers: &str, workflow: &str| {
        let more = format!(r#","in_reply_to":"{answers}","workflow_id":"{workflow}""#);
        parcel(&["bob@b.test"], &more)
    };
    let table = [
        (refer("order-9", "order-8"), Some("order-9"), None),
        (refer("order-8", "order-9"), None, Some("order-9")),
        (refer(OTHER, OTHER), Some(OTHER), Some(OTHER)),
    ];
    for (parcel, answers, workflow) in table {
        bench.carry(vec![parcel]).await;
        let message = &bench.seen()[0].messages()[0];
        assert_eq!(
            message.get("in_reply_to").and_then(|it| it.as_str()),
            answers
        );
        assert_eq!(
            message.get("workflow_id").and_then(|it| it.as_str()),
            workflow
        );
    }
}

#[tokio::test]
async fn an_alternative_is_tried_when_nobody_answers_at_the_first() {
    let bench = Bench::start().await;
    let dead = Bench::dead_port().await;
    let record = |port: u16| format!("v=amtp1;gateway=https://localhost:{port}");
    bench.publish_all(vec![record(dead), record(bench.port), record(dead)]);
    for _ in 0..8 {
        let done = bench.carry(vec![to(&["bob"])]).await;
        assert_eq!(done[0][0].outcome, DELIVERED);
        bench.clock.advance(DAY);
    }
    assert_eq!(bench.seen().len(), 8);
}

#[tokio::test]
async fn nobody_answers_so_all_wait() {
    let bench = Bench::start().await;
    let dead = Bench::dead_port().await;
    bench.publish_all(vec![format!("v=amtp1;gateway=https://localhost:{dead}")]);
    let done = bench.carry(vec![to(&["bob"]), to(&["eve"])]).await;
    for attempted in [&done[0][0], &done[1][0]] {
        assert!(is_deferred(attempted) && !attempted.renew);
        let trouble = trouble(attempted);
        assert_eq!(trouble.code, ErrorCode::RecipientUnavailable);
        assert_eq!(trouble.fault, Fault::Destination);
        assert!(
            trouble.text.contains("localhost: no connection"),
            "{}",
            trouble.text
        );
    }
}

#[tokio::test]
async fn a_message_larger_than_the_record_says_is_not_sent() {
    let bench = Bench::start().await;
    bench.publish("max-size=300");
    let large = parcel(&["bob@b.test"], &format!(r#","x":"{}""#, "x".repeat(300)));
    let done = bench.carry(vec![large, to(&["bob"])]).await;
    assert!(matches!(done[0][0].outcome, Outcome::Failed(_)));
    assert_eq!(trouble(&done[0][0]).code, ErrorCode::MessageTooLarge);
    assert_eq!(done[1][0].outcome, DELIVERED);
    assert_eq!(bench.seen().len(), 1);
}

#[tokio::test]
async fn a_domain_without_a_record_fails_unless_it_had_one() {
    let bench = Bench::start().await;
    let done = bench.carry(vec![to(&["bob"])]).await;
    assert!(matches!(done[0][0].outcome, Outcome::Failed(_)));
    assert_eq!(trouble(&done[0][0]).code, ErrorCode::RecipientNotFound);
    assert_eq!(trouble(&done[0][0]).text, "b.test has no _amtp record");
    bench.store.remember_domain(domain(), NOW).await.unwrap();
    let done = bench.carry(vec![to(&["bob"]), to(&["eve"])]).await;
    assert!(is_deferred(&done[0][0]) && is_deferred(&done[1][0]));
    bench.clock.advance(DAY);
    let done = bench.carry(vec![to(&["bob"])]).await;
    assert!(matches!(done[0][0].outcome, Outcome::Failed(_)));
}

#[tokio::test]
async fn a_dns_that_fails_never_means_that_there_is_no_peer() {
    let bench = Bench::start().await;
    bench.publish_all(Vec::new());
    let done = bench.carry(vec![to(&["bob"])]).await;
    assert!(is_deferred(&done[0][0]));
    let why = trouble(&done[0][0]);
    assert_eq!(why.fault, Fault::Destination);
    assert!(
        why.text.contains("the DNS does not answer: SERVFAIL"),
        "{}",
        why.text
    );
}

#[tokio::test]
async fn an_answer_from_the_table_of_duplicates_is_answered_under_fresh_ids() {
    let bench = Bench::start().await;
    bench.publish("");
    let mut first = None;
    bench.answers(move |seen| {
        let message = &seen.messages()[0];
        let id = message["message_id"].as_str().unwrap().to_owned();
        // The first request is answered as one that was seen before, under another id.
        let known = if first.replace(id.clone()).is_none() {
            OTHER.to_owned()
        } else {
            id
        };
        (200, receipt(&known, &message["recipients"]))
    });
    let done = bench.carry(vec![to(&["bob", "eve"])]).await;
    assert_eq!(
        [&done[0][0].outcome, &done[0][1].outcome],
        [&DELIVERED, &DELIVERED]
    );
    let seen = bench.seen();
    let ids: Vec<String> = seen.iter().flat_map(Seen::ids).collect();
    assert_eq!(ids.len(), 2);
    assert_eq!(ids[0], ID);
    let alias = MessageId::parse(&ids[1]).unwrap();
    assert_eq!(bench.store.find_alias(&alias).await.unwrap(), Some(1));
    assert_ne!(seen[1].messages()[0]["idempotency_key"], KEY);

    bench.answers(|seen| (200, receipt(OTHER, &seen.messages()[0]["recipients"])));
    let done = bench.carry(vec![to(&["bob"])]).await;
    assert!(is_deferred(&done[0][0]) && done[0][0].renew);
    let mut ids: Vec<String> = bench.seen().iter().flat_map(Seen::ids).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3);
}

#[tokio::test]
async fn a_peer_that_refuses_several_recipients_is_asked_for_each_for_a_day() {
    let bench = Bench::start().await;
    bench.publish("features=multi-recipient");
    bench.answers(|seen| {
        let recipients = &seen.messages()[0]["recipients"];
        if recipients.as_array().unwrap().len() > 1 {
            let error = r#"{"error":{"code":"INVALID_MESSAGE_FORMAT","message":"one only"}}"#;
            return (400, error.to_owned());
        }
        accepts(seen)
    });
    let requests = |seen: Vec<Seen>| -> Vec<(usize, bool)> {
        let one = |seen: &Seen| {
            let message = &seen.messages()[0];
            let recipients = message["recipients"].as_array().unwrap().len();
            (recipients, message["message_id"] == ID)
        };
        seen.iter().map(one).collect()
    };
    for expected in [
        &[(2, true), (1, false), (1, false)][..],
        &[(1, false), (1, false)][..],
    ] {
        let done = bench.carry(vec![to(&["bob", "eve"])]).await;
        assert_eq!(
            [&done[0][0].outcome, &done[0][1].outcome],
            [&DELIVERED, &DELIVERED]
        );
        assert_eq!(requests(bench.seen()), expected);
    }
    bench.clock.advance(DAY);
    bench.carry(vec![to(&["bob", "eve"])]).await;
    assert_eq!(requests(bench.seen()).len(), 3);
}

#[tokio::test]
async fn a_reply_in_the_answer_comes_back() {
    let bench = Bench::start().await;
    bench.publish("");
    bench.answers(|seen| {
        (
            200,
            format!(r#"{{"message_id":"{}","reply":{{"a": 1}}}}"#, seen.ids()[0]),
        )
    });
    let done = bench.carry(vec![to(&["bob"])]).await;
    let reply = Some(Bytes::from(r#"{"a": 1}"#));
    assert_eq!(done[0][0].outcome, Outcome::Delivered { reply });
}

#[tokio::test]
async fn a_peer_is_only_reached_where_its_settings_allow() {
    let bench = Bench::start().await;
    bench.publish("");
    let own = stored(r#"{"sender":"a@a.test","recipients":["x@c.test"]}"#, 1);
    let to = crate::transport::Destination::Peer(crate::protocol::Domain::parse("c.test").unwrap());
    bench.publish_for("c.test");
    let done = crate::transport::Transport::carry(&bench.transport, &to, vec![own]).await;
    assert!(
        trouble(&done[0][0]).text.contains("loopback"),
        "{:?}",
        done[0][0]
    );
    assert_eq!(bench.seen().len(), 0);
}
