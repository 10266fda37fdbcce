//! The keys of one issuer, kept fresh by one worker.
//!
//! - The worker alone asks the issuer: when it starts, when the keys are no longer fresh, and when a
//!   token names a key that is not known. That last one makes it ask once in 30 seconds at most,
//!   however many tokens come; and so does an issuer that does not answer.
//! - Whoever brings such a token waits for the answer, at most five seconds. Nobody waits while the
//!   worker may not ask, and nobody waits for keys that are only no longer fresh.
//! - Keys that can no longer be had are good for a day after they were fresh.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jsonwebtoken::DecodingKey;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::fetch::{self, FetchFault, Fetched};
use super::keys::{self, IssuerKey};
use crate::auth::jwt::Algorithm;
use crate::clock::Clock;
use crate::net::GuardedClient;
use crate::telemetry::IssuerMetrics;

/// How long until a token, or a failure, may make us ask again.
const PAUSE: Duration = Duration::from_secs(30);
/// How long keys are good after they were fresh.
const DAY: Duration = Duration::from_secs(86_400);

/// The keys of one issuer. Cloning is cheap; all clones are one.
#[derive(Clone)]
pub struct Keeper(Arc<Shared>);

struct Shared {
    from: Whence,
    client: GuardedClient,
    clock: Clock,
    metrics: IssuerMetrics,
    state: watch::Sender<Arc<State>>,
    /// The number of the fetch that somebody wants.
    wanted: AtomicU64,
    woken: Notify,
}

/// Where keys come from.
pub(super) struct Whence {
    /// How logs and metrics name it.
    pub(super) domain: String,
    pub(super) issuer: String,
    pub(super) jwks_url: Option<String>,
}

/// What is known; all moments are of the monotonic clock.
#[derive(Clone, Default)]
struct State {
    keys: Arc<[IssuerKey]>,
    /// How often keys were fetched.
    edition: u64,
    good_until: Duration,
    /// When the worker asks again by itself.
    due: Duration,
    /// When a token may make it ask.
    not_before: Duration,
    /// How often it asked.
    attempts: u64,
    fault: Option<FetchFault>,
}

impl Keeper {
    pub(super) fn new(
        from: Whence,
        client: GuardedClient,
        clock: Clock,
        metrics: IssuerMetrics,
    ) -> Self {
        Self(Arc::new(Shared {
            from,
            client,
            clock,
            metrics,
            state: watch::Sender::default(),
            wanted: AtomicU64::new(0),
            woken: Notify::new(),
        }))
    }

    /// Which keys are known now; nothing where none are good.
    pub(super) fn edition(&self) -> Option<u64> {
        let state = self.0.state.borrow();
        (self.0.clock.monotonic() < state.good_until).then_some(state.edition)
    }

    /// The key of this name that may have signed so, and of which edition it is.
    pub(super) async fn find(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Option<(u64, DecodingKey)> {
        let mut seen = self.0.state.subscribe();
        let now = self.0.clock.monotonic();
        let state = seen.borrow_and_update().clone();
        if let Some(found) = state.find(id, algorithm, now) {
            return Some(found);
        }
        if now < state.not_before {
            return None;
        }
        let next = state.attempts + 1;
        self.0.wanted.fetch_max(next, Ordering::Relaxed);
        self.0.woken.notify_one();
        let asked = seen.wait_for(|state| state.attempts >= next);
        let state = self.0.clock.within(fetch::TIME, asked).await?.ok()?.clone();
        state.find(id, algorithm, self.0.clock.monotonic())
    }

    /// Waits until the issuer was asked so often.
    #[cfg(test)]
    pub(super) async fn asked(&self, times: u64) {
        let mut seen = self.0.state.subscribe();
        drop(seen.wait_for(|state| state.attempts >= times).await);
    }

    /// Keeps the keys fresh until stopped.
    pub async fn run(self, stop: CancellationToken) {
        let mut by_token = false;
        loop {
            let fetched = tokio::select! {
                fetched = self.fetch() => fetched,
                () = stop.cancelled() => return,
            };
            self.note(fetched, by_token);
            let now = self.0.clock.monotonic();
            let rest = self.0.state.borrow().due.saturating_sub(now);
            by_token = tokio::select! {
                () = self.0.clock.wait(rest) => false,
                () = self.wanted() => true,
                () = stop.cancelled() => return,
            };
        }
    }

    /// Waits until somebody wants keys that were not asked for yet.
    async fn wanted(&self) {
        let attempts = self.0.state.borrow().attempts;
        while self.0.wanted.load(Ordering::Relaxed) <= attempts {
            self.0.woken.notified().await;
        }
    }

    async fn fetch(&self) -> Result<Fetched, FetchFault> {
        let (shared, from) = (&self.0, &self.0.from);
        let asked = fetch::fetch(&shared.client, &from.issuer, from.jwks_url.as_deref());
        let late = || Err(FetchFault::Unreachable("it did not answer in time".into()));
        let fetched = shared.clock.within(fetch::TIME, asked).await;
        fetched.unwrap_or_else(late)
    }

    fn note(&self, fetched: Result<Fetched, FetchFault>, by_token: bool) {
        let (shared, domain) = (&self.0, self.0.from.domain.as_str());
        let now = shared.clock.monotonic();
        let mut state = State::clone(&shared.state.borrow());
        state.attempts += 1;
        if by_token || fetched.is_err() {
            state.not_before = now + PAUSE;
        }
        match fetched {
            Ok(fetched) => {
                shared.metrics.fetched(domain, "fetched");
                if state.fault.take().is_some() || state.edition == 0 {
                    tracing::info!(
                        issuer.domain = domain,
                        keys = fetched.keys.len(),
                        "the keys of an issuer are known"
                    );
                }
                state.keys = fetched.keys.into();
                state.edition += 1;
                state.due = now + fetched.life;
                state.good_until = state.due + DAY;
            }
            Err(fault) => {
                shared.metrics.fetched(domain, fault.outcome());
                if state.fault.as_ref() != Some(&fault) {
                    tracing::warn!(issuer.domain = domain, error = %fault, "the keys of an issuer were not fetched");
                }
                state.fault = Some(fault);
                // What is fresh still stays so.
                state.due = state.due.max(now + PAUSE);
            }
        }
        shared.state.send_replace(Arc::new(state));
    }
}

impl State {
    fn find(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
        now: Duration,
    ) -> Option<(u64, DecodingKey)> {
        let found = keys::find(&self.keys, id, algorithm)?;
        (now < self.good_until).then(|| (self.edition, found.key.clone()))
    }
}
