//! Several messages a request.

use std::time::Duration;

use super::super::batch::LOAD;
use super::super::samples::stored;
use super::bench::{Bench, Seen};
use crate::protocol::ErrorCode;
use crate::transport::{Attempted, Fault, Load, Outcome, Parcel};

const HOUR: Duration = Duration::from_secs(3_600);

/// Messages from `alice` to these recipients, each with an id and key fit for any peer.
fn parcels(names: &[&str]) -> Vec<Parcel> {
    let parcel = |(mid, name): (i64, &&str)| {
        let body = format!(
            r#"{{"sender":"alice@a.test","recipients":["{name}@b.test"],
            "message_id":"01987654-3210-7654-8765-{mid:012}",
            "idempotency_key":"01234567-89ab-4cde-8123-{mid:012}","payload":"{}"}}"#,
            "x".repeat(2_000)
        );
        stored(&body, mid)
    };
    (1..).zip(names).map(parcel).collect()
}

/// What came of each parcel's only copy.
fn shown(done: &[Vec<Attempted>]) -> Vec<String> {
    let one = |attempted: &Attempted| match &attempted.outcome {
        Outcome::Delivered { .. } => "ok".to_owned(),
        Outcome::Deferred(trouble) => format!("later {:?} {}", trouble.fault, trouble.code),
        Outcome::Failed(trouble) => format!("no {}", trouble.code),
        Outcome::Waits => "waits".to_owned(),
    };
    done.iter().map(|parcel| one(&parcel[0])).collect()
}

fn is_batch(seen: &Seen) -> bool {
    seen.path.ends_with("/v1/messages/batch")
}

fn taken(id: &str) -> String {
    format!(r#"{{"status":202,"receipt":{{"message_id":"{id}","status":"accepted"}}}}"#)
}

fn accepts(seen: &Seen) -> (u16, String) {
    if is_batch(seen) {
        let lines: Vec<String> = seen.ids().iter().map(|id| taken(id)).collect();
        (200, lines.join("\n"))
    } else {
        (202, String::new())
    }
}

async fn bench() -> Bench {
    let bench = Bench::start().await;
    bench.publish("features=batch,multi-recipient");
    bench.answers(accepts);
    bench
}

#[tokio::test]
async fn several_messages_go_in_one_compressed_request() {
    let bench = bench().await;
    assert_eq!(bench.load(), Load::SINGLE);
    let done = bench.carry(parcels(&["bob", "bob", "eve"])).await;
    assert_eq!(shown(&done), ["ok", "ok", "ok"]);
    let seen = bench.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].path, "/in/v1/messages/batch");
    assert_eq!(seen[0].header("content-type"), "application/x-ndjson");
    assert_eq!(seen[0].header("content-encoding"), "gzip");
    assert_eq!(seen[0].header("authorization"), "Bearer hidden");
    let recipients: Vec<_> = seen[0].messages();
    let recipients: Vec<_> = recipients.iter().map(|it| &it["recipients"][0]).collect();
    assert_eq!(recipients, ["bob@b.test", "bob@b.test", "eve@b.test"]);
    assert_eq!(bench.load(), LOAD);
    bench.carry(parcels(&["bob"])).await;
    assert!(!is_batch(&bench.seen()[0]));
}

#[tokio::test]
async fn each_line_is_judged_by_itself() {
    let bench = bench().await;
    bench.answers(|seen| {
        let ids = seen.ids();
        if !is_batch(seen) || ids.len() < 5 {
            return accepts(seen);
        }
        let lines = [
            taken(&ids[0]),
            r#"{"status":404,"error":{"code":"AGENT_UNKNOWN","message":"no"}}"#.to_owned(),
            r#"{"status":503,"error":{"code":"MAILBOX_FULL","message":"no"}}"#.to_owned(),
            r#"{"status":202,"receipt":{"message_id":"another","recipients":[]}}"#.to_owned(),
            taken(&ids[4]),
            taken("one too many"),
        ];
        (200, lines.join("\n"))
    });
    let done = bench.carry(parcels(&["a", "b", "c", "d", "e"])).await;
    assert_eq!(
        shown(&done),
        [
            "ok",
            "no AGENT_UNKNOWN",
            "later Message MAILBOX_FULL",
            "ok",
            "ok"
        ]
    );
    let seen = bench.seen();
    // The fourth was answered from the table of duplicates.
    assert_eq!(seen.len(), 2);
    assert_ne!(seen[1].ids()[0], seen[0].ids()[3]);
}

#[tokio::test]
async fn messages_without_a_line_wait() {
    let bench = bench().await;
    for tail in ["", "\n<html>", "\n{\"status\":\"202\"}"] {
        let tail = tail.to_owned();
        bench.answers(move |seen| (200, taken(&seen.ids()[0]) + &tail));
        let done = bench.carry(parcels(&["a", "b", "c"])).await;
        let later = "later Destination TEMPORARY_FAILURE";
        assert_eq!(shown(&done), ["ok", later, later]);
        assert!(!done[1][0].renew && done[1][0].remote.is_some());
    }
    assert_eq!(bench.load(), LOAD);
}

