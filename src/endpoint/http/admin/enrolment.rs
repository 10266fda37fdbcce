//! `/v1/admin/enrolment-tokens`: tokens with which agents register themselves.

use std::time::Duration;

use axum::Json as Answer;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::auth::{IssuedKey, KeyKind, NamePattern};
use crate::endpoint::http::error::ApiError;
use crate::endpoint::http::extract::{Gate, Json, invalid_field, span};
use crate::protocol::{Domain, ErrorCode, Timestamp};
use crate::store::{EnrolmentToken, NewEnrolmentToken};

const DEFAULT_LIFE: Duration = Duration::from_secs(86_400);
const LONGEST_LIFE: Duration = Duration::from_secs(90 * 86_400);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenForm {
    #[serde(default)]
    domain: Option<String>,
    #[serde(default)]
    names: Option<String>,
    #[serde(default)]
    uses: Option<u32>,
    #[serde(default)]
    expires_in: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct TokenView {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    domain: String,
    names: String,
    uses_left: i64,
    created_at: Timestamp,
    expires_at: Timestamp,
}

impl From<EnrolmentToken> for TokenView {
    fn from(token: EnrolmentToken) -> Self {
        Self {
            id: token.id,
            token: None,
            domain: token.domain,
            names: token.pattern,
            uses_left: token.uses_left,
            created_at: token.created_at,
            expires_at: token.expires_at,
        }
    }
}

#[derive(Serialize)]
pub(crate) struct OneToken {
    enrolment_token: TokenView,
}

/// `POST /v1/admin/enrolment-tokens`
pub(crate) async fn create(
    State(api): Gate,
    Json(form): Json<TokenForm>,
) -> Result<(StatusCode, Answer<OneToken>), ApiError> {
    let domain = match form.domain.as_deref() {
        None => api.main_domain.clone(),
        Some(text) => Domain::parse(text)
            .ok()
            .filter(|domain| api.names.is_local(domain))
            .ok_or_else(|| invalid_field("domain", "is not a domain of this gateway"))?,
    };
    let names = NamePattern::parse(form.names.as_deref().unwrap_or("*"))
        .map_err(|fault| invalid_field("names", &fault.to_string()))?;
    let uses = form.uses.unwrap_or(1);
    if !(1..=10_000).contains(&uses) {
        return Err(invalid_field(
            "uses",
            "must be a whole number from 1 to 10000",
        ));
    }
    let life = match form.expires_in.as_deref() {
        None => DEFAULT_LIFE,
        Some(text) => span(text)
            .filter(|life| !life.is_zero() && *life <= LONGEST_LIFE)
            .ok_or_else(|| {
                invalid_field("expires_in", "must be a time span such as 24h, at most 90d")
            })?,
    };
    let key = IssuedKey::generate(KeyKind::Enrolment);
    let now = api.clock.now();
    let new = NewEnrolmentToken {
        id: key.id.clone(),
        hash: key.hash,
        domain: domain.clone(),
        pattern: names.as_str().to_owned(),
        uses,
        now,
        expires_at: now.plus(life),
    };
    api.store.create_enrolment_token(new).await?;
    let view = TokenView {
        id: key.id,
        token: Some(key.secret),
        domain: domain.as_str().to_owned(),
        names: names.as_str().to_owned(),
        uses_left: i64::from(uses),
        created_at: now,
        expires_at: now.plus(life),
    };
    Ok((
        StatusCode::CREATED,
        Answer(OneToken {
            enrolment_token: view,
        }),
    ))
}

#[derive(Serialize)]
pub(crate) struct TokenList {
    enrolment_tokens: Vec<TokenView>,
}

/// `GET /v1/admin/enrolment-tokens`
pub(crate) async fn list(State(api): Gate) -> Result<Answer<TokenList>, ApiError> {
    let tokens = api.store.list_enrolment_tokens().await?;
    Ok(Answer(TokenList {
        enrolment_tokens: tokens.into_iter().map(TokenView::from).collect(),
    }))
}

/// `DELETE /v1/admin/enrolment-tokens/{id}`
pub(crate) async fn revoke(
    State(api): Gate,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    match api.store.revoke_enrolment_token(id).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(ApiError::new(ErrorCode::NotFound)),
    }
}
