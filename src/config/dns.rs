//! Section `dns`: who is asked for names.

use std::net::SocketAddr;
use std::time::Duration;

use super::kind::{List, NameServer, Period};
use super::section::section;

const MINUTE: u64 = 60_000;

section! {
    /// Who is asked for records and addresses of other domains.
    pub struct Dns = "dns" {
        /// The servers to ask. Without any, those of the system are asked (`/etc/resolv.conf`).
        servers: Vec<SocketAddr> as List<NameServer> = "[]",
        /// How long one server may take to answer.
        timeout: Duration as Period<100, MINUTE> = "3s",
    }
}
