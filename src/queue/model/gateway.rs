//! A gateway of the model: what the keeper, the manager and the carriers do, step by step.

use std::collections::BTreeMap;
use std::time::Duration;

use super::World;
use super::database::{Fate, peer};
use crate::queue::backoff::Schedule;
use crate::queue::late::{Lookout, Span};
use crate::queue::shards::{Idle, Ledger, Ownership};
use crate::queue::window::{After, Dispatch, Limits, Next, Report, Window};
use crate::store::{Claimed, ShardSet, shard_of};
use crate::transport::Load;

const SCHEDULE: Schedule = Schedule {
    initial: Duration::from_secs(1),
    max: Duration::from_secs(60),
    attempts: 168,
    give_up: Duration::from_secs(7 * 86_400),
};
const PAGE: usize = 12;

/// How far a dispatch has come; it may stay at each stage for a while.
#[derive(Debug)]
enum Stage {
    Launched,
    /// With what each delivery travels under, if it was read.
    Loaded(BTreeMap<i64, Option<u64>>),
    /// Allowed to go.
    Going,
    Answered(Vec<(i64, i64, Fate)>),
}

#[derive(Debug)]
struct Flight {
    dispatch: Dispatch,
    /// The epoch of each shard when it was launched.
    ownership: Ownership,
    stage: Stage,
    results: Vec<(i64, After)>,
    wires: BTreeMap<i64, u64>,
    early: bool,
    /// Nothing is heard of it until then.
    slow: Duration,
}

#[derive(Debug)]
enum Renewal {
    Sent(Duration, bool, Vec<u16>),
    Done(Duration, Claimed),
}

#[derive(Debug)]
pub(super) struct Gateway {
    node: u64,
    ledger: Ledger,
    renewal: Option<Renewal>,
    next_renewal: Duration,
    idle: Idle,
    window: Window,
    /// The version the window was reset for.
    version: u64,
    lookout: Lookout,
    flights: Vec<Flight>,
    /// Does nothing until then.
    stopped: Duration,
    /// Does not reach the database until then.
    cut: Duration,
}

impl Gateway {
    pub(super) fn new(world: &mut World) -> Self {
        let capacity = 6 + world.dice.index(60);
        let limits = Limits {
            rows: capacity,
            concurrency: 2,
            to_gateways: 2,
            to_mail: 2,
        };
        Self {
            node: world.mint(),
            ledger: Ledger::default(),
            renewal: None,
            next_renewal: world.now,
            idle: Idle::default(),
            window: Window::new(limits, SCHEDULE).sharing(),
            version: 0,
            lookout: Lookout::default(),
            flights: Vec::new(),
            stopped: Duration::ZERO,
            cut: Duration::ZERO,
        }
    }

    /// Everything in memory is gone, and another process takes its place.
    pub(super) fn crash(&mut self, world: &mut World) {
        world.excuse(self.under_way());
        world.disconnect(self.node);
        *self = Self::new(world);
        self.stopped = world.now + Duration::from_millis(world.dice.roll(40_000));
    }

    /// It is stopped, perhaps past its lease.
    pub(super) fn stop(&mut self, world: &mut World) {
        world.excuse(self.under_way());
        self.stopped = world.now + Duration::from_millis(world.dice.roll(50_000));
    }

    /// It does not reach the database.
    pub(super) fn cut(&mut self, world: &mut World) {
        world.disconnect(self.node);
        self.cut = world.now + Duration::from_millis(world.dice.roll(40_000));
    }

    fn under_way(&self) -> Vec<i64> {
        let groups = self.flights.iter().flat_map(|it| &it.dispatch.groups);
        groups.flatten().copied().collect()
    }

    fn reaches(&self, world: &World) -> bool {
        world.now >= self.cut
    }

    /// A client hands a delivery to this gateway.
    pub(super) fn submit(&mut self, world: &mut World, lane: i64) {
        let own = self.ledger.ownership().clone();
        let away = world.now < self.stopped || !self.reaches(world);
        if away || !own.is_known(world.now) {
            return;
        }
        let seq = world.database.next_seq();
        let alone = own.is_alone(world.now) && own.version() == self.version;
        let unread = !world.database.read(1, |row| row.lane == lane).is_empty();
        let early = (alone && own.may_use(shard_of(lane), world.now).is_some() && !unread)
            .then(|| {
                let name = peer(lane);
                self.window.send_early((&name, 100), &[(seq, lane)], |_| 0)
            })
            .flatten();
        world.submitted(seq, lane, early.is_some());
        world.database.begin(self.node, (seq, lane), world.now);
        if let Some(dispatch) = early {
            self.launch(dispatch, own, Stage::Loaded([(seq, None)].into()));
            self.flights.last_mut().unwrap().early = true;
        }
    }

