//! Where a cluster runs and listens.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use uuid::Uuid;

/// Below those the system gives to outgoing connections: a server that is down for a moment finds
/// its port free again.
const PORTS: std::ops::Range<u16> = 15_000..15_400;

/// An address, and the programs under which the server is started.
#[derive(Debug)]
pub(crate) struct Place {
    socket: SocketAddr,
    under: Vec<String>,
    /// Held as long as the port is ours.
    _claim: Option<File>,
}

impl Place {
    /// A free port of the loopback.
    pub(crate) fn here() -> Self {
        let first = Uuid::new_v4().as_u128() % PORTS.len() as u128;
        let first = usize::try_from(first).expect("below the number of ports");
        let (port, claim) = PORTS
            .cycle_from(first)
            .find_map(|port| Some((port, claim(port)?)))
            .expect("a port is free");
        Self {
            socket: (Ipv4Addr::LOCALHOST, port).into(),
            under: Vec::new(),
            _claim: Some(claim),
        }
    }

    /// An address nobody else uses; the server is started by these words, which end where its own
    /// begin, as in `ip netns exec NAME env`.
    pub(crate) fn at(address: IpAddr, under: Vec<String>) -> Self {
        Self {
            socket: (address, 5432).into(),
            under,
            _claim: None,
        }
    }

    /// The same under one more program, as in `env NAME=VALUE`.
    pub(crate) fn under(mut self, words: &[&str]) -> Self {
        self.under.extend(words.iter().map(|&word| word.to_owned()));
        self
    }

    pub(super) fn socket(&self) -> SocketAddr {
        self.socket
    }

    pub(super) fn words(&self) -> &[String] {
        &self.under
    }
}

/// The lock on a port's file, when both the lock and the port are free.
fn claim(port: u16) -> Option<File> {
    let path = std::env::temp_dir().join(format!("amtpd-test-port-{port}.lock"));
    let file = File::create(path).ok()?;
    file.try_lock().ok()?;
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
    Some(file)
}

trait Cycle {
    /// All members once, from this one on.
    fn cycle_from(self, first: usize) -> impl Iterator<Item = u16>;
}

impl Cycle for std::ops::Range<u16> {
    fn cycle_from(self, first: usize) -> impl Iterator<Item = u16> {
        let length = self.len();
        self.cycle().skip(first).take(length)
    }
}
