//! `/v1/admin/agents` and `/v1/agents/register`: local agents and their keys.

use axum::Json as Answer;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;

use super::form::{AgentForm, address, signing};
use super::members::{self, MemberView};
use crate::auth::{IssuedKey, KeyKind, NamePattern};
use crate::endpoint::http::error::ApiError;
use crate::endpoint::http::extract::{Gate, Json, Params, bearer, invalid_field};
use crate::endpoint::http::{Api, agent_cursor};
use crate::protocol::{Address, AgentName, Domain, ErrorCode, SchemaPattern, Timestamp};
use crate::store::{
    A2aSettings, Agent, AgentChange, AgentKind, AgentSettings, Bounds, Created, DeliveryMode,
    Grant, GroupSettings, LiveSettings, NewAgent, NewKey, Replies, Sealer, TopicSettings,
};

#[derive(Serialize)]
pub(crate) struct OneAgent {
    agent: AgentView,
}

#[derive(Serialize)]
struct AgentView {
    address: String,
    kind: AgentKind,
    delivery_mode: DeliveryMode,
    #[serde(skip_serializing_if = "Option::is_none")]
    push_target: Option<String>,
    has_headers: bool,
    supported_schemas: Vec<SchemaPattern>,
    capabilities: Vec<String>,
    role: Option<String>,
    description: Option<String>,
    display_name: Option<String>,
    listed: bool,
    replies: Replies,
    live: LiveSettings,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<TopicSettings>,
    active: bool,
    created_at: Timestamp,
    updated_at: Timestamp,
    last_active: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bounds: Option<Bounds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<GroupSettings>,
    #[serde(skip_serializing_if = "Option::is_none")]
    a2a: Option<A2aSettings>,
    /// How the members of a group do.
    #[serde(skip_serializing_if = "Option::is_none")]
    members: Option<Vec<MemberView>>,
    #[serde(flatten)]
    once: ShownOnce,
}

/// What is shown where it is made and nowhere else.
#[derive(Default, Serialize)]
struct ShownOnce {
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    webhook_secret: Option<String>,
}

impl OneAgent {
    /// An agent with a key that is shown this once.
    pub(super) fn with_key(agent: &Agent, key: String) -> Self {
        let once = ShownOnce {
            api_key: Some(key),
            ..ShownOnce::default()
        };
        Self {
            agent: AgentView::with(agent, once),
        }
    }
}

impl AgentView {
    fn of(agent: &Agent) -> Self {
        Self::with(agent, ShownOnce::default())
    }

    fn with(agent: &Agent, once: ShownOnce) -> Self {
        let settings = agent.settings.clone();
        Self {
            address: agent.address.to_string(),
            kind: settings.kind,
            delivery_mode: settings.delivery_mode,
            push_target: settings.push_target,
            has_headers: agent.sealed_headers.is_some(),
            supported_schemas: settings.supported_schemas,
            capabilities: settings.capabilities,
            role: settings.role,
            description: settings.description,
            display_name: settings.display_name,
            listed: settings.listed,
            replies: settings.replies,
            live: settings.live,
            topic: settings.topic,
            active: agent.active,
            created_at: agent.created_at,
            updated_at: agent.updated_at,
            last_active: agent.last_active_at,
            bounds: Some(settings.bounds).filter(|bounds| *bounds != Bounds::default()),
            group: settings.group,
            a2a: Some(settings.a2a).filter(|a2a| *a2a != A2aSettings::default()),
            members: None,
            once,
        }
    }
}

/// `POST /v1/admin/agents`
pub(crate) async fn create(
    State(api): Gate,
    Json(form): Json<AgentForm>,
) -> Result<(StatusCode, Answer<OneAgent>), ApiError> {
    let name = address(form.address.as_deref(), &api.main_domain, |domain| {
        api.names.is_local(domain)
    })?;
    register(&api, form, name, None).await
}

