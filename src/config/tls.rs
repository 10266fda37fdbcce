//! Section `tls`: the certificates of this gateway, and whose certificates it believes.

use std::path::PathBuf;

use super::kind::{AuthorityFile, CertificateFile, Optional, PrivateKeyFile};
use super::reading::Reading;
use super::section::section;

section! {
    /// The certificate of the listeners, and what is shown to and believed of others. The files of the listeners
    /// are read again on SIGHUP and when they change.
    pub struct Tls = "tls" {
        /// The certificate chain in PEM, the gateway's own first. It must cover the host of `gateway_url`.
        cert_file: PathBuf as CertificateFile,
        /// The private key of the certificate in PEM.
        key_file: PathBuf as PrivateKeyFile,
        /// Certificates of authorities in PEM that are believed in addition to the system's when this gateway
        /// connects to peers and webhooks.
        trusted_ca_file: Option<PathBuf> as Optional<AuthorityFile>,
        /// Certificates of authorities in PEM that are believed of clients: who shows a certificate of theirs for a
        /// domain, or for the host of its gateway, is believed to speak for that domain, and one that names an
        /// agent of ours is that agent's credential.
        client_ca_file: Option<PathBuf> as Optional<AuthorityFile>,
        /// The certificate chain in PEM that is shown to peers that ask for one. Needs `client_key_file`.
        client_cert_file: Option<PathBuf> as Optional<CertificateFile>,
        /// The private key of `client_cert_file` in PEM.
        client_key_file: Option<PathBuf> as Optional<PrivateKeyFile>,
    }
}

impl Tls {
    /// Tells what does not fit together.
    pub(super) fn check(&self, reading: &mut Reading<'_>) {
        let client = [
            ("tls.client_cert_file", &self.client_cert_file),
            ("tls.client_key_file", &self.client_key_file),
        ];
        check_pair(client, reading);
    }
}

/// A certificate and its key, each under its key of the configuration: one is of no use without the other.
pub(super) fn check_pair(pair: [(&str, &Option<PathBuf>); 2], reading: &mut Reading<'_>) {
    let (lone, other) = match pair {
        [(lone, Some(_)), (other, None)] | [(other, None), (lone, Some(_))] => (lone, other),
        _ => return,
    };
    let text = format!("means nothing without {other}; name both or none");
    reading.fault_of(lone, text);
}
