//! The certificates that clients show.
//!
//! A listener may ask for a certificate and takes any: that the client has its key is proven in the
//! handshake, whom it is from is judged when somebody speaks for a domain. So a client whose
//! certificate means nothing to us is served as one that has none.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerifier as _};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::provider;
use crate::protocol::Timestamp;

/// Certificates of a chain that are looked at.
const LONGEST_CHAIN: usize = 8;

/// Asks for a certificate and takes any whose key the client has.
#[derive(Debug)]
pub(super) struct AnyClient(WebPkiSupportedAlgorithms);

impl AnyClient {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(provider().signature_verification_algorithms))
    }
}

impl ClientCertVerifier for AnyClient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _others: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
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

/// What a certificate is to be good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// To be a client, by an authority that issues for clients.
    Client,
    /// To be a server, by an authority believed of servers.
    Server,
}

/// Whose chains are believed when a client shows them.
pub struct ClientChains {
    clients: Option<Arc<dyn ClientCertVerifier>>,
    servers: Option<Arc<WebPkiServerVerifier>>,
}

impl ClientChains {
    /// Believes these authorities; an empty store believes nobody.
    #[must_use]
    pub fn new(clients: RootCertStore, servers: RootCertStore) -> Self {
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(clients), provider());
        let servers = WebPkiServerVerifier::builder_with_provider(Arc::new(servers), provider());
        Self {
            clients: clients.build().ok(),
            servers: servers.build().ok(),
        }
    }

    /// Believes nobody.
    #[must_use]
    pub fn none() -> Self {
        Self::new(RootCertStore::empty(), RootCertStore::empty())
    }

    /// Whether an authority vouches for the first certificate of the chain, for this purpose and now.
    #[must_use]
    pub fn believes(
        &self,
        chain: &[CertificateDer<'static>],
        purpose: Purpose,
        now: Timestamp,
    ) -> bool {
        let Some((leaf, others)) = chain.split_first() else {
            return false;
        };
        let others = &others[..others.len().min(LONGEST_CHAIN)];
        let now = u64::try_from(now.as_millis()).unwrap_or(0);
        let now = UnixTime::since_unix_epoch(Duration::from_millis(now));
        match purpose {
            Purpose::Client => self
                .clients
                .as_ref()
                .is_some_and(|it| it.verify_client_cert(leaf, others, now).is_ok()),
            Purpose::Server => {
                // The verifier wants a name; whoever asks has compared the one that counts.
                let Some((name, verifier)) = any_name(leaf).zip(self.servers.as_ref()) else {
                    return false;
                };
                verifier
                    .verify_server_cert(leaf, others, &name, &[], now)
                    .is_ok()
            }
        }
    }
}

/// Whether the first certificate of a chain is for this name, by its subject alternative names.
#[must_use]
pub fn covers(chain: &[CertificateDer<'static>], name: &str) -> bool {
    let Some(Ok(leaf)) = chain.first().map(ParsedCertificate::try_from) else {
        return false;
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(name)
        .is_ok_and(|name| rustls::client::verify_server_name(&leaf, &name).is_ok())
}

/// A name that a certificate has.
fn any_name(leaf: &CertificateDer<'_>) -> Option<ServerName<'static>> {
    use x509_parser::extensions::GeneralName;
    let (_, parsed) = x509_parser::parse_x509_certificate(leaf).ok()?;
    let names = parsed.subject_alternative_name().ok()??;
    let name = names
        .value
        .general_names
        .iter()
        .find_map(|name| match name {
            // A wildcard stands for any label.
            GeneralName::DNSName(name) => Some(name.replace('*', "any")),
            _ => None,
        })?;
    ServerName::try_from(name).ok()
}
