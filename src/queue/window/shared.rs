//! The window where several gateways share the database: pure.
//!
//! - It holds lanes of the own shards only. When these change it forgets what it holds, but for
//!   what is under way, and reads again from the start.
//! - A lane of which something is under way from an earlier reading stays taken until that has
//!   landed, and is then read again from there: whether it was settled is the store's matter.
//! - Rows may become visible late, below the high mark, because several connections commit. They
//!   are taken in at their place as long as what follows them has not gone yet.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{BreakerState, Flight, Lane, LaneKey, LaneState, Timer, Window};
use crate::protocol::Timestamp;
use crate::queue::lane;
use crate::store::{QueueRow, ShardSet, shard_of};

/// What a window of a shared database knows beside the others.
#[derive(Debug, Default)]
pub(super) struct Shared {
    mine: ShardSet,
    /// Grows with each reading from the start.
    reading: u64,
    /// Deliveries under way, until they have landed.
    airborne: BTreeSet<(LaneKey, i64)>,
}

impl Window {
    /// The window of a database that is shared. It holds nothing before it is told its shards.
    pub(in crate::queue) fn sharing(self) -> Self {
        Self {
            shared: Some(Shared::default()),
            ..self
        }
    }

    /// From now on these are the own shards: everything is read again from the start.
    pub(in crate::queue) fn reset(&mut self, mine: ShardSet) {
        let Some(shared) = &mut self.shared else {
            return;
        };
        shared.mine = mine;
        shared.reading += 1;
        (self.high, self.rows) = (0, 0);
        self.early.clear();
        self.timers
            .retain(|(_, timer)| matches!(timer, Timer::Destination(_)));
        self.destinations
            .values_mut()
            .for_each(|entry| entry.forget());
        for flight in self.flights.values() {
            let Some(entry) = self.destinations.get_mut(&flight.destination) else {
                continue;
            };
            for key in flight.lanes.values() {
                let mut taken = Lane::new();
                taken.state = LaneState::Taken;
                entry.lanes.insert(*key, taken);
            }
        }
        let names: Vec<String> = self.destinations.keys().cloned().collect();
        names.iter().for_each(|name| self.take_turn(name));
    }

    /// The shards of which something is under way.
    pub(in crate::queue) fn under_way(&self) -> ShardSet {
        let keys = self.flights.values().flat_map(|it| it.lanes.values());
        keys.map(|key| key.shard()).collect()
    }

    /// From which number on, if at all, everything of a destination stands behind.
    pub(in crate::queue) fn parked_from(&self, upto: i64) -> Vec<&str> {
        let parked = self
            .destinations
            .iter()
            .filter(|(_, entry)| entry.parked.is_some_and(|from| from <= upto));
        parked.map(|(name, _)| name.as_str()).collect()
    }

    /// Takes rows up to the high mark, in order; those that are known already change nothing.
    pub(in crate::queue) fn feed_late(&mut self, rows: Vec<QueueRow>, now: Timestamp) {
        for row in rows {
            if row.seq > self.high || row.loose || self.early.contains(&row.seq) {
                continue;
            }
            if self.wants(&row) {
                self.place_late(row, now);
            }
        }
    }

    /// Everything in memory, by the piece.
    #[cfg(test)]
    pub(in crate::queue) fn pieces(&self) -> usize {
        let of_entries: usize = self.destinations.values().map(|it| it.pieces()).sum();
        let flights: usize = self.flights.values().map(|it| 1 + it.lanes.len()).sum();
        let airborne = self.shared.as_ref().map_or(0, |it| it.airborne.len());
        let waiting = self.turns.len() + self.timers.len() + self.early.len();
        of_entries + flights + airborne + waiting
    }

    fn place_late(&mut self, row: QueueRow, now: Timestamp) {
        let (name, key) = (row.destination.clone(), LaneKey::of(&row));
        let (room, cap) = (self.room(), self.limits.of_destination());
        let entry = self.entry(&name);
        if entry.parked.is_some_and(|parked| parked <= row.seq) {
            return;
        }
        let closed = entry.breaker.state() == BreakerState::Closed;
        let has_room = room > 0 && closed && entry.rows < cap;
        let lane = entry.lanes.entry(key).or_insert_with(Lane::new);
        let (came, went) = lane.push_late(row, || has_room);
        entry.rows = entry.rows + came - went;
        self.rows = self.rows + came - went;
        self.look_at(&name, key, now);
        self.take_turn(&name);
    }

