//! What an operator sets of an agent as an A2A server.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How an agent is seen and called by A2A clients.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct A2aSettings {
    /// Who may call it.
    #[serde(skip_serializing_if = "is_usual")]
    pub access: A2aAccess,
    /// The callers of an agent with a list: addresses of ours, or `*@domain`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// What its messages look like.
    #[serde(skip_serializing_if = "is_usual")]
    pub profile: A2aProfile,
    /// What its card says it can do; empty = one for each of its capabilities.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skills: Vec<A2aSkill>,
    /// The media types it takes, and no others; empty = any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub input_modes: Vec<String>,
    /// The media types of its answers, as its card says; empty = text and JSON.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub output_modes: Vec<String>,
    /// Extensions of A2A that it knows, beside that of AMTP.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<A2aExtension>,
    /// Seconds after which a task that has not ended fails; absent = it may take for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_seconds: Option<u64>,
    /// Whether its tasks can be followed as streams; absent = they can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub streaming: Option<bool>,
    /// The version in its card; absent = when it was last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Where people read about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub documentation_url: Option<String>,
    /// Its picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icon_url: Option<String>,
}

/// Who may call an agent by A2A.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum A2aAccess {
    /// Anybody.
    Public,
    /// Who has a credential of this gateway.
    #[default]
    Authenticated,
    /// Those on a list.
    AllowList,
}

/// What the messages of an agent look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum A2aProfile {
    /// The whole A2A message.
    #[default]
    Envelope,
    /// Text or data alone, where that is all there is.
    Plain,
}

/// A skill, as cards have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct A2aSkill {
    /// Its name for programs.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// What it does.
    pub description: String,
    /// Words to find it by.
    #[serde(default)]
    pub tags: Vec<String>,
    /// What one may ask.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<String>,
}

/// An extension of A2A, as cards have it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct A2aExtension {
    /// Its name.
    pub uri: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether a client must name it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    /// What else is said of it: an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<Value>,
}

fn is_usual<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl A2aSettings {
    /// Whether its tasks can be followed as streams.
    #[must_use]
    pub fn streams(&self) -> bool {
        self.streaming.unwrap_or(true)
    }

    /// Whether an address is on the list of callers.
    #[must_use]
    pub fn lists(&self, address: &crate::protocol::Address) -> bool {
        let fits = |entry: &String| match entry.strip_prefix("*@") {
            Some(domain) => domain.eq_ignore_ascii_case(address.domain().as_str()),
            None => entry.eq_ignore_ascii_case(address.as_str()),
        };
        self.allow.iter().any(fits)
    }
}
