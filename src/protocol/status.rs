//! How far a message is: the words of the status answers.
//!
//! A delivery has one [`DeliveryStatus`]; a message has the [`MessageStatus`] of all its deliveries
//! taken together by [`aggregate`]. AMTP 1.0, section 5.2.2.

use std::fmt;
use std::str::FromStr;

use super::text_serde::text_serde;

/// How far one delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryStatus {
    /// Waits for its first attempt.
    Queued,
    /// An attempt is under way.
    Delivering,
    /// An attempt failed, the next one is planned.
    Retrying,
    /// The recipient's gateway or agent has it.
    Delivered,
    /// Given up.
    Failed,
    /// The sender's `expires` passed first.
    Expired,
    /// The sender took it back.
    Cancelled,
    /// An operator or a policy stopped it for the time being.
    Held,
}

/// How far a whole message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageStatus {
    /// All unsettled deliveries, or the most active of them, are at this point; or all have ended so.
    All(DeliveryStatus),
    /// All deliveries have ended, some delivered and some not.
    Partial,
}

/// The word is no status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown status")]
pub struct StatusFault;

impl DeliveryStatus {
    /// Every status.
    pub const ALL: [Self; 8] = [
        Self::Queued,
        Self::Delivering,
        Self::Retrying,
        Self::Delivered,
        Self::Failed,
        Self::Expired,
        Self::Cancelled,
        Self::Held,
    ];

    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Delivering => "delivering",
            Self::Retrying => "retrying",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Held => "held",
        }
    }

    /// The status of a word on the wire.
    ///
    /// # Errors
    /// The word is no status of a delivery.
    pub fn parse(word: &str) -> Result<Self, StatusFault> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == word)
            .ok_or(StatusFault)
    }

    /// Whether nothing more will happen to the delivery by itself.
    #[must_use]
    pub const fn is_settled(self) -> bool {
        matches!(
            self,
            Self::Delivered | Self::Failed | Self::Expired | Self::Cancelled
        )
    }
}

impl MessageStatus {
    /// The word on the wire: a delivery's word, or `partial`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All(status) => status.as_str(),
            Self::Partial => "partial",
        }
    }

    /// The status of a word on the wire.
    ///
    /// # Errors
    /// The word is no status of a message.
    pub fn parse(word: &str) -> Result<Self, StatusFault> {
        if word == "partial" {
            return Ok(Self::Partial);
        }
        DeliveryStatus::parse(word).map(Self::All)
    }
}

/// The status of a message with these deliveries.
///
/// While one is unsettled the message is not: the most active one speaks (`delivering`, `retrying`,
/// `queued`, `held`). When all are settled: their common word, `partial` if some were delivered,
/// else the first of `failed`, `expired`, `cancelled`. A message without deliveries is `queued`.
pub fn aggregate(deliveries: impl IntoIterator<Item = DeliveryStatus>) -> MessageStatus {
    let mut present = [false; 8];
    for status in deliveries {
        present[status as usize] = true;
    }
    let has = |status: &DeliveryStatus| present[*status as usize];
    if has(&DeliveryStatus::Delivered) && !OPEN.iter().any(has) && OTHER_ENDS.iter().any(has) {
        return MessageStatus::Partial;
    }
    let leading = OPEN.iter().chain(&OTHER_ENDS).find(|status| has(status));
    match leading {
        Some(status) => MessageStatus::All(*status),
        None if has(&DeliveryStatus::Delivered) => MessageStatus::All(DeliveryStatus::Delivered),
        None => MessageStatus::All(DeliveryStatus::Queued),
    }
}

const OPEN: [DeliveryStatus; 4] = [
    DeliveryStatus::Delivering,
    DeliveryStatus::Retrying,
    DeliveryStatus::Queued,
    DeliveryStatus::Held,
];

const OTHER_ENDS: [DeliveryStatus; 3] = [
    DeliveryStatus::Failed,
    DeliveryStatus::Expired,
    DeliveryStatus::Cancelled,
];

impl fmt::Display for DeliveryStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for MessageStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for DeliveryStatus {
    type Err = StatusFault;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::parse(word)
    }
}

impl FromStr for MessageStatus {
    type Err = StatusFault;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::parse(word)
    }
}

text_serde!(DeliveryStatus);
text_serde!(MessageStatus);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_back() {
        for status in DeliveryStatus::ALL {
            assert_eq!(DeliveryStatus::parse(status.as_str()), Ok(status));
            assert_eq!(
                MessageStatus::parse(status.as_str()),
                Ok(MessageStatus::All(status))
            );
        }
        assert_eq!(MessageStatus::parse("partial"), Ok(MessageStatus::Partial));
        assert_eq!(DeliveryStatus::parse("partial"), Err(StatusFault));
        assert_eq!(MessageStatus::parse("pending"), Err(StatusFault));
    }

    #[test]
    fn the_message_status_follows_from_its_deliveries() {
        let table = [
            ("", "queued"),
            ("delivered", "delivered"),
            ("delivered delivered", "delivered"),
            ("delivered failed", "partial"),
            ("cancelled delivered", "partial"),
            ("delivered queued", "queued"),
            ("delivered failed retrying", "retrying"),
            ("queued retrying delivering", "delivering"),
            ("held failed", "held"),
            ("expired failed", "failed"),
            ("cancelled expired", "expired"),
            ("cancelled cancelled", "cancelled"),
        ];
        for (words, expected) in table {
            let deliveries = words
                .split_whitespace()
                .map(|word| DeliveryStatus::parse(word).unwrap());
            assert_eq!(aggregate(deliveries).as_str(), expected, "{words}");
        }
    }

    #[test]
    fn settled_means_no_open_word() {
        for status in DeliveryStatus::ALL {
            assert_eq!(status.is_settled(), !OPEN.contains(&status), "{status}");
        }
    }
}
