//! Room on the disk of the database.
//!
//! Below the floor intake refuses new mail, so that there is always room to settle and
//! acknowledge what is there. It takes mail again by itself once there is room.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::telemetry::Metrics;

const EVERY: Duration = Duration::from_secs(1);

/// Whether there is room for new mail. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Space {
    /// Nothing where the database is on other machines: they tell when they are full.
    folder: Option<Arc<PathBuf>>,
    floor: u64,
    scarce: Arc<AtomicBool>,
    metrics: Metrics,
}

impl Space {
    /// Looks at the disk of `folder` for the first time; `floor` is in bytes. Without a folder there
    /// is always room as far as this process can tell.
    ///
    /// # Errors
    /// When the system cannot tell how much room there is.
    pub fn watch(folder: Option<PathBuf>, floor: u64, metrics: Metrics) -> std::io::Result<Self> {
        let space = Self {
            folder: folder.map(Arc::new),
            floor,
            scarce: Arc::default(),
            metrics,
        };
        space.look()?;
        Ok(space)
    }

    /// Whether new mail may be taken.
    #[must_use]
    pub fn has_room(&self) -> bool {
        !self.scarce.load(Ordering::Relaxed)
    }

    /// Looks every second.
    pub async fn run(self, clock: Clock, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = clock.wait(EVERY) => {}
                () = stop.cancelled() => return,
            }
            if let Err(error) = self.look() {
                tracing::warn!(%error, "cannot tell how much room the disk has");
            }
        }
    }

    fn look(&self) -> std::io::Result<()> {
        let Some(folder) = &self.folder else {
            return Ok(());
        };
        let disk = rustix::fs::statvfs(folder.as_path())?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        self.metrics.store_free_bytes(free);
        let scarce = free < self.floor;
        if self.scarce.swap(scarce, Ordering::Relaxed) != scarce {
            if scarce {
                tracing::error!(
                    free_bytes = free,
                    floor_bytes = self.floor,
                    "the disk is full: new mail is refused"
                );
            } else {
                tracing::info!(
                    free_bytes = free,
                    "the disk has room again: new mail is taken"
                );
            }
        }
        Ok(())
    }
}
