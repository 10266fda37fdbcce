//! A model of commit, shard, lane and settle with several gateways over one database.
//!
//! The parts that decide are the real ones: [`Window`], [`Ledger`], [`Lookout`]. The database, the
//! peer and the way between them are small stand-ins. At every step a gateway may crash, be stopped
//! past its lease, or be cut from the database. What has to hold:
//!
//! - nothing that was promised is lost, and everything committed is delivered or given up;
//! - a delivery arrives twice only after a crash, a stop or a cut, under the same wire identity;
//! - what was submitted after an earlier one of its lane was promised does not arrive before it.

mod database;
mod gateway;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::{ProptestConfig, any, proptest};

use crate::protocol::Timestamp;
use database::Database;
use gateway::Gateway;

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

    fn one_in(&mut self, sides: u64) -> bool {
        self.roll(sides) == 0
    }

    fn index(&mut self, of: usize) -> usize {
        usize::try_from(self.roll(u64::try_from(of).unwrap())).unwrap()
    }
}

/// What somebody who sees everything knows of a delivery.
#[derive(Debug, Default)]
struct Known {
    lane: i64,
    /// Deliveries of its lane that were promised when it was submitted.
    after: Vec<i64>,
    /// Its sender has its 202.
    promised: bool,
    /// It was promised before it was on disk.
    early: bool,
    committed: bool,
    /// It never came to disk.
    gone: bool,
    /// Something happened while it was under way: it may arrive twice.
    excused: bool,
    /// A peer refused it for good; whether that is on disk is another matter.
    refused: bool,
    failed: bool,
    arrived: usize,
    identities: BTreeSet<u64>,
}

/// The world around the gateways.
struct World {
    dice: Dice,
    now: Duration,
    database: Database,
    known: BTreeMap<i64, Known>,
    /// Of each peer until when it is down.
    down: BTreeMap<String, Duration>,
    minted: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            dice: Dice(seed),
            now: Duration::from_secs(1_000),
            database: Database::new(),
            known: BTreeMap::new(),
            down: BTreeMap::new(),
            minted: 0,
        }
    }

    fn time(&self) -> Timestamp {
        Timestamp::from_millis(i64::try_from(self.now.as_millis()).unwrap())
    }

    fn mint(&mut self) -> u64 {
        self.minted += 1;
        self.minted
    }

    /// A new delivery of a lane: what it has to come after.
    fn submitted(&mut self, seq: i64, lane: i64, early: bool) {
        let promised = self
            .known
            .iter()
            .filter(|(_, it)| it.lane == lane && it.promised && !it.gone);
        let after = promised.map(|(seq, _)| *seq).collect();
        let known = Known {
            lane,
            after,
            promised: early,
            early,
            ..Known::default()
        };
        assert!(self.known.insert(seq, known).is_none());
    }

    /// The peer takes a delivery.
    fn arrive(&mut self, seq: i64, identity: u64) {
        let it = &self.known[&seq];
        let first = it.arrived == 0;
        if first && !it.refused && !(it.early && it.excused) {
            for before in &it.after {
                let other = &self.known[before];
                // What was never on disk, or was sent before it was, has no place after a crash.
                let lawless = other.gone || other.refused || (other.early && other.excused);
                assert!(
                    other.arrived > 0 || lawless,
                    "{seq} arrived before {before}: {it:?} {other:?}"
                );
            }
        }
        let it = self.known.get_mut(&seq).unwrap();
        assert!(first || it.excused, "{seq} arrived twice: {it:?}");
        it.arrived += 1;
        it.identities.insert(identity);
        assert_eq!(it.identities.len(), 1, "{seq} arrived under two identities");
    }

    fn excuse(&mut self, seqs: impl IntoIterator<Item = i64>) {
        for seq in seqs {
            if let Some(it) = self.known.get_mut(&seq) {
                it.excused = true;
            }
        }
    }

    /// Whether everything that will be delivered is.
    fn is_quiet(&self) -> bool {
        self.database.is_quiet()
            && self
                .known
                .values()
                .all(|it| it.arrived > 0 || it.failed || it.gone)
    }
}

const LANES: u64 = 7;
/// A gateway is in trouble in one of so many steps.
const TROUBLE: u64 = 250;

/// Plays until `total` deliveries have met their ends.
fn play(seed: u64, gateways: usize, total: usize) {
    let mut world = World::new(seed);
    let mut nodes: Vec<Gateway> = (0..gateways).map(|_| Gateway::new(&mut world)).collect();
    let mut steps = 0;
    loop {
        steps += 1;
        let calm = world.known.len() >= total;
        if calm && world.is_quiet() {
            break;
        }
        assert!(
            steps < 200_000,
            "stuck: {world}",
            world = Stuck(&world, &nodes)
        );
        world.now += Duration::from_millis(world.dice.roll(120));
        if !calm && world.dice.one_in(6) {
            let index = world.dice.index(nodes.len());
            let lane = i64::try_from(world.dice.roll(LANES)).unwrap();
            nodes[index].submit(&mut world, lane);
        }
        world.commit_some();
        for node in &mut nodes {
            if !calm && world.dice.one_in(TROUBLE) {
                match world.dice.roll(3) {
                    0 => node.crash(&mut world),
                    1 => node.stop(&mut world),
                    _ => node.cut(&mut world),
                }
            }
            node.step(&mut world);
        }
    }
    for (seq, it) in &world.known {
        assert!(
            it.arrived > 0 || it.failed || !it.committed,
            "{seq} is lost: {it:?}"
        );
        assert!(
            it.arrived > 0 || it.failed || !it.promised || it.early,
            "{seq}: {it:?}"
        );
    }
}

struct Stuck<'a>(&'a World, &'a [Gateway]);

impl std::fmt::Display for Stuck<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let open = self
            .0
            .known
            .iter()
            .filter(|(_, it)| it.arrived == 0 && !it.failed && !it.gone);
        writeln!(f, "open: {:?}", open.collect::<Vec<_>>())?;
        writeln!(f, "rows: {:?}", self.0.database)?;
        self.1.iter().try_for_each(|node| writeln!(f, "{node:?}"))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 60 } else { 2_000 }))]

    #[test]
    fn nothing_is_lost_doubled_or_out_of_order_with_two_gateways(seed in any::<u64>()) {
        play(seed, 2, 200);
    }

    #[test]
    fn nothing_is_lost_doubled_or_out_of_order_with_three_gateways(seed in any::<u64>()) {
        play(seed, 3, 200);
    }

    #[test]
    fn nothing_is_lost_when_the_only_gateway_crashes(seed in any::<u64>()) {
        play(seed, 1, 150);
    }
}
