//! Which keys of a set are used, and whom claims stand for.

use super::*;
use crate::config::Issuer;
use crate::envelope::{Role, Scopes};
use crate::protocol::AgentName;

/// An issuer whose tokens are for `us`.
pub(super) fn settings(name: Option<&str>) -> Issuer {
    Issuer {
        issuer: name.map(str::to_owned),
        audience: vec!["us".to_owned()],
        algorithms: vec![Algorithm::ES256, Algorithm::RS256],
        jwks_url: None,
        skew: MINUTE,
        agent_claim: "sub".to_owned(),
        role_claim: Some("groups".to_owned()),
        admin: vec!["root".to_owned()],
        operator: vec!["ops".to_owned(), "on call".to_owned()],
        auditor: vec!["audit".to_owned()],
        scope_claim: "scope".to_owned(),
    }
}

fn modulus(bits: usize) -> String {
    let mut bytes = vec![0xff; bits.div_ceil(8)];
    bytes[0] = 0xff >> (bytes.len() * 8 - bits);
    URL_SAFE_NO_PAD.encode(bytes)
}

fn rsa(bits: usize) -> Value {
    json!({"kty": "RSA", "kid": "k1", "n": modulus(bits), "e": "AQAB"})
}

fn with(mut value: Value, member: &str, set: Value) -> Value {
    value[member] = set;
    value
}

#[test]
fn keys_for_others_and_weak_ones_are_skipped() {
    let ec = Pair::new("k1").jwk();
    let wide = json!({"kty": "EC", "crv": "P-384", "x": URL_SAFE_NO_PAD.encode([1; 48]),
        "y": URL_SAFE_NO_PAD.encode([1; 48])});
    let edwards = json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode([1; 32])});
    let (es, rs, ps) = (Algorithm::ES256, Algorithm::RS256, Algorithm::PS256);
    for (jwk, fits, not) in [
        (ec.clone(), vec![es], vec![rs, Algorithm::ES384]),
        (with(ec.clone(), "use", json!("sig")), vec![es], vec![]),
        (with(ec.clone(), "use", json!("enc")), vec![], vec![es]),
        (with(ec.clone(), "alg", json!("ES256")), vec![es], vec![]),
        (
            with(ec.clone(), "alg", json!("ES384")),
            vec![],
            vec![es, Algorithm::ES384],
        ),
        (with(ec.clone(), "alg", json!("ECDH-ES")), vec![], vec![es]),
        (
            with(ec.clone(), "key_ops", json!(["verify"])),
            vec![es],
            vec![],
        ),
        (
            with(ec.clone(), "key_ops", json!(["sign"])),
            vec![],
            vec![es],
        ),
        (
            with(ec.clone(), "crv", json!("secp256k1")),
            vec![],
            vec![es],
        ),
        (with(ec.clone(), "x", json!("AQAB")), vec![], vec![es]),
        (with(ec.clone(), "y", json!(null)), vec![], vec![es]),
        (
            with(ec.clone(), "kid", json!("x".repeat(256))),
            vec![],
            vec![es],
        ),
        (with(ec.clone(), "kid", json!(7)), vec![], vec![es]),
        (wide, vec![Algorithm::ES384], vec![es]),
        (edwards.clone(), vec![Algorithm::EdDSA], vec![es]),
        (
            with(edwards, "crv", json!("X25519")),
            vec![],
            vec![Algorithm::EdDSA],
        ),
        (rsa(2_048), vec![rs, ps, Algorithm::RS512], vec![es]),
        (with(rsa(2_048), "alg", json!("PS256")), vec![ps], vec![rs]),
        (with(rsa(2_048), "alg", json!("RSA-OAEP")), vec![], vec![rs]),
        (rsa(1_024), vec![], vec![rs, ps]),
        (rsa(2_047), vec![], vec![rs]),
        (rsa(8_192), vec![rs], vec![]),
        (rsa(8_193), vec![], vec![rs]),
        (with(rsa(2_048), "n", json!("")), vec![], vec![rs]),
        (with(rsa(2_048), "n", json!("%")), vec![], vec![rs]),
        (with(rsa(2_048), "e", json!(null)), vec![], vec![rs]),
        (
            json!({"kty": "oct", "k": "AQAB", "alg": "HS256"}),
            vec![],
            vec![Algorithm::HS256],
        ),
        (json!({}), vec![], vec![es]),
    ] {
        let found = keys::read(json!({"keys": [jwk]}).to_string().as_bytes()).unwrap();
        let used = |algorithm: &Algorithm| found.iter().any(|key| key.fits(*algorithm));
        assert!(fits.iter().all(used), "{jwk}");
        assert!(!not.iter().any(used), "{jwk}");
    }
}

#[test]
fn leading_zeros_make_no_weak_key_strong() {
    let mut bytes = vec![0; 128];
    bytes.extend([0xff; 128]);
    let jwk = with(rsa(2_048), "n", json!(URL_SAFE_NO_PAD.encode(bytes)));
    let found = keys::read(json!({"keys": [jwk]}).to_string().as_bytes()).unwrap();
    assert!(found.is_empty());
}

#[test]
fn what_is_no_set_is_refused() {
    for text in [
        "",
        "[]",
        "{}",
        r#"{"keys": {}}"#,
        r#"{"keys": 1}"#,
        &"[".repeat(100_000),
    ] {
        assert!(keys::read(text.as_bytes()).is_err());
    }
}

