//! Section `net`: which addresses are connected to.

use ipnet::IpNet;

use super::kind::{List, Network};
use super::section::section;

section! {
    /// Addresses that are connected to though they are not global, by purpose. All others that are loopback,
    /// private, link-local or reserved are refused, so that a webhook cannot reach into your network.
    pub struct NetAllow = "net.allow" {
        /// Where webhooks of agents may be.
        webhooks: Vec<IpNet> as List<Network> = "[]",
    }
}
