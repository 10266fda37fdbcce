//! The ways out: what carries a message to where it is to go, and what came of it.
//!
//! Every delivery goes through a [`Transport`] and ends in one [`Outcome`] a recipient. A transport
//! tries once (and at once again only where the protocol says so); when to try again is the
//! queue's matter. What is unknown defers, it never fails.

mod a2a;
mod a2a_push;
mod after;
mod behind;
mod front;
mod group;
mod local;
mod mail;
mod peer;
mod text;
pub mod webhook;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::protocol::{Address, Domain, ErrorCode, Message, Timestamp};
use crate::store::{StoredMessage, WireIdentity};

pub use a2a::{A2aClient, A2aOptions, A2aTransport, Problem, TASK_NOT_FOUND};
pub use a2a_push::{OldTask, PushRetry, PushTools, Pusher};
pub use group::{GroupTransport, is_for_readers};
pub use local::LocalTransport;
pub use mail::{
    Login, MailSettings, MailSigner, MailTools, MailTransport, SignFault, SmarthostSettings,
};
pub use peer::{PeerOptions, PeerSettings, PeerTools, PeerTransport, Signing};

/// One peer or target with its limits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Destination {
    /// The gateway of a foreign domain.
    Peer(Domain),
    /// The webhook of the local agent with this number.
    Agent(i64),
    /// One member of the group with this number.
    Group(i64),
    /// The subscribers of the topic with this number.
    List(i64),
    /// The mail of a domain: people, or a gateway behind a bridge.
    Mail(Domain),
}

impl Destination {
    /// Reads the form kept in the database: `domain:example.org`, `agent:7`, `group:8`, `list:9`,
    /// `mail:example.org`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once(':')? {
            ("domain", domain) => Domain::parse(domain).ok().map(Self::Peer),
            ("agent", number) => number.parse().ok().map(Self::Agent),
            ("mail", domain) => Domain::parse(domain).ok().map(Self::Mail),
            ("list", number) => number.parse().ok().map(Self::List),
            ("group", number) => number.parse().ok().map(Self::Group),
            _ => None,
        }
    }

    /// The domain whose gateway it is, if it is one.
    #[must_use]
    pub const fn domain(&self) -> Option<&Domain> {
        match self {
            Self::Peer(domain) => Some(domain),
            Self::Agent(_) | Self::Group(_) | Self::List(_) | Self::Mail(_) => None,
        }
    }

    /// Its class, as metrics name it.
    #[must_use]
    pub const fn class(&self) -> &'static str {
        match self {
            Self::Peer(_) => "peer",
            Self::Agent(_) => "webhook",
            Self::Mail(_) => "mail",
            Self::List(_) => "list",
            Self::Group(_) => "group",
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(domain) => write!(f, "domain:{domain}"),
            Self::Agent(number) => write!(f, "agent:{number}"),
            Self::Mail(domain) => write!(f, "mail:{domain}"),
            Self::List(number) => write!(f, "list:{number}"),
            Self::Group(number) => write!(f, "group:{number}"),
        }
    }
}

/// One message on its way to recipients of one destination that travel together.
#[derive(Debug, Clone)]
pub struct Parcel {
    /// The message as stored.
    pub stored: Arc<StoredMessage>,
    /// Its content.
    pub message: Message,
    /// At least one.
    pub copies: Vec<Copy>,
}

/// One recipient of a parcel.
#[derive(Debug, Clone)]
pub struct Copy {
    /// The number of the delivery.
    pub seq: i64,
    /// As the sender wrote it.
    pub recipient: Address,
    /// Attempts made before this one.
    pub attempts: u32,
    /// When the first of them was made.
    pub first_attempt: Option<Timestamp>,
    /// What it travelled under last; `None` = the message's own id and key, or nothing yet.
    pub wire: Option<WireIdentity>,
    /// Whether it must travel under a fresh identity now.
    pub renew: bool,
}

/// What came of an attempt for one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempted {
    /// The judgement.
    pub outcome: Outcome,
    /// The address really used, such as `192.0.2.1:443`.
    pub remote: Option<String>,
    /// Whether the next attempt must travel under a fresh identity.
    pub renew: bool,
}

/// The judgement on one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The other side has it.
    Delivered {
        /// What it answered at once. Of a peer: a whole message; of a webhook: the payload of one.
        reply: Option<Bytes>,
    },
    /// Not now.
    Deferred(Trouble),
    /// It was not tried: an earlier message between the same two has to go first. That is no attempt.
    Waits,
    /// Not ever.
    Failed(Trouble),
}

/// Why an attempt did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The code that status, dead letter and bounce show.
    pub code: ErrorCode,
    /// What happened, for the operator and the sender; holds no secret. At most 500 bytes.
    pub text: String,
    /// Whom it concerns.
    pub fault: Fault,
    /// The time the other side asked for.
    pub retry_after: Option<Duration>,
}

/// Whom a trouble concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Everything for this destination.
    Destination,
    /// This message for this recipient only.
    Message,
}

/// How much one attempt may carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Messages.
    pub messages: usize,
    /// Bytes of their received bodies together.
    pub bytes: usize,
}

impl Load {
    /// One message of any size.
    pub const SINGLE: Self = Self {
        messages: 1,
        bytes: usize::MAX,
    };
}

/// An attempt on its way: one list a parcel, one entry a copy, in their order.
pub type Carrying<'a> = Pin<Box<dyn Future<Output = Vec<Vec<Attempted>>> + Send + 'a>>;

/// Carries parcels to one kind of destination.
pub trait Transport: Send + Sync + 'static {
    /// Tries to deliver parcels, in their order.
    fn carry<'a>(&'a self, to: &'a Destination, parcels: Vec<Parcel>) -> Carrying<'a>;

    /// How much one attempt may carry there at present.
    fn load(&self, to: &Destination) -> Load;
}
