//! Where changes of tasks are posted, and what is forgotten.

use std::time::Duration;

use super::super::super::{DuePush, NewTask, OpenedTask, Pushed, StoredPush};
use super::super::{Bench, Home, RetentionRules};
use super::{COMPLETED, WORKING, at, is_done, new_task, piece, push, status};
use crate::protocol::MessageId;

const HOLD: Duration = Duration::from_millis(100);

impl Bench {
    async fn due(&self, now: i64) -> Vec<DuePush> {
        let taken = self.store.take_due_pushes(Some(at(now)), HOLD, 9);
        taken.await.unwrap()
    }

    async fn settle_posting(&self, due: &DuePush, pushed: Pushed, now: i64) -> bool {
        let settled = self.store.settle_push(due, pushed, at(now));
        settled.await.unwrap()
    }

    /// A task with one place and a change that is to be posted there.
    async fn posting(&self) {
        self.open_task(NewTask {
            push: Some(push("p")),
            ..new_task("t")
        })
        .await;
        assert!(self.due(50).await.is_empty());
        self.step("t", vec![status(WORKING, "w")]).await;
    }
}

both!(changes_are_posted_in_order_by_one_at_a_time);
async fn changes_are_posted_in_order_by_one_at_a_time(home: Home) {
    let bench = Bench::at(home).await;
    let store = &bench.store;
    bench.posting().await;
    assert_eq!(store.next_push_at().await.unwrap(), Some(at(10)));
    let due = bench.due(50).await;
    assert_eq!((due.len(), due[0].sent, due[0].failures), (1, 0, 0));
    assert_eq!((due[0].size, due[0].held_until), (5, at(150)));
    assert_eq!(due[0].push.url, "https://p.test/");
    assert_eq!(due[0].push.sealed.as_deref(), Some([1, 2, 3].as_slice()));
    // Nobody else takes it meanwhile, and a change that comes now is not forgotten.
    bench.step("t", vec![status(COMPLETED, "done")]).await;
    assert!(bench.due(149).await.is_empty());
    assert!(bench.settle_posting(&due[0], Pushed::Sent(1), 60).await);
    let due = bench.due(60).await;
    assert_eq!(due[0].sent, 1);
    assert!(
        bench
            .settle_posting(&due[0], Pushed::Failed(at(500)), 60)
            .await
    );
    assert!(bench.due(499).await.is_empty());
    let due = bench.due(500).await;
    assert_eq!((due[0].sent, due[0].failures), (1, 1));
    assert!(
        bench
            .settle_posting(&due[0], Pushed::Postponed(at(700)), 500)
            .await
    );
    let due = bench.due(700).await;
    assert_eq!((due[0].sent, due[0].failures), (1, 1));
    assert!(bench.settle_posting(&due[0], Pushed::Sent(2), 710).await);
    assert_eq!(store.next_push_at().await.unwrap(), None);
    bench.close().await;
}

both!(who_was_too_slow_settles_nothing);
async fn who_was_too_slow_settles_nothing(home: Home) {
    let bench = Bench::at(home).await;
    let store = &bench.store;
    bench.posting().await;
    let slow = bench.due(50).await.remove(0);
    let extended = store.extend_push(&slow, 1, (Some(at(50)), HOLD));
    let extended = extended.await.unwrap().unwrap();
    assert_eq!((extended.sent, extended.held_until), (1, at(151)));
    let quick = bench.due(151).await.remove(0);
    for pushed in [Pushed::Sent(1), Pushed::Failed(at(1)), Pushed::GivenUp] {
        assert!(!bench.settle_posting(&slow, pushed, 160).await);
        assert!(!bench.settle_posting(&extended, pushed, 160).await);
    }
    let late = store.extend_push(&extended, 1, (Some(at(160)), HOLD));
    assert_eq!(late.await.unwrap(), None);
    // Where its client changes it, the new place is not settled by what came of the old one.
    let put = store.put_push("t".to_owned(), push("p"));
    assert_eq!(put.await.unwrap(), Some(true));
    assert!(!bench.settle_posting(&quick, Pushed::GivenUp, 160).await);
    let due = bench.due(160).await.remove(0);
    assert!(bench.settle_posting(&due, Pushed::GivenUp, 160).await);
    assert!(store.list_pushes("t", "", 9).await.unwrap().is_empty());
    bench.close().await;
}

