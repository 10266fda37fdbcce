//! One destination in the window: its lanes, and which of them may go.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::slots::Slots;
use super::{Limits, Range};
use crate::protocol::Timestamp;
use crate::queue::destination::{Breaker, BreakerState};
use crate::queue::lane::{LANE_ROWS, Lane, LaneKey, LaneState};
use crate::store::QueueRow;
use crate::transport::Load;

/// The most recipients of one message that go in one request.
const SIBLINGS: usize = 1_000;

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) lanes: HashMap<LaneKey, Lane>,
    /// Lanes that may go: urgent ones first, then by age.
    ready: BTreeSet<(u8, i64, LaneKey)>,
    slots: Slots,
    pub(super) rows: usize,
    pub(super) flights: usize,
    pub(super) breaker: Breaker,
    /// It is a mailbox that had no room last.
    pub(super) full: bool,
    /// From this number on its rows are not in memory.
    pub(super) parked: Option<i64>,
    pub(super) in_turn: bool,
}

/// What a destination can do now.
#[derive(Debug)]
pub(super) enum Step {
    Idle,
    Full,
    Until(Timestamp),
    Destination(Range),
    Lane(LaneKey, Range),
    /// Look again: something was put in order.
    Again,
    /// The first lane has to wait, perhaps because of the destination.
    Blocked(LaneKey, Timestamp, bool),
    /// Messages with their deliveries, the lanes of those, and the bytes of all.
    Dispatch(Vec<Vec<i64>>, HashMap<i64, LaneKey>, usize),
}

impl Entry {
    pub(super) fn new() -> Self {
        Self {
            lanes: HashMap::new(),
            ready: BTreeSet::new(),
            slots: Slots::default(),
            rows: 0,
            flights: 0,
            breaker: Breaker::new(),
            full: false,
            parked: None,
            in_turn: false,
        }
    }

    /// Everything it has in memory, by the piece.
    #[cfg(test)]
    pub(super) fn pieces(&self) -> usize {
        let rows = self.lanes.values().map(|lane| lane.rows.len());
        1 + self.lanes.len() + self.ready.len() + rows.sum::<usize>()
    }

    /// Whether nothing is lost when it is forgotten. One that is down is asked when its pause is over.
    pub(super) fn is_forgettable(&self) -> bool {
        self.lanes.is_empty() && self.flights == 0 && self.parked.is_none()
    }

    pub(super) fn step(&mut self, now: Timestamp, high: i64, limits: Limits, load: &Load) -> Step {
        let (allowed, load) = match self.breaker.state() {
            BreakerState::Closed => (limits.concurrency, *load),
            BreakerState::Open(until) if now < until => {
                return Step::Until(until);
            }
            BreakerState::Open(_) => (1, Load::SINGLE),
        };
        if self.flights >= allowed {
            return Step::Full;
        }
        let low = self.rows < limits.of_destination() / 4;
        if let Some(from) = self.parked
            && (self.ready.is_empty() || (low && allowed > 1))
        {
            let limit = limits
                .of_destination()
                .min(2_000)
                .saturating_sub(self.rows)
                .max(1);
            return Step::Destination(Range {
                from,
                to: high,
                limit,
            });
        }
        let Some((_, _, key)) = self.next() else {
            return Step::Idle;
        };
        if let Some((key, range)) = self.unread(key, high, &load) {
            return if range.from > range.to {
                // It comes with what is read next, or with the parked ones.
                self.caught_up(key);
                Step::Again
            } else {
                Step::Lane(key, range)
            };
        }
        if let Some((until, destination_fault)) = self.must_wait(key, now) {
            return Step::Blocked(key, until, destination_fault);
        }
        self.form(now, load)
    }

    /// The lane whose turn it is, with its place.
    fn next(&self) -> Option<(u8, i64, LaneKey)> {
        let urgency = self.slots.next(|urgency| self.waits(urgency))?;
        self.of_urgency(urgency)
    }

