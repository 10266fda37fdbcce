mod priorities;

use std::collections::BTreeMap;

use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::store::{ShardSet, shard_of};
use std::time::Duration;

const SCHEDULE: Schedule = Schedule {
    initial: Duration::from_secs(1),
    max: Duration::from_secs(60),
    attempts: 168,
    give_up: Duration::from_secs(7 * 86_400),
};

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn row(seq: i64, lane: i64, destination: &str) -> QueueRow {
    QueueRow {
        seq,
        mid: seq,
        lane,
        destination: destination.to_owned(),
        deferred_until: None,
        destination_failed_at: None,
        priority: 1,
        size: 100,
        loose: false,
    }
}

fn window(rows: usize) -> Window {
    let limits = Limits {
        rows,
        concurrency: 2,
        to_gateways: 2,
        to_mail: 2,
    };
    Window::new(limits, SCHEDULE)
}

fn dispatch(window: &mut Window, load: Load) -> Option<Dispatch> {
    match window.next(at(0), |_| load) {
        Next::Dispatch(dispatch) => Some(dispatch),
        _ => None,
    }
}

#[test]
fn one_request_of_a_lane_is_under_way() {
    let mut window = window(100);
    window.feed(vec![row(1, 7, "d"), row(2, 7, "d"), row(3, 8, "d")], at(0));
    let first = dispatch(&mut window, Load::SINGLE).unwrap();
    assert_eq!(first.groups, [[1]]);
    let other = dispatch(&mut window, Load::SINGLE).unwrap();
    assert_eq!(other.groups, [[3]]);
    assert_eq!(dispatch(&mut window, Load::SINGLE), None);
    window.answered(first.id, &[(1, After::Done)], (Report::Well, 0.5), at(0));
    assert_eq!(
        dispatch(&mut window, Load::SINGLE),
        None,
        "two are under way"
    );
    window.landed(first.id, Ok(()), at(0));
    assert_eq!(dispatch(&mut window, Load::SINGLE).unwrap().groups, [[2]]);
}

#[test]
fn the_mail_of_a_domain_has_a_bound_of_its_own() {
    let limits = Limits {
        rows: 100,
        concurrency: 2,
        to_gateways: 2,
        to_mail: 1,
    };
    let mut window = Window::new(limits, SCHEDULE);
    let rows = ["mail:b.test", "mail:c.test", "domain:b.test"];
    let rows = rows.iter().zip(0..).flat_map(|(to, number)| {
        let first = number * 10;
        (1..=3).map(move |at| row(first + at, first + at, to))
    });
    window.feed(rows.collect(), at(0));
    let mut under_way = Vec::new();
    while let Some(dispatch) = dispatch(&mut window, Load::SINGLE) {
        under_way.push(dispatch.groups[0][0] / 10);
    }
    under_way.sort_unstable();
    assert_eq!(under_way, [0, 1, 2, 2]);
}

#[test]
fn recipients_of_one_message_go_together_when_their_lanes_are_free() {
    let mut window = window(100);
    let of_message = |seq, lane, mid| QueueRow {
        mid,
        ..row(seq, lane, "d")
    };
    window.feed(
        vec![
            of_message(1, 7, 1),
            of_message(2, 7, 2),
            of_message(3, 8, 2),
            of_message(4, 9, 2),
        ],
        at(0),
    );
    let first = dispatch(&mut window, Load::SINGLE).unwrap();
    assert_eq!(first.groups, [[1]]);
    let others = dispatch(&mut window, Load::SINGLE).unwrap();
    assert_eq!(others.groups, [[3, 4]], "the lane of 2 is taken");
}

#[test]
fn a_batch_takes_a_lane_in_order_and_urgent_lanes_first() {
    let mut window = window(100);
    let urgent = QueueRow {
        priority: 3,
        ..row(4, 9, "d")
    };
    window.feed(
        vec![row(1, 7, "d"), row(2, 7, "d"), row(3, 8, "d"), urgent],
        at(0),
    );
    let load = Load {
        messages: 3,
        bytes: 1_000,
    };
    assert_eq!(dispatch(&mut window, load).unwrap().groups, [[4], [1], [2]]);
    assert_eq!(dispatch(&mut window, load).unwrap().groups, [[3]]);
}