#[test]
fn a_token_without_a_name_of_a_key_needs_the_only_one() {
    let (one, other) = (Pair::new("k1"), Pair::new("k2"));
    let read = |set: &Value| keys::read(set.to_string().as_bytes()).unwrap();
    let both = read(&set(&[&one, &other]));
    let alone = read(&json!({"keys": [one.jwk(), rsa(2_048)]}));
    let es = Algorithm::ES256;
    assert!(keys::find(&both, None, es).is_none());
    assert!(keys::find(&both, Some("k2"), es).is_some());
    assert!(keys::find(&both, Some("k3"), es).is_none());
    assert!(keys::find(&both, Some("k2"), Algorithm::RS256).is_none());
    assert!(keys::find(&alone, None, es).is_some());
    // Two kinds under one name are told apart by what they may have signed.
    assert!(keys::find(&alone, Some("k1"), Algorithm::RS256).is_some());
}

fn bearer(change: impl FnOnce(&mut Issuer), claims: &Value) -> Option<Bearer> {
    let mut settings = settings(None);
    change(&mut settings);
    let domains = ["b.test", "c.test"].map(|name| Domain::parse(name).unwrap());
    let domains = domains.to_vec();
    let mut whole = json!({"iss": "https://i", "sub": "alice", "aud": "us", "exp": 1});
    for (name, value) in claims.as_object().unwrap() {
        whole[name] = value.clone();
    }
    let claims: Claims = serde_json::from_value(whole).unwrap();
    Mapping { settings, domains }.bearer(&claims)
}

fn agent(domain: &str, name: &str, scopes: &[&str], sub: &str) -> Option<Bearer> {
    Some(Bearer::Agent {
        domain: Domain::parse(domain).unwrap(),
        name: AgentName::parse(name).unwrap(),
        scopes: Scopes::parse(scopes.iter().copied()).unwrap(),
        key_id: format!("https://i#{sub}"),
    })
}

const ALL: &[&str] = &["send", "receive", "track"];

#[test]
fn claims_name_an_agent_of_ours() {
    let alice = |scopes| agent("b.test", "alice", scopes, "alice");
    for (claims, expected) in [
        (json!({}), alice(ALL)),
        (
            json!({"sub": "Alice"}),
            agent("b.test", "alice", ALL, "Alice"),
        ),
        (
            json!({"sub": "alice@c.test"}),
            agent("c.test", "alice", ALL, "alice@c.test"),
        ),
        (
            json!({"sub": "alice@B.Test"}),
            agent("b.test", "alice", ALL, "alice@B.Test"),
        ),
        (json!({"sub": "alice@d.test"}), None),
        (json!({"sub": "alice@b.test@d.test"}), None),
        (json!({"sub": "a b"}), None),
        (json!({"sub": "auth0|5f7"}), None),
        (json!({"sub": "al\u{0}ice"}), None),
        (json!({"sub": ""}), None),
        (json!({"scope": "send"}), alice(&["send"])),
        (
            json!({"scope": "openid send  track email"}),
            alice(&["send", "track"]),
        ),
        (json!({"scope": ["receive", "x", 7]}), alice(&["receive"])),
        (json!({"scope": "openid"}), alice(&[])),
        (json!({"scope": 7}), alice(&[])),
        (json!({"scope": null}), alice(&[])),
        (json!({"groups": "users"}), alice(ALL)),
        (json!({"groups": 7}), alice(ALL)),
    ] {
        assert_eq!(bearer(|_| {}, &claims), expected, "{claims}");
    }
}

#[test]
fn the_configuration_names_the_claims() {
    let by_mail = |it: &mut Issuer| it.agent_claim = "email".to_owned();
    let bob = agent("b.test", "bob", ALL, "alice");
    for (claims, expected) in [
        (json!({"email": "bob@b.test"}), bob.clone()),
        (json!({"email": "bob@b.test", "email_verified": true}), bob),
        (
            json!({"email": "bob@b.test", "email_verified": false}),
            None,
        ),
        (json!({"email": ["bob@b.test"]}), None),
        (json!({}), None),
    ] {
        assert_eq!(bearer(by_mail, &claims), expected, "{claims}");
    }
    let by_scp = |it: &mut Issuer| it.scope_claim = "scp".to_owned();
    let expected = agent("b.test", "alice", &["send"], "alice");
    let claims = json!({"scp": "send", "scope": "track"});
    assert_eq!(bearer(by_scp, &claims), expected);
}

#[test]
fn only_values_of_the_configuration_make_staff_and_the_greatest_role_counts() {
    let staff = |role| {
        let name = "https://i#alice".to_owned();
        Some(Bearer::Staff { name, role })
    };
    let alice = || agent("b.test", "alice", ALL, "alice");
    for (claims, expected) in [
        (json!({"groups": "root"}), staff(Role::Admin)),
        (json!({"groups": ["audit", "x"]}), staff(Role::Auditor)),
        (json!({"groups": ["audit", "ops"]}), staff(Role::Operator)),
        (
            json!({"groups": ["audit", "root", "ops"]}),
            staff(Role::Admin),
        ),
        (json!({"groups": "on call"}), staff(Role::Operator)),
        (json!({"groups": "root ops"}), alice()),
        (json!({"groups": ["Root"]}), alice()),
        (json!({"groups": [["root"]]}), alice()),
        (json!({"groups": {"root": true}}), alice()),
        (json!({"roles": "root"}), alice()),
    ] {
        assert_eq!(bearer(|_| {}, &claims), expected, "{claims}");
    }
    let claims = json!({"groups": "root"});
    assert_eq!(bearer(|it| it.role_claim = None, &claims), alice());
    let by_subject = |it: &mut Issuer| {
        it.role_claim = Some("sub".to_owned());
        it.admin = vec!["alice".to_owned()];
    };
    assert_eq!(bearer(by_subject, &json!({})), staff(Role::Admin));
    let Some(Bearer::Staff { name, .. }) =
        bearer(|_| {}, &json!({"groups": "root", "sub": "ü".repeat(900)}))
    else {
        panic!("no staff");
    };
    assert_eq!(name.chars().count(), 200);
}
