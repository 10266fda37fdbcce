//! Where a domain's gateway is, and where its mail goes: asked in the DNS and remembered.
//! AMTP 1.0, section 3.2.
//!
//! - The record is the TXT record at `_amtp.<domain>`. Several valid ones are alternatives; they come
//!   in random order.
//! - An answer is kept for its time to live, 30 seconds at least and a day at most. That there is
//!   nothing is kept as long as the zone says, 5 seconds at least and 5 minutes at most; a minute
//!   where it does not say.
//! - A DNS that fails never means "no such record". What was found before serves on as stale for a
//!   day after its time, and is asked for again every 30 seconds; where nothing was found before, the
//!   failure is remembered for 5 seconds.
//! - At most one question for a name is under way at a time, shared by all who ask; at most 64
//!   questions in all. Who waits 5 seconds for a place hears that we are busy.
//! - Keys that check signatures ([`KeyAnswer`]) are kept for their time to live, 5 minutes at most; that
//!   there is none for 30 seconds at most. None serves on as stale.
//! - All time is the injected clock's.

mod answer;
mod flights;
mod keys;
mod mail;
mod memory;
mod overrides;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::net::{MailExchange, Resolver};
use crate::protocol::{Advertisement, Domain};
use crate::telemetry::Metrics;

pub use answer::{Answer, DiscoveryFault, Found, MailRoute};
use answer::{Heard, Knowledge};
pub use keys::KeyAnswer;
pub use mail::{MtaSts, StsMode, StsPolicy, sts_id};
use memory::{Memory, Terms};
use overrides::Overrides;

/// Questions to the DNS that may be under way at once.
const MOST_QUESTIONS: usize = 64;
/// How long a question waits for its place among them.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// What is known of other domains. Cloning is cheap; all clones remember together.
#[derive(Clone)]
pub struct Discovery {
    asker: Arc<Asker>,
    overrides: Arc<Overrides>,
}

struct Asker {
    resolver: Arc<dyn Resolver>,
    clock: Clock,
    metrics: Metrics,
    places: Semaphore,
    records: Memory<Answer>,
    exchanges: Memory<Vec<MailExchange>>,
    addresses: Memory<Vec<IpAddr>>,
    keys: Memory<KeyAnswer>,
}

impl Discovery {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(resolver: Arc<dyn Resolver>, clock: Clock, metrics: Metrics) -> Self {
        let asker = Asker {
            resolver,
            clock,
            metrics,
            places: Semaphore::new(MOST_QUESTIONS),
            records: Memory::new("txt", Terms::PLACES),
            exchanges: Memory::new("mx", Terms::PLACES),
            addresses: Memory::new("address", Terms::PLACES),
            keys: Memory::new("key", Terms::KEYS),
        };
        Self {
            asker: Arc::new(asker),
            overrides: Arc::default(),
        }
    }

    /// The same, but the gateways of these domains are fixed and the DNS is not asked about them.
    #[must_use]
    pub fn with_overrides(self, fixed: HashMap<Domain, Advertisement>) -> Self {
        Self {
            overrides: Arc::new(Overrides::new(fixed)),
            ..self
        }
    }

    /// What a domain's `_amtp` record says.
    ///
    /// # Errors
    /// Nobody knows at the moment; whoever wants to send tries again later.
    pub async fn find(&self, domain: &Domain) -> Result<Arc<Found>, DiscoveryFault> {
        if let Some(fixed) = self.overrides.find(domain, self.asker.clock.now()) {
            return Ok(fixed);
        }
        let name = format!("_amtp.{}", domain.as_str());
        let asked = async {
            let answer = self.asker.resolver.txt(&name).await;
            Heard::of(answer, |records| Answer::read(&records))
        };
        self.asker
            .ask(&self.asker.records, domain.as_str(), asked)
            .await
    }

    /// What is known of a domain without asking, unless its time is over.
    #[must_use]
    pub fn cached(&self, domain: &Domain) -> Option<Arc<Found>> {
        let now = self.asker.clock.now();
        let fixed = self.overrides.find(domain, now);
        fixed.or_else(|| self.asker.records.fresh(domain.as_str(), now))
    }

    /// The addresses of a host, version 6 and 4 in turn; none where it surely has none. An address
    /// in digits is its own answer.
    ///
    /// # Errors
    /// As [`Discovery::find`].
    pub async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, DiscoveryFault> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let asked = async {
            let answer = self.asker.resolver.addresses(&host).await;
            Heard::of(answer, |addresses| addresses)
        };
        let found = self.asker.ask(&self.asker.addresses, &host, asked).await?;
        Ok(found.answer.clone())
    }

    /// Where a domain's mail goes: to its mail exchanges, or to the domain's own host where it names
    /// none (RFC 5321, section 5.1).
    ///
    /// # Errors
    /// As [`Discovery::find`].
    pub async fn mail_exchanges(&self, domain: &Domain) -> Result<MailRoute, DiscoveryFault> {
        let asked = async {
            let answer = self.asker.resolver.mx(domain.as_str()).await;
            Heard::of(answer, |exchanges| exchanges)
        };
        let found = self
            .asker
            .ask(&self.asker.exchanges, domain.as_str(), asked)
            .await?;
        if let Some(route) = MailRoute::by_exchanges(&found.answer) {
            return Ok(route);
        }
        if self.addresses(domain.as_str()).await?.is_empty() {
            return Ok(MailRoute::None);
        }
        Ok(MailRoute::Implicit(domain.as_str().to_owned()))
    }
}

impl Asker {
    /// What is remembered of a name, or what `question` finds out; counted either way.
    async fn ask<A: Knowledge>(
        &self,
        memory: &Memory<A>,
        name: &str,
        question: impl Future<Output = Result<Heard<A>, String>>,
    ) -> Result<Arc<Found<A>>, DiscoveryFault> {
        let mut asked = false;
        let known = match memory.recall(name, self.clock.now()) {
            Some(known) => known,
            None => {
                let question = self.ask_anew(memory, name, question, &mut asked);
                memory.flights.share(name, question).await
            }
        };
        let outcome = match &known {
            Err(_) => "failed",
            Ok(found) if found.stale => "stale",
            Ok(_) if !asked => "cached",
            Ok(found) if found.answer.is_nothing() => "none",
            Ok(_) => "found",
        };
        self.metrics.dns_lookup(memory.kind, outcome);
        known
    }

    async fn ask_anew<A: Knowledge>(
        &self,
        memory: &Memory<A>,
        name: &str,
        question: impl Future<Output = Result<Heard<A>, String>>,
        asked: &mut bool,
    ) -> Result<Arc<Found<A>>, DiscoveryFault> {
        // The answer may have come between the look into the memory and this turn to ask.
        if let Some(known) = memory.recall(name, self.clock.now()) {
            return known;
        }
        let place = self.places.acquire();
        let Some(_place) = self.clock.within(LONGEST_WAIT, place).await else {
            let stale = memory.stale(name, self.clock.now());
            return stale.ok_or(DiscoveryFault::Busy);
        };
        *asked = true;
        let answer = question.await;
        memory.learn(name, answer, self.clock.now())
    }
}

#[cfg(test)]
mod tests;
