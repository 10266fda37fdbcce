//! What is counted, under names that dashboards hold on to.
//!
//! Label values come from closed sets (codes, routes of the router, names of listeners), so the
//! number of series is bounded whatever callers send.

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};

use super::admission_metrics::AdmissionMetrics;
use super::alerts::Alerts;
use super::gauges::{certificate_gauge, store_gauges};
use super::issuer_metrics::IssuerMetrics;
use super::live_metrics::LiveMetrics;
use super::policy_metrics::PolicyMetrics;
use super::queue_metrics::QueueMetrics;
use super::schema_metrics::SchemaMetrics;
use super::signature_metrics::SignatureMetrics;
use super::task_metrics::TaskMetrics;
use crate::protocol::{ErrorCode, Timestamp};

/// The content type of [`Metrics::encode`].
pub const METRICS_CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Seconds; from a request answered out of memory to one that waited a minute.
const LATENCIES: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0,
];
/// Rows of one commit.
const BATCH_SIZES: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// Why a connection was closed before it carried a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedConnection {
    /// The listener holds as many connections as it may.
    Total,
    /// This client address holds as many connections as it may.
    Address,
    /// This client address connects more often than it may.
    Rate,
    /// The PROXY header is missing, late or malformed.
    ProxyHeader,
    /// The TLS handshake failed or took too long.
    Handshake,
    /// The system would not hand the connection over.
    Accept,
}

impl RefusedConnection {
    /// The label's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Address => "address",
            Self::Rate => "rate",
            Self::ProxyHeader => "proxy_header",
            Self::Handshake => "handshake",
            Self::Accept => "accept",
        }
    }
}

