//! Outgoing connections: the one place where they are opened.

mod client;
mod dns;

pub use client::{HttpsClient, NetError, Options, Roots};
pub use dns::{Asked, DnsFault, DnsSetupFault, HickoryResolver, MailExchange, Records, Resolver};
