//! `/v1/admin/staff`: keys of those who run the gateway, each with a role.

use axum::Json as Answer;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::keys::{expiry, label};
use crate::auth::{IssuedKey, KeyKind};
use crate::endpoint::http::error::ApiError;
use crate::endpoint::http::extract::{Gate, Json, invalid_field};
use crate::envelope::Role;
use crate::protocol::{ErrorCode, Timestamp};
use crate::store::{NewStaffKey, StaffKey};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StaffForm {
    name: String,
    role: Role,
    #[serde(default)]
    expires_in: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct StaffView {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    name: String,
    role: Role,
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
    last_used: Option<Timestamp>,
}

impl From<StaffKey> for StaffView {
    fn from(key: StaffKey) -> Self {
        Self {
            id: key.id,
            key: None,
            name: key.name,
            role: key.role,
            created_at: key.created_at,
            expires_at: key.expires_at,
            last_used: key.last_used_at,
        }
    }
}

#[derive(Serialize)]
pub(crate) struct OneKey {
    staff: StaffView,
}

#[derive(Serialize)]
pub(crate) struct StaffList {
    staff: Vec<StaffView>,
}

/// `POST /v1/admin/staff`
pub(crate) async fn create(
    State(api): Gate,
    Json(form): Json<StaffForm>,
) -> Result<(StatusCode, Answer<OneKey>), ApiError> {
    let now = api.clock.now();
    let name = label("name", Some(form.name))?;
    let name = name.ok_or_else(|| invalid_field("name", "says whose key it is"))?;
    let expires_at = expiry(form.expires_in.as_deref(), now)?;
    let key = IssuedKey::generate(KeyKind::Staff);
    let new = NewStaffKey {
        id: key.id.clone(),
        hash: key.hash,
        name: name.clone(),
        role: form.role,
        now,
        expires_at,
    };
    if !api.store.create_staff_key(new).await? {
        return Err(ApiError::new(ErrorCode::Conflict)
            .message("There are a thousand keys already: revoke some."));
    }
    let staff = StaffView {
        id: key.id,
        key: Some(key.secret),
        name,
        role: form.role,
        created_at: now,
        expires_at,
        last_used: None,
    };
    Ok((StatusCode::CREATED, Answer(OneKey { staff })))
}

/// `GET /v1/admin/staff`
pub(crate) async fn list(State(api): Gate) -> Result<Answer<StaffList>, ApiError> {
    let keys = api.store.list_staff_keys().await?;
    Ok(Answer(StaffList {
        staff: keys.into_iter().map(StaffView::from).collect(),
    }))
}

/// `DELETE /v1/admin/staff/{key_id}`
pub(crate) async fn revoke(
    State(api): Gate,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    match api.store.revoke_staff_key(id).await? {
        Some(_) => Ok(StatusCode::NO_CONTENT),
        None => Err(ApiError::new(ErrorCode::NotFound)),
    }
}
