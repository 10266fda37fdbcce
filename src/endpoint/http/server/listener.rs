//! The listening socket: takes connections in, and stops in an orderly way.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use rustix::io::Errno;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::ServerOptions;
use super::connection::{self, Shared};
use super::runtime::ClockTimer;
use super::seats::Seats;
use crate::clock::Clock;
use crate::telemetry::{Metrics, RefusedConnection};

/// Waits after the first and at most after every failed accept.
const FIRST_BACKOFF: Duration = Duration::from_millis(10);
const LONGEST_BACKOFF: Duration = Duration::from_secs(1);
/// After so many failures in a row that no lack of resources explains, the socket is broken.
const BROKEN_AFTER: u32 = 10;

/// Why a listener cannot work.
#[derive(Debug, thiserror::Error)]
pub enum ServerFault {
    /// The address cannot be listened on.
    #[error("cannot listen on {address} ({name}): {reason}")]
    Bind {
        /// The listener's name.
        name: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system says.
        reason: io::Error,
    },
    /// The socket stopped working.
    #[error("the listener {name} is broken: {reason}")]
    Broken {
        /// The listener's name.
        name: &'static str,
        /// What the system says.
        reason: io::Error,
    },
}

/// A listener with its address, ready to run.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    options: ServerOptions,
    tls: Option<Arc<ServerConfig>>,
    clock: Clock,
    metrics: Metrics,
}

impl Server {
    /// Listens on `address` (port 0 takes a free one), with TLS or, where `tls` is `None`, plain.
    ///
    /// # Errors
    /// [`ServerFault::Bind`], such as for an address in use.
    pub async fn bind(
        address: SocketAddr,
        options: ServerOptions,
        tls: Option<Arc<ServerConfig>>,
        (clock, metrics): (Clock, Metrics),
    ) -> Result<Self, ServerFault> {
        let name = options.name;
        let fault = |reason| ServerFault::Bind {
            name,
            address,
            reason,
        };
        let listener = TcpListener::bind(address).await.map_err(fault)?;
        let address = listener.local_addr().map_err(fault)?;
        Ok(Self {
            listener,
            address,
            options,
            tls,
            clock,
            metrics,
        })
    }

    /// The address it listens on, with the port the system chose.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves `app` until `stop`, then lets requests in flight finish within the grace time.
    ///
    /// Dropping the future aborts every connection.
    ///
    /// # Errors
    /// [`ServerFault::Broken`] when the socket stops working.
    pub async fn run(self, app: Router, stop: CancellationToken) -> Result<(), ServerFault> {
        let abort = CancellationToken::new();
        let _abort_on_drop = abort.clone().drop_guard();
        let (name, grace) = (self.options.name, self.options.times.grace);
        let seats = Seats::new(self.options.limits);
        let drain = CancellationToken::new();
        let shared = Arc::new(Shared {
            options: self.options,
            tls: self.tls.map(TlsAcceptor::from),
            app,
            timer: ClockTimer::new(self.clock.clone()),
            clock: self.clock,
            metrics: self.metrics,
            tasks: TaskTracker::new(),
            stop: drain.clone(),
            abort: abort.clone(),
        });
        tracing::info!(listener = name, address = %self.address, "listening");
        let outcome = tokio::select! {
            () = stop.cancelled() => Ok(()),
            fault = accept_all(&self.listener, &shared, &seats) => Err(fault),
        };
        drop(self.listener);
        drain.cancel();
        shared.tasks.close();
        if shared
            .clock
            .within(grace, shared.tasks.wait())
            .await
            .is_none()
        {
            tracing::warn!(
                listener = name,
                tasks = shared.tasks.len(),
                "connections aborted"
            );
            abort.cancel();
            shared.tasks.wait().await;
        }
        outcome.map_err(|reason| ServerFault::Broken { name, reason })
    }
}

/// Takes connections in until the socket is broken.
async fn accept_all(listener: &TcpListener, shared: &Arc<Shared>, seats: &Seats) -> io::Error {
    let mut failures = Failures::default();
    loop {
        match listener.accept().await {
            Ok((tcp, peer)) => {
                failures = Failures::default();
                seat(shared, seats, tcp, peer);
            }
            Err(fault) => {
                shared.metrics.connection_refused(RefusedConnection::Accept);
                match failures.next(&fault) {
                    Next::Again => {}
                    Next::After(wait) => {
                        tracing::warn!(listener = shared.options.name, error = %fault, "accept failed");
                        shared.clock.wait(wait).await;
                    }
                    Next::Broken => return fault,
                }
            }
        }
    }
}

fn seat(shared: &Arc<Shared>, seats: &Seats, tcp: TcpStream, peer: SocketAddr) {
    match seats.take() {
        Ok(seat) => {
            // Answers are written whole; waiting for more to send would only delay them.
            let _ = tcp.set_nodelay(true);
            shared
                .tasks
                .spawn(connection::serve(shared.clone(), tcp, peer, seat));
        }
        Err(reason) => shared.metrics.connection_refused(reason),
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
