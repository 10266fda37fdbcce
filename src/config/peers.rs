//! Section `peers`: what single domains need.

use std::path::PathBuf;

use super::kind::{CertificateFile, Optional, PerAddress, PrivateKeyFile, SecretFile, Switch, Url};
use super::reading::Reading;
use super::secret::Secret;
use super::section::section;
use super::units::Rate;
use crate::protocol::{Domain, GatewayUrl};

section! {
    /// What the gateways of single domains need; others need nothing. The key is the domain.
    pub struct Peer = "peers.DOMAIN" {
        /// Where its gateway is, instead of what its `_amtp` record says.
        gateway: Option<GatewayUrl> as Optional<Url>,
        /// The header `Authorization` to send, such as `Bearer …`; a secret.
        authorization: Option<Secret> as Optional<SecretFile>,
        /// The certificate chain to show to it, in PEM, instead of `tls.client_cert_file`.
        client_cert: Option<PathBuf> as Optional<CertificateFile>,
        /// The private key of that certificate, in PEM.
        client_key: Option<PathBuf> as Optional<PrivateKeyFile>,
        /// CA certificates to believe beside the system's and `tls.trusted_ca_file`, in PEM.
        trusted_ca: Option<PathBuf> as Optional<CertificateFile>,
        /// Whether its gateway may be at an address that is not global.
        allow_private: bool as Switch = "false",
        /// The most messages to send to it.
        rate: Option<Rate> as Optional<PerAddress>,
        /// Whether messages go to it many at a time, where its record offers that.
        batch: bool as Switch = "true",
    }
}

impl Peer {
    /// Reads every domain.
    pub(super) fn read_all(reading: &mut Reading<'_>) -> Option<Vec<(Domain, Self)>> {
        reading.each(&Self::TABLE, |reading| {
            let peer = Self::read(reading)?;
            if peer.client_cert.is_some() != peer.client_key.is_some() {
                let text = "needs its other half; set client_cert and client_key, or neither";
                return reading.refuse_domain(&Self::TABLE, "client_cert", text.to_owned());
            }
            Some(peer)
        })
    }
}
