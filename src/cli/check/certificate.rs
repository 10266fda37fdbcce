//! The certificate of the listeners: does it fit its key, the gateway's name and the day?

use std::time::Duration;

use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use crate::config::Tls;
use crate::protocol::Timestamp;

/// Renewal should have happened by then.
const SOON: Duration = Duration::from_secs(14 * 86_400);

const CERTIFICATE: &str = "tls.cert_file";
const KEY: &str = "tls.key_file";

/// Key of the configuration and text of what is wrong.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) faults: Vec<(&'static str, String)>,
    pub(super) warnings: Vec<(&'static str, String)>,
}

/// Looks at certificate and key as the listeners will use them.
pub(super) fn inspect(tls: &Tls, host: &str, now: Timestamp) -> Found {
    let mut found = Found::default();
    let chain = read_chain(tls).map_err(|text| found.faults.push((CERTIFICATE, text)));
    let key = PrivateKeyDer::from_pem_file(&tls.key_file).map_err(|error| {
        let text = format!(
            "{} holds no usable private key: {error}",
            tls.key_file.display()
        );
        found.faults.push((KEY, text));
    });
    let Ok(chain) = chain else {
        return found;
    };
    found.at_leaf(&chain[0], host, now);
    if let Ok(key) = key {
        found.at_pair(chain, key);
    }
    found
}

fn read_chain(tls: &Tls) -> Result<Vec<CertificateDer<'static>>, String> {
    let file = tls.cert_file.display();
    let unusable = |reason: String| format!("{file} holds no usable certificate: {reason}");
    let chain: Vec<_> = CertificateDer::pem_file_iter(&tls.cert_file)
        .and_then(Iterator::collect)
        .map_err(|error| unusable(error.to_string()))?;
    if chain.is_empty() {
        return Err(unusable("there is no CERTIFICATE block".to_owned()));
    }
    Ok(chain)
}

impl Found {
    fn at_leaf(&mut self, leaf: &CertificateDer<'_>, host: &str, now: Timestamp) {
        let Ok(certificate) = ParsedCertificate::try_from(leaf) else {
            let text = "the first certificate of the file is not a server's".to_owned();
            return self.faults.push((CERTIFICATE, text));
        };
        let name = ServerName::try_from(host);
        let covered =
            name.is_ok_and(|name| rustls::client::verify_server_name(&certificate, &name).is_ok());
        if !covered {
            let text = format!("the certificate does not cover {host}, the host of gateway_url");
            self.faults.push((CERTIFICATE, text));
        }
        if let Ok((_, parsed)) = x509_parser::parse_x509_certificate(leaf) {
            let validity = parsed.validity();
            let moment = |seconds: i64| Timestamp::from_millis(seconds.saturating_mul(1_000));
            let from = moment(validity.not_before.timestamp());
            self.at_days(from, moment(validity.not_after.timestamp()), now);
        }
    }

    fn at_days(&mut self, from: Timestamp, to: Timestamp, now: Timestamp) {
        if now < from {
            let text = format!("the certificate is not valid before {from}");
            self.faults.push((CERTIFICATE, text));
        } else if now >= to {
            let text = format!("the certificate expired on {to}; renew it");
            self.faults.push((CERTIFICATE, text));
        } else if to.since(now) < SOON {
            let text = format!("the certificate expires on {to}; renew it");
            self.warnings.push((CERTIFICATE, text));
        }
    }

    fn at_pair(&mut self, chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) {
        let provider = rustls::crypto::ring::default_provider();
        let text = match CertifiedKey::from_der(chain, key, &provider) {
            Ok(_) => return,
            Err(rustls::Error::InconsistentKeys(_)) => {
                "the key does not belong to the certificate in tls.cert_file".to_owned()
            }
            Err(error) => format!("the key cannot be used: {error}"),
        };
        self.faults.push((KEY, text));
    }
}
