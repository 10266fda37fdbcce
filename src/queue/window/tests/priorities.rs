//! Urgent work first, without starving the rest and without touching the order of a pair.

use super::*;

const LOW: u8 = 0;
const URGENT: u8 = 3;

fn of_priority(seq: i64, lane: i64, priority: u8) -> QueueRow {
    QueueRow {
        priority,
        ..row(seq, lane, "d")
    }
}

/// Sends so many requests one after the other; what went, in order.
fn sent(window: &mut Window, load: Load, requests: usize) -> Vec<i64> {
    let mut sent = Vec::new();
    for _ in 0..requests {
        let Some(dispatch) = dispatch(window, load) else {
            break;
        };
        let seqs = dispatch.groups.concat();
        let results: Vec<(i64, After)> = seqs.iter().map(|seq| (*seq, After::Done)).collect();
        window.answered(dispatch.id, &results, (Report::Well, 0.5), at(0));
        window.landed(dispatch.id, Ok(()), at(0));
        sent.extend(seqs);
    }
    sent
}

#[test]
fn under_full_load_low_work_has_a_slot_of_twenty() {
    let batch = Load {
        messages: 8,
        bytes: 1_000_000,
    };
    for (load, requests) in [(Load::SINGLE, 400), (batch, 50)] {
        let mut window = window(4_000);
        let low = (1..=100).map(|seq| of_priority(seq, seq, LOW));
        let urgent = (101..=800).map(|seq| of_priority(seq, seq % 97 + 1_000, URGENT));
        window.feed(low.chain(urgent).collect(), at(0));
        let sent = sent(&mut window, load, requests);
        assert_eq!(sent.len(), 400);
        for slots in sent.chunks(20) {
            let low = slots.iter().filter(|seq| **seq <= 100).count();
            assert_eq!(low, 1, "{slots:?}");
        }
        let low: Vec<i64> = sent.into_iter().filter(|seq| *seq <= 100).collect();
        assert!(low.is_sorted(), "the oldest of them first: {low:?}");
    }
}

#[test]
fn the_order_of_a_pair_stands_above_every_priority() {
    let mut window = window(8_000);
    let priorities = [LOW, URGENT, 1, 2];
    let rows = (1..=1_200_i64).map(|seq| {
        let priority = priorities[usize::try_from(seq % 7 % 4).unwrap()];
        of_priority(seq, seq % 5, priority)
    });
    window.feed(rows.collect(), at(0));
    let sent = sent(&mut window, Load::SINGLE, 1_200);
    for lane in 0..5 {
        let of_lane: Vec<i64> = sent.iter().copied().filter(|seq| seq % 5 == lane).collect();
        assert!(of_lane.is_sorted(), "lane {lane}");
    }
    assert_eq!(sent.len(), 1_200);
}

#[test]
fn urgent_work_goes_before_older_work_of_others() {
    let mut window = window(100);
    let rows = [(1, LOW), (2, 1), (3, 2), (4, URGENT)];
    let rows = rows.map(|(seq, priority)| of_priority(seq, seq, priority));
    window.feed(rows.into(), at(0));
    assert_eq!(sent(&mut window, Load::SINGLE, 4), [4, 3, 2, 1]);
}