    fn launch(&mut self, dispatch: Dispatch, ownership: Ownership, stage: Stage) {
        self.flights.push(Flight {
            dispatch,
            ownership,
            stage,
            results: Vec::new(),
            wires: BTreeMap::new(),
            early: false,
            slow: Duration::ZERO,
        });
    }

    pub(super) fn step(&mut self, world: &mut World) {
        if world.now < self.stopped {
            return;
        }
        if !self.reaches(world) {
            world.excuse(self.under_way());
        }
        self.keep(world);
        for _ in 0..world.dice.roll(4) {
            if self.reaches(world) {
                self.manage(world);
            }
            let count = self.flights.len();
            if count > 0 {
                let index = world.dice.index(count);
                self.fly(index, world);
            }
        }
    }

    /// The keeper: sends a renewal, which the database does later, and hears of it later still.
    fn keep(&mut self, world: &mut World) {
        if !self.reaches(world) {
            // What was sent may have been done all the same; nobody hears of it.
            if let Some(Renewal::Sent(_, alone, give_up)) = self.renewal.take()
                && world.dice.one_in(2)
            {
                world.database.renew(self.node, alone, &give_up, world.now);
            }
            return;
        }
        match self.renewal.take() {
            None if world.now >= self.next_renewal => {
                let give_up = self.ledger.to_give_up(&self.idle);
                let alone = self.ledger.ownership().is_alone(world.now);
                self.renewal = Some(Renewal::Sent(world.now, alone, give_up));
            }
            None => {}
            Some(Renewal::Sent(sent, alone, give_up)) => {
                let claimed = world.database.renew(self.node, alone, &give_up, world.now);
                self.renewal = Some(Renewal::Done(sent, claimed));
            }
            Some(done) if !world.dice.one_in(3) => self.renewal = Some(done),
            Some(Renewal::Done(sent, claimed)) => {
                self.ledger.renewed(sent, &claimed);
                self.next_renewal = world.now + Duration::from_secs(1);
            }
        }
    }

    /// The manager: takes note of changes, reads, and lets go what may go.
    fn manage(&mut self, world: &mut World) {
        let own = self.ledger.ownership().clone();
        if own.version() != self.version {
            self.version = own.version();
            self.window.reset(*own.usable());
        }
        let idle = own.leaving().without(&self.window.under_way());
        self.idle = Idle {
            version: self.version,
            shards: idle,
        };
        if !own.is_current(world.now) {
            return;
        }
        let now = world.time();
        let mine = *own.usable();
        let limit = self.window.room().min(PAGE);
        if limit > 0 {
            let high = self.window.high();
            let rows = world
                .database
                .read(limit, |row| row.seq > high && of(&mine, row.lane));
            self.window.feed(rows, now);
        }
        if world.now >= self.lookout.next_look() {
            self.look(world, &mine);
        }
        let load = Load {
            messages: 1 + world.dice.index(4),
            bytes: 1_000,
        };
        match self.window.next(now, |_| load) {
            Next::Dispatch(dispatch) => self.launch(dispatch, own, Stage::Launched),
            Next::Lane(name, key, range) => {
                let shard = key.shard();
                let rows = world.database.read(range.limit, |row| {
                    crate::queue::lane::LaneKey::Pair(row.lane) == key
                        && (range.from..=range.to).contains(&row.seq)
                });
                assert!(mine.contains(shard), "a lane of another gateway is read");
                self.window.lane_read((&name, key), range, rows, now);
            }
            Next::Destination(name, range) => {
                let rows = world.database.read(range.limit, |row| {
                    row.destination == name
                        && (range.from..=range.to).contains(&row.seq)
                        && of(&mine, row.lane)
                });
                self.window.destination_read(&name, range, rows, now);
            }
            Next::Wait(_) => {}
        }
    }

    fn look(&mut self, world: &World, mine: &ShardSet) {
        self.lookout.looked(world.now, world.database.newest());
        let high = self.window.high();
        let inside = |span: Span, limit| {
            world.database.read(limit, |row| {
                row.seq > span.after && row.seq <= span.upto && of(mine, row.lane)
            })
        };
        if let Some(span) = self.lookout.recent(high) {
            let rows = inside(span, usize::MAX);
            self.window.feed_late(rows, world.time());
        }
        if let Some(span) = self.lookout.to_sweep(high) {
            let rows = inside(span, PAGE);
            let more = rows.len() == PAGE;
            self.lookout
                .swept(rows.last().map(|row| row.seq).filter(|_| more));
            self.window.feed_late(rows, world.time());
        }
    }

