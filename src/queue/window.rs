//! What of the queue is in memory, and what may go next: pure, without I/O or clock.
//!
//! - Every waiting delivery is in exactly one place: above the high mark (not read yet), in a lane
//!   in memory, behind a lane's mark, or behind the mark of a parked destination.
//! - A destination that is down, or that holds too much of the window, is parked: what comes for
//!   it is not kept, and is read again by its index when its turn comes. So a million rows for one
//!   destination do not stand in the way of the others.
//! - Of a lane one request, or one batch, is under way. A lane whose head must wait is blocked.
//! - Inside a destination the lane with the most urgent head goes first, and less urgent ones have
//!   their share all the same: see `window/slots.rs`. The order inside a lane stays.
//! - What could not be settled is read again.
//! - Where the database is shared only lanes of the own shards are held, and rows may become
//!   visible late: see `window/shared.rs`.

mod entry;
mod landing;
mod parts;
mod shared;
mod slots;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use super::backoff::Schedule;
use super::destination::BreakerState;
use super::lane::{Lane, LaneKey, LaneState};
use crate::protocol::Timestamp;
use crate::store::QueueRow;
use crate::transport::Load;
use entry::{Entry, Step};
pub(super) use parts::{After, Dispatch, Limits, Next, Range, Report};
use parts::{FLIGHTS, FLYING_BYTES, Flight, Timer};
use shared::Shared;

/// The part of the queue that is in memory.
#[derive(Debug)]
pub(super) struct Window {
    destinations: HashMap<String, Entry>,
    /// Destinations that may have something to send.
    turns: VecDeque<String>,
    flights: HashMap<u64, Flight>,
    timers: BTreeSet<(Timestamp, Timer)>,
    /// Deliveries that were sent before they were read, above the high mark.
    early: HashSet<i64>,
    high: i64,
    rows: usize,
    /// Bytes of the messages under way.
    bytes: usize,
    limits: Limits,
    schedule: Schedule,
    next_id: u64,
    /// Where the database is shared.
    shared: Option<Shared>,
}

impl Window {
    pub(super) fn new(limits: Limits, schedule: Schedule) -> Self {
        Self {
            destinations: HashMap::new(),
            turns: VecDeque::new(),
            flights: HashMap::new(),
            timers: BTreeSet::new(),
            early: HashSet::new(),
            high: 0,
            rows: 0,
            bytes: 0,
            limits,
            schedule,
            next_id: 0,
            shared: None,
        }
    }

    /// All up to this number was read.
    pub(super) const fn high(&self) -> i64 {
        self.high
    }

    /// How many rows may be read now.
    pub(super) const fn room(&self) -> usize {
        self.limits.rows.saturating_sub(self.rows)
    }

    /// Whether there is room for so many rows, or for a fourth of all that it holds.
    pub(super) fn has_room_for(&self, rows: usize) -> bool {
        self.room() >= rows.min(self.limits.rows / 4)
    }

    /// Rows in memory, and dispatches under way.
    pub(super) fn held(&self) -> (usize, usize) {
        (self.rows, self.flights.len())
    }

    /// Destinations to which nothing goes at present, and until when.
    pub(super) fn down(&self) -> Vec<(&str, Timestamp)> {
        let down = self.destinations.iter().filter_map(|(name, entry)| {
            let BreakerState::Open(until) = entry.breaker.state() else {
                return None;
            };
            Some((name.as_str(), until))
        });
        down.collect()
    }

    /// Whether a delivery is under way.
    pub(super) fn is_under_way(&self, seq: i64) -> bool {
        self.flights
            .values()
            .any(|flight| flight.lanes.contains_key(&seq))
    }

    /// Takes rows above the high mark, in order.
    pub(super) fn feed(&mut self, rows: Vec<QueueRow>, now: Timestamp) {
        for row in rows {
            self.high = self.high.max(row.seq);
            if self.early.remove(&row.seq) || !self.wants(&row) {
                continue;
            }
            let cap = self.limits.of_destination();
            let name = row.destination.clone();
            let entry = self.entry(&name);
            if entry.parked.is_some() {
                continue;
            }
            let open = entry.breaker.state() != BreakerState::Closed;
            if open || entry.rows >= cap {
                entry.parked = Some(row.seq);
            } else {
                self.place(row, now);
            }
            self.take_turn(&name);
        }
        let high = self.high;
        self.early.retain(|seq| *seq > high);
    }

