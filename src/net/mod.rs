//! Outgoing connections: the one place where they are opened.
//!
//! [`GuardedClient`] is for connections to others: it checks where they lead. [`HttpsClient`] is
//! for commands that talk to a gateway their user named.

mod client;
mod dns;
mod filter;
mod guarded;
mod roots;

pub use client::{HttpsClient, NetError, Options, Roots};
pub use dns::{Asked, DnsFault, DnsSetupFault, HickoryResolver, MailExchange, Records, Resolver};
pub use filter::{AddressFilter, RefusedAddress};
pub use guarded::{
    Answer, AnswerLimits, FileFault, GuardOptions, GuardedClient, NetFault, Plain, Times,
    TlsVersions,
};
