//! The way to a peer gateway (AMTP 1.0, sections 5.1 and 5.3).
//!
//! - A request goes to a gateway that the domain's `_amtp` record names; alternatives are tried in
//!   turn while nobody answers. A domain without a record has no peer; one that had a record within
//!   30 days is waited for, a day a message.
//! - The copies of a message that travel together are one request; where the peer takes batches,
//!   several messages are. A peer that refuses requests for several recipients, or batches, is asked
//!   for each alone at once, and for some time to come.
//! - A fresh identity is on disk before it is sent. An answer out of the peer's table of duplicates
//!   is answered by the same request under a fresh identity, at most twice.
//! - Order holds within a trip, see [`trip`].

mod answer;
mod batch;
mod exchange;
mod letter;
mod remembered;
mod route;
#[cfg(test)]
mod samples;
mod signing;
#[cfg(test)]
mod tests;
mod together;
mod trip;
mod visit;

use std::collections::HashMap;
use std::time::Duration;

use super::front::carried_on;
use super::text;
use super::{Attempted, Carrying, Destination, Fault, Load, Outcome, Parcel, Transport};
use crate::clock::Clock;
use crate::config::Secret;
use crate::discovery::{Answer, Discovery, Found};
use crate::net::GuardedClient;
use crate::protocol::{Domain, ErrorCode};
use crate::store::{Store, StoreError};
use remembered::Remembered;
use route::{NoRoute, Route};
pub use signing::Signing;
use trip::Trip;
use visit::Visit;

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// How a peer is spoken to.
#[derive(Clone)]
pub struct PeerSettings {
    /// With its trusted certificates, client certificate and allowed addresses.
    pub client: GuardedClient,
    /// The value of the header `Authorization`.
    pub authorization: Option<Secret>,
    /// Whether batches may be sent where the peer takes them.
    pub batch: bool,
}

/// How peers are spoken to.
#[derive(Clone)]
pub struct PeerOptions {
    /// Those with settings of their own.
    pub peers: HashMap<Domain, PeerSettings>,
    /// All others.
    pub others: PeerSettings,
}

/// What the transport to peers works with.
#[derive(Clone)]
pub struct PeerTools {
    /// Where identities are kept.
    pub store: Store,
    /// Where gateways are looked up.
    pub discovery: Discovery,
    /// The clock.
    pub clock: Clock,
}

/// Carries parcels to peer gateways.
pub struct PeerTransport {
    tools: PeerTools,
    options: PeerOptions,
    signing: Option<Signing>,
    /// Peers that do not take a request for several recipients.
    one_by_one: Remembered,
    /// Peers that do not take batches.
    no_batch: Remembered,
    /// Domains whose valid record was noted in the store.
    noted: Remembered,
}

impl PeerTransport {
    /// Knows nothing of any peer yet.
    #[must_use]
    pub fn new(tools: PeerTools, options: PeerOptions) -> Self {
        Self {
            tools,
            options,
            signing: None,
            one_by_one: Remembered::for_span(DAY),
            no_batch: Remembered::for_span(HOUR),
            noted: Remembered::for_span(DAY),
        }
    }

    /// Signs what it carries.
    #[must_use]
    pub fn with_signing(mut self, signing: Signing) -> Self {
        self.signing = Some(signing);
        self
    }

    /// Carries parcels; copies for addresses of ours that stand for an agent there go as from those.
    async fn carry_to(&self, domain: &Domain, parcels: Vec<Parcel>) -> Vec<Vec<Attempted>> {
        let is_there = |parcel: &Parcel| {
            let mut copies = parcel.copies.iter();
            copies.all(|copy| copy.recipient.domain() == domain)
        };
        if parcels.iter().all(is_there) {
            return self.travel(domain, parcels).await;
        }
        let mut results: Vec<Vec<Option<Attempted>>> = parcels
            .iter()
            .map(|parcel| vec![None; parcel.copies.len()])
            .collect();
        let (mut going, mut places) = (Vec::new(), Vec::new());
        for (at, parcel) in parcels.iter().enumerate() {
            let (there, here): (Vec<usize>, Vec<usize>) = (0..parcel.copies.len())
                .partition(|slot| parcel.copies[*slot].recipient.domain() == domain);
            if !there.is_empty() {
                let copies = there.iter().map(|slot| parcel.copies[*slot].clone());
                going.push(Parcel {
                    copies: copies.collect(),
                    ..parcel.clone()
                });
                places.push((at, there));
            }
            for slot in here {
                match carried_on(&self.tools.store, parcel, &parcel.copies[slot], domain).await {
                    Ok(onward) => {
                        going.push(onward);
                        places.push((at, vec![slot]));
                    }
                    Err(outcome) => results[at][slot] = Some(unsent(outcome)),
                }
            }
        }
        let carried = self.travel(domain, going).await;
        for ((at, slots), made) in places.into_iter().zip(carried) {
            for (slot, made) in slots.into_iter().zip(made) {
                results[at][slot] = Some(made);
            }
        }
        let untried = || unsent(Outcome::Deferred(not_tried()));
        let whole = |made: Vec<Option<Attempted>>| {
            let made = made.into_iter();
            made.map(|it| it.unwrap_or_else(untried)).collect()
        };
        results.into_iter().map(whole).collect()
    }

