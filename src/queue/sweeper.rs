//! The sweeper: forgets what is over, every minute, in small steps.
//!
//! Between two steps every waiting verb gets its turn in a commit, so forgetting never holds up
//! mail. A failing database is tried again at the next round.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::store::{RetentionRules, Store};

const EVERY: Duration = Duration::from_secs(60);

/// Forgets what is over.
pub struct Sweeper {
    store: Store,
    rules: RetentionRules,
    clock: Clock,
}

impl Sweeper {
    /// A sweeper with these rules.
    #[must_use]
    pub fn new(store: Store, rules: RetentionRules, clock: Clock) -> Self {
        Self {
            store,
            rules,
            clock,
        }
    }

    /// Works until stopped.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            self.round(&stop).await;
            tokio::select! {
                () = self.clock.wait(EVERY) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn round(&self, stop: &CancellationToken) {
        let (mut rows, mut messages) = (0, 0);
        while !stop.is_cancelled() {
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
}
