//! Calls to A2A agents of others: noted once, taken by one, answered once.

use std::time::Duration;

use super::super::{Call, CallAnswer, Follower, NewCall};
use super::{Bench, Home, RetentionRules};
use crate::events::Topic;
use crate::protocol::{MessageId, Timestamp};
use crate::store::{Acceptance, Plan, Planned};

const HOLD: Duration = Duration::from_millis(100);

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn id(text: &str) -> MessageId {
    MessageId::parse(text).unwrap()
}

fn new_call(mid: i64, task: &str) -> NewCall {
    NewCall {
        agent: 7,
        delivery: (mid, "x@a.test".to_owned()),
        message: id(&format!("m-{mid}")),
        sender: "alice@a.test".to_owned(),
        conversation: None,
        place: b"{}".to_vec(),
        asked: b"[1]".to_vec(),
        heard: None,
        task: task.to_owned(),
        context: "c".to_owned(),
        token: Some(vec![9; 32]),
        due_at: Some(at(50)),
        give_up_at: at(9_000),
        now: at(10),
    }
}

fn told(call: &Call, told: &str, due_at: Option<Timestamp>) -> CallAnswer {
    CallAnswer {
        call: call.id.clone(),
        before: call.told.clone(),
        told: told.to_owned(),
        message: Some(id("answer")),
        due_at,
        now: at(100),
    }
}

fn alice(agent: i64) -> Follower<'static> {
    Follower {
        agent,
        sender: "alice@a.test",
        conversation: None,
    }
}

impl Bench {
    async fn call_of(&self, mid: i64) -> Call {
        let call = self.store.find_call(mid, "x@a.test").await.unwrap();
        call.unwrap()
    }

    fn acceptance(&self, bob: i64) -> Acceptance {
        Acceptance {
            envelope: self.envelope("x@a.test", None, "1"),
            recipients: vec![Planned {
                address: crate::protocol::Address::parse("bob@a.test").unwrap(),
                plan: Plan::Inbox {
                    mailbox: bob,
                    priority: None,
                },
            }],
            reserved: None,
            place: None,
            succession: None,
            blobs: Vec::new(),
        }
    }
}

both!(a_call_is_noted_once_for_its_delivery_and_taken_by_one_at_a_time);
async fn a_call_is_noted_once_for_its_delivery_and_taken_by_one_at_a_time(home: Home) {
    let bench = Bench::at(home).await;
    let store = &bench.store;
    let mut news = store.events().subscribe(Topic::Calls);
    store.note_call(new_call(1, "t")).await.unwrap();
    news.changed().await;
    let again = NewCall {
        task: "other".to_owned(),
        ..new_call(1, "t")
    };
    store.note_call(again).await.unwrap();
    let call = bench.call_of(1).await;
    assert_eq!((call.task.as_str(), call.ended), ("t", false));
    assert_eq!(store.next_call_at().await.unwrap(), Some(at(50)));
    let take = async |now| store.take_due_calls(at(now), HOLD, 9).await.unwrap();
    assert!(take(49).await.is_empty());
    assert_eq!(take(50).await, std::slice::from_ref(&call));
    assert!(take(149).await.is_empty(), "somebody has it");
    assert_eq!(take(150).await.len(), 1, "somebody lost it");
    store.free_calls(at(151)).await.unwrap();
    assert_eq!(take(151).await.len(), 1, "nobody has it");
    store.defer_call(&call.id, at(400), 3).await.unwrap();
    let call = bench.call_of(1).await;
    assert_eq!((call.looks, call.failures), (1, 3));
    // Who calls back hurries it, but not more often than twice a second.
    assert!(store.hurry_call(vec![9; 32], at(160)).await.unwrap());
    assert_eq!(store.next_call_at().await.unwrap(), Some(at(651)));
    assert!(!store.hurry_call(vec![8; 32], at(160)).await.unwrap());
    assert!(store.hurry_call(vec![9; 32], at(5_000)).await.unwrap());
    assert_eq!(
        store.next_call_at().await.unwrap(),
        Some(at(651)),
        "it is due"
    );
    bench.close().await;
}

