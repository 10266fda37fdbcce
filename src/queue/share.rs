//! What of the queue is this gateway's: everything, or what the keeper says at the moment.

use std::sync::Arc;

use tokio::sync::watch;

use super::shards::{Idle, Ownership};
use crate::clock::Clock;
use crate::store::{ShardSet, shard_of};

/// This gateway's share of the queue. Cloning is cheap; all clones say the same.
#[derive(Debug, Clone, Default)]
pub struct Share(Option<Kept>);

#[derive(Debug, Clone)]
struct Kept {
    ownership: watch::Receiver<Arc<Ownership>>,
    idle: Arc<watch::Sender<Idle>>,
    clock: Clock,
}

/// The right to a dispatch, as it was when that was launched.
#[derive(Debug, Clone, Default)]
pub(super) struct Hold(Option<Arc<Ownership>>);

impl Hold {
    /// The right that an ownership gives.
    pub(super) const fn of_ownership(ownership: Arc<Ownership>) -> Self {
        Self(Some(ownership))
    }

    /// The shard of a lane and its epoch, for the store to compare.
    pub(super) fn of(&self, lane: i64) -> Option<(u16, i64)> {
        let shard = shard_of(lane);
        let epoch = self.0.as_ref()?.epoch(shard);
        // No epoch is below zero: what was not owned counts for nothing.
        Some((shard, epoch.unwrap_or(-1)))
    }
}

impl Share {
    /// Everything, for ever: the database is not shared.
    #[must_use]
    pub const fn whole() -> Self {
        Self(None)
    }

    /// What a keeper says through `ownership`; it hears through `idle`.
    pub(super) fn kept(
        ownership: watch::Receiver<Arc<Ownership>>,
        idle: watch::Sender<Idle>,
        clock: Clock,
    ) -> Self {
        Self(Some(Kept {
            ownership,
            idle: Arc::new(idle),
            clock,
        }))
    }

    /// Whether there may be other gateways.
    pub(super) const fn is_kept(&self) -> bool {
        self.0.is_some()
    }

    /// What the keeper says now; nothing where everything is this gateway's.
    pub(super) fn ownership(&self) -> Option<Arc<Ownership>> {
        Some(self.0.as_ref()?.ownership.borrow().clone())
    }

    /// Whether attempts may begin at all.
    pub(super) fn is_current(&self) -> bool {
        self.0
            .as_ref()
            .is_none_or(|kept| kept.ownership.borrow().is_current(kept.clock.monotonic()))
    }

    /// Whether messages may be taken: no other gateway would send out of turn because of that.
    #[must_use]
    pub fn is_admitted(&self) -> bool {
        self.0
            .as_ref()
            .is_none_or(|kept| kept.ownership.borrow().is_known(kept.clock.monotonic()))
    }

    /// Whether what is done for this number, by one gateway of several, is this one's to do now.
    #[must_use]
    pub fn is_mine(&self, number: i64) -> bool {
        let Some(kept) = &self.0 else { return true };
        let now = kept.clock.monotonic();
        let own = kept.ownership.borrow();
        own.may_use(shard_of(number), now).is_some()
    }

    /// Whether what was just submitted for these lanes may go before it is on disk.
    pub(super) fn may_go_early(&self, mut lanes: impl Iterator<Item = i64>) -> bool {
        let Some(kept) = &self.0 else { return true };
        let (own, now) = (kept.ownership.borrow(), kept.clock.monotonic());
        own.is_alone(now) && lanes.all(|lane| own.may_use(shard_of(lane), now).is_some())
    }

    /// The right to what is launched now.
    pub(super) fn hold(&self) -> Hold {
        Hold(self.ownership())
    }

    /// Whether an attempt for a lane may begin now under a right from before.
    pub(super) fn still_holds(&self, hold: &Hold, lane: i64) -> bool {
        let Some(kept) = &self.0 else { return true };
        let now = kept.clock.monotonic();
        let epoch = kept.ownership.borrow().may_use(shard_of(lane), now);
        epoch.is_some() && epoch == hold.of(lane).map(|(_, epoch)| epoch)
    }

    /// Tells the keeper which of the shards let go of have nothing under way.
    pub(super) fn report(&self, version: u64, shards: ShardSet) {
        let Some(kept) = &self.0 else { return };
        let found = Idle { version, shards };
        kept.idle.send_if_modified(|idle| {
            let is_new = *idle != found;
            *idle = found;
            is_new
        });
    }

    /// Completes when the keeper says something new; never where everything is this gateway's.
    pub(super) async fn changed(&mut self) {
        if let Some(kept) = &mut self.0
            && kept.ownership.changed().await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }

    /// Completes when messages may be taken.
    pub async fn admitted(&mut self) {
        while !self.is_admitted() {
            self.changed().await;
        }
    }
}
