//! What works on tasks of A2A without being asked: who follows those at agents of others, who posts
//! changes, and who ends those that nobody else ends.

use super::{Parts, a2a, endless};
use crate::endpoint::a2a::old_task;
use crate::endpoint::http::Api;
use crate::lifecycle::Stage;
use crate::queue::Overdue;
use crate::transport::{PushRetry, PushTools, Pusher};

impl Parts<'_> {
    pub(super) fn spawn_tasks(&self, work: &Stage, api: &Api) {
        a2a::spawn(work, api.a2a.as_ref());
        self.spawn_calls(work, api);
        let (store, clock, metrics) = (self.store, self.clock, self.metrics);
        let tools = PushTools {
            store: store.clone(),
            client: self.outgoing.a2a.guarded(),
            sealer: api.sealer.clone(),
            old_task,
            clock: clock.clone(),
            metrics: metrics.clone(),
        };
        let retry = &self.config.delivery.retry;
        let retry = PushRetry::new(retry.initial, retry.max, retry.attempts);
        let pusher = Pusher::new(tools, retry);
        work.spawn("a2a-push", endless(pusher.run(work.stop())));
        let overdue = Overdue::new(store.clone(), clock.clone(), metrics.clone());
        work.spawn("overdue", endless(overdue.run(work.stop())));
    }
}
