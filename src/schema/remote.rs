//! Registries of others: asked for schemas that are not known here.
//!
//! - `GET {url}/{id}` over the guarded connector: no redirects, at most 1 MiB and three seconds.
//! - The answer's header `X-AMTP-Schema-Signature` holds an ES256 signature over the exact bytes
//!   of its body, base64url, made with the configured key; and the document names itself by the
//!   identifier that was asked for, so that no signed document can stand for another.
//! - What was found is kept for as long as `max-age` says, at most an hour; what was not for 30 s.
//!   So many are kept, so many asked for at a time; one identifier is asked for once at a time.
//! - Whatever goes wrong makes the schema unknown, never the gateway slow.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::CACHE_CONTROL;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::Full;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use tokio::sync::Semaphore;

use super::compiled::Compiled;
use super::document::{Document, MOST_BYTES};
use super::registry::Known;
use crate::clock::Clock;
use crate::config::RegistryEntry;
use crate::net::{Answer, AnswerLimits, GuardedClient};
use crate::protocol::SchemaId;
use crate::telemetry::SchemaMetrics;

const SIGNATURE: &str = "x-amtp-schema-signature";
/// From the question to the judged answer.
const TIME: Duration = Duration::from_secs(3);
const LONGEST_KEPT: Duration = Duration::from_secs(3_600);
/// Where the registry does not say how long.
const USUALLY_KEPT: Duration = Duration::from_secs(300);
const NOTHING_KEPT: Duration = Duration::from_secs(30);
/// How many identifiers are kept, found or not.
const MOST_KEPT: usize = 1_000;
/// How many are asked for at a time.
const MOST_ASKED: usize = 8;

/// The registries of others.
pub(super) struct Remote {
    registries: Vec<RegistryEntry>,
    client: GuardedClient,
    clock: Clock,
    metrics: SchemaMetrics,
    kept: Mutex<HashMap<SchemaId, Kept>>,
    flights: Mutex<HashMap<SchemaId, Weak<tokio::sync::Mutex<()>>>>,
    asked: Semaphore,
}

#[derive(Clone)]
struct Kept {
    until: Duration,
    known: Option<Known>,
}

