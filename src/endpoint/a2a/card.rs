//! Agent cards: what a client learns of an agent before it calls (A2A 1.0, section 8).
//!
//! - The card of 1.0 holds nothing that its `a2a.proto` does not have, and no member that the rules for
//!   signing leave out: what is served is what is signed, but for the signatures.
//! - The card of 0.3 says the same in its own words. Both in one, for clients of either kind, is for
//!   those who cannot ask; strict readers of 1.0 refuse it, and it is not signed.
//! - Where an agent's webhook is never stands in a card.

mod old;
mod sign;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::protocol::SchemaPattern;
use crate::store::{A2aExtension, A2aSkill, Agent};
use crate::task::AMTP_EXTENSION;

pub(super) use sign::{CardKey, CardKeyFault};

/// The name of the only security scheme.
const SCHEME: &str = "bearer";
/// What a credential must be good for.
const SCOPE: &str = "send";
/// What agents take and give.
const MODES: [&str; 2] = ["text/plain", "application/json"];

/// What of an agent's card is not in its settings.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offer<'a> {
    /// Where the agent is called, without a slash at the end: `https://example.com/a2a/orders`.
    pub(super) base: &'a str,
    /// Who runs the gateway: a name and a URL.
    pub(super) provider: Option<(&'a str, &'a str)>,
    /// Whether a credential is needed.
    pub(super) authenticated: bool,
    /// Whether changes are posted where clients want it.
    pub(super) pushes: bool,
    /// Whether those who are known get a card with more.
    pub(super) extended: bool,
}

/// For whom a card is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// Anybody.
    Anybody,
    /// Somebody with a credential: also how the agent gets its mail.
    Known,
}

/// The form of a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Of 1.0.
    V1,
    /// Of 0.3.
    V03,
    /// Both in one.
    Merged,
}

/// A card as it is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Card {
    /// JSON.
    pub(super) body: String,
    /// With its quotes. It tells of the content alone: another signature of the same card has the same.
    pub(super) etag: String,
}

