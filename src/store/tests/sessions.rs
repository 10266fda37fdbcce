//! Sessions: what each is handed, and what becomes of it.

mod ends;

use std::time::Duration;

use uuid::Uuid;

use super::{Bench, Home, MessageId, NOW, Planned, Timestamp, Topic, to_inbox};
use crate::protocol::{Message, Priority, Profile};
use crate::store::{
    HandOut, Handed, NewSession, Opened, Plan, SessionKind, SessionOrder, SessionRef,
    SessionSharing, Tending,
};

const ALICE: &str = "alice@a.test";
const CAROL: &str = "carol@a.test";
const KEPT: Duration = Duration::from_secs(60);

fn now() -> Timestamp {
    Timestamp::from_millis(NOW)
}

fn later(seconds: u64) -> Timestamp {
    now().plus(Duration::from_secs(seconds))
}

pub(super) fn new_session(mailbox: i64) -> NewSession {
    NewSession {
        id: Uuid::new_v4(),
        token: "secret".to_owned(),
        resume: None,
        mailbox,
        agent: mailbox,
        key_id: "key-of-bob".to_owned(),
        kind: SessionKind::WebSocket,
        sharing: SessionSharing::Shared,
        node: Uuid::nil(),
        remote: Some("192.0.2.7".to_owned()),
        most: 10,
        kept: KEPT,
        now: now(),
    }
}

fn copies(mailbox: i64) -> NewSession {
    NewSession {
        sharing: SessionSharing::Copies,
        ..new_session(mailbox)
    }
}

pub(super) fn asks(session: SessionRef, credit: usize) -> HandOut {
    HandOut {
        session,
        order: SessionOrder::Kept,
        credit,
        most: 100,
        again: false,
        now: now(),
    }
}

fn ids(names: &[&str]) -> Vec<MessageId> {
    let parse = |name: &&str| MessageId::parse(name).unwrap();
    names.iter().map(parse).collect()
}

impl Bench {
    pub(super) async fn open(&self, new: NewSession) -> SessionRef {
        match self.store.open_session(new).await.unwrap() {
            Opened::Session { session, .. } => session,
            other => panic!("{other:?}"),
        }
    }

    /// A message of this sender; its id.
    async fn sends(&self, sender: &str, to: i64) -> String {
        let envelope = self.envelope(sender, None, "1");
        let (id, _) = self
            .accept(envelope, vec![to_inbox("bob@a.test", to)])
            .await;
        id.as_str().to_owned()
    }

    /// The same with a priority.
    async fn sends_as(&self, sender: &str, to: i64, priority: &str) -> String {
        let mut envelope = self.envelope(sender, None, "1");
        let raw = format!(
            r#"{{"sender":"{sender}","recipients":["bob@a.test"],"headers":{{"priority":"{priority}"}},"payload":1}}"#
        );
        let limits = super::Limits::default();
        envelope.message = Message::parse(raw.into(), Profile::Relay, &limits).unwrap();
        let (id, _) = self
            .accept(envelope, vec![to_inbox("bob@a.test", to)])
            .await;
        id.as_str().to_owned()
    }

    pub(super) async fn handed(&self, asked: HandOut) -> Vec<String> {
        match self.store.hand_out(asked).await.unwrap() {
            Handed::Mail { items, .. } => items
                .iter()
                .map(|item| item.message.message_id.as_str().to_owned())
                .collect(),
            Handed::Ended(reason) => panic!("{reason}"),
        }
    }

    async fn ended(&self, session: SessionRef) -> String {
        match self.store.hand_out(asks(session, 10)).await.unwrap() {
            Handed::Ended(reason) => reason,
            Handed::Mail { items, .. } => panic!("{items:?}"),
        }
    }

    async fn acknowledges(&self, session: SessionRef, names: &[&str]) -> Vec<bool> {
        let done = self.store.acknowledge_as(session, ids(names), now());
        done.await.unwrap()
    }