#[test]
fn a_batch_keeps_to_its_bytes() {
    let mut window = window(100);
    window.feed((1..=5).map(|seq| row(seq, 7, "d")).collect(), at(0));
    let load = Load {
        messages: 200,
        bytes: 250,
    };
    assert_eq!(dispatch(&mut window, load).unwrap().groups, [[1], [2]]);
}

#[test]
fn a_destination_in_trouble_gets_one_probe_and_then_everything() {
    let mut window = window(100);
    window.feed((1..=8).map(|seq| row(seq, seq, "d")).collect(), at(0));
    let fault = |until| After::Blocked {
        until: at(until),
        destination_fault: true,
    };
    for seq in 1..=5 {
        let it = dispatch(&mut window, Load::SINGLE).unwrap();
        assert_eq!(it.groups, [[seq]]);
        window.answered(
            it.id,
            &[(seq, fault(9_000))],
            (Report::Trouble(None), 0.5),
            at(0),
        );
        window.landed(it.id, Ok(()), at(0));
    }
    assert_eq!(window.held().0, 0, "what waits for it is not in memory");
    assert_eq!(
        window.next(at(0), |_| Load::SINGLE),
        Next::Wait(Some(at(1_000)))
    );
    let read = window.next(at(1_000), |_| Load::SINGLE);
    let Next::Lane(name, key, range) = read else {
        panic!("{read:?}")
    };
    assert_eq!((range.from, range.to), (6, 8));
    window.lane_read((&name, key), range, vec![row(6, 6, "d")], at(1_000));
    let Next::Dispatch(probe) = window.next(at(1_000), |_| Load::SINGLE) else {
        panic!("no probe")
    };
    assert_eq!(probe.groups, [[6]]);
    assert!(
        matches!(window.next(at(1_000), |_| Load::SINGLE), Next::Wait(_)),
        "one probe only"
    );
    window.answered(
        probe.id,
        &[(6, After::Done)],
        (Report::Well, 0.5),
        at(1_000),
    );
    window.landed(probe.id, Ok(()), at(1_000));
    let mut lanes = 0;
    while let Next::Lane(name, key, range) = window.next(at(1_000), |_| Load::SINGLE) {
        lanes += 1;
        let mut tried = row(range.from, range.from, "d");
        if range.from <= 5 {
            tried.deferred_until = Some(at(9_000));
            tried.destination_failed_at = Some(at(0));
        }
        window.lane_read((&name, key), range, vec![tried], at(1_000));
        let Next::Dispatch(it) = window.next(at(1_000), |_| Load::SINGLE) else {
            panic!("not due")
        };
        let seq = it.groups[0][0];
        window.answered(it.id, &[(seq, After::Done)], (Report::Well, 0.5), at(1_000));
        window.landed(it.id, Ok(()), at(1_000));
    }
    assert_eq!(lanes, 7, "those that failed because of it are due at once");
}