    /// Takes deliveries that left their lanes and are due.
    pub(super) fn feed_loose(&mut self, rows: Vec<QueueRow>, now: Timestamp) {
        for row in rows {
            let name = row.destination.clone();
            let known = self.entry(&name).lanes.contains_key(&LaneKey::of(&row));
            if !known && self.room() > 0 && self.wants(&row) {
                self.place(row, now);
                self.take_turn(&name);
            }
        }
    }

    /// Takes the rows of a lane that were asked for.
    pub(super) fn lane_read(
        &mut self,
        (name, key): (&str, LaneKey),
        range: Range,
        rows: Vec<QueueRow>,
        now: Timestamp,
    ) {
        let complete = rows.len() < range.limit;
        let after = rows.last().map_or(range.to, |row| row.seq) + 1;
        let wanted: Vec<QueueRow> = rows.into_iter().filter(|row| self.wants(row)).collect();
        let entry = self.entry(name);
        let Some(lane) = entry.lanes.get_mut(&key) else {
            return;
        };
        lane.behind = None;
        let mut kept = 0;
        for row in wanted {
            kept += usize::from(lane.push(row));
        }
        if !complete && lane.behind.is_none() {
            lane.behind = Some(after);
        }
        entry.rows += kept;
        self.rows += kept;
        self.look_at(name, key, now);
        self.take_turn(name);
    }

    /// Takes the rows of a parked destination that were asked for.
    pub(super) fn destination_read(
        &mut self,
        name: &str,
        range: Range,
        rows: Vec<QueueRow>,
        now: Timestamp,
    ) {
        let complete = rows.len() < range.limit;
        let after = rows.last().map_or(range.to, |row| row.seq) + 1;
        self.entry(name).parked = (!complete).then_some(after);
        for row in rows {
            if self.wants(&row) {
                self.place(row, now);
            }
        }
        self.take_turn(name);
    }

    /// What to do next. `load` says how much one attempt may carry to a destination.
    pub(super) fn next(&mut self, now: Timestamp, load: impl Fn(&str) -> Load) -> Next {
        self.ring(now);
        while self.may_fly()
            && let Some(name) = self.turns.pop_front()
        {
            let (high, limits) = (self.high, self.limits.toward(&name));
            let entry = self.entry(&name);
            entry.in_turn = false;
            match entry.step(now, high, limits, &load(&name)) {
                Step::Idle => {
                    if entry.is_forgettable() {
                        self.destinations.remove(&name);
                    }
                }
                Step::Full => {}
                Step::Until(until) => {
                    self.timers.insert((until, Timer::Destination(name)));
                }
                Step::Destination(range) => return Next::Destination(name, range),
                Step::Lane(key, range) => return Next::Lane(name, key, range),
                Step::Again => self.take_turn(&name),
                Step::Blocked(key, until, destination_fault) => {
                    self.block(&name, key, (None, until, destination_fault));
                    self.take_turn(&name);
                }
                Step::Dispatch(groups, lanes, bytes) => {
                    self.rows -= lanes.len();
                    self.take_turn(&name);
                    return Next::Dispatch(self.fly(name, groups, (lanes, bytes)));
                }
            }
        }
        Next::Wait(self.timers.first().map(|(at, _)| *at))
    }

    /// Sends deliveries that were not read, if nothing stands before them: each with its lane.
    /// `latest` says up to which number a lane may have rows that were not read.
    pub(super) fn send_early(
        &mut self,
        (name, bytes): (&str, usize),
        deliveries: &[(i64, i64)],
        latest: impl Fn(i64) -> i64,
    ) -> Option<Dispatch> {
        if !self.may_fly() {
            return None;
        }
        let (concurrency, high) = (self.limits.toward(name).concurrency, self.high);
        let entry = self.entry(name);
        let free = entry.breaker.state() == BreakerState::Closed
            && entry.parked.is_none()
            && entry.flights < concurrency
            && deliveries.iter().all(|(_, lane)| {
                latest(*lane) <= high && !entry.lanes.contains_key(&LaneKey::Pair(*lane))
            });
        if !free {
            return None;
        }
        let mut lanes = HashMap::new();
        for (seq, lane) in deliveries {
            let key = LaneKey::Pair(*lane);
            let mut taken = Lane::new();
            taken.state = LaneState::Taken;
            entry.lanes.insert(key, taken);
            lanes.insert(*seq, key);
        }
        entry.flights += 1;
        self.early.extend(
            deliveries
                .iter()
                .map(|(seq, _)| *seq)
                .filter(|seq| *seq > high),
        );
        let group = deliveries.iter().map(|(seq, _)| *seq).collect();
        Some(self.fly(name.to_owned(), vec![group], (lanes, bytes)))
    }

