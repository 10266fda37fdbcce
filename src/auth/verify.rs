//! Who a foreign message is from (AMTP 1.0, section 9.3): one check out of all we have.
//!
//! - A message with a signature is what its signature comes to: `verified`, `invalid` or
//!   `key_unavailable`. Nothing else makes up for a signature that does not hold.
//! - Without one, a client certificate of the sender's domain counts, then the address the request
//!   comes from; else the message is `unsigned`.
//! - What costs nothing comes first: the form of the signature and what the message must carry are
//!   looked at before the DNS is asked, and the body is made canonical only when there is a key.
//! - A client may make us ask for few new names, and finding out ends when the time is up.

mod certificate;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustls_pki_types::CertificateDer;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::names::NewNames;
use super::source::{SourceCheck, advertised};
use crate::clock::Clock;
use crate::discovery::{Discovery, KeyAnswer};
use crate::envelope::{Verification, VerificationResult};
use crate::protocol::signature::{self, SignatureFault};
use crate::protocol::{Domain, KeyRecord, Message, Selector, SignatureObject};
use crate::telemetry::Metrics;
use crate::tls::ClientChains;
pub(super) use certificate::CertificateCheck;

/// How often quiet clients are forgotten.
const EVERY: Duration = Duration::from_secs(10);

/// Bodies from this size on take long: they are done on threads of their own, a few at a time.
const LARGE: usize = 256 * 1024;
const AT_ONCE: usize = 4;

/// Finds out about foreign senders. Cloning is cheap.
#[derive(Clone)]
pub struct SenderCheck {
    discovery: Discovery,
    source: SourceCheck,
    certificates: CertificateCheck,
    names: NewNames,
    places: Arc<Semaphore>,
    clock: Clock,
    metrics: Metrics,
}

/// From where a message came.
#[derive(Debug, Clone, Copy)]
pub struct Whence<'a> {
    /// The client's address.
    pub remote: Option<IpAddr>,
    /// The chain the client showed, its own certificate first; possession of the key is proven.
    pub certificates: &'a [CertificateDer<'static>],
}

/// Why a signature is not `verified`.
enum Doubt {
    Invalid(SignatureFault),
    /// The domain has no key of this name that counts.
    Unfit,
    NoKey(&'static str),
}

impl SenderCheck {
    /// A check that asks `discovery` and believes the certificates of `chains`.
    #[must_use]
    pub fn new(discovery: Discovery, chains: ClientChains, clock: Clock, metrics: Metrics) -> Self {
        let names = NewNames::new(clock.clone());
        Self {
            source: SourceCheck::new(discovery.clone(), names.clone()),
            certificates: CertificateCheck::new(chains, clock.clone()),
            discovery,
            names,
            places: Arc::new(Semaphore::new(AT_ONCE)),
            clock,
            metrics,
        }
    }

    /// What is known of the sender of a foreign message, at the latest at `until` of the monotonic
    /// clock: then what could not be found out counts as not known.
    pub async fn verify(
        &self,
        message: &Message,
        from: Whence<'_>,
        until: Duration,
    ) -> Verification {
        let domain = message.sender().domain();
        let verification = match message.signature() {
            Some(raw) => self.by_signature(message, raw, (from, until)).await,
            None => {
                let left = until.saturating_sub(self.clock.monotonic());
                let asked = self.clock.within(left, self.by_connection(domain, from));
                asked.await.flatten()
            }
            .unwrap_or_else(|| Verification::unsigned(domain)),
        };
        self.metrics
            .signatures()
            .sender_verified(verification.result.into());
        verification
    }

