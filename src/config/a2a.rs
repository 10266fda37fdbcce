//! Section `a2a`: the agents of this gateway as A2A servers.

use std::time::Duration;

use super::kind::{
    A2aVersion, Agent, AgentRef, AssumedVersion, Bytes, CardForm, LegacyCard, Optional, Period,
    Switch, Text,
};
use super::reading::Reading;
use super::section::section;
use crate::protocol::Address;

const SECOND: u64 = 1_000;
const HOUR: u64 = 3_600 * SECOND;
const KIB: u64 = 1_024;
const MIB: u64 = 1_024 * KIB;

section! {
    /// The agents of this gateway as A2A servers, under `/a2a/NAME/`. Without this section A2A is off; `a2a: {}` turns
    /// it on.
    pub(super) struct Keys = "a2a" {
        /// The agent whose card stands at `/.well-known/agent-card.json`. Without one, none does.
        default_agent: Option<AgentRef> as Optional<Agent>,
        /// How long a client that waits for a result is kept waiting. Then it gets the task as it is.
        blocking_max_wait: Duration as Period<SECOND, HOUR> = "5m",
        /// Which version a request speaks that names none: `0.3`, as A2A has it, or `1.0` for the methods of 1.0.
        assume_version: AssumedVersion as A2aVersion = "0.3",
        /// What clients of 0.3 find: `negotiate` gives them a card of their own at `agent.json`, and for
        /// `A2A-Version: 0.3`; `merge` puts both cards into one, which is not signed and which strict clients of 1.0 refuse.
        legacy_card: LegacyCard as CardForm = "negotiate",
        /// Whether callers with a credential get a card that also says how the agent gets its mail.
        extended_card: bool as Switch = "false",
        /// Whether changes of tasks are posted where clients want it. Needs `secrets.key_file`.
        push_notifications: bool as Switch = "true",
        /// How long clients may keep a card.
        card_max_age: Duration as Period<0, { 24 * HOUR }> = "5m",
        /// The largest file that stays inside a message. A larger one is kept by the gateway, and the agent gets a link.
        inline_size: usize as Bytes<KIB, MIB> = "64KiB",
        /// Who runs the gateway, as cards say it.
        organization: Option<String> as Optional<Text>,
    }
}

/// What is set of A2A.
#[derive(Debug, Clone)]
pub struct A2a {
    /// The agent whose card stands at the well-known place of the gateway.
    pub default_agent: Option<Address>,
    /// How long a client that waits for a result is kept waiting.
    pub blocking_max_wait: Duration,
    /// Which version a request speaks that names none.
    pub assume_version: AssumedVersion,
    /// What clients of 0.3 find.
    pub legacy_card: LegacyCard,
    /// Whether callers with a credential get a card with more.
    pub extended_card: bool,
    /// Whether changes of tasks are posted where clients want it.
    pub push_notifications: bool,
    /// How long clients may keep a card.
    pub card_max_age: Duration,
    /// The largest file that stays inside a message, in bytes.
    pub inline_size: usize,
    /// Who runs the gateway.
    pub organization: Option<String>,
}

/// Reads the section; the inner `None` where it is not there, the outer after a fault.
pub(super) fn read(reading: &mut Reading<'_>) -> Option<Option<Keys>> {
    reading.maybe(&Keys::TABLE, Keys::read)
}

impl Keys {
    /// With the agent that was found for `default_agent`.
    pub(super) fn with(self, default_agent: Option<Address>) -> A2a {
        A2a {
            default_agent,
            blocking_max_wait: self.blocking_max_wait,
            assume_version: self.assume_version,
            legacy_card: self.legacy_card,
            extended_card: self.extended_card,
            push_notifications: self.push_notifications,
            card_max_age: self.card_max_age,
            inline_size: self.inline_size,
            organization: self.organization,
        }
    }
}
