//! Lane shards between gateways that share a PostgreSQL.

use std::collections::HashSet;
use std::time::Duration;

use uuid::Uuid;

use super::super::{
    BounceFate, Claimed, DeadLetterFilter, Ending, Feed, Marks, Presence, QueueRow, Reason, SHARDS,
    Settlement, ShardSet, Solitude, StoreError, shard_of,
};
use super::queue::{abroad, deferred};
use super::{Bench, ErrorCode, Home, NOW, Timestamp};

fn at(seconds: u64) -> Option<Timestamp> {
    Some(Timestamp::from_millis(NOW).plus(Duration::from_secs(seconds)))
}

impl Bench {
    async fn renew(&self, node: Uuid, give_up: &[u16], now: Option<Timestamp>) -> Claimed {
        self.renew_as(Solitude::Never, (node, give_up), now)
            .await
            .unwrap()
    }

    async fn renew_as(
        &self,
        solitude: Solitude,
        (node, give_up): (Uuid, &[u16]),
        now: Option<Timestamp>,
    ) -> Result<Claimed, StoreError> {
        let presence = Presence {
            node,
            version: "1.2.3",
            status: b"[]",
            solitude,
        };
        self.store.renew_shards(presence, give_up, now).await
    }
}

fn numbers(claimed: &Claimed) -> HashSet<u16> {
    claimed.shards.iter().map(|(shard, _)| *shard).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn shards_go_from_hand_to_hand_and_their_epochs_grow() {
    let bench = Bench::at(Home::postgres()).await;
    let (first, second) = (Uuid::new_v4(), Uuid::new_v4());
    let alone = bench.renew(first, &[], at(0)).await;
    assert_eq!((alone.shards.len(), alone.gateways), (1_024, 1));
    assert!(alone.shards.iter().all(|(_, epoch)| *epoch == 1));
    let late = bench.renew(second, &[], at(1)).await;
    assert_eq!((late.shards.len(), late.gateways), (0, 2));
    let given: Vec<u16> = (512..1_024).collect();
    let less = bench.renew(first, &given, at(2)).await;
    assert_eq!((less.shards.len(), less.gateways), (512, 2));
    let more = bench.renew(second, &[], at(3)).await;
    assert_eq!(numbers(&more), (512..1_024).collect());
    assert!(more.shards.iter().all(|(_, epoch)| *epoch == 2));
    // The first one is silent for fifteen seconds.
    let kept = bench.renew(second, &[], at(16)).await;
    assert_eq!((kept.shards.len(), kept.gateways), (512, 2));
    let all = bench.renew(second, &[], at(17)).await;
    assert_eq!((all.shards.len(), all.gateways), (1_024, 1));
    let back = bench.renew(first, &[], at(18)).await;
    assert_eq!((back.shards.len(), back.gateways), (0, 2));
    bench.store.leave(second).await.unwrap();
    let again = bench.renew(first, &[], at(19)).await;
    assert_eq!((again.shards.len(), again.gateways), (1_024, 1));
    let rows = bench.store.gateways().await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].shards, rows[0].version.as_str()), (1_024, "1.2.3"));
    assert_eq!(Some(rows[0].seen_at), at(19));
    assert_eq!(rows[0].status, b"[]");
    drop(bench.close().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn one_that_was_silent_too_long_has_lost_its_shards_even_if_nobody_took_them() {
    let bench = Bench::at(Home::postgres()).await;
    let me = Uuid::new_v4();
    bench.renew(me, &[], at(0)).await;
    assert!(
        bench
            .renew(me, &[], at(14))
            .await
            .shards
            .iter()
            .all(|it| it.1 == 1)
    );
    assert!(
        bench
            .renew(me, &[], at(29))
            .await
            .shards
            .iter()
            .all(|it| it.1 == 2)
    );
    drop(bench.close().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_newcomer_waits_until_who_was_alone_knows_better() {
    let bench = Bench::at(Home::postgres()).await;
    let (first, second) = (Uuid::new_v4(), Uuid::new_v4());
    let renew = |solitude, node, now| bench.renew_as(solitude, (node, &[]), now);
    assert!(
        renew(Solitude::Unknown, first, at(0))
            .await
            .unwrap()
            .others_saw_me
    );
    assert!(
        !renew(Solitude::Unknown, second, at(1))
            .await
            .unwrap()
            .others_saw_me
    );
    // It hears of the other with this one, and may have acted on what it believed until then.
    let heard = renew(Solitude::Believed, first, at(1)).await.unwrap();
    assert!(heard.others_saw_me && heard.gateways == 2);
    assert!(
        !renew(Solitude::Unknown, second, at(2))
            .await
            .unwrap()
            .others_saw_me
    );
    renew(Solitude::Unknown, first, at(2)).await.unwrap();
    assert!(
        renew(Solitude::Unknown, second, at(3))
            .await
            .unwrap()
            .others_saw_me
    );
    drop(bench.close().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn many_gateways_at_once_share_without_overlap() {
    let bench = Bench::at(Home::postgres()).await;
    let nodes: Vec<Uuid> = (0..6).map(|_| Uuid::new_v4()).collect();
    let tasks = nodes.iter().map(|node| {
        let (store, node) = (bench.store.clone(), *node);
        bench.tasks.spawn(async move {
            let presence = Presence {
                node,
                version: "1",
                status: b"[]",
                solitude: Solitude::Never,
            };
            for _ in 0..20 {
                store.renew_shards(presence, &[], None).await.unwrap();
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let mut seen = HashSet::new();
    for node in &nodes {
        let claimed = bench.renew(*node, &[], None).await;
        assert_eq!(claimed.gateways, 6);
        assert!(claimed.shards.iter().all(|(shard, _)| seen.insert(*shard)));
    }
    assert_eq!(seen.len(), usize::from(SHARDS));
    drop(bench.close().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_duty_is_one_gateways_until_it_ends() {
    let bench = Bench::at(Home::postgres()).await;
    let (first, second) = (Uuid::new_v4(), Uuid::new_v4());
    let lease = |node, now| bench.store.lease("sweeper", node, now);
    assert!(lease(first, at(0)).await.unwrap());
    assert!(!lease(second, at(60)).await.unwrap());
    assert!(lease(first, at(60)).await.unwrap());
    assert!(!lease(second, at(149)).await.unwrap());
    assert!(lease(second, at(150)).await.unwrap());
    assert!(!lease(first, at(151)).await.unwrap());
    bench.store.leave(second).await.unwrap();
    assert!(lease(first, at(152)).await.unwrap());
    drop(bench.close().await);
}

fn failed() -> Ending {
    Ending::Failed {
        reason: Reason {
            code: ErrorCode::RecipientUnavailable,
            text: "gone".to_owned(),
        },
        bounce: BounceFate::None,
        held: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn only_facts_count_of_a_gateway_that_lost_the_shard() {
    let bench = Bench::at(Home::postgres()).await;
    bench.send().await;
    let (first, second) = (Uuid::new_v4(), Uuid::new_v4());
    bench.renew(first, &[], at(0)).await;
    bench.renew(second, &[], at(20)).await;
    let rows = bench.fed().await;
    let settle = |row: &QueueRow, epoch, fate| {
        let settlement = Settlement {
            seq: row.seq,
            mid: row.mid,
            recipient: if row.seq == rows[0].seq {
                "x@b.test"
            } else {
                "y@b.test"
            }
            .to_owned(),
            at: at(30).unwrap(),
            held: Some((shard_of(row.lane), epoch)),
            attempt: None,
            fate,
        };
        bench.store.settle(vec![settlement], Vec::new())
    };
    settle(&rows[0], 1, failed()).await.unwrap();
    let marks = Marks::default();
    settle(&rows[1], 1, deferred(at(90).unwrap(), marks))
        .await
        .unwrap();
    let held = [(shard_of(rows[0].lane), 1), (shard_of(rows[1].lane), 2)];
    let lost = bench.store.lost_shards(&held).await.unwrap();
    assert!(lost.contains(&held[0].0));
    assert_eq!(lost.contains(&held[1].0), held[0].0 == held[1].0);
    assert_eq!(bench.fed().await, rows, "nothing of it counts");
    settle(&rows[1], 1, Ending::Delivered).await.unwrap();
    assert_eq!(bench.fed().await, rows[..1], "it arrived");
    settle(&rows[0], 2, failed()).await.unwrap();
    assert!(bench.fed().await.is_empty());
    assert_eq!(bench.buried().await, 1);
    settle(&rows[0], 1, Ending::Delivered).await.unwrap();
    assert_eq!(bench.buried().await, 0, "it had arrived after all");
    drop(bench.close().await);
}

impl Bench {
    async fn buried(&self) -> usize {
        let filter = DeadLetterFilter::default();
        let letters = self.store.list_dead_letters(&filter, None, 10).await;
        letters.unwrap().len()
    }

    /// A message to two recipients behind another gateway.
    async fn send(&self) {
        let recipients = vec![abroad("x@b.test"), abroad("y@b.test")];
        self.accept(self.envelope("a@a.test", None, "1"), recipients)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn only_the_own_shards_are_fed_and_what_was_overtaken_is_found() {
    let bench = Bench::at(Home::postgres()).await;
    for _ in 0..3 {
        bench.send().await;
    }
    let rows = bench.fed().await;
    let mine: ShardSet = [shard_of(rows[0].lane)].into_iter().collect();
    let own = bench
        .store
        .feed_of(&mine, &Feed::After(0), 100)
        .await
        .unwrap();
    let expected: Vec<_> = rows
        .iter()
        .filter(|row| mine.contains(shard_of(row.lane)))
        .cloned()
        .collect();
    assert_eq!(own, expected);
    assert!(own.len() < rows.len());
    let none = bench
        .store
        .feed_of(&ShardSet::EMPTY, &Feed::After(0), 100)
        .await;
    assert!(none.unwrap().is_empty());
    let late = Feed::Late(rows[0].seq, rows[3].seq, Vec::new());
    assert_eq!(bench.store.feed(&late, 100).await.unwrap(), rows[1..4]);
    let but = Feed::Late(0, 1_000, vec!["domain:b.test".to_owned()]);
    assert!(bench.store.feed(&but, 100).await.unwrap().is_empty());
    let lane: Vec<i64> = own.iter().map(|row| row.seq).collect();
    let overtaken = bench.store.overtaken((&lane[1..2], &[])).await.unwrap();
    assert_eq!(overtaken, [(own[0].lane, lane[0])]);
    assert!(
        bench
            .store
            .overtaken((&lane[..1], &[]))
            .await
            .unwrap()
            .is_empty()
    );
    assert!(
        bench
            .store
            .overtaken((&lane[2..], &lane[..2]))
            .await
            .unwrap()
            .is_empty()
    );
    assert!(
        bench
            .store
            .overtaken((&lane, &[]))
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(bench.store.newest_delivery().await.unwrap(), rows[5].seq);
    drop(bench.close().await);
}