/// `POST /v1/agents/register`
pub(crate) async fn enrol(
    State(api): Gate,
    headers: HeaderMap,
    Json(form): Json<AgentForm>,
) -> Result<(StatusCode, Answer<OneAgent>), ApiError> {
    let Some(Ok(credential)) = bearer(&headers) else {
        return Err(ApiError::new(ErrorCode::AuthenticationFailed));
    };
    let token = api.auth.enrolment(credential).await?;
    let token = token.ok_or_else(|| ApiError::new(ErrorCode::AccessDenied))?;
    let name = address(form.address.as_deref(), &api.main_domain, |domain| {
        domain.as_str() == token.domain
    })?;
    if !NamePattern::parse(&token.pattern).is_ok_and(|pattern| pattern.matches(name.1.as_str())) {
        return Err(invalid_field(
            "address",
            "is not a name this enrolment token is good for",
        ));
    }
    if form.kind.is_some() || form.group.is_some() {
        return Err(invalid_field("kind", "is for operators to choose"));
    }
    if matches!(
        form.delivery_mode,
        Some(DeliveryMode::A2a | DeliveryMode::Peer)
    ) {
        return Err(invalid_field("delivery_mode", "is for operators to choose"));
    }
    register(&api, form, name, Some(token.id)).await
}

async fn register(
    api: &Api,
    form: AgentForm,
    (domain, name): (Domain, AgentName),
    token: Option<String>,
) -> Result<(StatusCode, Answer<OneAgent>), ApiError> {
    if form.active.is_some() {
        return Err(invalid_field(
            "active",
            "can only be changed of a registered agent",
        ));
    }
    let mut settings = form.apply(AgentSettings::fresh())?;
    members::check(api, &settings)?;
    elsewhere(api, &settings)?;
    settings.secret_keys.present = api.sealer.as_ref().map(Sealer::mark);
    if settings.delivery_mode == DeliveryMode::Push {
        signing(api.sealer.as_ref())?;
    }
    let sealed_headers = form.sealed_headers(api.sealer.as_ref())?.flatten();
    let key = IssuedKey::generate(KeyKind::Agent);
    let new = NewAgent {
        domain: domain.clone(),
        name: name.clone(),
        settings,
        sealed_headers,
        key: NewKey {
            id: key.id,
            hash: key.hash,
            grant: Grant::default(),
        },
        token,
        now: api.clock.now(),
    };
    match api.store.create_agent(new).await? {
        Created::Agent(_) => {}
        Created::Exists => {
            return Err(ApiError::new(ErrorCode::Conflict)
                .message("An agent of this address exists already."));
        }
        Created::TokenSpent => return Err(ApiError::new(ErrorCode::AccessDenied)),
    }
    let agent = api.store.find_agent(&domain, &name).await?;
    let agent = agent.ok_or_else(|| ApiError::new(ErrorCode::NotFound))?;
    let once = ShownOnce {
        api_key: Some(key.secret),
        webhook_secret: webhook_secret(api, &agent),
    };
    Ok((
        StatusCode::CREATED,
        Answer(OneAgent {
            agent: AgentView::with(&agent, once),
        }),
    ))
}

/// The secret of an agent's webhook, where it has one.
fn webhook_secret(api: &Api, agent: &Agent) -> Option<String> {
    let settings = &agent.settings;
    let has_webhook = settings.delivery_mode == DeliveryMode::Push;
    let sealer = api.sealer.as_ref().filter(|_| has_webhook)?;
    let sealer = sealer.by(settings.secret_keys.present)?;
    Some(sealer.shown_webhook_secret(agent.id, settings.secret_generation))
}

#[derive(Serialize)]
pub(crate) struct AgentList {
    agents: Vec<AgentView>,
    next_cursor: Option<String>,
}

/// `GET /v1/admin/agents`
pub(crate) async fn list(State(api): Gate, params: Params) -> Result<Answer<AgentList>, ApiError> {
    let limit = params.number("limit", 1..=1000, 100)?;
    let after = agent_cursor::read(&params)?;
    let mut agents = api.store.list_agents(after.as_ref(), limit + 1).await?;
    let more = agents.len() > limit;
    agents.truncate(limit);
    let next_cursor = agents
        .last()
        .filter(|_| more)
        .map(|agent| agent_cursor::write(&agent.address));
    let agents = agents.iter().map(AgentView::of).collect();
    Ok(Answer(AgentList {
        agents,
        next_cursor,
    }))
}

