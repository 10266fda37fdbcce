//! What looks after the store: the sweeper, and the watch over what waits.

use super::{Parts, endless};
use crate::lifecycle::Stage;
use crate::queue::{Sweeper, Thresholds, Watch};
use crate::store::RetentionRules;

impl Parts<'_> {
    pub(super) fn spawn_sweeper(&self, work: &Stage, node: uuid::Uuid) {
        let retention = &self.config.retention;
        let rules = RetentionRules {
            settled: retention.settled,
            acknowledged: retention.acknowledged,
            dead_letters: retention.dead_letters,
        };
        let sweeper = Sweeper::new(self.store.clone(), rules, self.clock.clone(), node)
            .with_audit(retention.audit);
        work.spawn("sweeper", endless(sweeper.run(work.stop())));
    }

    pub(super) fn spawn_watch(&self, work: &Stage) {
        let alerts = &self.config.alerts;
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let thresholds = Thresholds {
            every: alerts.every,
            queue_deliveries: count(alerts.queue_deliveries),
            queue_age: alerts.queue_age,
            lag_messages: count(alerts.lag_messages),
            lag_age: alerts.lag_age,
        };
        let tools = (self.store.clone(), self.clock.clone());
        let watch = Watch::new(tools.0, tools.1, self.metrics.alerts().clone(), thresholds);
        work.spawn("watch", endless(watch.run(work.stop())));
    }
}
