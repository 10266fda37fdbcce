//! A look at how an address speaks TLS, for diagnosis.
//!
//! A probe takes what certificate there is, so that it can be described, and sends nothing on the
//! connection. Whether the certificate is to be believed is a question of its own
//! ([`Probe::believes`]). Addresses are checked as for every connection.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use thiserror::Error as FaultError;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::filter::{AddressFilter, RefusedAddress};
use super::roots::{self, FileFault};
use crate::clock::Clock;
use crate::protocol::Timestamp;

/// A version of TLS, offered alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    /// 1.2.
    V12,
    /// 1.3.
    V13,
}

/// What the other side showed in a handshake.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Its certificate, then those it sent along.
    pub chain: Vec<CertificateDer<'static>>,
    /// Whether it chose HTTP/2.
    pub http2: bool,
}

/// Why there was no handshake.
#[derive(Debug, Clone, PartialEq, Eq, FaultError)]
pub enum ProbeFault {
    /// We do not connect there.
    #[error(transparent)]
    Refused(#[from] RefusedAddress),
    /// This machine has no way to the address, such as one of IPv6 where there is none.
    #[error("this machine has no way there: {0}")]
    NoRoute(String),
    /// No connection.
    #[error("no connection: {0}")]
    Connect(String),
    /// No answer in time.
    #[error("no answer in time")]
    TimedOut,
    /// The handshake failed.
    #[error("no TLS handshake: {0}")]
    Tls(String),
}

/// Why a chain of certificates is not believed.
#[derive(Debug, Clone, PartialEq, Eq, FaultError)]
pub enum ChainFault {
    /// Nobody whom we believe has signed it.
    #[error("nobody this machine believes has signed it")]
    UnknownIssuer,
    /// Something else.
    #[error("{0}")]
    Other(String),
}

/// Looks at addresses.
pub struct Probe {
    filter: AddressFilter,
    /// Nothing where this machine believes nobody.
    verifier: Option<Arc<WebPkiServerVerifier>>,
    time: Duration,
    clock: Clock,
}

impl Probe {
    /// A probe that believes the system's authorities and those of these files, and gives the
    /// connection and the handshake `time` each.
    ///
    /// # Errors
    /// [`FileFault`] names the file of certificates that cannot be used.
    pub fn new(
        filter: AddressFilter,
        ca_files: &[PathBuf],
        time: Duration,
        clock: Clock,
    ) -> Result<Self, FileFault> {
        let mut believed = roots::of_system();
        for path in ca_files {
            roots::add(&mut believed, path)?;
        }
        let verifier = WebPkiServerVerifier::builder_with_provider(believed.into(), provider());
        Ok(Self {
            filter,
            verifier: verifier.build().ok(),
            time,
            clock,
        })
    }

    /// Whether an address takes connections.
    ///
    /// # Errors
    /// [`ProbeFault`], but not [`ProbeFault::Tls`].
    pub async fn reach(&self, remote: SocketAddr) -> Result<(), ProbeFault> {
        self.connect(remote).await.map(drop)
    }

    /// Shakes hands in one version of TLS, offering HTTP/2 and HTTP/1.1.
    ///
    /// # Errors
    /// [`ProbeFault`] says how far it came.
    pub async fn shake_hands(
        &self,
        remote: SocketAddr,
        host: &str,
        version: TlsVersion,
    ) -> Result<Shown, ProbeFault> {
        let tls = |cause: &dyn ToString| ProbeFault::Tls(cause.to_string());
        let name = ServerName::try_from(host.to_owned()).map_err(|fault| tls(&fault))?;
        let tcp = self.connect(remote).await?;
        let connecting = TlsConnector::from(Arc::new(config(version))).connect(name, tcp);
        let stream = match self.clock.within(self.time, connecting).await {
            Some(done) => done.map_err(|fault| tls(&fault))?,
            None => return Err(ProbeFault::TimedOut),
        };
        let (_, session) = stream.get_ref();
        let chain = session.peer_certificates().unwrap_or_default();
        Ok(Shown {
            chain: chain.iter().map(|one| one.clone().into_owned()).collect(),
            http2: session.alpn_protocol() == Some(b"h2"),
        })
    }

    /// Whether a chain leads to an authority we believe, at a moment. That it is for another name
    /// is not asked here.
    ///
    /// # Errors
    /// [`ChainFault`].
    pub fn believes(
        &self,
        chain: &[CertificateDer<'_>],
        host: &str,
        at: Timestamp,
    ) -> Result<(), ChainFault> {
        let (Some((leaf, others)), Some(verifier)) = (chain.split_first(), &self.verifier) else {
            return Err(ChainFault::UnknownIssuer);
        };
        let other = |fault: &dyn ToString| ChainFault::Other(fault.to_string());
        let name = ServerName::try_from(host.to_owned()).map_err(|fault| other(&fault))?;
        let seconds = u64::try_from(at.as_millis() / 1_000).unwrap_or(0);
        let at = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        match verifier.verify_server_cert(leaf, others, &name, &[], at) {
            Ok(_) => Ok(()),
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(()),
            // One of the same name as somebody believed, with another key, is a stranger, too.
            Err(Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::BadSignature,
            )) => Err(ChainFault::UnknownIssuer),
            Err(fault) => Err(other(&fault)),
        }
    }

    #[allow(clippy::disallowed_methods, reason = "this is a way out")]
    async fn connect(&self, remote: SocketAddr) -> Result<TcpStream, ProbeFault> {
        self.filter.check(remote.ip())?;
        let connecting = TcpStream::connect(remote);
        match self.clock.within(self.time, connecting).await {
            Some(Ok(tcp)) => Ok(tcp),
            Some(Err(fault)) if fault.kind() == io::ErrorKind::NetworkUnreachable => {
                Err(ProbeFault::NoRoute(fault.to_string()))
            }
            Some(Err(fault)) => Err(ProbeFault::Connect(fault.to_string())),
            None => Err(ProbeFault::TimedOut),
        }
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn config(version: TlsVersion) -> ClientConfig {
    let version = match version {
        TlsVersion::V12 => &rustls::version::TLS12,
        TlsVersion::V13 => &rustls::version::TLS13,
    };
    let provider = provider();
    let onlooker = Onlooker(provider.signature_verification_algorithms);
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .expect("ring's provider supports TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(onlooker))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

/// Takes every certificate, whose key the other side must hold all the same.
#[derive(Debug)]
struct Onlooker(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Onlooker {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _others: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
