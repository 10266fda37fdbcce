//! Cards that are kept: fetched at the well-known places, asked for again when they are old.
//!
//! - The card of A2A 1.0 is asked for first, then the one of 0.3.
//! - A card is good for as long as its server says, but at least a minute and at most an hour. It is
//!   asked for again by its ETag. While it cannot be had, the old one serves for a day.
//! - Cards of a thousand agents are kept.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ACCEPT, CACHE_CONTROL, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH, USER_AGENT,
};
use hyper::{Request, StatusCode};
use moka::sync::Cache;

use super::card::{Interface, interface};
use super::request::Problem;
use crate::clock::Clock;
use crate::net::{Answer, AnswerLimits, GuardedClient};
use crate::transport::after::retry_after;

const LIMITS: AnswerLimits = AnswerLimits {
    size: 256 * 1_024,
    time: Duration::from_secs(10),
};
const SHORTEST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
/// Where no time is said.
const USUAL: Duration = Duration::from_secs(300);
const MOST: u64 = 1_000;

/// Where cards are, in the order they are asked for.
const PLACES: [&str; 2] = ["/.well-known/agent-card.json", "/.well-known/agent.json"];

#[derive(Clone)]
struct Kept {
    interface: Arc<Interface>,
    url: String,
    etag: Option<HeaderValue>,
    /// By the monotonic clock.
    fetched: Duration,
    fresh_until: Duration,
}

/// The cards. Cloning is cheap.
#[derive(Clone)]
pub(super) struct Cards {
    client: GuardedClient,
    kept: Cache<String, Kept>,
    clock: Clock,
}

/// Whose card is asked for.
pub(super) struct Target<'a> {
    /// As the operator wrote it.
    pub(super) url: &'a str,
    /// What the operator lets be shown there.
    pub(super) headers: &'a HeaderMap,
}

impl Target<'_> {
    /// A place may be asked where it is at the target's own host, or nothing secret is shown.
    fn may(&self, place: &str) -> bool {
        self.headers.is_empty() || is_at(self.url, place)
    }
}

/// Whether a URL leads to the same host as the target, and no less safely.
pub(super) fn is_at(target: &str, place: &str) -> bool {
    let parts = |url: &str| {
        let uri: hyper::Uri = url.parse().ok()?;
        let host = uri.host()?.to_ascii_lowercase();
        Some((uri.scheme_str()?.to_ascii_lowercase(), host, uri.port_u16()))
    };
    match (parts(target), parts(place)) {
        (Some((scheme, host, port)), Some((other, its_host, its_port))) => {
            // Without TLS only the very same port: there is no certificate to tell who listens.
            host == its_host && (other == "https" || (scheme == other && port == its_port))
        }
        _ => false,
    }
}

impl Cards {
    pub(super) fn new(client: GuardedClient, clock: Clock) -> Self {
        Self {
            client,
            kept: Cache::new(MOST),
            clock,
        }
    }

    /// Where the agent is asked.
    pub(super) async fn find(&self, target: &Target<'_>) -> Result<Arc<Interface>, Problem> {
        let now = self.clock.monotonic();
        let key = format!("{} {}", u8::from(target.headers.is_empty()), target.url);
        let kept = self.kept.get(&key);
        if let Some(kept) = kept.as_ref().filter(|it| now < it.fresh_until) {
            return Ok(kept.interface.clone());
        }
        match self.fetch(target, kept.as_ref()).await {
            Ok(fresh) => {
                let interface = fresh.interface.clone();
                self.kept.insert(key, fresh);
                Ok(interface)
            }
            Err(problem) => match kept.filter(|it| now.saturating_sub(it.fetched) < DAY) {
                Some(old) => {
                    tracing::info!(error = %problem, "an agent card could not be had again: the old one serves");
                    let interface = old.interface.clone();
                    let fresh_until = now + SHORTEST;
                    self.kept.insert(key, Kept { fresh_until, ..old });
                    Ok(interface)
                }
                None => Err(problem),
            },
        }
    }

    /// The card was wrong: it is fetched before it is used again.
    pub(super) fn forget(&self, target: &Target<'_>) {
        let key = format!("{} {}", u8::from(target.headers.is_empty()), target.url);
        self.kept.invalidate(&key);
    }

