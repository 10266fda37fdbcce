//! Connections to mail servers.
//!
//! As with all others: a host is resolved once, every address is checked, and the connection goes to a
//! checked one. TLS 1.2 or newer, asked for in the middle of the dialogue (STARTTLS) or spoken from the
//! first byte on. A certificate is checked where a policy says so; elsewhere any will do, because mail
//! would go without TLS otherwise.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::{DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::dns::{DnsFault, Resolver};
use super::filter::AddressFilter;
use super::guarded::{FileFault, NetFault, Times};
use super::roots;
use crate::clock::Clock;

/// How many addresses of one host are tried.
const MOST_ADDRESSES: usize = 4;

/// What connections to mail servers are made of.
pub struct MailLineOptions {
    /// Answers names.
    pub resolver: Arc<dyn Resolver>,
    /// Judges addresses.
    pub filter: AddressFilter,
    /// Certificates believed beside the system's.
    pub trusted_ca_files: Vec<PathBuf>,
    /// How long parts of a connection may take.
    pub times: Times,
    /// What time it is.
    pub clock: Clock,
}

/// Whether the certificate of a mail server counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailCertificate {
    /// It must be valid for the host.
    Valid,
    /// Any: being overheard is made harder, no more.
    Any,
}

/// Opens connections to mail servers. Cloning is cheap.
#[derive(Clone)]
pub struct MailLines {
    options: Arc<MailLineOptions>,
    strict: TlsConnector,
    lenient: TlsConnector,
}

impl MailLines {
    /// With these options.
    ///
    /// # Errors
    /// [`FileFault`] names the file of certificates that cannot be used.
    pub fn new(options: MailLineOptions) -> Result<Self, FileFault> {
        let mut believed = roots::of_system();
        for path in &options.trusted_ca_files {
            roots::add(&mut believed, path)?;
        }
        let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
        let strict = roots::config(&versions, believed, None)?;
        let provider = Arc::new(ring::default_provider());
        let lenient = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&versions)
            .expect("ring's provider supports TLS 1.2 and 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
            .with_no_client_auth();
        Ok(Self {
            options: Arc::new(options),
            strict: TlsConnector::from(Arc::new(strict)),
            lenient: TlsConnector::from(Arc::new(lenient)),
        })
    }

    /// The addresses of a host we may connect to, four at most; at least one.
    ///
    /// # Errors
    /// [`NetFault`]: it has none, none that is allowed, or nobody knows.
    pub async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, NetFault> {
        let named = || host.to_owned();
        let found = match host.parse() {
            Ok(address) => vec![address],
            Err(_) => match self.options.resolver.addresses(host).await {
                Ok(found) => found.records,
                Err(DnsFault::Nothing { .. }) => return Err(NetFault::NoAddress { host: named() }),
                Err(fault @ DnsFault::Failed(_)) => {
                    let cause = fault.to_string();
                    return Err(NetFault::Dns {
                        host: named(),
                        cause,
                    });
                }
            },
        };
        let mut refused = NetFault::NoAddress { host: named() };
        let mut allowed = Vec::new();
        for address in found {
            match self.options.filter.check(address) {
                Ok(()) => allowed.push(address),
                Err(fault) => {
                    refused = NetFault::RefusedAddress {
                        host: named(),
                        address,
                        range: fault.range,
                    };
                }
            }
        }
        allowed.truncate(MOST_ADDRESSES);
        if allowed.is_empty() {
            return Err(refused);
        }
        Ok(allowed)
    }

    /// Connects to one of these addresses.
    ///
    /// # Errors
    /// [`NetFault`]: nobody there, or no time left.
    #[allow(clippy::disallowed_methods, reason = "this is a way out")]
    pub async fn connect(&self, host: &str, remote: SocketAddr) -> Result<TcpStream, NetFault> {
        let connecting = TcpStream::connect(remote);
        let time = self.options.times.connect;
        match self.options.clock.within(time, connecting).await {
            Some(Ok(tcp)) => {
                // A connection that is gone already shows at the next step.
                drop(tcp.set_nodelay(true));
                Ok(tcp)
            }
            Some(Err(error)) => Err(NetFault::Connect {
                host: host.to_owned(),
                cause: format!("{remote}: {error}"),
            }),
            None => Err(NetFault::TimedOut {
                host: host.to_owned(),
                phase: "the connection",
            }),
        }
    }

    /// Shakes hands over a connection.
    ///
    /// # Errors
    /// [`NetFault`]: TLS fails, or the certificate is not one that counts.
    pub async fn encrypt(
        &self,
        tcp: TcpStream,
        (host, certificate): (&str, MailCertificate),
    ) -> Result<TlsStream<TcpStream>, NetFault> {
        let fault = |cause: String| NetFault::Tls {
            host: host.to_owned(),
            cause,
        };
        let name = ServerName::try_from(host.to_owned()).map_err(|it| fault(it.to_string()))?;
        let tls = match certificate {
            MailCertificate::Valid => &self.strict,
            MailCertificate::Any => &self.lenient,
        };
        let time = self.options.times.handshake;
        match self
            .options
            .clock
            .within(time, tls.connect(name, tcp))
            .await
        {
            Some(Ok(stream)) => Ok(stream),
            Some(Err(error)) => Err(fault(error.to_string())),
            None => Err(NetFault::TimedOut {
                host: host.to_owned(),
                phase: "the TLS handshake",
            }),
        }
    }
}

/// Believes any certificate whose key the other side has.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
