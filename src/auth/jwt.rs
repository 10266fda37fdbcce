//! Tokens in the form of RFC 7519: signing our own, checking ours and others'.
//!
//! The algorithm is never the token's choice: it must be among those its issuer may use, and fit the
//! key. `none` and the symmetric ones are not known here at all. Times are checked by our clock.

mod provider;

use std::collections::BTreeMap;
use std::time::Duration;

use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use crate::protocol::Timestamp;

pub(super) use jsonwebtoken::Algorithm;

/// A token longer than this is none.
const LONGEST: usize = 8 * 1024;

/// What a token says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Claims {
    pub(super) iss: String,
    #[serde(default)]
    pub(super) sub: Option<String>,
    pub(super) aud: Value,
    pub(super) exp: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) nbf: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) iat: Option<i64>,
    #[serde(flatten)]
    pub(super) others: BTreeMap<String, Value>,
}

/// Why a token is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum TokenFault {
    /// It is not in the form of a token.
    #[error("is no token")]
    Form,
    /// Another algorithm than its issuer may use.
    #[error("is signed by another algorithm than agreed")]
    Algorithm,
    /// The signature is not the key's.
    #[error("has a wrong signature")]
    Signature,
    /// Another issuer's, or for somebody else.
    #[error("is of another issuer or for another audience")]
    Purpose,
    /// Too late or too early.
    #[error("is over or not good yet")]
    Time,
}

/// What can be known of a token before it is believed.
pub(super) struct Glance {
    pub(super) key: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) issuer: String,
}

/// What must hold of a token.
pub(super) struct Demands<'a> {
    pub(super) issuer: &'a str,
    /// One of these must be meant.
    pub(super) audiences: &'a [String],
    pub(super) algorithms: &'a [Algorithm],
    /// How far clocks may differ.
    pub(super) skew: Duration,
    pub(super) now: Timestamp,
}

/// Whether a credential looks like a token.
pub(super) fn looks_like_one(credential: &str) -> bool {
    credential.len() <= LONGEST
        && credential.starts_with("ey")
        && credential.bytes().filter(|byte| *byte == b'.').count() == 2
}

/// Looks at a token that is not believed yet.
pub(super) fn glance(token: &str) -> Result<Glance, TokenFault> {
    #[derive(Deserialize)]
    struct Issuer {
        iss: String,
    }
    if !looks_like_one(token) {
        return Err(TokenFault::Form);
    }
    let seen = jsonwebtoken::dangerous::insecure_decode::<Issuer>(token);
    let seen = seen.map_err(|_| TokenFault::Form)?;
    Ok(Glance {
        key: seen.header.kid,
        algorithm: seen.header.alg,
        issuer: seen.claims.iss,
    })
}

/// Signs claims with a P-256 key in PKCS#8.
pub(super) fn sign(claims: &Claims, id: &str, key: &[u8]) -> Result<String, TokenFault> {
    provider::install();
    let mut header = Header::new(Algorithm::ES256);
    header.kid = Some(id.to_owned());
    jsonwebtoken::encode(&header, claims, &EncodingKey::from_ec_der(key))
        .map_err(|_| TokenFault::Signature)
}

/// What a token says, if it is good.
pub(super) fn verify(
    token: &str,
    key: &DecodingKey,
    demands: &Demands<'_>,
) -> Result<Claims, TokenFault> {
    use jsonwebtoken::errors::ErrorKind;
    provider::install();
    let mut validation = Validation::new(Algorithm::ES256);
    validation.algorithms = demands.algorithms.to_vec();
    validation.set_audience(demands.audiences);
    validation.set_issuer(&[demands.issuer]);
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    // By our own clock, below.
    validation.validate_exp = false;
    validation.validate_nbf = false;
    let decoded = jsonwebtoken::decode::<Claims>(token, key, &validation);
    let decoded = decoded.map_err(|error| match error.kind() {
        ErrorKind::InvalidAlgorithm | ErrorKind::UnsupportedAlgorithm => TokenFault::Algorithm,
        ErrorKind::InvalidSignature | ErrorKind::InvalidKeyFormat => TokenFault::Signature,
        ErrorKind::InvalidIssuer | ErrorKind::InvalidAudience => TokenFault::Purpose,
        _ => TokenFault::Form,
    })?;
    // No extension is known here, and these must be understood (RFC 7515, section 4.1.11).
    if decoded.header.crit.is_some() {
        return Err(TokenFault::Form);
    }
    let claims = decoded.claims;
    let skew = i64::try_from(demands.skew.as_secs()).unwrap_or(i64::MAX);
    let now = demands.now.as_millis() / 1_000;
    let over = claims.exp.saturating_add(skew) <= now;
    let begins = claims.nbf.into_iter().chain(claims.iat).max();
    let early = begins.is_some_and(|begin| begin.saturating_sub(skew) > now);
    if over || early {
        return Err(TokenFault::Time);
    }
    Ok(claims)
}

#[cfg(test)]
mod tests;
