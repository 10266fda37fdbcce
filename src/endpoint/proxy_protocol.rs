//! The PROXY header, versions 1 and 2: how a proxy below the protocol tells who the client is.
//!
//! Read only on connections from trusted proxies, and there it must come: guessing whether it did
//! would let a client write its own. Only as many bytes are taken as the header has.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The longest header of version 1, with its line end.
const LONGEST_LINE: usize = 107;
/// Addresses of version 2 and what proxies append to them; far less is usual.
const LONGEST_BLOCK: usize = 4_096;

/// Why the header was not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ProxyFault {
    #[error("the connection ended within the PROXY header")]
    Short,
    #[error("the connection does not begin with a PROXY header")]
    Missing,
    #[error("the PROXY header is malformed")]
    Malformed,
}

/// Reads the header; `None` when the proxy speaks for itself or names no address of ours to use.
pub(super) async fn read_header<R: AsyncRead + Unpin>(
    stream: &mut R,
) -> Result<Option<SocketAddr>, ProxyFault> {
    let mut head = [0; 12];
    fill(stream, &mut head).await?;
    if head == *SIGNATURE {
        return read_block(stream).await;
    }
    if !head.starts_with(b"PROXY ") {
        return Err(ProxyFault::Missing);
    }
    let mut line = head.to_vec();
    while !line.ends_with(b"\r\n") {
        if line.len() == LONGEST_LINE {
            return Err(ProxyFault::Malformed);
        }
        let mut next = [0];
        fill(stream, &mut next).await?;
        line.push(next[0]);
    }
    parse_line(&line[..line.len() - 2])
}

async fn fill<R: AsyncRead + Unpin>(stream: &mut R, buffer: &mut [u8]) -> Result<(), ProxyFault> {
    stream
        .read_exact(buffer)
        .await
        .map(drop)
        .map_err(|_| ProxyFault::Short)
}

/// `PROXY TCP4 <client> <us> <client port> <our port>` or `PROXY UNKNOWN …`.
fn parse_line(line: &[u8]) -> Result<Option<SocketAddr>, ProxyFault> {
    let line = std::str::from_utf8(line).map_err(|_| ProxyFault::Malformed)?;
    let words: Vec<&str> = line.split(' ').collect();
    match words.as_slice() {
        ["PROXY", "UNKNOWN", ..] => Ok(None),
        ["PROXY", family, client, us, client_port, our_port] => {
            let client = SocketAddr::new(address(family, client)?, port(client_port)?);
            address(family, us)?;
            port(our_port)?;
            Ok(Some(client))
        }
        _ => Err(ProxyFault::Malformed),
    }
}

fn address(family: &str, text: &str) -> Result<IpAddr, ProxyFault> {
    let parsed = match family {
        "TCP4" => text.parse::<Ipv4Addr>().map(IpAddr::from).ok(),
        "TCP6" => text.parse::<Ipv6Addr>().map(IpAddr::from).ok(),
        _ => None,
    };
    parsed.ok_or(ProxyFault::Malformed)
}

fn port(text: &str) -> Result<u16, ProxyFault> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|_| digits)
        .ok_or(ProxyFault::Malformed)
}

async fn read_block<R: AsyncRead + Unpin>(
    stream: &mut R,
) -> Result<Option<SocketAddr>, ProxyFault> {
    let mut fixed = [0; 4];
    fill(stream, &mut fixed).await?;
    let [command, family, high, low] = fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > LONGEST_BLOCK {
        return Err(ProxyFault::Malformed);
    }
    let mut block = vec![0; length];
    fill(stream, &mut block).await?;
    parse_block(command, family, &block)
}

fn parse_block(command: u8, family: u8, block: &[u8]) -> Result<Option<SocketAddr>, ProxyFault> {
    match (command, family) {
        (0x20, _) => Ok(None),
        (0x21, 0x11) => {
            let (source, port) = endpoints::<4>(block)?;
            Ok(Some((Ipv4Addr::from(source), port).into()))
        }
        (0x21, 0x21) => {
            let (source, port) = endpoints::<16>(block)?;
            Ok(Some((Ipv6Addr::from(source), port).into()))
        }
        // Unspecified, datagram and local sockets name no TCP client.
        (0x21, 0x00 | 0x12 | 0x22 | 0x31 | 0x32) => Ok(None),
        _ => Err(ProxyFault::Malformed),
    }
}

