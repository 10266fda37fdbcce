//! Small parts of a gateway, from their configuration.

use std::path::PathBuf;

use super::StartError;
use crate::clock::Clock;
use crate::config::Config;
use crate::endpoint::http::rate::AddressRate;
use crate::store::{SealFault, Sealer, Space};
use crate::telemetry::Metrics;

/// How many requests one address may make.
pub(super) fn address_rate(config: &Config, clock: &Clock) -> AddressRate {
    let rate = &config.limits.address_rate;
    AddressRate::new(rate.count, rate.period, clock.clone())
}

/// What seals credentials in the database, where a key is configured.
pub(super) fn sealer(config: &Config) -> Result<Option<Sealer>, SealFault> {
    let secrets = config.secrets.as_ref();
    let sealer = |it: &crate::config::Secrets| {
        Sealer::new(it.key.reveal())?.with_previous(it.previous.iter().map(|key| key.reveal()))
    };
    secrets.map(sealer).transpose()
}

/// The watch over the disk of the database.
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
