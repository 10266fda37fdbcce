//! Topics: publications and how far their copies are made, and who subscribed.
//!
//! - A publication gets its number in the commit that accepts it, so numbers become visible in order
//!   and without gaps; one that was held gets it when its copies begin.
//! - Copies are made in chunks, in the order of the subscribers' addresses. A chunk and the mark up to
//!   where it goes are one commit: after a crash the next chunk is the next.
//! - A subscription gets what is published after its mark. One that wants what was published before
//!   is behind until it has caught up, and gets it in order.

mod housekeeping;
mod publications;
mod subscribing;
mod subscriptions;

use super::sql::{Connection, Statement};

pub use housekeeping::Trim;
pub use publications::{Numbered, Publication, StoredPublication};
pub use subscribing::{Asking, Confirming, NewSubscription, Start, Subscribed};
pub use subscriptions::{Subscription, SubscriptionState};

/// The number under which stands what goes to all agents.
pub const ALL_AGENTS: i64 = 0;
/// The number under which stands what goes to all connected agents.
pub const CONNECTED_AGENTS: i64 = -1;

/// The destination of what is sent to a topic.
#[must_use]
pub fn list_destination(number: i64) -> String {
    format!("list:{number}")
}

/// The number of a topic by the destination of what is sent to it.
#[must_use]
pub fn list_number(destination: &str) -> Option<i64> {
    destination.strip_prefix("list:")?.parse().ok()
}

/// The number of the last publication, locked until the commit.
pub(super) async fn lock_topic(tx: &mut Connection, topic: i64) -> sqlx::Result<i64> {
    let add =
        Statement::new("INSERT INTO topics (agent, last_seq) VALUES (?, 0) ON CONFLICT DO NOTHING")
            .bind(topic);
    tx.run(add).await?;
    let text = format!(
        "SELECT last_seq FROM topics WHERE agent = ?{}",
        tx.locking("topics")
    );
    let row = tx.row(Statement::new(text).bind(topic)).await?;
    row.ok_or(sqlx::Error::RowNotFound)?.int(0)
}

/// Another gateway, or another attempt, went on from there already.
fn moved_on() -> sqlx::Error {
    sqlx::Error::InvalidArgument("somebody else has gone on from there".to_owned())
}