    fn waits(&self, urgency: u8) -> bool {
        self.of_urgency(urgency).is_some()
    }

    /// The oldest lane of this urgency that may go.
    fn of_urgency(&self, urgency: u8) -> Option<(u8, i64, LaneKey)> {
        let least = (urgency, i64::MIN, LaneKey::Pair(i64::MIN));
        let first = self.ready.range(least..).next().copied();
        first.filter(|(found, ..)| *found == urgency)
    }

    /// The first lane that is to be read before the next attempt, so that it carries what it can;
    /// `head` is the one whose turn it is.
    fn unread(&self, head: LaneKey, high: i64, load: &Load) -> Option<(LaneKey, Range)> {
        let mut gathered = 0;
        let others = self.ready.iter().map(|(_, _, key)| *key);
        let others = others.filter(|key| *key != head);
        for key in std::iter::once(head).chain(others) {
            let in_memory = self.lanes.get(&key)?.rows.len();
            if (key == head || in_memory == 0)
                && let Some(range) = self.to_read(key, high, load)
            {
                return Some((key, range));
            }
            gathered += in_memory;
            if gathered >= load.messages {
                break;
            }
        }
        None
    }

    /// What of a lane is to be read before it goes.
    fn to_read(&self, key: LaneKey, high: i64, load: &Load) -> Option<Range> {
        let lane = self.lanes.get(&key)?;
        let from = lane.behind?;
        let enough = load.messages.min(200);
        if !lane.rows.is_empty() && lane.rows.len() >= enough {
            return None;
        }
        let to = self.parked.map_or(high, |parked| high.min(parked - 1));
        Some(Range {
            from,
            to,
            limit: lane_room(lane.rows.len()),
        })
    }

    fn caught_up(&mut self, key: LaneKey) {
        if let Some(lane) = self.lanes.get_mut(&key) {
            lane.behind = None;
        }
        self.list(key);
    }

    /// Until when the head of a free lane must wait, and whether because of the destination.
    pub(super) fn must_wait(&self, key: LaneKey, now: Timestamp) -> Option<(Timestamp, bool)> {
        let lane = self.lanes.get(&key)?;
        if lane.state != LaneState::Free {
            return None;
        }
        let head = lane.rows.front()?;
        let until = head.deferred_until.filter(|until| *until > now)?;
        let failed_at = head.destination_failed_at;
        let came_back = self.breaker.recovered_at();
        if failed_at.is_some() && failed_at <= came_back {
            return None;
        }
        Some((until, failed_at.is_some()))
    }

    /// Takes what goes together: messages in order, each with all its recipients whose turn it is.
    fn form(&mut self, now: Timestamp, load: Load) -> Step {
        let mut groups = Vec::new();
        let mut taken: HashMap<i64, LaneKey> = HashMap::new();
        let mut keys = HashSet::new();
        let mut bytes = 0;
        while groups.len() < load.messages {
            let Some(place) = self.next() else {
                break;
            };
            let (urgency, _, first) = place;
            let Some(size) = self.head(first).map(|head| head.size) else {
                break;
            };
            if self.must_wait(first, now).is_some() {
                // Something before it in its lane goes now: what came of that decides.
                if !keys.contains(&first) {
                    break;
                }
                self.set(first, LaneState::Taken);
                continue;
            }
            if !groups.is_empty() && bytes + size > load.bytes {
                break;
            }
            bytes += size;
            let mut slots = std::mem::take(&mut self.slots);
            slots.took(urgency, |urgency| self.waits(urgency));
            self.slots = slots;
            let mut group = Vec::new();
            for key in self.siblings(place, now) {
                if let Some(row) = self.pop(key) {
                    group.push(row.seq);
                    taken.insert(row.seq, key);
                    keys.insert(key);
                }
            }
            groups.push(group);
        }
        for key in keys {
            self.set(key, LaneState::Taken);
        }
        if groups.is_empty() {
            return Step::Idle;
        }
        self.flights += 1;
        Step::Dispatch(groups, taken, bytes)
    }