    /// Something was changed from outside: every blocked lane is looked at again, and every
    /// destination that is down is tried.
    pub(super) fn look_again(&mut self, now: Timestamp) {
        let names: Vec<String> = self.destinations.keys().cloned().collect();
        for name in names {
            let entry = self.entry(&name);
            entry.breaker.probe_now(now);
            entry.unblock(|_| true);
            self.take_turn(&name);
        }
    }

    /// Whether there is room for another dispatch: what is under way is in memory as a whole.
    fn may_fly(&self) -> bool {
        self.flights.len() < FLIGHTS && self.bytes < FLYING_BYTES
    }

    fn fly(
        &mut self,
        destination: String,
        groups: Vec<Vec<i64>>,
        (lanes, bytes): (HashMap<i64, LaneKey>, usize),
    ) -> Dispatch {
        self.next_id += 1;
        self.bytes += bytes;
        let (reading, before) = self.departs(&lanes);
        let flight = Flight {
            destination: destination.clone(),
            bytes,
            lanes,
            reading,
            answered: false,
            blocked: HashMap::new(),
        };
        self.flights.insert(self.next_id, flight);
        Dispatch {
            id: self.next_id,
            destination,
            groups,
            before,
        }
    }

    /// Wakes what is due.
    fn ring(&mut self, now: Timestamp) {
        while let Some((at, _)) = self.timers.first() {
            if *at > now {
                return;
            }
            match self.timers.pop_first() {
                Some((_, Timer::Destination(name))) => self.take_turn(&name),
                Some((_, Timer::Lane(name, key))) => {
                    if let Some(entry) = self.destinations.get_mut(&name) {
                        entry.unblock_due(key, now);
                        self.take_turn(&name);
                    }
                }
                None => return,
            }
        }
    }

    /// Puts a row into its lane.
    fn place(&mut self, row: QueueRow, now: Timestamp) {
        let (name, key) = (row.destination.clone(), LaneKey::of(&row));
        let entry = self.entry(&name);
        let kept = entry.lanes.entry(key).or_insert_with(Lane::new).push(row);
        entry.rows += usize::from(kept);
        self.rows += usize::from(kept);
        self.look_at(&name, key, now);
    }

    /// Blocks a lane whose head must wait, and lists it where it stands.
    fn look_at(&mut self, name: &str, key: LaneKey, now: Timestamp) {
        let entry = self.entry(name);
        if let Some((until, destination_fault)) = entry.must_wait(key, now) {
            self.block(name, key, (None, until, destination_fault));
        } else {
            entry.list(key);
        }
    }

    /// Lets a lane wait: what it has in memory stands behind, and so does the delivery `from`.
    fn block(
        &mut self,
        name: &str,
        key: LaneKey,
        (from, until, destination_fault): (Option<i64>, Timestamp, bool),
    ) {
        let high = self.high;
        if let Some(seq) = from.filter(|seq| *seq > high) {
            // It comes with what is read next.
            self.early.remove(&seq);
        }
        let entry = self.entry(name);
        let Some(lane) = entry.lanes.get_mut(&key) else {
            return;
        };
        let shed = lane.shed(from.filter(|seq| *seq <= high));
        lane.state = LaneState::Blocked {
            until,
            destination_fault,
        };
        entry.rows -= shed;
        entry.list(key);
        self.rows -= shed;
        self.timers
            .insert((until, Timer::Lane(name.to_owned(), key)));
    }

    fn free(&mut self, name: &str, key: LaneKey, now: Timestamp) {
        self.entry(name).set(key, LaneState::Free);
        self.look_at(name, key, now);
    }

    fn take_turn(&mut self, name: &str) {
        let entry = self.entry(name);
        if !entry.in_turn {
            entry.in_turn = true;
            self.turns.push_back(name.to_owned());
        }
    }

    fn entry(&mut self, name: &str) -> &mut Entry {
        if !self.destinations.contains_key(name) {
            self.destinations.insert(name.to_owned(), Entry::new());
        }
        self.destinations
            .get_mut(name)
            .expect("it was put there if it was missing")
    }
}

#[cfg(test)]
mod tests;
