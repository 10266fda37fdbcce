//! The worker: lets subscribers catch up, and forgets what topics do not keep.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::subscribing::TOKEN;
use super::{TopicFault, Topics, is_topic, settings};
use crate::protocol::Timestamp;
use crate::store::{CONNECTED_AGENTS, Trim};

/// How often it looks without a cause.
const EVERY: Duration = Duration::from_secs(10);
/// Looks between two rounds of forgetting.
const ROUND: u32 = 6;
/// Publications kept by a topic that says for how long and not how many.
pub(super) const USUALLY_KEPT: u64 = 10_000;

impl Topics {
    /// Works until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut round = 0;
        loop {
            if let Err(fault) = self.catch_up_all().await {
                tell(&fault, "subscribers cannot catch up");
            }
            if round == 0
                && let Err(fault) = self.tidy().await
            {
                tell(&fault, "old publications cannot be removed");
            }
            round = (round + 1) % ROUND;
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.0.behind.notified() => {}
                () = self.0.clock.wait(EVERY) => {}
            }
        }
    }

    /// Forgets what is over: publications, questions, subscriptions of who is gone.
    pub(super) async fn tidy(&self) -> Result<(), TopicFault> {
        let now = self.0.clock.now();
        let store = &self.0.store;
        store.tidy_subscriptions(now, now.minus(TOKEN)).await?;
        let mut after = CONNECTED_AGENTS - 1;
        loop {
            let topics = store.topics_with_publications(after).await?;
            let Some(last) = topics.last() else {
                return Ok(());
            };
            after = *last;
            for topic in topics {
                let trim = self.trim(topic, now).await?;
                while store.trim_publications(trim).await? {}
            }
        }
    }

    async fn trim(&self, topic: i64, now: Timestamp) -> Result<Trim, TopicFault> {
        let found = match topic > 0 {
            true => self.0.store.find_agent_by_number(topic).await?,
            false => None,
        };
        let kept = found.filter(|agent| is_topic(agent));
        let kept = kept.map(|agent| settings(&agent)).unwrap_or_default();
        let keep = match (kept.keep, kept.retention_seconds) {
            (Some(keep), _) => keep,
            (None, Some(_)) => USUALLY_KEPT,
            (None, None) => 0,
        };
        let before = kept.retention_seconds.map(Duration::from_secs);
        Ok(Trim {
            topic,
            before: before.map_or(Timestamp::from_millis(0), |kept| now.minus(kept)),
            keep: i64::try_from(keep).unwrap_or(i64::MAX),
            retain: kept.retain,
        })
    }
}

fn tell(fault: &TopicFault, what: &'static str) {
    tracing::warn!(
        error.code = fault.code.as_str(),
        error = fault.cause.as_deref().unwrap_or_default(),
        "{what}"
    );
}
