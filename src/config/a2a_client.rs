//! Section `a2a_client`: how A2A agents of others are asked.

use std::time::Duration;

use super::kind::{Period, Switch};
use super::section::section;

const SECOND: u64 = 1_000;
const HOUR: u64 = 3_600 * SECOND;
const MONTH: u64 = 30 * 24 * HOUR;

section! {
    /// How A2A agents of others are asked, for agents with `delivery_mode: a2a`.
    pub struct A2aClient = "a2a_client" {
        /// How long one request to an agent may take.
        timeout: Duration as Period<SECOND, { 300 * SECOND }> = "30s",
        /// The pause before a task is looked at again; it doubles each time.
        poll_first: Duration as Period<10, HOUR> = "1s",
        /// The longest of these pauses.
        poll_longest: Duration as Period<10, HOUR> = "1m",
        /// How long a task may take. Then its sender is told that it failed.
        task_time: Duration as Period<SECOND, MONTH> = "7d",
        /// Whether agents that can are asked to call back at `gateway_url` when something happens. They are asked how
        /// the task is all the same, only sooner.
        push: bool as Switch = "true",
    }
}