/// One HTTP request and its answer, as the metrics see it.
#[derive(Debug, Clone)]
pub struct HttpAnswer {
    /// The route's pattern, never the path of the request.
    pub route: Arc<str>,
    /// The method, `other` for one the gateway does not know.
    pub method: &'static str,
    /// The answer's status.
    pub status: u16,
    /// From the head of the request to the head of the answer.
    pub took: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HttpLabels {
    route: Arc<str>,
    method: &'static str,
    status_class: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOrigin {
    origin: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByCode {
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByListener {
    listener: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByPurpose {
    purpose: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByReason {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DnsLabels {
    kind: &'static str,
    outcome: &'static str,
}

/// Everything counted in this process. Cloning is cheap; all clones count together.
#[derive(Clone)]
pub struct Metrics(Arc<Series>);

struct Series {
    registry: Registry,
    accepted: Family<ByOrigin, Counter>,
    refused: Family<ByCode, Counter>,
    in_flight: Gauge,
    durations: Family<HttpLabels, Histogram, fn() -> Histogram>,
    batch_size: Histogram,
    commit_duration: Histogram,
    connections: Family<ByListener, Gauge>,
    connections_refused: Family<ByReason, Counter>,
    dns_lookups: Family<DnsLabels, Counter>,
    store_free: Gauge,
    store_present: Gauge,
    certificate_expiry: Gauge,
    queue: QueueMetrics,
    admission: AdmissionMetrics,
    alerts: Alerts,
    signatures: SignatureMetrics,
    policies: PolicyMetrics,
    schemas: SchemaMetrics,
    issuers: IssuerMetrics,
    live: LiveMetrics,
    tasks: TaskMetrics,
    outgoing: Family<ByPurpose, Counter>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// Counts one more for as long as it lives.
#[derive(Debug)]
#[must_use]
pub struct Raised(Gauge);

impl Raised {
    pub(super) fn new(gauge: Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        self.0.dec();
    }
}

pub(super) fn series<M: Metric + Clone>(
    registry: &mut Registry,
    metric: M,
    name: &str,
    help: &str,
) -> M {
    registry.register(name, help, metric.clone());
    metric
}

impl Metrics {
    /// Everything at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let r = &mut registry;
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        r.register("amtp_build", "The running program", version);
        let (store_free, store_present) = store_gauges(r);
        let latencies: fn() -> Histogram = || Histogram::new(LATENCIES);
        let durations = Family::new_with_constructor(latencies);
        Self(Arc::new(Series {
            accepted: series(
                r,
                Family::default(),
                "amtp_messages_accepted",
                "Messages accepted",
            ),
            refused: series(
                r,
                Family::default(),
                "amtp_refused",
                "Requests refused, by error code",
            ),
            in_flight: series(
                r,
                Gauge::default(),
                "amtp_http_requests_in_flight",
                "HTTP requests without an answer yet",
            ),
            durations: series(
                r,
                durations,
                "amtp_http_request_duration_seconds",
                "Time from a request's head to its answer's head",
            ),
            batch_size: series(
                r,
                Histogram::new(BATCH_SIZES),
                "amtp_commit_batch_size",
                "Verbs in one commit of the store",
            ),
            commit_duration: series(
                r,
                Histogram::new(LATENCIES),
                "amtp_commit_duration_seconds",
                "Duration of one commit of the store",
            ),
            connections: series(r, Family::default(), "amtp_connections", "Open connections"),
            connections_refused: series(
                r,
                Family::default(),
                "amtp_connections_refused",
                "Connections closed before they carried a request",
            ),
            dns_lookups: series(
                r,
                Family::default(),
                "amtp_dns_lookups",
                "Questions to the DNS, by what they asked for and how they were answered",
            ),
            store_free,
            store_present,
            certificate_expiry: certificate_gauge(r),
            queue: QueueMetrics::register(r),
            admission: AdmissionMetrics::register(r),
            alerts: Alerts::register(r),
            signatures: SignatureMetrics::register(r),
            policies: PolicyMetrics::register(r),
            schemas: SchemaMetrics::register(r),
            issuers: IssuerMetrics::register(r),
            live: LiveMetrics::register(r),
            tasks: TaskMetrics::register(r),
            outgoing: series(
                r,
                Family::default(),
                "amtp_outgoing_requests",
                "Requests to others, by what they are for and what came of them",
            ),
            registry,
        }))
    }

    /// A message was accepted that came by the way `origin` names.
    pub fn accepted(&self, origin: impl Into<&'static str>) {
        self.0
            .accepted
            .get_or_create(&ByOrigin {
                origin: origin.into(),
            })
            .inc();
    }

    /// A request to others ended: a class of status such as `2xx`, or the kind of fault, such as
    /// `tls` or `timeout`.
    pub fn outgoing(&self, purpose: &'static str, result: &'static str) {
        self.0
            .outgoing
            .get_or_create(&ByPurpose { purpose, result })
            .inc();
    }

    /// The series of deliveries.
    #[must_use]
    pub fn queue(&self) -> &QueueMetrics {
        &self.0.queue
    }

    /// The series of overload.
    #[must_use]
    pub fn admission(&self) -> &AdmissionMetrics {
        &self.0.admission
    }

    /// What is behind.
    #[must_use]
    pub fn alerts(&self) -> &Alerts {
        &self.0.alerts
    }

    /// The series of signatures.
    #[must_use]
    pub fn signatures(&self) -> &SignatureMetrics {
        &self.0.signatures
    }

    /// The series of policies.
    #[must_use]
    pub fn policies(&self) -> &PolicyMetrics {
        &self.0.policies
    }

    /// The series of schemas.
    #[must_use]
    pub fn schemas(&self) -> &SchemaMetrics {
        &self.0.schemas
    }

    /// The series of issuers of tokens.
    #[must_use]
    pub fn issuers(&self) -> &IssuerMetrics {
        &self.0.issuers
    }

    /// The series of sessions.
    #[must_use]
    pub fn live(&self) -> &LiveMetrics {
        &self.0.live
    }

    /// The series of tasks of A2A.
    #[must_use]
    pub fn tasks(&self) -> &TaskMetrics {
        &self.0.tasks
    }

    /// A request was refused with this code.
    pub fn refused(&self, code: ErrorCode) {
        self.0
            .refused
            .get_or_create(&ByCode {
                code: code.as_str(),
            })
            .inc();
    }

    /// A request is being answered while the returned value lives.
    pub fn request_in_flight(&self) -> Raised {
        Raised::new(self.0.in_flight.clone())
    }

    /// A request was answered.
    pub fn answered(&self, answer: &HttpAnswer) {
        let labels = HttpLabels {
            route: answer.route.clone(),
            method: answer.method,
            status_class: status_class(answer.status),
        };
        self.0
            .durations
            .get_or_create(&labels)
            .observe(answer.took.as_secs_f64());
    }

    /// The store committed `verbs` verbs at once.
    pub fn commit(&self, verbs: usize, took: Duration) {
        self.0
            .batch_size
            .observe(f64::from(u32::try_from(verbs).unwrap_or(u32::MAX)));
        self.0.commit_duration.observe(took.as_secs_f64());
    }

    /// A connection of the listener named `listener` is open while the returned value lives.
    pub fn connection(&self, listener: &'static str) -> Raised {
        Raised::new(
            self.0
                .connections
                .get_or_create(&ByListener { listener })
                .clone(),
        )
    }

    /// A connection was refused.
    pub fn connection_refused(&self, reason: RefusedConnection) {
        let labels = ByReason {
            reason: reason.as_str(),
        };
        self.0.connections_refused.get_or_create(&labels).inc();
    }

    /// A question to the DNS was answered: of which kind, and how.
    pub fn dns_lookup(&self, kind: &'static str, outcome: &'static str) {
        let labels = DnsLabels { kind, outcome };
        self.0.dns_lookups.get_or_create(&labels).inc();
    }

    /// This many bytes are free where the store lives.
    pub fn store_free_bytes(&self, free: u64) {
        self.0
            .store_free
            .set(i64::try_from(free).unwrap_or(i64::MAX));
    }

    /// Whether the database takes commits.
    pub fn store_present(&self, present: bool) {
        self.0.store_present.set(i64::from(present));
    }

    /// The certificate in use expires then.
    pub fn certificate_expires(&self, at: Timestamp) {
        self.0.certificate_expiry.set(at.as_millis() / 1_000);
    }

    /// Everything as OpenMetrics text; its content type is [`METRICS_CONTENT_TYPE`].
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.0.registry)
            .expect("writing to a string cannot fail");
        text
    }
}

const fn status_class(status: u16) -> &'static str {
    match status / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}
