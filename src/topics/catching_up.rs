//! Gives subscribers what was published before, in order, before anything newer.

use super::copies::{Original, Target, passes};
use super::{TopicFault, Topics};
use crate::store::{Acceptance, Agent, StoredPublication, Subscription};

/// Publications copied in one commit.
const STEP: i64 = 64;

impl Topics {
    /// Lets everybody catch up who is behind.
    pub(super) async fn catch_up_all(&self) -> Result<(), TopicFault> {
        let mut after = 0;
        loop {
            let behind = self.0.store.subscriptions_behind(after).await?;
            let Some(last) = behind.last() else {
                return Ok(());
            };
            after = last.number;
            for subscription in behind {
                let id = subscription.public_id.clone();
                if let Err(fault) = self.catch_up(subscription).await {
                    tracing::info!(
                        subscription.id = id,
                        error.code = fault.code.as_str(),
                        error = fault.cause.unwrap_or_default(),
                        "a subscriber does not catch up now"
                    );
                }
            }
        }
    }

    async fn catch_up(&self, mut subscription: Subscription) -> Result<(), TopicFault> {
        let store = &self.0.store;
        let found = store.find_agent_by_number(subscription.topic).await?;
        let Some(topic) = found else {
            return Ok(());
        };
        loop {
            let after = subscription.after;
            let (kept, _) = store.publications_after(topic.id, after, STEP).await?;
            let Some(last) = kept.last().map(|it| it.seq) else {
                match store.activate_subscription(&subscription).await? {
                    true => return Ok(()),
                    // Published meanwhile, or somebody else goes on with it.
                    false => match store.find_subscription(&subscription.public_id).await? {
                        Some(now)
                            if now.after == subscription.after
                                && now.state == subscription.state =>
                        {
                            let (more, _) = store.publications_after(topic.id, after, 1).await?;
                            if more.is_empty() {
                                return Ok(());
                            }
                            continue;
                        }
                        _ => return Ok(()),
                    },
                }
            };
            let mut copies = Vec::with_capacity(kept.len());
            for publication in kept {
                let made = self.copy_of(&topic, &subscription, publication).await?;
                copies.extend(made);
            }
            store
                .advance_subscription(&subscription, last, copies)
                .await?;
            subscription.after = last;
        }
    }

    async fn copy_of(
        &self,
        topic: &Agent,
        subscription: &Subscription,
        publication: StoredPublication,
    ) -> Result<Vec<Acceptance>, TopicFault> {
        let message = publication.message.message()?;
        let original = Original {
            stored: &publication.message,
            message: &message,
            list: &topic.address,
            sender: &topic.address,
            seq: publication.seq,
        };
        let targets = Target::of(std::slice::from_ref(subscription), &message);
        match self.copies(&original, &targets).await {
            Ok(copies) => Ok(copies.acceptances),
            Err(fault) if passes(fault.code) => Err(fault),
            // Expired since, or too large with its headers.
            Err(_) => Ok(Vec::new()),
        }
    }
}
