//! The sweeper: forgets what is over, every minute, in small steps.
//!
//! Between two steps every waiting verb gets its turn in a commit, so forgetting never holds up
//! mail. A failing database is tried again at the next round. Of gateways that share a database one
//! does it.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::clock::Clock;
use crate::store::{RetentionRules, Store};

const EVERY: Duration = Duration::from_secs(60);
/// Mailboxes counted again in one round.
const RECOUNTED: usize = 20;

/// Forgets what is over.
pub struct Sweeper {
    store: Store,
    rules: RetentionRules,
    clock: Clock,
    node: Uuid,
    /// How long entries of the audit log are kept; nothing = forever.
    audit: Option<Duration>,
}

impl Sweeper {
    /// A sweeper of the gateway `node` with these rules.
    #[must_use]
    pub fn new(store: Store, rules: RetentionRules, clock: Clock, node: Uuid) -> Self {
        Self {
            store,
            rules,
            clock,
            node,
            audit: None,
        }
    }

    /// The same, which also forgets entries of the audit log that are older.
    #[must_use]
    pub fn with_audit(self, kept: Duration) -> Self {
        Self {
            audit: Some(kept),
            ..self
        }
    }

    /// Works until stopped.
    pub async fn run(self, stop: CancellationToken) {
        let mut recounted = 0;
        loop {
            self.round(&stop).await;
            self.mailboxes(&mut recounted).await;
            self.cut_audit(&stop).await;
            tokio::select! {
                () = self.clock.wait(EVERY) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn round(&self, stop: &CancellationToken) {
        let (mut rows, mut messages) = (0, 0);
        while !stop.is_cancelled() && self.is_on_duty().await {
            match self.store.sweep(self.rules, self.clock.now()).await {
                Ok(swept) => {
                    rows += swept.rows;
                    messages += swept.messages;
                    if !swept.more {
                        break;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "the sweeper could not work");
                    break;
                }
            }
        }
        if rows > 0 {
            tracing::info!(rows, messages, "forgot what was over");
        }
    }

    /// Gives up mail that is too old or too much where that is wanted, and counts some mailboxes
    /// again where gateways of older versions may work beside.
    async fn mailboxes(&self, recounted: &mut i64) {
        if !self.is_on_duty().await {
            return;
        }
        match self.store.bury_overdue(self.clock.now()).await {
            Ok(0) => {}
            Ok(messages) => tracing::info!(messages, "gave up the oldest mail of full mailboxes"),
            Err(error) => tracing::warn!(%error, "the sweeper could not work"),
        }
        if self.store.is_shared() {
            match self.store.recount_mailboxes(*recounted, RECOUNTED).await {
                Ok(next) => *recounted = next.unwrap_or(0),
                Err(error) => tracing::warn!(%error, "the sweeper could not work"),
            }
        }
    }

    async fn cut_audit(&self, stop: &CancellationToken) {
        let Some(kept) = self.audit else {
            return;
        };
        let mut entries = 0;
        while !stop.is_cancelled() && self.is_on_duty().await {
            match self.store.cut_audit(self.clock.now().minus(kept)).await {
                Ok(0) => break,
                Ok(gone) => entries += gone,
                Err(error) => {
                    tracing::warn!(%error, "the audit log could not be cut");
                    break;
                }
            }
        }
        if entries > 0 {
            tracing::info!(entries, "cut the audit log at its old end");
        }
    }

    async fn is_on_duty(&self) -> bool {
        let now = self.clock.set_by_hand();
        let duty = self.store.lease("sweeper", self.node, now).await;
        duty.unwrap_or_else(|error| {
            tracing::warn!(%error, "the sweeper could not work");
            false
        })
    }
}
