//! Asking an issuer for its keys, over the guarded connector.
//!
//! Where they are says the configuration, else the issuer's own (OpenID Connect Discovery), which must
//! name the very issuer it was asked of. No redirects; each answer is bounded in size and time.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::Full;
use serde::Deserialize;

use super::keys::{self, IssuerKey};
use crate::net::{Answer, AnswerLimits, GuardedClient};

/// From the first question to the last answer.
pub(super) const TIME: Duration = Duration::from_secs(5);
const MOST_BYTES: usize = 1 << 20;
const LONGEST_URL: usize = 2_048;
const LEAST_KEPT: Duration = Duration::from_secs(300);
const LONGEST_KEPT: Duration = Duration::from_secs(86_400);
/// Where the issuer does not say how long.
const USUALLY_KEPT: Duration = Duration::from_secs(3_600);

/// The keys, and how long they are fresh.
pub(super) struct Fetched {
    pub(super) keys: Vec<IssuerKey>,
    pub(super) life: Duration,
}

/// Why there are no keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FetchFault {
    /// Nobody answered, or not with what was asked for.
    #[error("{0}")]
    Unreachable(String),
    /// What was answered is not what it should be.
    #[error("{0}")]
    Malformed(&'static str),
}

impl FetchFault {
    /// The word in metrics.
    pub(super) const fn outcome(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Malformed(_) => "malformed",
        }
    }
}

#[derive(Deserialize)]
struct Configuration {
    issuer: String,
    jwks_uri: String,
}

/// Fetches the keys of `issuer`; takes as long as its answers may take.
pub(super) async fn fetch(
    client: &GuardedClient,
    issuer: &str,
    jwks_url: Option<&str>,
) -> Result<Fetched, FetchFault> {
    let found = match jwks_url {
        Some(url) => url.to_owned(),
        None => discover(client, issuer).await?,
    };
    let answer = get(client, &found).await?;
    Ok(Fetched {
        keys: keys::read(&answer.body).map_err(FetchFault::Malformed)?,
        life: life(&answer.headers),
    })
}

async fn discover(client: &GuardedClient, issuer: &str) -> Result<String, FetchFault> {
    let base = issuer.trim_end_matches('/');
    let answer = get(client, &format!("{base}/.well-known/openid-configuration")).await?;
    let said: Configuration = serde_json::from_slice(&answer.body)
        .map_err(|_| FetchFault::Malformed("its configuration names no issuer and jwks_uri"))?;
    if said.issuer != issuer {
        return Err(FetchFault::Malformed(
            "its configuration is that of another issuer",
        ));
    }
    if said.jwks_uri.len() > LONGEST_URL {
        return Err(FetchFault::Malformed("its jwks_uri is too long"));
    }
    Ok(said.jwks_uri)
}

async fn get(client: &GuardedClient, url: &str) -> Result<Answer, FetchFault> {
    let request = Request::get(url)
        .header(ACCEPT, "application/json")
        .body(Full::new(Bytes::new()))
        .map_err(|_| FetchFault::Malformed("its jwks_uri is no URL"))?;
    let limits = AnswerLimits {
        size: MOST_BYTES,
        time: TIME,
    };
    let answer = client.send(request, limits).await;
    let answer = answer.map_err(|fault| FetchFault::Unreachable(fault.to_string()))?;
    match answer.status {
        StatusCode::OK => Ok(answer),
        status => Err(FetchFault::Unreachable(format!("it answered {status}"))),
    }
}

/// How long keys are fresh.
fn life(headers: &HeaderMap) -> Duration {
    let said = headers.get(CACHE_CONTROL);
    let said = said.and_then(|value| value.to_str().ok());
    let mut life = USUALLY_KEPT;
    for word in said.unwrap_or_default().split(',').map(str::trim) {
        if word.eq_ignore_ascii_case("no-store") || word.eq_ignore_ascii_case("no-cache") {
            return LEAST_KEPT;
        }
        let age = word.split_once('=');
        let age = age.filter(|(name, _)| name.eq_ignore_ascii_case("max-age"));
        if let Some(seconds) = age.and_then(|(_, seconds)| seconds.parse().ok()) {
            life = Duration::from_secs(seconds);
        }
    }
    life.clamp(LEAST_KEPT, LONGEST_KEPT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_fresh_for_as_long_as_the_issuer_says_within_bounds() {
        for (said, expected) in [
            ("", 3_600),
            ("max-age=600", 600),
            ("public, Max-Age=600, must-revalidate", 600),
            ("max-age=1", 300),
            ("max-age=99999999", 86_400),
            ("max-age=soon", 3_600),
            ("no-store", 300),
            ("max-age=600, no-cache", 300),
        ] {
            let headers = HeaderMap::from_iter([(CACHE_CONTROL, said.parse().unwrap())]);
            assert_eq!(life(&headers), Duration::from_secs(expected), "{said}");
        }
        assert_eq!(life(&HeaderMap::new()), USUALLY_KEPT);
    }
}
