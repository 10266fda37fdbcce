//! `/v1/admin/suppressions`: addresses that no mail is sent to any more.

use axum::Json as Answer;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Serialize;

use crate::endpoint::http::agent_cursor;
use crate::endpoint::http::error::ApiError;
use crate::endpoint::http::extract::{Gate, Params};
use crate::protocol::{Address, ErrorCode, Timestamp};
use crate::store::Suppression;

#[derive(Serialize)]
pub(crate) struct SuppressionView {
    address: String,
    because: &'static str,
    text: String,
    since: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
}

impl From<Suppression> for SuppressionView {
    fn from(it: Suppression) -> Self {
        Self {
            address: it.address,
            because: it.because.as_str(),
            text: it.text,
            since: it.since,
            message_id: it.message_id,
        }
    }
}

#[derive(Serialize)]
pub(crate) struct SuppressionPage {
    suppressions: Vec<SuppressionView>,
    next_cursor: Option<String>,
}

/// `GET /v1/admin/suppressions?limit&cursor`
pub(crate) async fn list(
    State(api): Gate,
    params: Params,
) -> Result<Answer<SuppressionPage>, ApiError> {
    let limit = params.number("limit", 1..=1_000, 100)?;
    let after = agent_cursor::read(&params)?;
    let mut found = api
        .store
        .list_suppressions(after.as_ref(), limit + 1)
        .await?;
    let has_more = found.len() > limit;
    found.truncate(limit);
    let last = found.last().filter(|_| has_more);
    let next_cursor = last.and_then(|it| Address::parse(&it.address).ok());
    Ok(Answer(SuppressionPage {
        suppressions: found.into_iter().map(SuppressionView::from).collect(),
        next_cursor: next_cursor.map(|address| agent_cursor::write(&address)),
    }))
}

/// `DELETE /v1/admin/suppressions/{address}`
pub(crate) async fn release(
    State(api): Gate,
    Path(address): Path<String>,
) -> Result<StatusCode, ApiError> {
    let unknown = || ApiError::new(ErrorCode::NotFound);
    let address = Address::parse(&address).map_err(|_| unknown())?;
    match api.store.release_suppression(&address).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(unknown()),
    }
}
