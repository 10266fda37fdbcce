//! Section `peers`: what single domains need that others do not.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::kind::{
    AuthorityFile, CertificateFile, Credential, Optional, Pace, PrivateKeyFile, Switch, Url,
};
use super::reading::Reading;
use super::secret::Secret;
use super::section::{Section, section};
use super::tls::check_pair;
use super::units::Rate;
use crate::protocol::{Domain, GatewayUrl};

/// The map of all peers.
pub(super) const TABLE: Section = Section {
    name: "peers",
    about: &[
        "What single domains need that others do not. Each key is a domain; one that is not named here is found",
        "by its `_amtp` record.",
    ],
    keys: &[],
};

section! {
    /// What one domain needs. Every key may be left out.
    pub struct Peer = "peers.DOMAIN" {
        /// Where the domain's gateway is, whatever its `_amtp` record says.
        gateway: Option<GatewayUrl> as Optional<Url>,
        /// What to send as the `Authorization` header of every request, such as `Bearer` with a token.
        authorization: Option<Secret> as Optional<Credential>,
        /// The certificate chain in PEM that is shown to this peer, in place of `tls.client_cert_file`. Needs
        /// `client_key`.
        client_cert: Option<PathBuf> as Optional<CertificateFile>,
        /// The private key of `client_cert` in PEM.
        client_key: Option<PathBuf> as Optional<PrivateKeyFile>,
        /// Certificates of authorities in PEM that are believed of this peer, in addition to all others.
        trusted_ca: Option<PathBuf> as Optional<AuthorityFile>,
        /// Whether its gateway may have an address that is not public.
        allow_private: bool as Switch = "false",
        /// The most messages that are sent to it. Without it there is no such limit.
        rate: Option<Rate> as Optional<Pace>,
        /// Whether messages are sent in batches if its gateway takes them.
        batch: bool as Switch = "true",
    }
}

/// Reads all peers.
pub(super) fn read(reading: &mut Reading<'_>) -> Option<BTreeMap<Domain, Peer>> {
    reading.each(&Peer::TABLE, |domain, reading| {
        let peer = Peer::read(reading)?;
        let key = |name| format!("peers.{domain}.{name}");
        let (certificate, secret) = (key("client_cert"), key("client_key"));
        let client = [
            (certificate.as_str(), &peer.client_cert),
            (secret.as_str(), &peer.client_key),
        ];
        check_pair(client, reading);
        Some(peer)
    })
}
