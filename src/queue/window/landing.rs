//! What came of an attempt, as the window takes it.

use std::collections::HashSet;
use std::time::Duration;

use super::{After, Lane, LaneKey, Report, Window};
use crate::protocol::Timestamp;

/// After a settlement that failed, its lanes are read again after this time.
const AGAIN: Duration = Duration::from_secs(5);
/// So many mailboxes are looked at when something left one.
const PROBED: usize = 64;

impl Window {
    /// An attempt was answered. Lanes in which all went well are free at once; the others when
    /// it is settled.
    pub(in crate::queue) fn answered(
        &mut self,
        id: u64,
        results: &[(i64, After)],
        report: (Report, f64),
        now: Timestamp,
    ) {
        let Some(flight) = self.flights.get_mut(&id) else {
            return;
        };
        let mut lanes: HashSet<LaneKey> = flight.lanes.values().copied().collect();
        for (seq, after) in results {
            let Some(key) = flight.lanes.get(seq) else {
                continue;
            };
            let stop = match after {
                After::Done => continue,
                After::Blocked {
                    until,
                    destination_fault,
                } => (*seq, *until, *destination_fault),
                After::Waits => (*seq, now, false),
                After::Overtaken(late) => (*late, now, false),
            };
            let first = flight.blocked.entry(*key).or_insert(stop);
            if stop.0 < first.0 {
                *first = stop;
            }
            lanes.remove(key);
        }
        flight.answered = true;
        let (name, reading) = (flight.destination.clone(), flight.reading);
        if self.is_stale(reading) {
            // Whether it is settled is not sure: its lanes wait until it has landed.
            lanes.clear();
        }
        for key in lanes {
            if matches!(key, LaneKey::Pair(_)) {
                self.free(&name, key, now);
            }
        }
        self.judge(&name, report, now);
        self.take_turn(&name);
    }

    /// What an attempt came to is on disk, or could not be put there.
    pub(in crate::queue) fn landed(&mut self, id: u64, settled: Result<(), ()>, now: Timestamp) {
        let Some(flight) = self.flights.remove(&id) else {
            return;
        };
        self.arrives(&flight);
        let name = flight.destination;
        self.bytes -= flight.bytes;
        self.entry(&name).flights -= 1;
        let mut blocked = flight.blocked;
        let held: HashSet<LaneKey> = blocked.keys().copied().collect();
        if settled.is_err() {
            for (seq, key) in &flight.lanes {
                let again = blocked
                    .entry(*key)
                    .or_insert((*seq, now.plus(AGAIN), false));
                again.0 = again.0.min(*seq);
                again.1 = now.plus(AGAIN);
            }
        }
        for key in flight.lanes.values() {
            if matches!(key, LaneKey::Alone(..)) {
                // What left its lane is read again when it is due.
                self.drop_lane(&name, *key);
            }
        }
        if self.is_stale(flight.reading) {
            self.land_stale(&name, &flight.lanes, &blocked, now);
            return self.take_turn(&name);
        }
        for (key, (seq, until, destination_fault)) in blocked {
            if flight.answered && !held.contains(&key) && self.is_taken_again(&name, key) {
                // What follows in its lane is under way already.
                self.read_again(&name, key, seq);
            } else if matches!(key, LaneKey::Pair(_)) {
                self.block(&name, key, (Some(seq), until, destination_fault));
            }
        }
        self.take_turn(&name);
    }

    /// Something left a mailbox: those without room are tried, up to a number of them.
    pub(in crate::queue) fn look_for_room(&mut self, now: Timestamp) {
        let full = self.destinations.iter().filter(|(_, entry)| entry.full);
        let names: Vec<String> = full.map(|(name, _)| name.clone()).take(PROBED).collect();
        for name in names {
            let entry = self.entry(&name);
            entry.breaker.probe_now(now);
            entry.unblock(|destination_fault| destination_fault);
            self.take_turn(&name);
        }
    }

    /// Learns from an attempt whether the destination is well.
    fn judge(&mut self, name: &str, (report, chance): (Report, f64), now: Timestamp) {
        let schedule = self.schedule;
        let entry = self.entry(name);
        entry.full = matches!(report, Report::Full(_)) || (entry.full && report == Report::Unknown);
        let report = match report {
            Report::Full(pause) => Report::Trouble(Some(pause)),
            other => other,
        };
        match report {
            Report::Unknown | Report::Full(_) => {}
            Report::Well => {
                if entry.breaker.succeeded(now) {
                    entry.unblock(|destination_fault| destination_fault);
                }
            }
            Report::Trouble(asked) => {
                if entry.breaker.failed(now, asked, (&schedule, chance)) {
                    let shed = entry.shed();
                    self.rows -= shed;
                }
            }
        }
    }

    pub(super) fn drop_lane(&mut self, name: &str, key: LaneKey) {
        let entry = self.entry(name);
        if let Some(lane) = entry.lanes.get_mut(&key) {
            let shed = lane.rows.len();
            *lane = Lane {
                listed: lane.listed,
                ..Lane::new()
            };
            entry.rows -= shed;
            entry.list(key);
            self.rows -= shed;
        }
    }
}
