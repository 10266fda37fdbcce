//! Groups: an address of ours with several agents behind it.
//!
//! A group is an agent of that kind: it has a mailbox, and members that read it. Members with a
//! webhook are called instead. A member is a plain agent; names of others, and of nobody, count for
//! nothing.

use std::sync::Arc;

use super::Store;
use super::agents::{Agent, AgentKind, DeliveryMode};
use super::error::StoreError;
use crate::protocol::{Address, AgentName};

/// The most members of a group.
pub const MOST_MEMBERS: usize = 1_000;

impl Agent {
    /// Whether the gateway calls it: it takes mail and has a webhook.
    #[must_use]
    pub fn is_called(&self) -> bool {
        let settings = &self.settings;
        self.active
            && settings.kind == AgentKind::Agent
            && settings.delivery_mode == DeliveryMode::Push
            && settings.dials().is_none()
    }

    /// Whether an address is a member of this group.
    #[must_use]
    pub fn has_member(&self, address: &Address) -> bool {
        let key = address.key();
        let members = self.settings.group.iter().flat_map(|group| &group.members);
        self.settings.kind == AgentKind::Group && { members }.any(|member| member.key() == key)
    }
}

impl Store {
    /// The agents that are members of a group, in its order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn members_of(&self, group: &Agent) -> Result<Vec<Arc<Agent>>, StoreError> {
        let named = group.settings.group.iter().flat_map(|group| &group.members);
        let mut members = Vec::new();
        for address in named.take(MOST_MEMBERS) {
            if let Some(member) = self.agent_at(address).await?
                && member.settings.kind == AgentKind::Agent
                && member.settings.stands_alone()
            {
                members.push(member);
            }
        }
        Ok(members)
    }

    /// Whether any member of a group is called rather than reads.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn calls_members(&self, group: &Agent) -> Result<bool, StoreError> {
        let named = group.settings.group.iter().flat_map(|group| &group.members);
        for address in named.take(MOST_MEMBERS) {
            if self
                .agent_at(address)
                .await?
                .is_some_and(|member| member.is_called())
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The mailbox at `asked` that the agent at `own` may read: its own, or that of a group it is in.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn readable_mailbox(
        &self,
        (id, own): (i64, &Address),
        asked: &Address,
    ) -> Result<Option<(i64, Address)>, StoreError> {
        if asked == own {
            return Ok(Some((id, own.clone())));
        }
        let group = self.agent_at(asked).await?;
        let group = group.filter(|group| group.active && group.has_member(own));
        Ok(group.map(|group| (group.id, group.address.clone())))
    }

    async fn agent_at(&self, address: &Address) -> Result<Option<Arc<Agent>>, StoreError> {
        match AgentName::parse(address.local()) {
            Ok(name) => self.find_agent(address.domain(), &name).await,
            Err(_) => Ok(None),
        }
    }
}
