//! Which shards of lanes this gateway may use: pure, without I/O or clock.
//!
//! - A shard is leased for [`LEASE`] by the database's clock, and used for [`OWN_USE`] by the
//!   monotonic clock, from the moment the renewal was *sent*. So a gateway that is cut off or
//!   stopped ends its use before another can begin.
//! - A gateway with more than its fair share lets some go: they are not used from then on, and are
//!   given up once nothing of them is under way.
//! - What changed is told by versions: whoever looked at one version says so with what it found.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::store::{Claimed, SHARDS, ShardSet};

/// How long a lease lasts by the database's clock.
pub(super) const LEASE: Duration = Duration::from_secs(15);
/// How long it is used.
pub(super) const OWN_USE: Duration = LEASE.saturating_sub(MARGIN);
/// What the clocks of two machines, and a renewal on its way, may be apart.
const MARGIN: Duration = Duration::from_secs(5);

/// What this gateway owns, as its last renewal said.
#[derive(Debug, Clone, Default)]
pub(super) struct Ownership {
    /// Grows whenever the usable shards, or an epoch of them, change.
    version: u64,
    epochs: Arc<BTreeMap<u16, i64>>,
    usable: ShardSet,
    leaving: ShardSet,
    /// Until then, by the monotonic clock.
    until: Duration,
    gateways: usize,
    others_know: bool,
}

impl Ownership {
    /// The number of this state of things.
    pub(super) const fn version(&self) -> u64 {
        self.version
    }

    /// The shards whose lanes may go, as long as the lease is in use.
    pub(super) const fn usable(&self) -> &ShardSet {
        &self.usable
    }

    /// The shards that are let go of.
    pub(super) const fn leaving(&self) -> &ShardSet {
        &self.leaving
    }

    /// How many shards are owned, used or let go of.
    pub(super) fn owned(&self) -> usize {
        self.epochs.len()
    }

    /// How many gateways live, this one included.
    pub(super) const fn gateways(&self) -> usize {
        self.gateways
    }

    /// Whether the lease is in use.
    pub(super) fn is_current(&self, now: Duration) -> bool {
        now < self.until
    }

    /// The epoch under which an attempt for a lane of this shard may start now.
    pub(super) fn may_use(&self, shard: u16, now: Duration) -> Option<i64> {
        let epoch = self.epochs.get(&shard)?;
        (self.is_current(now) && self.usable.contains(shard)).then_some(*epoch)
    }

    /// The epoch of an owned shard, whether it may be used or not.
    pub(super) fn epoch(&self, shard: u16) -> Option<i64> {
        self.epochs.get(&shard).copied()
    }

    /// Whether no other gateway takes messages or attempts deliveries.
    pub(super) fn is_alone(&self, now: Duration) -> bool {
        self.gateways == 1 && self.is_current(now)
    }

    /// Whether messages may be taken: no other gateway takes itself to be alone.
    pub(super) fn is_known(&self, now: Duration) -> bool {
        self.others_know && self.is_current(now)
    }
}

/// The shards with nothing under way, as somebody found who looked at a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Idle {
    /// What it looked at.
    pub(super) version: u64,
    /// Those of the shards let go of that are idle.
    pub(super) shards: ShardSet,
}

/// Keeps the account over renewals.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    now: Ownership,
}

impl Ledger {
    /// What the last renewal said.
    pub(super) const fn ownership(&self) -> &Ownership {
        &self.now
    }

    /// What to give up with the next renewal.
    pub(super) fn to_give_up(&self, idle: &Idle) -> Vec<u16> {
        if idle.version != self.now.version {
            return Vec::new();
        }
        idle.shards.both(&self.now.leaving).iter().collect()
    }

    /// Takes the answer to a renewal that was sent at `sent`.
    pub(super) fn renewed(&mut self, sent: Duration, claimed: &Claimed) {
        let epochs: BTreeMap<u16, i64> = claimed.shards.iter().copied().collect();
        let owned: ShardSet = epochs.keys().copied().collect();
        let leaving = leaving(&owned, &self.now.leaving, fair_share(claimed.gateways));
        let usable = owned.without(&leaving);
        let same = usable == self.now.usable
            && usable
                .iter()
                .all(|shard| self.now.epochs.get(&shard) == epochs.get(&shard));
        self.now = Ownership {
            version: self.now.version + u64::from(!same),
            epochs: Arc::new(epochs),
            usable,
            leaving,
            until: sent + OWN_USE,
            gateways: claimed.gateways,
            others_know: claimed.others_saw_me,
        };
    }
}

/// How many shards each of so many gateways may have: all are somebody's.
pub(super) fn fair_share(gateways: usize) -> usize {
    usize::from(SHARDS).div_ceil(gateways.max(1))
}

