//! Signatures of mail (DKIM, RFC 6376 and RFC 8463), by one key or by two.

use mail_auth::common::crypto::{Ed25519Key, RsaKey, Sha256, SigningKey};
use mail_auth::dkim::{DkimSigner, Done};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;

use crate::config::{Dkim, Secret};
use crate::protocol::{Domain, Selector};

/// What is signed, where it is there. `From` stands twice: nobody can add another.
const FIELDS: [&str; 18] = [
    "From",
    "From",
    "To",
    "Subject",
    "Subject",
    "Date",
    "Message-ID",
    "Reply-To",
    "In-Reply-To",
    "References",
    "Auto-Submitted",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "X-AMTP-Message-ID",
    "X-AMTP-Schema",
    "X-AMTP-Sender",
    "X-AMTP-Hops",
];

/// Signs mail of our domains. Cheap to clone it is not: share it.
pub struct MailSigner {
    keys: Vec<(Selector, Secret)>,
}

/// A mail that cannot be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the mail cannot be signed: {0}")]
pub struct SignFault(String);

impl MailSigner {
    /// Signs with the keys of the configuration.
    #[must_use]
    pub fn new(dkim: &Dkim) -> Self {
        let second = dkim.second_selector.clone().zip(dkim.second_key.clone());
        let first = (dkim.selector.clone(), dkim.key.clone());
        Self {
            keys: std::iter::once(first).chain(second).collect(),
        }
    }

    /// The header fields to put before a mail.
    ///
    /// # Errors
    /// A key does not sign.
    pub fn sign(&self, mail: &[u8], domain: &Domain) -> Result<String, SignFault> {
        let mut fields = String::new();
        for (selector, key) in &self.keys {
            fields += &signature(mail, (domain, selector), key)?;
        }
        Ok(fields)
    }
}

fn signature(
    mail: &[u8],
    (domain, selector): (&Domain, &Selector),
    key: &Secret,
) -> Result<String, SignFault> {
    let fault = |error: &dyn std::fmt::Display| SignFault(error.to_string());
    let key = PrivateKeyDer::from_pem_slice(key.reveal().as_bytes()).map_err(|it| fault(&it))?;
    if let PrivateKeyDer::Pkcs8(der) = &key
        && let Ok(key) = Ed25519Key::from_pkcs8_maybe_unchecked_der(der.secret_pkcs8_der())
    {
        return written(&signer(key, domain, selector), mail);
    }
    let key = RsaKey::<Sha256>::from_key_der(key).map_err(|it| fault(&it))?;
    written(&signer(key, domain, selector), mail)
}

fn signer<K: SigningKey>(key: K, domain: &Domain, selector: &Selector) -> DkimSigner<K, Done> {
    DkimSigner::from_key(key)
        .domain(domain.as_str())
        .selector(selector.to_string())
        .headers(FIELDS)
}

/// The field with its line end.
fn written<K: SigningKey>(signer: &DkimSigner<K, Done>, mail: &[u8]) -> Result<String, SignFault> {
    let signature = signer.sign(mail).map_err(|it| SignFault(it.to_string()))?;
    Ok(mail_auth::common::headers::HeaderWriter::to_header(
        &signature,
    ))
}
