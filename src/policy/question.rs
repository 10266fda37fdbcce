//! What the policy is asked: who writes to whom, by which way, and what is known of the sender.

use std::fmt;
use std::ops::BitOr;

use crate::protocol::{Address, SchemaId};

/// A way a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Taken from one of our agents, whoever it is for.
    Submission,
    /// Taken from another gateway.
    Inbound,
    /// To be given to another gateway.
    Outbound,
    /// Taken as mail.
    BridgeIn,
    /// To be given on as mail.
    BridgeOut,
    /// Wants the copies of a topic: the sender is the subscriber, the recipient the topic.
    Subscribe,
    /// Writes to all agents of a domain at once.
    Broadcast,
}

impl Direction {
    /// Every direction, in the order of the documentation.
    pub const ALL: [Self; 7] = [
        Self::Submission,
        Self::Inbound,
        Self::Outbound,
        Self::BridgeIn,
        Self::BridgeOut,
        Self::Subscribe,
        Self::Broadcast,
    ];

    /// The word in rules.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Submission => "submission",
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
            Self::BridgeIn => "bridge-in",
            Self::BridgeOut => "bridge-out",
            Self::Subscribe => "subscribe",
            Self::Broadcast => "broadcast",
        }
    }

    /// The direction of a word; `None` for another word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|each| each.as_str() == word)
    }
}

/// Some directions. What an agent of ours sends to another gateway goes by two: `submission` and
/// `outbound`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Directions(u8);

impl Directions {
    /// Every direction of a message to its recipient: what a rule covers that names none. To
    /// subscribe and to write to everybody at once has to be named.
    pub const MESSAGES: Self = Self(0b1_1111);
    pub(super) const NONE: Self = Self(0);

    /// Whether one direction is in both.
    #[must_use]
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether all of `other` are in here.
    #[must_use]
    pub const fn covers(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(super) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// One by one.
    pub fn iter(self) -> impl Iterator<Item = Direction> {
        let inside = move |each: &Direction| self.meets((*each).into());
        Direction::ALL.into_iter().filter(inside)
    }
}

impl From<Direction> for Directions {
    fn from(direction: Direction) -> Self {
        Self(1 << direction as u8)
    }
}

impl BitOr for Directions {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOr for Direction {
    type Output = Directions;

    fn bitor(self, other: Self) -> Directions {
        Directions::from(self) | other.into()
    }
}

impl fmt::Display for Directions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = self.iter().map(Direction::as_str).collect();
        f.write_str(&words.join(", "))
    }
}

impl fmt::Debug for Directions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{self}]")
    }
}

/// How far the sender's name can be believed. AMTP 1.0, section 9.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SenderStanding {
    /// This gateway itself.
    Internal,
    /// One of our agents, by its own credential.
    Local,
    /// A foreign sender, by its domain's signature or certificate.
    Verified,
    /// A foreign sender, by the address of its domain's gateway.
    SourceAddress,
    /// Nothing vouches for it.
    #[default]
    Unverified,
}

/// What came of a domain signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SignatureStanding {
    /// There is none.
    #[default]
    Absent,
    /// It is the domain's.
    Valid,
    /// It is not the domain's, or is of another body.
    Invalid,
    /// Its key could not be fetched.
    KeyUnavailable,
}

/// What came of a TLS client certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CertificateStanding {
    /// None was shown, or one of somebody else.
    #[default]
    Absent,
    /// It is the sender's, or its gateway's.
    Valid,
}

/// Whether the gateways on the way can read the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PayloadStanding {
    /// They can.
    #[default]
    Plain,
    /// It is encrypted for the recipient.
    Encrypted,
}

/// What is known of a message and its sender. The default is a stranger's unsigned message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// How far the sender's name can be believed.
    pub sender: SenderStanding,
    /// The domain signature.
    pub signature: SignatureStanding,
    /// The TLS client certificate.
    pub certificate: CertificateStanding,
    /// The payload.
    pub payload: PayloadStanding,
}

impl Standing {
    /// The standing of one of our agents that showed its credential.
    #[must_use]
    pub fn local() -> Self {
        let sender = SenderStanding::Local;
        Self {
            sender,
            ..Self::default()
        }
    }

    /// Whether it is one of ours.
    #[must_use]
    pub const fn is_ours(self) -> bool {
        matches!(
            self.sender,
            SenderStanding::Internal | SenderStanding::Local
        )
    }

    /// Whether the sender is verified, or ours.
    #[must_use]
    pub const fn is_verified(self) -> bool {
        self.is_ours() || matches!(self.sender, SenderStanding::Verified)
    }

    /// Whether the sender is verified, ours, or writes from its gateway's address.
    #[must_use]
    pub const fn is_trusted(self) -> bool {
        self.is_verified() || matches!(self.sender, SenderStanding::SourceAddress)
    }

    /// Whether the message has a valid domain signature, or its sender is ours.
    #[must_use]
    pub const fn is_signed(self) -> bool {
        self.is_ours() || matches!(self.signature, SignatureStanding::Valid)
    }
}

/// One message to one recipient.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The ways it goes.
    pub directions: Directions,
    /// Who writes.
    pub sender: &'a Address,
    /// To whom.
    pub recipient: &'a Address,
    /// What the payload is.
    pub schema: Option<&'a SchemaId>,
    /// Bytes of the message.
    pub size: usize,
    /// What is known of it.
    pub standing: Standing,
}
