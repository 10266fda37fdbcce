//! What goes to all agents of a domain at once.

use bytes::Bytes;

use super::publishing::{Caller, sender};
use super::{TopicFault, Topics, invalid};
use crate::intake::Receipt;
use crate::protocol::list::{PublicationFault, publication};
use crate::protocol::{Address, ErrorCode};
use crate::store::{ALL_AGENTS, CONNECTED_AGENTS};

/// Who gets a broadcast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// The agents that have a session when the copies are made.
    Connected,
    /// All registered agents.
    Registered,
}

/// Something for all agents.
pub struct Broadcasting {
    /// The members of a message without sender and recipients, as JSON.
    pub content: Bytes,
    /// Who gets it.
    pub audience: Audience,
    /// Who sends it.
    pub by: Caller,
}

impl Topics {
    /// Sends something to all active agents of the sender's domain but the sender, topics left out;
    /// answers when it is on disk. Nobody may whom no policy rule of the direction `broadcast` lets.
    ///
    /// # Errors
    /// `POLICY_DENIED`, and what refuses a message.
    pub async fn broadcast(&self, broadcasting: Broadcasting) -> Result<Receipt, TopicFault> {
        let sender = sender(&broadcasting.by.principal)?;
        let to = Address::parse(&format!("broadcast@{}", sender.domain()))
            .map_err(|_| TopicFault::new(ErrorCode::InternalError))?;
        let raw = publication(&broadcasting.content, (&sender, &to), None)
            .map_err(|PublicationFault { field, error }| invalid(field, &error))?;
        let number = match broadcasting.audience {
            Audience::Registered => ALL_AGENTS,
            Audience::Connected => CONNECTED_AGENTS,
        };
        let (arrival, entry) = self.arrival(raw, broadcasting.by);
        let intake = &self.0.intake;
        let begun = intake
            .begin_broadcast(arrival, entry, (&to, number))
            .await?;
        begun.receipt().await
    }
}
