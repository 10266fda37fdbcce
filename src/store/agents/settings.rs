//! What an operator sets of an agent.

use serde::{Deserialize, Serialize};

use super::a2a::A2aSettings;
use crate::protocol::{Address, SchemaPattern, Timestamp};
use crate::store::KeyMark;

/// How mail reaches an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryMode {
    /// The agent polls its inbox.
    Pull,
    /// The gateway posts to the agent's webhook.
    Push,
    /// The gateway asks an A2A agent of others, as an A2A client.
    A2a,
    /// The address stands for an agent of another domain: its mail goes on to that.
    Peer,
}

impl DeliveryMode {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::A2a => "a2a",
            Self::Peer => "peer",
        }
    }
}

/// Whether strangers find the agent in discovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// Shown to everyone.
    Listed,
    /// Shown to the operator only.
    Unlisted,
}

/// Whether an answer of the agent's webhook becomes a reply message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Replies {
    /// Whenever the answer holds one.
    #[default]
    Auto,
    /// Only when the message asked for a response.
    Requested,
    /// Never.
    Never,
}

/// What an operator sets of an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentSettings {
    /// How mail reaches it.
    pub delivery_mode: DeliveryMode,
    /// Where its mail goes on to: the webhook, for mode push; the A2A agent, for mode a2a; an address,
    /// for mode peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push_target: Option<String>,
    /// Schemas it takes; empty = any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub supported_schemas: Vec<SchemaPattern>,
    /// What it can do, in its own words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
    /// Its role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// A sentence for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Whether discovery shows it.
    pub listed: bool,
    /// What becomes of its webhook's answers.
    #[serde(default)]
    pub replies: Replies,
    /// Which of its webhook secrets is in force.
    #[serde(default)]
    pub secret_generation: u32,
    /// When that secret took the place of the one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_rotated_at: Option<Timestamp>,
    /// Which keys its webhook secrets come from.
    #[serde(default)]
    pub secret_keys: SecretKeys,
    /// What stands behind the address.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub kind: AgentKind,
    /// How its sessions share its mail.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub live: LiveSettings,
    /// How much mail may wait for it.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub bounds: Bounds,
    /// What a topic keeps; for topics only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<TopicSettings>,
    /// Who is in a group; for groups only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupSettings>,
    /// How A2A clients see and call it.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub a2a: A2aSettings,
}

fn is_usual<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What stands behind an address of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AgentKind {
    /// One agent.
    #[default]
    Agent,
    /// A list of subscribers: each gets a copy of what is sent to it.
    Topic,
    /// Several agents that share the work.
    Group,
}

impl AgentKind {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Topic => "topic",
            Self::Group => "group",
        }
    }
}

/// How the sessions of an agent share its mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LiveSettings {
    /// Whether each message goes to one session or to all.
    #[serde(default)]
    pub sessions: SessionSharing,
    /// Whether mail of one sender keeps its order among sessions that share it.
    #[serde(default)]
    pub order: SessionOrder,
}

/// Whether a message goes to one session of its agent or to all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionSharing {
    /// To one: they are competing consumers.
    #[default]
    Shared,
    /// Each session gets a copy; it leaves the mailbox when all of them acknowledged it.
    Copies,
}

/// Whether mail of one sender keeps its order among sessions that share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionOrder {
    /// While a message of a sender is unacknowledged at a session, the later ones of that sender go
    /// to the same session.
    #[default]
    Kept,
    /// Any session may get any message.
    None,
}

/// How much mail may wait for an agent; what is absent is unbounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// Messages in the mailbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages: Option<u64>,
    /// Bytes of their bodies together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Seconds that the oldest may have waited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<u64>,
    /// What happens to mail beyond that; absent: foreign senders' mail is held, local senders are
    /// refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when_full: Option<WhenFull>,
}

/// What happens to new mail for a full mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// It is accepted and waits in the queue until there is room.
    Hold,
    /// It is refused with `MAILBOX_FULL`.
    Refuse,
    /// It is accepted, and the oldest becomes a dead letter.
    DeadLetter,
}

/// What a topic keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopicSettings {
    /// Seconds that publications are kept for replay; absent = they are not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_seconds: Option<u64>,
    /// The most publications kept for replay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<u64>,
    /// Whether the last publication is kept as the topic's value and given to new subscribers.
    #[serde(default)]
    pub retain: bool,
}

/// Who is in a group and how work is spread.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupSettings {
    /// Local agents; at most 1,000.
    #[serde(default)]
    pub members: Vec<Address>,
    /// How a member is picked.
    #[serde(default)]
    pub spread: Spread,
}

/// How a member of a group is picked for a message of a sender that has none under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spread {
    /// One after the other.
    #[default]
    RoundRobin,
    /// The one with the fewest messages under way.
    LeastOutstanding,
    /// One whose schemas or capabilities fit the message, the fewest under way first.
    Capability,
}

/// Which keys the secrets of a webhook come from; nothing is said of those from before there could
/// be more than one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SecretKeys {
    /// That of the secret in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub present: Option<KeyMark>,
    /// That of the one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former: Option<KeyMark>,
}

impl AgentSettings {
    /// What an agent has that nobody set: it polls, is listed and may be answered.
    #[must_use]
    pub fn fresh() -> Self {
        Self {
            delivery_mode: DeliveryMode::Pull,
            push_target: None,
            supported_schemas: Vec::new(),
            capabilities: Vec::new(),
            role: None,
            description: None,
            display_name: None,
            listed: true,
            replies: Replies::Auto,
            secret_generation: 0,
            secret_rotated_at: None,
            secret_keys: SecretKeys::default(),
            kind: AgentKind::default(),
            live: LiveSettings::default(),
            bounds: Bounds::default(),
            topic: None,
            group: None,
            a2a: A2aSettings::default(),
        }
    }

    /// Whether its mail waits in a mailbox: it polls, or the gateway dials it and opens a session.
    #[must_use]
    pub fn has_mailbox(&self) -> bool {
        self.delivery_mode == DeliveryMode::Pull || self.dials().is_some()
    }

    /// The `wss://` address that the gateway dials.
    #[must_use]
    pub fn dials(&self) -> Option<&str> {
        let target = self.push_target.as_deref();
        target.filter(|target| target.starts_with("wss://"))
    }

    /// Whether it is an agent here, and no stand-in for one elsewhere.
    #[must_use]
    pub const fn stands_alone(&self) -> bool {
        matches!(self.delivery_mode, DeliveryMode::Pull | DeliveryMode::Push)
    }

    /// The agent of another domain that it stands for.
    #[must_use]
    pub fn stands_for(&self) -> Option<Address> {
        let target = self.push_target.as_deref();
        let target = target.filter(|_| self.delivery_mode == DeliveryMode::Peer)?;
        Address::parse(target).ok()
    }

    /// Whether strangers find it.
    #[must_use]
    pub const fn listing(&self) -> Listing {
        if self.listed {
            Listing::Listed
        } else {
            Listing::Unlisted
        }
    }
}
