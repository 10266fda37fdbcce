//! Section `alerts`: when the gateway says that it is behind.

use std::time::Duration;

use super::kind::{Count, Period};
use super::section::section;

const SECOND: u64 = 1_000;
const YEAR: u64 = 366 * 86_400 * SECOND;

section! {
    /// When the gateway says that it, or an agent, is behind: a warning in the log, the metric `amtp_alert`, and the
    /// line `alerts` of `/ready`. An alert ends when what it is about is well again.
    pub struct Alerts = "alerts" {
        /// How often the gateway looks.
        every: Duration as Period<SECOND, { 3_600 * SECOND }> = "30s",
        /// More deliveries than this in the queue.
        queue_deliveries: usize as Count<1, 1_000_000_000> = "100000",
        /// A delivery in the queue that is older than this.
        queue_age: Duration as Period<SECOND, YEAR> = "1d",
        /// More messages than this that wait for one agent, topic or group.
        lag_messages: usize as Count<1, 1_000_000_000> = "10000",
        /// A message that has waited longer than this for one agent, topic or group.
        lag_age: Duration as Period<SECOND, YEAR> = "1d",
    }
}
