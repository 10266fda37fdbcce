//! Domain signatures: who signed a message, over what, and with which key (AMTP 1.0, section 9.3).
//!
//! - What is signed is the body that is sent, without its member `signature`, as RFC 8785 writes it.
//!   A body that RFC 8785 would change the meaning of cannot be signed ([`canonical`]).
//! - The member `signature` has exactly `algorithm`, `keyid` and `value`. `keyid` is a [`Selector`]:
//!   one label, so that nobody can steer our question to the DNS elsewhere.
//! - The key is the one that the sender's domain publishes under the selector ([`KeyRecord`]). Its
//!   record says the algorithm; a signature that says another one is invalid.
//! - A signed message carries its own `version`, `message_id`, `idempotency_key` and `timestamp`, and
//!   is not older than keys of idempotency are remembered: nobody can play it again later.

mod der;
mod record;
mod signer;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::signature::{ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

use super::json::{NotSignable, scan_object, signed_text, string_of, write_string};
use super::message::is_absent;
use super::text_serde::text_serde;
use super::{Domain, Message, Timestamp};

pub use record::{KeyRecord, KeyRecordFault};
pub use signer::{Signer, SignerFault};

/// How old a signed message may be: the seven days it is tried, and a day for clocks and the last attempt.
pub const OLDEST: Duration = Duration::from_secs(8 * 86_400);
/// How far ahead of our clock it may be.
pub const AHEAD: Duration = Duration::from_secs(600);
/// Bytes of an ES256 signature.
const ES256_BYTES: usize = 64;
/// Bytes of an RS256 signature: those of the key's modulus.
const RS256_BYTES: std::ops::RangeInclusive<usize> = 256..=1_024;

/// How a signature is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256, R and S side by side.
    Es256,
    /// RSA, PKCS#1 v1.5, with SHA-256.
    Rs256,
}

impl Algorithm {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = SignatureFault;

    fn from_str(word: &str) -> Result<Self, SignatureFault> {
        match word {
            "ES256" => Ok(Self::Es256),
            "RS256" => Ok(Self::Rs256),
            _ => Err(SignatureFault::Algorithm),
        }
    }
}

/// The name of a key: one label of the DNS in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Selector(Box<str>);

impl Selector {
    /// Checks a selector.
    ///
    /// # Errors
    /// It is not 1 to 63 of `a-z`, `0-9` and inner hyphens.
    pub fn parse(text: &str) -> Result<Self, SignatureFault> {
        let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        let edge = text.starts_with('-') || text.ends_with('-');
        if (1..=63).contains(&text.len()) && text.bytes().all(plain) && !edge {
            return Ok(Self(text.into()));
        }
        Err(SignatureFault::Selector)
    }

