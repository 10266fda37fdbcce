//! What is counted of deliveries.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Seconds from acceptance to delivery; from at once to a week.
const AGES: [f64; 12] = [
    0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0, 300.0, 3_600.0, 21_600.0, 86_400.0, 604_800.0,
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    outcome: &'static str,
    class: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByClass {
    class: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByResult {
    class: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByFate {
    fate: &'static str,
}

/// What the queue's series show at a moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct QueueGauges {
    /// Deliveries not yet settled.
    pub depth: u64,
    /// Seconds since the oldest of them was accepted.
    pub oldest: u64,
}

/// The series of deliveries. Cloning is cheap; all clones count together.
#[derive(Clone, Debug)]
pub struct QueueMetrics {
    deliveries: Family<ByOutcome, Counter>,
    attempts: Family<ByResult, Counter>,
    bounces: Family<ByFate, Counter>,
    latency: Family<ByClass, Histogram, fn() -> Histogram>,
    depth: Gauge,
    oldest: Gauge,
    in_memory: Gauge,
    under_way: Gauge,
    open_breakers: Gauge,
}

impl QueueMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let latency: Family<ByClass, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(AGES));
        let metrics = Self {
            deliveries: Family::default(),
            attempts: Family::default(),
            bounces: Family::default(),
            latency,
            depth: Gauge::default(),
            oldest: Gauge::default(),
            in_memory: Gauge::default(),
            under_way: Gauge::default(),
            open_breakers: Gauge::default(),
        };
        let r = registry;
        let m = &metrics;
        r.register(
            "amtp_deliveries",
            "What became of deliveries, by class of destination",
            m.deliveries.clone(),
        );
        r.register(
            "amtp_delivery_attempts",
            "Attempts to deliver, by their result",
            m.attempts.clone(),
        );
        r.register(
            "amtp_bounces",
            "Notices of failed deliveries: sent, suppressed, or received and believed",
            m.bounces.clone(),
        );
        r.register(
            "amtp_delivery_latency_seconds",
            "From acceptance to delivery",
            m.latency.clone(),
        );
        r.register(
            "amtp_queue_deliveries",
            "Deliveries not yet settled",
            m.depth.clone(),
        );
        r.register(
            "amtp_queue_oldest_seconds",
            "Age of the oldest delivery not yet settled",
            m.oldest.clone(),
        );
        r.register(
            "amtp_queue_in_memory",
            "Deliveries the queue holds in memory",
            m.in_memory.clone(),
        );
        r.register(
            "amtp_queue_under_way",
            "Requests with deliveries under way",
            m.under_way.clone(),
        );
        r.register(
            "amtp_queue_open_breakers",
            "Destinations to which nothing goes at present",
            m.open_breakers.clone(),
        );
        metrics
    }

    /// A delivery came to `outcome`: delivered, deferred, failed, expired, moved.
    pub fn settled(&self, outcome: &'static str, class: &'static str) {
        self.deliveries
            .get_or_create(&ByOutcome { outcome, class })
            .inc();
    }

    /// A delivery took this long from acceptance.
    pub fn delivered_after(&self, class: &'static str, age: Duration) {
        self.latency
            .get_or_create(&ByClass { class })
            .observe(age.as_secs_f64());
    }

    /// An attempt ended with `result`: `ok`, or the code of what went wrong.
    pub fn attempted(&self, class: &'static str, result: &'static str) {
        self.attempts
            .get_or_create(&ByResult { class, result })
            .inc();
    }

    /// A notice of a failure was `sent`, `suppressed` or `received`.
    pub fn bounced(&self, fate: &'static str, count: u64) {
        self.bounces.get_or_create(&ByFate { fate }).inc_by(count);
    }

    /// What the queue holds in memory and has under way.
    pub fn window(&self, (in_memory, under_way, open_breakers): (usize, usize, usize)) {
        let number = |count| i64::try_from(count).unwrap_or(i64::MAX);
        self.in_memory.set(number(in_memory));
        self.under_way.set(number(under_way));
        self.open_breakers.set(number(open_breakers));
    }

    /// What the whole queue holds.
    pub fn gauges(&self, gauges: QueueGauges) {
        self.depth
            .set(i64::try_from(gauges.depth).unwrap_or(i64::MAX));
        self.oldest
            .set(i64::try_from(gauges.oldest).unwrap_or(i64::MAX));
    }
}
