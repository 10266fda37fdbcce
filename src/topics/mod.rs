//! Topics: addresses whose mail goes to everybody who subscribed; and what goes to all agents at once.
//!
//! - What is sent to a topic enters like any message, in one commit with its number in the topic. Its
//!   one delivery is the making of the copies ([`Topics::carry`]).
//! - Copies are made in chunks. A chunk and the mark how far it goes are one commit, so nobody is
//!   left out and nobody gets two, whenever the gateway dies.
//! - Subscribers of other domains confirm with a token that was sent to their address. Who cannot be
//!   reached for good five times in a row is unsubscribed.
//! - What was published before is given to those who ask for it, in order, before anything newer.
//! - Loops end: a copy names the topics it has passed.

mod broadcast;
mod catching_up;
mod copies;
mod expansion;
mod filter;
mod publishing;
mod requests;
mod subscribing;
#[cfg(test)]
mod tests;
mod upkeep;

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::json;
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::intake::Intake;
use crate::protocol::{Address, ErrorCode};
use crate::store::{Agent, AgentKind, Store, TopicSettings};

/// Why something was not done for a topic.
pub use crate::intake::Refusal as TopicFault;
pub use broadcast::{Audience, Broadcasting};
pub use filter::Filter;
pub use publishing::{Caller, Published, Publishing};
pub use subscribing::{From, Subscribed, Subscribing};

/// Subscriptions looked at for one chunk: more than one address may have, so that each chunk has all
/// of at least one address.
const CHUNK: usize = 1_001;
/// Copies that fail for good in a row before a subscriber is given up.
const MOST_FAILURES: i64 = 5;

/// Topics of this gateway. Cloning is cheap.
#[derive(Clone)]
pub struct Topics(Arc<Shared>);

struct Shared {
    store: Store,
    intake: Intake,
    clock: Clock,
    /// Subscriptions looked at for one chunk of copies.
    chunk: usize,
    /// Somebody wants what was published before.
    behind: Notify,
}

impl Topics {
    /// Topics over a store; copies go through `intake`.
    #[must_use]
    pub fn new((store, intake): (Store, Intake), clock: Clock) -> Self {
        Self(Arc::new(Shared {
            store,
            intake,
            clock,
            chunk: CHUNK,
            behind: Notify::new(),
        }))
    }

    /// The topic of this address.
    ///
    /// # Errors
    /// `NOT_FOUND` where there is none; when the store fails.
    pub async fn find(&self, address: &Address) -> Result<Arc<Agent>, TopicFault> {
        let found = self.0.intake.find(address).await?;
        found
            .filter(|agent| agent.active && is_topic(agent) && answers(agent, address))
            .ok_or_else(|| said(ErrorCode::NotFound, "There is no such topic here."))
    }
}

fn is_topic(agent: &Agent) -> bool {
    agent.settings.kind == AgentKind::Topic
}

/// Whether an agent answers to an address itself, and not in the place of an unknown one.
fn answers(agent: &Agent, address: &Address) -> bool {
    let own = agent.address.local().to_ascii_lowercase();
    agent.address.domain() == address.domain()
        && address.agent_names().any(|name| name.as_str() == own)
}

fn settings(topic: &Agent) -> TopicSettings {
    topic.settings.topic.unwrap_or_default()
}

/// A refusal in a sentence of its own.
fn said(code: ErrorCode, text: &'static str) -> TopicFault {
    TopicFault {
        message: Some(Cow::Borrowed(text)),
        ..TopicFault::new(code)
    }
}

/// A field of a request is wrong.
fn invalid(field: &str, error: &str) -> TopicFault {
    TopicFault {
        details: Some(json!({ "validation_errors": [{ "field": field, "error": error }] })),
        ..TopicFault::new(ErrorCode::InvalidParameter)
    }
}