    /// One dispatch goes on to its next stage.
    fn fly(&mut self, index: usize, world: &mut World) {
        let current = self.ledger.ownership().clone();
        let reaches = self.reaches(world);
        let mut flight = self.flights.swap_remove(index);
        if world.dice.one_in(25) {
            flight.slow = world.now + Duration::from_millis(world.dice.roll(12_000));
        }
        if world.now < flight.slow {
            return self.flights.push(flight);
        }
        flight.stage = match std::mem::replace(&mut flight.stage, Stage::Launched) {
            Stage::Launched if reaches => flight.load(world),
            Stage::Loaded(wires) if reaches => flight.identify(wires, &current, world),
            Stage::Going => flight.attempt(&mut self.window, world),
            Stage::Answered(results) if reaches => {
                let fails = world.dice.one_in(40);
                let ready = !flight.early || !world.database.is_open(&flight.dispatch.groups);
                if !ready {
                    flight.stage = Stage::Answered(results);
                    return self.flights.push(flight);
                }
                if fails {
                    world.excuse(flight.dispatch.groups.concat());
                } else {
                    world.settle(&results);
                }
                let settled = if fails { Err(()) } else { Ok(()) };
                return self
                    .window
                    .landed(flight.dispatch.id, settled, world.time());
            }
            other => other,
        };
        self.flights.push(flight);
    }
}

fn of(mine: &ShardSet, lane: i64) -> bool {
    mine.contains(shard_of(lane))
}

impl Flight {
    /// Reads the deliveries; a lane with an earlier one that came late does not go.
    fn load(&mut self, world: &World) -> Stage {
        let going = self.dispatch.groups.concat();
        let but = [going.clone(), self.dispatch.before.clone()].concat();
        let mut wires = BTreeMap::new();
        for seq in going {
            let Some(row) = world.database.rows.get(&seq) else {
                self.results.push((seq, After::Done));
                continue;
            };
            match world.database.before(seq, &but) {
                Some(late) => self.results.push((seq, After::Overtaken(late))),
                None => drop(wires.insert(seq, row.wire)),
            }
        }
        Stage::Loaded(wires)
    }

    /// Whether the attempt may begin, and what it travels under: that is on disk first, unless
    /// another gateway has put another there.
    fn identify(
        &mut self,
        wires: BTreeMap<i64, Option<u64>>,
        current: &Ownership,
        world: &mut World,
    ) -> Stage {
        let mut stopped: Vec<i64> = Vec::new();
        for (seq, wire) in wires {
            let lane = world.known[&seq].lane;
            let shard = shard_of(lane);
            let epoch = self.ownership.epoch(shard);
            let may = current.may_use(shard, world.now).is_some()
                && current.may_use(shard, world.now) == epoch;
            let known = &world.known[&seq];
            // Half of them travel under their own identity, the others under one that is made.
            let own = known.early || seq % 2 == 0;
            let made = (seq.unsigned_abs() << 32) | world.mint();
            let fresh = if own { seq.unsigned_abs() } else { made };
            let identity = match world.database.rows.get_mut(&seq) {
                _ if own => Some(fresh),
                Some(row) if row.wire == wire => Some(*row.wire.get_or_insert(fresh)),
                _ => None,
            };
            match identity.filter(|_| may && !stopped.contains(&lane)) {
                Some(identity) => drop(self.wires.insert(seq, identity)),
                None => {
                    stopped.push(lane);
                    let until = world.time();
                    let blocked = After::Blocked {
                        until,
                        destination_fault: false,
                    };
                    self.results.push((seq, blocked));
                }
            }
        }
        Stage::Going
    }

    /// The peer hears of it, and the manager hears of that.
    fn attempt(&mut self, window: &mut Window, world: &mut World) -> Stage {
        let now = world.time();
        let name = &self.dispatch.destination;
        let down = world.down.get(name).is_some_and(|until| *until > world.now);
        if !down && world.dice.one_in(30) {
            let until = world.now + Duration::from_millis(world.dice.roll(8_000));
            world.down.insert(name.clone(), until);
        }
        let mut stopped: Vec<i64> = Vec::new();
        let mut fates = Vec::new();
        let going: Vec<(i64, u64)> = self.wires.iter().map(|(seq, wire)| (*seq, *wire)).collect();
        for (seq, identity) in going {
            let lane = world.known[&seq].lane;
            let fate = if down || stopped.contains(&lane) || world.dice.one_in(8) {
                stopped.push(lane);
                let pause = Duration::from_millis(world.dice.roll(3_000));
                Fate::Deferred(now.plus(pause))
            } else if world.dice.one_in(30) {
                world.known.get_mut(&seq).unwrap().refused = true;
                Fate::Failed
            } else {
                world.arrive(seq, identity);
                Fate::Delivered
            };
            let after = match fate {
                Fate::Deferred(until) => After::Blocked {
                    until,
                    destination_fault: down,
                },
                _ => After::Done,
            };
            self.results.push((seq, after));
            let epoch = self.ownership.epoch(shard_of(lane)).unwrap_or(-1);
            fates.push((seq, epoch, fate));
        }
        let report = match (down, fates.is_empty()) {
            (_, true) => Report::Unknown,
            (true, _) => Report::Trouble(None),
            (false, _) => Report::Well,
        };
        window.answered(self.dispatch.id, &self.results, (report, 0.5), now);
        Stage::Answered(fates)
    }
}
