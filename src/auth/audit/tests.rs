use tokio_util::task::TaskTracker;

use super::chain::Checker;
use super::*;
use crate::clock::TestClock;
use crate::events::Events;
use crate::protocol::Timestamp;
use crate::store::tests::Home;
use crate::store::{self, AuditCut, AuditFilter, StoreOptions};
use crate::telemetry::Metrics;

const NOW: Timestamp = Timestamp::from_millis(1_000_000);

fn event(subject: &str) -> Event {
    Event::new("test.done", "staff:me".to_owned(), subject, Outcome::Done)
}

fn chain_of(name: &str, length: usize) -> Vec<AuditRow> {
    let mut head = Head::default();
    let subjects = (0..length).map(|at| at.to_string());
    subjects
        .map(|subject| head.extend(name, NOW, &event(&subject)))
        .collect()
}

fn faults(cuts: &[AuditCut], rows: &[AuditRow]) -> Vec<String> {
    let mut checker = Checker::new(cuts);
    rows.iter().for_each(|row| checker.take(row));
    let reports = checker.finish().into_iter();
    reports.flat_map(|report| report.faults).collect()
}

#[test]
fn a_chain_that_nobody_touched_is_whole() {
    assert_eq!(faults(&[], &chain_of("a", 5)), Vec::<String>::new());
}

#[test]
fn whatever_is_changed_shows() {
    type Change = fn(&mut Vec<AuditRow>);
    let changes: [(&str, Change); 6] = [
        ("the text", |rows| {
            rows[2].entry = rows[2].entry.to_ascii_uppercase()
        }),
        ("the hash", |rows| rows[2].hash[0] ^= 1),
        ("one is gone", |rows| drop(rows.remove(2))),
        ("two change places", |rows| rows.swap(2, 3)),
        ("the time", |rows| rows[2].at = Timestamp::from_millis(1)),
        ("one again", |rows| rows.insert(3, rows[2].clone())),
    ];
    for (what, change) in changes {
        let mut rows = chain_of("a", 6);
        change(&mut rows);
        assert_ne!(faults(&[], &rows), Vec::<String>::new(), "{what}");
    }
}

#[test]
fn a_chain_cut_at_its_old_end_is_whole_and_one_cut_at_its_new_end_is_not() {
    let rows = chain_of("a", 6);
    let cut = AuditCut {
        chain: "a".to_owned(),
        n: 2,
        hash: rows[1].hash.clone(),
    };
    assert_eq!(
        faults(std::slice::from_ref(&cut), &rows[2..]),
        Vec::<String>::new()
    );
    assert_ne!(faults(&[], &rows[2..]), Vec::<String>::new());
    let anchor = event("").with(chain::anchors(&rows[4..5]));
    let other = Head::default().extend("b", NOW, &anchor);
    let whole: Vec<AuditRow> = rows.iter().chain([&other]).cloned().collect();
    assert_eq!(faults(&[], &whole), Vec::<String>::new());
    let short: Vec<AuditRow> = rows[..4].iter().chain([&other]).cloned().collect();
    assert_eq!(
        faults(&[], &short),
        ["it ends before entry 5, which chain b saw"]
    );
    let gone = [other];
    assert_eq!(
        faults(&[], &gone),
        ["it ends before entry 5, which chain b saw"]
    );
}

#[test]
fn strangers_bring_about_one_entry_and_then_a_count() {
    let gathering = Gathering::default();
    let remote = |last: u8| Some(IpAddr::from([192, 0, 2, last]));
    let failure = |last| Event {
        remote: remote(last),
        ..event("x")
    };
    assert!(gathering.first(failure(1)).is_some());
    assert!(gathering.first(failure(2)).is_some());
    assert!(gathering.first(failure(1)).is_none());
    assert!(gathering.first(failure(1)).is_none());
    let taken = gathering.take();
    assert_eq!(taken.len(), 1);
    assert_eq!((taken[0].count, taken[0].remote), (Some(2), remote(1)));
    assert!(gathering.take().is_empty());
}

/// Writes twice, each time as a gateway that just started.
async fn written_in_two_rounds(home: Home) {
    for round in 1..=2 {
        let options = StoreOptions {
            database: home.database(),
        };
        let clock = Clock::over(TestClock::at(NOW));
        let opened = store::open(
            &options,
            Events::default(),
            Metrics::default(),
            clock.clone(),
        );
        let (store, committer) = opened.await.unwrap();
        let (audit, auditor) = Audit::new(store.clone(), clock, "main".to_owned());
        let (stop, stop_store) = (CancellationToken::new(), CancellationToken::new());
        let tasks = TaskTracker::new();
        tasks.spawn(committer.run(stop_store.clone()));
        let writing = tasks.spawn(auditor.run(stop.clone()));
        audit.record(event("one")).await.unwrap();
        audit.note(event("two"));
        stop.cancel();
        writing.await.unwrap();
        let rows = store.read_chain("main", 0, 100).await.unwrap();
        assert_eq!(rows.len(), 2 * round);
        assert_eq!(faults(&[], &rows), Vec::<String>::new());
        let listed = store.list_audit(&AuditFilter::default(), 3).await.unwrap();
        assert_eq!(listed, rows[..rows.len().min(3)]);
        stop_store.cancel();
        tasks.close();
        tasks.wait().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_is_recorded_is_on_disk_and_the_next_start_goes_on_behind_it() {
    written_in_two_rounds(Home::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_same_on_postgresql() {
    written_in_two_rounds(Home::postgres()).await;
}