    async fn travel(&self, domain: &Domain, parcels: Vec<Parcel>) -> Vec<Vec<Attempted>> {
        let mut trip = Trip::new(parcels);
        match self.tools.discovery.find(domain).await {
            Err(fault) => trip.stop(text::trouble(
                ErrorCode::RecipientUnavailable,
                Fault::Destination,
                &format!("the gateway of {domain} cannot be looked up: {fault}"),
            )),
            Ok(found) => match &found.answer {
                Answer::Gateways(gateways) => {
                    self.note(domain, &found).await;
                    let route = Route { domain, gateways };
                    Visit::to(self, route).make(&mut trip).await;
                }
                Answer::NoRecord { invalid } => self.turn_back(domain, invalid, &mut trip).await,
            },
        }
        trip.finish()
    }

    /// Notes, once a day, that a domain has a record.
    async fn note(&self, domain: &Domain, found: &Found) {
        let now = self.tools.clock.monotonic();
        if found.stale || self.noted.holds(domain, now) {
            return;
        }
        let moment = self.tools.clock.now();
        match self
            .tools
            .store
            .remember_domain(domain.clone(), moment)
            .await
        {
            Ok(()) => self.noted.note(domain, now),
            Err(error) => {
                tracing::warn!(peer.domain = %domain, %error, "that the domain has a gateway could not be noted");
            }
        }
    }

    /// Settles a trip to a domain without a gateway.
    async fn turn_back(&self, domain: &Domain, invalid: &[String], trip: &mut Trip) {
        let seen = match self.tools.store.domain_seen(domain).await {
            Ok(seen) => seen,
            Err(error) => return trip.stop(own_trouble(&error)),
        };
        let mut words = format!("{domain} has no _amtp record");
        if let Some(fault) = invalid.first() {
            words = format!("{domain} has no valid _amtp record: {fault}");
        }
        let (none, now) = (NoRoute { words, seen }, self.tools.clock.now());
        for unit in trip.take_all() {
            trip.settle_whole(&unit, &none.verdict(&unit.parcel, now), None);
        }
    }

    fn settings(&self, domain: &Domain) -> &PeerSettings {
        self.options
            .peers
            .get(domain)
            .unwrap_or(&self.options.others)
    }

    /// How much may go to a peer in one request.
    fn load_on(&self, route: &Route<'_>) -> Load {
        let now = self.tools.clock.monotonic();
        let takes = self.settings(route.domain).batch
            && !route.batching().is_empty()
            && !self.no_batch.holds(route.domain, now);
        if takes { batch::LOAD } else { Load::SINGLE }
    }

    fn asks_one_by_one(&self, domain: &Domain) -> bool {
        let now = self.tools.clock.monotonic();
        self.one_by_one.holds(domain, now)
    }
}

/// Nothing was sent.
const fn unsent(outcome: Outcome) -> Attempted {
    Attempted {
        outcome,
        remote: None,
        renew: false,
    }
}

fn not_tried() -> super::Trouble {
    text::trouble(ErrorCode::TemporaryFailure, Fault::Message, "not tried")
}

/// Our own database fails: nothing may be sent that is not on disk.
fn own_trouble(error: &StoreError) -> super::Trouble {
    tracing::error!(%error, "messages to peers wait for the database");
    text::trouble(
        ErrorCode::TemporaryFailure,
        Fault::Message,
        "this gateway's own database fails at present",
    )
}

impl Transport for PeerTransport {
    fn carry<'a>(&'a self, to: &'a Destination, parcels: Vec<Parcel>) -> Carrying<'a> {
        Box::pin(async move {
            match to {
                Destination::Peer(domain) => self.carry_to(domain, parcels).await,
                other => {
                    let mut trip = Trip::new(parcels);
                    let words = format!("{other} is no peer");
                    let code = ErrorCode::InternalError;
                    trip.stop(text::trouble(code, Fault::Destination, &words));
                    trip.finish()
                }
            }
        })
    }

    fn load(&self, to: &Destination) -> Load {
        let Destination::Peer(domain) = to else {
            return Load::SINGLE;
        };
        match self.tools.discovery.cached(domain).as_deref() {
            Some(Found {
                answer: Answer::Gateways(gateways),
                ..
            }) => self.load_on(&Route { domain, gateways }),
            _ => Load::SINGLE,
        }
    }
}
