//! When agents were last active, to the minute: collected in memory, written now and then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::protocol::Timestamp;
use crate::store::{Store, StoreError};

const EVERY: Duration = Duration::from_secs(60);

/// The collected moments: one an agent that operators registered, and one a key. Cloning is cheap.
#[derive(Debug, Clone, Default)]
pub struct Activity(Arc<Seen>);

#[derive(Debug, Default)]
struct Seen {
    agents: Mutex<HashMap<i64, Timestamp>>,
    keys: Mutex<HashMap<String, Timestamp>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Activity {
    /// Notes that an agent did something.
    pub(super) fn note(&self, agent: i64, at: Timestamp) {
        lock(&self.0.agents).insert(agent, at);
    }

    /// Notes that a key was used.
    pub(super) fn note_key(&self, key: &str, at: Timestamp) {
        let mut keys = lock(&self.0.keys);
        match keys.get_mut(key) {
            Some(last) => *last = at,
            None => drop(keys.insert(key.to_owned(), at)),
        }
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
            if let Err(error) = self.write(&store).await {
                tracing::warn!(%error, "agents' activity was not written");
            }
            if ending {
                return Ok(());
            }
        }
    }

    async fn write(&self, store: &Store) -> Result<(), StoreError> {
        let agents = std::mem::take(&mut *lock(&self.0.agents));
        if !agents.is_empty() {
            store.note_activity(agents.into_iter().collect()).await?;
        }
        let keys = std::mem::take(&mut *lock(&self.0.keys));
        if !keys.is_empty() {
            store.note_use(keys.into_iter().collect()).await?;
        }
        Ok(())
    }
}
