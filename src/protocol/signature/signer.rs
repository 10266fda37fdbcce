//! The private key of a domain. Its randomness is ring's.

use std::fmt;

use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;

use super::{Algorithm, KeyRecord, Selector, SignatureObject};

/// Signs with one key under one selector.
pub struct Signer {
    selector: Selector,
    key: Key,
    random: SystemRandom,
}

enum Key {
    Es256(Box<EcdsaKeyPair>),
    Rs256(Box<RsaKeyPair>),
}

/// Why a key or a message cannot be used for signing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignerFault {
    /// No PEM with a PKCS#8 key.
    #[error("holds no PRIVATE KEY section (PKCS#8 in PEM)")]
    Pem,
    /// A key of another kind or size.
    #[error("holds neither a P-256 key nor an RSA key of 2048 to 4096 bits")]
    Kind,
    /// The system gives no randomness.
    #[error("the key could not be used")]
    Failed,
}

impl Signer {
    /// Reads a private key: PKCS#8 in PEM, on P-256 or RSA. The key tells the algorithm.
    ///
    /// # Errors
    /// `Pem` or `Kind`.
    pub fn read(selector: Selector, pem: &str) -> Result<Self, SignerFault> {
        let der =
            PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| SignerFault::Pem)?;
        let der = der.secret_pkcs8_der();
        let random = SystemRandom::new();
        let ecdsa = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &random);
        let key = match (ecdsa, RsaKeyPair::from_pkcs8(der)) {
            (Ok(key), _) => Key::Es256(Box::new(key)),
            (_, Ok(key)) => Key::Rs256(Box::new(key)),
            _ => return Err(SignerFault::Kind),
        };
        Ok(Self {
            selector,
            key,
            random,
        })
    }

    /// The name of the key.
    #[must_use]
    pub const fn selector(&self) -> &Selector {
        &self.selector
    }

    /// What it signs with. ES256 takes some microseconds, RS256 half a millisecond and more.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        match self.key {
            Key::Es256(_) => Algorithm::Es256,
            Key::Rs256(_) => Algorithm::Rs256,
        }
    }

    /// The record to publish.
    #[must_use]
    pub fn record(&self) -> KeyRecord {
        let public = match &self.key {
            Key::Es256(key) => key.public_key().as_ref(),
            Key::Rs256(key) => key.public().as_ref(),
        };
        KeyRecord::of_bytes(self.algorithm(), public)
    }

    /// Signs canonical bytes.
    ///
    /// # Errors
    /// `Failed`: the system gives no randomness.
    pub fn sign(&self, canonical: &[u8]) -> Result<SignatureObject, SignerFault> {
        let value = match &self.key {
            Key::Es256(key) => {
                let made = key.sign(&self.random, canonical);
                made.map_err(|_| SignerFault::Failed)?.as_ref().to_vec()
            }
            Key::Rs256(key) => {
                let mut value = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &self.random, canonical, &mut value)
                    .map_err(|_| SignerFault::Failed)?;
                value
            }
        };
        let (algorithm, selector) = (self.algorithm(), self.selector.clone());
        Ok(SignatureObject::new(algorithm, selector, &value))
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({}, {})", self.selector, self.algorithm())
    }
}
