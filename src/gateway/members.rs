//! This gateway among those that share its database.

use std::time::Duration;

use uuid::Uuid;

use super::endless;
use crate::clock::Clock;
use crate::lifecycle::Stage;
use crate::queue::{Keeper, Membership, Share};
use crate::store::Store;
use crate::telemetry::Board;

/// A gateway that is not admitted after this time opens its doors all the same: it answers that it
/// is not ready. Longer than a lease.
const PATIENCE: Duration = Duration::from_secs(20);

/// This gateway as one of several, or the only one there can be.
pub(super) struct Members {
    pub(super) node: Uuid,
    pub(super) share: Share,
    keeper: Option<Keeper>,
}

impl Members {
    /// A gateway that sends what is not on disk, as long as it is alone, if it `goes_early`.
    pub(super) fn new(store: &Store, clock: &Clock, board: &Board, goes_early: bool) -> Self {
        let node = Uuid::new_v4();
        if !store.is_shared() {
            return Self {
                node,
                share: Share::whole(),
                keeper: None,
            };
        }
        let me = Membership { node, goes_early };
        let (keeper, share) = Keeper::new(store.clone(), clock.clone(), me, board.clone());
        let admitted = share.clone();
        store.admit_by(move || admitted.is_admitted());
        Self {
            node,
            share,
            keeper: Some(keeper),
        }
    }

    /// Joins the others, and waits until they know.
    pub(super) async fn join(&mut self, stage: &Stage, clock: &Clock) {
        let Some(keeper) = self.keeper.take() else {
            return;
        };
        stage.spawn("keeper", endless(keeper.run(stage.stop())));
        if clock
            .within(PATIENCE, self.share.admitted())
            .await
            .is_none()
        {
            tracing::warn!("another gateway does not know of this one: no messages are taken yet");
        }
    }
}
