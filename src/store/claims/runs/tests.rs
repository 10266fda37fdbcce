//! Keys on a real SQLite, against a model.

use std::collections::HashMap;

use proptest::prelude::{ProptestConfig, Strategy, prop_oneof, proptest};
use ring::digest;

use super::*;
use crate::store::migrations;

/// A small run, so that all happens often.
const RUN: usize = 10;
const KEYS: u8 = 60;

fn key(number: u8) -> Key {
    let hash = digest::digest(&digest::SHA256, &[number]);
    first_16(hash.as_ref())
}

fn row(mid: i64, at: i64) -> Row {
    let id = match mid % 2 {
        0 => format!("message-{mid}"),
        _ => Uuid::from_u128(u128::from(mid.unsigned_abs())).to_string(),
    };
    Row {
        fingerprint: first_16(digest::digest(&digest::SHA256, &mid.to_be_bytes()).as_ref()),
        mid,
        message_id: MessageId::parse(&id).unwrap(),
        accepted_at: Timestamp::from_millis(at),
    }
}

struct Bench(Connection);

impl Bench {
    async fn new() -> Self {
        let connection = <sqlx::SqliteConnection as sqlx::Connection>::connect("sqlite::memory:");
        let mut writer = Connection::writer(connection.await.unwrap());
        writer.migrate(&migrations::sqlite()).await.unwrap();
        let mut bench = Self(writer);
        bench.restart().await;
        bench
    }

    async fn restart(&mut self) {
        let keys = Keys::unread(RUN);
        keys.read(&mut self.0).await.unwrap();
        self.0.memory().unwrap().learn(keys);
    }

    async fn end(&mut self, committed: bool) {
        if committed {
            self.0.commit().await.unwrap();
        } else {
            // What was collected reaches the file, and is taken back.
            let all = Statement::new("SELECT count(*) FROM key_log_0");
            self.0.row(all).await.unwrap();
            self.0.roll_back().await.unwrap();
        }
    }

    /// The newest row of each key.
    async fn all(&mut self) -> HashMap<Key, Row> {
        let keys: Vec<Key> = (0..KEYS).map(key).collect();
        let mut newest: HashMap<Key, Row> = HashMap::new();
        for (key, row) in read(&mut self.0, &keys).await.unwrap() {
            let older = |it: &Row| it.accepted_at <= row.accepted_at;
            if newest.get(&key).is_none_or(older) {
                newest.insert(key, row);
            }
        }
        newest
    }
}

#[derive(Debug, Clone)]
enum Event {
    Add(Vec<u8>, bool),
    Free(u8, bool),
    Restart,
    Sweep,
}

fn event() -> impl Strategy<Value = Event> {
    let sure = || proptest::bool::weighted(0.8);
    prop_oneof![
        6 => (proptest::collection::btree_set(0..KEYS, 1..6), sure())
            .prop_map(|(keys, committed)| Event::Add(keys.into_iter().collect(), committed)),
        2 => (0..KEYS, sure()).prop_map(|(key, committed)| Event::Free(key, committed)),
        1 => proptest::strategy::Just(Event::Restart),
        1 => proptest::strategy::Just(Event::Sweep),
    ]
}

/// How long keys are kept, in events.
const KEPT: i64 = 30;

async fn run(events: Vec<Event>) {
    let mut bench = Bench::new().await;
    // The keys in force, with the number and time of their rows.
    let mut model: HashMap<u8, (i64, i64)> = HashMap::new();
    let mut mid = 0;
    for (at, event) in (1..).zip(events) {
        bench.0.begin().unwrap();
        match event {
            Event::Add(numbers, committed) => {
                // As the accept step does: only keys that are not known.
                let numbers = numbers.into_iter().filter(|it| !model.contains_key(it));
                let numbers: Vec<u8> = numbers.collect();
                let rows = numbers.iter().zip(mid + 1..);
                let rows: Vec<_> = rows.map(|(it, mid)| (key(*it), row(mid, at))).collect();
                if committed {
                    model.extend(
                        numbers
                            .iter()
                            .copied()
                            .zip((mid + 1..).map(|mid| (mid, at))),
                    );
                }
                mid += i64::try_from(rows.len()).unwrap();
                write(&mut bench.0, rows).await.unwrap();
                bench.end(committed).await;
            }
            Event::Free(number, committed) => {
                if let Some((_, at)) = model.get(&number).copied() {
                    free(&mut bench.0, &key(number), (at, at + 1))
                        .await
                        .unwrap();
                }
                // Another time's row of the key stays.
                free(&mut bench.0, &key(number), (at, at + 1))
                    .await
                    .unwrap();
                bench.end(committed).await;
                if committed {
                    model.remove(&number);
                }
            }
            Event::Restart => {
                bench.end(true).await;
                bench.restart().await;
            }
            Event::Sweep => {
                sweep(&mut bench.0, at - KEPT, 100).await.unwrap();
                bench.end(true).await;
            }
        }
        model.retain(|_, (_, then)| *then >= at - KEPT);
        let in_force = |(key, row): (Key, Row)| {
            (row.accepted_at.as_millis() >= at - KEPT).then_some((key, row.mid))
        };
        let found: HashMap<Key, i64> = bench.all().await.into_iter().filter_map(in_force).collect();
        let expected: HashMap<Key, i64> = model
            .iter()
            .map(|(number, (mid, _))| (key(*number), *mid))
            .collect();
        assert_eq!(found, expected, "after event {at}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn keys_are_known_as_in_a_plain_map(events in proptest::collection::vec(event(), 0..70)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(run(events));
    }
}

async fn count(bench: &mut Bench, table: &str) -> i64 {
    let count = Statement::new(format!("SELECT count(*) FROM {table}"));
    bench.0.row(count).await.unwrap().unwrap().int(0).unwrap()
}

#[tokio::test]
async fn a_run_that_is_over_goes_as_a_whole_and_a_row_tells_all_it_was_given() {
    let mut bench = Bench::new().await;
    for batch in 0..6 {
        bench.0.begin().unwrap();
        let numbers = batch * 5..batch * 5 + 5;
        let rows = numbers.map(|it| (key(it), row(i64::from(it), 100)));
        write(&mut bench.0, rows.collect()).await.unwrap();
        bench.end(true).await;
    }
    assert_eq!(count(&mut bench, "sealed_keys").await, 20);
    assert_eq!(count(&mut bench, "key_runs").await, 2);
    let all = bench.all().await;
    assert_eq!(all.len(), 30);
    for number in 0..30 {
        assert_eq!(all[&key(number)], row(i64::from(number), 100));
    }
    bench.0.begin().unwrap();
    assert_eq!(sweep(&mut bench.0, 100, 100).await.unwrap(), 0);
    let mut swept = sweep(&mut bench.0, 101, 100).await.unwrap();
    bench.end(true).await;
    bench.0.begin().unwrap();
    swept += sweep(&mut bench.0, 101, 100).await.unwrap();
    bench.end(true).await;
    assert_eq!(swept, 30);
    assert_eq!(count(&mut bench, "key_runs").await, 0);
    assert!(bench.all().await.is_empty());
}
