//! What is counted of overload: who came in, who was shed, and by what limit.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByClass {
    class: &'static str,
}

/// The series of overload. Cloning is cheap; all clones count together.
#[derive(Clone, Debug, Default)]
pub struct AdmissionMetrics {
    admitted: Family<ByClass, Counter>,
    shed: Family<ByClass, Counter>,
    in_flight: Gauge,
    limit: Gauge,
    lag: Gauge<f64, AtomicU64>,
}

/// The counters of one class, found once.
#[derive(Clone, Debug)]
pub struct ClassMetrics {
    admitted: Counter,
    shed: Counter,
}

impl ClassMetrics {
    /// One came in.
    pub fn admitted(&self) {
        self.admitted.inc();
    }

    /// One was shed.
    pub fn shed(&self) {
        self.shed.inc();
    }
}

impl AdmissionMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let (r, m) = (registry, &metrics);
        r.register(
            "amtp_admitted",
            "Messages given a place, and other requests let in, by class",
            m.admitted.clone(),
        );
        r.register(
            "amtp_shed",
            "Requests and messages turned away because the gateway is busy, by class",
            m.shed.clone(),
        );
        r.register(
            "amtp_accepts_in_flight",
            "Messages that have come and are not written yet",
            m.in_flight.clone(),
        );
        r.register(
            "amtp_accepts_limit",
            "The most messages that may be in flight at present",
            m.limit.clone(),
        );
        r.register(
            "amtp_runtime_lag_seconds",
            "How late the process does what is due, at its best in the last tenth of a second",
            m.lag.clone(),
        );
        metrics
    }

    /// The counters of a class.
    #[must_use]
    pub fn class(&self, class: &'static str) -> ClassMetrics {
        let label = ByClass { class };
        ClassMetrics {
            admitted: self.admitted.get_or_create_owned(&label),
            shed: self.shed.get_or_create_owned(&label),
        }
    }

    /// So many messages may be in flight.
    pub fn limit(&self, limit: u32) {
        self.limit.set(i64::from(limit));
    }

    /// So many are, and the runtime is this late.
    pub fn busy(&self, in_flight: u32, lag: Duration) {
        self.in_flight.set(i64::from(in_flight));
        self.lag.set(lag.as_secs_f64());
    }
}
