//! Taking connections in from a listening socket, whatever the system says meanwhile.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::io::Errno;
use tokio::net::{TcpListener, TcpStream};

use crate::clock::Clock;
use crate::telemetry::{Metrics, RefusedConnection};

/// Waits after the first and at most after every failed accept.
const FIRST_BACKOFF: Duration = Duration::from_millis(10);
const LONGEST_BACKOFF: Duration = Duration::from_secs(1);
/// After so many failures in a row that no lack of resources explains, the socket is broken.
const BROKEN_AFTER: u32 = 10;

/// A listening socket that is accepted from.
pub(super) struct Accepting<'a> {
    listener: &'a TcpListener,
    name: &'static str,
    clock: &'a Clock,
    metrics: &'a Metrics,
}

impl<'a> Accepting<'a> {
    /// `name` is that of the listener in logs.
    pub(super) const fn new(
        listener: &'a TcpListener,
        name: &'static str,
        (clock, metrics): (&'a Clock, &'a Metrics),
    ) -> Self {
        Self {
            listener,
            name,
            clock,
            metrics,
        }
    }

    /// Hands on every connection until the socket is broken.
    pub(super) async fn all(self, mut seat: impl FnMut(TcpStream, SocketAddr)) -> io::Error {
        let mut failures = Failures::default();
        loop {
            match self.listener.accept().await {
                Ok((tcp, peer)) => {
                    failures = Failures::default();
                    seat(tcp, peer);
                }
                Err(fault) => {
                    self.metrics.connection_refused(RefusedConnection::Accept);
                    match failures.next(&fault) {
                        Next::Again => {}
                        Next::After(wait) => {
                            tracing::warn!(listener = self.name, error = %fault, "accept failed");
                            self.clock.wait(wait).await;
                        }
                        Next::Broken => return fault,
                    }
                }
            }
        }
    }
}

/// Failed accepts in a row.
#[derive(Debug, Default)]
struct Failures {
    scarce: u32,
    strange: u32,
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    Again,
    After(Duration),
    Broken,
}

impl Failures {
    fn next(&mut self, fault: &io::Error) -> Next {
        if is_of_one_connection(fault) {
            return Next::Again;
        }
        if !is_scarcity(fault) {
            self.strange += 1;
        }
        if self.strange >= BROKEN_AFTER {
            return Next::Broken;
        }
        self.scarce += 1;
        let factor = 2_u32.saturating_pow(self.scarce - 1);
        Next::After(FIRST_BACKOFF.saturating_mul(factor).min(LONGEST_BACKOFF))
    }
}

/// The client left before it was taken in.
fn is_of_one_connection(fault: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        fault.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

/// No descriptors or no memory: passes by itself.
fn is_scarcity(fault: &io::Error) -> bool {
    let scarce = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    scarce
        .iter()
        .any(|errno| fault.raw_os_error() == Some(errno.raw_os_error()))
}

#[cfg(test)]
mod backoff_tests {
    use super::*;

    #[test]
    fn a_lack_of_descriptors_is_waited_out_longer_and_longer() {
        let mut failures = Failures::default();
        let fault = io::Error::from(Errno::MFILE);
        let waits: Vec<Next> = (0..9).map(|_| failures.next(&fault)).collect();
        let millis = [10, 20, 40, 80, 160, 320, 640, 1_000, 1_000];
        assert_eq!(
            waits,
            millis.map(|ms| Next::After(Duration::from_millis(ms)))
        );
        for _ in 0..100 {
            assert_ne!(failures.next(&fault), Next::Broken);
        }
    }

    #[test]
    fn a_client_that_left_costs_nothing_and_a_broken_socket_is_given_up() {
        let mut failures = Failures::default();
        assert_eq!(
            failures.next(&io::Error::from(Errno::CONNABORTED)),
            Next::Again
        );
        let fault = io::Error::from(Errno::INVAL);
        let last = (0..BROKEN_AFTER).map(|_| failures.next(&fault)).last();
        assert_eq!(last, Some(Next::Broken));
    }
}
