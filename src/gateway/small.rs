//! Small parts of a gateway, from their configuration.

use crate::admission::Admission;
use crate::clock::Clock;
use crate::config::Config;
use crate::endpoint::http::edge::Edge;
use crate::endpoint::http::rate::AddressRate;
use crate::store::{SealFault, Sealer};
use crate::telemetry::Metrics;

/// What every request passes.
pub(super) fn edge((clock, metrics): (&Clock, &Metrics), admission: Admission) -> Edge {
    Edge {
        clock: clock.clone(),
        metrics: metrics.clone(),
        admission: Some(admission),
    }
}

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
