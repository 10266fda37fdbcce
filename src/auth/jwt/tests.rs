use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::json;

use super::*;

const NOW: i64 = 1_800_000_000;

fn pair() -> (Vec<u8>, DecodingKey) {
    let random = SystemRandom::new();
    let private = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let private = private.as_ref().to_vec();
    let pair =
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &private, &random).unwrap();
    (
        private,
        DecodingKey::from_ec_der(pair.public_key().as_ref()),
    )
}

fn claims(exp: i64, nbf: Option<i64>, aud: Value) -> Claims {
    Claims {
        iss: "https://me".to_owned(),
        sub: Some("a@b.test".to_owned()),
        aud,
        exp,
        nbf,
        iat: None,
        others: BTreeMap::new(),
    }
}

fn check(token: &str, key: &DecodingKey) -> Result<(), TokenFault> {
    let demands = Demands {
        issuer: "https://me",
        audiences: &["us".to_owned()],
        algorithms: &[Algorithm::ES256],
        skew: Duration::from_secs(5),
        now: Timestamp::from_millis(NOW * 1_000),
    };
    verify(token, key, &demands).map(drop)
}

#[test]
fn a_token_is_good_for_its_time_and_audience() {
    let (private, public) = pair();
    for (claims, expected) in [
        (claims(NOW + 60, None, json!("us")), Ok(())),
        (claims(NOW + 60, None, json!(["them", "us"])), Ok(())),
        (claims(NOW - 4, None, json!("us")), Ok(())),
        (claims(NOW - 5, None, json!("us")), Err(TokenFault::Time)),
        (
            claims(NOW + 60, Some(NOW + 6), json!("us")),
            Err(TokenFault::Time),
        ),
        (claims(NOW + 60, Some(NOW + 5), json!("us")), Ok(())),
        (
            claims(NOW + 60, None, json!("them")),
            Err(TokenFault::Purpose),
        ),
        (claims(i64::MAX, None, json!("us")), Ok(())),
        (claims(i64::MIN, None, json!("us")), Err(TokenFault::Form)),
    ] {
        let token = sign(&claims, "k1", &private).unwrap();
        assert_eq!(check(&token, &public), expected, "{claims:?}");
    }
}

#[test]
fn the_algorithm_is_not_the_tokens_choice() {
    let (private, public) = pair();
    let good = sign(&claims(NOW + 60, None, json!("us")), "k1", &private).unwrap();
    let payload = good.split('.').nth(1).unwrap();
    let with = |header: Value, signature: &str| {
        let header = URL_SAFE_NO_PAD.encode(header.to_string());
        format!("{header}.{payload}.{signature}")
    };
    let signature = good.split('.').nth(2).unwrap();
    for token in [
        with(json!({"alg": "none"}), ""),
        with(json!({"alg": "none"}), signature),
        with(json!({"alg": "HS256"}), signature),
        with(json!({"alg": "RS256"}), signature),
        with(json!({"alg": "ES384"}), signature),
        with(json!({"alg": "ES256", "crit": ["b64"]}), signature),
        with(json!({"alg": "ES256"}), &signature[1..]),
        with(json!({"alg": "ES256"}), ""),
        good.replace(payload, &payload.to_uppercase()),
    ] {
        assert!(check(&token, &public).is_err(), "{token}");
    }
    assert_eq!(check(&good, &pair().1), Err(TokenFault::Signature));
}

#[test]
fn what_is_no_token_is_not_looked_at() {
    for text in [
        "",
        "ey",
        "eyJ.x",
        "a.b.c",
        "ak_1_2",
        &"ey..".repeat(4_000),
        "ey.%.%",
    ] {
        assert!(glance(text).is_err(), "{}", text.len());
    }
}
