//! What connections to others use: certificates and keys that are shown, authorities that are
//! believed, and credentials.

use std::path::Path;

use super::Look;
use super::certificate::{self, Named};
use crate::config::{Config, Peer, Tls};
use crate::protocol::{Domain, Timestamp};

/// A key of the configuration and the file it names.
type Entry<'a> = Option<(String, &'a Path)>;

/// The files of one destination, or of all.
struct Outgoing<'a> {
    certificate: Entry<'a>,
    key: Entry<'a>,
    authorities: Entry<'a>,
    credential: Entry<'a>,
}

impl<'a> Outgoing<'a> {
    fn of_all(tls: &'a Tls) -> Self {
        let entry =
            |key: &str, file: Option<&'a Path>| file.map(|file| (format!("tls.{key}"), file));
        Self {
            certificate: entry("client_cert_file", tls.client_cert_file.as_deref()),
            key: entry("client_key_file", tls.client_key_file.as_deref()),
            authorities: entry("trusted_ca_file", tls.trusted_ca_file.as_deref()),
            credential: None,
        }
    }

    fn of_peer(domain: &Domain, peer: &'a Peer) -> Self {
        let entry = |key: &str, file: Option<&'a Path>| {
            file.map(|file| (format!("peers.{domain}.{key}"), file))
        };
        let credential = peer.authorization.as_ref().and_then(|secret| secret.file());
        Self {
            certificate: entry("client_cert", peer.client_cert.as_deref()),
            key: entry("client_key", peer.client_key.as_deref()),
            authorities: entry("trusted_ca", peer.trusted_ca.as_deref()),
            credential: entry("authorization", credential),
        }
    }
}

impl Look {
    pub(super) fn at_outgoing(&mut self, config: &Config, now: Timestamp) {
        let peers = config.peers.iter();
        let peers = peers.map(|(domain, peer)| Outgoing::of_peer(domain, peer));
        for outgoing in std::iter::once(Outgoing::of_all(&config.tls)).chain(peers) {
            self.at_files(&outgoing, now);
        }
        if let Some(file) = &config.tls.client_ca_file {
            let key = "tls.client_ca_file";
            self.take(certificate::inspect_authorities(Named { key, file }));
        }
    }

    fn at_files(&mut self, outgoing: &Outgoing<'_>, now: Timestamp) {
        if let (Some(certificate), Some(key)) = (&outgoing.certificate, &outgoing.key) {
            let found = certificate::inspect(named(certificate), named(key), None, now);
            self.take(found);
        }
        if let Some(authorities) = &outgoing.authorities {
            self.take(certificate::inspect_authorities(named(authorities)));
        }
        for (key, file) in [&outgoing.key, &outgoing.credential].into_iter().flatten() {
            self.at_permissions(key, file);
        }
    }
}

fn named<'a>((key, file): &'a (String, &'a Path)) -> Named<'a> {
    Named { key, file }
}
