//! Tokens of other issuers (OpenID Connect): checked against their keys, and whom they stand for.
//!
//! - Only issuers of the configuration are asked for anything; a token of another one costs a look at
//!   its text.
//! - The algorithm must be one the issuer may use and fit the key; `iss` and `aud` must be equal
//!   letter by letter; the times may be off by the configured skew.
//! - A good token is remembered by its hash until its end, at most five minutes, and no longer than
//!   its issuer's keys stay as they are.
//! - Its caller is never told what is wrong with a token.

mod claims;
mod fetch;
pub mod fuzzing;
mod keeper;
mod keys;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;

use super::jwt::{self, Demands, Glance};
use crate::clock::Clock;
use crate::config::Issuer;
use crate::net::GuardedClient;
use crate::protocol::{Domain, Timestamp};
use crate::telemetry::{IssuerMetrics, Metrics};
use claims::Mapping;
use keeper::Whence;

pub(super) use claims::{Bearer, ours};
pub use keeper::Keeper;

/// Tokens that are known to be good, and for how long at most.
const REMEMBERED: u64 = 10_000;
const KNOWN_FOR: Duration = Duration::from_secs(300);

/// The issuers whose tokens are believed. Cloning is cheap.
#[derive(Clone)]
pub struct Issuers(Arc<Shared>);

struct Shared {
    issuers: Vec<Believed>,
    known: Cache<[u8; 32], Arc<Known>>,
    clock: Clock,
    metrics: IssuerMetrics,
}

struct Believed {
    domain: String,
    name: String,
    mapping: Mapping,
    keeper: Keeper,
}

/// A good token.
struct Known {
    issuer: usize,
    /// Of the keys it was checked with.
    edition: u64,
    until: Timestamp,
    bearer: Bearer,
}

impl Issuers {
    /// The issuers of the configuration, whose keys are fetched with `client` as soon as their
    /// [keepers](Self::keepers) run; `domains` are ours, the first one that of names without one.
    #[must_use]
    pub fn new(
        issuers: &BTreeMap<Domain, Issuer>,
        domains: &[Domain],
        client: &GuardedClient,
        clock: &Clock,
        metrics: &Metrics,
    ) -> Self {
        let believed = |(domain, settings): (&Domain, &Issuer)| {
            let (name, domain) = (settings.name(domain), domain.to_string());
            let from = Whence {
                domain: domain.clone(),
                issuer: name.clone(),
                jwks_url: settings.jwks_url.clone(),
            };
            let counted = metrics.issuers().clone();
            Believed {
                keeper: Keeper::new(from, client.clone(), clock.clone(), counted),
                mapping: Mapping {
                    settings: settings.clone(),
                    domains: domains.to_vec(),
                },
                domain,
                name,
            }
        };
        Self(Arc::new(Shared {
            issuers: issuers.iter().map(believed).collect(),
            known: Cache::builder()
                .max_capacity(REMEMBERED)
                .time_to_live(KNOWN_FOR)
                .build(),
            clock: clock.clone(),
            metrics: metrics.issuers().clone(),
        }))
    }

    /// What keeps the keys fresh, one for each issuer; each must run.
    pub fn keepers(&self) -> impl Iterator<Item = Keeper> {
        self.0.issuers.iter().map(|issuer| issuer.keeper.clone())
    }

    /// Whom a token stands for; nobody if it is not good, or of an issuer that is not believed.
    pub(super) async fn read(&self, token: &str) -> Option<Bearer> {
        let shared = &self.0;
        let mark = super::key::hash(token);
        if let Some(known) = shared.known.get(&mark)
            && shared.clock.now() < known.until
            && shared.issuers[known.issuer].keeper.edition() == Some(known.edition)
        {
            return Some(known.bearer.clone());
        }
        let glance = jwt::glance(token).ok()?;
        let mut issuers = shared.issuers.iter();
        let issuer = issuers.position(|issuer| issuer.name == glance.issuer)?;
        let known = Arc::new(self.check(token, &glance, issuer).await?);
        shared.known.insert(mark, known.clone());
        Some(known.bearer.clone())
    }

    async fn check(&self, token: &str, glance: &Glance, number: usize) -> Option<Known> {
        let (metrics, issuer) = (&self.0.metrics, &self.0.issuers[number]);
        let settings = &issuer.mapping.settings;
        let refused = || metrics.token(&issuer.domain, "refused");
        if !settings.algorithms.contains(&glance.algorithm) {
            refused();
            return None;
        }
        let found = issuer.keeper.find(glance.key.as_deref(), glance.algorithm);
        let Some((edition, key)) = found.await else {
            metrics.token(&issuer.domain, "unknown_key");
            return None;
        };
        let now = self.0.clock.now();
        let demands = Demands {
            issuer: &issuer.name,
            audiences: &settings.audience,
            algorithms: &[glance.algorithm],
            skew: settings.skew,
            now,
        };
        let claims = jwt::verify(token, &key, &demands);
        let claims = claims.inspect_err(|fault| {
            tracing::debug!(issuer.domain = issuer.domain, reason = %fault, "a token is refused");
        });
        let named = claims.ok().and_then(|claims| {
            let bearer = issuer.mapping.bearer(&claims)?;
            Some((claims.exp, bearer))
        });
        let Some((exp, bearer)) = named else {
            refused();
            return None;
        };
        metrics.token(&issuer.domain, "good");
        let end = Timestamp::from_millis(exp.saturating_mul(1_000));
        Some(Known {
            issuer: number,
            edition,
            until: end.plus(settings.skew).min(now.plus(KNOWN_FOR)),
            bearer,
        })
    }
}

#[cfg(test)]
mod tests;
