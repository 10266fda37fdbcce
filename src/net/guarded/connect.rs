//! From a URL to a connection: resolve, check, connect, shake hands.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::Uri;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::stream::Stream;
use super::{GuardOptions, NetFault, Plain, host_of};
use crate::net::dns::DnsFault;
use crate::net::filter::AddressFilter;

/// How many addresses of one host are tried: a name cannot make us knock at a whole network.
const MOST_ADDRESSES: usize = 8;

/// Opens connections. Cloning is cheap.
#[derive(Clone)]
pub(super) struct Connector {
    options: Arc<GuardOptions>,
    tls: TlsConnector,
}

/// Where a URL leads.
struct Target {
    host: String,
    port: u16,
    encrypted: bool,
}

impl Target {
    fn of(uri: &Uri, plain: Plain) -> Result<Self, NetFault> {
        let host = host_of(uri);
        let encrypted = match uri.scheme_str() {
            Some("https") => true,
            Some("http") if plain == Plain::Inside => false,
            _ => {
                return Err(NetFault::Connect {
                    host,
                    cause: "only https is called".to_owned(),
                });
            }
        };
        let port = uri.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
        Ok(Self {
            host,
            port,
            encrypted,
        })
    }

    fn no_address(&self) -> NetFault {
        NetFault::NoAddress {
            host: self.host.clone(),
        }
    }

    fn too_late(&self, phase: &'static str) -> NetFault {
        NetFault::TimedOut {
            host: self.host.clone(),
            phase,
        }
    }
}

impl Connector {
    pub(super) fn new(options: GuardOptions, config: ClientConfig) -> Self {
        Self {
            options: Arc::new(options),
            tls: TlsConnector::from(Arc::new(config)),
        }
    }

    async fn open(self, uri: Uri) -> Result<Stream, NetFault> {
        let target = Target::of(&uri, self.options.plain)?;
        let addresses = self.resolve(&target).await?;
        let allowed = self.allowed(&target, &addresses)?;
        self.reach(&target, &allowed).await
    }

    async fn resolve(&self, target: &Target) -> Result<Vec<IpAddr>, NetFault> {
        if let Ok(address) = target.host.parse() {
            return Ok(vec![address]);
        }
        match self.options.resolver.addresses(&target.host).await {
            Ok(found) => Ok(found.records),
            Err(DnsFault::Nothing { .. }) => Err(target.no_address()),
            Err(fault @ DnsFault::Failed(_)) => Err(NetFault::Dns {
                host: target.host.clone(),
                cause: fault.to_string(),
            }),
        }
    }

    /// The addresses we may connect to. Without TLS those inside only: what is allowed though it
    /// is not global.
    fn allowed(&self, target: &Target, addresses: &[IpAddr]) -> Result<Vec<IpAddr>, NetFault> {
        let mut refused = None;
        let mut allowed = Vec::new();
        let outside = AddressFilter::public();
        for address in addresses {
            match self.options.filter.check(*address) {
                Ok(()) if !target.encrypted && outside.check(*address).is_ok() => {
                    refused = Some((*address, "plain http goes to allowed ranges only"));
                }
                Ok(()) => allowed.push(*address),
                Err(fault) => refused = Some((*address, fault.range)),
            }
        }
        match refused {
            _ if !allowed.is_empty() => Ok(allowed),
            Some((address, range)) => Err(NetFault::RefusedAddress {
                host: target.host.clone(),
                address,
                range,
            }),
            None => Err(target.no_address()),
        }
    }

    /// Tries one address after the other until one is reached and shakes hands. What TLS says
    /// against one tells more than that the next cannot be reached.
    async fn reach(&self, target: &Target, addresses: &[IpAddr]) -> Result<Stream, NetFault> {
        let mut last = target.no_address();
        for address in addresses.iter().take(MOST_ADDRESSES) {
            let remote = SocketAddr::new(*address, target.port);
            match self.reach_one(target, remote).await {
                Ok(stream) => return Ok(stream),
                Err(_) if matches!(last, NetFault::Tls { .. }) => {}
                Err(fault) => last = fault,
            }
        }
        Err(last)
    }

    async fn reach_one(&self, target: &Target, remote: SocketAddr) -> Result<Stream, NetFault> {
        let tcp = self.connect(target, remote).await?;
        if !target.encrypted {
            return Ok(Stream::plain(tcp, remote));
        }
        let tls = self.shake_hands(target, tcp, remote).await?;
        Ok(Stream::tls(tls, remote))
    }

    #[allow(clippy::disallowed_methods, reason = "this is the way out")]
    async fn connect(&self, target: &Target, remote: SocketAddr) -> Result<TcpStream, NetFault> {
        let connecting = TcpStream::connect(remote);
        let time = self.options.times.connect;
        let tcp = match self.options.clock.within(time, connecting).await {
            Some(Ok(tcp)) => tcp,
            Some(Err(error)) => {
                return Err(NetFault::Connect {
                    host: target.host.clone(),
                    cause: format!("{remote}: {error}"),
                });
            }
            None => return Err(target.too_late("the connection")),
        };
        // Without it small requests wait for acknowledgements. A connection that is gone already
        // shows at the next step.
        drop(tcp.set_nodelay(true));
        Ok(tcp)
    }

    async fn shake_hands(
        &self,
        target: &Target,
        tcp: TcpStream,
        remote: SocketAddr,
    ) -> Result<TlsStream<TcpStream>, NetFault> {
        let fault = |cause: String| NetFault::Tls {
            host: target.host.clone(),
            cause,
        };
        let name =
            ServerName::try_from(target.host.clone()).map_err(|error| fault(error.to_string()))?;
        let handshake = self.tls.connect(name, tcp);
        let time = self.options.times.handshake;
        match self.options.clock.within(time, handshake).await {
            Some(Ok(stream)) => Ok(stream),
            Some(Err(error)) => Err(fault(format!("{remote}: {error}"))),
            None => Err(target.too_late("the TLS handshake")),
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
