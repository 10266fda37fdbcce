//! The listening socket for mail: takes connections in, and stops in an orderly way.
//!
//! Connections are bounded in all and by address, and all of them together hold no more mail in memory
//! than is allowed. Stopping: the socket closes, clients that are waiting or sending are told to come
//! again, a mail that has come whole is taken and answered first.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ipnet::IpNet;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::dialogue::{DialogueRules, Reply};
use super::mailroom::Mailroom;
use super::session;
use crate::clock::Clock;
use crate::endpoint::accepting::Accepting;
use crate::endpoint::pace::AddressPace;
use crate::endpoint::seats::Seats;
use crate::telemetry::Metrics;

/// How often quiet clients are forgotten.
const TIDY: Duration = Duration::from_secs(10);

/// The listener's name in metrics and logs.
pub(super) const NAME: &str = "smtp";

/// How a listener for mail behaves.
#[derive(Debug, Clone)]
pub struct MailListenerOptions {
    /// What its dialogues go by; TLS is offered where there is a certificate.
    pub rules: DialogueRules,
    /// The most connections.
    pub connections: usize,
    /// The most connections of one client: an IPv4 address or an IPv6 /64 network. Trusted proxies are not counted.
    pub per_client: usize,
    /// How often one client may connect in such a time. Trusted proxies are not counted here either.
    pub connection_rate: (NonZeroU32, Duration),
    /// How many mails one client may bring in such a time; one whose recipients are refused counts as well.
    pub message_rate: (NonZeroU32, Duration),
    /// The most bytes of mail in memory; at least two of the largest mails are.
    pub memory: usize,
    /// How long the greeting is held back.
    pub greeting_delay: Option<Duration>,
    /// For the PROXY header, and for the TLS handshake.
    pub handshake: Duration,
    /// How long a client may be silent.
    pub silence: Duration,
    /// How long one mail may take to come in.
    pub mail: Duration,
    /// For mails being taken when the listener is stopped.
    pub grace: Duration,
    /// The proxies whose word about the client counts.
    pub trusted_proxies: Arc<[IpNet]>,
    /// Whether connections from trusted proxies begin with a PROXY header.
    pub proxy_protocol: bool,
}

impl MailListenerOptions {
    pub(super) fn trusts(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.trusted_proxies.iter().any(|net| net.contains(&peer))
    }
}

/// Why a listener for mail cannot work.
#[derive(Debug, thiserror::Error)]
pub enum MailListenerFault {
    /// The address cannot be listened on.
    #[error("cannot listen on {address} (smtp): {reason}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        reason: io::Error,
    },
    /// The socket stopped working.
    #[error("the listener smtp is broken: {0}")]
    Broken(io::Error),
}

/// A listener for mail with its address, ready to run.
#[derive(Debug)]
pub struct MailListener {
    listener: TcpListener,
    address: SocketAddr,
    options: MailListenerOptions,
    tls: Option<Arc<ServerConfig>>,
    clock: Clock,
    metrics: Metrics,
}

/// What all connections share.
pub(super) struct Shared {
    pub(super) options: MailListenerOptions,
    pub(super) rules: Arc<DialogueRules>,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) mailroom: Mailroom,
    pub(super) clock: Clock,
    pub(super) metrics: Metrics,
    /// How often each client connects.
    pub(super) connecting: AddressPace,
    /// How often each client brings a mail.
    pub(super) bringing: AddressPace,
    /// Bytes of mail in memory.
    pub(super) held: AtomicUsize,
    pub(super) stop: CancellationToken,
}

