//! What may pass: policies and schemas, from their configuration.

use super::StartError;
use super::outgoing::Outgoing;
use crate::admission::{Admission, AdmissionRules};
use crate::clock::Clock;
use crate::config::Config;
use crate::policy::Policies;
use crate::schema::{SchemaOptions, Schemas};
use crate::store::Store;
use crate::telemetry::Metrics;

/// Requests at a time, of all kinds, for each connection that may be open: a waiting request takes
/// some kilobytes.
const REQUESTS: usize = 16;

/// Reads the policies; a gateway does not start with others than its operator wrote.
pub(super) fn policies(
    config: &Config,
    clock: &Clock,
    metrics: &Metrics,
) -> Result<Policies, StartError> {
    let folder = config.policies.as_ref().map(|it| it.dir.as_path());
    let counters = metrics.policies().clone();
    Policies::load(folder, config.domains.clone(), clock.clone(), counters)
        .map_err(StartError::Policies)
}

/// Reads what there is, and sets up the way to the registries of others.
pub(super) async fn schemas(
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

/// What is let in when much comes.
pub(super) fn admission(config: &Config, clock: &Clock, metrics: &Metrics) -> Admission {
    let rules = AdmissionRules {
        commit_wait: config.limits.commit_wait,
        requests: config.limits.connections.saturating_mul(REQUESTS),
    };
    Admission::new(rules, clock.clone(), metrics.admission().clone())
}
