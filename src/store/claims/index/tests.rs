//! The index alone: it never leaves out where a key stands.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::{ProptestConfig, Strategy, prop_assert, prop_oneof, proptest};
use ring::digest;

use super::*;

fn key(number: u8) -> Key {
    let hash = digest::digest(&digest::SHA256, &[number]);
    hash.as_ref()[..16].try_into().unwrap()
}

/// What stands on disk.
#[derive(Debug, Clone, Default)]
struct Disk {
    logs: [BTreeMap<i64, (Key, i64)>; 2],
    sealed: BTreeSet<(i64, Key)>,
    runs: BTreeMap<i64, (i64, Option<Half>, Filter)>,
}

impl Disk {
    fn write(&mut self, keys: &[Key], at: i64, writing: Writing) {
        match writing.sealing {
            Some(Step::Begin {
                run,
                half,
                newest,
                filter,
            }) => {
                let before = self.runs.insert(run, (newest, Some(half), filter));
                assert!(before.is_none());
            }
            Some(Step::Move {
                run,
                half,
                rows,
                last,
            }) => {
                for row in rows {
                    if let Some((key, _)) = self.logs[half].get(&row) {
                        assert!(self.sealed.insert((run, *key)), "moved twice");
                    }
                }
                if last {
                    self.logs[half].clear();
                    self.runs.get_mut(&run).unwrap().1 = None;
                }
            }
            None => {}
        }
        for row in writing.replaced {
            self.logs[writing.half].remove(&row);
        }
        for (key, row) in keys.iter().zip(writing.first..) {
            let before = self.logs[writing.half].insert(row, (*key, at));
            assert!(before.is_none(), "a row's number is given once");
        }
    }

    /// As after a restart.
    fn index(&self) -> Index {
        let runs = self.runs.iter().map(|(number, (newest, _, filter))| Run {
            number: *number,
            newest: *newest,
            filter: filter.clone(),
        });
        let sealing = self
            .runs
            .iter()
            .find_map(|(run, (_, half, _))| half.map(|half| (*run, half)));
        let mut index = Index::new(12, runs.collect(), sealing);
        for (half, log) in self.logs.iter().enumerate() {
            for (row, (key, at)) in log {
                index.found(half, (*key, *row), *at);
            }
        }
        let of_run = |(run, _): &&(i64, Key)| sealing.is_some_and(|(it, _)| *run == it);
        index.go_on_after(self.sealed.iter().rfind(of_run).map(|(_, key)| *key));
        index
    }

    fn check(&self, index: &Index) {
        for (half, log) in self.logs.iter().enumerate() {
            for (row, (key, _)) in log {
                assert!(index.find([key]).logs[half].contains(row));
            }
        }
        for (run, key) in &self.sealed {
            assert!(index.find([key]).runs.contains(&(*run, *key)));
        }
    }
}

#[derive(Debug, Clone)]
enum Event {
    /// A transaction with these keys; committed or not.
    Add(Vec<u8>, bool),
    /// The rows of a key go.
    Free(u8),
    Restart,
    Sweep,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (proptest::collection::btree_set(0..80_u8, 1..6), proptest::bool::weighted(0.8))
            .prop_map(|(keys, committed)| Event::Add(keys.into_iter().collect(), committed)),
        2 => (0..80_u8).prop_map(Event::Free),
        1 => proptest::strategy::Just(Event::Restart),
        1 => proptest::strategy::Just(Event::Sweep),
    ]
}

fn free(disk: &mut Disk, index: &Index, key: Key) {
    let places = index.find([&key]);
    for (log, rows) in disk.logs.iter_mut().zip(places.logs) {
        log.retain(|row, _| !rows.contains(row));
    }
    disk.sealed.retain(|place| !places.runs.contains(place));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn every_row_on_disk_is_found(events in proptest::collection::vec(event(), 0..80)) {
        let mut disk = Disk::default();
        let mut index = disk.index();
        for (at, event) in (0..).zip(events) {
            match event {
                Event::Add(numbers, committed) => {
                    let keys: Vec<Key> = numbers.into_iter().map(key).collect();
                    let writing = index.add(&keys, at);
                    if committed {
                        disk.write(&keys, at, writing);
                        index.committed();
                    } else {
                        index.rolled_back();
                    }
                }
                Event::Free(number) => free(&mut disk, &index, key(number)),
                Event::Restart => index = disk.index(),
                Event::Sweep => {
                    if let Some(run) = index.over(at - 20) {
                        disk.sealed.retain(|(number, _)| *number != run);
                        prop_assert!(disk.runs.remove(&run).unwrap().1.is_none());
                        index.drop_run(run);
                        index.committed();
                    }
                }
            }
            disk.check(&index);
        }
    }
}

#[test]
fn one_log_is_moved_before_the_other_is_full() {
    let mut index = Index::new(RUN, Vec::new(), None);
    let mut number = 0_u32;
    let mut moved = 0;
    let mut ends = 0;
    while number < 500_000 {
        let keys: Vec<Key> = (number..number + 512)
            .map(|number| {
                let mut key = [0; 16];
                key[4..8].copy_from_slice(&number.wrapping_mul(2_654_435_761).to_be_bytes());
                key
            })
            .collect();
        number += 512;
        match index.add(&keys, 0).sealing {
            Some(Step::Move { rows, last, .. }) => {
                moved += rows.len();
                ends += usize::from(last);
            }
            Some(Step::Begin { .. }) => assert_eq!(moved, ends * RUN),
            None => {}
        }
        index.committed();
        assert!(index.open.rows.len() <= RUN, "it waits for no other log");
    }
    assert_eq!(ends, 8);
}
