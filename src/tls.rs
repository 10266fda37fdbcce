//! TLS of this gateway's listeners: version 1.3 only, HTTP/2 and HTTP/1.1 by ALPN, a certificate that can be replaced.
//!
//! - Mail servers are older: [`TlsIdentity::mail_config`] takes version 1.2 too.
//! - [`TlsIdentity`] holds the certificate chain and key in use. [`TlsIdentity::reload`] reads the
//!   files again: the next handshake sees the new certificate, open connections live on.
//! - A reload that fails (a file unreadable, a key that does not match) changes nothing and says why.
//! - The cryptography is always ring's, named explicitly, so that no other crate's choice matters.
//! - Clients are asked for a certificate by [`TlsIdentity::asking_config`] only, and need not have one.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert, WantsServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ConfigBuilder, ServerConfig, WantsVerifier};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::protocol::Timestamp;

mod clients;
#[cfg(test)]
mod tests;

pub use clients::{ClientChains, Purpose, covers};

/// What is wrong with the certificate, the key or their files.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsFault {
    /// A file cannot be read.
    #[error("cannot read {}: {reason}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// The certificate file holds no certificate, or something that is none.
    #[error("{} holds no usable certificate: {reason}", file.display())]
    Certificate {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The key file holds no private key, or one that cannot be used.
    #[error("{} holds no usable private key: {reason}", file.display())]
    Key {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Certificate and key do not belong together.
    #[error("the key in {} does not belong to the certificate in {}", key.display(), certificate.display())]
    Mismatch {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        key: PathBuf,
    },
}

/// What a look at the files came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// The files hold what is in use already.
    Unchanged,
    /// A new certificate is in use.
    Replaced {
        /// When the new one expires.
        expires: Timestamp,
    },
}

/// The certificate this gateway shows, with its key. Cloning is cheap; all clones change together.
#[derive(Clone)]
pub struct TlsIdentity {
    shared: Arc<Shared>,
}

struct Shared {
    certificate_file: PathBuf,
    key_file: PathBuf,
    current: RwLock<Loaded>,
    /// The fault that was logged last, so that a broken file does not fill the log.
    complained: Mutex<Option<TlsFault>>,
}

#[derive(Clone)]
struct Loaded {
    key: Arc<CertifiedKey>,
    expires: Timestamp,
    files: Files,
}

#[derive(Clone, PartialEq, Eq)]
struct Files {
    certificate: Vec<u8>,
    key: Arc<[u8]>,
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TlsIdentity({})", self.shared.certificate_file.display())
    }
}

impl TlsIdentity {
    /// Reads a certificate chain and its key from PEM files.
    ///
    /// # Errors
    /// Names the file that cannot be used, or both when they do not belong together.
    pub fn load(certificate_file: &Path, key_file: &Path) -> Result<Self, TlsFault> {
        let files = Files::read(certificate_file, key_file)?;
        let loaded = Loaded::parse(files, certificate_file, key_file)?;
        Ok(Self {
            shared: Arc::new(Shared {
                certificate_file: certificate_file.to_owned(),
                key_file: key_file.to_owned(),
                current: RwLock::new(loaded),
                complained: Mutex::new(None),
            }),
        })
    }

    /// Reads the files again and takes them into use if they differ from what is in use.
    ///
    /// # Errors
    /// As [`TlsIdentity::load`]; the certificate in use stays.
    pub fn reload(&self) -> Result<Reload, TlsFault> {
        let shared = &self.shared;
        let files = Files::read(&shared.certificate_file, &shared.key_file)?;
        if files == shared.current().files {
            return Ok(Reload::Unchanged);
        }
        let loaded = Loaded::parse(files, &shared.certificate_file, &shared.key_file)?;
        let expires = loaded.expires;
        *shared
            .current
            .write()
            .unwrap_or_else(PoisonError::into_inner) = loaded;
        Ok(Reload::Replaced { expires })
    }

