//! What a domain asks of those who send it mail: its MTA-STS policy (RFC 8461).
//!
//! - The record at `_mta-sts.<domain>` says that there is a policy, and by its id whether it is another
//!   one than before. The policy itself comes over HTTPS from `mta-sts.<domain>`, whose certificate must
//!   be valid; redirects are not followed.
//! - A policy is kept for the time it says, a year at most. Until then it holds even where the record is
//!   gone or the policy cannot be fetched: who is in between cannot take it away.
//! - What cannot be read is no policy. That there is none is believed for five minutes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use moka::sync::Cache;

use crate::clock::Clock;
use crate::net::{AnswerLimits, DnsFault, GuardedClient, Resolver};
use crate::protocol::{Domain, Timestamp};

const LIMITS: AnswerLimits = AnswerLimits {
    size: 64 * 1024,
    time: Duration::from_secs(20),
};
/// How often the record of a domain is looked at.
const LOOK: Duration = Duration::from_secs(300);
/// The longest time a policy is kept.
const YEAR: u64 = 31_557_600;
/// Domains that are remembered.
const MOST: u64 = 20_000;
/// Patterns of one policy.
const MOST_HOSTS: usize = 64;

/// How strictly a policy is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StsMode {
    /// Mail goes to the named hosts with valid certificates, or not at all.
    Enforce,
    /// The domain only watches.
    Testing,
    /// There is none any more.
    None,
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StsPolicy {
    /// How strictly it is meant.
    pub mode: StsMode,
    /// The hosts that take the domain's mail; `*.` stands for one label.
    hosts: Vec<String>,
    /// How long it may be kept.
    max_age: Duration,
}

impl StsPolicy {
    /// Reads a policy; nothing where it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (mut version, mut mode, mut max_age) = (None, None, None);
        let mut hosts = Vec::new();
        for line in text.lines() {
            let Some((key, value)) = line.split_once(':') else {
                continue;
            };
            let value = value.trim();
            match key.trim() {
                "version" => version = version.or(Some(value)),
                "mode" => mode = mode.or(Some(value)),
                "max_age" => max_age = max_age.or(value.parse::<u64>().ok()),
                "mx" if hosts.len() < MOST_HOSTS => hosts.push(value.to_ascii_lowercase()),
                _ => {}
            }
        }
        let mode = match mode? {
            "enforce" => StsMode::Enforce,
            "testing" => StsMode::Testing,
            "none" => StsMode::None,
            _ => return None,
        };
        let has_hosts = mode == StsMode::None || !hosts.is_empty();
        (version == Some("STSv1") && has_hosts).then_some(Self {
            mode,
            hosts,
            max_age: Duration::from_secs(max_age?.min(YEAR)),
        })
    }

    /// Whether a host is one of those it names.
    #[must_use]
    pub fn names(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        self.hosts
            .iter()
            .any(|pattern| match pattern.strip_prefix("*.") {
                Some(rest) => host
                    .split_once('.')
                    .is_some_and(|(_, parent)| parent == rest),
                None => *pattern == host,
            })
    }
}

/// The id of the policy that TXT records announce; nothing where there is not exactly one.
#[must_use]
pub fn sts_id(records: &[String]) -> Option<String> {
    let meant = |record: &&String| {
        let version = record.split(';').next().unwrap_or_default();
        version.trim() == "v=STSv1"
    };
    let mut found = records.iter().filter(meant);
    let (one, None) = (found.next()?, found.next()) else {
        return None;
    };
    let mut tags = one.split(';').filter_map(|tag| tag.split_once('='));
    let (_, id) = tags.find(|(key, _)| key.trim() == "id")?;
    let id = id.trim();
    let fits = (1..=32).contains(&id.len()) && id.bytes().all(|it| it.is_ascii_alphanumeric());
    fits.then(|| id.to_owned())
}

#[derive(Clone)]
struct Known {
    /// The policy with its id, and until when it holds.
    policy: Option<(Arc<StsPolicy>, String, Timestamp)>,
    looked_at: Timestamp,
}

/// Finds and remembers policies. Cloning is cheap.
#[derive(Clone)]
pub struct MtaSts {
    resolver: Arc<dyn Resolver>,
    client: GuardedClient,
    clock: Clock,
    known: Cache<Domain, Known>,
}

impl MtaSts {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(resolver: Arc<dyn Resolver>, client: GuardedClient, clock: Clock) -> Self {
        let known = Cache::new(MOST);
        Self {
            resolver,
            client,
            clock,
            known,
        }
    }

    /// The policy of a domain.
    pub async fn find(&self, domain: &Domain) -> Option<Arc<StsPolicy>> {
        self.find_by(domain, |domain| self.fetch(domain)).await
    }

    /// Knows the policy of a domain for an hour, as if it had been fetched.
    #[cfg(test)]
    pub(crate) async fn remember(&self, domain: &Domain, text: &str) {
        let known = self
            .find_by(domain, |_| async { Some(text.to_owned()) })
            .await;
        assert!(known.is_some(), "it is announced, and a policy");
    }

    async fn find_by<F: Future<Output = Option<String>>>(
        &self,
        domain: &Domain,
        fetch: impl FnOnce(Domain) -> F,
    ) -> Option<Arc<StsPolicy>> {
        let now = self.clock.now();
        let known = self.known.get(domain);
        let held = known.as_ref().and_then(|known| known.policy.clone());
        let held = held.filter(|(_, _, until)| now < *until);
        if known.is_some_and(|known| now.since(known.looked_at) < LOOK) {
            return held.map(|(policy, ..)| policy);
        }
        let name = format!("_mta-sts.{domain}");
        let announced = match self.resolver.txt(&name).await {
            Ok(found) => sts_id(&found.records),
            Err(DnsFault::Nothing { .. } | DnsFault::Failed(_)) => None,
        };
        let is_new = |id: &&String| held.as_ref().is_none_or(|(_, known, _)| known != *id);
        let mut policy = held.clone();
        if let Some(id) = announced.as_ref().filter(is_new) {
            let text = fetch(domain.clone()).await;
            if let Some(read) = text.and_then(|text| StsPolicy::parse(&text)) {
                let until = now.plus(read.max_age);
                policy = Some((Arc::new(read), id.clone(), until));
            }
        }
        let known = Known {
            policy: policy.clone(),
            looked_at: now,
        };
        self.known.insert(domain.clone(), known);
        policy.map(|(policy, ..)| policy)
    }

    async fn fetch(&self, domain: Domain) -> Option<String> {
        let url = format!("https://mta-sts.{domain}/.well-known/mta-sts.txt");
        let request = Request::get(url).body(Full::new(Bytes::new())).ok()?;
        match self.client.send(request, LIMITS).await {
            Ok(answer) if answer.status.as_u16() == 200 => {
                String::from_utf8(answer.body.to_vec()).ok()
            }
            Ok(answer) => {
                tracing::warn!(mail.domain = %domain, http.status = answer.status.as_u16(), "an MTA-STS policy is not there");
                None
            }
            Err(fault) => {
                tracing::warn!(mail.domain = %domain, error = %fault, "an MTA-STS policy cannot be fetched");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