#[tokio::test]
async fn a_peer_that_takes_no_batches_gets_each_message_alone_for_an_hour() {
    let bench = bench().await;
    for status in [404, 405, 415, 501, 400] {
        bench.answers(move |seen| match is_batch(seen) {
            true => (status, r#"{"error":{"code":"NOT_FOUND"}}"#.to_owned()),
            false => (202, String::new()),
        });
        let done = bench.carry(parcels(&["a", "b", "c"])).await;
        assert_eq!(shown(&done), ["ok", "ok", "ok"]);
        let seen = bench.seen();
        let batches: Vec<bool> = seen.iter().map(is_batch).collect();
        assert_eq!(batches, [true, false, false, false], "{status}");
        // The same identities as in the batch.
        let singles: Vec<String> = seen[1..].iter().flat_map(Seen::ids).collect();
        assert_eq!(singles, seen[0].ids());
        assert_eq!(bench.load(), Load::SINGLE);
        bench.carry(parcels(&["a", "b"])).await;
        assert!(!bench.seen().iter().any(is_batch));
        bench.clock.advance(HOUR);
        bench.carry(parcels(&["a"])).await;
        assert_eq!(bench.load(), LOAD);
        bench.seen();
    }
}

#[tokio::test]
async fn messages_sent_alone_keep_the_order_of_their_pair() {
    let bench = Bench::start().await;
    bench.publish("");
    bench.answers(|seen| {
        let recipient = seen.messages()[0]["recipients"][0].clone();
        match recipient == "bob@b.test" {
            true => (503, r#"{"error":{"code":"MAILBOX_FULL"}}"#.to_owned()),
            false => (202, String::new()),
        }
    });
    let done = bench.carry(parcels(&["bob", "eve", "bob", "eve"])).await;
    let later = "later Message MAILBOX_FULL";
    assert_eq!(shown(&done), [later, "ok", "waits", "ok"]);
    assert_eq!(bench.seen().len(), 3);
}

#[tokio::test]
async fn trouble_with_a_whole_batch_is_trouble_for_each_message() {
    let bench = bench().await;
    for (status, shown_as) in [
        (429, "later Destination RATE_LIMIT_EXCEEDED"),
        (503, "later Destination TEMPORARY_FAILURE"),
        (302, "later Destination RECIPIENT_UNAVAILABLE"),
    ] {
        bench.answers(move |_| (status, String::new()));
        let done = bench.carry(parcels(&["a", "b"])).await;
        assert_eq!(shown(&done), [shown_as, shown_as]);
        assert_eq!(bench.seen().len(), 1);
        assert_eq!(bench.load(), LOAD);
    }
    // One message may have broken it: the next attempt finds out which.
    bench.answers(|seen| match is_batch(seen) {
        true => (500, String::new()),
        false => (202, String::new()),
    });
    let done = bench.carry(parcels(&["a", "b"])).await;
    let Outcome::Deferred(trouble) = &done[0][0].outcome else {
        panic!("{done:?}")
    };
    assert_eq!(
        (trouble.code, trouble.fault),
        (ErrorCode::TemporaryFailure, Fault::Message)
    );
    assert_eq!(bench.load(), Load::SINGLE);
}

#[tokio::test]
async fn more_than_one_batch_takes_goes_in_several() {
    let bench = bench().await;
    let names: Vec<String> = (0..250).map(|n| format!("r{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let done = bench.carry(parcels(&names)).await;
    assert!(shown(&done).iter().all(|one| one == "ok"));
    let sizes: Vec<usize> = bench.seen().iter().map(|seen| seen.ids().len()).collect();
    assert_eq!(sizes, [200, 50]);
}

/// Messages whose ids may not leave.
fn orders(count: i64) -> Vec<Parcel> {
    let parcel = |mid| {
        let body = format!(
            r#"{{"sender":"a@a.test","recipients":["bob@b.test"],"message_id":"order-{mid}"}}"#
        );
        stored(&body, mid)
    };
    (1..=count).map(parcel).collect()
}

#[tokio::test]
async fn a_fresh_identity_outlives_a_refused_batch() {
    let bench = bench().await;
    bench.answers(|seen| (if is_batch(seen) { 404 } else { 202 }, String::new()));
    bench.carry(orders(2)).await;
    let seen = bench.seen();
    let singles: Vec<String> = seen[1..].iter().flat_map(Seen::ids).collect();
    assert_eq!(singles, seen[0].ids());
}

#[tokio::test]
async fn messages_that_need_fresh_identities_go_in_a_batch_too() {
    let bench = bench().await;
    let done = bench.carry(orders(50)).await;
    assert!(shown(&done).iter().all(|one| one == "ok"));
    let seen = bench.seen();
    assert_eq!(seen.len(), 1);
    for (mid, id) in (1..).zip(seen[0].ids()) {
        let id = crate::protocol::MessageId::parse(&id).unwrap();
        assert!(id.is_uuid_v7());
        assert_eq!(bench.store.find_alias(&id).await.unwrap(), Some(mid));
    }
}
