//! A database on other machines: it may be away, and others use it too.

use std::time::Duration;

use tokio::task::JoinSet;

use super::postgres::Cluster;
use super::queue::abroad;
use super::{
    Acceptance, Bench, Decision, Envelope, Fate, Home, InboxQuery, MessageId, Planned, Timestamp,
    Topic, query, to_inbox,
};
use crate::clock::Clock;
use crate::protocol::DeliveryStatus;
use crate::store::{Durability, Ending, Feed, StoreError, Take};

/// Tries again until it is stored; the sender does so with its key.
async fn insist(bench: &Bench, envelope: &Envelope, to: Planned) -> (MessageId, Vec<Fate>) {
    loop {
        match offer(bench, envelope, to.clone()).await {
            Ok(taken) => return taken,
            Err(StoreError::Unavailable(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }
}

async fn offer(
    bench: &Bench,
    envelope: &Envelope,
    to: Planned,
) -> Result<(MessageId, Vec<Fate>), StoreError> {
    let acceptance = Acceptance {
        envelope: envelope.clone(),
        recipients: vec![to],
        reserved: None,
        place: None,
        succession: None,
        blobs: Vec::new(),
    };
    match bench.store.accept(acceptance).await? {
        Decision::Taken { message_id, fates } => Ok((message_id, fates)),
        Decision::Conflict => panic!("conflict"),
    }
}

fn at_home(cluster: &Cluster) -> Home {
    Home::Postgres(cluster.database())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_goes_away_is_told_at_once_and_taken_up_again_when_it_is_back() {
    let cluster = Cluster::own();
    let bench = Bench::at(at_home(&cluster)).await;
    let bob = bench.agent("bob").await;
    let to = || to_inbox("bob@a.test", bob);
    let first = bench.envelope("alice@a.test", Some("k-1"), "1");
    let (first, _) = insist(&bench, &first, to()).await;
    let second = bench.envelope("alice@a.test", Some("k-2"), "2");
    cluster.kill();
    let refused = offer(&bench, &second, to()).await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
    assert!(!bench.store.is_present(), "new mail is refused at the door");
    assert!(bench.store.ping().await.is_err());
    cluster.start();
    let (second, fates) = insist(&bench, &second, to()).await;
    assert!(matches!(fates[..], [Fate::New(_)]), "{fates:?}");
    assert!(bench.store.is_present());
    assert_eq!(bench.mail(bob).await, [first.as_str(), second.as_str()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_database_takes_nothing_until_it_is_writable_again() {
    let cluster = Cluster::own();
    let bench = Bench::at(at_home(&cluster)).await;
    let bob = bench.agent("bob").await;
    cluster.set_read_only(true);
    cluster.disconnect_all();
    let send = bench.envelope("alice@a.test", Some("k-1"), "1");
    let refused = offer(&bench, &send, to_inbox("bob@a.test", bob)).await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
    cluster.set_read_only(false);
    let (id, _) = insist(&bench, &send, to_inbox("bob@a.test", bob)).await;
    assert_eq!(bench.mail(bob).await, [id.as_str()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_was_lost_is_found_and_not_made_twice() {
    let cluster = Cluster::own();
    let bench = Bench::at(at_home(&cluster)).await;
    let bob = bench.agent("bob").await;
    // Nobody answers to this name: a commit waits for its standby until it is cut off.
    cluster.set("synchronous_standby_names", "nobody");
    let send = bench.envelope("alice@a.test", None, "1");
    let sending = offer(&bench, &send, to_inbox("bob@a.test", bob));
    let meddling = async {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        while cluster.query(waiting) == "0" {
            tokio::task::yield_now().await;
        }
        cluster.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'",
        );
        cluster.set("synchronous_standby_names", "");
    };
    let (sent, ()) = tokio::join!(sending, meddling);
    let (id, fates) = sent.unwrap();
    assert!(matches!(fates[..], [Fate::New(_)]), "{fates:?}");
    assert_eq!(bench.mail(bob).await, [id.as_str()], "once, without a key");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happened_outside_is_settled_when_the_database_is_back() {
    let cluster = Cluster::own();
    let bench = Bench::at(at_home(&cluster)).await;
    let send = bench.envelope("alice@a.test", None, "1");
    let (id, _) = bench.accept(send, vec![abroad("x@b.test")]).await;
    let rows = bench.fed().await;
    let settlement = bench.settlement(&rows[0], Ending::Delivered).await;
    cluster.kill();
    let settling = bench.store.settle(vec![settlement], Vec::new());
    let (clock, store) = (Clock::system(), bench.store.clone());
    let reviving = async {
        while store.is_present() {
            clock.wait(Duration::from_millis(20)).await;
        }
        cluster.start();
    };
    let (settled, ()) = tokio::join!(settling, reviving);
    settled.unwrap();
    assert!(bench.fed().await.is_empty());
    let status = bench.status(&id).await;
    assert_eq!(status, [DeliveryStatus::Delivered]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_used_at_two_gateways_at_once_stands_for_one_message() {
    let url = Cluster::shared().database();
    let one = Bench::at(Home::Postgres(url.clone())).await;
    let two = Bench::at(Home::Postgres(url)).await;
    let bob = one.agent("bob").await;
    for round in 0..40 {
        let key = format!("key of round {round}");
        let send = one.envelope("alice@a.test", Some(&key), "1");
        let same = Envelope {
            message_id: MessageId::parse(&format!("other-{round}")).unwrap(),
            ..send.clone()
        };
        let to = || to_inbox("bob@a.test", bob);
        let (first, second) = tokio::join!(offer(&one, &send, to()), offer(&two, &same, to()));
        let (first, second) = (first.unwrap(), second.unwrap());
        assert_eq!(first.0, second.0, "both are told the same id");
        let new = [&first, &second]
            .iter()
            .filter(|(_, fates)| matches!(fates[..], [Fate::New(_)]))
            .count();
        assert_eq!(new, 1);
    }
    assert_eq!(one.mail(bob).await.len(), 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_fill_a_mailbox_without_gaps_and_hand_nothing_out_twice() {
    let url = Cluster::shared().database();
    let one = Bench::at(Home::Postgres(url.clone())).await;
    let two = Bench::at(Home::Postgres(url)).await;
    let bob = one.agent("bob").await;
    let fill = async |bench: &Bench, sender: &str| {
        for number in 0..30 {
            let key = format!("{sender} {number}");
            let send = bench.envelope(sender, Some(&key), "1");
            bench.accept(send, vec![to_inbox("bob@a.test", bob)]).await;
        }
    };
    tokio::join!(fill(&one, "alice@a.test"), fill(&two, "carol@a.test"));
    let now = Timestamp::from_millis(super::NOW);
    let leased = |bench: &Bench| {
        let store = bench.store.clone();
        async move {
            let mut seqs = Vec::new();
            loop {
                let page = InboxQuery {
                    limit: 7,
                    take: Take::Lease(now.plus(Duration::from_secs(60))),
                    ..query(bob)
                };
                let page = store.take_mail(page).await.unwrap();
                if page.items.is_empty() {
                    return seqs;
                }
                seqs.extend(page.items.iter().map(|item| item.seq));
            }
        }
    };
    let (mut seqs, others) = tokio::join!(leased(&one), leased(&two));
    seqs.extend(others);
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=60).collect::<Vec<i64>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliveries_are_read_up_to_what_is_certain_and_none_is_missed() {
    let bench = Bench::at(Home::postgres()).await;
    let mut queue = bench.store.events().subscribe(Topic::Queue);
    let fill = async |sender: String| {
        for _ in 0..50 {
            let send = bench.envelope(&sender, None, "1");
            bench.accept(send, vec![abroad("x@b.test")]).await;
        }
    };
    let read = async {
        let (mut high, mut found) = (0, 0);
        while found < 200 {
            queue.changed().await;
            let rows = bench.store.feed(&Feed::After(high), 1_000).await.unwrap();
            found += rows.len();
            high = rows.last().map_or(high, |row| row.seq);
        }
        found
    };
    let fills = async {
        let senders = ["a", "b", "c", "d"].map(|name| fill(format!("{name}@a.test")));
        let [a, b, c, d] = senders;
        tokio::join!(a, b, c, d)
    };
    let (found, _) = tokio::join!(read, fills);
    assert_eq!(found, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_says_what_its_promise_is_worth() {
    let cluster = Cluster::own();
    let bench = Bench::at(at_home(&cluster)).await;
    let durability = async || bench.store.durability().await.unwrap();
    assert_eq!(durability().await, Durability::OneHost);
    cluster.set("fsync", "off");
    assert!(matches!(durability().await, Durability::Unsafe(why) if why.contains("fsync")));
    cluster.set("fsync", "on");
    cluster.set("synchronous_standby_names", "nobody");
    assert_eq!(durability().await, Durability::Standby { connected: false });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_never_wait_for_one_another_in_a_ring() {
    let cluster = Cluster::own();
    let bench = Bench::at(at_home(&cluster)).await;
    let mut boxes = Vec::new();
    for n in 0..8 {
        boxes.push(bench.agent(&format!("a{n}")).await);
    }
    // Some lock one mailbox, others many: in batches, on several connections.
    let mut work = JoinSet::new();
    for n in 0..1_200 {
        let store = bench.store.clone();
        let mailbox = boxes[n * 5 % 8];
        if n % 3 == 0 {
            work.spawn(async move { store.take_mail(query(mailbox)).await.map(drop) });
            continue;
        }
        let acceptance = Acceptance {
            envelope: bench.envelope("alice@a.test", None, "1"),
            recipients: vec![to_inbox(&format!("a{}@a.test", n * 5 % 8), mailbox)],
            reserved: None,
            place: None,
            succession: None,
            blobs: Vec::new(),
        };
        work.spawn(async move { store.accept(acceptance).await.map(drop) });
    }
    while let Some(done) = work.join_next().await {
        done.unwrap().unwrap();
    }
    bench.close().await;
    assert!(!cluster.log().contains("deadlock"), "{}", cluster.log());
}
