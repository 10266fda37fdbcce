//! Sessions: how they end, who sees them, and how they meet other readers.

use uuid::Uuid;

use super::super::postgres::Cluster;
use super::super::{
    AgentChange, AgentSettings, Bench, Home, InboxQuery, Take, Topic, new_agent, query,
};
use super::{ALICE, CAROL, asks, copies, ids, later, new_session, now};
use crate::store::{
    Created, DeliveryMode, HandOut, Handed, NewAgent, NewSession, Opened, SessionFilter,
    SessionSharing,
};

both!(only_agents_that_are_connected_to_are_dialled);
async fn only_agents_that_are_connected_to_are_dialled(home: Home) {
    let bench = Bench::at(home).await;
    bench.agent("bob").await;
    let with = |name: &str, target: &str| NewAgent {
        settings: AgentSettings {
            delivery_mode: DeliveryMode::Push,
            push_target: Some(target.to_owned()),
            ..AgentSettings::fresh()
        },
        ..new_agent(name)
    };
    let hook = with("hook", "https://a.test/wss://");
    bench.store.create_agent(hook).await.unwrap();
    let socket = with("socket", "wss://a.test/");
    let Created::Agent(socket) = bench.store.create_agent(socket).await.unwrap() else {
        panic!("not registered");
    };
    let dialled = bench.store.dialled_agents(10).await.unwrap();
    assert_eq!(dialled.iter().map(|it| it.id).collect::<Vec<_>>(), [socket]);
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
