//! What was answered, by name, and for how long it counts. The module above tells the rules.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;

use super::answer::{DiscoveryFault, Found, Heard, Knowledge};
use super::flights::Flights;
use crate::protocol::Timestamp;

/// About how many bytes the answers of one kind may take: 100,000 small ones.
const LARGEST: u64 = 32 * 1024 * 1024;
/// What an entry takes beside its answer and its name.
const ENTRY: usize = 200;

/// How long answers of one kind count.
pub(super) struct Terms {
    /// An answer that says something: at least, and at most.
    pub(super) something: (Duration, Duration),
    /// That there is nothing: at least, and at most.
    pub(super) nothing: (Duration, Duration),
    /// The same where the zone does not say.
    pub(super) nothing_unsaid: Duration,
    /// How long after its time an answer may serve on.
    pub(super) stale: Duration,
}

impl Terms {
    /// Those of places: they change rarely, and an old one is better than none.
    pub(super) const PLACES: Self = Self {
        something: (Duration::from_secs(30), Duration::from_secs(86_400)),
        nothing: (Duration::from_secs(5), Duration::from_secs(300)),
        nothing_unsaid: Duration::from_secs(60),
        stale: Duration::from_secs(86_400),
    };
    /// Those of keys: one that was withdrawn is not believed for long.
    pub(super) const KEYS: Self = Self {
        something: (Duration::from_secs(1), Duration::from_secs(300)),
        nothing: (Duration::from_secs(1), Duration::from_secs(30)),
        nothing_unsaid: Duration::from_secs(30),
        stale: Duration::ZERO,
    };
}

/// How long a failing DNS is left alone where a stale answer serves, and where none does.
const REST_WITH_STALE: Duration = Duration::from_secs(30);
const REST: Duration = Duration::from_secs(5);

type Known<A> = Result<Arc<Found<A>>, DiscoveryFault>;

/// The answers to one kind of question.
pub(super) struct Memory<A> {
    /// The kind's name in the metrics.
    pub(super) kind: &'static str,
    /// The questions of this kind that are under way.
    pub(super) flights: Flights<Known<A>>,
    terms: Terms,
    /// Changed only by whoever has the name's flight.
    entries: Cache<Arc<str>, Entry<A>>,
}

#[derive(Clone)]
struct Entry<A> {
    found: Option<Arc<Found<A>>>,
    /// The last question failed: when, and how.
    failed: Option<(Timestamp, Arc<str>)>,
}

impl<A: Knowledge> Memory<A> {
    pub(super) fn new(kind: &'static str, terms: Terms) -> Self {
        let weigh = |name: &Arc<str>, entry: &Entry<A>| {
            u32::try_from(ENTRY + name.len() + entry.weight()).unwrap_or(u32::MAX)
        };
        Self {
            kind,
            flights: Flights::new(),
            terms,
            entries: Cache::builder()
                .max_capacity(LARGEST)
                .weigher(weigh)
                .build(),
        }
    }

    /// An answer whose time is not over.
    pub(super) fn fresh(&self, name: &str, now: Timestamp) -> Option<Arc<Found<A>>> {
        self.entries.get(name)?.fresh(now)
    }

    /// An answer that may serve although its time is over.
    pub(super) fn stale(&self, name: &str, now: Timestamp) -> Option<Arc<Found<A>>> {
        self.entries.get(name)?.stale(now, self.terms.stale)
    }

    /// What is to be answered without asking; nothing where it is time to ask.
    pub(super) fn recall(&self, name: &str, now: Timestamp) -> Option<Known<A>> {
        let entry = self.entries.get(name)?;
        if let Some(fresh) = entry.fresh(now) {
            return Some(Ok(fresh));
        }
        let (at, cause) = entry.failed.clone()?;
        match entry.stale(now, self.terms.stale) {
            Some(stale) => (now < at.plus(REST_WITH_STALE)).then_some(Ok(stale)),
            None => (now < at.plus(REST)).then(|| Err(DiscoveryFault::Dns(cause.to_string()))),
        }
    }

    /// Takes up how a question was answered, and says what that means to those who asked it.
    pub(super) fn learn(
        &self,
        name: &str,
        heard: Result<Heard<A>, String>,
        now: Timestamp,
    ) -> Known<A> {
        let (entry, known) = match heard {
            Ok(heard) => {
                let found = Arc::new(heard.found(now, &self.terms));
                (Entry::of(found.clone()), Ok(found))
            }
            Err(cause) => self.failed(name, cause, now),
        };
        self.entries.insert(name.into(), entry);
        known
    }

    fn failed(&self, name: &str, cause: String, now: Timestamp) -> (Entry<A>, Known<A>) {
        let stale = self.stale(name, now);
        tracing::debug!(dns.name = name, dns.kind = self.kind, error = %cause,
            stale = stale.is_some(), "the DNS does not answer");
        let entry = Entry {
            found: stale.clone(),
            failed: Some((now, cause.as_str().into())),
        };
        (entry, stale.ok_or(DiscoveryFault::Dns(cause)))
    }
}

impl<A: Knowledge> Entry<A> {
    fn of(found: Arc<Found<A>>) -> Self {
        Self {
            found: Some(found),
            failed: None,
        }
    }

    fn fresh(&self, now: Timestamp) -> Option<Arc<Found<A>>> {
        let found = self.found.as_ref()?;
        (now < found.expires_at).then(|| found.clone())
    }

    fn stale(&self, now: Timestamp, longest: Duration) -> Option<Arc<Found<A>>> {
        let found = self.found.as_ref()?;
        if found.answer.is_nothing() || now >= found.expires_at.plus(longest) {
            return None;
        }
        if found.stale {
            return Some(found.clone());
        }
        Some(Arc::new(Found {
            stale: true,
            ..Found::clone(found)
        }))
    }

    fn weight(&self) -> usize {
        let found = self.found.as_ref().map_or(0, |found| found.answer.weight());
        let failed = self.failed.as_ref().map_or(0, |(_, cause)| cause.len());
        found + failed
    }
}

impl<A: Knowledge> Heard<A> {
    fn found(self, now: Timestamp, terms: &Terms) -> Found<A> {
        let (ttl, (least, most)) = if self.answer.is_nothing() {
            (self.ttl.unwrap_or(terms.nothing_unsaid), terms.nothing)
        } else {
            (self.ttl.unwrap_or_default(), terms.something)
        };
        let ttl = ttl.clamp(least, most);
        Found {
            answer: self.answer,
            expires_at: now.plus(ttl),
            ttl,
            stale: false,
        }
    }
}
