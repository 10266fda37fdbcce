//! The database of the model: rows that are visible after their commit, shards and gateways.

use std::collections::BTreeMap;
use std::time::Duration;

use super::World;
use crate::protocol::Timestamp;
use crate::queue::shards::{LEASE, fair_share};
use crate::store::{Claimed, QueueRow, SHARDS, shard_of};

/// The longest a transaction takes.
const SLOWEST: Duration = Duration::from_secs(5);

/// A delivery that is not settled.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) row: QueueRow,
    /// What it travels under.
    pub(super) wire: Option<u64>,
}

#[derive(Debug)]
struct Transaction {
    row: Row,
    node: u64,
    began: Duration,
}

#[derive(Debug)]
struct Member {
    seen_at: Duration,
    alone: bool,
}

/// What became of one delivery, as a gateway wants it settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Delivered,
    Deferred(Timestamp),
    Failed,
}

#[derive(Debug)]
pub(super) struct Database {
    pub(super) rows: BTreeMap<i64, Row>,
    open: Vec<Transaction>,
    seq: i64,
    shards: Vec<(Option<u64>, i64)>,
    members: BTreeMap<u64, Member>,
}

/// The peer of a lane.
pub(super) fn peer(lane: i64) -> String {
    format!("domain:{}", lane % 3)
}

impl Database {
    pub(super) fn new() -> Self {
        Self {
            rows: BTreeMap::new(),
            open: Vec::new(),
            seq: 0,
            shards: vec![(None, 0); usize::from(SHARDS)],
            members: BTreeMap::new(),
        }
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.open.is_empty()
    }

    /// Whether one of these deliveries is not committed yet.
    pub(super) fn is_open(&self, groups: &[Vec<i64>]) -> bool {
        let mut open = self.open.iter().map(|it| it.row.row.seq);
        open.any(|seq| groups.iter().flatten().any(|other| *other == seq))
    }

    pub(super) fn next_seq(&mut self) -> i64 {
        self.seq += 1;
        self.seq
    }

    /// A transaction that will commit a delivery begins.
    pub(super) fn begin(&mut self, node: u64, (seq, lane): (i64, i64), now: Duration) {
        let row = QueueRow {
            seq,
            mid: seq,
            lane,
            destination: peer(lane),
            deferred_until: None,
            destination_failed_at: None,
            priority: 1,
            size: 100,
            loose: false,
        };
        self.open.push(Transaction {
            row: Row { row, wire: None },
            node,
            began: now,
        });
    }

    pub(super) fn read(&self, limit: usize, which: impl Fn(&QueueRow) -> bool) -> Vec<QueueRow> {
        let rows = self.rows.values().map(|it| &it.row);
        rows.filter(|row| which(row)).take(limit).cloned().collect()
    }

    pub(super) fn newest(&self) -> i64 {
        self.rows.last_key_value().map_or(0, |(seq, _)| *seq)
    }

    /// A delivery of a lane that goes before this one and is none of these.
    pub(super) fn before(&self, seq: i64, but: &[i64]) -> Option<i64> {
        let lane = self.rows.get(&seq)?.row.lane;
        let mut before = self.rows.range(..seq).map(|(_, it)| &it.row);
        before
            .find(|row| row.lane == lane && !but.contains(&row.seq))
            .map(|row| row.seq)
    }

