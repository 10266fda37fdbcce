//! The disk of the database.

use std::path::PathBuf;

use super::StartError;
use crate::config::Config;
use crate::store::Space;
use crate::telemetry::Metrics;

/// What watches how much room there is.
pub(super) fn space(config: &Config, metrics: &Metrics) -> Result<Space, StartError> {
    let file = config.store.database.file();
    let folder = file.map(|file| match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    });
    let floor = config.limits.min_free_disk;
    Space::watch(folder.clone(), floor, metrics.clone()).map_err(|cause| StartError::Disk {
        folder: folder.unwrap_or_default(),
        cause,
    })
}
