//! `/v1/admin/schemas`: what payloads are checked against, stored, rolled out and tried.

use axum::Json as Answer;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::endpoint::http::error::ApiError;
use crate::endpoint::http::extract::{Gate, Json, Params, invalid_field};
use crate::protocol::{ErrorCode, SchemaId, Timestamp};
use crate::schema::{
    Found, MOST_BYTES, Mode, PutFault, SchemaFault, SchemaInfo, Schemas, Submission,
};
use crate::store::SchemaState;

/// Who changed a schema, as it is written down: there is one operator.
const OPERATOR: &str = "operator";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SchemaForm {
    #[serde(default)]
    id: Option<String>,
    document: Box<RawValue>,
    #[serde(default)]
    state: Option<String>,
    #[serde(default)]
    compatibility: Option<String>,
    #[serde(default)]
    force: bool,
}

impl SchemaForm {
    fn submission(self) -> Result<Submission, ApiError> {
        let mode = match self.compatibility.as_deref() {
            None => Mode::Backward,
            Some(word) => parsed("compatibility", word)?,
        };
        let state = match self.state.as_deref() {
            None => SchemaState::Required,
            Some(word) => parsed("state", word)?,
        };
        Ok(Submission {
            id: self.id.as_deref().map(|it| parsed("id", it)).transpose()?,
            document: Box::<str>::from(self.document).into_string().into_bytes(),
            state,
            mode: (!self.force).then_some(mode),
            by: OPERATOR.to_owned(),
        })
    }
}

fn parsed<T: std::str::FromStr>(field: &str, text: &str) -> Result<T, ApiError>
where
    T::Err: std::fmt::Display,
{
    text.parse()
        .map_err(|fault: T::Err| invalid_field(field, &fault.to_string()))
}

#[derive(Serialize)]
pub(crate) struct OneSchema {
    schema: SchemaView,
}

#[derive(Serialize)]
struct SchemaView {
    id: String,
    revision: i64,
    state: SchemaState,
    source: &'static str,
    sha256: String,
    created_at: Option<Timestamp>,
    changed_at: Option<Timestamp>,
    changed_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<Value>,
}

impl From<SchemaInfo> for SchemaView {
    fn from(info: SchemaInfo) -> Self {
        let (changed_at, changed_by) = info.changed.unzip();
        let hex = info.sha256.iter().map(|byte| format!("{byte:02x}"));
        Self {
            id: info.id,
            revision: info.revision,
            state: info.state,
            source: info.source.as_str(),
            sha256: hex.collect(),
            created_at: info.created_at,
            changed_at,
            changed_by,
            document: None,
        }
    }
}

impl From<Found> for SchemaView {
    fn from(found: Found) -> Self {
        Self {
            document: Some(found.document.value),
            ..Self::from(found.info)
        }
    }
}

/// What is shown of one revision, without its document.
async fn shown(schemas: &Schemas, id: &SchemaId, revision: i64) -> Result<OneSchema, ApiError> {
    let found = schemas.find(id, Some(revision)).await?;
    let found = found.ok_or(ApiError::new(ErrorCode::NotFound))?;
    Ok(OneSchema {
        schema: found.info.into(),
    })
}

impl From<PutFault> for ApiError {
    fn from(fault: PutFault) -> Self {
        let conflict = |text: String| Self::new(ErrorCode::Conflict).message(text);
        match fault {
            PutFault::Document(fault) => invalid_field("document", &fault.to_string()),
            PutFault::Breaks { against, breaks } => {
                let text = format!("This does not go with {against}; `force` stores it anyway.");
                conflict(text).details(json!({ "validation_errors": breaks }))
            }
            PutFault::File | PutFault::TooMany => conflict(format!("Not stored: {fault}.")),
            PutFault::Store(error) => error.into(),
        }
    }
}

