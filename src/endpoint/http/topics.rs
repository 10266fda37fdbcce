//! `/v1/topics` and `/v1/broadcast`: publishing, and reading what was published.

mod subscriptions;

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use serde_json::value::RawValue;

use super::error::ApiError;
use super::extract::{Came, Gate, Json, Known, MessageBody, Params, invalid_field};
use super::messages::ReceiptView;
use super::view::full_message;
use super::{Api, admin, agent_cursor};
use crate::envelope::Principal;
use crate::protocol::{Address, ErrorCode, SchemaPattern, Timestamp};
use crate::store::{Agent, AgentKind, StoredPublication};
use crate::topics::{Audience, Broadcasting, Caller, Publishing};

pub(super) use subscriptions::{
    end, end_any, list as list_subscriptions, list_any, subscribe, subscribe_any,
};

/// Agents read from the store at a time.
const STEP: usize = 500;

#[derive(Serialize)]
pub(super) struct OneTopic {
    topic: TopicView,
}

#[derive(Serialize)]
struct TopicView {
    address: String,
    description: Option<String>,
    supported_schemas: Vec<SchemaPattern>,
    retention_seconds: Option<u64>,
    keep: Option<u64>,
    retain: bool,
    /// The number of the last publication.
    version: i64,
    published_at: Option<Timestamp>,
    /// Only for the topic's own key and for staff.
    #[serde(skip_serializing_if = "Option::is_none")]
    subscribers: Option<i64>,
}

#[derive(Serialize)]
pub(super) struct TopicList {
    topics: Vec<TopicView>,
    next_cursor: Option<String>,
}

/// `GET /v1/topics`
pub(super) async fn list(
    State(api): Gate,
    Known(principal): Known,
    params: Params,
) -> Result<Answer<TopicList>, ApiError> {
    let limit = params.number("limit", 1..=1000, 100)?;
    let mut after = agent_cursor::read(&params)?;
    let mut found: Vec<Agent> = Vec::new();
    let mut next_cursor = None;
    'pages: loop {
        let page = api.store.list_agents(after.as_ref(), STEP).await?;
        let is_last = page.len() < STEP;
        for agent in page {
            if found.len() == limit {
                next_cursor = after.as_ref().map(agent_cursor::write);
                break 'pages;
            }
            after = Some(agent.address.clone());
            if agent.settings.kind == AgentKind::Topic && is_shown(&principal, &agent) {
                found.push(agent);
            }
        }
        if is_last {
            break;
        }
    }
    let topics = views(&api, &principal, &found).await?;
    Ok(Answer(TopicList {
        topics,
        next_cursor,
    }))
}

/// `GET /v1/topics/{name}`
pub(super) async fn show(
    State(api): Gate,
    Known(principal): Known,
    Path(name): Path<String>,
) -> Result<Answer<OneTopic>, ApiError> {
    let topic = find(&api, &name).await?;
    let mut views = views(&api, &principal, std::slice::from_ref(&topic)).await?;
    let topic = views.pop().ok_or(ApiError::new(ErrorCode::NotFound))?;
    Ok(Answer(OneTopic { topic }))
}

/// `POST /v1/topics`
pub(super) async fn create(
    State(api): Gate,
    Json(form): Json<admin::form::AgentForm>,
) -> Result<(StatusCode, Answer<admin::agents::OneAgent>), ApiError> {
    if form.kind.is_some_and(|kind| kind != AgentKind::Topic) {
        return Err(invalid_field("kind", "must be topic, or absent"));
    }
    let kind = Some(AgentKind::Topic);
    let form = admin::form::AgentForm { kind, ..form };
    admin::agents::create(State(api), Json(form)).await
}

fn is_shown(principal: &Principal, agent: &Agent) -> bool {
    agent.settings.listed || owns(principal, agent)
}

/// Whether a caller sees more of a topic than others: its own key, or staff.
fn owns(principal: &Principal, topic: &Agent) -> bool {
    match principal {
        Principal::Agent { id, .. } => *id == topic.id,
        Principal::Staff { .. } => true,
        Principal::Anonymous => false,
    }
}

async fn views(
    api: &Api,
    principal: &Principal,
    topics: &[Agent],
) -> Result<Vec<TopicView>, ApiError> {
    let numbers: Vec<i64> = topics.iter().map(|topic| topic.id).collect();
    let latest = api.store.latest_publications(&numbers).await?;
    let counts = api.store.count_subscriptions(&numbers).await?;
    let counts: HashMap<i64, i64> = counts.into_iter().collect();
    let view = |topic: &Agent| {
        let kept = topic.settings.topic.unwrap_or_default();
        let (version, published_at) = latest.get(&topic.id).copied().unwrap_or((0, None));
        let subscribers = counts.get(&topic.id).copied().unwrap_or(0);
        TopicView {
            address: topic.address.to_string(),
            description: topic.settings.description.clone(),
            supported_schemas: topic.settings.supported_schemas.clone(),
            retention_seconds: kept.retention_seconds,
            keep: kept.keep,
            retain: kept.retain,
            version,
            published_at,
            subscribers: owns(principal, topic).then_some(subscribers),
        }
    };
    Ok(topics.iter().map(view).collect())
}

