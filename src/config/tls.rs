//! Section `tls`: the certificate of the listeners.

use std::path::PathBuf;

use super::kind::{CertificateFile, Optional, PrivateKeyFile};
use super::section::section;

section! {
    /// The certificate of the listeners. Both files are read again on SIGHUP and when they change.
    pub struct Tls = "tls" {
        /// The certificate chain in PEM, the gateway's own first. It must cover the host of `gateway_url`.
        cert_file: PathBuf as CertificateFile,
        /// The private key of the certificate in PEM.
        key_file: PathBuf as PrivateKeyFile,
        /// CA certificates to believe beside the system's when we connect to peers and webhooks, in PEM.
        trusted_ca_file: Option<PathBuf> as Optional<CertificateFile>,
        /// The certificate chain shown to peers that ask for one, in PEM.
        client_cert_file: Option<PathBuf> as Optional<CertificateFile>,
        /// The private key of that certificate, in PEM.
        client_key_file: Option<PathBuf> as Optional<PrivateKeyFile>,
    }
}
