//! The keeper: renews this gateway's lease on its shards every second.
//!
//! A task of its own, so that no amount of work makes a gateway lose its shards. What a renewal
//! says counts from the moment it was sent; one that fails changes nothing, and then the use of
//! the shards ends by itself. When the gateway stops it leaves, after everything under way.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::shards::{Idle, Ledger, Ownership};
use super::share::Share;
use crate::clock::Clock;
use crate::store::{Presence, Solitude, Store, StoreError};
use crate::telemetry::{Board, Post, WorkerState};

/// Between two renewals.
const EVERY: Duration = Duration::from_secs(1);
/// A renewal that takes longer is tried again.
const PATIENCE: Duration = Duration::from_secs(3);

/// Who this gateway is to the others.
#[derive(Debug, Clone, Copy)]
pub struct Membership {
    /// Its number, another one each time it starts.
    pub node: Uuid,
    /// Whether it sends what is not on disk as long as it is alone.
    pub goes_early: bool,
}

/// Keeps this gateway's share of a shared queue.
pub struct Keeper {
    store: Store,
    clock: Clock,
    me: Membership,
    board: Board,
    post: Post,
    ledger: Ledger,
    tell: watch::Sender<Arc<Ownership>>,
    idle: watch::Receiver<Idle>,
}

impl Keeper {
    /// A keeper, and the share it keeps.
    #[must_use]
    pub fn new(store: Store, clock: Clock, me: Membership, board: Board) -> (Self, Share) {
        let (tell, told) = watch::channel(Arc::default());
        let (idle_tell, idle) = watch::channel(Idle::default());
        let share = Share::kept(told, idle_tell, clock.clone());
        let keeper = Self {
            store,
            clock,
            me,
            post: board.place("keeper"),
            board,
            ledger: Ledger::default(),
            tell,
            idle,
        };
        (keeper, share)
    }

    /// Works until stopped, then leaves.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            if let Err(error) = self.renew().await {
                tracing::warn!(%error, "the lane shards could not be renewed");
            }
            self.show();
            tokio::select! {
                () = self.clock.wait(EVERY) => {}
                () = stop.cancelled() => break,
            }
        }
        self.post.show(WorkerState::Draining, "");
        let left = self.clock.within(PATIENCE, self.store.leave(self.me.node));
        if !matches!(left.await, Some(Ok(()))) {
            tracing::warn!("the other gateways could not be told of the end");
        }
    }

    async fn renew(&mut self) -> Result<(), StoreError> {
        let sent = self.clock.monotonic();
        let give_up = self.ledger.to_give_up(&self.idle.borrow());
        let status = serde_json::to_vec(&self.board.read()).unwrap_or_default();
        let presence = Presence {
            node: self.me.node,
            version: env!("CARGO_PKG_VERSION"),
            status: &status,
            solitude: match (self.me.goes_early, self.ledger.ownership().is_alone(sent)) {
                (false, _) => Solitude::Never,
                (true, false) => Solitude::Unknown,
                // The manager may act on that until the answer is here.
                (true, true) => Solitude::Believed,
            },
        };
        let now = self.clock.set_by_hand();
        let renewal = self.store.renew_shards(presence, &give_up, now);
        let claimed = self.clock.within(PATIENCE, renewal).await;
        let claimed = claimed
            .unwrap_or_else(|| Err(StoreError::Unavailable("no answer in time".to_owned())))?;
        let before = self.ledger.ownership().version();
        self.ledger.renewed(sent, &claimed);
        let own = self.ledger.ownership();
        if own.version() != before {
            tracing::info!(
                shards.used = own.usable().len(),
                shards.let_go = own.leaving().len(),
                gateways = own.gateways(),
                "the share of the lanes has changed"
            );
        }
        self.tell.send_replace(Arc::new(own.clone()));
        Ok(())
    }

    fn show(&self) {
        let own = self.ledger.ownership();
        let (owned, gateways) = (own.owned(), own.gateways());
        let mut detail = format!("{owned} of 1024 shards, {gateways} gateways");
        if !own.leaving().is_empty() {
            detail += &format!("; letting go of {}", own.leaving().len());
        }
        let state = if own.is_current(self.clock.monotonic()) {
            WorkerState::Busy
        } else {
            detail += "; the lease is over";
            WorkerState::Idle
        };
        self.post.show(state, detail);
    }
}
