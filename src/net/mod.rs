//! Outgoing connections: the one place where they are opened.
//!
//! [`GuardedClient`] is for connections to others: it checks where they lead. [`HttpsClient`] is
//! for commands that talk to a gateway their user named. [`MailLines`] leads to mail servers. [`Probe`] looks and sends nothing.

mod client;
mod dns;
mod filter;
mod guarded;
mod mail;
mod network;
mod probe;
mod roots;

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
pub use probe::{ChainFault, Probe, ProbeFault, Shown, TlsVersion};
pub use roots::{authorities, authorities_of_servers};
