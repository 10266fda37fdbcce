//! Sessions over real stores of both kinds.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Live, LiveRules, MOST_CREDIT, OpenFault, Opening, Pushed, Session, SessionKind};
use crate::clock::{Clock, TestClock};
use crate::protocol::{Address, MessageId, Timestamp};
use crate::store::tests::{Bench, Home, to_inbox};
use crate::store::{Messenger, Presence, Solitude, Store};
use crate::telemetry::Metrics;

const NOW: i64 = 1_800_000_000_000;
const ALICE: &str = "alice@a.test";

/// Runs a test on both databases.
macro_rules! both {
    ($name:ident) => {
        mod $name {
            #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
            async fn sqlite() {
                super::$name(crate::store::tests::Home::sqlite()).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
            async fn postgres() {
                super::$name(crate::store::tests::Home::postgres()).await;
            }
        }
    };
}

struct Hall {
    bench: Bench,
    bob: i64,
    clock: Arc<TestClock>,
    live: Live,
    stop: CancellationToken,
}

impl Hall {
    async fn at(home: Home) -> Self {
        let bench = Bench::at(home).await;
        let bob = bench.agent("bob").await;
        let clock = TestClock::at(Timestamp::from_millis(NOW));
        let live = live(&bench.store, &clock);
        let stop = CancellationToken::new();
        Self {
            bench,
            bob,
            clock,
            live,
            stop,
        }
    }

    /// Lets the worker work.
    fn run(&self) {
        let work = self.live.clone().run(self.stop.clone());
        self.bench.tasks.spawn(work);
    }

    async fn open(&self, credit: u32) -> Session {
        self.live.open(opening(self.bob, credit)).await.unwrap()
    }

    async fn sends(&self, sender: &str) -> String {
        let envelope = self.bench.envelope(sender, None, "1");
        let to = vec![to_inbox("bob@a.test", self.bob)];
        let (id, _) = self.bench.accept(envelope, to).await;
        id.as_str().to_owned()
    }
}

fn live(store: &Store, clock: &Arc<TestClock>) -> Live {
    let rules = LiveRules {
        heartbeat: Duration::from_secs(30),
        resume: Duration::from_secs(60),
        sessions: 3,
        window: 2,
    };
    let tools = (store.clone(), Clock::over(clock.clone()));
    Live::new(tools, Metrics::new().live().clone(), rules, Uuid::new_v4())
}

fn opening(bob: i64, credit: u32) -> Opening {
    Opening {
        mailbox: bob,
        agent: bob,
        address: Address::parse("bob@a.test").unwrap(),
        key_id: "key-of-bob".to_owned(),
        kind: SessionKind::WebSocket,
        remote: None,
        resume: None,
        credit,
    }
}

async fn mail(session: &mut Session) -> Vec<String> {
    match session.next().await {
        Pushed::Mail(items) => items
            .into_iter()
            .map(|item| item.message.message_id.as_str().to_owned())
            .collect(),
        Pushed::Closed(reason) => panic!("{reason}"),
    }
}

async fn closed(session: &mut Session) -> String {
    match session.next().await {
        Pushed::Closed(reason) => reason,
        Pushed::Mail(items) => panic!("{items:?}"),
    }
}

fn ids(names: &[&str]) -> Vec<MessageId> {
    let parse = |name: &&str| MessageId::parse(name).unwrap();
    names.iter().map(parse).collect()
}

/// Looks so often and finds nothing.
async fn waits(session: &mut Session) {
    for _ in 0..20 {
        let mut next = pin!(session.next());
        let nothing = poll_fn(|context| Poll::Ready(next.as_mut().poll(context).is_pending()));
        assert!(nothing.await, "something came");
        tokio::task::yield_now().await;
    }
}

both!(mail_is_pushed_as_it_arrives_in_windows_and_within_the_credit);
async fn mail_is_pushed_as_it_arrives_in_windows_and_within_the_credit(home: Home) {
    let hall = Hall::at(home).await;
    let mut session = hall.open(3).await;
    assert!(!session.is_resumed());
    let mut sent = Vec::new();
    let (pushed, first) = tokio::join!(mail(&mut session), hall.sends(ALICE));
    assert_eq!(pushed, [first.as_str()], "it waited for it");
    sent.push(first);
    for _ in 0..4 {
        sent.push(hall.sends(ALICE).await);
    }
    assert_eq!(mail(&mut session).await, sent[1..3], "a window of two");
    waits(&mut session).await;
    let gone = session
        .acknowledge(ids(&[&sent[0], "id-99"]))
        .await
        .unwrap();
    assert_eq!(gone, [true, false]);
    assert_eq!(mail(&mut session).await, sent[3..4]);
    session.grant(MOST_CREDIT + 1);
    assert_eq!(mail(&mut session).await, sent[4..]);
    session.grant(0);
    let last = hall.sends(ALICE).await;
    waits(&mut session).await;
    session.grant(9);
    assert_eq!(mail(&mut session).await, [last]);
    session.close().await;
    assert_eq!(hall.live.count(), 0);
}

both!(who_stops_waiting_loses_nothing);
async fn who_stops_waiting_loses_nothing(home: Home) {
    let hall = Hall::at(home).await;
    let mut session = hall.open(9).await;
    let mut got = Vec::new();
    let mut sent = Vec::new();
    for _ in 0..20 {
        sent.push(hall.sends(ALICE).await);
        // Dropped wherever it is.
        for _ in 0..3 {
            let looked = {
                let mut next = pin!(session.next());
                poll_fn(|context| Poll::Ready(next.as_mut().poll(context))).await
            };
            if let Poll::Ready(Pushed::Mail(items)) = looked {
                got.extend(items.into_iter().map(|it| it.message.message_id));
                session.acknowledge(got.clone()).await.unwrap();
            }
            tokio::task::yield_now().await;
        }
    }
    while got.len() < 20 {
        match session.next().await {
            Pushed::Mail(items) => got.extend(items.into_iter().map(|it| it.message.message_id)),
            Pushed::Closed(reason) => panic!("{reason}"),
        }
        session.acknowledge(got.clone()).await.unwrap();
    }
    let got: Vec<&str> = got.iter().map(MessageId::as_str).collect();
    assert_eq!(got, sent, "all of it, once and in order");
}

both!(what_was_put_back_comes_when_its_time_is_over);
async fn what_was_put_back_comes_when_its_time_is_over(home: Home) {
    let hall = Hall::at(home).await;
    let mut session = hall.open(9).await;
    let first = hall.sends(ALICE).await;
    assert_eq!(mail(&mut session).await, [first.as_str()]);
    let delay = Duration::from_secs(30);
    let put_back = session.put_back(ids(&[&first]), delay).await.unwrap();
    assert_eq!(put_back, [true]);
    let second = hall.sends(ALICE).await;
    waits(&mut session).await;
    hall.clock.advance(delay);
    assert_eq!(mail(&mut session).await, [first, second]);
}

both!(a_dropped_session_is_detached_and_can_be_resumed);
async fn a_dropped_session_is_detached_and_can_be_resumed(home: Home) {
    let hall = Hall::at(home).await;
    hall.run();
    let mut lost = hall.open(9).await;
    let mut other = hall.open(9).await;
    let first = hall.sends(ALICE).await;
    assert_eq!(mail(&mut lost).await, [first.as_str()]);
    let (token, id) = (lost.resume_token().to_owned(), lost.id());
    drop(lost);
    assert_eq!(mail(&mut other).await, [first.as_str()]);
    other.close().await;
    let resume = |token: &str| Opening {
        resume: Some(token.to_owned()),
        ..opening(hall.bob, 9)
    };
    let forged = format!("{}.{}", id.simple(), "0".repeat(64));
    for bad in ["", ".", "x.y", &token[..40], &forged, &format!("{token}0")] {
        let refused = hall.live.open(resume(bad)).await.err();
        assert!(matches!(refused, Some(OpenFault::BadResume)), "{bad}");
    }
    let mut again = hall.live.open(resume(&token)).await.unwrap();
    assert!(again.is_resumed());
    assert_eq!((again.id(), again.resume_token()), (id, token.as_str()));
    assert_eq!(mail(&mut again).await, [first.as_str()]);
    // While it lives it can be taken over; the one before is told.
    let mut third = hall.live.open(resume(&token)).await.unwrap();
    assert_eq!(
        closed(&mut again).await,
        "the session was resumed by another connection"
    );
    drop(again);
    assert_eq!(mail(&mut third).await, [first]);
    assert_eq!(hall.live.count(), 1);
    third.detach().await;
    // Too late.
    hall.clock.advance(Duration::from_secs(60));
    let refused = hall.live.open(resume(&token)).await.err();
    assert!(matches!(refused, Some(OpenFault::BadResume)));
}

both!(a_session_that_is_to_end_is_told_why);
async fn a_session_that_is_to_end_is_told_why(home: Home) {
    let hall = Hall::at(home).await;
    let mut session = hall.open(9).await;
    let now = Timestamp::from_millis(NOW);
    let store = hall.bench.store.clone();
    let close = store.dismiss_session(session.id(), "closed by the operator", now);
    let (reason, done) = tokio::join!(closed(&mut session), close);
    assert_eq!(reason, "closed by the operator");
    assert!(done.unwrap());
    // Also one that takes nothing at present.
    let mut full = hall.open(0).await;
    let close = store.dismiss_session(full.id(), "closed by the operator", now);
    let (reason, _) = tokio::join!(closed(&mut full), close);
    assert_eq!(reason, "closed by the operator");
}

both!(an_agent_has_so_many_sessions);
async fn an_agent_has_so_many_sessions(home: Home) {
    let hall = Hall::at(home).await;
    let sessions = [hall.open(1).await, hall.open(1).await, hall.open(1).await];
    let refused = hall.live.open(opening(hall.bob, 1)).await.err();
    assert!(matches!(refused, Some(OpenFault::TooMany)));
    let refused = hall.live.open(opening(99, 1)).await.err();
    assert!(matches!(refused, Some(OpenFault::Gone)));
    let there = hall.live.presence(&[hall.bob]).await.unwrap();
    assert_eq!(there[0].sessions, 3);
    drop(sessions);
}

both!(what_a_killed_gateway_held_is_pushed_by_the_next);
async fn what_a_killed_gateway_held_is_pushed_by_the_next(home: Home) {
    let hall = Hall::at(home).await;
    let mut killed = hall.open(9).await;
    let first = hall.sends(ALICE).await;
    assert_eq!(mail(&mut killed).await, [first.as_str()]);
    // Nothing of it runs any more.
    std::mem::forget(killed);
    let next = live(&hall.bench.store, &hall.clock);
    let mut session = next.open(opening(hall.bob, 9)).await.unwrap();
    waits(&mut session).await;
    let stop = CancellationToken::new();
    hall.bench.tasks.spawn(next.clone().run(stop.clone()));
    assert_eq!(mail(&mut session).await, [first.as_str()]);
    // A gateway that ends in order leaves nothing behind.
    stop.cancel();
    let mut mail = hall
        .bench
        .store
        .events()
        .subscribe(crate::events::Topic::Mailbox(hall.bob));
    mail.changed().await;
    let there = next.presence(&[hall.bob]).await.unwrap();
    assert_eq!(there[0].sessions, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_gateway_accepts_reaches_a_session_of_another_at_once() {
    let one = Hall::at(Home::postgres()).await;
    let Home::Postgres(url) = one.bench.home() else {
        panic!("it is shared");
    };
    let two = Bench::at(Home::Postgres(url.clone())).await;
    let stop = CancellationToken::new();
    for store in [&one.bench.store, &two.store] {
        let messenger = Messenger::new(store.clone(), Clock::system());
        one.bench.tasks.spawn(messenger.run(stop.clone()));
    }
    let nodes = [Uuid::new_v4(), Uuid::new_v4()];
    for _ in 0..2 {
        for (node, store) in nodes.iter().zip([&one.bench.store, &two.store]) {
            let me = Presence {
                node: *node,
                version: "1",
                status: b"{}",
                solitude: Solitude::Never,
            };
            store.renew_shards(me, &[], None).await.unwrap();
        }
    }
    let mut session = one.open(9).await;
    // The test's clock stands still: nothing is found by looking now and then.
    for _ in 0..5 {
        let envelope = two.envelope("carol@a.test", None, "1");
        let to = vec![to_inbox("bob@a.test", one.bob)];
        let (pushed, (id, _)) = tokio::join!(mail(&mut session), two.accept(envelope, to));
        assert_eq!(pushed, [id.as_str()]);
        assert_eq!(session.acknowledge(vec![id]).await.unwrap(), [true]);
    }
    let store = two.store.clone();
    let close = store.dismiss_session(session.id(), "closed", Timestamp::from_millis(NOW));
    let (reason, done) = tokio::join!(closed(&mut session), close);
    assert_eq!((reason.as_str(), done.unwrap()), ("closed", true));
    stop.cancel();
}
