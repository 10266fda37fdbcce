//! Whether a request comes from the gateway of its sender's domain (AMTP 1.0, section 9.3).
//!
//! A foreign sender is believed by its source address when the request comes from an address of a
//! gateway that the `_amtp` record of its domain names. When the DNS does not answer, what it said
//! within the last day still counts; else nobody is believed. One address may ask for few names
//! that are not known already.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Ticks};
use crate::discovery::{Answer, Discovery};
use crate::net::network_of;
use crate::protocol::Domain;

/// Names a second that one address may make us ask the DNS for.
const NEW_NAMES: NonZeroU32 = NonZeroU32::new(5).expect("not zero");

/// How often quiet addresses are forgotten.
const EVERY: Duration = Duration::from_secs(10);

type Limiter = RateLimiter<IpAddr, DashMapStateStore<IpAddr>, Ticks, NoOpMiddleware<Nanos>>;

/// Compares source addresses with what domains publish. Cloning is cheap.
#[derive(Clone)]
pub struct SourceCheck {
    discovery: Discovery,
    limiter: Arc<Limiter>,
}

impl SourceCheck {
    /// A check that asks `discovery`.
    #[must_use]
    pub fn new(discovery: Discovery, clock: Clock) -> Self {
        let quota = Quota::per_second(NEW_NAMES);
        Self {
            discovery,
            limiter: Arc::new(Limiter::dashmap_with_clock(quota, Ticks::of(clock))),
        }
    }

    /// Whether `remote` is an address of a gateway of `domain`.
    pub async fn vouches(&self, domain: &Domain, remote: IpAddr) -> bool {
        let remote = remote.to_canonical();
        if self.discovery.cached(domain).is_none()
            && self.limiter.check_key(&network_of(remote)).is_err()
        {
            return false;
        }
        let Ok(found) = self.discovery.find(domain).await else {
            return false;
        };
        let Answer::Gateways(gateways) = &found.answer else {
            return false;
        };
        for gateway in gateways {
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

    /// Forgets quiet addresses until stopped: strangers choose what is kept here.
    pub async fn run(self, clock: Clock, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = clock.wait(EVERY) => self.limiter.retain_recent(),
                () = stop.cancelled() => return,
            }
        }
    }
}
