//! A certificate authority for one test, and the server side of TLS with what it issues.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls::crypto::ring;
use rustls::{ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// An authority that lives as long as a test.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pem: PathBuf,
    issued: AtomicUsize,
}

/// The files of a certificate and its key, both PEM.
#[derive(Debug, Clone)]
pub struct Issued {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Which TLS a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versions {
    Tls13,
    /// Version 1.2 only, which no gateway may accept from another.
    Tls12,
}

impl Ca {
    /// An authority whose certificate is `ca.pem` in this folder.
    pub fn new(folder: &Path) -> Self {
        Self::named("The tests' CA", &folder.join("ca.pem"))
    }

    /// An authority nobody was told to believe; its certificate is `other-ca.pem` in this folder.
    pub fn other(folder: &Path) -> Self {
        Self::named("Another CA", &folder.join("other-ca.pem"))
    }

    /// The file of its own certificate.
    pub fn pem_path(&self) -> &Path {
        &self.pem
    }

    /// A server certificate for these names or addresses, in new files of this folder.
    pub fn issue(&self, names: &[&str], folder: &Path) -> Issued {
        self.sign(params(names), folder)
    }

    /// A client certificate with these names, in new files of this folder.
    pub fn issue_client(&self, names: &[SanType], folder: &Path) -> Issued {
        let mut params = params(&["a client"]);
        params.subject_alt_names = names.to_vec();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params, folder)
    }

    /// A server certificate that was good until the end of 2020.
    pub fn issue_expired(&self, names: &[&str], folder: &Path) -> Issued {
        let mut params = params(names);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
        self.sign(params, folder)
    }

    fn named(name: &str, pem: &Path) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).unwrap();
        fs::write(pem, certificate.pem()).unwrap();
        Self {
            issuer: Issuer::new(params, key),
            pem: pem.to_owned(),
            issued: AtomicUsize::new(0),
        }
    }

    fn sign(&self, params: CertificateParams, folder: &Path) -> Issued {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let authority = self.pem.file_stem().unwrap().to_string_lossy();
        let number = self.issued.fetch_add(1, Ordering::Relaxed);
        let file = |kind: &str| folder.join(format!("{authority}-{number}-{kind}.pem"));
        let issued = Issued {
            certificate: file("cert"),
            key: file("key"),
        };
        fs::write(&issued.certificate, certificate.pem()).unwrap();
        fs::write(&issued.key, key.serialize_pem()).unwrap();
        issued
    }
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let common = names
        .first()
        .expect("a certificate is for somebody")
        .clone();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, common);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params
}

/// A server that shows this certificate and offers HTTP/2 and HTTP/1.1.
pub fn server_config(issued: &Issued, versions: Versions) -> Arc<ServerConfig> {
    let version: &'static SupportedProtocolVersion = match versions {
        Versions::Tls13 => &rustls::version::TLS13,
        Versions::Tls12 => &rustls::version::TLS12,
    };
    let chain = CertificateDer::pem_file_iter(&issued.certificate)
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let key = PrivateKeyDer::from_pem_file(&issued.key).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}
