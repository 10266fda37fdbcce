//! Section `dns`: who is asked for names.

use std::net::SocketAddr;
use std::time::Duration;

use super::kind::{List, NameServer, Period};
use super::section::section;

const MINUTE: u64 = 60_000;

section! {
    /// Who is asked for names. Gateways of other domains are found by the DNS.
    pub struct Dns = "dns" {
        /// The servers to ask, as IP or IP:PORT; none = those of the system.
        servers: Vec<SocketAddr> as List<NameServer> = "[]",
        /// How long one server has to answer.
        timeout: Duration as Period<100, MINUTE> = "3s",
    }
}
