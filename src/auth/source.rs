//! Whether a request comes from the gateway of its sender's domain (AMTP 1.0, section 9.3).
//!
//! A foreign sender is believed by its source address when the request comes from an address of a
//! gateway that the `_amtp` record of its domain names. When the DNS does not answer, what it said
//! within the last day still counts; else nobody is believed.

use std::net::IpAddr;
use std::sync::Arc;

use super::names::NewNames;
use crate::discovery::{Answer, Discovery, Found};
use crate::protocol::{Advertisement, Domain};

/// Compares source addresses with what domains publish. Cloning is cheap.
#[derive(Clone)]
pub(super) struct SourceCheck {
    discovery: Discovery,
    names: NewNames,
}

impl SourceCheck {
    /// A check that asks `discovery`, within the bounds of `names`.
    pub(super) const fn new(discovery: Discovery, names: NewNames) -> Self {
        Self { discovery, names }
    }

    /// What the domain says of its gateways, if `client` may make us ask for it.
    pub(super) async fn gateways(&self, domain: &Domain, client: IpAddr) -> Option<Arc<Found>> {
        let _leave = match self.discovery.cached(domain) {
            Some(found) => return Some(found),
            None => self.names.ask(client, domain.as_str())?,
        };
        self.discovery.find(domain).await.ok()
    }

    /// Whether `remote` is an address of a gateway of `domain`.
    pub(super) async fn vouches(&self, domain: &Domain, remote: IpAddr) -> bool {
        let remote = remote.to_canonical();
        let Some(found) = self.gateways(domain, remote).await else {
            return false;
        };
        for gateway in advertised(&found) {
            if let Ok(addresses) = self.discovery.addresses(gateway.gateway.host()).await
                && addresses
                    .iter()
                    .any(|address| address.to_canonical() == remote)
            {
                return true;
            }
        }
        false
    }
}

/// The gateways of an answer.
pub(super) fn advertised(found: &Found) -> &[Advertisement] {
    match &found.answer {
        Answer::Gateways(gateways) => gateways,
        Answer::NoRecord { .. } => &[],
    }
}
