//! Certificates: do they fit their keys, the gateway's name and the day? Are there any?

use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use crate::protocol::Timestamp;

/// Renewal should have happened by then.
const SOON: Duration = Duration::from_secs(14 * 86_400);

/// A file of the configuration.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named<'a> {
    /// The key of the configuration that names it.
    pub(super) key: &'a str,
    pub(super) file: &'a Path,
}

/// Key of the configuration and text of what is wrong.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) faults: Vec<(String, String)>,
    pub(super) warnings: Vec<(String, String)>,
}

/// Looks at a certificate and its key as connections will use them. `host` is what it must cover.
pub(super) fn inspect(
    certificate: Named<'_>,
    key: Named<'_>,
    host: Option<&str>,
    now: Timestamp,
) -> Found {
    let mut found = Found::default();
    let chain = read_chain(certificate.file).map_err(|text| found.fault(certificate, text));
    let secret = PrivateKeyDer::from_pem_file(key.file).map_err(|error| {
        let file = key.file.display();
        found.fault(key, format!("{file} holds no usable private key: {error}"));
    });
    let Ok(chain) = chain else {
        return found;
    };
    found.at_leaf(certificate, &chain[0], host, now);
    if let Ok(secret) = secret {
        found.at_pair(certificate, key, (chain, secret));
    }
    found
}

/// Looks at certificates of authorities as connections will use them.
pub(super) fn inspect_authorities(authorities: Named<'_>) -> Found {
    let mut found = Found::default();
    let mut store = RootCertStore::empty();
    let added = read_chain(authorities.file).and_then(|chain| {
        let mut chain = chain.into_iter();
        chain.try_for_each(|certificate| {
            let added = store.add(certificate);
            added.map_err(|error| unusable(authorities.file, &error))
        })
    });
    if let Err(text) = added {
        found.fault(authorities, text);
    }
    found
}

fn read_chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|error| unusable(file, &error))?;
    if chain.is_empty() {
        return Err(unusable(file, &"there is no CERTIFICATE block"));
    }
    Ok(chain)
}

fn unusable(file: &Path, reason: &dyn Display) -> String {
    format!("{} holds no usable certificate: {reason}", file.display())
}

impl Found {
    fn fault(&mut self, named: Named<'_>, text: String) {
        self.faults.push((named.key.to_owned(), text));
    }

    fn at_leaf(
        &mut self,
        named: Named<'_>,
        leaf: &CertificateDer<'_>,
        host: Option<&str>,
        now: Timestamp,
    ) {
        let Ok(certificate) = ParsedCertificate::try_from(leaf) else {
            let text = "the first certificate of the file is not one to be shown".to_owned();
            return self.fault(named, text);
        };
        let covers = |host: &str| {
            ServerName::try_from(host)
                .is_ok_and(|name| rustls::client::verify_server_name(&certificate, &name).is_ok())
        };
        if let Some(host) = host.filter(|host| !covers(host)) {
            let text = format!("the certificate does not cover {host}, the host of gateway_url");
            self.fault(named, text);
        }
        if let Ok((_, parsed)) = x509_parser::parse_x509_certificate(leaf) {
            let validity = parsed.validity();
            let moment = |seconds: i64| Timestamp::from_millis(seconds.saturating_mul(1_000));
            let from = moment(validity.not_before.timestamp());
            self.at_days(named, from, moment(validity.not_after.timestamp()), now);
        }
    }

    fn at_days(&mut self, named: Named<'_>, from: Timestamp, to: Timestamp, now: Timestamp) {
        if now < from {
            self.fault(named, format!("the certificate is not valid before {from}"));
        } else if now >= to {
            let text = format!("the certificate expired on {to}; renew it");
            self.fault(named, text);
        } else if to.since(now) < SOON {
            let text = format!("the certificate expires on {to}; renew it");
            self.warnings.push((named.key.to_owned(), text));
        }
    }

    fn at_pair(
        &mut self,
        certificate: Named<'_>,
        key: Named<'_>,
        (chain, secret): (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>),
    ) {
        let provider = rustls::crypto::ring::default_provider();
        let text = match CertifiedKey::from_der(chain, secret, &provider) {
            Ok(_) => return,
            Err(rustls::Error::InconsistentKeys(_)) => {
                format!(
                    "the key does not belong to the certificate in {}",
                    certificate.key
                )
            }
            Err(error) => format!("the key cannot be used: {error}"),
        };
        self.fault(key, text);
    }
}