/// `GET /v1/admin/agents/{address}`
pub(crate) async fn show(
    State(api): Gate,
    Path(address): Path<String>,
) -> Result<Answer<OneAgent>, ApiError> {
    let agent = find(&api, &address).await?;
    let view = AgentView {
        members: members::of(&api, &agent).await?,
        ..AgentView::of(&agent)
    };
    Ok(Answer(OneAgent { agent: view }))
}

/// `PATCH /v1/admin/agents/{address}`
pub(crate) async fn change(
    State(api): Gate,
    Path(address): Path<String>,
    Json(form): Json<AgentForm>,
) -> Result<Answer<OneAgent>, ApiError> {
    let agent = find(&api, &address).await?;
    if form.address.is_some() {
        return Err(invalid_field(
            "address",
            "cannot be changed: add a new agent",
        ));
    }
    if form.kind.is_some_and(|kind| kind != agent.settings.kind) {
        return Err(invalid_field("kind", "cannot be changed: add a new agent"));
    }
    let settings = form.apply(agent.settings.clone())?;
    members::check(&api, &settings)?;
    elsewhere(&api, &settings)?;
    let pushed = agent.settings.delivery_mode == DeliveryMode::Push;
    let begins_push = !pushed && settings.delivery_mode == DeliveryMode::Push;
    if begins_push {
        signing(api.sealer.as_ref())?;
    }
    let change = AgentChange {
        id: agent.id,
        settings,
        sealed_headers: form.sealed_headers(api.sealer.as_ref())?,
        active: form.active.unwrap_or(agent.active),
        now: api.clock.now(),
    };
    if !api.store.change_agent(change).await? {
        return Err(ApiError::new(ErrorCode::NotFound));
    }
    let agent = find(&api, &address).await?;
    let once = ShownOnce {
        webhook_secret: webhook_secret(&api, &agent).filter(|_| begins_push),
        ..ShownOnce::default()
    };
    Ok(Answer(OneAgent {
        agent: AgentView::with(&agent, once),
    }))
}

/// `DELETE /v1/admin/agents/{address}`
pub(crate) async fn remove(
    State(api): Gate,
    Path(address): Path<String>,
) -> Result<StatusCode, ApiError> {
    let agent = find(&api, &address).await?;
    match api.store.delete_agent(agent.id, api.clock.now()).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(ApiError::new(ErrorCode::NotFound)),
    }
}

/// `POST /v1/admin/agents/{address}/rotate-webhook-secret`
pub(crate) async fn rotate_webhook_secret(
    State(api): Gate,
    Path(address): Path<String>,
) -> Result<Answer<OneAgent>, ApiError> {
    let agent = find(&api, &address).await?;
    if agent.settings.delivery_mode != DeliveryMode::Push {
        return Err(ApiError::new(ErrorCode::Conflict).message("The agent has no webhook."));
    }
    let key = signing(api.sealer.as_ref())?.mark();
    let now = api.clock.now();
    let rotated = api.store.rotate_webhook_secret(agent.id, key, now);
    let rotated = rotated.await?;
    rotated.ok_or_else(|| ApiError::new(ErrorCode::NotFound))?;
    let agent = find(&api, &address).await?;
    let once = ShownOnce {
        webhook_secret: webhook_secret(&api, &agent),
        ..ShownOnce::default()
    };
    Ok(Answer(OneAgent {
        agent: AgentView::with(&agent, once),
    }))
}

/// An address stands for an agent of another domain, not for one of ours.
fn elsewhere(api: &Api, settings: &AgentSettings) -> Result<(), ApiError> {
    match settings.stands_for() {
        Some(target) if api.names.is_local(target.domain()) => Err(invalid_field(
            "push_target",
            "is of a domain of this gateway: mode peer is for agents of others",
        )),
        _ => Ok(()),
    }
}

/// The registered agent of a name or address.
pub(super) async fn find(api: &Api, text: &str) -> Result<Agent, ApiError> {
    let full = if text.contains('@') {
        text.to_owned()
    } else {
        format!("{text}@{}", api.main_domain.as_str())
    };
    let missing = || ApiError::new(ErrorCode::NotFound);
    let address = Address::parse(&full).map_err(|_| missing())?;
    let name = AgentName::parse(address.local()).map_err(|_| missing())?;
    let agent = api
        .store
        .find_agent(address.domain(), &name)
        .await?
        .ok_or_else(missing)?;
    Ok((*agent).clone())
}
