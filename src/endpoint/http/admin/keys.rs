//! `/v1/admin/agents/{address}/keys`: the API keys of an agent, each with what it is good for.

use std::time::Duration;

use axum::Json as Answer;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::agents::{OneAgent, find};
use crate::auth::{IssuedKey, KeyKind};
use crate::endpoint::http::error::ApiError;
use crate::endpoint::http::extract::{Gate, Json, invalid_field, span};
use crate::envelope::Scopes;
use crate::protocol::{ErrorCode, Timestamp};
use crate::store::{ApiKey, Grant, MOST_KEYS, NewKey};

const DEFAULT_OVERLAP: Duration = Duration::from_secs(3_600);
const LONGEST_OVERLAP: Duration = Duration::from_secs(30 * 86_400);
const LONGEST_LIFE: Duration = Duration::from_secs(3_650 * 86_400);
const LONGEST_LABEL: usize = 100;

/// What a new key is good for; all of it may be left out.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct KeyForm {
    scopes: Option<Vec<String>>,
    tier: Option<String>,
    label: Option<String>,
    expires_in: Option<String>,
}

impl KeyForm {
    fn grant(self, tiers: &[String], now: Timestamp) -> Result<Grant, ApiError> {
        let scopes = match &self.scopes {
            None => Scopes::ALL,
            Some(words) => Scopes::parse(words.iter().map(String::as_str))
                .map_err(|fault| invalid_field("scopes", &fault.to_string()))?,
        };
        if scopes.is_empty() {
            return Err(invalid_field("scopes", "must name at least one scope"));
        }
        if let Some(tier) = &self.tier
            && !tiers.contains(tier)
        {
            return Err(invalid_field("tier", "is not one of `limits.tiers`"));
        }
        Ok(Grant {
            scopes,
            tier: self.tier,
            label: label("label", self.label)?,
            expires_at: expiry(self.expires_in.as_deref(), now)?,
        })
    }
}

/// A short text for people.
pub(super) fn label(field: &str, text: Option<String>) -> Result<Option<String>, ApiError> {
    let text = text.filter(|text| !text.is_empty());
    match &text {
        Some(text) if text.len() > LONGEST_LABEL || text.chars().any(char::is_control) => {
            Err(invalid_field(
                field,
                &format!("must have at most {LONGEST_LABEL} bytes and no control characters"),
            ))
        }
        _ => Ok(text),
    }
}

/// When something ends that is to last so long.
pub(super) fn expiry(text: Option<&str>, now: Timestamp) -> Result<Option<Timestamp>, ApiError> {
    let Some(text) = text else {
        return Ok(None);
    };
    let life = span(text).filter(|life| !life.is_zero() && *life <= LONGEST_LIFE);
    let life = life.ok_or_else(|| {
        invalid_field(
            "expires_in",
            "must be a time span such as 90d, at most 3650d",
        )
    })?;
    Ok(Some(now.plus(life)))
}

#[derive(Serialize)]
pub(crate) struct KeyList {
    keys: Vec<KeyView>,
}

#[derive(Serialize)]
pub(crate) struct KeyView {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<String>,
    scopes: Vec<&'static str>,
    tier: Option<String>,
    label: Option<String>,
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
    last_used: Option<Timestamp>,
}

impl From<ApiKey> for KeyView {
    fn from(key: ApiKey) -> Self {
        Self {
            id: key.id,
            api_key: None,
            scopes: key.grant.scopes.words().collect(),
            tier: key.grant.tier,
            label: key.grant.label,
            created_at: key.created_at,
            expires_at: key.grant.expires_at,
            last_used: key.last_used_at,
        }
    }
}

#[derive(Serialize)]
pub(crate) struct OneKey {
    key: KeyView,
}

/// `POST /v1/admin/agents/{address}/keys`
pub(crate) async fn create(
    State(api): Gate,
    Path(address): Path<String>,
    Json(form): Json<KeyForm>,
) -> Result<(StatusCode, Answer<OneKey>), ApiError> {
    let agent = find(&api, &address).await?;
    let now = api.clock.now();
    let grant = form.grant(&api.tiers, now)?;
    let key = IssuedKey::generate(KeyKind::Agent);
    let new = NewKey {
        id: key.id.clone(),
        hash: key.hash,
        grant: grant.clone(),
    };
    if !api.store.add_key(agent.id, new, now).await? {
        return Err(ApiError::new(ErrorCode::Conflict).message(format!(
            "The agent has {MOST_KEYS} keys already: revoke one."
        )));
    }
    let view = KeyView {
        id: key.id,
        api_key: Some(key.secret),
        scopes: grant.scopes.words().collect(),
        tier: grant.tier,
        label: grant.label,
        created_at: now,
        expires_at: grant.expires_at,
        last_used: None,
    };
    Ok((StatusCode::CREATED, Answer(OneKey { key: view })))
}

/// `GET /v1/admin/agents/{address}/keys`
pub(crate) async fn list(
    State(api): Gate,
    Path(address): Path<String>,
) -> Result<Answer<KeyList>, ApiError> {
    let agent = find(&api, &address).await?;
    let keys = api.store.list_keys(agent.id).await?;
    Ok(Answer(KeyList {
        keys: keys.into_iter().map(KeyView::from).collect(),
    }))
}

/// `DELETE /v1/admin/agents/{address}/keys/{key_id}`
pub(crate) async fn revoke(
    State(api): Gate,
    Path((address, key)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let agent = find(&api, &address).await?;
    match api.store.revoke_key(agent.id, key, api.clock.now()).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(ApiError::new(ErrorCode::NotFound)),
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rotation {
    #[serde(default)]
    overlap: Option<String>,
    /// The key it takes the place of; without it, of all.
    #[serde(default)]
    key_id: Option<String>,
}

/// `POST /v1/admin/agents/{address}/rotate-key`
pub(crate) async fn rotate(
    State(api): Gate,
    Path(address): Path<String>,
    Json(rotation): Json<Rotation>,
) -> Result<Answer<OneAgent>, ApiError> {
    let overlap = match rotation.overlap.as_deref() {
        None => DEFAULT_OVERLAP,
        Some(text) => span(text)
            .filter(|overlap| *overlap <= LONGEST_OVERLAP)
            .ok_or_else(|| {
                invalid_field("overlap", "must be a time span such as 1h, at most 30d")
            })?,
    };
    let agent = find(&api, &address).await?;
    let key = IssuedKey::generate(KeyKind::Agent);
    let now = api.clock.now();
    let new = NewKey {
        id: key.id,
        hash: key.hash,
        grant: Grant::default(),
    };
    let which = (agent.id, rotation.key_id);
    if !api
        .store
        .rotate_key(which, new, now.plus(overlap), now)
        .await?
    {
        return Err(invalid_field("key_id", "is no key of this agent"));
    }
    Ok(Answer(OneAgent::with_key(&agent, key.secret)))
}
