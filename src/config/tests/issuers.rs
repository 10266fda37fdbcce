//! Whose tokens are believed.

use std::time::Duration;

use jsonwebtoken::Algorithm;

use super::Folder;
use crate::config::{Config, Issuer};
use crate::protocol::Domain;

fn issuer<'a>(config: &'a Config, domain: &str) -> &'a Issuer {
    &config.issuers[&Domain::parse(domain).unwrap()]
}

const PARTNER: &str = "\
auth:
  issuers:
    Login.Partner.Example:
      issuer: https://login.partner.example/realms/a/
      audience: [amtp, \"https://amtp.example.com\"]
      algorithms: [PS256, EdDSA]
      jwks_url: https://keys.partner.example/jwks.json
      skew: 5m
      agent_claim: email
      role_claim: groups
      admin: [root]
      operator: [ops, \"on call\"]
      auditor: []
      scope_claim: scp
    other.example: {audience: [amtp]}
net: {allow: {oidc: [10.0.0.0/8]}}
";

#[test]
fn every_key_is_taken_and_one_is_needed() {
    let folder = Folder::new();
    let config = folder.load(&(folder.needed() + PARTNER), &[]).unwrap();
    assert_eq!(config.issuers.len(), 2);
    assert_eq!(config.net.allow.oidc.len(), 1);
    let partner = issuer(&config, "login.partner.example");
    let domain = Domain::parse("login.partner.example").unwrap();
    assert_eq!(
        partner.name(&domain),
        "https://login.partner.example/realms/a/"
    );
    assert_eq!(partner.audience, ["amtp", "https://amtp.example.com"]);
    assert_eq!(partner.algorithms, [Algorithm::PS256, Algorithm::EdDSA]);
    assert!(partner.jwks_url.as_ref().unwrap().ends_with("/jwks.json"));
    assert_eq!(partner.skew, Duration::from_secs(300));
    assert_eq!(partner.agent_claim, "email");
    assert_eq!(partner.role_claim.as_deref(), Some("groups"));
    assert_eq!((partner.admin.len(), partner.operator.len()), (1, 2));
    assert!(partner.auditor.is_empty() && partner.scope_claim == "scp");
    let other = issuer(&config, "other.example");
    let domain = Domain::parse("other.example").unwrap();
    assert_eq!(other.name(&domain), "https://other.example");
    assert_eq!(other.algorithms, [Algorithm::ES256, Algorithm::RS256]);
    assert_eq!(other.skew, Duration::from_secs(60));
    assert_eq!(
        (other.agent_claim.as_str(), other.scope_claim.as_str()),
        ("sub", "scope")
    );
    assert!(other.role_claim.is_none() && other.jwks_url.is_none());
    let none = folder.load(&folder.needed(), &[]).unwrap();
    assert!(none.issuers.is_empty() && none.net.allow.oidc.is_empty());
}

#[test]
fn one_wrong_line_is_one_fault() {
    let folder = Folder::new();
    let table = [
        ("{}", "a.example.audience: is missing; set it to a list"),
        (
            "{audience: []}",
            "a.example.audience: is empty; name at least one",
        ),
        (
            "{audience: [x], algorithms: []}",
            "a.example.algorithms: is empty",
        ),
        (
            "{audience: [x], algorithms: [none]}",
            "a.example.algorithms: \"none\" is no signature",
        ),
        (
            "{audience: [x], algorithms: [ES256, HS256]}",
            "a.example.algorithms: \"HS256\" is signed with a secret",
        ),
        (
            "{audience: [x], algorithms: [ES521]}",
            "a.example.algorithms: \"ES521\" is not ES256",
        ),
        (
            "{audience: [x], issuer: \"http://a.example\"}",
            "a.example.issuer: \"http://a.example\" is not an https URL",
        ),
        (
            "{audience: [x], jwks_url: \"https://u@a.example\"}",
            "a.example.jwks_url: \"https://u@a.example\" is not an https URL",
        ),
        (
            "{audience: [x], skew: 6m}",
            "a.example.skew: \"6m\" is too much: at most 5m",
        ),
        (
            "{audience: [x], operator: [x]}",
            "a.example.operator: means nothing without auth.issuers.a.example.role_claim",
        ),
        (
            "{audience: [x], issuer: \"https://amtp.example.com\"}",
            "a.example: \"https://amtp.example.com\" is this gateway itself",
        ),
        ("{audience: [x], key: 1}", "a.example.key: is no key"),
    ];
    for (keys, beginning) in table {
        let faults = folder.faults(&format!("auth: {{issuers: {{a.example: {keys}}}}}\n"));
        assert_eq!(faults.len(), 1, "{keys}: {faults:#?}");
        let (_, told) = faults[0].split_once(" auth.issuers.").unwrap();
        assert!(told.starts_with(beginning), "{}\n{beginning}", faults[0]);
    }
}

#[test]
fn two_sections_are_not_one_issuer() {
    let folder = Folder::new();
    let faults = folder.faults(
        "auth:\n  issuers:\n    a.example: {audience: [x]}\n    \
         b.example: {audience: [x], issuer: \"https://a.example\"}\n",
    );
    assert_eq!(faults.len(), 1, "{faults:#?}");
    assert!(
        faults[0].contains("auth.issuers.b.example: \"https://a.example\" is the issuer of auth.issuers.a.example too"),
        "{}",
        faults[0]
    );
}

#[test]
fn one_variable_sets_all_issuers() {
    let folder = Folder::new();
    let value = "{b.example: {audience: [x]}}";
    let variables = [("AMTPD__AUTH__ISSUERS", value)];
    let config = folder.load(&(folder.needed() + PARTNER), &variables);
    let config = config.unwrap();
    assert_eq!(config.issuers.len(), 1);
    assert_eq!(issuer(&config, "b.example").audience, ["x"]);
}
