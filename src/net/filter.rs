//! Which addresses we connect to (AMTP 1.0, section 9: a gateway is no way into its own network).
//!
//! What is not global unicast is refused unless the operator allows its range for the purpose.
//! An IPv6 address that carries an IPv4 one is judged by both.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use thiserror::Error;

const V4: [(Ipv4Addr, u8, &str); 16] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8, "unspecified"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "private"),
    (Ipv4Addr::new(100, 64, 0, 0), 10, "carrier-grade NAT"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "loopback"),
    (Ipv4Addr::new(169, 254, 0, 0), 16, "link-local"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "private"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "reserved"),
    (Ipv4Addr::new(192, 0, 2, 0), 24, "documentation"),
    (Ipv4Addr::new(192, 88, 99, 0), 24, "6to4 relay"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "private"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "benchmarking"),
    (Ipv4Addr::new(198, 51, 100, 0), 24, "documentation"),
    (Ipv4Addr::new(203, 0, 113, 0), 24, "documentation"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "multicast"),
    (Ipv4Addr::new(255, 255, 255, 255), 32, "broadcast"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "reserved"),
];

/// Ranges inside 2000::/3, where all global unicast addresses are, that are none.
const V6: [(Ipv6Addr, u8, &str); 5] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32, "Teredo"),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, "reserved"),
    (
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0),
        32,
        "documentation",
    ),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, "6to4"),
    (
        Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0),
        20,
        "documentation",
    ),
];

/// An address we do not connect to.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{address} is not connected to: {range}")]
pub struct RefusedAddress {
    /// The address.
    pub address: IpAddr,
    /// What kind of range it is in.
    pub range: &'static str,
}

/// Judges addresses before a connection. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct AddressFilter(Arc<[IpNet]>);

impl AddressFilter {
    /// Only global unicast addresses.
    #[must_use]
    pub fn public() -> Self {
        Self::allowing(&[])
    }

    /// Global unicast addresses and these ranges.
    #[must_use]
    pub fn allowing(ranges: &[IpNet]) -> Self {
        Self(ranges.into())
    }

    /// Any address, for a destination the operator named.
    #[must_use]
    pub fn any() -> Self {
        Self::allowing(&[IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())])
    }

    /// Whether we connect to an address.
    ///
    /// # Errors
    /// [`RefusedAddress`] names the kind of range.
    pub fn check(&self, address: IpAddr) -> Result<(), RefusedAddress> {
        let allowed = |address: IpAddr| self.0.iter().any(|range| range.contains(&address));
        let carried = match address {
            IpAddr::V6(v6) => v6.to_ipv4_mapped().map(IpAddr::V4),
            IpAddr::V4(_) => None,
        };
        if allowed(address) || carried.is_some_and(allowed) {
            return Ok(());
        }
        let range = match address {
            IpAddr::V4(v4) => range_v4(v4),
            IpAddr::V6(v6) => range_v6(v6),
        };
        range.map_or(Ok(()), |range| Err(RefusedAddress { address, range }))
    }
}

fn range_v4(address: Ipv4Addr) -> Option<&'static str> {
    V4.iter()
        .find(|(net, length, _)| Ipv4Net::new_assert(*net, *length).contains(&address))
        .map(|(_, _, range)| *range)
}

fn range_v6(address: Ipv6Addr) -> Option<&'static str> {
    let [first, second, ..] = address.segments();
    let inside = |net: Ipv6Addr, length| Ipv6Net::new_assert(net, length).contains(&address);
    if first & 0xe000 == 0x2000 {
        return V6
            .iter()
            .find(|(net, length, _)| inside(*net, *length))
            .map(|(_, _, range)| *range);
    }
    Some(match first {
        _ if address.is_loopback() => "loopback",
        _ if address.is_unspecified() => "unspecified",
        _ if address.to_ipv4_mapped().is_some() => "IPv4-mapped",
        0 => "IPv4-compatible",
        0x64 if second == 0xff9b => "NAT64",
        _ if first & 0xfe00 == 0xfc00 => "private",
        _ if first & 0xffc0 == 0xfe80 => "link-local",
        _ if first & 0xffc0 == 0xfec0 => "site-local",
        _ if first & 0xff00 == 0xff00 => "multicast",
        0x100 => "discard",
        _ => "reserved",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn only_global_unicast_addresses_are_connected_to() {
        for (address, range) in [
            ("0.0.0.0", "unspecified"),
            ("0.1.2.3", "unspecified"),
            ("10.0.0.1", "private"),
            ("100.64.0.1", "carrier-grade NAT"),
            ("127.0.0.1", "loopback"),
            ("169.254.169.254", "link-local"),
            ("172.31.255.255", "private"),
            ("192.0.0.8", "reserved"),
            ("192.0.2.1", "documentation"),
            ("192.168.1.1", "private"),
            ("198.19.255.255", "benchmarking"),
            ("203.0.113.7", "documentation"),
            ("224.0.0.1", "multicast"),
            ("255.255.255.255", "broadcast"),
            ("240.0.0.1", "reserved"),
            ("::", "unspecified"),
            ("::1", "loopback"),
            ("::ffff:8.8.8.8", "IPv4-mapped"),
            ("::ffff:127.0.0.1", "IPv4-mapped"),
            ("::7f00:1", "IPv4-compatible"),
            ("64:ff9b::7f00:1", "NAT64"),
            ("64:ff9b:1::1", "NAT64"),
            ("100::1", "discard"),
            ("fc00::1", "private"),
            ("fd12::1", "private"),
            ("fe80::1", "link-local"),
            ("fec0::1", "site-local"),
            ("ff02::1", "multicast"),
            ("2001::1", "Teredo"),
            ("2001:2::1", "reserved"),
            ("2001:db8::1", "documentation"),
            ("2002:7f00:1::", "6to4"),
            ("3fff::1", "documentation"),
            ("5f00::1", "reserved"),
        ] {
            let refused = AddressFilter::public().check(ip(address)).unwrap_err();
            assert_eq!(refused.range, range, "{address}");
        }
        for address in [
            "8.8.8.8",
            "100.63.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "2606:4700::1111",
        ] {
            assert_eq!(
                AddressFilter::public().check(ip(address)),
                Ok(()),
                "{address}"
            );
        }
    }

    #[test]
    fn an_allowed_range_is_connected_to_and_nothing_beside_it() {
        let filter = AddressFilter::allowing(&[
            "127.0.0.0/8".parse().unwrap(),
            "fd00::/16".parse().unwrap(),
        ]);
        assert_eq!(filter.check(ip("127.0.0.5")), Ok(()));
        assert_eq!(filter.check(ip("::ffff:127.0.0.5")), Ok(()));
        assert_eq!(filter.check(ip("fd00::1")), Ok(()));
        assert!(filter.check(ip("10.0.0.1")).is_err());
        assert!(filter.check(ip("::1")).is_err());
        assert_eq!(AddressFilter::any().check(ip("10.0.0.1")), Ok(()));
        assert_eq!(AddressFilter::any().check(ip("::1")), Ok(()));
    }
}
