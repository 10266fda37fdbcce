//! Section `live`: connections over which agents are sent their mail as it arrives.

use std::time::Duration;

use super::kind::{Count, Period, Switch};
use super::section::section;

const SECOND: u64 = 1_000;
const HOUR: u64 = 3_600 * SECOND;

section! {
    /// Connections over which agents are sent their mail as it arrives.
    pub struct Live = "live" {
        /// How often both sides of a connection show that they live. One that is silent for twice as long is gone.
        heartbeat: Duration as Period<SECOND, HOUR> = "30s",
        /// How long a session whose connection was lost can be resumed.
        resume: Duration as Period<SECOND, HOUR> = "60s",
        /// The most sessions of one agent at a time, over all gateways of the database.
        sessions: usize as Count<1, 10_000> = "100",
        /// The most messages handed to a connection at a time.
        window: usize as Count<1, 10_000> = "256",
        /// Whether messages are compressed on WebSockets for those who offer it (permessage-deflate).
        compression: bool as Switch = "true",
    }
}