both!(an_answer_is_stored_with_the_note_that_it_was_given_and_once);
async fn an_answer_is_stored_with_the_note_that_it_was_given_and_once(home: Home) {
    let bench = Bench::at(home).await;
    let store = &bench.store;
    let bob = bench.agent("bob").await;
    store.note_call(new_call(1, "t")).await.unwrap();
    let call = bench.call_of(1).await;
    let asks = told(&call, "input-required", Some(at(500)));
    for expected in [true, false] {
        let message = Some(bench.acceptance(bob));
        let done = store.answer_call(asks.clone(), message).await.unwrap();
        assert_eq!(done, expected);
        assert_eq!(bench.mail(bob).await.len(), 1);
    }
    let call = bench.call_of(1).await;
    assert_eq!((call.told.as_str(), call.ended), ("input-required", false));
    let done = told(&call, "completed", None);
    assert!(
        store
            .answer_call(done.clone(), Some(bench.acceptance(bob)))
            .await
            .unwrap()
    );
    assert!(
        !store
            .answer_call(done, Some(bench.acceptance(bob)))
            .await
            .unwrap()
    );
    assert_eq!(bench.mail(bob).await.len(), 2);
    assert!(bench.call_of(1).await.ended);
    // It is over: nobody looks, and nobody calls back.
    assert_eq!(store.next_call_at().await.unwrap(), None);
    assert!(!store.hurry_call(vec![9; 32], at(200)).await.unwrap());
    store.defer_call(&call.id, at(400), 0).await.unwrap();
    assert_eq!(store.next_call_at().await.unwrap(), None);
    // It is forgotten in time, not before.
    let rules = |settled| RetentionRules {
        settled: Duration::from_millis(settled),
        acknowledged: Duration::from_secs(86_400),
        dead_letters: Duration::from_secs(86_400),
    };
    store.sweep(rules(50), at(150)).await.unwrap();
    assert!(store.find_call(1, "x@a.test").await.unwrap().is_some());
    store.sweep(rules(50), at(151)).await.unwrap();
    assert!(store.find_call(1, "x@a.test").await.unwrap().is_none());
    assert!(
        store
            .find_call_of(&id("m-1"), alice(7))
            .await
            .unwrap()
            .is_none()
    );
    bench.close().await;
}

both!(who_goes_on_with_a_call_is_who_made_it_or_is_in_its_conversation);
async fn who_goes_on_with_a_call_is_who_made_it_or_is_in_its_conversation(home: Home) {
    let bench = Bench::at(home).await;
    let store = &bench.store;
    store.note_call(new_call(1, "t")).await.unwrap();
    let call = bench.call_of(1).await;
    store
        .answer_call(told(&call, "input-required", Some(at(500))), None)
        .await
        .unwrap();
    for message in ["m-1", "answer"] {
        let found = store.find_call_of(&id(message), alice(7)).await.unwrap();
        assert_eq!(found.unwrap().id, call.id);
        for stranger in [
            alice(8),
            Follower {
                sender: "eve@a.test",
                ..alice(7)
            },
            Follower {
                sender: "eve@a.test",
                conversation: Some("talk"),
                ..alice(7)
            },
        ] {
            let found = store.find_call_of(&id(message), stranger).await.unwrap();
            assert_eq!(found, None, "{stranger:?}");
        }
    }
    // What is said goes on with the same task: the call before it is over.
    let talk = NewCall {
        conversation: Some("talk".to_owned()),
        sender: "a2a+1@a.test".to_owned(),
        token: None,
        ..new_call(2, "t")
    };
    store.note_call(talk).await.unwrap();
    assert!(bench.call_of(1).await.ended);
    let eve = Follower {
        sender: "eve@a.test",
        conversation: Some("talk"),
        ..alice(7)
    };
    let found = store.find_call_of(&id("m-2"), eve).await.unwrap().unwrap();
    assert!(!found.ended);
    let last = store.last_call_in(7, "talk").await.unwrap().unwrap();
    assert_eq!(last.id, found.id);
    assert_eq!(store.last_call_in(8, "talk").await.unwrap(), None);
    // One that nobody waits for is over from the beginning.
    let silent = NewCall {
        due_at: None,
        ..new_call(3, "u")
    };
    store.note_call(silent).await.unwrap();
    assert!(bench.call_of(3).await.ended);
    bench.close().await;
}

both!(what_travels_through_an_address_is_found_by_the_id_it_travelled_under);
async fn what_travels_through_an_address_is_found_by_the_id_it_travelled_under(home: Home) {
    let bench = Bench::at(home).await;
    let store = &bench.store;
    let mut planned = super::to_queue("bob@a.test", -5);
    let wire = id("0193a2b4-0000-7000-8000-0000000000aa");
    if let Plan::Queue { wire: given, .. } = &mut planned.plan {
        *given = Some(crate::store::WireIdentity {
            id: wire.clone(),
            key: uuid::Uuid::new_v4().into(),
            recipients: 1,
        });
    }
    let envelope = bench.envelope("alice@a.test", None, "1");
    let own = envelope.message_id.clone();
    bench.accept(envelope, vec![planned]).await;
    let found = store.find_carried(&wire).await.unwrap().unwrap();
    assert_eq!(found.message_id, own);
    assert!(store.find_carried(&own).await.unwrap().is_none());
    let found = store.find_wire_id(&own, "alice@a.test").await.unwrap();
    assert_eq!(found, Some(wire));
    let found = store.find_wire_id(&own, "eve@a.test").await.unwrap();
    assert_eq!(found, None);
    bench.close().await;
}
