//! From a URL to a connection: resolve, check, connect, shake hands.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{GuardOptions, NetFault, Plain, host_of};
use crate::net::dns::DnsFault;

/// The address a connection goes to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reached(pub(super) SocketAddr);

/// Opens connections. Cloning is cheap.
#[derive(Clone)]
pub(super) struct Connector {
    options: Arc<GuardOptions>,
    tls: TlsConnector,
}

impl Connector {
    pub(super) fn new(options: GuardOptions, config: ClientConfig) -> Self {
        Self {
            options: Arc::new(options),
            tls: TlsConnector::from(Arc::new(config)),
        }
    }

    async fn open(self, uri: Uri) -> Result<Stream, NetFault> {
        let host = host_of(&uri);
        let encrypted = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
        if !encrypted && self.options.plain == Plain::Refused {
            return Err(NetFault::Connect {
                host,
                cause: "only https is called".to_owned(),
            });
        }
        let addresses = self.resolve(&host).await?;
        let allowed = self.allowed(&host, &addresses, encrypted)?;
        let (tcp, remote) = self.connect(&host, allowed, port).await?;
        if !encrypted {
            return Ok(Stream {
                way: Way::Plain(TokioIo::new(tcp)),
                remote,
            });
        }
        let tls = self.shake_hands(&host, tcp).await?;
        Ok(Stream {
            way: Way::Tls(Box::new(TokioIo::new(tls))),
            remote,
        })
    }

    async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, NetFault> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        match self.options.resolver.addresses(host).await {
            Ok(found) => Ok(found.records),
            Err(DnsFault::Nothing { .. }) => Err(NetFault::NoAddress {
                host: host.to_owned(),
            }),
            Err(fault @ DnsFault::Failed(_)) => Err(NetFault::Dns {
                host: host.to_owned(),
                cause: fault.to_string(),
            }),
        }
    }

    /// The addresses we may connect to. Without TLS those inside only: what is allowed though it
    /// is not global.
    fn allowed(
        &self,
        host: &str,
        addresses: &[IpAddr],
        encrypted: bool,
    ) -> Result<Vec<IpAddr>, NetFault> {
        let mut refused = None;
        let mut allowed = Vec::new();
        let outside = super::AddressFilter::public();
        for address in addresses {
            match self.options.filter.check(*address) {
                Ok(()) if encrypted || outside.check(*address).is_err() => allowed.push(*address),
                Ok(()) => refused = Some((*address, "plain http goes to allowed ranges only")),
                Err(fault) => refused = Some((*address, fault.range)),
            }
        }
        match (allowed.is_empty(), refused) {
            (false, _) => Ok(allowed),
            (true, Some((address, range))) => Err(NetFault::RefusedAddress {
                host: host.to_owned(),
                address,
                range,
            }),
            (true, None) => Err(NetFault::NoAddress {
                host: host.to_owned(),
            }),
        }
    }

    /// Tries one address after the other.
    #[allow(clippy::disallowed_methods, reason = "this is the way out")]
    async fn connect(
        &self,
        host: &str,
        addresses: Vec<IpAddr>,
        port: u16,
    ) -> Result<(TcpStream, SocketAddr), NetFault> {
        let mut last = NetFault::NoAddress {
            host: host.to_owned(),
        };
        let (clock, times) = (&self.options.clock, &self.options.times);
        for address in addresses {
            let remote = SocketAddr::new(address, port);
            last = match clock
                .within(times.connect, TcpStream::connect(remote))
                .await
            {
                Some(Ok(tcp)) => {
                    // Without it small requests wait for acknowledgements.
                    drop(tcp.set_nodelay(true));
                    return Ok((tcp, remote));
                }
                Some(Err(error)) => NetFault::Connect {
                    host: host.to_owned(),
                    cause: format!("{remote}: {error}"),
                },
                None => NetFault::TimedOut {
                    host: host.to_owned(),
                    phase: "the connection",
                },
            };
        }
        Err(last)
    }

    async fn shake_hands(
        &self,
        host: &str,
        tcp: TcpStream,
    ) -> Result<TlsStream<TcpStream>, NetFault> {
        let tls = |cause: String| NetFault::Tls {
            host: host.to_owned(),
            cause,
        };
        let name = ServerName::try_from(host.to_owned()).map_err(|error| tls(error.to_string()))?;
        let (clock, times) = (&self.options.clock, &self.options.times);
        match clock
            .within(times.handshake, self.tls.connect(name, tcp))
            .await
        {
            Some(Ok(stream)) => Ok(stream),
            Some(Err(error)) => Err(tls(error.to_string())),
            None => Err(NetFault::TimedOut {
                host: host.to_owned(),
                phase: "the TLS handshake",
            }),
        }
    }
}

impl tower::Service<Uri> for Connector {
    type Response = Stream;
    type Error = NetFault;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, NetFault>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), NetFault>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().open(uri))
    }
}

/// An open connection.
pub(super) struct Stream {
    way: Way,
    remote: SocketAddr,
}

enum Way {
    Plain(TokioIo<TcpStream>),
    Tls(Box<TokioIo<TlsStream<TcpStream>>>),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        let connected = Connected::new().extra(Reached(self.remote));
        match &self.way {
            Way::Tls(tls) if tls.inner().get_ref().1.alpn_protocol() == Some(b"h2") => {
                connected.negotiated_h2()
            }
            _ => connected,
        }
    }
}

impl Read for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.get_mut().way {
            Way::Plain(io) => Pin::new(io).poll_read(context, buffer),
            Way::Tls(io) => Pin::new(io).poll_read(context, buffer),
        }
    }
}

impl Write for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().way {
            Way::Plain(io) => Pin::new(io).poll_write(context, bytes),
            Way::Tls(io) => Pin::new(io).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().way {
            Way::Plain(io) => Pin::new(io).poll_flush(context),
            Way::Tls(io) => Pin::new(io).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().way {
            Way::Plain(io) => Pin::new(io).poll_shutdown(context),
            Way::Tls(io) => Pin::new(io).poll_shutdown(context),
        }
    }
}
