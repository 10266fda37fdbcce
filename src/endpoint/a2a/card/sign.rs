//! Signatures of cards: JWS over the card in the canonical form of RFC 8785 (A2A 1.0, section 8.4).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
#[cfg(test)]
use ring::signature::KeyPair as _;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};
use thiserror::Error;

use crate::protocol::json::signed_text;

/// A key that signs cards, on the curve P-256.
pub(in crate::endpoint::a2a) struct CardKey {
    id: String,
    /// Where the public halves are.
    set: String,
    pair: EcdsaKeyPair,
}

/// A card that cannot be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(in crate::endpoint::a2a) enum CardKeyFault {
    /// The key is none.
    #[error("the key that signs cards is no P-256 key in PKCS#8")]
    Key,
    /// The card has no canonical form, or the random source fails.
    #[error("a card could not be signed")]
    Card,
}

impl CardKey {
    /// A key in PKCS#8. `set` is the URL of the public halves.
    pub(in crate::endpoint::a2a) fn new(
        (id, set): (&str, &str),
        pkcs8: &[u8],
    ) -> Result<Self, CardKeyFault> {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &random);
        Ok(Self {
            id: id.to_owned(),
            set: set.to_owned(),
            pair: pair.map_err(|_| CardKeyFault::Key)?,
        })
    }

    /// The public half as a member of a JWKS.
    #[cfg(test)]
    pub(in crate::endpoint::a2a) fn published(&self) -> Value {
        // An uncompressed point: a mark, then both coordinates.
        let point = self.pair.public_key().as_ref();
        let coordinate = |place| URL_SAFE_NO_PAD.encode(point.get(place).unwrap_or_default());
        json!({
            "kty": "EC",
            "crv": "P-256",
            "kid": self.id,
            "use": "sig",
            "alg": "ES256",
            "x": coordinate(1..33),
            "y": coordinate(33..65),
        })
    }

    /// The card with its signature.
    pub(super) fn sign(&self, card: &str) -> Result<String, CardKeyFault> {
        let fault = |_| CardKeyFault::Card;
        let header = json!({"alg": "ES256", "kid": self.id, "typ": "JOSE", "jku": self.set});
        let protected = URL_SAFE_NO_PAD.encode(header.to_string());
        let payload = signed_text(card.as_bytes(), "signatures").map_err(|_| CardKeyFault::Card)?;
        let signed = format!("{protected}.{}", URL_SAFE_NO_PAD.encode(payload));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes());
        let signature = URL_SAFE_NO_PAD.encode(signature.map_err(fault)?);
        let mut card: Value = serde_json::from_str(card).map_err(|_| CardKeyFault::Card)?;
        card["signatures"] = json!([{"protected": protected, "signature": signature}]);
        Ok(card.to_string())
    }
}

impl std::fmt::Debug for CardKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CardKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
