//! Section `delivery`: how messages go out.

use std::time::Duration;

use super::kind::{Count, Optional, Path, Period};
use super::section::section;

pub use super::kind::DeliveryPath;

const SECOND: u64 = 1_000;
const HOUR: u64 = 3_600 * SECOND;
const DAY: u64 = 24 * HOUR;

section! {
    /// How messages go out.
    pub struct Delivery = "delivery" {
        /// `durable`: a message is on disk before its sender is told that it is accepted. `immediate`: a message
        /// to a webhook or a peer is on its way at once and written meanwhile; after a crash within that
        /// moment it may be gone.
        path: DeliveryPath as Path = "durable",
        /// The most requests under way to one destination.
        concurrency: usize as Count<1, 1_000> = "16",
        /// After this time of failing the sender is told that its message is delayed; not set = never.
        delay_notice: Option<Duration> as Optional<Period<SECOND, { 30 * DAY }>>,
    }
}

section! {
    /// When a delivery that failed is tried again. The pause doubles from the first to the longest.
    pub struct Retry = "delivery.retry" {
        /// The pause after the first attempt.
        initial: Duration as Period<10, HOUR> = "1s",
        /// The longest pause, also where the other side asks for more.
        max: Duration as Period<10, DAY> = "1h",
        /// The most attempts.
        attempts: usize as Count<1, 10_000> = "168",
        /// The longest time from acceptance.
        give_up: Duration as Period<SECOND, { 30 * DAY }> = "7d",
    }
}
