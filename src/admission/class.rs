//! What is shed first, and how full the gateway may be for each.

/// What somebody asks of the gateway, in the order in which it is shed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Lists and reads.
    Read,
    /// A message of low priority, whoever sent it.
    Low,
    /// The immediate path: what is shed of it takes the durable one.
    Immediate,
    /// A message of our own agents.
    Submission,
    /// A message of another gateway whose sender cannot be believed.
    Unverified,
    /// A message of another gateway whose sender is believed, or may turn out to be.
    Verified,
    /// What makes the gateway emptier: acknowledging, putting back, cancelling.
    Drain,
}

impl Class {
    /// Every class, in its order.
    pub const ALL: [Self; 7] = [
        Self::Read,
        Self::Low,
        Self::Immediate,
        Self::Submission,
        Self::Unverified,
        Self::Verified,
        Self::Drain,
    ];

    /// The word in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Low => "low",
            Self::Immediate => "immediate",
            Self::Submission => "submission",
            Self::Unverified => "unverified",
            Self::Verified => "verified",
            Self::Drain => "drain",
        }
    }

    /// How much of the limit may be in use, in percent, for one more of this class to come in.
    /// Between submissions and the whole lie the 25 % that only peers may use.
    pub(super) const fn share(self) -> u64 {
        match self {
            Self::Read => 50,
            Self::Low => 60,
            Self::Immediate => 65,
            Self::Submission => 75,
            Self::Unverified => 90,
            Self::Verified | Self::Drain => 100,
        }
    }

    /// Whether this is a message that wants to be written.
    pub(super) const fn is_message(self) -> bool {
        !matches!(self, Self::Read | Self::Drain)
    }
}
