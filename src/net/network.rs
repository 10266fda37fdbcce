//! What counts as one client when clients are counted.

use std::net::{IpAddr, Ipv6Addr};

/// The client behind an address: an IPv4 address, or the /64 network of an IPv6 one, of which
/// anybody has all addresses to come from.
#[must_use]
pub fn network_of(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
    }
}
