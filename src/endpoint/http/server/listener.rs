//! The listening socket: takes connections in, and stops in an orderly way.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::ServerOptions;
use super::connection::{self, Shared};
use super::runtime::ClockTimer;
use crate::clock::Clock;
use crate::endpoint::accepting::Accepting;
use crate::endpoint::seats::Seats;
use crate::telemetry::Metrics;

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
        let limits = self.options.limits;
        let seats = Seats::new(limits.connections, limits.per_client);
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
    let door = Accepting::new(
        listener,
        shared.options.name,
        (&shared.clock, &shared.metrics),
    );
    let seated = |tcp, peer| seat(shared, seats, tcp, peer);
    door.all(seated).await
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
