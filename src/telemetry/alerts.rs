//! Alerts: what is behind at present, and the series of what waits for whom.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What may be behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Alert {
    /// Too many deliveries in the queue.
    QueueDeliveries,
    /// A delivery that is too old.
    QueueAge,
    /// Too many messages wait for somebody.
    LagMessages,
    /// A message has waited too long for somebody.
    LagAge,
}

impl Alert {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::QueueDeliveries,
        Self::QueueAge,
        Self::LagMessages,
        Self::LagAge,
    ];

    /// The word: that of the key in section `alerts`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::QueueDeliveries => "queue_deliveries",
            Self::QueueAge => "queue_age",
            Self::LagMessages => "lag_messages",
            Self::LagAge => "lag_age",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByAlert {
    alert: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByAgent {
    agent: String,
    kind: &'static str,
}

/// What waits for one agent, topic or group, for the series.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// Its address.
    pub agent: String,
    /// What it is.
    pub kind: &'static str,
    /// Messages.
    pub messages: u64,
    /// Seconds since the oldest was accepted.
    pub oldest: u64,
}

/// What is behind. Cloning is cheap; all clones say the same.
#[derive(Clone, Default)]
pub struct Alerts {
    raised: Arc<Mutex<BTreeSet<Alert>>>,
    gauges: Family<ByAlert, Gauge>,
    messages: Family<ByAgent, Gauge>,
    oldest: Family<ByAgent, Gauge>,
}

impl fmt::Debug for Alerts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Alerts").field(&self.raised()).finish()
    }
}

impl Alerts {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let alerts = Self::default();
        registry.register(
            "amtp_alert",
            "1 while what the alert is about is beyond its threshold",
            alerts.gauges.clone(),
        );
        registry.register(
            "amtp_lag_messages",
            "Messages that wait for an agent, topic or group; those for whom most waits",
            alerts.messages.clone(),
        );
        registry.register(
            "amtp_lag_oldest_seconds",
            "Age of the oldest message that waits for an agent, topic or group",
            alerts.oldest.clone(),
        );
        for alert in Alert::ALL {
            alerts.gauge(alert).set(0);
        }
        alerts
    }

    /// What is raised now.
    #[must_use]
    pub fn raised(&self) -> Vec<Alert> {
        let raised = self.raised.lock().unwrap_or_else(PoisonError::into_inner);
        raised.iter().copied().collect()
    }

    /// Raises an alert or ends it. Says whether that is new.
    pub fn set(&self, alert: Alert, is_beyond: Beyond) -> bool {
        let mut raised = self.raised.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = match is_beyond {
            Beyond::Yes => raised.insert(alert),
            Beyond::No => raised.remove(&alert),
        };
        self.gauge(alert).set(i64::from(is_beyond == Beyond::Yes));
        is_new
    }

    /// Shows what waits for those for whom most waits, in place of what was shown before.
    pub fn waiting(&self, waiting: &[Waiting]) {
        self.messages.clear();
        self.oldest.clear();
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        for it in waiting {
            let label = ByAgent {
                agent: it.agent.clone(),
                kind: it.kind,
            };
            self.messages.get_or_create(&label).set(number(it.messages));
            self.oldest.get_or_create(&label).set(number(it.oldest));
        }
    }

    fn gauge(&self, alert: Alert) -> Gauge {
        let label = ByAlert {
            alert: alert.as_str(),
        };
        self.gauges.get_or_create_owned(&label)
    }
}

/// Whether something is beyond its threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beyond {
    /// It is.
    Yes,
    /// It is not.
    No,
}

impl From<bool> for Beyond {
    fn from(is_beyond: bool) -> Self {
        if is_beyond { Self::Yes } else { Self::No }
    }
}