/// The address behind the name of a topic in a path.
fn address(api: &Api, name: &str) -> Result<Address, ApiError> {
    let full = match name.contains('@') {
        true => name.to_owned(),
        false => format!("{name}@{}", api.main_domain),
    };
    Address::parse(&full).map_err(|_| ApiError::new(ErrorCode::NotFound))
}

async fn find(api: &Api, name: &str) -> Result<Agent, ApiError> {
    let topic = api.topics.find(&address(api, name)?).await?;
    Ok(Arc::unwrap_or_clone(topic))
}

#[derive(Serialize)]
pub(super) struct PublishedView {
    #[serde(flatten)]
    receipt: ReceiptView,
    topic: String,
    /// Nothing where it is held.
    version: Option<i64>,
}

/// `POST /v1/topics/{name}/messages`
pub(super) async fn publish(
    State(api): Gate,
    (Known(principal), mut came): (Known, Came),
    Path(name): Path<String>,
    params: Params,
    MessageBody(content): MessageBody,
) -> Result<(StatusCode, Answer<PublishedView>), ApiError> {
    let expected_version = match params.text("expected_version") {
        None => None,
        Some(text) => Some(text.parse().ok().filter(|it| *it >= 0).ok_or_else(|| {
            invalid_field(
                "expected_version",
                "must be the number of a publication, or 0",
            )
        })?),
    };
    let topic = address(&api, &name)?;
    let publishing = Publishing {
        topic: topic.clone(),
        content,
        expected_version,
        by: caller(principal, &mut came),
    };
    let published = Box::pin(api.topics.publish(publishing)).await?;
    let view = PublishedView {
        receipt: ReceiptView::of(published.receipt),
        topic: topic.to_string(),
        version: published.version,
    };
    Ok((StatusCode::ACCEPTED, Answer(view)))
}

/// `POST /v1/broadcast`
pub(super) async fn broadcast(
    State(api): Gate,
    Known(principal): Known,
    mut came: Came,
    params: Params,
    MessageBody(content): MessageBody,
) -> Result<(StatusCode, Answer<ReceiptView>), ApiError> {
    let audience = match params.text("to") {
        None | Some("connected") => Audience::Connected,
        Some("registered") => Audience::Registered,
        Some(_) => return Err(invalid_field("to", "must be connected or registered")),
    };
    let broadcasting = Broadcasting {
        content,
        audience,
        by: caller(principal, &mut came),
    };
    let receipt = Box::pin(api.topics.broadcast(broadcasting)).await?;
    Ok((StatusCode::ACCEPTED, Answer(ReceiptView::of(receipt))))
}

fn caller(principal: Principal, came: &mut Came) -> Caller {
    Caller {
        principal,
        remote: came.remote,
        request_id: came.request_id.as_str().to_owned(),
        entry: came.entry.take(),
    }
}

#[derive(Serialize)]
pub(super) struct KeptView {
    topic: String,
    messages: Vec<Box<RawValue>>,
    count: usize,
    has_more: bool,
    /// The number to go on after.
    next_after: Option<i64>,
}

/// `GET /v1/topics/{name}/messages`
pub(super) async fn kept(
    State(api): Gate,
    Known(principal): Known,
    Path(name): Path<String>,
    params: Params,
) -> Result<Answer<KeptView>, ApiError> {
    let limit = params.number("limit", 1..=64, 64)?;
    let after = params.number("after", 0..=usize::MAX, 0)?;
    let topic = find(&api, &name).await?;
    api.topics.may_read(&principal, &topic)?;
    let number = |text: usize| i64::try_from(text).unwrap_or(i64::MAX);
    let (found, has_more) = api
        .store
        .publications_after(topic.id, number(after), number(limit))
        .await?;
    let messages = found.iter().map(shown).collect::<Result<Vec<_>, _>>()?;
    Ok(Answer(KeptView {
        topic: topic.address.to_string(),
        count: messages.len(),
        messages,
        next_after: found.last().map(|it| it.seq).filter(|_| has_more),
        has_more,
    }))
}

/// `GET /v1/topics/{name}/value`
pub(super) async fn value(
    State(api): Gate,
    Known(principal): Known,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    let topic = find(&api, &name).await?;
    api.topics.may_read(&principal, &topic)?;
    if !topic.settings.topic.unwrap_or_default().retain {
        return Err(ApiError::new(ErrorCode::NotFound).message("This topic keeps no value."));
    }
    let last = api.store.last_publication(topic.id).await?;
    let (mut found, _) = api.store.publications_after(topic.id, last - 1, 1).await?;
    let found = found
        .pop()
        .ok_or_else(|| ApiError::new(ErrorCode::NotFound).message("Nothing was published yet."))?;
    let mut answer = Answer(shown(&found)?).into_response();
    if let Ok(version) = HeaderValue::try_from(format!("\"{}\"", found.seq)) {
        answer.headers_mut().insert(header::ETAG, version);
    }
    Ok(answer)
}

/// A publication as it was sent, with its number and its time.
fn shown(publication: &StoredPublication) -> Result<Box<RawValue>, ApiError> {
    let version = publication.seq.to_string();
    let moment = format!("\"{}\"", publication.published_at);
    let members = [
        ("topic_version", version.as_str()),
        ("published_at", moment.as_str()),
    ];
    full_message(&publication.message, &members)
}
