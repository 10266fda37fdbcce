//! Section `delivery`: how messages get to their recipients.

use std::time::Duration;

use super::kind::{Count, DeliveryPath, Optional, Path, Period, Tries};
use super::reading::Reading;
use super::section::section;

const SECOND: u64 = 1_000;
const HOUR: u64 = 3_600 * SECOND;
const MONTH: u64 = 30 * 24 * HOUR;

section! {
    /// How messages get to their recipients.
    pub struct Delivery = "delivery" {
        /// What an accepted message rests on until it is delivered. With `durable` a 202 means that it is on disk.
        /// With `immediate` messages of our agents that can be delivered at once are kept in memory, which is faster;
        /// a crash may lose those that are on their way.
        path: DeliveryPath as Path = "durable",
        /// The most requests in flight to one webhook.
        concurrency: usize as Count<1, 1_000> = "16",
        /// The most requests in flight to one gateway, over all senders and recipients of its domain. They share
        /// few connections.
        gateway_concurrency: usize as Count<1, 1_000> = "128",
        /// After how much failing the sender is told that a delivery is late. Four hours (`4h`) are usual. Without it
        /// nobody is told before the end.
        delay_notice: Option<Duration> as Optional<Period<SECOND, MONTH>>,
    } with {
        /// When a delivery that failed for the time being is tried again.
        retry: Retry,
    }
}

section! {
    /// When a delivery that failed for the time being is tried again. The pause doubles each time, a quarter more or
    /// less by chance.
    pub struct Retry = "delivery.retry" {
        /// The pause after the first attempt.
        initial: Duration as Period<10, HOUR> = "1s",
        /// The longest pause, at least `initial`; also where a destination asks for a longer one.
        max: Duration as Period<10, MONTH> = "1h",
        /// After so many attempts a delivery has failed for good.
        attempts: u32 as Tries<1, 10_000> = "168",
        /// After this time a delivery has failed for good.
        give_up: Duration as Period<SECOND, MONTH> = "7d",
    }
}

impl Retry {
    /// Tells what does not fit together.
    pub(super) fn check(&self, reading: &mut Reading<'_>) {
        if self.max < self.initial {
            let text = "is less than delivery.retry.initial, the first pause; make it longer";
            reading.fault_of("delivery.retry.max", text.to_owned());
        }
    }
}