/// Client address, our address, client port, our port; what follows are extensions.
fn endpoints<const N: usize>(block: &[u8]) -> Result<([u8; N], u16), ProxyFault> {
    let (source, rest) = block
        .split_first_chunk::<N>()
        .ok_or(ProxyFault::Malformed)?;
    let (_, rest) = rest.split_first_chunk::<N>().ok_or(ProxyFault::Malformed)?;
    let (port, rest) = rest.split_first_chunk::<2>().ok_or(ProxyFault::Malformed)?;
    rest.split_first_chunk::<2>().ok_or(ProxyFault::Malformed)?;
    Ok((*source, u16::from_be_bytes(*port)))
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use proptest::prelude::{Just, Strategy, any, prop_oneof};
    use proptest::{prop_assert, prop_assert_eq, proptest};

    use super::*;

    /// What was understood, and what was left for the next reader.
    fn read(mut bytes: &[u8]) -> (Result<Option<SocketAddr>, ProxyFault>, &[u8]) {
        let mut context = Context::from_waker(Waker::noop());
        let outcome = match pin!(read_header(&mut bytes)).poll(&mut context) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => unreachable!("a slice never waits"),
        };
        (outcome, bytes)
    }

    fn line(client: SocketAddr) -> Vec<u8> {
        let (family, us) = match client {
            SocketAddr::V4(_) => ("TCP4", "10.0.0.1"),
            SocketAddr::V6(_) => ("TCP6", "fd00::1"),
        };
        format!(
            "PROXY {family} {} {us} {} 443\r\n",
            client.ip(),
            client.port()
        )
        .into_bytes()
    }

    fn block(client: SocketAddr, extensions: &[u8]) -> Vec<u8> {
        let (family, mut addresses) = match client.ip() {
            IpAddr::V4(ip) => (0x11, [ip.octets(), [10, 0, 0, 1]].concat()),
            IpAddr::V6(ip) => (0x21, [ip.octets(), Ipv6Addr::LOCALHOST.octets()].concat()),
        };
        addresses.extend(client.port().to_be_bytes());
        addresses.extend(443_u16.to_be_bytes());
        addresses.extend(extensions);
        let length = u16::try_from(addresses.len()).unwrap().to_be_bytes();
        [SIGNATURE.as_slice(), &[0x21, family], &length, &addresses].concat()
    }

    fn clients() -> impl Strategy<Value = SocketAddr> {
        prop_oneof![
            any::<([u8; 4], u16)>().prop_map(|(ip, port)| SocketAddr::from((ip, port))),
            any::<([u8; 16], u16)>().prop_map(|(ip, port)| SocketAddr::from((ip, port))),
        ]
    }

    proptest! {
        #[test]
        fn what_a_proxy_writes_is_read_back_and_nothing_beyond_it(
            client in clients(),
            extensions in proptest::collection::vec(any::<u8>(), 0..64),
            version_2 in prop_oneof![Just(false), Just(true)],
        ) {
            let mut bytes = if version_2 { block(client, &extensions) } else { line(client) };
            bytes.extend(b"\x16\x03\x01");
            let (outcome, rest) = read(&bytes);
            prop_assert_eq!(outcome, Ok(Some(client)));
            prop_assert_eq!(rest, b"\x16\x03\x01");
        }

        #[test]
        fn a_header_cut_anywhere_is_short(client in clients(), cut in 0_usize..28) {
            for bytes in [line(client), block(client, &[])] {
                prop_assert_eq!(read(&bytes[..cut.min(bytes.len() - 1)]).0, Err(ProxyFault::Short));
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            prefix in prop_oneof![Just(&b""[..]), Just(&b"PROXY "[..]), Just(&SIGNATURE[..])],
        ) {
            let bytes = [prefix, &bytes].concat();
            let before = bytes.len();
            prop_assert!(read(&bytes).1.len() <= before);
        }
    }

    #[test]
    fn headers_without_a_client_leave_the_peer() {
        let local = [SIGNATURE.as_slice(), &[0x20, 0x00, 0, 0]].concat();
        let unix = [SIGNATURE.as_slice(), &[0x21, 0x31, 0, 3, 1, 2, 3]].concat();
        let unknown = b"PROXY UNKNOWN ffff:f::1 ffff:f::2 65535 65535\r\n".to_vec();
        for bytes in [local, unix, unknown, b"PROXY UNKNOWN\r\n".to_vec()] {
            assert_eq!(read(&bytes), (Ok(None), &b""[..]), "{bytes:?}");
        }
    }

    #[test]
    fn malformed_headers_are_refused() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
        let table: [(&[u8], ProxyFault); 11] = [
            (b"GET / HTTP/1.1\r\n\r\n", ProxyFault::Missing),
            (
                b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00",
                ProxyFault::Missing,
            ),
            (
                b"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
                ProxyFault::Malformed,
            ),
            (
                b"PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n",
                ProxyFault::Malformed,
            ),
            (b"PROXY TCP4 ::1 ::1 1 2\r\n", ProxyFault::Malformed),
            (
                b"PROXY TCP4 1.2.3.4  1.2.3.4 1 2\r\n",
                ProxyFault::Malformed,
            ),
            (b"PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n", ProxyFault::Malformed),
            (long.as_bytes(), ProxyFault::Malformed),
            (b"\r\n\r\n\0\r\nQUIT\n\x11\x11\0\0", ProxyFault::Malformed),
            (
                b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x03abc",
                ProxyFault::Malformed,
            ),
            (
                b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
                ProxyFault::Malformed,
            ),
        ];
        for (bytes, fault) in table {
            assert_eq!(read(bytes).0, Err(fault), "{}", bytes.escape_ascii());
        }
    }
}
