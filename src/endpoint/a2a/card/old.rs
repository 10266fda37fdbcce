//! The card of A2A 0.3.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    Offer, Provider, Reader, SCHEME, SCHEME_TEXT, description, extensions, modes, skills, version,
};
use crate::store::{A2aExtension, A2aSkill, Agent};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CardV03<'a> {
    protocol_version: &'static str,
    name: &'a str,
    description: String,
    url: &'a str,
    preferred_transport: &'static str,
    additional_interfaces: [Interface<'a>; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<Provider<'a>>,
    version: String,
    capabilities: Capabilities,
    #[serde(skip_serializing_if = "Map::is_empty")]
    security_schemes: Map<String, Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    security: Vec<Value>,
    default_input_modes: Vec<&'a str>,
    default_output_modes: Vec<&'a str>,
    skills: Vec<A2aSkill>,
    #[serde(skip_serializing_if = "Option::is_none")]
    documentation_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icon_url: Option<&'a str>,
    supports_authenticated_extended_card: bool,
}

#[derive(Serialize)]
struct Interface<'a> {
    url: &'a str,
    transport: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Capabilities {
    streaming: bool,
    push_notifications: bool,
    state_transition_history: bool,
    extensions: Vec<A2aExtension>,
}

pub(super) fn card<'a>(agent: &'a Agent, offer: &Offer<'a>, reader: Reader) -> CardV03<'a> {
    let mut security_schemes = Map::new();
    let mut security = Vec::new();
    if offer.authenticated {
        let scheme = json!({"type": "http", "scheme": "bearer", "description": SCHEME_TEXT});
        security_schemes.insert(SCHEME.to_owned(), scheme);
        security.push(json!({ SCHEME: [] }));
    }
    CardV03 {
        protocol_version: "0.3.0",
        name: agent.address.local(),
        description: description(agent),
        url: offer.base,
        preferred_transport: "JSONRPC",
        additional_interfaces: [Interface {
            url: offer.base,
            transport: "JSONRPC",
        }],
        provider: offer
            .provider
            .map(|(organization, url)| Provider { url, organization }),
        version: version(agent),
        capabilities: Capabilities {
            streaming: agent.settings.a2a.streams(),
            push_notifications: offer.pushes,
            state_transition_history: false,
            extensions: extensions(agent, reader),
        },
        security_schemes,
        security,
        default_input_modes: modes(&agent.settings.a2a.input_modes),
        default_output_modes: modes(&agent.settings.a2a.output_modes),
        skills: skills(agent),
        documentation_url: agent.settings.a2a.documentation_url.as_deref(),
        icon_url: agent.settings.a2a.icon_url.as_deref(),
        supports_authenticated_extended_card: offer.extended,
    }
}