    /// When the certificate in use expires.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        self.shared.current().expires
    }

    /// Whether the certificate in use is valid for `host`, by its subject alternative names.
    #[must_use]
    pub fn covers(&self, host: &str) -> bool {
        let key = self.shared.current().key;
        let Some(Ok(certificate)) = key.cert.first().map(ParsedCertificate::try_from) else {
            return false;
        };
        ServerName::try_from(host)
            .is_ok_and(|name| rustls::client::verify_server_name(&certificate, &name).is_ok())
    }

    /// The configuration of a listener that shows this certificate, also after a reload.
    #[must_use]
    pub fn server_config(&self) -> Arc<ServerConfig> {
        self.config(|builder| builder.with_no_client_auth())
    }

    /// The same for a listener that asks clients for a certificate; see [`ClientChains`].
    #[must_use]
    pub fn asking_config(&self) -> Arc<ServerConfig> {
        self.config(|builder| builder.with_client_cert_verifier(clients::AnyClient::new()))
    }

    /// The same for the listener that takes mail: TLS 1.2 or newer, no ALPN.
    ///
    /// # Panics
    /// Never: ring's provider supports both versions.
    #[must_use]
    pub fn mail_config(&self) -> Arc<ServerConfig> {
        let config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .expect("ring's provider supports TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_cert_resolver(self.shared.clone());
        Arc::new(config)
    }

    fn config(
        &self,
        ask: impl FnOnce(
            ConfigBuilder<ServerConfig, WantsVerifier>,
        ) -> ConfigBuilder<ServerConfig, WantsServerCert>,
    ) -> Arc<ServerConfig> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("ring's provider supports TLS 1.3");
        let mut config = ask(builder).with_cert_resolver(self.shared.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Arc::new(config)
    }

    /// Keeps the certificate fresh: looks at the files every `interval` and whenever `reloads` changes, until `stop`.
    pub async fn keep_fresh(
        self,
        interval: Duration,
        mut reloads: watch::Receiver<u64>,
        clock: Clock,
        stop: CancellationToken,
    ) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = clock.wait(interval) => {}
                Ok(()) = reloads.changed() => {}
            }
            self.refresh();
        }
    }

    /// Reloads and logs what came of it; one fault is logged once, however often it is met.
    fn refresh(&self) {
        let outcome = self.reload();
        let mut complained = self
            .shared
            .complained
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(Reload::Unchanged) => *complained = None,
            Ok(Reload::Replaced { expires }) => {
                *complained = None;
                tracing::info!(tls.certificate.expires = %expires, "certificate replaced");
            }
            Err(fault) if complained.as_ref() == Some(&fault) => {}
            Err(fault) => {
                tracing::error!(error = %fault, "certificate not replaced, the old one stays");
                *complained = Some(fault);
            }
        }
    }
}

/// The one provider of cryptography in this process.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

impl Shared {
    fn current(&self) -> Loaded {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "certificate of {}", self.certificate_file.display())
    }
}

impl ResolvesServerCert for Shared {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(
            self.current
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .key
                .clone(),
        )
    }
}

impl Files {
    fn read(certificate: &Path, key: &Path) -> Result<Self, TlsFault> {
        Ok(Self {
            certificate: read(certificate)?,
            key: read(key)?.into(),
        })
    }
}

fn read(file: &Path) -> Result<Vec<u8>, TlsFault> {
    std::fs::read(file).map_err(|fault| TlsFault::Unreadable {
        file: file.to_owned(),
        reason: fault.to_string(),
    })
}

impl Loaded {
    fn parse(files: Files, certificate_file: &Path, key_file: &Path) -> Result<Self, TlsFault> {
        let bad_certificate = |reason: String| TlsFault::Certificate {
            file: certificate_file.to_owned(),
            reason,
        };
        let bad_key = |reason: String| TlsFault::Key {
            file: key_file.to_owned(),
            reason,
        };
        let chain = CertificateDer::pem_slice_iter(&files.certificate)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|fault| bad_certificate(fault.to_string()))?;
        let leaf = chain
            .first()
            .ok_or_else(|| bad_certificate("no CERTIFICATE section".into()))?;
        let expires = expiry(leaf).map_err(bad_certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&files.key)
            .map_err(|fault| bad_key(fault.to_string()))?;
        let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|fault| match fault {
            rustls::Error::InconsistentKeys(_) => TlsFault::Mismatch {
                certificate: certificate_file.to_owned(),
                key: key_file.to_owned(),
            },
            other => bad_key(other.to_string()),
        })?;
        Ok(Self {
            key: Arc::new(key),
            expires,
            files,
        })
    }
}

fn expiry(leaf: &CertificateDer<'_>) -> Result<Timestamp, String> {
    let (_, certificate) =
        x509_parser::parse_x509_certificate(leaf).map_err(|fault| fault.to_string())?;
    let seconds = certificate.validity().not_after.timestamp();
    Ok(Timestamp::from_millis(seconds.saturating_mul(1_000)))
}
