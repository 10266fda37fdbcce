//! `/v1/admin/sessions`: who is connected, and the operator's hand on it.

use axum::Json as Answer;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Serialize;
use uuid::Uuid;

use crate::endpoint::http::cursor;
use crate::endpoint::http::error::ApiError;
use crate::endpoint::http::extract::{Gate, Params, invalid_field};
use crate::protocol::{ErrorCode, Timestamp};
use crate::store::{SessionFilter, SessionRow};

/// What a session is told that an operator closes.
const REASON: &str = "closed by the operator";

#[derive(Serialize)]
pub(crate) struct SessionList {
    sessions: Vec<SessionView>,
    next_cursor: Option<String>,
}

#[derive(Serialize)]
struct SessionView {
    id: Uuid,
    agent: String,
    mailbox: String,
    key_id: String,
    kind: &'static str,
    node: String,
    remote: Option<String>,
    state: &'static str,
    opened_at: Timestamp,
    last_seen: Timestamp,
    detached_at: Option<Timestamp>,
    unacknowledged: u64,
}

impl From<SessionRow> for SessionView {
    fn from(row: SessionRow) -> Self {
        Self {
            id: row.id,
            agent: row.agent_address,
            mailbox: row.mailbox_address,
            key_id: row.key_id,
            kind: row.kind.as_str(),
            node: row.node,
            remote: row.remote,
            state: match row.detached_at {
                None => "attached",
                Some(_) => "detached",
            },
            opened_at: row.opened_at,
            last_seen: row.seen_at,
            detached_at: row.detached_at,
            unacknowledged: row.unacknowledged,
        }
    }
}

/// `GET /v1/admin/sessions`
pub(crate) async fn list(
    State(api): Gate,
    params: Params,
) -> Result<Answer<SessionList>, ApiError> {
    let limit = params.number("limit", 1..=1000, 100)?;
    let agent = match params.text("agent") {
        None => None,
        Some(address) => Some(super::agents::find(&api, address).await?.id),
    };
    let node = params.text("node").map(Uuid::parse_str).transpose();
    let node = node.map_err(|_| invalid_field("node", "must be the id of a gateway"))?;
    let filter = SessionFilter {
        agent,
        node: node.map(|node| node.to_string()),
        after: params.cursor()?.unwrap_or(0),
        limit: limit + 1,
    };
    let mut found = api.store.list_sessions(&filter).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let last = found.last().filter(|_| more);
    Ok(Answer(SessionList {
        next_cursor: last.map(|last| cursor::write(last.number)),
        sessions: found.into_iter().map(SessionView::from).collect(),
    }))
}

/// `DELETE /v1/admin/sessions/{id}`
pub(crate) async fn close(
    State(api): Gate,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let Ok(id) = Uuid::parse_str(&id) else {
        return Err(ApiError::new(ErrorCode::NotFound));
    };
    let now = api.clock.now();
    match api.store.dismiss_session(id, REASON, now).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(ApiError::new(ErrorCode::NotFound)),
    }
}
