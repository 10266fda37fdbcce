//! The immediate path: a submission is on its way before it is on disk.
//!
//! Only for submissions, and only when the queue takes it at once: every lane empty, the
//! destination well, room to send. Otherwise the message goes the durable way. Its row is written
//! with the next commit without waiting for it; after a crash before that the message may be gone
//! and its key free. That is the documented limit of this path.
//!
//! A message under a key that its sender gave is looked up first, and a second one under the same
//! key waits until the first is on disk: so nothing is sent twice.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot, watch};

use super::Refusal;
use super::receipt::Way;
use crate::envelope::KeySource;
use crate::protocol::DeliveryStatus;
use crate::store::{Acceptance, Fate, Plan, Store, list_number};

/// Offers that may wait for the queue.
const WAITING: usize = 256;

/// A judged message offered to the queue.
pub struct Offer {
    /// The message.
    pub acceptance: Acceptance,
    /// Whether it is taken; the message comes back if not.
    pub taken: oneshot::Sender<Result<(), Box<Acceptance>>>,
    /// Kept until the message is on disk.
    pub claim: Claim,
}

/// The offering end. Cloning is cheap.
#[derive(Clone)]
pub struct Express {
    offers: mpsc::Sender<Offer>,
    claims: Claims,
}

impl Express {
    /// Both ends.
    #[must_use]
    pub fn channel() -> (Self, mpsc::Receiver<Offer>) {
        let (offers, taking) = mpsc::channel(WAITING);
        let claims = Claims::default();
        (Self { offers, claims }, taking)
    }

    /// Takes the key of a message, if its sender gave one; waits while another message has it.
    pub(super) async fn claim(&self, acceptance: &Acceptance) -> Claim {
        if acceptance.envelope.key_source != KeySource::Given {
            return Claim::default();
        }
        let sender = acceptance.envelope.message.sender().key();
        let key = acceptance.envelope.idempotency_key.as_str();
        self.claims.take(format!("{sender} {key}")).await
    }

    /// Hands a message to the queue, or to the store where the queue does not take it.
    pub(super) async fn offer(
        &self,
        store: &Store,
        acceptance: Acceptance,
        claim: Claim,
    ) -> Result<Way, Refusal> {
        let queued = acceptance
            .recipients
            .iter()
            .all(|it| matches!(&it.plan, Plan::Queue { destination, .. } if list_number(destination).is_none()));
        let given = acceptance.envelope.key_source == KeySource::Given;
        if !queued || (given && store.knows(&acceptance).await?) {
            return durable(store, acceptance, claim).await;
        }
        let fates = vec![Fate::New(DeliveryStatus::Queued); acceptance.recipients.len()];
        let (taken, answer) = oneshot::channel();
        let offer = Offer {
            acceptance,
            taken,
            claim,
        };
        match self.offers.try_send(offer) {
            Ok(()) => {}
            Err(
                mpsc::error::TrySendError::Full(offer) | mpsc::error::TrySendError::Closed(offer),
            ) => {
                return durable(store, offer.acceptance, offer.claim).await;
            }
        }
        match answer.await {
            Ok(Ok(())) => Ok(Way::Early(fates)),
            Ok(Err(acceptance)) => durable(store, *acceptance, Claim::default()).await,
            Err(_) => Err(Refusal::no_room()),
        }
    }
}

/// Hands a message to the store; its claim holds until the store has it in its order.
async fn durable(store: &Store, acceptance: Acceptance, claim: Claim) -> Result<Way, Refusal> {
    let accepting = store.begin_accept(acceptance).await?;
    drop(claim);
    Ok(Way::Durable(accepting))
}

/// Keys of messages that are on their way and not yet handed to the store. There are as many as
/// there are requests and messages under way, both of which are bounded.
#[derive(Debug, Clone, Default)]
struct Claims(Arc<Mutex<HashMap<String, watch::Receiver<()>>>>);

/// A key that is taken until this is dropped.
#[derive(Debug, Default)]
pub struct Claim(Option<(Claims, String, watch::Sender<()>)>);

impl Claims {
    /// Takes a key; waits while another message has it.
    async fn take(&self, key: String) -> Claim {
        loop {
            let mut other = {
                let mut taken = self.lock();
                match taken.get(&key) {
                    Some(other) => other.clone(),
                    None => {
                        let (sender, receiver) = watch::channel(());
                        taken.insert(key.clone(), receiver);
                        return Claim(Some((self.clone(), key, sender)));
                    }
                }
            };
            // Ends with an error when the other one is dropped: then the key is free.
            while other.changed().await.is_ok() {}
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, watch::Receiver<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some((claims, key, _)) = &self.0 {
            claims.lock().remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_key_is_taken_once_at_a_time() {
        let claims = Claims::default();
        let first = claims.take("k".to_owned()).await;
        let mut second = Box::pin(claims.take("k".to_owned()));
        tokio::select! {
            biased;
            _ = &mut second => panic!("taken twice"),
            () = tokio::task::yield_now() => {}
        }
        let other = claims.take("other".to_owned()).await;
        drop(first);
        drop(second.await);
        drop(other);
        assert!(claims.lock().is_empty());
    }
}
