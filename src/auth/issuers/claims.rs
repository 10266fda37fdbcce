//! Whom a token of another issuer stands for.
//!
//! A value of the claim of roles that the configuration names makes one of staff, the greatest role
//! first. Any other token is an agent's, if its claim names one of ours.

use serde_json::Value;

use crate::auth::jwt::Claims;
use crate::config::Issuer;
use crate::envelope::{Role, Scope, Scopes};
use crate::protocol::{Address, AgentName, Domain};

/// Names in logs are no longer than this, in characters.
const LONGEST_NAME: usize = 200;

/// Whom a good token stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::auth) enum Bearer {
    /// An agent, if there is one of this name.
    Agent {
        domain: Domain,
        name: AgentName,
        scopes: Scopes,
        /// The issuer and whom it means.
        key_id: String,
    },
    /// One who runs the gateway.
    Staff { name: String, role: Role },
}

/// What the configuration says of the claims of one issuer.
pub(super) struct Mapping {
    pub(super) settings: Issuer,
    pub(super) domains: Vec<Domain>,
}

impl Mapping {
    /// Whom these claims mean; nobody if they name nobody of ours.
    pub(super) fn bearer(&self, claims: &Claims) -> Option<Bearer> {
        let subject = claims.sub.as_deref()?;
        if subject.is_empty() || subject.chars().any(char::is_control) {
            return None;
        }
        let named = format!("{}#{subject}", claims.iss);
        let name: String = named.chars().take(LONGEST_NAME).collect();
        if let Some(role) = self.role(claims) {
            return Some(Bearer::Staff { name, role });
        }
        let (domain, agent) = self.agent(claims)?;
        Some(Bearer::Agent {
            domain,
            name: agent,
            scopes: self.scopes(claims),
            key_id: name,
        })
    }

    fn role(&self, claims: &Claims) -> Option<Role> {
        let settings = &self.settings;
        let claim = claim(claims, settings.role_claim.as_ref()?)?;
        let shown = words(&claim, None);
        let gives = |values: &[String]| values.iter().any(|it| shown.contains(&it.as_str()));
        [
            (Role::Admin, &settings.admin),
            (Role::Operator, &settings.operator),
            (Role::Auditor, &settings.auditor),
        ]
        .into_iter()
        .find_map(|(role, values)| gives(values).then_some(role))
    }

    fn agent(&self, claims: &Claims) -> Option<(Domain, AgentName)> {
        let name = self.settings.agent_claim.as_str();
        let named = claim(claims, name)?;
        let text = named.as_str()?;
        // Anybody can say that an address is his; this issuer says that nobody looked.
        if name == "email" && claims.others.get("email_verified") == Some(&Value::Bool(false)) {
            return None;
        }
        match text.contains('@') {
            true => ours(text, &self.domains),
            false => Some((self.domains.first()?.clone(), AgentName::parse(text).ok()?)),
        }
    }

    fn scopes(&self, claims: &Claims) -> Scopes {
        let Some(said) = claims.others.get(&self.settings.scope_claim) else {
            return Scopes::ALL;
        };
        let known = |word: &&str| Scope::ALL.iter().any(|scope| scope.as_str() == *word);
        let said = words(said, Some(' ')).into_iter().filter(known);
        Scopes::parse(said).unwrap_or(Scopes::from_code(0))
    }
}

/// The agent of an address in one of these domains.
pub(in crate::auth) fn ours(text: &str, domains: &[Domain]) -> Option<(Domain, AgentName)> {
    let address = Address::parse(text).ok()?;
    let domain = address.domain();
    let name = AgentName::parse(address.local()).ok()?;
    domains.contains(domain).then(|| (domain.clone(), name))
}

fn claim(claims: &Claims, name: &str) -> Option<Value> {
    match name {
        "sub" => claims.sub.clone().map(Value::String),
        other => claims.others.get(other).cloned(),
    }
}

/// A claim that is a list of texts, or one text, which may be several words.
fn words(claim: &Value, between: Option<char>) -> Vec<&str> {
    match (claim, between) {
        (Value::String(text), Some(between)) => text.split(between).collect(),
        (Value::String(text), None) => vec![text],
        (Value::Array(items), _) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}