    /// The renewal of a gateway, as `Store::renew_shards` does it.
    pub(super) fn renew(
        &mut self,
        node: u64,
        alone: bool,
        give_up: &[u16],
        now: Duration,
    ) -> Claimed {
        let lives = |it: &Member| it.seen_at + LEASE > now;
        let lapsed = !self.members.get(&node).is_some_and(lives);
        for (shard, (owner, _)) in self.shards.iter_mut().enumerate() {
            let given = give_up.iter().any(|it| usize::from(*it) == shard);
            if *owner == Some(node) && (lapsed || given) {
                *owner = None;
            }
        }
        let others: Vec<(u64, bool)> = self
            .members
            .iter()
            .filter(|(other, it)| **other != node && lives(it))
            .map(|(other, it)| (*other, it.alone))
            .collect();
        let member = Member {
            seen_at: now,
            alone: alone || others.is_empty(),
        };
        self.members.insert(node, member);
        let fair = fair_share(others.len() + 1);
        let owned = self.shards.iter().filter(|it| it.0 == Some(node)).count();
        let lives = |owner: u64| others.iter().any(|(other, _)| *other == owner) || owner == node;
        let free = self
            .shards
            .iter_mut()
            .filter(|(owner, _)| !owner.is_some_and(lives));
        for (owner, epoch) in free.take(fair.saturating_sub(owned)) {
            *owner = Some(node);
            *epoch += 1;
        }
        let mine = self.shards.iter().enumerate();
        Claimed {
            shards: mine
                .filter(|(_, (owner, _))| *owner == Some(node))
                .map(|(shard, (_, epoch))| (u16::try_from(shard).unwrap(), *epoch))
                .collect(),
            gateways: others.len() + 1,
            others_saw_me: !others.iter().any(|(_, alone)| *alone),
        }
    }

    /// Whether a shard is in the hands it was in at that epoch.
    pub(super) fn is_held(&self, lane: i64, epoch: i64) -> bool {
        self.shards[usize::from(shard_of(lane))].1 == epoch
    }
}

impl World {
    /// Some transactions commit, in any order; of one gateway those of one lane in theirs.
    pub(super) fn commit_some(&mut self) {
        let mut index = 0;
        while index < self.database.open.len() {
            let it = &self.database.open[index];
            let (node, lane) = (it.node, it.row.row.lane);
            let first = !self.database.open[..index]
                .iter()
                .any(|other| other.node == node && other.row.row.lane == lane);
            let late = self.now - it.began >= SLOWEST;
            if first && (late || self.dice.one_in(6)) {
                let it = self.database.open.remove(index);
                self.committed(it);
            } else {
                index += 1;
            }
        }
    }

    fn committed(&mut self, it: Transaction) {
        let seq = it.row.row.seq;
        let known = self.known.get_mut(&seq).unwrap();
        (known.committed, known.promised) = (true, true);
        self.database.rows.insert(seq, it.row);
    }

    /// The connection of a gateway is gone: what it was about to commit may be there or not.
    pub(super) fn disconnect(&mut self, node: u64) {
        let (lost, open) = std::mem::take(&mut self.database.open)
            .into_iter()
            .partition(|it: &Transaction| it.node == node);
        self.database.open = open;
        let mut lost: Vec<Transaction> = lost;
        // Of a lane the first ones commit, or none does.
        let kept = self.dice.index(lost.len() + 1);
        for it in lost.drain(..kept) {
            // Nobody was told, but for what went early.
            let promised = self.known[&it.row.row.seq].promised;
            let seq = it.row.row.seq;
            self.committed(it);
            self.known.get_mut(&seq).unwrap().promised = promised;
        }
        for it in lost {
            self.known.get_mut(&it.row.row.seq).unwrap().gone = true;
        }
    }

    /// Settles as `Store::settle` does: what is delivered is a fact, the rest counts only in the
    /// epoch it was found in.
    pub(super) fn settle(&mut self, results: &[(i64, i64, Fate)]) {
        for (seq, epoch, fate) in results {
            let lane = self.known[seq].lane;
            let held = self.database.is_held(lane, *epoch);
            match fate {
                Fate::Delivered => drop(self.database.rows.remove(seq)),
                Fate::Deferred(until) if held => {
                    if let Some(it) = self.database.rows.get_mut(seq) {
                        it.row.deferred_until = Some(*until);
                    }
                }
                Fate::Failed if held && self.database.rows.remove(seq).is_some() => {
                    self.known.get_mut(seq).unwrap().failed = true;
                }
                _ => {}
            }
        }
    }
}