    /// The label.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where the key of a domain stands in the DNS.
    #[must_use]
    pub fn name_in(&self, domain: &Domain) -> String {
        format!("{}._amtpkey.{}", self.0, domain.as_str())
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Selector {
    type Err = SignatureFault;

    fn from_str(text: &str) -> Result<Self, SignatureFault> {
        Self::parse(text)
    }
}

text_serde!(Selector);

/// Why a signature does not count. For logs: the other side hears a code only.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureFault {
    /// The member is no object of exactly three strings.
    #[error("the signature is not an object of exactly algorithm, keyid and value")]
    Shape,
    /// `algorithm` is none we take.
    #[error("the algorithm is neither ES256 nor RS256")]
    Algorithm,
    /// `keyid` is no single label.
    #[error("the selector is not 1 to 63 of a-z 0-9 and inner hyphens")]
    Selector,
    /// `value` is no signature of its algorithm.
    #[error("the value is not base64url without padding of a signature's size")]
    Value,
    /// A member that a signed message must carry is missing; holds its name.
    #[error("the signed message has no {0}")]
    Missing(&'static str),
    /// The message is older than [`OLDEST`].
    #[error("the signed message is too old")]
    Stale,
    /// The message is further ahead than [`AHEAD`].
    #[error("the signed message is from the future")]
    Ahead,
    /// The body cannot be signed, so this is no signature of it.
    #[error(transparent)]
    Body(#[from] NotSignable),
    /// The key is for the other algorithm.
    #[error("the key is for another algorithm")]
    Confused,
    /// The signature is not the key's over this body.
    #[error("the signature does not fit the message")]
    Forged,
}

/// What the member `signature` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureObject {
    /// How it was made.
    pub algorithm: Algorithm,
    /// The key's name.
    pub keyid: Selector,
    value: Box<[u8]>,
}

impl SignatureObject {
    /// Reads the raw JSON of the member. Asks nobody.
    ///
    /// # Errors
    /// `Shape`, `Algorithm`, `Selector`, `Value`, in this order.
    pub fn read(raw: &str) -> Result<Self, SignatureFault> {
        let members = scan_object(raw.as_bytes()).map_err(|_| SignatureFault::Shape)?;
        let find = |wanted: &str| {
            let (_, place) = members.iter().find(|(name, _)| name == wanted)?;
            string_of(&raw[place.clone()])
        };
        let (Some(algorithm), Some(keyid), Some(value), 3) = (
            find("algorithm"),
            find("keyid"),
            find("value"),
            members.len(),
        ) else {
            return Err(SignatureFault::Shape);
        };
        let algorithm: Algorithm = algorithm.parse()?;
        Ok(Self {
            algorithm,
            keyid: Selector::parse(&keyid)?,
            value: value_of(algorithm, &value)?,
        })
    }

    /// A signature that was made.
    fn new(algorithm: Algorithm, keyid: Selector, value: &[u8]) -> Self {
        Self {
            algorithm,
            keyid,
            value: value.into(),
        }
    }

    /// The raw JSON of the member.
    #[must_use]
    pub fn to_json(&self) -> String {
        let value = BASE64_URL_SAFE_NO_PAD.encode(&self.value);
        format!(
            r#"{{"algorithm":"{}","keyid":"{}","value":"{value}"}}"#,
            self.algorithm, self.keyid
        )
    }
}

fn value_of(algorithm: Algorithm, text: &str) -> Result<Box<[u8]>, SignatureFault> {
    // Four characters stand for three bytes; a longer text is not even decoded.
    if text.len() > RS256_BYTES.end().div_ceil(3) * 4 {
        return Err(SignatureFault::Value);
    }
    let value = BASE64_URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| SignatureFault::Value)?;
    let fits = match algorithm {
        Algorithm::Es256 => value.len() == ES256_BYTES,
        Algorithm::Rs256 => RS256_BYTES.contains(&value.len()),
    };
    if fits {
        Ok(value.into())
    } else {
        Err(SignatureFault::Value)
    }
}

/// The bytes that are signed for a body.
///
/// # Errors
/// The body is no strict JSON object, or holds a number that RFC 8785 would change.
pub fn canonical(body: &[u8]) -> Result<Vec<u8>, NotSignable> {
    signed_text(body, "signature")
}

/// Whether a body can be signed at all.
#[must_use]
pub fn signable(body: &[u8]) -> bool {
    canonical(body).is_ok()
}

/// Whether a message of this time may be signed, or believed for its signature, now.
///
/// # Errors
/// `Stale` or `Ahead`.
pub fn timely(timestamp: Timestamp, now: Timestamp) -> Result<(), SignatureFault> {
    if timestamp.plus(OLDEST) < now {
        return Err(SignatureFault::Stale);
    }
    if timestamp > now.plus(AHEAD) {
        return Err(SignatureFault::Ahead);
    }
    Ok(())
}

/// Whether a signed message carries what it must, and is of our time.
///
/// # Errors
/// `Missing`, `Stale` or `Ahead`.
pub fn complete(message: &Message, now: Timestamp) -> Result<(), SignatureFault> {
    for name in ["version", "message_id", "idempotency_key", "timestamp"] {
        if message.member(name).is_none_or(is_absent) {
            return Err(SignatureFault::Missing(name));
        }
    }
    let timestamp = message
        .timestamp()
        .ok_or(SignatureFault::Missing("timestamp"))?;
    timely(timestamp, now)
}

/// Whether the owner of `key` made this signature over the canonical bytes.
///
/// # Errors
/// `Confused` or `Forged`.
pub fn verify(
    key: &KeyRecord,
    signature: &SignatureObject,
    canonical: &[u8],
) -> Result<(), SignatureFault> {
    if key.algorithm() != signature.algorithm {
        return Err(SignatureFault::Confused);
    }
    let verified = match signature.algorithm {
        Algorithm::Es256 => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.bytes())
            .verify(canonical, &signature.value),
        Algorithm::Rs256 => UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.bytes())
            .verify(canonical, &signature.value),
    };
    verified.map_err(|_| SignatureFault::Forged)
}

/// A body with a signature over it as its last member. The body is an object with members and without
/// a signature.
#[must_use]
pub fn attach(body: &[u8], signature: &str) -> Vec<u8> {
    let end = body.iter().rposition(|byte| *byte == b'}').unwrap_or(0);
    let mut signed = Vec::with_capacity(body.len() + signature.len() + 16);
    signed.extend_from_slice(&body[..end]);
    signed.push(b',');
    write_string("signature", &mut signed);
    signed.push(b':');
    signed.extend_from_slice(signature.as_bytes());
    signed.push(b'}');
    signed
}

#[cfg(test)]
mod tests;
