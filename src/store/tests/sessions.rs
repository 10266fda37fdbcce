//! Sessions: what each is handed, and what becomes of it.

use std::time::Duration;

use uuid::Uuid;

use super::postgres::Cluster;
use super::{
    AgentChange, AgentSettings, Bench, Home, InboxQuery, MessageId, NOW, Planned, Take, Timestamp,
    Topic, query, to_inbox,
};
use crate::protocol::{Message, Priority, Profile};
use crate::store::{
    HandOut, Handed, NewSession, Opened, Plan, SessionFilter, SessionKind, SessionOrder,
    SessionRef, SessionSharing, Tending,
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

both!(whoever_ends_a_session_tells_it_why);
async fn whoever_ends_a_session_tells_it_why(home: Home) {
    let bench = Bench::at(home).await;
    let bob = bench.agent("bob").await;
    let a1 = bench.sends(ALICE, bob).await;
    let new = new_session(bob);
    let closed = bench.open(new.clone()).await;
    assert_eq!(bench.handed(asks(closed, 9)).await, [a1.as_str()]);
    let mut own = bench
        .store
        .events()
        .subscribe(Topic::Session(closed.number));
    let reason = "closed by the operator";
    let dismiss = async |id| {
        bench
            .store
            .dismiss_session(id, reason, now())
            .await
            .unwrap()
    };
    assert!(dismiss(new.id).await);
    assert!(!dismiss(new.id).await, "once");
    assert!(!dismiss(Uuid::new_v4()).await);
    own.changed().await;
    assert_eq!(
        bench.mail(bob).await,
        [a1.as_str()],
        "what it had waits again"
    );
    assert_eq!(bench.ended(closed).await, reason);
    bench.store.detach_session(closed, now()).await.unwrap();
    assert_eq!(bench.ended(closed).await, "the session is closed");
    let resume = NewSession {
        resume: Some((new.id, new.token.clone())),
        ..new
    };
    assert_eq!(
        bench.store.open_session(resume).await.unwrap(),
        Opened::BadResume
    );

    let revoked = bench.open(new_session(bob)).await;
    let key = "key-of-bob".to_owned();
    assert!(bench.store.revoke_key(bob, key, now()).await.unwrap());
    assert_eq!(bench.ended(revoked).await, "the key was revoked");
    let changed = bench.open(new_session(bob)).await;
    let mut change = AgentChange {
        id: bob,
        settings: AgentSettings::fresh(),
        sealed_headers: None,
        active: true,
        now: now(),
    };
    bench.store.change_agent(change.clone()).await.unwrap();
    assert!(
        bench.handed(asks(changed, 9)).await.len() == 1,
        "nothing changed for it"
    );
    change.settings.live.sessions = SessionSharing::Copies;
    bench.store.change_agent(change.clone()).await.unwrap();
    assert_eq!(
        bench.ended(changed).await,
        "the agent's settings were changed"
    );
    let inactive = bench.open(new_session(bob)).await;
    change.active = false;
    bench.store.change_agent(change).await.unwrap();
    assert_eq!(bench.ended(inactive).await, "the agent was deactivated");
    let deleted = bench.open(new_session(bob)).await;
    bench.store.delete_agent(bob, now()).await.unwrap();
    assert_eq!(bench.ended(deleted).await, "the agent was deleted");
    let gone = bench.store.open_session(new_session(bob)).await.unwrap();
    assert_eq!(gone, Opened::Gone);
}

both!(sessions_that_nobody_holds_are_given_up);
async fn sessions_that_nobody_holds_are_given_up(home: Home) {
    let bench = Bench::at(home).await;
    let bob = bench.agent("bob").await;
    let node = Uuid::new_v4();
    // Its gateway was killed: it is no gateway of this database any more.
    let lost = bench.open(new_session(bob)).await;
    let a1 = bench.sends(ALICE, bob).await;
    assert_eq!(bench.handed(asks(lost, 9)).await, [a1.as_str()]);
    let own = bench
        .open(NewSession {
            node,
            ..new_session(bob)
        })
        .await;
    assert_eq!(bench.tend(node, &[own], now()).await, (1, 0));
    assert_eq!(bench.handed(asks(own, 9)).await, [a1.as_str()]);
    assert_eq!(bench.ended(lost).await, "the gateway was away for too long");
    // One of its own that it does not know of is given up after a while.
    assert_eq!(bench.tend(node, &[], later(59)).await, (0, 0));
    assert_eq!(bench.tend(node, &[], later(61)).await, (1, 1));
    assert_eq!(bench.mail(bob).await, [a1.as_str()]);
    assert_eq!(bench.tend(node, &[], later(121)).await, (0, 1));
    assert_eq!(
        bench
            .store
            .list_sessions(&SessionFilter {
                limit: 9,
                ..SessionFilter::default()
            })
            .await
            .unwrap(),
        []
    );
}

both!(a_key_that_ends_takes_its_sessions_along);
async fn a_key_that_ends_takes_its_sessions_along(home: Home) {
    let bench = Bench::at(home).await;
    let bob = bench.agent("bob").await;
    let node = Uuid::new_v4();
    let own = bench
        .open(NewSession {
            node,
            ..new_session(bob)
        })
        .await;
    let fresh = crate::store::NewKey {
        id: "fresh".to_owned(),
        hash: vec![2; 32],
        grant: crate::store::Grant::default(),
    };
    let rotated = bench.store.rotate_key((bob, None), fresh, later(10), now());
    assert!(rotated.await.unwrap());
    bench.tend(node, &[own], later(9)).await;
    assert!(bench.handed(asks(own, 9)).await.is_empty());
    bench.tend(node, &[own], later(10)).await;
    assert_eq!(bench.ended(own).await, "the key has ended");
}

both!(an_agent_has_so_many_sessions_and_a_lost_one_makes_room);
async fn an_agent_has_so_many_sessions_and_a_lost_one_makes_room(home: Home) {
    let bench = Bench::at(home).await;
    let bob = bench.agent("bob").await;
    let two_at_most = || NewSession {
        most: 2,
        ..new_session(bob)
    };
    let one = bench.open(two_at_most()).await;
    bench.open(two_at_most()).await;
    let third = bench.store.open_session(two_at_most()).await.unwrap();
    assert_eq!(third, Opened::TooMany);
    bench.store.detach_session(one, now()).await.unwrap();
    bench.open(two_at_most()).await;
    assert_eq!(bench.ended(one).await, "the session is closed");
}

both!(sessions_are_listed_and_tell_who_is_there);
async fn sessions_are_listed_and_tell_who_is_there(home: Home) {
    let bench = Bench::at(home).await;
    let (bob, eve) = (bench.agent("bob").await, bench.agent("eve").await);
    bench.sends(ALICE, bob).await;
    let new = new_session(bob);
    let one = bench.open(new.clone()).await;
    let two = bench
        .open(NewSession {
            node: Uuid::max(),
            ..copies(eve)
        })
        .await;
    bench.handed(asks(one, 9)).await;
    let list = async |filter| bench.store.list_sessions(&filter).await.unwrap();
    let all = SessionFilter {
        limit: 9,
        ..SessionFilter::default()
    };
    let rows = list(all.clone()).await;
    assert_eq!(rows.len(), 2);
    let first = &rows[0];
    assert_eq!((first.id, first.unacknowledged), (new.id, 1));
    assert_eq!(first.mailbox_address, "bob@a.test");
    assert_eq!(first.remote.as_deref(), Some("192.0.2.7"));
    assert_eq!(
        (first.opened_at, first.seen_at, first.detached_at),
        (now(), now(), None)
    );
    let of_eve = SessionFilter {
        agent: Some(eve),
        ..all.clone()
    };
    assert_eq!(list(of_eve).await[0].number, two.number);
    let of_node = SessionFilter {
        node: Some(Uuid::nil().to_string()),
        ..all.clone()
    };
    assert_eq!(list(of_node).await[0].number, one.number);
    let behind = SessionFilter {
        after: one.number,
        limit: 1,
        ..all
    };
    assert_eq!(list(behind).await[0].number, two.number);
    bench.store.detach_session(two, later(5)).await.unwrap();
    let there = bench.store.presence(&[eve, 99, bob]).await.unwrap();
    let seen: Vec<_> = there
        .iter()
        .map(|it| (it.mailbox, it.sessions, it.seen_at))
        .collect();
    assert_eq!(
        seen,
        [(eve, 0, Some(now())), (99, 0, None), (bob, 1, Some(now()))]
    );
    assert_eq!(bench.store.connected(0, 9).await.unwrap(), [bob]);
}

both!(polls_and_sessions_see_one_another);
async fn polls_and_sessions_see_one_another(home: Home) {
    let bench = Bench::at(home).await;
    let bob = bench.agent("bob").await;
    let one = bench.open(new_session(bob)).await;
    let a1 = bench.sends(ALICE, bob).await;
    let leased = InboxQuery {
        take: Take::Lease(later(30)),
        ..query(bob)
    };
    assert_eq!(
        bench
            .store
            .take_mail(leased.clone())
            .await
            .unwrap()
            .items
            .len(),
        1
    );
    bench.sends(ALICE, bob).await;
    assert!(
        bench.handed(asks(one, 9)).await.is_empty(),
        "the first one is leased"
    );
    let c1 = bench.sends(CAROL, bob).await;
    assert_eq!(bench.handed(asks(one, 9)).await, [c1.as_str()]);
    let page = bench.store.take_mail(leased).await.unwrap();
    assert_eq!(page.items.len(), 1, "the second one of alice alone");
    // What is acknowledged beside the session gives it room.
    let mut own = bench.store.events().subscribe(Topic::Session(one.number));
    let done = bench.store.acknowledge(bob, ids(&[&a1, &c1]), now());
    assert_eq!(done.await.unwrap(), [true, true]);
    own.changed().await;
}

both!(what_may_have_been_handed_out_unseen_is_handed_out_anew);
async fn what_may_have_been_handed_out_unseen_is_handed_out_anew(home: Home) {
    let bench = Bench::at(home).await;
    let bob = bench.agent("bob").await;
    let one = bench.open(new_session(bob)).await;
    let two = bench.open(new_session(bob)).await;
    let a1 = bench.sends(ALICE, bob).await;
    assert_eq!(bench.handed(asks(one, 1)).await, [a1.as_str()]);
    let again = HandOut {
        again: true,
        ..asks(one, 1)
    };
    assert_eq!(bench.handed(again).await, [a1.as_str()]);
    assert!(bench.handed(asks(two, 1)).await.is_empty());
}

both!(mail_behind_a_long_line_of_another_session_is_found);
async fn mail_behind_a_long_line_of_another_session_is_found(home: Home) {
    let bench = Bench::at(home).await;
    let bob = bench.agent("bob").await;
    let one = bench.open(new_session(bob)).await;
    let two = bench.open(new_session(bob)).await;
    let a1 = bench.sends(ALICE, bob).await;
    let c1 = bench.sends(CAROL, bob).await;
    assert_eq!(bench.handed(asks(one, 1)).await, [a1.as_str()]);
    let fill = "UPDATE inbox SET seq = 9500 WHERE seq = 2; \
         WITH RECURSIVE n(i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n WHERE i < 9000) \
         INSERT INTO inbox (mailbox, seq, mid, sender_hash, recipient) \
         SELECT f.mailbox, n.i, f.mid, f.sender_hash, f.recipient FROM n CROSS JOIN inbox f WHERE f.seq = 1";
    bench.home.run(fill).await;
    assert_eq!(bench.handed(asks(two, 9)).await, [c1.as_str()]);
    assert_eq!(
        bench.handed(asks(one, 3)).await,
        [a1.as_str(), a1.as_str()],
        "its own line"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_of_two_gateways_never_have_the_same_message() {
    let url = Cluster::shared().database();
    let one = Bench::at(Home::Postgres(url.clone())).await;
    let two = Bench::at(Home::Postgres(url)).await;
    let bob = one.agent("bob").await;
    let sessions = [
        one.open(new_session(bob)).await,
        two.open(new_session(bob)).await,
    ];
    for sender in 0..8 {
        for _ in 0..5 {
            one.sends(&format!("s{sender}@a.test"), bob).await;
        }
    }
    let take = async |bench: &Bench, session| {
        let mut all = Vec::new();
        loop {
            let asked = HandOut {
                most: 3,
                ..asks(session, 100)
            };
            match bench.store.hand_out(asked).await.unwrap() {
                Handed::Mail { items, .. } if items.is_empty() => return all,
                Handed::Mail { items, .. } => {
                    all.extend(items.into_iter().map(|it| (it.message.sender, it.seq)));
                }
                Handed::Ended(reason) => panic!("{reason}"),
            }
        }
    };
    let (first, second) = tokio::join!(take(&one, sessions[0]), take(&two, sessions[1]));
    let senders = |all: &[(String, i64)]| {
        let names = all.iter().map(|(sender, _)| sender.clone());
        names.collect::<std::collections::BTreeSet<_>>()
    };
    assert!(
        senders(&first).is_disjoint(&senders(&second)),
        "a sender stays at one"
    );
    assert_eq!(first.len() + second.len(), 40);
    for all in [&first, &second] {
        for sender in senders(all) {
            let seqs: Vec<i64> = all
                .iter()
                .filter(|(it, _)| *it == sender)
                .map(|it| it.1)
                .collect();
            assert!(seqs.is_sorted(), "{sender}: {seqs:?}");
        }
    }
}
