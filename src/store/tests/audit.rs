//! The audit log in its tables: cut at the old end, and whole after that.

use ring::digest::{SHA256, digest};

use super::{Bench, Home, Timestamp};
use crate::store::{AuditFilter, AuditRow};

const DAY: i64 = 86_400_000;

fn hash(before: &[u8], entry: &[u8]) -> Vec<u8> {
    let bytes = [before, entry].concat();
    digest(&SHA256, &bytes).as_ref().to_vec()
}

/// An entry of a chain, hashed as a chain is: over the hash before it and its bytes.
fn entry(chain: &str, n: i64, day: i64, before: &[u8]) -> AuditRow {
    let entry = format!("{chain} {n}").into_bytes();
    AuditRow {
        chain: chain.to_owned(),
        n,
        at: Timestamp::from_millis(day * DAY),
        hash: hash(before, &entry),
        entry,
    }
}

/// A chain whose entries are of these days.
fn chain(name: &str, days: impl IntoIterator<Item = i64>) -> Vec<AuditRow> {
    let mut before = vec![0; 32];
    let mut n = 0;
    let row = |day| {
        n += 1;
        let row = entry(name, n, day, &before);
        before.clone_from(&row.hash);
        row
    };
    days.into_iter().map(row).collect()
}

/// Cuts until nothing is left to cut. Answers how many steps did something.
async fn cut(bench: &Bench, day: i64) -> usize {
    let before = Timestamp::from_millis(day * DAY);
    for steps in 0.. {
        if bench.store.cut_audit(before).await.unwrap() == 0 {
            return steps;
        }
    }
    unreachable!()
}

/// The numbers that are left of a chain; the first fits to where it was cut.
async fn left(bench: &Bench, name: &str) -> Vec<i64> {
    let cuts = bench.store.audit_cuts().await.unwrap();
    let cut = cuts.iter().find(|cut| cut.chain == name);
    let (mut n, mut before) = cut.map_or((0, vec![0; 32]), |cut| (cut.n, cut.hash.clone()));
    let rows = bench.store.read_chain(name, n, 10_000).await.unwrap();
    assert_eq!(rows, bench.store.read_chain(name, 0, 10_000).await.unwrap());
    for row in &rows {
        n += 1;
        assert_eq!(row.hash, hash(&before, &row.entry));
        assert_eq!(row.n, n);
        before.clone_from(&row.hash);
    }
    rows.iter().map(|row| row.n).collect()
}

both!(what_is_left_of_a_cut_log_is_whole_and_its_last_entry_stays);
async fn what_is_left_of_a_cut_log_is_whole_and_its_last_entry_stays(home: Home) {
    let bench = Bench::at(home).await;
    for rows in [
        chain("long", (0..1_200).map(|n| n / 100)),
        chain("old", [1, 2, 3]),
        chain("young", [20, 20]),
        // The clock went wrong between two entries.
        chain("wrong", [20, 0, 20, 1]),
        chain("lonely", [1]),
    ] {
        bench.store.append_audit(rows).await.unwrap();
    }
    assert_eq!(cut(&bench, 0).await, 0);
    assert!(cut(&bench, 9).await > 1, "in steps");
    assert_eq!(
        left(&bench, "long").await,
        (901..=1_200).collect::<Vec<_>>()
    );
    assert_eq!(left(&bench, "old").await, [3]);
    assert_eq!(left(&bench, "young").await, [1, 2]);
    assert_eq!(left(&bench, "wrong").await, [1, 2, 3, 4]);
    assert_eq!(left(&bench, "lonely").await, [1]);
    assert_eq!(cut(&bench, 9).await, 0);

    // The chain goes on behind what is left, and is cut again.
    let last = bench.store.read_chain("old", 0, 10).await.unwrap();
    let next = entry("old", 4, 5, &last[0].hash);
    bench.store.append_audit(vec![next]).await.unwrap();
    cut(&bench, 100).await;
    for (name, last) in [
        ("long", 1_200),
        ("old", 4),
        ("young", 2),
        ("wrong", 4),
        ("lonely", 1),
    ] {
        assert_eq!(left(&bench, name).await, [last], "{name}");
    }
    let listed = bench.store.list_audit(&AuditFilter::default(), 100).await;
    assert_eq!(listed.unwrap().len(), 5);
    bench.close().await;
}