/// Why an answer is not taken.
struct Refused(&'static str, String);

impl Remote {
    pub(super) fn new(
        registries: Vec<RegistryEntry>,
        client: GuardedClient,
        clock: Clock,
        metrics: SchemaMetrics,
    ) -> Self {
        Self {
            registries,
            client,
            clock,
            metrics,
            kept: Mutex::default(),
            flights: Mutex::default(),
            asked: Semaphore::new(MOST_ASKED),
        }
    }

    /// What a registry has under an identifier; nothing if none is asked for it, has it, or
    /// answers well in time.
    pub(super) async fn find(&self, id: &SchemaId) -> Option<Known> {
        let covers = |it: &&RegistryEntry| it.patterns.iter().any(|pattern| pattern.matches(id));
        let registry = self.registries.iter().find(covers)?;
        if let Some(kept) = self.kept(id) {
            return kept.known;
        }
        let found = self.clock.within(TIME, self.ask_once(registry, id)).await;
        found.unwrap_or_else(|| {
            self.metrics.fetched("unreachable");
            // Who asked in front may have found it in the last moment.
            let kept = self.kept(id);
            if kept.is_none() {
                self.keep(id, NOTHING_KEPT, None);
            }
            kept.and_then(|kept| kept.known)
        })
    }

    /// Waits for who asks for the same already, and takes what it found.
    async fn ask_once(&self, registry: &RegistryEntry, id: &SchemaId) -> Option<Known> {
        let flight = self.flight(id);
        let _seat = flight.lock().await;
        if let Some(kept) = self.kept(id) {
            return kept.known;
        }
        let Ok(_permit) = self.asked.try_acquire() else {
            self.metrics.fetched("busy");
            return None;
        };
        let (life, known) = match self.ask(registry, id).await {
            Ok((life, known)) => (life, Some(known)),
            Err(Refused(outcome, cause)) => {
                self.metrics.fetched(outcome);
                tracing::warn!(schema.id = %id, registry = registry.url.as_str(), cause, "a schema was not fetched");
                (NOTHING_KEPT, None)
            }
        };
        self.keep(id, life, known.clone());
        known
    }

    async fn ask(
        &self,
        registry: &RegistryEntry,
        id: &SchemaId,
    ) -> Result<(Duration, Known), Refused> {
        let base = registry.url.as_str().trim_end_matches('/');
        let url = format!("{base}/{}", segment(id.as_str()));
        let request = Request::get(url)
            .header("accept", "application/schema+json, application/json")
            .body(Full::new(Bytes::new()))
            .map_err(|fault| Refused("malformed", fault.to_string()))?;
        let limits = AnswerLimits {
            size: MOST_BYTES,
            time: TIME,
        };
        let answer = self.client.send(request, limits).await;
        let answer = answer.map_err(|fault| Refused("unreachable", fault.to_string()))?;
        let known = judge(&answer, registry, id)?;
        self.metrics.fetched("fetched");
        Ok((life(&answer.headers), known))
    }

    fn kept(&self, id: &SchemaId) -> Option<Kept> {
        let now = self.clock.monotonic();
        let kept = lock(&self.kept);
        kept.get(id).filter(|kept| now < kept.until).cloned()
    }

    fn keep(&self, id: &SchemaId, life: Duration, known: Option<Known>) {
        let now = self.clock.monotonic();
        let mut kept = lock(&self.kept);
        if kept.len() >= MOST_KEPT && !kept.contains_key(id) {
            kept.retain(|_, it| now < it.until);
        }
        if kept.len() >= MOST_KEPT && !kept.contains_key(id) {
            // What ends soonest: what was not found goes before what was.
            let soonest = kept.iter().min_by_key(|(_, it)| it.until);
            let soonest = soonest.map(|(id, _)| id.clone());
            soonest.map(|id| kept.remove(&id));
        }
        let until = now + life;
        kept.insert(id.clone(), Kept { until, known });
    }

    fn flight(&self, id: &SchemaId) -> Arc<tokio::sync::Mutex<()>> {
        let mut flights = lock(&self.flights);
        if let Some(flight) = flights.get(id).and_then(Weak::upgrade) {
            return flight;
        }
        flights.retain(|_, flight| flight.strong_count() > 0);
        let flight = Arc::default();
        flights.insert(id.clone(), Arc::downgrade(&flight));
        flight
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn judge(answer: &Answer, registry: &RegistryEntry, id: &SchemaId) -> Result<Known, Refused> {
    match answer.status {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND | StatusCode::GONE => {
            return Err(Refused("absent", answer.status.to_string()));
        }
        status => return Err(Refused("unreachable", format!("answered {status}"))),
    }
    if !is_signed(answer, &registry.key) {
        let cause = "its signature is missing or wrong".to_owned();
        return Err(Refused("unsigned", cause));
    }
    let malformed = |fault: super::DocumentFault| Refused("malformed", fault.to_string());
    let document = Document::read(&answer.body).map_err(malformed)?;
    let named = document.id().map_err(malformed)?;
    if named != *id {
        return Err(Refused("malformed", "it is another schema".to_owned()));
    }
    let state = document.state().map_err(malformed)?;
    let compiled = Compiled::of(&document).map_err(malformed)?;
    Ok(Known::of(state, &Arc::new(compiled)))
}

fn is_signed(answer: &Answer, key: &[u8]) -> bool {
    let mut given = answer.headers.get_all(SIGNATURE).iter();
    let (Some(value), None) = (given.next(), given.next()) else {
        return false;
    };
    let Ok(signature) = URL_SAFE_NO_PAD.decode(value.as_bytes()) else {
        return false;
    };
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key)
        .verify(&answer.body, &signature)
        .is_ok()
}

/// How long an answer is kept.
fn life(headers: &HeaderMap) -> Duration {
    let said = headers
        .get(CACHE_CONTROL)
        .and_then(|value| value.to_str().ok());
    let words = said.unwrap_or_default().split(',').map(str::trim);
    let mut life = USUALLY_KEPT;
    for word in words {
        if word.eq_ignore_ascii_case("no-store") || word.eq_ignore_ascii_case("no-cache") {
            return NOTHING_KEPT;
        }
        let age = word.split_once('=');
        let age = age.filter(|(name, _)| name.eq_ignore_ascii_case("max-age"));
        if let Some(seconds) = age.and_then(|(_, seconds)| seconds.parse().ok()) {
            life = Duration::from_secs(seconds);
        }
    }
    // An answer that may not be kept at all would be asked for with every message.
    life.clamp(NOTHING_KEPT, LONGEST_KEPT)
}

/// An identifier as one segment of a path.
fn segment(id: &str) -> String {
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~' | b':');
    let dots = id.bytes().all(|byte| byte == b'.');
    id.bytes()
        .map(|byte| match byte {
            b'.' if !dots => ".".to_owned(),
            byte if plain(byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}