    async fn tend(&self, node: Uuid, held: &[SessionRef], now: Timestamp) -> (usize, usize) {
        let tending = Tending {
            node,
            held: held.iter().map(|it| it.number).collect(),
            heard: held.iter().map(|it| it.number).collect(),
            detached_before: now.minus(KEPT),
            now,
            set_by_hand: Some(now),
        };
        let tended = self.store.tend_sessions(tending).await.unwrap();
        (tended.detached, tended.ended)
    }
}

both!(a_message_goes_to_one_session_and_its_sender_stays_there);
async fn a_message_goes_to_one_session_and_its_sender_stays_there(home: Home) {
    let bench = Bench::at(home).await;
    let bob = bench.agent("bob").await;
    let (one, two) = (
        bench.open(new_session(bob)).await,
        bench.open(new_session(bob)).await,
    );
    let a1 = bench.sends(ALICE, bob).await;
    let a2 = bench.sends(ALICE, bob).await;
    let c1 = bench.sends(CAROL, bob).await;
    assert_eq!(bench.handed(asks(one, 1)).await, [a1.as_str()]);
    assert_eq!(
        bench.handed(asks(one, 1)).await,
        [""; 0],
        "its credit is used up"
    );
    assert_eq!(bench.handed(asks(two, 9)).await, [c1.as_str()]);
    assert_eq!(
        bench.mail(bob).await,
        [a2.as_str()],
        "a poll sees what nobody has"
    );
    assert_eq!(bench.acknowledges(one, &[&a1, &a1]).await, [true, false]);
    assert_eq!(bench.handed(asks(two, 9)).await, [a2.as_str()]);
    assert_eq!(
        bench.acknowledges(two, &[&a2, &c1, "id-99"]).await,
        [true, true, false]
    );
    assert!(bench.mail(bob).await.is_empty());
}

both!(without_order_any_session_gets_any_message);
async fn without_order_any_session_gets_any_message(home: Home) {
    let bench = Bench::at(home).await;
    let bob = bench.agent("bob").await;
    let one = bench.open(new_session(bob)).await;
    let two = bench.open(new_session(bob)).await;
    let free = |session, credit| HandOut {
        order: SessionOrder::None,
        ..asks(session, credit)
    };
    let a1 = bench.sends(ALICE, bob).await;
    let a2 = bench.sends(ALICE, bob).await;
    assert_eq!(bench.handed(free(one, 1)).await, [a1.as_str()]);
    assert_eq!(bench.handed(free(two, 1)).await, [a2.as_str()]);
}

both!(what_is_put_back_with_a_delay_holds_the_later_ones_of_its_sender);
async fn what_is_put_back_with_a_delay_holds_the_later_ones_of_its_sender(home: Home) {
    let bench = Bench::at(home).await;
    let bob = bench.agent("bob").await;
    let one = bench.open(new_session(bob)).await;
    let a1 = bench.sends(ALICE, bob).await;
    assert_eq!(bench.handed(asks(one, 9)).await, [a1.as_str()]);
    let a2 = bench.sends(ALICE, bob).await;
    let c1 = bench.sends(CAROL, bob).await;
    let put_back = bench
        .store
        .put_back_as(one, ids(&[&a1, "id-99"]), later(30));
    assert_eq!(put_back.await.unwrap(), [true, false]);
    match bench.store.hand_out(asks(one, 9)).await.unwrap() {
        Handed::Mail {
            items,
            due,
            full,
            more,
        } => {
            assert_eq!(items.len(), 1);
            assert_eq!(items[0].message.message_id.as_str(), c1);
            assert_eq!((due, full, more), (Some(later(30)), false, false));
        }
        Handed::Ended(reason) => panic!("{reason}"),
    }
    let in_time = HandOut {
        now: later(30),
        ..asks(one, 9)
    };
    assert_eq!(bench.handed(in_time).await, [a1.as_str(), a2.as_str()]);
}

