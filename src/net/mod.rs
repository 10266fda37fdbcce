//! Outgoing connections: the one place where they are opened.
//!
//! [`GuardedClient`] is for connections to others: it checks where they lead. [`HttpsClient`] is
//! for commands that talk to a gateway their user named. [`MailLines`] leads to mail servers. [`Probe`] looks and sends nothing.
//! [`ask_plainly`] is for this machine's own listener.

mod client;
mod dns;
mod filter;
mod guarded;
mod mail;
mod network;
mod plain;
mod probe;
mod roots;
#[cfg(test)]
pub(crate) mod testing;

pub use client::{HttpsClient, NetError, Options, Roots};
pub use dns::{
    Asked, DnsFault, DnsSetupFault, HickoryResolver, MailExchange, Records, Resolver, Texts,
    pooled_resolver,
};
pub use filter::{AddressFilter, RefusedAddress};
pub use guarded::{
    Answer, AnswerLimits, FileFault, GuardOptions, GuardedClient, NetFault, Plain, Times,
    TlsVersions,
};
pub use mail::{MailCertificate, MailLineOptions, MailLines};
pub use network::network_of;
pub use plain::ask_plainly;
pub use probe::{ChainFault, Probe, ProbeFault, Shown, TlsVersion};
pub use roots::{authorities, authorities_of_servers};