    /// The lane at this place, and those listed behind it whose head is the same message.
    fn siblings(&self, place: (u8, i64, LaneKey), now: Timestamp) -> Vec<LaneKey> {
        let mut message = None;
        self.ready
            .range(place..)
            .map(|(_, _, key)| *key)
            .take_while(|key| {
                self.head(*key)
                    .is_some_and(|head| *message.get_or_insert(head.mid) == head.mid)
                    && self.must_wait(*key, now).is_none()
            })
            .take(SIBLINGS)
            .collect()
    }

    fn head(&self, key: LaneKey) -> Option<&QueueRow> {
        self.lanes.get(&key)?.rows.front()
    }

    /// Takes the head of a lane; its next row is listed in its place.
    fn pop(&mut self, key: LaneKey) -> Option<QueueRow> {
        let row = self.lanes.get_mut(&key)?.rows.pop_front()?;
        self.rows -= 1;
        let lane = self.lanes.get_mut(&key)?;
        if let Some((urgency, seq)) = lane.listed.take() {
            self.ready.remove(&(urgency, seq, key));
        }
        if let Some((urgency, seq)) = lane.rank() {
            lane.listed = Some((urgency, seq));
            self.ready.insert((urgency, seq, key));
        }
        Some(row)
    }

    pub(super) fn set(&mut self, key: LaneKey, state: LaneState) {
        if let Some(lane) = self.lanes.get_mut(&key) {
            lane.state = state;
        }
        self.list(key);
    }

    /// Lists a lane where it stands among those that may go; forgets it when it holds nothing.
    pub(super) fn list(&mut self, key: LaneKey) {
        let Some(lane) = self.lanes.get_mut(&key) else {
            return;
        };
        let rank = lane.rank();
        if lane.listed != rank {
            if let Some((urgency, seq)) = lane.listed {
                self.ready.remove(&(urgency, seq, key));
            }
            if let Some((urgency, seq)) = rank {
                self.ready.insert((urgency, seq, key));
            }
            lane.listed = rank;
        }
        if lane.is_empty() {
            self.lanes.remove(&key);
        }
    }

    /// Blocked lanes of which `which` says so may go again.
    pub(super) fn unblock(&mut self, which: impl Fn(bool) -> bool) {
        let keys: Vec<LaneKey> = self
            .lanes
            .iter()
            .filter(|(_, lane)| {
                matches!(lane.state, LaneState::Blocked { destination_fault, .. } if which(destination_fault))
            })
            .map(|(key, _)| *key)
            .collect();
        for key in keys {
            self.set(key, LaneState::Free);
        }
    }

    /// A blocked lane may go again if its time has come.
    pub(super) fn unblock_due(&mut self, key: LaneKey, now: Timestamp) {
        let due = self.lanes.get(&key).is_some_and(
            |lane| matches!(lane.state, LaneState::Blocked { until, .. } if until <= now),
        );
        if due {
            self.set(key, LaneState::Free);
        }
    }

    /// Forgets every lane, and that it is parked: all is read again.
    pub(super) fn forget(&mut self) {
        self.lanes.clear();
        self.ready.clear();
        self.rows = 0;
        self.parked = None;
    }

    /// Drops every row in memory; says how many. The lanes stay, so that nothing read is read twice.
    pub(super) fn shed(&mut self) -> usize {
        let keys: Vec<LaneKey> = self.lanes.keys().copied().collect();
        let mut shed = 0;
        for key in keys {
            if let Some(lane) = self.lanes.get_mut(&key)
                && !lane.rows.is_empty()
            {
                shed += lane.shed(None);
            }
            self.list(key);
        }
        self.rows -= shed;
        shed
    }
}

/// The most rows of a lane to read when so many are in memory.
fn lane_room(in_memory: usize) -> usize {
    LANE_ROWS.saturating_sub(in_memory).max(1)
}