both!(what_a_lost_session_had_comes_first_then_the_urgent);
async fn what_a_lost_session_had_comes_first_then_the_urgent(home: Home) {
    let bench = Bench::at(home).await;
    let bob = bench.agent("bob").await;
    let one = bench.open(new_session(bob)).await;
    let a1 = bench.sends(ALICE, bob).await;
    let c1 = bench.sends_as(CAROL, bob, "urgent").await;
    let a2 = bench.sends_as(ALICE, bob, "urgent").await;
    assert_eq!(bench.handed(asks(one, 1)).await, [c1.as_str()]);
    let e1 = bench.sends_as("eve@a.test", bob, "low").await;
    let f1 = bench.sends_as("fay@a.test", bob, "high").await;
    let two = bench.open(new_session(bob)).await;
    let mut mail = bench.store.events().subscribe(Topic::Mailbox(bob));
    bench.store.detach_session(one, now()).await.unwrap();
    mail.changed().await;
    // An urgent message waits for the earlier one of its sender.
    let expected = [&c1, &f1, &a1, &a2, &e1].map(String::as_str);
    assert_eq!(bench.handed(asks(two, 9)).await, expected);
}

both!(a_rule_says_how_urgent_a_message_is_in_its_mailbox);
async fn a_rule_says_how_urgent_a_message_is_in_its_mailbox(home: Home) {
    let bench = Bench::at(home).await;
    let bob = bench.agent("bob").await;
    let one = bench.open(new_session(bob)).await;
    let a1 = bench.sends(ALICE, bob).await;
    let raised = Planned {
        plan: Plan::Inbox {
            mailbox: bob,
            priority: Some(Priority::High),
        },
        ..to_inbox("bob@a.test", bob)
    };
    let (c1, _) = bench
        .accept(bench.envelope(CAROL, None, "1"), vec![raised])
        .await;
    assert_eq!(bench.handed(asks(one, 9)).await, [c1.as_str(), a1.as_str()]);
}

both!(a_lost_connection_is_resumed_with_its_token_only);
async fn a_lost_connection_is_resumed_with_its_token_only(home: Home) {
    let bench = Bench::at(home).await;
    let (bob, eve) = (bench.agent("bob").await, bench.agent("eve").await);
    let new = new_session(bob);
    let one = bench.open(new.clone()).await;
    let a1 = bench.sends(ALICE, bob).await;
    let a2 = bench.sends(ALICE, bob).await;
    bench.handed(asks(one, 9)).await;
    bench.acknowledges(one, &[&a1]).await;
    bench.store.detach_session(one, now()).await.unwrap();
    let resume = |id, token: &str| NewSession {
        resume: Some((id, token.to_owned())),
        ..new_session(bob)
    };
    let forged = [
        resume(new.id, "guess"),
        resume(Uuid::new_v4(), "secret"),
        NewSession {
            mailbox: eve,
            agent: eve,
            ..resume(new.id, "secret")
        },
        NewSession {
            now: later(61),
            ..resume(new.id, "secret")
        },
    ];
    for forged in forged {
        assert_eq!(
            bench.store.open_session(forged).await.unwrap(),
            Opened::BadResume
        );
    }
    let again = bench
        .store
        .open_session(resume(new.id, "secret"))
        .await
        .unwrap();
    let Opened::Session {
        session,
        id,
        is_resumed,
    } = again
    else {
        panic!("{again:?}");
    };
    assert_eq!((session.number, id, is_resumed), (one.number, new.id, true));
    assert_eq!(
        bench.handed(asks(session, 9)).await,
        [a2.as_str()],
        "what was not acknowledged"
    );
    // The connection before it is told, and does no harm.
    assert_eq!(
        bench.ended(one).await,
        "the session was resumed by another connection"
    );
    bench.store.detach_session(one, now()).await.unwrap();
    bench.store.end_session(one, now()).await.unwrap();
    assert_eq!(bench.acknowledges(session, &[&a2]).await, [true]);
    // Also while its loss was not noticed.
    let third = bench.open(resume(new.id, "secret")).await;
    assert_eq!(third.epoch, 3);
    bench.store.end_session(third, now()).await.unwrap();
    let over = bench
        .store
        .open_session(resume(new.id, "secret"))
        .await
        .unwrap();
    assert_eq!(over, Opened::BadResume);
}