    /// The verification of a message with a signature.
    async fn by_signature(
        &self,
        message: &Message,
        raw: &str,
        (from, until): (Whence<'_>, Duration),
    ) -> Verification {
        let domain = message.sender().domain();
        let signed = SignatureObject::read(raw);
        let outcome = match &signed {
            Ok(signature) => self.check(message, signature, (from, until)).await,
            Err(fault) => Err(Doubt::Invalid(fault.clone())),
        };
        let result = match &outcome {
            Ok(()) => VerificationResult::Verified,
            Err(Doubt::Invalid(_) | Doubt::Unfit) => VerificationResult::Invalid,
            Err(Doubt::NoKey(_)) => VerificationResult::KeyUnavailable,
        };
        if let Err(doubt) = &outcome {
            tracing::debug!(peer.domain = %domain, client.address = ?from.remote,
                result = <&str>::from(result), reason = %doubt, "signature not verified");
        }
        Verification::signed(result, domain, signed.ok().as_ref())
    }

    async fn check(
        &self,
        message: &Message,
        signature: &SignatureObject,
        (from, until): (Whence<'_>, Duration),
    ) -> Result<(), Doubt> {
        signature::complete(message, self.clock.now())?;
        let domain = message.sender().domain();
        let left = until.saturating_sub(self.clock.monotonic());
        let asked = self.key(&signature.keyid, domain, from.remote);
        let key = self.clock.within(left, asked).await;
        let key = key.ok_or(Doubt::NoKey("the DNS did not answer in time"))??;
        let signed = (message.raw().clone(), signature.clone());
        if signed.0.len() < LARGE {
            return Ok(fits(&key, &signed)?);
        }
        let _place = self.places.acquire().await;
        // Not a task: it computes for a while and ends.
        let done = tokio::task::spawn_blocking(move || fits(&key, &signed)).await;
        Ok(done.unwrap_or(Err(SignatureFault::Forged))?)
    }

    async fn key(
        &self,
        selector: &Selector,
        domain: &Domain,
        client: Option<IpAddr>,
    ) -> Result<KeyRecord, Doubt> {
        let found = match self.discovery.cached_key(selector, domain) {
            Some(found) => found,
            None => {
                let _leave = match client {
                    Some(client) => {
                        let leave = self.names.ask(client, &selector.name_in(domain));
                        Some(leave.ok_or(Doubt::NoKey("the client brings too many names"))?)
                    }
                    None => None,
                };
                let asked = self.discovery.find_key(selector, domain).await;
                asked.map_err(|_| Doubt::NoKey("the DNS does not answer"))?
            }
        };
        match &found.answer {
            KeyAnswer::Key(key) => Ok(key.clone()),
            KeyAnswer::Unfit => Err(Doubt::Unfit),
            KeyAnswer::Nothing => Err(Doubt::NoKey("the domain has no such key")),
        }
    }

    /// The verification by what the connection shows.
    async fn by_connection(&self, domain: &Domain, from: Whence<'_>) -> Option<Verification> {
        let remote = from.remote?;
        if !from.certificates.is_empty() && self.is_certified(domain, from, remote).await {
            return Some(Verification::client_certificate(domain));
        }
        let vouched = self.source.vouches(domain, remote).await;
        vouched.then(|| Verification::source_address(domain))
    }

    /// Whether the client's certificate is for the domain, or for the host of a gateway of it.
    async fn is_certified(&self, domain: &Domain, from: Whence<'_>, remote: IpAddr) -> bool {
        let chain = from.certificates;
        if self.certificates.is_client(chain, domain.as_str()) {
            return true;
        }
        let Some(found) = self.source.gateways(domain, remote).await else {
            return false;
        };
        advertised(&found).iter().any(|one| {
            let host = one.gateway.host();
            self.certificates.is_client(chain, host) || self.certificates.is_server(chain, host)
        })
    }

    /// Forgets quiet clients until stopped: strangers choose what is kept here.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = self.clock.wait(EVERY) => self.names.forget_quiet(),
                () = stop.cancelled() => return,
            }
        }
    }
}

/// Whether this is a signature with this key over this body.
fn fits(key: &KeyRecord, signed: &(Bytes, SignatureObject)) -> Result<(), SignatureFault> {
    let canonical = signature::canonical(&signed.0)?;
    signature::verify(key, &signed.1, &canonical)
}

impl From<SignatureFault> for Doubt {
    fn from(fault: SignatureFault) -> Self {
        Self::Invalid(fault)
    }
}

impl std::fmt::Display for Doubt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Invalid(fault) => fault.fmt(f),
            Self::Unfit => f.write_str("the key's records are not exactly one valid one"),
            Self::NoKey(why) => f.write_str(why),
        }
    }
}