impl Shared {
    fn new(
        options: MailListenerOptions,
        tls: Option<Arc<ServerConfig>>,
        mailroom: Mailroom,
        (clock, metrics): (Clock, Metrics),
    ) -> Self {
        let pace = |(count, period)| AddressPace::new(count, period, clock.clone());
        Self {
            rules: Arc::new(DialogueRules {
                tls: tls.is_some(),
                ..options.rules.clone()
            }),
            connecting: pace(options.connection_rate),
            bringing: pace(options.message_rate),
            options,
            tls: tls.map(TlsAcceptor::from),
            mailroom,
            clock,
            metrics,
            held: AtomicUsize::new(0),
            stop: CancellationToken::new(),
        }
    }

    /// Forgets clients that have been quiet, for ever.
    async fn forget_the_quiet(&self) {
        loop {
            self.clock.wait(TIDY).await;
            self.connecting.tidy();
            self.bringing.tidy();
        }
    }

    /// Whether there is more mail in memory than is allowed.
    pub(super) fn is_full(&self) -> bool {
        let most = self.options.memory.max(2 * self.rules.size);
        self.held.load(Ordering::Relaxed) > most
    }
}

impl MailListener {
    /// Listens on `address` (port 0 takes a free one); offers TLS where `tls` is given.
    ///
    /// # Errors
    /// [`MailListenerFault::Bind`], such as for an address in use.
    pub async fn bind(
        address: SocketAddr,
        options: MailListenerOptions,
        tls: Option<Arc<ServerConfig>>,
        (clock, metrics): (Clock, Metrics),
    ) -> Result<Self, MailListenerFault> {
        let fault = |reason| MailListenerFault::Bind { address, reason };
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

    /// Takes mail in until `stop`, then lets mails that are being taken finish within the grace time.
    ///
    /// Dropping the future ends every connection.
    ///
    /// # Errors
    /// [`MailListenerFault::Broken`] when the socket stops working.
    pub async fn run(
        self,
        mailroom: Mailroom,
        stop: CancellationToken,
    ) -> Result<(), MailListenerFault> {
        let abort = CancellationToken::new();
        let _abort_on_drop = abort.clone().drop_guard();
        let (seats, tasks) = (
            Seats::new(self.options.connections, self.options.per_client),
            TaskTracker::new(),
        );
        let grace = self.options.grace;
        let tools = (self.clock, self.metrics);
        let shared = Arc::new(Shared::new(self.options, self.tls, mailroom, tools));
        tracing::info!(listener = NAME, address = %self.address, "listening");
        let door = Accepting::new(&self.listener, NAME, (&shared.clock, &shared.metrics));
        let all = door.all(|tcp, peer| seat((&shared, &tasks, &abort), &seats, (tcp, peer)));
        let outcome = tokio::select! {
            () = stop.cancelled() => Ok(()),
            fault = all => Err(MailListenerFault::Broken(fault)),
            () = shared.forget_the_quiet() => Ok(()),
        };
        drop(self.listener);
        shared.stop.cancel();
        tasks.close();
        if shared.clock.within(grace, tasks.wait()).await.is_none() {
            tracing::warn!(listener = NAME, tasks = tasks.len(), "connections aborted");
            abort.cancel();
            tasks.wait().await;
        }
        outcome
    }
}

fn seat(
    (shared, tasks, abort): (&Arc<Shared>, &TaskTracker, &CancellationToken),
    seats: &Seats,
    (tcp, peer): (TcpStream, SocketAddr),
) {
    match seats.take() {
        Ok(seat) => {
            let _ = tcp.set_nodelay(true);
            let talk = session::serve(shared.clone(), (tcp, peer), seat);
            let abort = abort.clone();
            tasks.spawn(async move {
                tokio::select! {
                    biased;
                    () = abort.cancelled() => {}
                    () = talk => {}
                }
            });
        }
        Err(reason) => {
            shared.metrics.connection_refused(reason);
            // What does not fit into the socket at once is not worth waiting for.
            let _ = tcp.try_write(busy().text().as_bytes());
        }
    }
}

/// What a client is told that there is no place for.
pub(super) fn busy() -> Reply {
    Reply::new(421, "4.7.0", "Too many connections, come again")
}
