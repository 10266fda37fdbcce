//! The registry of schemas, from its configuration.

use super::StartError;
use super::outgoing::Outgoing;
use crate::clock::Clock;
use crate::config::Config;
use crate::schema::{SchemaOptions, Schemas};
use crate::store::Store;
use crate::telemetry::Metrics;

/// Reads what there is, and sets up the way to the registries of others.
pub(super) async fn open(
    config: &Config,
    store: &Store,
    (clock, metrics): (&Clock, &Metrics),
    outgoing: &Outgoing,
) -> Result<Schemas, StartError> {
    let section = &config.schemas;
    let options = SchemaOptions {
        dir: section.dir.clone(),
        unknown: Some(section.unknown),
        remote: Some((section.registries.clone(), outgoing.schemas.clone())),
    };
    Ok(Schemas::open(options, store.clone(), clock.clone(), metrics).await?)
}
