//! `/a2a/…` and the well-known places of A2A: who is calling, and what it sends.

use std::time::Duration;

use axum::Json as Answer;
use axum::extract::{FromRequestParts as _, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use serde_json::Value;

use super::error::ApiError;
use super::extract::{Came, Gate, Params, invalid_field, presented, turned_away};
use super::{Shared, agent_cursor};
use crate::auth::Presented;
use crate::endpoint::a2a::{A2a, Place, Visitor, Wanted};
use crate::envelope::Principal;
use crate::protocol::ErrorCode;
use crate::store::AgentKind;

/// Agents in one answer.
const MOST: usize = 1_000;

/// Everything under `/a2a`.
pub(super) async fn serve(State(api): Gate, request: Request) -> Result<Response, ApiError> {
    let a2a = endpoint(&api)?.clone();
    let (mut parts, body) = request.into_parts();
    let is_local = |domain: &_| api.names.is_local(domain);
    let place = Place::read(parts.uri.path(), is_local);
    let place = place.ok_or_else(|| ApiError::new(ErrorCode::NotFound))?;
    if matches!(place.wanted, Wanted::Card { .. }) {
        let visitor = visitor(&mut parts, &api, Principal::Anonymous).await?;
        return match parts.method {
            Method::GET | Method::HEAD => Ok(a2a.card(&place, &visitor).await),
            _ => Err(ApiError::new(ErrorCode::MethodNotAllowed)),
        };
    }
    let visitor = match presented(&parts, &api.auth).await? {
        Presented::Nothing => visitor(&mut parts, &api, Principal::Anonymous).await?,
        Presented::Principal(principal) => visitor(&mut parts, &api, principal).await?,
        Presented::Invalid => {
            let visitor = visitor(&mut parts, &api, Principal::Anonymous).await?;
            let what = ("auth.failed", ErrorCode::AuthenticationFailed);
            let told = turned_away(&parts, &api, what).await;
            return Ok(refused(&a2a, &told, (&place, &visitor)));
        }
    };
    let agent = match a2a.enter(&place, &visitor).await {
        Ok(agent) => agent,
        Err(answer) => return Ok(*answer),
    };
    let (method, limit) = (parts.method.clone(), api.intake.read_limit());
    let body = api.reader.read(Request::from_parts(parts, body), limit);
    let body = match body.await {
        Ok(body) => body,
        Err(fault) => return Ok(refused(&a2a, &fault.into(), (&place, &visitor))),
    };
    match (&place.wanted, agent, &method) {
        (Wanted::Root, agent, &Method::POST) => Ok(a2a.call(agent, &visitor, &body).await),
        (Wanted::Rest(steps), Some(agent), method) => {
            let route = (method, steps.as_slice());
            Ok(a2a.operation(agent, route, &visitor, &body).await)
        }
        _ => Err(ApiError::new(ErrorCode::MethodNotAllowed)),
    }
}

#[derive(Serialize)]
pub(super) struct DirectoryView {
    agents: Vec<Value>,
    next_cursor: Option<String>,
}

/// `GET /a2a`: the listed agents.
pub(super) async fn list(
    State(api): Gate,
    params: Params,
) -> Result<Answer<DirectoryView>, ApiError> {
    let a2a = endpoint(&api)?;
    let limit = params.number("limit", 1..=MOST, MOST)?;
    let mut after = agent_cursor::read(&params)?;
    let mut agents = Vec::new();
    loop {
        let page = api.store.list_agents(after.as_ref(), MOST).await?;
        let last_page = page.len() < MOST;
        for agent in page {
            if agents.len() == limit {
                let next_cursor = after.as_ref().map(agent_cursor::write);
                return Ok(Answer(DirectoryView {
                    agents,
                    next_cursor,
                }));
            }
            let shown = agent.settings.listed
                && agent.active
                && agent.settings.kind != AgentKind::Topic
                && api.names.is_local(agent.address.domain());
            if shown {
                agents.push(a2a.entry(&agent));
            }
            after = Some(agent.address);
        }
        if last_page {
            let next_cursor = None;
            return Ok(Answer(DirectoryView {
                agents,
                next_cursor,
            }));
        }
    }
}

/// `GET /.well-known/agent-card.json`
pub(super) async fn card(State(api): Gate, request: Request) -> Result<Response, ApiError> {
    default_card(&api, request, false).await
}

/// `GET /.well-known/agent.json`
pub(super) async fn old_card(State(api): Gate, request: Request) -> Result<Response, ApiError> {
    default_card(&api, request, true).await
}

async fn default_card(api: &Shared, request: Request, old: bool) -> Result<Response, ApiError> {
    let a2a = endpoint(api)?;
    let (mut parts, _) = request.into_parts();
    let visitor = visitor(&mut parts, api, Principal::Anonymous).await?;
    Ok(a2a.default_card(old, &visitor).await)
}

/// `GET /.well-known/jwks.json`
pub(super) async fn keys(State(api): Gate) -> Result<Response, ApiError> {
    Ok(Answer(endpoint(&api)?.card_keys()).into_response())
}

fn endpoint(api: &Shared) -> Result<&A2a, ApiError> {
    api.a2a.as_ref().ok_or_else(|| {
        ApiError::new(ErrorCode::NotFound)
            .message("A2A is off here: the configuration has no section `a2a`.")
    })
}

async fn visitor(
    parts: &mut Parts,
    api: &Shared,
    principal: Principal,
) -> Result<Visitor, ApiError> {
    let came = Came::from_request_parts(parts, api).await?;
    let query = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
        .map_err(|_| invalid_field("", "the query string is malformed"))?;
    let headers: HeaderMap = parts.headers.clone();
    Ok(Visitor {
        principal,
        remote: came.remote,
        request_id: came.request_id.as_str().to_owned(),
        headers,
        query: query.0,
    })
}

fn refused(a2a: &A2a, error: &ApiError, at: (&Place, &Visitor)) -> Response {
    let retry_after: Option<Duration> = error.said().retry_after;
    a2a.refused_with(error.code(), retry_after, at)
}