/// `POST /v1/admin/schemas`
pub(crate) async fn create(
    State(api): Gate,
    Json(form): Json<SchemaForm, MOST_BYTES>,
) -> Result<(StatusCode, Answer<OneSchema>), ApiError> {
    let (id, revision, fresh) = api.schemas.put(form.submission()?).await?;
    let status = match fresh {
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    Ok((status, Answer(shown(&api.schemas, &id, revision).await?)))
}

#[derive(Serialize)]
pub(crate) struct SchemaList {
    schemas: Vec<SchemaView>,
    next_cursor: Option<String>,
    faults: Vec<String>,
}

/// `GET /v1/admin/schemas`
pub(crate) async fn list(State(api): Gate, params: Params) -> Result<Answer<SchemaList>, ApiError> {
    let limit = params.number("limit", 1..=1000, 100)?;
    let after = cursor(&params)?;
    let after = after.as_ref().map(|(id, number)| (id.as_str(), *number));
    let mut found = api.schemas.list(after, limit + 1).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let last = found.last().filter(|_| more);
    let position = last.map(|it| format!("{} {}", it.revision, it.id));
    Ok(Answer(SchemaList {
        next_cursor: position.map(|text| URL_SAFE_NO_PAD.encode(text)),
        schemas: found.into_iter().map(SchemaView::from).collect(),
        faults: api.schemas.faults(),
    }))
}

/// The identifier and the revision behind which to go on.
fn cursor(params: &Params) -> Result<Option<(String, i64)>, ApiError> {
    let Some(text) = params.text("cursor") else {
        return Ok(None);
    };
    let read = || {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let (revision, id) = text.split_once(' ')?;
        Some((id.to_owned(), revision.parse().ok()?))
    };
    let position = read().ok_or_else(|| invalid_field("cursor", "is not one of ours"))?;
    Ok(Some(position))
}

fn id_of(text: &str) -> Result<SchemaId, ApiError> {
    // Nothing is stored under what is no identifier.
    SchemaId::parse(text).map_err(|_| ApiError::new(ErrorCode::NotFound))
}

fn revision_of(params: &Params) -> Result<Option<i64>, ApiError> {
    let text = params.text("revision");
    let number = text.map(|text| text.parse().ok().filter(|number| *number >= 0));
    match number {
        None => Ok(None),
        Some(Some(number)) => Ok(Some(number)),
        Some(None) => Err(invalid_field("revision", "must be a whole number from 0")),
    }
}

/// `GET /v1/admin/schemas/{id}`
pub(crate) async fn show(
    State(api): Gate,
    Path(id): Path<String>,
    params: Params,
) -> Result<Answer<OneSchema>, ApiError> {
    let found = api
        .schemas
        .find(&id_of(&id)?, revision_of(&params)?)
        .await?;
    let found = found.ok_or(ApiError::new(ErrorCode::NotFound))?;
    Ok(Answer(OneSchema {
        schema: found.into(),
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StateForm {
    state: String,
    #[serde(default)]
    revision: Option<i64>,
}

/// `PATCH /v1/admin/schemas/{id}`
pub(crate) async fn change(
    State(api): Gate,
    Path(id): Path<String>,
    Json(form): Json<StateForm>,
) -> Result<Answer<OneSchema>, ApiError> {
    let id = id_of(&id)?;
    let state = parsed("state", &form.state)?;
    let place = (&id, form.revision);
    let set = api.schemas.set_state(place, state, OPERATOR).await?;
    let revision = set.ok_or(ApiError::new(ErrorCode::NotFound))?;
    Ok(Answer(shown(&api.schemas, &id, revision).await?))
}

/// `DELETE /v1/admin/schemas/{id}`
pub(crate) async fn remove(
    State(api): Gate,
    Path(id): Path<String>,
    params: Params,
) -> Result<StatusCode, ApiError> {
    let (id, revision) = (id_of(&id)?, revision_of(&params)?);
    if revision == Some(0) {
        let text = "is a file; remove it from the folder";
        return Err(invalid_field("revision", text));
    }
    match api.schemas.remove(&id, revision).await? {
        0 => Err(ApiError::new(ErrorCode::NotFound)),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PayloadForm {
    payload: Box<RawValue>,
    #[serde(default)]
    revision: Option<i64>,
}

#[derive(Serialize)]
pub(crate) struct Tried {
    valid: bool,
    validation_errors: Vec<SchemaFault>,
}

/// `POST /v1/admin/schemas/{id}/validate`
pub(crate) async fn validate(
    State(api): Gate,
    Path(id): Path<String>,
    Json(form): Json<PayloadForm, MOST_BYTES>,
) -> Result<Answer<Tried>, ApiError> {
    let (id, payload) = (id_of(&id)?, form.payload.get());
    let tried = api.schemas.try_payload(&id, form.revision, payload).await?;
    let faults = tried.ok_or(ApiError::new(ErrorCode::NotFound))?;
    Ok(Answer(Tried {
        valid: faults.is_empty(),
        validation_errors: faults,
    }))
}
