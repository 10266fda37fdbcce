//! Sections `auth.issuers.DOMAIN`: whose tokens are believed beside our own.

use std::collections::BTreeMap;
use std::time::Duration;

use jsonwebtoken::Algorithm;

use super::kind::{AlgorithmName, ClaimText, ExactUrl, List, Optional, Period, Several};
use super::reading::Reading;
use super::section::{Section, section};
use crate::protocol::{Domain, GatewayUrl};

/// What credentials are taken.
pub(super) const AUTH: Section = Section {
    name: "auth",
    about: &["Which credentials are taken beside the keys that this gateway makes."],
    keys: &[],
};

/// The map of all issuers.
pub(super) const TABLE: Section = Section {
    name: "auth.issuers",
    about: &[
        "Whose tokens (JWT, OpenID Connect) are believed beside our own. Each key is a domain of the issuer, by",
        "which logs and metrics name it.",
    ],
    keys: &[],
};

section! {
    /// One issuer: how its tokens are checked, and whom they stand for.
    pub struct Issuer = "auth.issuers.DOMAIN" {
        /// What the claim `iss` of its tokens says, letter by letter. Without it `https://DOMAIN`.
        issuer: Option<String> as Optional<ExactUrl>,
        /// For whom its tokens must be: one of these must stand in the claim `aud`.
        audience: Vec<String> as Several<ClaimText>,
        /// How its tokens may be signed. `none` and those with a shared secret (HS256 …) are not known.
        algorithms: Vec<Algorithm> as Several<AlgorithmName> = "[ES256, RS256]",
        /// Where its public keys are (a JWKS). Without it its OpenID Connect configuration says where:
        /// `<issuer>/.well-known/openid-configuration`.
        jwks_url: Option<String> as Optional<ExactUrl>,
        /// How far its clock and ours may differ.
        skew: Duration as Period<0, 300_000> = "60s",
        /// The claim that names the agent: by its address, or by its name in our first domain.
        agent_claim: String as ClaimText = "sub",
        /// The claim that names roles, as a text or a list. Without it no token of this issuer is one of staff.
        role_claim: Option<String> as Optional<ClaimText>,
        /// Values of `role_claim` that give the role `admin`.
        admin: Vec<String> as List<ClaimText> = "[]",
        /// Values of `role_claim` that give the role `operator`.
        operator: Vec<String> as List<ClaimText> = "[]",
        /// Values of `role_claim` that give the role `auditor`.
        auditor: Vec<String> as List<ClaimText> = "[]",
        /// The claim that names scopes, as words or a list. Only `send`, `receive` and `track` count; an agent's
        /// token without this claim is good for all three.
        scope_claim: String as ClaimText = "scope",
    }
}

impl Issuer {
    /// What its tokens must say in `iss`.
    #[must_use]
    pub fn name(&self, domain: &Domain) -> String {
        let named = self.issuer.clone();
        named.unwrap_or_else(|| format!("https://{domain}"))
    }
}

/// Reads all issuers.
pub(super) fn read(reading: &mut Reading<'_>) -> Option<BTreeMap<Domain, Issuer>> {
    reading.each(&Issuer::TABLE, |domain, reading| {
        let issuer = Issuer::read(reading)?;
        let key = |name: &str| format!("auth.issuers.{domain}.{name}");
        let roles = [
            ("admin", &issuer.admin),
            ("operator", &issuer.operator),
            ("auditor", &issuer.auditor),
        ];
        let mut given = roles.iter().filter(|(_, values)| !values.is_empty());
        if let (None, Some((name, _))) = (&issuer.role_claim, given.next()) {
            let text = format!("means nothing without {}; add it", key("role_claim"));
            reading.fault_of(&key(name), text);
        }
        Some(issuer)
    })
}

/// Checks that each issuer is told from the others and from ourselves.
pub(super) fn check(
    issuers: &BTreeMap<Domain, Issuer>,
    ours: &GatewayUrl,
    reading: &mut Reading<'_>,
) {
    let mut seen: BTreeMap<String, &Domain> = BTreeMap::new();
    for (domain, issuer) in issuers {
        let name = issuer.name(domain);
        let key = format!("auth.issuers.{domain}");
        if name == ours.as_str() {
            let text = format!("\"{name}\" is this gateway itself; its own tokens need no section");
            reading.fault_of(&key, text);
        }
        if let Some(other) = seen.insert(name.clone(), domain) {
            let text = format!("\"{name}\" is the issuer of auth.issuers.{other} too; keep one");
            reading.fault_of(&key, text);
        }
    }
}
