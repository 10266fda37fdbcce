//! Who the client is behind trusted proxies: `X-Forwarded-For` and `Forwarded` (RFC 7239).
//!
//! Each proxy appends the address it was called from, so the list is read from its end: the first
//! address that is no trusted proxy is the client. What stands before it anybody may have written.
//! An entry that must be believed but names no address refuses the request: taking the proxy's own
//! address instead would give the caller the proxy's rights. The same goes for two headers that
//! name different clients.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, header};

use super::ServerOptions;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// A trusted proxy told something about the client that cannot be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the proxy's headers name no client address")]
pub struct ForwardedFault;

/// The client of a request that came from `peer`.
pub(super) fn client(
    peer: SocketAddr,
    headers: &HeaderMap,
    options: &ServerOptions,
) -> Result<SocketAddr, ForwardedFault> {
    if !options.trusts(peer.ip()) {
        return Ok(peer);
    }
    let plain = lines(headers, &X_FORWARDED_FOR)?;
    let plain = plain
        .iter()
        .flat_map(|line| line.split(','))
        .map(|entry| node(entry.trim()));
    let plain = first_stranger(plain.collect(), options)?;
    let named = lines(headers, &header::FORWARDED)?;
    let named = named
        .iter()
        .flat_map(|line| split(line, ','))
        .map(forwarded_for);
    let named = first_stranger(named.collect(), options)?;
    match (plain, named) {
        (None, None) => Ok(peer),
        (Some(client), None) | (None, Some(client)) => Ok(client),
        (Some(plain), Some(named)) if plain.ip() == named.ip() => Ok(plain),
        (Some(_), Some(_)) => Err(ForwardedFault),
    }
}

fn lines<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Vec<&'a str>, ForwardedFault> {
    let values = headers.get_all(name).iter();
    values
        .map(|value| value.to_str().map_err(|_| ForwardedFault))
        .collect()
}

/// The last entry that is no trusted proxy, else the first of all; `None` for no entries.
fn first_stranger(
    entries: Vec<Option<SocketAddr>>,
    options: &ServerOptions,
) -> Result<Option<SocketAddr>, ForwardedFault> {
    let mut reached = None;
    for entry in entries.into_iter().rev() {
        let address = entry.ok_or(ForwardedFault)?;
        reached = Some(address);
        if !options.trusts(address.ip()) {
            break;
        }
    }
    Ok(reached)
}

/// The `for` of one element of `Forwarded`.
fn forwarded_for(element: &str) -> Option<SocketAddr> {
    let pair = split(element, ';')
        .filter_map(|pair| pair.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    node(pair.1.trim().trim_matches('"'))
}

/// Splits where the separator stands outside of quotes.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |c| {
        quoted ^= c == '"';
        c == separator && !quoted
    })
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn node(text: &str) -> Option<SocketAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    let alone = bare
        .parse::<IpAddr>()
        .map(|address| SocketAddr::new(address, 0));
    let address = alone.or_else(|_| text.parse::<SocketAddr>()).ok()?;
    Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const PROXY: &str = "10.0.0.1:9";

    fn seen(peer: &str, given: &[(&'static str, &'static str)]) -> Option<String> {
        let options = ServerOptions {
            trusted_proxies: ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()].into(),
            ..ServerOptions::new("test")
        };
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let client = client(peer.parse().unwrap(), &headers, &options).ok()?;
        Some(client.to_string())
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        let forged = [
            ("x-forwarded-for", "192.0.2.1"),
            ("forwarded", "for=192.0.2.1"),
        ];
        assert_eq!(seen("198.51.100.1:5", &forged).unwrap(), "198.51.100.1:5");
        assert_eq!(seen(PROXY, &forged).unwrap(), "192.0.2.1:0");
        assert_eq!(seen("[::ffff:10.0.0.1]:9", &forged).unwrap(), "192.0.2.1:0");
        assert_eq!(seen(PROXY, &[]).unwrap(), PROXY);
    }

    #[test]
    fn the_client_is_the_last_address_that_is_no_proxy() {
        let table: [(&'static str, &'static str, &str); 13] = [
            ("x-forwarded-for", "192.0.2.1", "192.0.2.1:0"),
            (
                "x-forwarded-for",
                "192.0.2.9, 192.0.2.1, 10.2.3.4",
                "192.0.2.1:0",
            ),
            ("x-forwarded-for", "nonsense, 192.0.2.1", "192.0.2.1:0"),
            ("x-forwarded-for", "10.1.1.1, 10.2.2.2", "10.1.1.1:0"),
            ("x-forwarded-for", "192.0.2.1:4711", "192.0.2.1:4711"),
            ("x-forwarded-for", "2001:db8::1", "[2001:db8::1]:0"),
            ("x-forwarded-for", "[2001:db8::1]:80", "[2001:db8::1]:80"),
            ("x-forwarded-for", "::ffff:192.0.2.1", "192.0.2.1:0"),
            ("forwarded", "for=192.0.2.1", "192.0.2.1:0"),
            (
                "forwarded",
                "For=\"[2001:db8::1]:80\";proto=https",
                "[2001:db8::1]:80",
            ),
            (
                "forwarded",
                "for=192.0.2.7, proto=https;for=192.0.2.1;by=\"a,b\"",
                "192.0.2.1:0",
            ),
            (
                "forwarded",
                "for=192.0.2.1,for=\"[fd00::2]\"",
                "192.0.2.1:0",
            ),
            ("forwarded", "for=unknown, for=192.0.2.1", "192.0.2.1:0"),
        ];
        for (name, value, expected) in table {
            assert_eq!(
                seen(PROXY, &[(name, value)]).as_deref(),
                Some(expected),
                "{name}: {value}"
            );
        }
        let two_lines = [
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-for", "10.0.0.3"),
        ];
        assert_eq!(seen(PROXY, &two_lines).unwrap(), "192.0.2.1:0");
    }

    #[test]
    fn what_must_be_believed_but_cannot_be_understood_is_refused() {
        let table: [&[(&'static str, &'static str)]; 6] = [
            &[("x-forwarded-for", "nonsense")],
            &[("x-forwarded-for", "192.0.2.1, ")],
            &[("x-forwarded-for", "")],
            &[("forwarded", "for=unknown")],
            &[("forwarded", "proto=https")],
            &[
                ("x-forwarded-for", "192.0.2.1"),
                ("forwarded", "for=192.0.2.2"),
            ],
        ];
        for given in table {
            assert_eq!(seen(PROXY, given), None, "{given:?}");
        }
    }
}
