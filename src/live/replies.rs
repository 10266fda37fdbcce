//! Waiting for the reply to a message just sent.
//!
//! A reply counts if it names the message (or an id it travelled under), comes from one of its
//! recipients and goes to its sender. It is a message like any other: whoever waits sees it as
//! soon as it is on disk.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::events::Topic;
use crate::protocol::{Address, Message, MessageId};
use crate::store::{Store, StoreError, StoredMessage, id_hash};

/// How often it is looked for where other gateways share the store.
const LOOK: Duration = Duration::from_secs(1);

/// What is waited for.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The message, by its own id.
    pub message_id: MessageId,
    /// Who sent it.
    pub sender: Address,
    /// Whom it went to.
    pub recipients: Vec<Address>,
}

/// A reply.
#[derive(Debug, Clone)]
pub struct Replied {
    /// As stored.
    pub stored: StoredMessage,
    /// Its content.
    pub message: Message,
}

/// Waits for the first reply, at most `within`, and no longer than until `draining`.
///
/// # Errors
/// When the database fails.
pub async fn wait_for_reply(
    (store, clock): (&Store, &Clock),
    asked: &Asked,
    within: Duration,
    draining: &CancellationToken,
) -> Result<Option<Replied>, StoreError> {
    let deadline = clock.monotonic() + within;
    // Registered before the first look, so that no commit falls between look and wait.
    let topic = Topic::Answer(id_hash(asked.message_id.as_str()));
    let mut answers = store.events().subscribe(topic);
    loop {
        if let Some(found) = find(store, asked).await? {
            return Ok(Some(found));
        }
        let mut left = deadline.saturating_sub(clock.monotonic());
        if left.is_zero() {
            return Ok(None);
        }
        if store.is_shared() {
            // What another gateway tells may get lost.
            left = left.min(LOOK);
        }
        tokio::select! {
            _ = clock.within(left, answers.changed()) => {}
            () = draining.cancelled() => return Ok(None),
        }
    }
}

async fn find(store: &Store, asked: &Asked) -> Result<Option<Replied>, StoreError> {
    for stored in store.find_answers(&asked.message_id).await? {
        let message = stored.message()?;
        let counts = !message.is_bounce()
            && asked.recipients.contains(message.sender())
            && message.recipients().contains(&asked.sender);
        if counts {
            return Ok(Some(Replied { stored, message }));
        }
    }
    Ok(None)
}
