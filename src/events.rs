//! What was committed, for whoever waits for it.
//!
//! The committer publishes after each commit; a waiter registers *before* it looks, so that no
//! commit falls between the look and the wait. Only keys somebody waits for take memory, and who
//! waits is a request or a worker: both are bounded.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// What something committed concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    /// New mail in the mailbox of this agent.
    Mailbox(i64),
    /// New deliveries in the queue.
    Queue,
    /// Deliveries in the queue were changed from outside: held, cancelled, to be tried at once.
    Control,
    /// Room in mailboxes for which mail waits in the queue.
    Room,
    /// A message that answers the one with this hash of its id.
    Answer(i64),
    /// A change of the deliveries of the stored message with this number.
    Message(i64),
    /// The session of this number is to look: it ended, or what it was handed was dealt with by
    /// another way.
    Session(i64),
    /// A change of the task with this hash of its id.
    Task(i64),
    /// Changes of tasks that are to be posted somewhere.
    Pushes,
    /// Tasks of A2A agents of others that are to be looked at.
    Calls,
}

type Waiters = Mutex<HashMap<Topic, (watch::Sender<()>, usize)>>;

/// The shared board of waiters. Cloning is cheap.
#[derive(Debug, Clone, Default)]
pub struct Events(Arc<Waiters>);

impl Events {
    /// Registers interest in a topic. Look at the store after this call, then wait.
    #[must_use]
    pub fn subscribe(&self, topic: Topic) -> Subscription {
        let mut waiters = self.lock();
        let (sender, count) = waiters
            .entry(topic)
            .or_insert_with(|| (watch::Sender::new(()), 0));
        *count += 1;
        Subscription {
            events: self.clone(),
            topic,
            changes: sender.subscribe(),
        }
    }

    /// Wakes everyone who waits for one of these topics.
    pub fn publish(&self, topics: impl IntoIterator<Item = Topic>) {
        let waiters = self.lock();
        if waiters.is_empty() {
            return;
        }
        for topic in topics {
            if let Some((sender, _)) = waiters.get(&topic) {
                sender.send_replace(());
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Topic, (watch::Sender<()>, usize)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A registered interest; ends when dropped.
#[derive(Debug)]
pub struct Subscription {
    events: Events,
    topic: Topic,
    changes: watch::Receiver<()>,
}

impl Subscription {
    /// Completes at the first publication since the last call, or since the subscription.
    pub async fn changed(&mut self) {
        if self.changes.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Takes what was published so far as known: the next [`Subscription::changed`] waits for what
    /// comes after.
    pub fn catch_up(&mut self) {
        self.changes.mark_unchanged();
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut waiters = self.events.lock();
        if let Some((_, count)) = waiters.get_mut(&self.topic) {
            *count -= 1;
            if *count == 0 {
                waiters.remove(&self.topic);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_publication_between_look_and_wait_is_not_missed() {
        let events = Events::default();
        let mut mine = events.subscribe(Topic::Mailbox(1));
        events.publish([Topic::Mailbox(2), Topic::Mailbox(1)]);
        mine.changed().await;
        drop(mine);
        assert!(events.lock().is_empty());
    }
}