/// The card of an agent. That of 1.0 is signed where there is a key.
///
/// # Errors
/// The key cannot sign.
pub(super) fn card(
    (agent, offer): (&Agent, &Offer<'_>),
    reader: Reader,
    form: Form,
    key: Option<&CardKey>,
) -> Result<Card, CardKeyFault> {
    let object = match form {
        Form::V1 => members(&v1(agent, offer, reader)),
        Form::V03 => members(&old::card(agent, offer, reader)),
        Form::Merged => {
            let mut both = members(&old::card(agent, offer, reader));
            add(&mut both, members(&v1(agent, offer, reader)));
            both
        }
    };
    let bare = Value::Object(object).to_string();
    let etag = etag(bare.as_bytes());
    let body = match key.filter(|_| form == Form::V1) {
        Some(key) => key.sign(&bare)?,
        None => bare,
    };
    Ok(Card { body, etag })
}

fn members<T: Serialize>(card: &T) -> Map<String, Value> {
    match serde_json::to_value(card) {
        Ok(Value::Object(members)) => members,
        _ => Map::new(),
    }
}

/// Objects of the same name become one; of anything else the new one stays.
fn add(members: &mut Map<String, Value>, more: Map<String, Value>) {
    for (name, value) in more {
        match (members.get_mut(&name), value) {
            (Some(Value::Object(old)), Value::Object(new)) => add(old, new),
            (_, value) => {
                members.insert(name, value);
            }
        }
    }
}

fn etag(body: &[u8]) -> String {
    let hash = digest(&SHA256, body);
    format!("\"{}\"", URL_SAFE_NO_PAD.encode(&hash.as_ref()[..16]))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CardV1<'a> {
    name: &'a str,
    description: String,
    supported_interfaces: Vec<Interface<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<Provider<'a>>,
    version: String,
    capabilities: Capabilities,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    security_schemes: BTreeMap<&'static str, Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    security_requirements: Vec<Value>,
    default_input_modes: Vec<&'a str>,
    default_output_modes: Vec<&'a str>,
    skills: Vec<A2aSkill>,
    #[serde(skip_serializing_if = "Option::is_none")]
    documentation_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icon_url: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Interface<'a> {
    url: &'a str,
    protocol_binding: &'static str,
    protocol_version: &'static str,
}

#[derive(Serialize)]
struct Provider<'a> {
    url: &'a str,
    organization: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Capabilities {
    streaming: bool,
    push_notifications: bool,
    extensions: Vec<A2aExtension>,
    extended_agent_card: bool,
}

fn v1<'a>(agent: &'a Agent, offer: &Offer<'a>, reader: Reader) -> CardV1<'a> {
    let interface = |protocol_binding, protocol_version| Interface {
        url: offer.base,
        protocol_binding,
        protocol_version,
    };
    let mut security_schemes = BTreeMap::new();
    let mut security_requirements = Vec::new();
    if offer.authenticated {
        let scheme = serde_json::json!({"httpAuthSecurityScheme": {
            "description": SCHEME_TEXT,
            "scheme": "Bearer",
        }});
        security_schemes.insert(SCHEME, scheme);
        let needed = serde_json::json!({"schemes": {SCHEME: {"list": [SCOPE]}}});
        security_requirements.push(needed);
    }
    CardV1 {
        name: agent.address.local(),
        description: description(agent),
        supported_interfaces: vec![
            interface("JSONRPC", "1.0"),
            interface("HTTP+JSON", "1.0"),
            interface("JSONRPC", "0.3"),
        ],
        provider: offer
            .provider
            .map(|(organization, url)| Provider { url, organization }),
        version: version(agent),
        capabilities: Capabilities {
            streaming: agent.settings.a2a.streams(),
            push_notifications: offer.pushes,
            extensions: extensions(agent, reader),
            extended_agent_card: offer.extended,
        },
        security_schemes,
        security_requirements,
        default_input_modes: modes(&agent.settings.a2a.input_modes),
        default_output_modes: modes(&agent.settings.a2a.output_modes),
        skills: skills(agent),
        documentation_url: agent.settings.a2a.documentation_url.as_deref(),
        icon_url: agent.settings.a2a.icon_url.as_deref(),
    }
}

const SCHEME_TEXT: &str = "an API key of this gateway, or a token made of one";

fn description(agent: &Agent) -> String {
    let said = agent.settings.description.as_deref();
    let said = said.map(str::trim).filter(|text| !text.is_empty());
    said.map_or_else(
        || format!("The agent {} on an AMTP gateway.", agent.address),
        str::to_owned,
    )
}

/// Another version whenever the operator changed something: the moment of that.
fn version(agent: &Agent) -> String {
    let said = agent.settings.a2a.version.clone();
    said.unwrap_or_else(|| agent.updated_at.to_string())
}

/// What an agent says it takes or gives, else what agents usually do.
fn modes(said: &[String]) -> Vec<&str> {
    match said {
        [] => MODES.to_vec(),
        said => said.iter().map(String::as_str).collect(),
    }
}

/// The extensions of an agent, that of AMTP first.
pub(super) fn extensions(agent: &Agent, reader: Reader) -> Vec<A2aExtension> {
    let others = agent.settings.a2a.extensions.iter().cloned();
    std::iter::once(extension(agent, reader))
        .chain(others)
        .collect()
}

/// By which clients that know AMTP find the agent's address.
fn extension(agent: &Agent, reader: Reader) -> A2aExtension {
    let mut params = serde_json::json!({"address": agent.address.as_str()});
    let schemas = &agent.settings.supported_schemas;
    if !schemas.is_empty() {
        let names = schemas.iter().map(|it| Value::from(it.as_str()));
        params["schemas"] = names.collect();
    }
    if reader == Reader::Known {
        params["deliveryMode"] = agent.settings.delivery_mode.as_str().into();
    }
    A2aExtension {
        uri: AMTP_EXTENSION.to_owned(),
        description: Some("the same agent by AMTP 1.0".to_owned()),
        required: false,
        params: Some(params),
    }
}

/// Those that were set; else one a capability; one for all where the agent names none.
fn skills(agent: &Agent) -> Vec<A2aSkill> {
    let settings = &agent.settings;
    if !settings.a2a.skills.is_empty() {
        return settings.a2a.skills.clone();
    }
    let schemas = settings.supported_schemas.iter().map(SchemaPattern::as_str);
    let role = settings.role.as_deref().filter(|role| !role.is_empty());
    let tags: Vec<String> = role
        .into_iter()
        .chain(schemas)
        .chain(["amtp"])
        .map(str::to_owned)
        .collect();
    let named = settings.capabilities.iter().filter(|it| !it.is_empty());
    let skills: Vec<A2aSkill> = named
        .map(|capability| A2aSkill {
            id: capability.clone(),
            name: capability.clone(),
            description: format!("{capability}, by {}", agent.address),
            tags: tags.clone(),
            examples: Vec::new(),
        })
        .collect();
    if !skills.is_empty() {
        return skills;
    }
    vec![A2aSkill {
        id: "message".to_owned(),
        name: "Messages".to_owned(),
        description: description(agent),
        tags,
        examples: Vec::new(),
    }]
}