both!(copies_go_to_every_session_and_leave_when_all_acknowledged);
async fn copies_go_to_every_session_and_leave_when_all_acknowledged(home: Home) {
    let bench = Bench::at(home).await;
    let bob = bench.agent("bob").await;
    let a1 = bench.sends(ALICE, bob).await;
    let one = bench.open(copies(bob)).await;
    let two = bench.open(copies(bob)).await;
    let a2 = bench.sends(ALICE, bob).await;
    let both = [a1.as_str(), a2.as_str()];
    assert_eq!(bench.handed(asks(one, 9)).await, both);
    assert_eq!(bench.handed(asks(two, 1)).await, [a1.as_str()]);
    assert!(
        bench.handed(asks(two, 1)).await.is_empty(),
        "its credit is used up"
    );
    assert_eq!(bench.acknowledges(one, &[&a1, &a1]).await, [true, false]);
    assert_eq!(
        bench.acknowledges(two, &[&a2]).await,
        [false],
        "it was not handed to it"
    );
    assert_eq!(bench.acknowledges(two, &[&a1]).await, [true]);
    let left = bench
        .store
        .acknowledge(bob, ids(&[&a1]), now())
        .await
        .unwrap();
    assert_eq!(left, [false], "it is gone");
    // Put back with a delay it comes again to this session alone, and holds the later ones.
    let put_back = bench.store.put_back_as(one, ids(&[&a2]), later(9));
    assert_eq!(put_back.await.unwrap(), [true]);
    let a3 = bench.sends(ALICE, bob).await;
    assert!(bench.handed(asks(one, 9)).await.is_empty());
    assert_eq!(bench.handed(asks(two, 9)).await, [a2.as_str(), a3.as_str()]);
    let in_time = HandOut {
        now: later(9),
        ..asks(one, 9)
    };
    assert_eq!(bench.handed(in_time).await, [a2.as_str(), a3.as_str()]);
    // What one acknowledged and the others never will is gone with the last of them.
    assert_eq!(bench.acknowledges(one, &[&a2, &a3]).await, [true, true]);
    bench.store.end_session(one, now()).await.unwrap();
    assert_eq!(bench.acknowledges(two, &[&a2]).await, [true]);
    let a4 = bench.sends(ALICE, bob).await;
    assert_eq!(bench.handed(asks(two, 9)).await, [a4.as_str()]);
    bench.store.end_session(two, now()).await.unwrap();
    assert_eq!(bench.mail(bob).await, [a4.as_str()]);
}

both!(a_copy_comes_again_after_its_connection_was_lost);
async fn a_copy_comes_again_after_its_connection_was_lost(home: Home) {
    let bench = Bench::at(home).await;
    let bob = bench.agent("bob").await;
    let new = copies(bob);
    let one = bench.open(new.clone()).await;
    let two = bench.open(copies(bob)).await;
    let mut sent = Vec::new();
    for _ in 0..4 {
        sent.push(bench.sends(ALICE, bob).await);
    }
    assert_eq!(bench.handed(asks(one, 9)).await, sent);
    assert_eq!(bench.handed(asks(two, 9)).await, sent);
    bench.acknowledges(one, &[&sent[1]]).await;
    bench.store.detach_session(one, now()).await.unwrap();
    let again = bench
        .open(NewSession {
            resume: Some((new.id, new.token.clone())),
            ..new
        })
        .await;
    let expected = [&sent[0], &sent[2], &sent[3]].map(String::as_str);
    assert_eq!(bench.handed(asks(again, 9)).await, expected);
    // Somebody who is no session acknowledges for all.
    let mut own = bench.store.events().subscribe(Topic::Session(two.number));
    let all: Vec<&str> = sent.iter().map(String::as_str).collect();
    let done = bench
        .store
        .acknowledge(bob, ids(&all), now())
        .await
        .unwrap();
    assert_eq!(done, [true; 4]);
    own.changed().await;
    assert_eq!(bench.acknowledges(two, &all).await, [false; 4]);
}
