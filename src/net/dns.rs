//! Asking the DNS: the questions a gateway has, whoever answers them.
//!
//! [`Resolver`] is a trait because the answers come from outside: the daemon asks real servers, a
//! test may answer by itself.

mod hickory;
mod pooled;

use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use thiserror::Error;

pub use hickory::{DnsSetupFault, HickoryResolver};
pub use pooled::pooled_resolver;

/// A question on its way.
pub type Asked<'a, T> = Pin<Box<dyn Future<Output = Result<Records<T>, DnsFault>> + Send + 'a>>;

/// Whoever answers questions to the DNS.
pub trait Resolver: Send + Sync + 'static {
    /// The TXT records of a name, the strings of each put together.
    fn txt<'a>(&'a self, name: &'a str) -> Asked<'a, String>;
    /// The MX records of a name, the most preferred first.
    fn mx<'a>(&'a self, name: &'a str) -> Asked<'a, MailExchange>;
    /// The addresses of a host, version 6 and 4 in turn. An address in digits is its own answer.
    fn addresses<'a>(&'a self, host: &'a str) -> Asked<'a, IpAddr>;
}

/// An answer that holds records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Records<T> {
    /// At least one.
    pub records: Vec<T>,
    /// How long they may be kept: the smallest time to live among them.
    pub ttl: Duration,
}

/// The TXT records of a name as they are written, for those who judge how they are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Texts {
    /// The strings of each record; at least one record, and 32 at most.
    pub records: Vec<Vec<Vec<u8>>>,
    /// How long they may be kept.
    pub ttl: Duration,
    /// Whether a server of the zone itself answered; another one's `ttl` is what is left of it.
    pub authoritative: bool,
}

/// A host that takes mail for a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailExchange {
    /// Lower is asked first.
    pub preference: u16,
    /// Its name without the final dot; empty where the domain takes no mail (RFC 7505).
    pub host: String,
}

/// Why there are no records.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DnsFault {
    /// A server says for sure that there are none.
    #[error("no such record")]
    Nothing {
        /// How long this may be believed, where the answer says so.
        ttl: Option<Duration>,
    },
    /// Nobody knows: no answer in time, SERVFAIL, a broken answer.
    #[error("the DNS does not answer: {0}")]
    Failed(String),
}
