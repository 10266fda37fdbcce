//! The agents of this gateway as A2A servers, from their configuration.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::credentials::Credentials;
use super::{Parts, endless};
use crate::auth::KeyRing;
use crate::endpoint::a2a::{A2a, Tools};
use crate::intake::{Intake, LocalNames};
use crate::lifecycle::Stage;
use crate::store::{KeyUse, Sealer};

/// The endpoint, where it is on.
pub(super) fn endpoint(
    parts: &Parts<'_>,
    (intake, credentials): (&Intake, &Credentials),
    sealer: Option<&Sealer>,
    (names, draining): (Arc<LocalNames>, CancellationToken),
) -> Option<A2a> {
    let rules = parts.config.a2a.clone()?;
    let (store, clock) = (parts.store, parts.clock);
    let keys = sealer.map(|sealer| {
        let tools = (store.clone(), sealer.clone());
        KeyRing::new(KeyUse::Cards, tools, clock.clone())
    });
    let gateway = parts.config.gateway_url.as_str();
    Some(A2a::new(Tools {
        intake: intake.clone(),
        store: store.clone(),
        names,
        main_domain: parts.config.domains[0].clone(),
        gateway: gateway.trim_end_matches('/').to_owned(),
        clock: clock.clone(),
        sealer: sealer.cloned(),
        keys,
        audit: credentials.audit.clone(),
        draining,
        rules,
    }))
}

/// Keeps the keys that sign cards fresh.
pub(super) fn spawn(work: &Stage, a2a: Option<&A2a>) {
    if let Some(keys) = a2a.and_then(|a2a| a2a.keys.clone()) {
        work.spawn("card keys", endless(keys.run(work.stop())));
    }
}