    async fn fetch(&self, target: &Target<'_>, kept: Option<&Kept>) -> Result<Kept, Problem> {
        let mut first = None;
        for url in places(target.url) {
            let known = kept.filter(|it| it.url == url);
            let etag = known.and_then(|it| it.etag.clone());
            match self.ask(&url, target, etag).await {
                Ok(answer) if answer.status == StatusCode::NOT_MODIFIED => {
                    if let Some(known) = known {
                        return Ok(self.renewed(known.clone(), &answer));
                    }
                }
                Ok(answer) => {
                    let read = std::str::from_utf8(&answer.body).map_err(|it| it.to_string());
                    let read = read.and_then(|it| interface(it, |place| target.may(place)));
                    match read {
                        Ok(interface) => {
                            let now = self.clock.monotonic();
                            let kept = Kept {
                                interface: Arc::new(interface),
                                url,
                                etag: None,
                                fetched: now,
                                fresh_until: now,
                            };
                            return Ok(self.renewed(kept, &answer));
                        }
                        Err(words) => first = first.or(Some(Problem::Unready(words))),
                    }
                }
                Err(problem) => first = first.or(Some(problem)),
            }
        }
        Err(first.unwrap_or_else(|| Problem::Unready("there is no agent card".to_owned())))
    }

    fn renewed(&self, kept: Kept, answer: &Answer) -> Kept {
        let now = self.clock.monotonic();
        Kept {
            etag: answer.headers.get(ETAG).cloned().or(kept.etag),
            fetched: now,
            fresh_until: now + lifetime(&answer.headers),
            ..kept
        }
    }

    async fn ask(
        &self,
        url: &str,
        target: &Target<'_>,
        etag: Option<HeaderValue>,
    ) -> Result<Answer, Problem> {
        let mut request = Request::new(Full::new(Bytes::new()));
        let fault = |_| Problem::Unready("the target is no URL".to_owned());
        *request.uri_mut() = url.parse().map_err(fault)?;
        *request.headers_mut() = target.headers.clone();
        let agent = concat!("amtpd/", env!("CARGO_PKG_VERSION"));
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        headers.insert("a2a-version", HeaderValue::from_static("1.0"));
        if let Some(etag) = etag {
            headers.insert(IF_NONE_MATCH, etag);
        }
        let answer = self.client.send(request, LIMITS).await;
        let answer = answer.map_err(Problem::Net)?;
        match answer.status {
            StatusCode::NOT_MODIFIED => Ok(answer),
            status if status.is_success() => Ok(answer),
            status => {
                let after = retry_after(&answer.headers, self.clock.now());
                Err(Problem::Status(status, after))
            }
        }
    }
}

/// Where the card of a target may be. A target may name the card itself.
fn places(target: &str) -> Vec<String> {
    if target.ends_with(".json") {
        return vec![target.to_owned()];
    }
    let base = target.trim_end_matches('/');
    PLACES
        .iter()
        .map(|place| format!("{base}{place}"))
        .collect()
}

/// How long a card is good.
fn lifetime(headers: &HeaderMap) -> Duration {
    let text = headers.get(CACHE_CONTROL).and_then(|it| it.to_str().ok());
    let words = text.unwrap_or_default().split(',').map(str::trim);
    let said = words.filter_map(|it| it.strip_prefix("max-age="));
    let seconds = said.filter_map(|it| it.parse().ok()).next();
    seconds
        .map_or(USUAL, Duration::from_secs)
        .clamp(SHORTEST, LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_to_the_host_they_are_meant_for() {
        for (target, place, is) in [
            ("https://a.test/x", "https://A.test/y", true),
            ("https://a.test", "https://a.test:8443/", true),
            ("https://a.test", "http://a.test/", false),
            ("http://10.0.0.1:80/", "http://10.0.0.1:80/rpc", true),
            ("http://10.0.0.1:80/", "http://10.0.0.1:81/rpc", false),
            ("http://10.0.0.1:80/", "https://10.0.0.1/rpc", true),
            ("https://a.test", "https://b.test/", false),
            ("https://a.test", "https://a.test.b.test/", false),
            ("https://a.test", "nonsense", false),
        ] {
            assert_eq!(is_at(target, place), is, "{target} {place}");
        }
    }

    #[test]
    fn a_card_is_good_for_a_while() {
        for (text, seconds) in [
            (Some("max-age=600"), 600),
            (Some("public, max-age=1"), 60),
            (Some("max-age=99999999"), 3_600),
            (Some("no-store"), 300),
            (None, 300),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(text) = text {
                headers.insert(CACHE_CONTROL, HeaderValue::from_static(text));
            }
            assert_eq!(lifetime(&headers), Duration::from_secs(seconds), "{text:?}");
        }
        assert_eq!(places("https://a.test/x/").len(), 2);
        assert_eq!(
            places("https://a.test/x/")[0],
            "https://a.test/x/.well-known/agent-card.json"
        );
        assert_eq!(
            places("https://a.test/card.json"),
            ["https://a.test/card.json"]
        );
    }
}
