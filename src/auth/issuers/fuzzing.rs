//! What strangers and issuers send, without a network: for the fuzz targets. Each panics where something
//! is believed, or kept, that should not be.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;

use super::claims::{Bearer, Mapping};
use super::keys;
use crate::auth::jwt::{self, Algorithm, Claims, Demands};
use crate::config::Issuer;
use crate::envelope::Role;
use crate::protocol::{Domain, Timestamp};

/// Every algorithm that can be configured.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

/// Any text as a token: it is signed by none of our keys.
pub fn token(text: &str) {
    let Ok(glance) = jwt::glance(text) else {
        return;
    };
    assert!(jwt::looks_like_one(text));
    for key in [
        DecodingKey::from_ec_der(&[4; 65]),
        DecodingKey::from_ec_der(&[4; 97]),
        DecodingKey::from_ed_der(&[1; 32]),
        DecodingKey::from_rsa_raw_components(&[0xff; 256], &[1, 0, 1]),
    ] {
        for algorithm in ALGORITHMS.into_iter().chain([glance.algorithm]) {
            assert!(verify(text, &key, algorithm).is_err());
        }
    }
}

/// Any bytes as a key set: what is used of it is bounded, and did not sign what nobody signed.
pub fn key_set(data: &[u8]) {
    let Ok(found) = keys::read(data) else {
        return;
    };
    assert!(found.len() <= 100);
    let claims = URL_SAFE_NO_PAD.encode(r#"{"iss":"https://i","aud":"us","exp":1}"#);
    for key in &found {
        assert!(!key.fits(Algorithm::HS256));
        for algorithm in ALGORITHMS.into_iter().filter(|it| key.fits(*it)) {
            let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{algorithm:?}"}}"#));
            let signature = URL_SAFE_NO_PAD.encode([1; 64]);
            let text = format!("{header}.{claims}.{signature}");
            assert!(verify(&text, &key.key, algorithm).is_err());
        }
    }
}

/// Any bytes as the claims of a token that is good: whom they name is one of ours, or staff by the
/// configuration.
pub fn claims(data: &[u8]) {
    let Ok(claims) = serde_json::from_slice::<Claims>(data) else {
        return;
    };
    let domains = ["b.test", "c.test"].map(|name| Domain::parse(name).expect("a domain"));
    for (agent_claim, role_claim) in [("sub", None), ("email", Some("groups"))] {
        let mapping = Mapping {
            settings: settings(agent_claim, role_claim),
            domains: domains.to_vec(),
        };
        let bearer = mapping.bearer(&claims);
        let name = match &bearer {
            None => continue,
            Some(Bearer::Agent { domain, key_id, .. }) => {
                assert!(domains.contains(domain));
                key_id
            }
            Some(Bearer::Staff { name, role }) => {
                assert!(role_claim.is_some() && *role == Role::Admin);
                name
            }
        };
        assert!(name.chars().count() <= 200);
        assert_eq!(mapping.bearer(&claims), bearer);
    }
}

fn verify(text: &str, key: &DecodingKey, algorithm: Algorithm) -> Result<(), jwt::TokenFault> {
    let demands = Demands {
        issuer: "https://i",
        audiences: &["us".to_owned()],
        algorithms: &[algorithm],
        skew: Duration::ZERO,
        now: Timestamp::from_millis(0),
    };
    jwt::verify(text, key, &demands).map(drop)
}

fn settings(agent_claim: &str, role_claim: Option<&str>) -> Issuer {
    Issuer {
        issuer: None,
        audience: vec!["us".to_owned()],
        algorithms: ALGORITHMS.to_vec(),
        jwks_url: None,
        skew: Duration::ZERO,
        agent_claim: agent_claim.to_owned(),
        role_claim: role_claim.map(str::to_owned),
        admin: vec!["root".to_owned()],
        operator: Vec::new(),
        auditor: Vec::new(),
        scope_claim: "scope".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_doors_hold() {
        for text in [
            "",
            "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJodHRwczovL2kifQ.AAAA",
            "ey..",
            "ey.é.x",
        ] {
            token(text);
            key_set(text.as_bytes());
            claims(text.as_bytes());
        }
        let (x, n) = (
            URL_SAFE_NO_PAD.encode([1; 32]),
            URL_SAFE_NO_PAD.encode([0xff; 256]),
        );
        key_set(
            format!(
                r#"{{"keys":[{{"kty":"EC","crv":"P-256","x":"{x}","y":"{x}"}},{{"kty":"RSA","n":"{n}","e":"Ag"}}]}}"#
            )
            .as_bytes(),
        );
        claims(br#"{"iss":"i","sub":"a","aud":1,"exp":1,"groups":["root"],"email":"a@b.test"}"#);
    }
}
