//! The top level: what this gateway is responsible for.

use super::kind::{Agent, AgentRef, DomainName, Optional, Several, Url};
use super::section::section;
use crate::protocol::{Domain, GatewayUrl};

section! {
    /// The keys at the top level: what this gateway is responsible for.
    pub(super) struct Names = "" {
        /// The domains this gateway is responsible for. The first one is meant where a domain is left out.
        domains: Vec<Domain> as Several<DomainName>,
        /// Where other gateways and agents reach this one: what the `_amtp` record of each domain says.
        gateway_url: GatewayUrl as Url,
        /// The agent that reads mail to `postmaster` of any of our domains. Without one, such mail is refused.
        postmaster: Option<AgentRef> as Optional<Agent>,
        /// The agent that reads mail to `abuse` of any of our domains. Without one, that of `postmaster` does.
        abuse: Option<AgentRef> as Optional<Agent>,
        /// The agent that reads mail to agents nobody knows. Without one, such mail is refused.
        catch_all: Option<AgentRef> as Optional<Agent>,
    }
}