/// Which of the owned shards to let go of: those that were before, as many as are too many.
fn leaving(owned: &ShardSet, before: &ShardSet, fair: usize) -> ShardSet {
    let excess = owned.len().saturating_sub(fair);
    let still = owned.both(before);
    let others = owned.without(&still);
    still
        .iter()
        .chain(others.iter().rev())
        .take(excess)
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn claimed(shards: impl IntoIterator<Item = u16>, gateways: usize) -> Claimed {
        Claimed {
            shards: shards.into_iter().map(|shard| (shard, 1)).collect(),
            gateways,
            others_saw_me: true,
        }
    }

    #[test]
    fn use_ends_ten_seconds_after_the_renewal_was_sent() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.ownership().may_use(7, seconds(0)), None);
        ledger.renewed(seconds(100), &claimed(0..SHARDS, 1));
        let own = ledger.ownership();
        assert_eq!(own.may_use(7, seconds(109)), Some(1));
        assert!(own.is_alone(seconds(109)) && own.is_known(seconds(109)));
        assert_eq!(own.may_use(7, seconds(110)), None);
        assert!(!own.is_alone(seconds(110)) && !own.is_known(seconds(110)));
        assert_eq!(own.epoch(7), Some(1), "it is still known under which epoch");
    }

    #[test]
    fn a_newcomer_gets_its_share_once_nothing_of_it_is_under_way() {
        let mut ledger = Ledger::default();
        ledger.renewed(seconds(0), &claimed(0..SHARDS, 1));
        let first = ledger.ownership().version();
        ledger.renewed(seconds(1), &claimed(0..SHARDS, 2));
        let own = ledger.ownership().clone();
        assert_eq!((own.leaving().len(), own.usable().len()), (512, 512));
        assert!(own.version() > first);
        let leaving = own.leaving().iter().next().unwrap();
        assert_eq!(own.may_use(leaving, seconds(2)), None);
        let found = |version, shards| Idle { version, shards };
        let early = found(first, ShardSet::ALL);
        assert!(ledger.to_give_up(&early).is_empty(), "it looked before");
        let mut idle = *own.leaving();
        idle.remove(leaving);
        assert_eq!(ledger.to_give_up(&found(own.version(), idle)).len(), 511);
        let kept = own.usable().iter().chain([leaving]);
        ledger.renewed(seconds(2), &claimed(kept, 2));
        let later = ledger.ownership();
        assert_eq!(later.version(), own.version(), "what is used is the same");
        assert_eq!(later.leaving().iter().collect::<Vec<_>>(), [leaving]);
    }

    #[test]
    fn what_is_let_go_of_is_used_again_when_the_newcomer_is_gone() {
        let mut ledger = Ledger::default();
        ledger.renewed(seconds(0), &claimed(0..SHARDS, 2));
        let version = ledger.ownership().version();
        ledger.renewed(seconds(1), &claimed(0..SHARDS, 1));
        assert_eq!(ledger.ownership().usable(), &ShardSet::ALL);
        let stale = Idle {
            version,
            shards: ShardSet::ALL,
        };
        assert!(ledger.to_give_up(&stale).is_empty());
    }

    #[test]
    fn another_epoch_is_another_ownership() {
        let mut ledger = Ledger::default();
        ledger.renewed(seconds(0), &claimed(0..10, 1));
        let version = ledger.ownership().version();
        let mut again = claimed(0..10, 1);
        ledger.renewed(seconds(1), &again);
        assert_eq!(ledger.ownership().version(), version);
        again.shards[3].1 = 2;
        ledger.renewed(seconds(2), &again);
        assert!(ledger.ownership().version() > version);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        /// Gateways come and go, shards are claimed and given up: nobody keeps more than its
        /// share for long, nothing owned is neither used nor let go of, and what is used is owned.
        #[test]
        fn shares_become_fair(gateways in 1_usize..9, seed in any::<u64>()) {
            let mut ledgers: Vec<Ledger> = (0..gateways).map(|_| Ledger::default()).collect();
            let mut owners: Vec<Option<usize>> = vec![None; usize::from(SHARDS)];
            let fair = fair_share(gateways);
            prop_assert!(fair * gateways >= usize::from(SHARDS));
            let mut joined = 1;
            for round in 0..4 * gateways + 8 {
                for (me, ledger) in ledgers.iter_mut().enumerate().take(joined) {
                    let own = ledger.ownership().clone();
                    let mut idle = *own.leaving();
                    if seed.rotate_left(u32::try_from(round + me).unwrap()) & 1 == 1 {
                        // One of them is still under way.
                        let busy = idle.iter().next();
                        if let Some(busy) = busy {
                            idle.remove(busy);
                        }
                    }
                    for shard in ledger.to_give_up(&Idle { version: own.version(), shards: idle }) {
                        prop_assert!(own.may_use(shard, Duration::ZERO).is_none());
                        owners[usize::from(shard)] = None;
                    }
                    let has = owners.iter().filter(|it| **it == Some(me)).count();
                    let room = fair_share(joined).saturating_sub(has);
                    let free = owners.iter_mut().filter(|it| it.is_none());
                    free.take(room).for_each(|it| *it = Some(me));
                    let shards = (0..SHARDS).filter(|shard| owners[usize::from(*shard)] == Some(me));
                    let answer = claimed(shards, joined);
                    ledger.renewed(Duration::ZERO, &answer);
                    let own = ledger.ownership();
                    prop_assert!(own.usable().len() <= fair_share(joined));
                    prop_assert_eq!(own.usable().len() + own.leaving().len(), own.owned());
                    prop_assert!(own.usable().both(own.leaving()).is_empty());
                }
                if joined < gateways && round % 3 == 0 {
                    joined += 1;
                }
            }
            prop_assert!(owners.iter().all(Option::is_some), "every shard is somebody's");
            for ledger in &ledgers {
                prop_assert!(ledger.ownership().owned() <= fair + 1);
            }
        }
    }
}
