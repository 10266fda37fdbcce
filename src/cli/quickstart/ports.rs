//! The ports of a quickstart: free ones, and the same as the last time where they are still free.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use serde::{Deserialize, Serialize};

/// Free ports that are tried for the DNS server, which needs the same one twice.
const TRIES: usize = 50;

/// Where everything listens on 127.0.0.1; 0 = not known yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Ports {
    pub(super) dns: u16,
    pub(super) webhook: u16,
    /// Of the mail server of people.
    pub(super) mail: u16,
    pub(super) alpha: u16,
    pub(super) alpha_ops: u16,
    pub(super) alpha_mail: u16,
    pub(super) beta: u16,
    pub(super) beta_ops: u16,
    pub(super) beta_mail: u16,
}

/// The sockets of the DNS server.
pub(super) struct DnsSockets {
    pub(super) datagrams: UdpSocket,
    pub(super) listener: TcpListener,
}

impl Ports {
    /// Nine ports that nobody has, those of the last time first.
    pub(super) fn choose(last: Self) -> io::Result<(Self, DnsSockets)> {
        let sockets = dns(last.dns)?;
        // Held until all are chosen, so that no port is chosen twice.
        let mut held = Vec::new();
        let mut choose = |last| -> io::Result<u16> {
            let listener = listener(last).or_else(|_| listener(0))?;
            let port = listener.local_addr()?.port();
            held.push(listener);
            Ok(port)
        };
        let ports = Self {
            dns: sockets.listener.local_addr()?.port(),
            webhook: choose(last.webhook)?,
            mail: choose(last.mail)?,
            alpha: choose(last.alpha)?,
            alpha_ops: choose(last.alpha_ops)?,
            alpha_mail: choose(last.alpha_mail)?,
            beta: choose(last.beta)?,
            beta_ops: choose(last.beta_ops)?,
            beta_mail: choose(last.beta_mail)?,
        };
        Ok((ports, sockets))
    }
}

/// This machine only.
pub(super) fn here(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

pub(super) fn listener(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind(here(port))
}

fn dns(last: u16) -> io::Result<DnsSockets> {
    let mut failed = None;
    for port in std::iter::once(last).chain(std::iter::repeat_n(0, TRIES)) {
        match both(port) {
            Ok(sockets) => return Ok(sockets),
            Err(error) => failed = Some(error),
        }
    }
    Err(failed.unwrap_or_else(|| io::ErrorKind::AddrInUse.into()))
}

fn both(port: u16) -> io::Result<DnsSockets> {
    let listener = listener(port)?;
    let datagrams = UdpSocket::bind(listener.local_addr()?)?;
    listener.set_nonblocking(true)?;
    datagrams.set_nonblocking(true)?;
    Ok(DnsSockets {
        datagrams,
        listener,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_stay_the_same_unless_somebody_took_them() {
        let (first, sockets) = Ports::choose(Ports::default()).unwrap();
        drop(sockets);
        let taken = listener(first.beta).unwrap();
        let (second, _sockets) = Ports::choose(first).unwrap();
        assert_ne!(second.beta, first.beta);
        let same = Ports {
            beta: first.beta,
            ..second
        };
        assert_eq!(same, first);
        drop(taken);
    }
}
