//! The certificate authority that the gateway under test believes, and what it issues.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::crypto::ring;
use rustls::{ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// An authority in a folder: `ca.pem` and `ca.key`.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// One that nobody was told to believe.
    other: Issuer<'static, KeyPair>,
    pub(crate) pem: PathBuf,
}

/// What a server shows and speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tls {
    /// TLS 1.3 with a good certificate.
    Good,
    /// TLS 1.3 and 1.2 with a good certificate.
    Old,
    /// TLS 1.2 only, which no gateway may accept from another.
    OnlyOld,
    /// A certificate for another name.
    OtherName,
    /// A certificate that was good until the end of 2020.
    Expired,
    /// A certificate of an authority nobody believes.
    Unknown,
    /// A good certificate, and no HTTP/2.
    Http1,
}

impl Authority {
    /// The authority of this folder; made where there is none yet.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let (pem, key) = (folder.join("ca.pem"), folder.join("ca.key"));
        if !pem.exists() {
            fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
            let (certificate, made) = new("AMTP conformance bench")?;
            fs::write(&key, made.serialize_pem()).with_context(|| key.display().to_string())?;
            fs::write(&pem, certificate).with_context(|| pem.display().to_string())?;
        }
        let shown = |path: &Path| fs::read_to_string(path).context(path.display().to_string());
        let made = KeyPair::from_pem(&shown(&key)?)?;
        let (other, other_key) = new("Nobody's authority")?;
        Ok(Self {
            issuer: Issuer::from_ca_cert_pem(&shown(&pem)?, made)?,
            other: Issuer::from_ca_cert_pem(&other, other_key)?,
            pem,
        })
    }

    /// What a server for this host works with.
    pub(crate) fn server(&self, host: &str, tls: Tls) -> Result<Arc<ServerConfig>> {
        let versions: &[&SupportedProtocolVersion] = match tls {
            Tls::OnlyOld => &[&rustls::version::TLS12],
            Tls::Old => &[&rustls::version::TLS12, &rustls::version::TLS13],
            _ => &[&rustls::version::TLS13],
        };
        let (certificate, key) = self.issue(host, tls)?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)?;
        config.alpn_protocols = match tls {
            Tls::Http1 => vec![b"http/1.1".to_vec()],
            _ => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        };
        Ok(Arc::new(config))
    }

    fn issue(
        &self,
        host: &str,
        tls: Tls,
    ) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>)> {
        let host = match tls {
            Tls::OtherName => "another.invalid",
            _ => host,
        };
        let mut params = CertificateParams::new(vec![host.to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, host);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        if tls == Tls::Expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        }
        let issuer = match tls {
            Tls::Unknown => &self.other,
            _ => &self.issuer,
        };
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, issuer)?;
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        Ok((certificate.der().clone(), key.into()))
    }
}

/// A new authority's certificate, and its key.
fn new(name: &str) -> Result<(String, KeyPair)> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok((params.self_signed(&key)?.pem(), key))
}