both!(what_a_dead_worker_took_is_freed);
async fn what_a_dead_worker_took_is_freed(home: Home) {
    let bench = Bench::at(home).await;
    bench.posting().await;
    let taken = bench.due(50).await.remove(0);
    bench.store.free_pushes(at(60), HOLD).await.unwrap();
    assert_eq!(bench.due(60).await.len(), 1);
    assert!(!bench.settle_posting(&taken, Pushed::Sent(1), 60).await);
    bench.close().await;
}

both!(places_of_a_task_are_few_and_taken_away_once);
async fn places_of_a_task_are_few_and_taken_away_once(home: Home) {
    let bench = Bench::at(home).await;
    let store = &bench.store;
    bench.open_task(new_task("t")).await;
    bench.step("t", vec![status(COMPLETED, "done")]).await;
    let put = async |id: String| store.put_push("t".to_owned(), push(&id)).await.unwrap();
    for n in 0..20 {
        assert_eq!(put(format!("p{n:02}")).await, Some(true));
    }
    assert_eq!(put("more".to_owned()).await, Some(false));
    assert_eq!(put("p00".to_owned()).await, Some(true), "one is replaced");
    assert_eq!(
        store.put_push("none".to_owned(), push("p")).await.unwrap(),
        None
    );
    let list = async |after: &str| store.list_pushes("t", after, 15).await.unwrap();
    let first = list("").await;
    assert_eq!(first.len(), 15);
    let rest: Vec<StoredPush> = list(&first[14].id).await;
    assert_eq!((rest.len(), rest[4].id.as_str()), (5, "p19"));
    let delete = async |id: &str| {
        store
            .delete_push("t".to_owned(), id.to_owned())
            .await
            .unwrap()
    };
    assert!(delete("p03").await);
    assert!(!delete("p03").await);
    // It has seen what happened before it was made: nothing is due.
    assert_eq!(store.next_push_at().await.unwrap(), None);
    bench.close().await;
}

both!(tasks_that_ended_are_forgotten_with_all_that_is_theirs);
async fn tasks_that_ended_are_forgotten_with_all_that_is_theirs(home: Home) {
    let bench = Bench::at(home).await;
    let link = MessageId::parse("m").unwrap();
    let old = NewTask {
        alias: Some("mine".to_owned()),
        key: Some("k".to_owned()),
        request: Some(link.clone()),
        ..new_task("old")
    };
    bench.open_task(old).await;
    for id in ["open", "posts"] {
        bench
            .open_task(NewTask {
                push: Some(push("p")),
                ..new_task(id)
            })
            .await;
    }
    let steps = || vec![piece("a", false, "x"), status(COMPLETED, "done")];
    assert!(is_done(&bench.step("old", steps()).await));
    assert!(is_done(&bench.step("posts", steps()).await));
    let kept = Duration::from_secs(60);
    let rules = RetentionRules {
        settled: kept,
        acknowledged: kept,
        dead_letters: kept,
    };
    let sweep = async |now: i64| bench.store.sweep(rules, at(now).plus(kept)).await.unwrap();
    assert_eq!(sweep(10).await.rows, 0);
    assert_eq!(sweep(11).await.rows, 1);
    let there = async |id: &str| bench.store.find_any_task(id).await.unwrap().is_some();
    assert!(!there("old").await && there("open").await && there("posts").await);
    assert!(bench.log("old", 0).await.is_empty());
    assert!(
        bench
            .store
            .find_task_of_message(&link)
            .await
            .unwrap()
            .is_none()
    );
    // Its names are free again.
    let again = NewTask {
        alias: Some("mine".to_owned()),
        key: Some("k".to_owned()),
        ..new_task("new")
    };
    assert_eq!(bench.open_task(again).await, OpenedTask::New(None));
    assert!(bench.task_of("new").await.artifacts.is_empty());
    bench.close().await;
}
