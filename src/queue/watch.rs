//! The watch: looks at what waits, shows it as metrics, and raises alerts at thresholds.
//!
//! Only those for whom most waits are shown, so the series are few. An alert is one line in the log
//! when it begins and one when it is over. A failing database is looked at again at the next round.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::protocol::Timestamp;
use crate::store::{Lag, Store, StoreError};
use crate::telemetry::{Alert, Alerts, Waiting};

/// So many agents, topics and groups are shown as metrics.
const SHOWN: usize = 20;

/// When to raise which alert.
#[derive(Debug, Clone, Copy)]
pub struct Thresholds {
    /// How often to look.
    pub every: Duration,
    /// Deliveries in the queue.
    pub queue_deliveries: u64,
    /// The age of a delivery in the queue.
    pub queue_age: Duration,
    /// Messages that wait for one agent.
    pub lag_messages: u64,
    /// How long a message has waited for one agent.
    pub lag_age: Duration,
}

/// Looks at what waits.
pub struct Watch {
    store: Store,
    clock: Clock,
    alerts: Alerts,
    thresholds: Thresholds,
}

impl Watch {
    /// A watch that raises `alerts`.
    #[must_use]
    pub fn new(store: Store, clock: Clock, alerts: Alerts, thresholds: Thresholds) -> Self {
        Self {
            store,
            clock,
            alerts,
            thresholds,
        }
    }

    /// Looks until stopped.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            if let Err(error) = self.look().await {
                tracing::warn!(%error, "what waits could not be looked at");
            }
            tokio::select! {
                () = self.clock.wait(self.thresholds.every) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Looks once.
    async fn look(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        let limits = &self.thresholds;
        let (deliveries, oldest) = self.store.queue_depth().await?;
        let age = oldest.map_or(Duration::ZERO, |oldest| now.since(oldest));
        self.raise(
            Alert::QueueDeliveries,
            (deliveries > limits.queue_deliveries).then(|| format!("{deliveries} deliveries")),
        );
        self.raise(
            Alert::QueueAge,
            (age > limits.queue_age).then(|| format!("the oldest for {} s", age.as_secs())),
        );
        let lags = self.store.lag(SHOWN).await?;
        let waiting: Vec<Waiting> = lags.iter().map(|lag| waiting(lag, now)).collect();
        self.alerts.waiting(&waiting);
        let most = waiting.iter().max_by_key(|it| it.messages);
        let most = most.filter(|it| it.messages > limits.lag_messages);
        self.raise(
            Alert::LagMessages,
            most.map(|it| format!("{} messages for {}", it.messages, it.agent)),
        );
        let longest = waiting.iter().max_by_key(|it| it.oldest);
        let longest = longest.filter(|it| it.oldest > limits.lag_age.as_secs());
        self.raise(
            Alert::LagAge,
            longest.map(|it| format!("a message for {} for {} s", it.agent, it.oldest)),
        );
        Ok(())
    }

    fn raise(&self, alert: Alert, what: Option<String>) {
        let is_new = self.alerts.set(alert, what.is_some().into());
        match what {
            Some(what) if is_new => {
                tracing::warn!(alert = alert.as_str(), waits = what, "too much waits");
            }
            None if is_new => tracing::info!(alert = alert.as_str(), "no longer too much waits"),
            _ => {}
        }
    }
}

fn waiting(lag: &Lag, now: Timestamp) -> Waiting {
    Waiting {
        agent: lag.agent.address.to_string(),
        kind: lag.agent.settings.kind.as_str(),
        messages: lag.messages(),
        oldest: lag.oldest.map_or(0, |oldest| now.since(oldest).as_secs()),
    }
}

#[cfg(test)]
mod tests;
