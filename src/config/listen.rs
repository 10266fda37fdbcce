//! Section `listen`: where connections are taken.

use std::net::SocketAddr;

use ipnet::IpNet;

use super::kind::{List, Listener, MailListener, Network, Optional, Switch};
use super::section::section;

section! {
    /// Where connections are taken.
    pub struct Listen = "listen" {
        /// The AMTP API over HTTPS (TLS 1.3), for agents and for other gateways.
        https: SocketAddr as Listener = "0.0.0.0:443",
        /// The admin API over HTTPS, with the same certificate. Without it the admin API is on `https`.
        /// In both places it answers only to the addresses of `admin.from`.
        admin: Option<SocketAddr> as Optional<Listener>,
        /// Plain HTTP for the operator: `/health`, `/ready` and `/metrics`. Keep it off public addresses.
        ops: Option<SocketAddr> as Optional<Listener>,
        /// Mail for our agents, by SMTP; section `smtp` says how it is taken. Without it no mail comes in. It needs
        /// `postmaster`, who gets mail about the server.
        smtp: Option<SocketAddr> as Optional<MailListener>,
        /// Whether connections of `trusted_proxies` to `https` and `smtp` begin with a PROXY protocol header (version 1
        /// or 2), as load balancers send it. Those that do not are cut; other clients connect as always.
        proxy_protocol: bool as Switch = "false",
        /// The proxies in front of `https` and `smtp` whose word about the client's address is believed: their PROXY
        /// protocol header, `X-Forwarded-For` or `Forwarded`.
        trusted_proxies: Vec<IpNet> as List<Network> = "[]",
    }
}
