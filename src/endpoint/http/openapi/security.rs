//! How callers show who they are, as OpenAPI names it, and what each kind of route asks for.

use serde_json::{Map, Value, json};

use super::DescriptionFault;
use super::area::Operation;
use crate::auth::{Access, Permission};
use crate::envelope::Role;
use crate::protocol::ErrorCode;

/// The ways to show who one is.
pub(super) fn schemes() -> Value {
    json!({
        "agent": {
            "type": "http", "scheme": "bearer",
            "description": "An agent's API key (`ak_…`), a token made of one, or a token of a known issuer.",
        },
        "certificate": {
            "type": "mutualTLS",
            "description": "A client certificate that names an agent of ours.",
        },
        "admin": {
            "type": "apiKey", "in": "header", "name": "X-Admin-Key",
            "description": "The admin key, or a key of staff (`sk_…`).",
        },
        "staff": {
            "type": "http", "scheme": "bearer",
            "description": "The admin key, a key of staff, or a token of a known issuer that gives a role.",
        },
        "enrolment": {
            "type": "http", "scheme": "bearer",
            "description": "An enrolment token (`et_…`).",
        },
        "basic": {
            "type": "http", "scheme": "basic",
            "description": "The user is the agent's address or the key's id, the password its key.",
        },
    })
}

/// What one operation asks for; each entry is enough.
pub(super) fn needed(access: Access, operation: &Operation) -> Result<Value, DescriptionFault> {
    let own = operation.security.is_empty();
    if own == (access == Access::Own) {
        let text =
            "`security` is for routes that look at the credential themselves, and for all of these";
        return Err(DescriptionFault(format!("{}: {text}", operation.id)));
    }
    let one = |scheme: &str, words: &[&str]| Value::Object(entry(scheme, words));
    let agents = |permission: Permission| match permission.scope() {
        Some(scope) => ["agent", "certificate"]
            .map(|it| one(it, &[scope.as_str()]))
            .to_vec(),
        None => Vec::new(),
    };
    let staff = |permission: Permission| {
        let roles = Role::ALL.into_iter().filter(|role| permission.of(*role));
        let roles: Vec<&str> = roles.map(Role::as_str).collect();
        match roles.is_empty() {
            true => Vec::new(),
            false => ["admin", "staff"].map(|it| one(it, &roles)).to_vec(),
        }
    };
    Ok(Value::Array(match access {
        Access::Public => Vec::new(),
        Access::Own => operation.security.iter().map(|it| named(it)).collect(),
        Access::Open(permission) => [vec![json!({})], agents(permission)].concat(),
        Access::Agent(permission) | Access::Needs(permission) => {
            [agents(permission), staff(permission)].concat()
        }
        Access::Staff(permission) => staff(permission),
    }))
}

fn named(scheme: &str) -> Value {
    match scheme {
        "nothing" => json!({}),
        scheme => Value::Object(entry(scheme, &[])),
    }
}

fn entry(scheme: &str, words: &[&str]) -> Map<String, Value> {
    Map::from_iter([(scheme.to_owned(), json!(words))])
}

/// How routes of this kind refuse a caller.
pub(super) const fn refusals(access: Access) -> &'static [ErrorCode] {
    match access {
        Access::Public | Access::Own => &[],
        Access::Open(_) => &[ErrorCode::AccessDenied],
        Access::Agent(_) | Access::Needs(_) | Access::Staff(_) => {
            &[ErrorCode::AuthenticationFailed, ErrorCode::AccessDenied]
        }
    }
}
