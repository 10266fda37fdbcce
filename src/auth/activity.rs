//! When agents were last active, to the minute: collected in memory, written now and then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::protocol::Timestamp;
use crate::store::{Store, StoreError};

const EVERY: Duration = Duration::from_secs(60);

/// The collected moments: one an agent that operators registered. Cloning is cheap.
#[derive(Debug, Clone, Default)]
pub struct Activity(Arc<Mutex<HashMap<i64, Timestamp>>>);

impl Activity {
    /// Notes that an agent did something.
    pub(super) fn note(&self, agent: i64, at: Timestamp) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(agent, at);
    }

    /// Writes what was collected every minute, and once more at the end.
    ///
    /// # Errors
    /// When the store is closed; other trouble of the database is logged and tried again.
    pub async fn run(
        self,
        store: Store,
        clock: Clock,
        stop: CancellationToken,
    ) -> Result<(), StoreError> {
        loop {
            let ending = tokio::select! {
                () = clock.wait(EVERY) => false,
                () = stop.cancelled() => true,
            };
            let seen = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
            if !seen.is_empty()
                && let Err(error) = store.note_activity(seen.into_iter().collect()).await
            {
                tracing::warn!(%error, "agents' activity was not written");
            }
            if ending {
                return Ok(());
            }
        }
    }
}
