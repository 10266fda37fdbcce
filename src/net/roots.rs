//! Whose certificates are believed, and which one we show.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;

/// A file of certificates or keys that cannot be used.
#[derive(Debug, Clone, Error)]
#[error("{}: {cause}", path.display())]
pub struct FileFault {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    pub cause: String,
}

fn fault(path: &Path, cause: impl ToString) -> FileFault {
    FileFault {
        path: path.to_owned(),
        cause: cause.to_string(),
    }
}

/// The certificates of a PEM file; at least one.
pub(super) fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, FileFault> {
    let certificates = CertificateDer::pem_file_iter(path)
        .map_err(|error| fault(path, error))?
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| fault(path, error))?;
    if certificates.is_empty() {
        return Err(fault(path, "holds no certificate"));
    }
    Ok(certificates)
}

/// Adds the certificates of PEM files to those believed.
pub(super) fn add(roots: &mut RootCertStore, path: &Path) -> Result<(), FileFault> {
    for certificate in read(path)? {
        roots.add(certificate).map_err(|error| fault(path, error))?;
    }
    Ok(())
}

/// Those the system believes: where OpenSSL looks, or where `SSL_CERT_FILE` and `SSL_CERT_DIR`
/// say. A system that believes nobody is no fault: there may be files.
pub(super) fn of_system() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for fault in &found.errors {
        tracing::warn!(error = %fault, "some of the system's certificates cannot be read");
    }
    roots.add_parsable_certificates(found.certs);
    roots
}

/// Those of these PEM files; nobody where there is none.
///
/// # Errors
/// A file cannot be used.
pub fn authorities(files: &[PathBuf]) -> Result<RootCertStore, FileFault> {
    let mut roots = RootCertStore::empty();
    for file in files {
        add(&mut roots, file)?;
    }
    Ok(roots)
}

/// Those the system believes of servers, and those of these PEM files.
///
/// # Errors
/// A file cannot be used.
pub fn authorities_of_servers(files: &[PathBuf]) -> Result<RootCertStore, FileFault> {
    let mut roots = of_system();
    for file in files {
        add(&mut roots, file)?;
    }
    Ok(roots)
}

/// A client's TLS configuration over ring.
pub(super) fn config(
    versions: &[&'static SupportedProtocolVersion],
    roots: RootCertStore,
    identity: Option<&(PathBuf, PathBuf)>,
) -> Result<ClientConfig, FileFault> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .expect("ring's provider supports TLS 1.2 and 1.3")
        .with_root_certificates(roots);
    match identity {
        None => Ok(builder.with_no_client_auth()),
        Some((certificate, key)) => {
            let chain = read(certificate)?;
            let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| fault(key, error))?;
            builder
                .with_client_auth_cert(chain, secret)
                .map_err(|error| fault(key, error))
        }
    }
}
