//! Kinds that are names of the network: domains, addresses, URLs.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::{Misfit, Scalar};
use crate::config::reading::Reading;
use crate::protocol::{Address, AgentName, Domain, GatewayUrl, Selector, is_reserved};

/// A domain.
pub(in crate::config) struct DomainName;

impl Scalar for DomainName {
    type Value = Domain;

    fn noun() -> String {
        "a domain".to_owned()
    }

    fn example() -> &'static str {
        "example.com"
    }

    fn parse(text: &str, _: &Reading<'_>) -> Result<Domain, Misfit> {
        Domain::parse(text).map_err(|_| Misfit::Form)
    }
}

/// An agent of ours, as it was written.
#[derive(Debug, Clone)]
pub(in crate::config) enum AgentRef {
    /// By its name, in the first of our domains.
    Name(AgentName),
    /// By its address.
    Address(Address),
}

/// An agent of ours.
pub(in crate::config) struct Agent;

impl Scalar for Agent {
    type Value = AgentRef;

    fn noun() -> String {
        "the name of a local agent, or its address".to_owned()
    }

    fn example() -> &'static str {
        "ops"
    }

    fn parse(text: &str, _: &Reading<'_>) -> Result<AgentRef, Misfit> {
        let agent = if text.contains('@') {
            AgentRef::Address(Address::parse(text).map_err(|_| Misfit::Form)?)
        } else {
            AgentRef::Name(AgentName::parse(text).map_err(|_| Misfit::Form)?)
        };
        let local = text.split('@').next().unwrap_or_default();
        if is_reserved(local) {
            let reason = "is a name the gateway keeps for itself; name another agent";
            return Err(Misfit::Because(reason.to_owned()));
        }
        Ok(agent)
    }
}

/// The name of a signing key.
pub(in crate::config) struct SelectorName;

impl Scalar for SelectorName {
    type Value = Selector;

    fn noun() -> String {
        "a label of 1 to 63 of a-z, 0-9 and inner hyphens".to_owned()
    }

    fn example() -> &'static str {
        "k1"
    }

    fn parse(text: &str, _: &Reading<'_>) -> Result<Selector, Misfit> {
        Selector::parse(text).map_err(|_| Misfit::Form)
    }
}

/// Where a gateway is.
pub(in crate::config) struct Url;

impl Scalar for Url {
    type Value = GatewayUrl;

    fn noun() -> String {
        "an https URL without user, query and fragment".to_owned()
    }

    fn example() -> &'static str {
        "https://amtp.example.com"
    }

    fn parse(text: &str, _: &Reading<'_>) -> Result<GatewayUrl, Misfit> {
        GatewayUrl::parse(text).map_err(|_| Misfit::Form)
    }
}

/// Where to listen.
pub(in crate::config) struct Listener;

impl Scalar for Listener {
    type Value = SocketAddr;

    fn noun() -> String {
        "an IP address and a port".to_owned()
    }

    fn example() -> &'static str {
        "127.0.0.1:8443"
    }

    fn parse(text: &str, _: &Reading<'_>) -> Result<SocketAddr, Misfit> {
        text.parse().map_err(|_| Misfit::Form)
    }
}

/// An address and port to take mail at.
pub(in crate::config) struct MailListener;

impl Scalar for MailListener {
    type Value = SocketAddr;

    fn noun() -> String {
        Listener::noun()
    }

    fn example() -> &'static str {
        "0.0.0.0:25"
    }

    fn parse(text: &str, reading: &Reading<'_>) -> Result<SocketAddr, Misfit> {
        Listener::parse(text, reading)
    }
}

/// A server of the DNS.
pub(in crate::config) struct NameServer;

impl Scalar for NameServer {
    type Value = SocketAddr;

    fn noun() -> String {
        "an IP address, with a port if it is not 53".to_owned()
    }

    fn example() -> &'static str {
        "127.0.0.1:53"
    }

    fn parse(text: &str, _: &Reading<'_>) -> Result<SocketAddr, Misfit> {
        let server = match text.parse::<IpAddr>() {
            Ok(address) => SocketAddr::new(address, 53),
            Err(_) => text.parse().map_err(|_| Misfit::Form)?,
        };
        let asked = server.port() != 0 && !server.ip().is_unspecified();
        asked.then_some(server).ok_or(Misfit::Form)
    }
}

/// A range of addresses.
pub(in crate::config) struct Network;

impl Scalar for Network {
    type Value = IpNet;

    fn noun() -> String {
        "an IP address, or a range of them with the length of its prefix".to_owned()
    }

    fn example() -> &'static str {
        "10.0.0.0/8"
    }

    fn parse(text: &str, _: &Reading<'_>) -> Result<IpNet, Misfit> {
        let network = match text.parse::<IpAddr>() {
            Ok(address) => IpNet::from(address),
            Err(_) => text.parse().map_err(|_| Misfit::Form)?,
        };
        if network.trunc() != network {
            let reason = format!("has bits beyond its prefix; write `{}`", network.trunc());
            return Err(Misfit::Because(reason));
        }
        Ok(network)
    }
}
