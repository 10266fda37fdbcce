//! `/v1/discovery/agents`: which agents of ours can be written to (AMTP 1.0, section 10.2).

use std::collections::HashSet;

use axum::Json as Answer;
use axum::extract::{Path, State};
use serde::Serialize;

use super::Api;
use super::error::ApiError;
use super::extract::{Gate, Params, invalid_field};
use crate::protocol::{Domain, ErrorCode, SchemaId, SchemaPattern, Timestamp};
use crate::store::{Agent, AgentKind, DeliveryMode};

/// Agents read from the store at a time.
const STEP: usize = 500;
/// Agents shown in one answer.
const MOST: usize = 1_000;

#[derive(Serialize)]
pub(super) struct DirectoryView {
    agents: Vec<AgentView>,
    agent_count: usize,
    domain: String,
    timestamp: Timestamp,
    next_cursor: Option<String>,
}

#[derive(Serialize)]
struct AgentView {
    address: String,
    delivery_mode: DeliveryMode,
    kind: AgentKind,
    capabilities: Vec<String>,
    supported_schemas: Vec<SchemaPattern>,
    role: Option<String>,
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    active: bool,
    last_active: Option<Timestamp>,
}

impl From<Agent> for AgentView {
    fn from(agent: Agent) -> Self {
        Self {
            address: agent.address.to_string(),
            delivery_mode: agent.settings.delivery_mode,
            kind: agent.settings.kind,
            capabilities: agent.settings.capabilities,
            supported_schemas: agent.settings.supported_schemas,
            role: agent.settings.role,
            description: agent.settings.description,
            display_name: agent.settings.display_name,
            active: agent.active,
            last_active: agent.last_active_at,
        }
    }
}

/// `GET /v1/discovery/agents`
pub(super) async fn all(
    State(api): Gate,
    params: Params,
) -> Result<Answer<DirectoryView>, ApiError> {
    let domain = api.main_domain.clone();
    directory(&api, &params, &domain, None).await
}

/// `GET /v1/discovery/agents/{domain}`
pub(super) async fn of_domain(
    State(api): Gate,
    Path(domain): Path<String>,
    params: Params,
) -> Result<Answer<DirectoryView>, ApiError> {
    let domain = Domain::parse(&domain)
        .ok()
        .filter(|domain| api.names.is_local(domain))
        .ok_or_else(|| ApiError::new(ErrorCode::NotFound))?;
    directory(&api, &params, &domain, Some(&domain)).await
}

async fn directory(
    api: &Api,
    params: &Params,
    shown: &Domain,
    only: Option<&Domain>,
) -> Result<Answer<DirectoryView>, ApiError> {
    let filters = Filters::read(params)?;
    let limit = params.number("limit", 1..=MOST, MOST)?;
    let mut after = super::agent_cursor::read(params)?;
    let mut agents: Vec<AgentView> = Vec::new();
    let mut next_cursor = None;
    'pages: loop {
        let page = api.store.list_agents(after.as_ref(), STEP).await?;
        let last_page = page.len() < STEP;
        for agent in page {
            if agents.len() == limit {
                next_cursor = after.as_ref().map(super::agent_cursor::write);
                break 'pages;
            }
            after = Some(agent.address.clone());
            if only.is_none_or(|domain| agent.address.domain() == domain) && filters.fit(&agent) {
                agents.push(agent.into());
            }
        }
        if last_page {
            break;
        }
    }
    Ok(Answer(DirectoryView {
        agent_count: agents.len(),
        agents,
        domain: shown.as_str().to_owned(),
        timestamp: api.clock.now(),
        next_cursor,
    }))
}

/// What the caller is looking for; everything given must fit.
struct Filters {
    address: Option<String>,
    role: Option<String>,
    delivery_mode: Option<DeliveryMode>,
    active_only: bool,
    capabilities: HashSet<String>,
    schema: Option<SchemaId>,
}

impl Filters {
    fn read(params: &Params) -> Result<Self, ApiError> {
        let delivery_mode = match params.text("delivery_mode") {
            None => None,
            Some("pull") => Some(DeliveryMode::Pull),
            Some("push") => Some(DeliveryMode::Push),
            Some("a2a") => Some(DeliveryMode::A2a),
            Some("peer") => Some(DeliveryMode::Peer),
            Some(_) => {
                let rule = "must be pull, push, a2a or peer";
                return Err(invalid_field("delivery_mode", rule));
            }
        };
        let schema = params
            .text("schema")
            .map(|text| {
                SchemaId::parse(text).map_err(|fault| invalid_field("schema", &fault.to_string()))
            })
            .transpose()?;
        Ok(Self {
            address: params.address("address")?.map(|address| address.key()),
            role: params.text("role").map(str::to_owned),
            delivery_mode,
            active_only: params.flag("active_only")?.unwrap_or(false),
            capabilities: params
                .text("capability")
                .map(|list| list.split(',').map(|one| one.trim().to_owned()).collect())
                .unwrap_or_default(),
            schema,
        })
    }

    fn fit(&self, agent: &Agent) -> bool {
        let settings = &agent.settings;
        settings.listed
            && self
                .address
                .as_ref()
                .is_none_or(|address| *address == agent.address.key())
            && self
                .role
                .as_ref()
                .is_none_or(|role| settings.role.as_ref() == Some(role))
            && self
                .delivery_mode
                .is_none_or(|mode| mode == settings.delivery_mode)
            && (agent.active || !self.active_only)
            && self
                .capabilities
                .iter()
                .all(|wanted| settings.capabilities.contains(wanted))
            && self.schema.as_ref().is_none_or(|schema| {
                settings.supported_schemas.is_empty()
                    || settings
                        .supported_schemas
                        .iter()
                        .any(|pattern| pattern.matches(schema))
            })
    }
}