#[test]
fn lanes_that_come_back_are_read_together_to_fill_a_batch() {
    let mut window = window(1_000);
    window.feed((1..=6).map(|seq| row(seq, seq, "d")).collect(), at(0));
    let fault = After::Blocked {
        until: at(500),
        destination_fault: true,
    };
    let batch = Load {
        messages: 200,
        bytes: 100_000,
    };
    let it = dispatch(&mut window, batch).unwrap();
    let results: Vec<(i64, After)> = it
        .groups
        .iter()
        .flatten()
        .map(|seq| (*seq, fault))
        .collect();
    assert_eq!(results.len(), 6);
    window.answered(it.id, &results, (Report::Trouble(None), 0.5), at(0));
    window.landed(it.id, Ok(()), at(0));
    let mut read = 0;
    loop {
        match window.next(at(500), |_| batch) {
            Next::Lane(name, key, range) => {
                read += 1;
                window.lane_read(
                    (&name, key),
                    range,
                    vec![row(range.from, range.from, "d")],
                    at(500),
                );
            }
            Next::Dispatch(it) => {
                assert_eq!((read, it.groups.len()), (6, 6));
                return;
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_settlement_that_failed_is_read_again() {
    let mut window = window(100);
    window.feed(vec![row(1, 7, "d"), row(2, 7, "d")], at(0));
    let it = dispatch(&mut window, Load::SINGLE).unwrap();
    window.answered(it.id, &[(1, After::Done)], (Report::Well, 0.5), at(0));
    window.landed(it.id, Err(()), at(0));
    assert_eq!(
        window.next(at(0), |_| Load::SINGLE),
        Next::Wait(Some(at(5_000)))
    );
    let Next::Lane(_, _, range) = window.next(at(5_000), |_| Load::SINGLE) else {
        panic!()
    };
    assert_eq!(range.from, 1);
}

#[test]
fn what_is_sent_early_needs_an_empty_lane() {
    let mut window = window(100);
    window.feed(vec![row(1, 7, "d")], at(0));
    assert!(
        window.send_early(("d", 10), &[(2, 7)], |_| 0).is_none(),
        "something stands before it"
    );
    assert!(
        window.send_early(("d", 10), &[(2, 8)], |_| 5).is_none(),
        "not all is read"
    );
    let early = window.send_early(("d", 10), &[(2, 8)], |_| 1).unwrap();
    window.feed(vec![row(2, 8, "d"), row(3, 8, "d")], at(0));
    assert_eq!(dispatch(&mut window, Load::SINGLE).unwrap().groups, [[1]]);
    assert_eq!(
        dispatch(&mut window, Load::SINGLE),
        None,
        "its lane is taken"
    );
    let blocked = After::Blocked {
        until: at(1_000),
        destination_fault: false,
    };
    window.answered(early.id, &[(2, blocked)], (Report::Well, 0.5), at(0));
    window.landed(early.id, Ok(()), at(0));
    let Next::Lane(_, _, range) = window.next(at(1_000), |_| Load::SINGLE) else {
        panic!()
    };
    assert_eq!(
        range.from, 2,
        "and it is read again before what came after it"
    );
}

#[test]
fn what_is_under_way_is_bounded_over_all_destinations() {
    let mut window = window(100_000);
    let heavy = |seq| QueueRow {
        size: 100 * 1024 * 1024,
        ..row(seq, seq, &format!("d{seq}"))
    };
    window.feed((1..=10).map(heavy).collect(), at(0));
    let mut under_way = Vec::new();
    while let Some(it) = dispatch(&mut window, Load::SINGLE) {
        under_way.push(it);
    }
    assert_eq!(under_way.len(), 3);
    assert!(window.send_early(("x", 1), &[(99, 99)], |_| 0).is_none());
    let first = under_way.remove(0);
    window.answered(
        first.id,
        &[(first.groups[0][0], After::Done)],
        (Report::Well, 0.5),
        at(0),
    );
    window.landed(first.id, Ok(()), at(0));
    assert!(dispatch(&mut window, Load::SINGLE).is_some());
}

#[test]
fn an_hour_of_overload_costs_few_attempts_and_then_everything_goes_at_once() {
    let mut window = window(1_000);
    let mut table: BTreeMap<i64, QueueRow> = (1..=200)
        .map(|seq| (seq, row(seq, seq % 50, "d")))
        .collect();
    window.feed(table.values().cloned().collect(), at(0));
    let (mut now, mut attempts, mut last) = (0_i64, 0, BTreeMap::new());
    let hour = 3_600_000;
    while !table.is_empty() {
        match window.next(at(now), |_| Load::SINGLE) {
            Next::Dispatch(it) => {
                let seq = it.groups[0][0];
                let (after, report) = if now < hour {
                    attempts += 1;
                    let until = at(now + 60_000);
                    let row = table.get_mut(&seq).unwrap();
                    row.deferred_until = Some(until);
                    row.destination_failed_at = Some(at(now));
                    (
                        After::Blocked {
                            until,
                            destination_fault: true,
                        },
                        Report::Trouble(None),
                    )
                } else {
                    let row = table.remove(&seq).unwrap();
                    assert!(last.insert(row.lane, seq) < Some(seq), "out of order");
                    (After::Done, Report::Well)
                };
                window.answered(it.id, &[(seq, after)], (report, 0.5), at(now));
                window.landed(it.id, Ok(()), at(now));
            }
            Next::Lane(name, key, range) => {
                let LaneKey::Pair(lane) = key else {
                    panic!("{key:?}")
                };
                let rows = table
                    .values()
                    .filter(|row| row.lane == lane && row.seq >= range.from);
                let rows = rows.take(range.limit).cloned().collect();
                window.lane_read((&name, key), range, rows, at(now));
            }
            Next::Destination(name, range) => {
                let rows = table.values().filter(|row| row.seq >= range.from);
                let rows = rows.take(range.limit).cloned().collect();
                window.destination_read(&name, range, rows, at(now));
            }
            Next::Wait(until) => now = until.unwrap().as_millis().max(now + 1),
        }
    }
    assert!((60..80).contains(&attempts), "{attempts}");
    assert!(now < hour + 61_000, "{now}");
}

/// The table of deliveries, and what happened to them.
struct Table {
    rows: BTreeMap<i64, QueueRow>,
    last: BTreeMap<i64, i64>,
    delivered: Vec<i64>,
}

impl Table {
    fn read(&self, limit: usize, which: impl Fn(&QueueRow) -> bool) -> Vec<QueueRow> {
        self.rows
            .values()
            .filter(|row| which(row))
            .take(limit)
            .cloned()
            .collect()
    }
}

/// Deterministic chance.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn every_delivery_arrives_once_and_in_the_order_of_its_lane(seed in any::<u64>(), capacity in 4_usize..60) {
        let mut dice = Dice(seed);
        let mut table = Table { rows: BTreeMap::new(), last: BTreeMap::new(), delivered: Vec::new() };
        let mut window = window(capacity);
        let mut flights: Vec<Dispatch> = Vec::new();
        let (mut now, mut seq, mut steps) = (0_i64, 0_i64, 0);
        let total = 150;
        while table.delivered.len() < total {
            steps += 1;
            prop_assert!(steps < 60_000, "stuck: {} of {total} at {now}: {window:?}", table.delivered.len());
            if usize::try_from(seq).unwrap() < total && dice.roll(3) == 0 {
                seq += 1;
                let lane = i64::try_from(dice.roll(6)).unwrap();
                table.rows.insert(seq, row(seq, lane, ["a", "b", "c"][usize::try_from(lane % 3).unwrap()]));
            }
            if window.room() > 0 {
                let high = window.high();
                let limit = window.room().min(10);
                let rows = table.read(limit, |row| row.seq > high);
                window.feed(rows, at(now));
            }
            let batch = Load { messages: 1 + usize::try_from(dice.roll(5)).unwrap(), bytes: 1_000 };
            match window.next(at(now), |_| batch) {
                Next::Dispatch(it) => {
                    for seq in it.groups.iter().flatten() {
                        prop_assert!(!flights.iter().flat_map(|it| &it.groups).flatten().any(|other| other == seq));
                        prop_assert!(table.rows.contains_key(seq), "{seq} was sent after its end");
                    }
                    flights.push(it);
                }
                Next::Lane(name, key, range) => {
                    let LaneKey::Pair(lane) = key else { panic!("{key:?}") };
                    let rows = table.read(range.limit, |row| row.lane == lane && (range.from..=range.to).contains(&row.seq));
                    window.lane_read((&name, key), range, rows, at(now));
                }
                Next::Destination(name, range) => {
                    let rows = table.read(range.limit, |row| row.destination == name && (range.from..=range.to).contains(&row.seq));
                    window.destination_read(&name, range, rows, at(now));
                }
                Next::Wait(until) => {
                    now += 1 + i64::try_from(dice.roll(500)).unwrap();
                    if let Some(until) = until.filter(|_| flights.is_empty() && usize::try_from(seq).unwrap() == total) {
                        now = now.max(until.as_millis());
                    }
                }
            }
            if !flights.is_empty() && dice.roll(2) == 0 {
                let index = usize::try_from(dice.roll(u64::try_from(flights.len()).unwrap())).unwrap();
                let it = flights.swap_remove(index);
                let mut results = Vec::new();
                let mut stopped: Vec<i64> = Vec::new();
                let down = dice.roll(4) == 0;
                for seq in it.groups.iter().flatten() {
                    let row = table.rows.get_mut(seq).unwrap();
                    if down || stopped.contains(&row.lane) || dice.roll(5) == 0 {
                        stopped.push(row.lane);
                        let until = at(now + 100);
                        row.deferred_until = Some(until);
                        row.destination_failed_at = down.then_some(at(now));
                        results.push((*seq, After::Blocked { until, destination_fault: down }));
                    } else {
                        let before = table.last.insert(row.lane, *seq);
                        prop_assert!(before < Some(*seq), "{seq} after {before:?}");
                        table.delivered.push(*seq);
                        results.push((*seq, After::Done));
                    }
                }
                for (seq, after) in &results {
                    if *after == After::Done {
                        table.rows.remove(seq);
                    }
                }
                let report = if down { Report::Trouble(None) } else { Report::Well };
                window.answered(it.id, &results, (report, 0.5), at(now));
                window.landed(it.id, Ok(()), at(now));
            }
        }
        prop_assert_eq!(window.held().0, 0);
    }
}

fn sharing(rows: usize) -> Window {
    let mut window = window(rows).sharing();
    window.reset(ShardSet::ALL);
    window
}

/// Every row in memory stands there once, and none that is under way.
fn in_memory_once(window: &Window) {
    let mut seen = BTreeSet::new();
    let mut rows = 0;
    for entry in window.destinations.values() {
        let of_entry: usize = entry.lanes.values().map(|lane| lane.rows.len()).sum();
        assert_eq!(of_entry, entry.rows);
        rows += of_entry;
        for (key, lane) in &entry.lanes {
            for row in &lane.rows {
                assert!(seen.insert(row.seq), "{} is in memory twice", row.seq);
                assert!(
                    window.wants(row),
                    "{} of {key:?} is under way or not ours",
                    row.seq
                );
            }
            let sorted = lane.rows.iter().is_sorted_by_key(|row| row.seq);
            assert!(sorted, "a lane is out of order");
        }
    }
    assert_eq!(rows, window.rows);
}

#[test]
fn a_late_row_takes_its_place_where_the_later_one_has_not_gone() {
    let mut window = sharing(100);
    window.feed(vec![row(3, 7, "d"), row(5, 7, "d"), row(6, 8, "d")], at(0));
    let late = || vec![row(2, 7, "d"), row(4, 7, "d"), row(5, 7, "d")];
    window.feed_late(late(), at(0));
    window.feed_late(late(), at(0));
    in_memory_once(&window);
    let it = dispatch(&mut window, Load::SINGLE).unwrap();
    assert_eq!(it.groups, [[2]]);
    window.feed_late(vec![row(1, 7, "d"), row(2, 7, "d")], at(0));
    window.answered(it.id, &[(2, After::Done)], (Report::Well, 0.5), at(0));
    window.landed(it.id, Ok(()), at(0));
    for seq in [1, 3, 4, 5, 6] {
        let it = dispatch(&mut window, Load::SINGLE).unwrap();
        assert_eq!(it.groups, [[seq]]);
        window.answered(it.id, &[(seq, After::Done)], (Report::Well, 0.5), at(0));
        window.landed(it.id, Ok(()), at(0));
    }
}

#[test]
fn a_late_row_of_a_blocked_lane_stands_behind() {
    let mut window = sharing(100);
    window.feed(vec![row(5, 7, "d"), row(6, 7, "d")], at(0));
    let it = dispatch(&mut window, Load::SINGLE).unwrap();
    let blocked = After::Blocked {
        until: at(900),
        destination_fault: false,
    };
    window.answered(it.id, &[(5, blocked)], (Report::Well, 0.5), at(0));
    window.landed(it.id, Ok(()), at(0));
    window.feed_late(vec![row(4, 7, "d"), row(5, 7, "d"), row(6, 7, "d")], at(0));
    in_memory_once(&window);
    assert_eq!(window.held().0, 0);
    let Next::Lane(_, _, range) = window.next(at(900), |_| Load::SINGLE) else {
        panic!()
    };
    assert_eq!((range.from, range.to), (4, 6));
}

#[test]
fn what_was_not_tried_is_read_again_when_what_went_before_it_is_on_disk() {
    let mut window = window(100);
    window.feed(vec![row(1, 7, "d"), row(2, 7, "d"), row(3, 7, "d")], at(0));
    let two = Load {
        messages: 2,
        bytes: 1_000,
    };
    let it = dispatch(&mut window, two).unwrap();
    assert_eq!(it.groups, [[1], [2]]);
    // The first left its lane.
    let results = [(1, After::Done), (2, After::Waits)];
    window.answered(it.id, &results, (Report::Well, 0.5), at(0));
    assert_eq!(dispatch(&mut window, two), None, "it is not on disk yet");
    window.landed(it.id, Ok(()), at(0));
    let Next::Lane(name, key, range) = window.next(at(0), |_| two) else {
        panic!()
    };
    assert_eq!((range.from, range.to), (2, 3));
    let rows = vec![row(2, 7, "d"), row(3, 7, "d")];
    window.lane_read((&name, key), range, rows, at(0));
    assert_eq!(dispatch(&mut window, two).unwrap().groups, [[2], [3]]);
}

#[test]
fn a_lane_that_was_overtaken_is_read_again_from_the_late_one() {
    let mut window = sharing(100);
    window.feed(vec![row(5, 7, "d"), row(6, 7, "d")], at(0));
    let it = dispatch(&mut window, Load::SINGLE).unwrap();
    window.answered(
        it.id,
        &[(5, After::Overtaken(3))],
        (Report::Unknown, 0.5),
        at(0),
    );
    window.landed(it.id, Ok(()), at(0));
    let Next::Lane(name, key, range) = window.next(at(0), |_| Load::SINGLE) else {
        panic!()
    };
    assert_eq!((range.from, range.to), (3, 6));
    let rows = vec![row(3, 7, "d"), row(5, 7, "d"), row(6, 7, "d")];
    window.lane_read((&name, key), range, rows, at(0));
    assert_eq!(dispatch(&mut window, Load::SINGLE).unwrap().groups, [[3]]);
}

#[test]
fn what_went_before_in_a_lane_is_told_until_it_is_settled() {
    let mut window = sharing(100);
    window.feed(vec![row(1, 7, "d"), row(2, 7, "d"), row(3, 7, "d")], at(0));
    let first = dispatch(&mut window, Load::SINGLE).unwrap();
    assert!(first.before.is_empty());
    window.answered(first.id, &[(1, After::Done)], (Report::Well, 0.5), at(0));
    let second = dispatch(&mut window, Load::SINGLE).unwrap();
    assert_eq!((second.groups, second.before), (vec![vec![2]], vec![1]));
    window.landed(first.id, Err(()), at(0));
    window.answered(second.id, &[(2, After::Done)], (Report::Well, 0.5), at(0));
    let Next::Lane(name, key, range) = window.next(at(0), |_| Load::SINGLE) else {
        panic!("what could not be settled goes again")
    };
    assert_eq!(range.from, 1);
    let rows = vec![row(1, 7, "d"), row(2, 7, "d"), row(3, 7, "d")];
    window.lane_read((&name, key), range, rows, at(0));
    in_memory_once(&window);
    assert_eq!(dispatch(&mut window, Load::SINGLE).unwrap().groups, [[1]]);
}

#[test]
fn a_reset_forgets_all_but_what_is_under_way() {
    let mut window = sharing(100);
    let rows = || {
        vec![
            row(1, 7, "d"),
            row(2, 7, "d"),
            row(3, 8, "d"),
            row(4, 9, "d"),
        ]
    };
    window.feed(rows(), at(0));
    let first = dispatch(&mut window, Load::SINGLE).unwrap();
    let second = dispatch(&mut window, Load::SINGLE).unwrap();
    assert_eq!(
        (&first.groups, &second.groups),
        (&vec![vec![1]], &vec![vec![3]])
    );
    assert_eq!(window.under_way(), [7, 8].into_iter().collect());
    window.reset([7, 9].into_iter().collect());
    assert_eq!(window.held(), (0, 2));
    assert_eq!(window.high(), 0);
    window.feed(rows(), at(0));
    in_memory_once(&window);
    assert_eq!(
        window.held().0,
        2,
        "2 and 4: one is under way, one is not ours"
    );
    window.answered(second.id, &[(3, After::Done)], (Report::Well, 0.5), at(0));
    window.landed(second.id, Ok(()), at(0));
    assert_eq!(dispatch(&mut window, Load::SINGLE).unwrap().groups, [[4]]);
    // It failed for good, but the store may have dropped that: it is looked at again.
    window.answered(first.id, &[(1, After::Done)], (Report::Well, 0.5), at(0));
    assert_eq!(dispatch(&mut window, Load::SINGLE), None, "not landed yet");
    window.landed(first.id, Ok(()), at(0));
    let Next::Lane(_, key, range) = window.next(at(0), |_| Load::SINGLE) else {
        panic!()
    };
    assert_eq!((key, range.from), (LaneKey::Pair(7), 1));
}

/// A delivery in the table of a shared database, and when it became visible.
struct Slow {
    row: QueueRow,
    visible: bool,
    /// What was visible when it was submitted goes before it.
    after: Vec<i64>,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn nothing_is_lost_or_twice_in_memory_when_rows_come_late_and_shards_change_hands(
        seed in any::<u64>(),
        capacity in 4_usize..60,
    ) {
        let mut dice = Dice(seed);
        let mut table: BTreeMap<i64, Slow> = BTreeMap::new();
        let mut window = sharing(capacity);
        let (mut mine, mut epoch) = (ShardSet::ALL, 0_u64);
        let mut flights: Vec<(Dispatch, u64)> = Vec::new();
        let mut landing: Vec<Landing> = Vec::new();
        let mut delivered: BTreeMap<i64, usize> = BTreeMap::new();
        let (mut now, mut seq, mut steps) = (0_i64, 0_i64, 0);
        let total = 120;
        while delivered.len() < total {
            steps += 1;
            prop_assert!(steps < 60_000, "stuck: {} of {total} at {now}: {window:?}", delivered.len());
            if usize::try_from(seq).unwrap() < total && dice.roll(3) == 0 {
                seq += 1;
                let lane = i64::try_from(dice.roll(6)).unwrap();
                let after = table.values().filter(|it| it.visible && it.row.lane == lane).map(|it| it.row.seq).collect();
                let row = row(seq, lane, ["a", "b", "c"][usize::try_from(lane % 3).unwrap()]);
                table.insert(seq, Slow { row, visible: false, after });
            }
            let hidden: Vec<i64> = table.values().filter(|it| !it.visible).map(|it| it.row.seq).collect();
            for hidden in hidden {
                if dice.roll(4) == 0 {
                    table.get_mut(&hidden).unwrap().visible = true;
                }
            }
            let read = |limit: usize, which: &dyn Fn(&QueueRow) -> bool| -> Vec<QueueRow> {
                let visible = table.values().filter(|it| it.visible && which(&it.row));
                visible.take(limit).map(|it| it.row.clone()).collect()
            };
            let own = mine;
            if dice.roll(150) == 0 {
                mine = (0..6).filter(|_| dice.roll(2) == 0).collect();
                // Sometimes only the epoch has changed.
                epoch += 1;
                window.reset(mine);
                in_memory_once(&window);
                continue;
            }
            if mine.len() < 6 && dice.roll(20) == 0 {
                mine = ShardSet::ALL;
                epoch += 1;
                window.reset(mine);
                continue;
            }
            if window.room() > 0 {
                let high = window.high();
                let limit = window.room().min(10);
                window.feed(read(limit, &|row| row.seq > high && own.contains(shard_of(row.lane))), at(now));
            }
            if dice.roll(10) == 0 {
                let high = window.high();
                window.feed_late(read(1_000, &|row| row.seq <= high && own.contains(shard_of(row.lane))), at(now));
            }
            in_memory_once(&window);
            let batch = Load { messages: 1 + usize::try_from(dice.roll(5)).unwrap(), bytes: 1_000 };
            match window.next(at(now), |_| batch) {
                Next::Dispatch(it) => flights.push((it, epoch)),
                Next::Lane(name, key, range) => {
                    let LaneKey::Pair(lane) = key else { panic!("{key:?}") };
                    let rows = read(range.limit, &|row| row.lane == lane && (range.from..=range.to).contains(&row.seq));
                    window.lane_read((&name, key), range, rows, at(now));
                }
                Next::Destination(name, range) => {
                    let rows = read(range.limit, &|row| {
                        row.destination == name && (range.from..=range.to).contains(&row.seq) && own.contains(shard_of(row.lane))
                    });
                    window.destination_read(&name, range, rows, at(now));
                }
                Next::Wait(until) => {
                    now += 1 + i64::try_from(dice.roll(500)).unwrap();
                    if let Some(until) = until.filter(|_| flights.is_empty() && usize::try_from(seq).unwrap() == total) {
                        now = now.max(until.as_millis());
                    }
                }
            }
            in_memory_once(&window);
            if !flights.is_empty() && dice.roll(2) == 0 {
                let index = usize::try_from(dice.roll(u64::try_from(flights.len()).unwrap())).unwrap();
                let (it, of_epoch) = flights.swap_remove(index);
                let going: Vec<i64> = it.groups.concat();
                let mut results = Vec::new();
                let mut stopped: Vec<i64> = Vec::new();
                let down = dice.roll(4) == 0;
                for seq in &going {
                    let Some(Slow { row, .. }) = table.get(seq) else {
                        results.push((*seq, After::Done));
                        continue;
                    };
                    let lane = row.lane;
                    let late = table.values().find(|it| {
                        it.visible && it.row.lane == lane && it.row.seq < *seq
                            && !going.contains(&it.row.seq) && !it_before(&landing, it.row.seq)
                    });
                    if let Some(late) = late {
                        stopped.push(lane);
                        results.push((*seq, After::Overtaken(late.row.seq)));
                    } else if !down && (stopped.contains(&lane) || dice.roll(20) == 0) && dice.roll(2) == 0 {
                        stopped.push(lane);
                        results.push((*seq, After::Waits));
                    } else if down || stopped.contains(&lane) || dice.roll(5) == 0 {
                        stopped.push(lane);
                        results.push((*seq, After::Blocked { until: at(now + 100), destination_fault: down }));
                    } else {
                        for before in &table[seq].after {
                            prop_assert!(delivered.contains_key(before), "{seq} before {before}");
                        }
                        *delivered.entry(*seq).or_default() += 1;
                        results.push((*seq, After::Done));
                    }
                }
                let report = if down { Report::Trouble(None) } else { Report::Well };
                window.answered(it.id, &results, (report, 0.5), at(now));
                landing.push((it.id, results, of_epoch));
            }
            if !landing.is_empty() && dice.roll(2) == 0 {
                let index = usize::try_from(dice.roll(u64::try_from(landing.len()).unwrap())).unwrap();
                let (id, results, of_epoch) = landing.swap_remove(index);
                let settled = if dice.roll(10) == 0 { Err(()) } else { Ok(()) };
                for (seq, after) in results.iter().filter(|_| settled.is_ok()) {
                    match after {
                        After::Done => drop(table.remove(seq)),
                        After::Blocked { until, destination_fault } if of_epoch == epoch => {
                            let row = &mut table.get_mut(seq).unwrap().row;
                            row.deferred_until = Some(*until);
                            row.destination_failed_at = destination_fault.then_some(at(now));
                        }
                        _ => {}
                    }
                }
                window.landed(id, settled, at(now));
            }
        }
        prop_assert!(table.values().all(|it| delivered.contains_key(&it.row.seq)));
    }
}

/// A dispatch that was answered: its number, what came of it, and when it lands.
type Landing = (u64, Vec<(i64, After)>, u64);

/// Whether a delivery was answered and is not settled yet.
fn it_before(landing: &[Landing], seq: i64) -> bool {
    let mut results = landing.iter().flat_map(|(_, results, _)| results);
    results.any(|(other, after)| *other == seq && *after == After::Done)
}
