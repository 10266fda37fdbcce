//! Section `net`: where we connect to.

use ipnet::IpNet;

use super::kind::{List, Network};
use super::section::section;

section! {
    /// Where this gateway connects to.
    pub struct Net = "net" {} with {
        /// The ranges that are not public and are connected to all the same.
        allow: Allow,
    }
}

section! {
    /// Addresses that are not public (loopback, private, link-local and the like) are not connected to, unless
    /// they are in one of these ranges. Each list is for one purpose; for peers see `peers`.
    pub struct Allow = "net.allow" {
        /// Ranges that webhooks of our agents may be in.
        webhooks: Vec<IpNet> as List<Network> = "[]",
        /// Ranges that registries of schemas may be in.
        schemas: Vec<IpNet> as List<Network> = "[]",
        /// Ranges that issuers of tokens, and their keys, may be in.
        oidc: Vec<IpNet> as List<Network> = "[]",
        /// Ranges that A2A agents of others, and receivers of push notifications, may be in. Clients name the
        /// receivers: keep it small.
        a2a: Vec<IpNet> as List<Network> = "[]",
        /// Ranges that mail servers may be in: mail exchanges, the smarthost, the next hop.
        smtp: Vec<IpNet> as List<Network> = "[]",
    }
}