    /// Whether a row that was read is to be held: its lane is ours, and it is not under way.
    pub(super) fn wants(&self, row: &QueueRow) -> bool {
        self.shared.as_ref().is_none_or(|shared| {
            let keys = [LaneKey::Pair(row.lane), LaneKey::Alone(row.seq, row.lane)];
            shared.mine.contains(shard_of(row.lane))
                && !keys
                    .iter()
                    .any(|key| shared.airborne.contains(&(*key, row.seq)))
        })
    }

    /// Notes deliveries that go; says in which reading, and what of their lanes is not settled yet.
    pub(super) fn departs(&mut self, lanes: &HashMap<i64, LaneKey>) -> (u64, Vec<i64>) {
        let Some(shared) = &mut self.shared else {
            return (0, Vec::new());
        };
        let keys: BTreeSet<LaneKey> = lanes.values().copied().collect();
        let before = keys.iter().flat_map(|key| shared.of_lane(*key)).collect();
        let going = lanes.iter().map(|(seq, key)| (*key, *seq));
        shared.airborne.extend(going);
        (shared.reading, before)
    }

    /// Notes that a flight has landed.
    pub(super) fn arrives(&mut self, flight: &Flight) {
        if let Some(shared) = &mut self.shared {
            for (seq, key) in &flight.lanes {
                shared.airborne.remove(&(*key, *seq));
            }
        }
    }

    /// Whether something of a lane is under way, or not settled yet.
    pub(super) fn is_airborne(&self, key: LaneKey) -> bool {
        self.shared
            .as_ref()
            .is_some_and(|shared| shared.of_lane(key).next().is_some())
    }

    /// Whether another flight has taken a lane meanwhile.
    pub(super) fn is_taken_again(&self, name: &str, key: LaneKey) -> bool {
        let lane = || self.destinations.get(name)?.lanes.get(&key);
        self.is_airborne(key) && lane().is_some_and(|lane| lane.state == LaneState::Taken)
    }

    /// Whether everything was read from the start since that reading.
    pub(super) fn is_stale(&self, reading: u64) -> bool {
        self.shared
            .as_ref()
            .is_some_and(|shared| shared.reading != reading)
    }

    /// Lands a flight of an earlier reading: its lanes are read again from its first delivery,
    /// unless they are somebody else's now.
    pub(super) fn land_stale(
        &mut self,
        name: &str,
        flown: &HashMap<i64, LaneKey>,
        blocked: &HashMap<LaneKey, (i64, Timestamp, bool)>,
        now: Timestamp,
    ) {
        let mut first: BTreeMap<LaneKey, i64> = BTreeMap::new();
        let early = blocked.iter().map(|(key, (seq, ..))| (*key, *seq));
        for (key, seq) in flown.iter().map(|(seq, key)| (*key, *seq)).chain(early) {
            let least = first.entry(key).or_insert(seq);
            *least = seq.min(*least);
        }
        for (key, seq) in first {
            if matches!(key, LaneKey::Alone(..)) {
                continue;
            }
            let mine = self.shared.as_ref().map(|shared| shared.mine);
            if !mine.is_some_and(|mine| mine.contains(key.shard())) {
                self.drop_lane(name, key);
                continue;
            }
            self.read_again(name, key, seq);
            if self.is_airborne(key) {
                continue;
            }
            match blocked.get(&key) {
                Some((_, until, fault)) => self.block(name, key, (Some(seq), *until, *fault)),
                None => self.free(name, key, now),
            }
        }
    }

    /// Lets a lane be read again from a number, if that was read before.
    pub(super) fn read_again(&mut self, name: &str, key: LaneKey, from: i64) {
        if from > self.high {
            return;
        }
        let entry = self.entry(name);
        let lane = entry.lanes.entry(key).or_insert_with(lane::Lane::new);
        let shed = lane.shed(Some(from));
        entry.rows -= shed;
        entry.list(key);
        self.rows -= shed;
    }
}

impl Shared {
    fn of_lane(&self, key: LaneKey) -> impl Iterator<Item = i64> + '_ {
        self.airborne
            .range((key, i64::MIN)..=(key, i64::MAX))
            .map(|(_, seq)| *seq)
    }
}
