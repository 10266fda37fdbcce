//! What a gateway can claim (AMTP 1.0, section 14).

use clap::ValueEnum;

/// A level or profile that tests belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Discovery, mandatory fields, HTTPS with TLS 1.3, delivery, validation of JSON.
    Core,
    /// Extended: tracking, idempotency, the durable path, status and retry.
    Reliability,
    /// Extended: the bridge to mail, schemas, agent discovery, policies.
    Integration,
    /// Extended: workflows, webhooks, custom headers.
    Advanced,
    /// The profile of domain signatures.
    Signatures,
    /// The profile of what amtpd chose where the draft is silent.
    Amtpd,
}

/// What a run asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Asked {
    /// Message format, discovery, HTTPS, delivery, validation
    Core,
    /// Core and the Extended level: reliability, integration, advanced
    Extended,
    /// Core and the profile of domain signatures
    Signatures,
    /// Everything: also what amtpd chose where the draft is silent
    Amtpd,
}

impl Level {
    pub(crate) const ALL: [Self; 6] = [
        Self::Core,
        Self::Reliability,
        Self::Integration,
        Self::Advanced,
        Self::Signatures,
        Self::Amtpd,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Reliability => "extended/reliability",
            Self::Integration => "extended/integration",
            Self::Advanced => "extended/advanced",
            Self::Signatures => "signatures",
            Self::Amtpd => "amtpd",
        }
    }

    /// Whether it is a part of the Extended level.
    pub(crate) const fn is_extended(self) -> bool {
        matches!(self, Self::Reliability | Self::Integration | Self::Advanced)
    }
}

impl Asked {
    /// Whether tests of this level are asked for.
    pub(crate) const fn has(self, level: Level) -> bool {
        match (self, level) {
            (_, Level::Core) | (Self::Amtpd, _) | (Self::Signatures, Level::Signatures) => true,
            (Self::Extended, level) => level.is_extended(),
            _ => false,
        }
    }
}
