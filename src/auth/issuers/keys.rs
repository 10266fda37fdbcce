//! The public keys of an issuer, from its JWKS (RFC 7517).
//!
//! A key that is not for signatures, of a kind or size not used here, or malformed is skipped: an
//! issuer may have keys for others too. A set that is none, or has too many keys, is refused whole.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde::Deserialize;
use serde_json::Value;

use crate::auth::jwt::Algorithm;

/// Keys of one set.
const MOST_KEYS: usize = 100;
/// Identifiers of keys are no longer than this.
const LONGEST_ID: usize = 255;
/// Bits of a modulus.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;

/// A public key, and what it may have signed.
#[derive(Debug, Clone)]
pub(super) struct IssuerKey {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    pub(super) key: DecodingKey,
}

impl IssuerKey {
    /// Whether it may have signed with this algorithm.
    pub(super) fn fits(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

/// The keys of a set that can be used.
pub(super) fn read(body: &[u8]) -> Result<Vec<IssuerKey>, &'static str> {
    let set: Set = serde_json::from_slice(body).map_err(|_| "its keys are no JWKS")?;
    if set.keys.len() > MOST_KEYS {
        return Err("it has more than 100 keys");
    }
    Ok(set.keys.into_iter().filter_map(of_value).collect())
}

/// The key a token names, or the only one that fits where it names none.
pub(super) fn find<'a>(
    keys: &'a [IssuerKey],
    id: Option<&str>,
    algorithm: Algorithm,
) -> Option<&'a IssuerKey> {
    let mut fitting = keys.iter().filter(|key| key.fits(algorithm));
    match id {
        Some(_) => fitting.find(|key| key.id.as_deref() == id),
        None => fitting.next().filter(|_| fitting.next().is_none()),
    }
}

fn of_value(value: Value) -> Option<IssuerKey> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    let signs = jwk.purpose.as_deref().is_none_or(|it| it == "sig");
    let verifies = |ops: &Vec<String>| ops.iter().any(|it| it == "verify");
    let short = |id: &String| id.len() <= LONGEST_ID;
    if !signs || !jwk.key_ops.as_ref().is_none_or(verifies) || !jwk.kid.as_ref().is_none_or(short) {
        return None;
    }
    let (mut algorithms, key) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("EC", Some("P-256")) => (vec![Algorithm::ES256], point(&jwk, 32)?),
        ("EC", Some("P-384")) => (vec![Algorithm::ES384], point(&jwk, 48)?),
        ("OKP", Some("Ed25519")) => {
            let key = bytes(jwk.x.as_ref()).filter(|key| key.len() == 32)?;
            (vec![Algorithm::EdDSA], DecodingKey::from_ed_der(&key))
        }
        ("RSA", _) => (RSA.to_vec(), rsa(&jwk)?),
        _ => return None,
    };
    if let Some(named) = &jwk.alg {
        let named: Algorithm = named.parse().ok()?;
        algorithms.retain(|one| *one == named);
    }
    (!algorithms.is_empty()).then_some(IssuerKey {
        id: jwk.kid,
        algorithms,
        key,
    })
}

const RSA: [Algorithm; 6] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

/// A point on a curve, uncompressed.
fn point(jwk: &Jwk, size: usize) -> Option<DecodingKey> {
    let coordinate = |text| bytes(text).filter(|it| it.len() == size);
    let mut point = vec![4];
    point.extend(coordinate(jwk.x.as_ref())?);
    point.extend(coordinate(jwk.y.as_ref())?);
    Some(DecodingKey::from_ec_der(&point))
}

fn rsa(jwk: &Jwk) -> Option<DecodingKey> {
    let trimmed = |text| -> Option<Vec<u8>> {
        let bytes = bytes(text)?;
        Some(bytes.into_iter().skip_while(|byte| *byte == 0).collect())
    };
    let (n, e) = (trimmed(jwk.n.as_ref())?, trimmed(jwk.e.as_ref())?);
    let zeros = n.first()?.leading_zeros() as usize;
    RSA_BITS
        .contains(&(n.len() * 8 - zeros))
        .then(|| DecodingKey::from_rsa_raw_components(&n, &e))
}

fn bytes(text: Option<&String>) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text?.trim_end_matches('=')).ok()
}
