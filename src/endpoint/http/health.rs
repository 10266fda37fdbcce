//! `/health`, `/ready` and `/metrics`: is the process alive, can it take work, what has it done.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json as Answer, Router};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::routes::Row;
use crate::admission::Admission;
use crate::auth::Access;
use crate::clock::Clock;
use crate::policy::Policies;
use crate::protocol::Timestamp;
use crate::store::{Space, Store};
use crate::telemetry::{METRICS_CONTENT_TYPE, Metrics};
use crate::tls::TlsIdentity;

/// The database is asked at most this often, however often we are asked.
const FRESH: Duration = Duration::from_secs(2);
/// A database that does not answer in this time is not ready.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the health routes look at. Cloning is cheap.
#[derive(Clone)]
pub struct Health {
    store: Store,
    space: Space,
    metrics: Metrics,
    clock: Clock,
    draining: CancellationToken,
    identity: TlsIdentity,
    admission: Option<Admission>,
    policies: Option<Policies>,
    last: Arc<Mutex<Option<(Duration, Answered)>>>,
}

/// What the database said when it was asked last.
#[derive(Debug, Clone, Copy)]
struct Answered {
    /// Whether it reads and writes.
    fit: bool,
    /// What an acknowledgement survives.
    durability: &'static str,
}

#[derive(Serialize)]
struct HealthView {
    status: &'static str,
    healthy: bool,
    timestamp: Timestamp,
    version: &'static str,
    components: BTreeMap<&'static str, &'static str>,
}

#[derive(Serialize)]
struct ReadyView {
    status: &'static str,
    ready: bool,
    timestamp: Timestamp,
    version: &'static str,
    dependencies: BTreeMap<&'static str, Cow<'static, str>>,
}

impl Health {
    /// Health of a gateway over this store.
    #[must_use]
    pub fn new(
        (store, space): (Store, Space),
        identity: TlsIdentity,
        metrics: Metrics,
        clock: Clock,
        draining: CancellationToken,
    ) -> Self {
        Self {
            store,
            space,
            metrics,
            clock,
            draining,
            identity,
            admission: None,
            policies: None,
            last: Arc::default(),
        }
    }

    /// Tells also whether `admission` sheds.
    #[must_use]
    pub fn with_admission(mut self, admission: Admission) -> Self {
        self.admission = Some(admission);
        self
    }

    /// Tells also whether the files of `policies` are good.
    #[must_use]
    pub fn with_policies(mut self, policies: Policies) -> Self {
        self.policies = Some(policies);
        self
    }

    /// The faults themselves are for staff.
    fn rules(&self) -> &'static str {
        let broken = |policies: &Policies| policies.state().broken.is_some();
        match self.policies.as_ref().is_some_and(broken) {
            true => "broken, the ones of before are in use",
            false => "ok",
        }
    }

    /// What is behind its threshold, by the keys of section `alerts`. For whom is for staff.
    fn alerts(&self) -> Cow<'static, str> {
        let raised = self.metrics.alerts().raised();
        if raised.is_empty() {
            return Cow::Borrowed("ok");
        }
        let words: Vec<&str> = raised.iter().map(|alert| alert.as_str()).collect();
        Cow::Owned(words.join(", "))
    }

    fn load(&self) -> &'static str {
        match self.admission.as_ref().is_some_and(Admission::is_shedding) {
            true => "shedding",
            false => "ok",
        }
    }

    /// What the database says, asked anew at most every two seconds.
    async fn database(&self) -> Answered {
        let now = self.clock.monotonic();
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, answered)) = last
            && now.saturating_sub(at) < FRESH
        {
            return answered;
        }
        let durability = self.clock.within(PATIENCE, self.store.durability()).await;
        let durability = durability.and_then(Result::ok);
        let reads = matches!(
            self.clock.within(PATIENCE, self.store.ping()).await,
            Some(Ok(()))
        );
        let answered = Answered {
            fit: reads && self.store.is_present(),
            durability: durability.map_or("unknown", |it| it.as_str()),
        };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, answered));
        answered
    }
}

/// What the routes of the HTTPS listeners ask of their callers.
pub(super) const ROWS: [Row; 2] = [row("/health"), row("/ready")];

const fn row(path: &'static str) -> Row {
    Row {
        method: "GET",
        path,
        access: Access::Public,
    }
}

/// The routes of the HTTPS listeners.
pub(super) fn public(health: Health) -> Router {
    Router::new()
        .route(ROWS[0].path, get(alive))
        .route(ROWS[1].path, get(ready))
        .with_state(health)
}

/// The routes of the ops listener.
pub(super) fn ops(health: Health) -> Router {
    Router::new()
        .route("/health", get(alive))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(health)
}

async fn alive(State(health): State<Health>) -> Answer<HealthView> {
    let space = if health.space.has_room() {
        "ok"
    } else {
        "disk_full"
    };
    let database = word(health.database().await.fit);
    Answer(HealthView {
        status: "healthy",
        healthy: true,
        timestamp: health.clock.now(),
        version: env!("CARGO_PKG_VERSION"),
        components: BTreeMap::from([("database", database), ("disk", space)]),
    })
}

const fn word(fit: bool) -> &'static str {
    if fit { "ok" } else { "unreachable" }
}

async fn ready(State(health): State<Health>) -> Response {
    let Answered { fit, durability } = health.database().await;
    let room = health.space.has_room();
    let staying = !health.draining.is_cancelled();
    let joined = health.store.is_admitted();
    let ready = fit && room && staying && joined;
    let view = ReadyView {
        status: if ready { "ready" } else { "not_ready" },
        ready,
        timestamp: health.clock.now(),
        version: env!("CARGO_PKG_VERSION"),
        dependencies: BTreeMap::from([
            ("alerts", health.alerts()),
            ("database", word(fit).into()),
            ("durability", durability.into()),
            ("disk", if room { "ok" } else { "disk_full" }.into()),
            ("gateways", if joined { "ok" } else { "joining" }.into()),
            ("listeners", if staying { "ok" } else { "draining" }.into()),
            // It takes what it can: to send all elsewhere would only move the load.
            ("load", health.load().into()),
            ("policies", health.rules().into()),
        ]),
    };
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Answer(view)).into_response()
}

async fn metrics(State(health): State<Health>) -> Response {
    health
        .metrics
        .certificate_expires(health.identity.expires());
    (
        [(CONTENT_TYPE, METRICS_CONTENT_TYPE)],
        health.metrics.encode(),
    )
        .into_response()
}
