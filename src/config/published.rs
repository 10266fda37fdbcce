//! What a gateway tells the world about itself: its `_amtp` record (AMTP 1.0, section 3.2.1).

use std::time::Duration;

use super::Config;
use crate::protocol::{Advertisement, GatewayUrl};

/// What this gateway can do beyond the minimum, as its record says it.
pub const FEATURES: [&str; 5] = [
    "agent-discovery",
    "multi-recipient",
    "domain-signatures",
    "batch",
    "wait",
];

/// How long others may keep the record, as we tell operators to publish it.
pub const RECORD_TTL: Duration = Duration::from_secs(3_600);

/// The record of a gateway of this version at this place, for messages of at most `max_size` bytes.
#[must_use]
pub fn advertisement(gateway: GatewayUrl, max_size: u64) -> Advertisement {
    Advertisement {
        max_size,
        ..Advertisement::of_gateway(gateway, &FEATURES)
    }
}

impl Config {
    /// The record to publish for each of our domains.
    #[must_use]
    pub fn advertisement(&self) -> Advertisement {
        let max_size = u64::try_from(self.limits.message_size).unwrap_or(u64::MAX);
        let mut advertisement = advertisement(self.gateway_url.clone(), max_size);
        if self.a2a.is_some() {
            advertisement.features.push("a2a".to_owned());
        }
        advertisement
    }
}
