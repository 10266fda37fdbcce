//! Signing keys of other domains (AMTP 1.0, section 9.3), and the check of signatures.

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};

/// What stands before the point of a P-256 key in its SPKI.
const P256_HEAD: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// What stands before the key in the SPKI of an RSA key of 2048 bits with the exponent 65537.
const RSA_HEAD: [u8; 24] = [
    0x30, 0x82, 0x01, 0x22, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01,
    0x01, 0x05, 0x00, 0x03, 0x82, 0x01, 0x0f, 0x00,
];
/// The RSA key of all domains here; of no use anywhere else. Making one takes too long.
const RSA_KEY: &[u8] = include_bytes!("../../data/rs256-test-key.pem");

/// Which kind of key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyKind {
    Es256,
    Rs256,
}

/// A key that signs for a domain.
pub(crate) struct DomainKey {
    secret: Secret,
    selector: String,
}

enum Secret {
    Es256(Box<EcdsaKeyPair>),
    Rs256(Box<RsaKeyPair>),
}

impl DomainKey {
    pub(crate) fn new(kind: KeyKind, selector: &str) -> Result<Self> {
        let random = SystemRandom::new();
        let secret = match kind {
            KeyKind::Es256 => {
                let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
                let key = EcdsaKeyPair::generate_pkcs8(algorithm, &random).ok();
                let key = key.context("no key could be made")?;
                let key = EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &random).ok();
                Secret::Es256(Box::new(
                    key.context("the key that was made cannot be read")?,
                ))
            }
            KeyKind::Rs256 => {
                let der = PrivatePkcs8KeyDer::from_pem_slice(RSA_KEY)?;
                let key = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).ok();
                Secret::Rs256(Box::new(key.context("the RSA key cannot be read")?))
            }
        };
        Ok(Self {
            secret,
            selector: selector.to_owned(),
        })
    }

    const fn algorithm(&self) -> &'static str {
        match self.secret {
            Secret::Es256(_) => "ES256",
            Secret::Rs256(_) => "RS256",
        }
    }

    /// The text of its key record.
    pub(crate) fn record(&self) -> String {
        let spki = match &self.secret {
            Secret::Es256(key) => [&P256_HEAD[..], key.public_key().as_ref()].concat(),
            Secret::Rs256(key) => [&RSA_HEAD[..], key.public_key().as_ref()].concat(),
        };
        let spki = STANDARD.encode(spki);
        format!("v=amtpkey1;alg={};p={spki}", self.algorithm())
    }

    /// The name of its key record.
    pub(crate) fn name(&self, domain: &str) -> String {
        format!("{}._amtpkey.{domain}", self.selector)
    }

    /// The signature of a message that has none.
    pub(crate) fn signature(&self, message: &Value) -> Result<Value> {
        let input = serde_json_canonicalizer::to_vec(message)?;
        let random = SystemRandom::new();
        let value = match &self.secret {
            Secret::Es256(key) => key
                .sign(&random, &input)
                .ok()
                .context("signing")?
                .as_ref()
                .to_vec(),
            Secret::Rs256(key) => {
                let mut value = vec![0; key.public().modulus_len()];
                let signed = key.sign(&RSA_PKCS1_SHA256, &random, &input, &mut value);
                signed.ok().context("signing")?;
                value
            }
        };
        let value = URL_SAFE_NO_PAD.encode(value);
        Ok(json!({ "algorithm": self.algorithm(), "keyid": self.selector, "value": value }))
    }

    /// The message with its signature.
    pub(crate) fn signed(&self, message: &Value) -> Result<Value> {
        let mut signed = message.clone();
        signed["signature"] = self.signature(message)?;
        Ok(signed)
    }
}

/// Fails where a message is not signed by the key of this record.
pub(crate) fn check(body: &[u8], record: &str) -> Result<()> {
    let mut message: Value = serde_json::from_slice(body)?;
    let signature = message
        .as_object_mut()
        .and_then(|it| it.remove("signature"));
    let signature = signature.context("it is not signed")?;
    let members: Vec<_> = signature
        .as_object()
        .into_iter()
        .flat_map(|it| it.keys())
        .collect();
    ensure!(
        members == ["algorithm", "keyid", "value"],
        "signature has {members:?}"
    );
    let parameter = |name: &str| {
        let mut parts = record.split(';').filter_map(|part| part.split_once('='));
        let found = parts.find(|(key, _)| key.trim() == name);
        let value = found.map(|(_, value)| value.trim().to_owned());
        value.with_context(|| format!("no {name} in {record}"))
    };
    let algorithm = parameter("alg")?;
    ensure!(
        signature["algorithm"] == algorithm.as_str(),
        "signed by {}",
        signature["algorithm"]
    );
    let spki = STANDARD.decode(parameter("p")?)?;
    let value = URL_SAFE_NO_PAD.decode(signature["value"].as_str().unwrap_or_default())?;
    let input = serde_json_canonicalizer::to_vec(&message)?;
    let fits = match algorithm.as_str() {
        "ES256" => {
            let key = spki.get(P256_HEAD.len()..).context("a short key")?;
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key).verify(&input, &value)
        }
        "RS256" => {
            let key = spki.get(RSA_HEAD.len()..).context("a short key")?;
            UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key).verify(&input, &value)
        }
        other => bail!("alg={other}"),
    };
    fits.ok().context("the signature does not fit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_fits_and_anything_else_does_not() {
        for kind in [KeyKind::Es256, KeyKind::Rs256] {
            let key = DomainKey::new(kind, "k1").unwrap();
            let message = json!({ "sender": "a@b.test", "payload": { "z": 1, "a": [29.99, "é"] } });
            let mut signed = key.signed(&message).unwrap();
            check(signed.to_string().as_bytes(), &key.record()).unwrap();
            signed["payload"]["z"] = json!(2);
            assert!(check(signed.to_string().as_bytes(), &key.record()).is_err());
            assert!(check(message.to_string().as_bytes(), &key.record()).is_err());
        }
    }

    #[test]
    fn the_vector_of_the_protocol_fits() {
        let message = json!({
            "idempotency_key": "01234567-89ab-4cde-8123-456789abcdef",
            "message_id": "01987654-3210-7654-8765-432198765432",
            "payload": { "currency": "USD", "order_id": "ORD-42", "total": 125.5 },
            "recipients": ["payments@receiver.example"], "schema": "agntcy:commerce.order.v1",
            "sender": "orders@sender.example", "subject": "Invoice 42",
            "timestamp": "2026-08-14T10:30:00Z", "version": "1.0", "workflow_id": "",
            "signature": { "algorithm": "ES256", "keyid": "k1", "value":
                "bc8fAWBRx5g0TV_qaxTtebCp2pnFtHGW5jr1gjbwQbdkIBMOgugK6nBKx6E7JHU5z1izKHXyeJuObTDgWD7M4w" },
        });
        let record = "v=amtpkey1;alg=ES256;p=MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEfpvYdVJA70+GxjSPOWOfg7qrGPtSeYI/NmiS816KhmEMPCeB7a4+eGO0d5cPQhV50sVgA8/s1EcPxToOqhxqlQ==";
        check(message.to_string().as_bytes(), record).unwrap();
    }
}
