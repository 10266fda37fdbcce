//! Typed extraction: credentials, bodies and query parameters, each with its own clear refusal.

use std::collections::HashMap;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequest, FromRequestParts, MatchedPath, Request, State};
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT};
use axum::http::request::Parts;
use bytes::Bytes;
use rustls_pki_types::CertificateDer;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::admit::entry;
use super::error::ApiError;
use super::request_id::RequestId;
use super::server::Connection;
use super::{Api, Shared};
use crate::admission::Entry;
use crate::auth::audit::{Event, Outcome, actor};
use crate::auth::{Access, Authenticator, Denial, Presented, masked};
use crate::envelope::Principal;
use crate::protocol::{Address, ErrorCode, Timestamp};

const ADMIN_KEY: &str = "x-admin-key";
/// Bodies of everything but messages are small.
const SMALL_BODY: usize = 256 * 1024;

/// What the caller showed of itself, good or not, where that is enough for the route.
#[derive(Debug, Clone)]
pub(super) struct Caller(pub(super) Presented);

impl FromRequestParts<Shared> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Shared) -> Result<Self, ApiError> {
        match parts.extensions.get::<Presented>() {
            Some(presented) => Ok(Self(presented.clone())),
            None => Ok(Self(authorised(parts, api).await?)),
        }
    }
}

/// What the caller showed, if the route lets it in. Who is turned away is noted, and waits where
/// that happens often.
pub(super) async fn authorised(parts: &Parts, api: &Shared) -> Result<Presented, ApiError> {
    let access = route_access(parts, api)?;
    let client = client(parts)?.client.ip();
    if access.is_for_staff() && !api.admin.admits(api.door, client) {
        return Err(turned_away(parts, api, ("auth.address", ErrorCode::AccessDenied)).await);
    }
    let presented = presented(parts, &api.auth).await?;
    let denied = match access.check(&presented) {
        Ok(()) => return Ok(presented),
        Err(Denial::Unknown) => ErrorCode::AuthenticationFailed,
        Err(Denial::Forbidden) => ErrorCode::AccessDenied,
    };
    let what = match presented {
        // Who forgets its key guesses nothing.
        Presented::Nothing => return Err(ApiError::new(denied)),
        Presented::Invalid => "auth.failed",
        Presented::Principal(principal) => {
            let subject = parts.uri.path();
            let event = Event::new("auth.denied", actor(&principal), subject, Outcome::Denied);
            api.audit.note(with_request(event, parts));
            return Err(ApiError::new(denied));
        }
    };
    Err(turned_away(parts, api, (what, denied)).await)
}

/// What the route asks. One that is in no table is shut, and so is a method that is not.
fn route_access(parts: &Parts, api: &Shared) -> Result<Access, ApiError> {
    let path = parts.extensions.get::<MatchedPath>();
    let access = path.and_then(|path| api.table.access(&parts.method, path.as_str()));
    let methods = path.and_then(|path| api.table.methods(path.as_str()));
    access.ok_or_else(|| match methods {
        Some(methods) => ApiError::new(ErrorCode::MethodNotAllowed).allow(methods),
        None => ApiError::internal("a route without a declared permission"),
    })
}

/// Notes a wrong credential, and answers when it may be told.
pub(super) async fn turned_away(
    parts: &Parts,
    api: &Shared,
    (what, code): (&str, ErrorCode),
) -> ApiError {
    let event = Event::new(
        what,
        "anonymous".to_owned(),
        parts.uri.path(),
        Outcome::Denied,
    );
    let event = with_request(event, parts);
    let remote = event.remote;
    api.audit.note(event);
    let Some(remote) = remote else {
        return ApiError::new(code);
    };
    match api.guesses.wrong(remote).await {
        Ok(()) => ApiError::new(code),
        Err(too_many) => {
            ApiError::new(ErrorCode::RateLimitExceeded).retry_after(too_many.retry_after)
        }
    }
}

/// Says of an event in which request it happened.
pub(super) fn with_request(event: Event, parts: &Parts) -> Event {
    let id = parts.extensions.get::<RequestId>();
    match (id, client(parts)) {
        (Some(id), Ok(connection)) => event.in_request(id.as_str(), connection.client.ip()),
        _ => event,
    }
}

/// The credential of a request: what it says, else the certificate of its connection.
pub(super) async fn presented(parts: &Parts, auth: &Authenticator) -> Result<Presented, ApiError> {
    let headers = &parts.headers;
    if let Some(key) = headers.get(ADMIN_KEY) {
        let Ok(key) = key.to_str() else {
            return Ok(Presented::Invalid);
        };
        return Ok(auth.staff(key).await?);
    }
    match bearer(headers) {
        None => Ok(auth
            .certificate(&client(parts)?.client_certificates)
            .await?),
        Some(Err(())) => Ok(Presented::Invalid),
        Some(Ok(credential)) => Ok(auth.bearer(credential).await?),
    }
}

/// The bearer credential of a request; an `Authorization` of another kind is an invalid one.
pub(super) fn bearer(headers: &HeaderMap) -> Option<Result<&str, ()>> {
    let value = headers.get(AUTHORIZATION)?;
    let Ok(text) = value.to_str() else {
        return Some(Err(()));
    };
    match text.split_once(' ') {
        Some((scheme, credential)) if scheme.eq_ignore_ascii_case("bearer") => {
            Some(Ok(credential.trim()))
        }
        _ => Some(Err(())),
    }
}

/// A caller with a good credential.
#[derive(Debug, Clone)]
pub(super) struct Known(pub(super) Principal);

impl FromRequestParts<Shared> for Known {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Shared) -> Result<Self, ApiError> {
        match Caller::from_request_parts(parts, api).await?.0 {
            Presented::Principal(principal) => Ok(Self(principal)),
            Presented::Nothing | Presented::Invalid => {
                Err(ApiError::new(ErrorCode::AuthenticationFailed))
            }
        }
    }
}

/// The connection a request came on.
pub(super) fn client(parts: &Parts) -> Result<&Connection, ApiError> {
    parts
        .extensions
        .get::<Connection>()
        .ok_or_else(|| ApiError::new(ErrorCode::InternalError))
}

/// From where a request came, as which, and its entry: to hand on with the message, or to drop
/// before waiting.
pub(super) struct Came {
    pub(super) remote: IpAddr,
    pub(super) certificates: Arc<[CertificateDer<'static>]>,
    pub(super) request_id: RequestId,
    pub(super) entry: Option<Entry>,
    /// Whether it is of a gateway of this kind, by its own word.
    pub(super) is_amtpd: bool,
}

impl<S: Send + Sync> FromRequestParts<S> for Came {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let request_id = parts.extensions.get::<RequestId>();
        let client = client(parts)?;
        Ok(Self {
            remote: client.client.ip(),
            certificates: client.client_certificates.clone(),
            request_id: request_id
                .cloned()
                .ok_or(ApiError::new(ErrorCode::InternalError))?,
            entry: entry(&parts.extensions),
            is_amtpd: parts
                .headers
                .get(USER_AGENT)
                .and_then(|agent| agent.to_str().ok())
                .is_some_and(|agent| agent.contains("amtpd/")),
        })
    }
}

/// A whole message body: JSON by its content type, no content encoding, within the size limit.
pub(super) struct MessageBody(pub(super) Bytes);

impl FromRequest<Shared> for MessageBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Shared) -> Result<Self, ApiError> {
        let limit = api.intake.read_limit();
        Ok(Self(read_json(request, limit, api).await?))
    }
}

/// A small JSON body, or one of at most `LIMIT` bytes, read into a type; unknown members are
/// refused by the type.
pub(super) struct Json<T, const LIMIT: usize = SMALL_BODY>(pub(super) T);

impl<T: DeserializeOwned, const LIMIT: usize> FromRequest<Shared> for Json<T, LIMIT> {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Shared) -> Result<Self, ApiError> {
        let bytes = read_json(request, LIMIT, api).await?;
        object(&bytes)?;
        let mut reader = serde_json::Deserializer::from_slice(&bytes);
        let value = serde_path_to_error::deserialize(&mut reader).map_err(|fault| {
            let field = fault.path().to_string();
            invalid_field(
                if field == "." { "" } else { &field },
                &fault.into_inner().to_string(),
            )
        })?;
        reader
            .end()
            .map_err(|fault| invalid_field("", &fault.to_string()))?;
        Ok(Self(value))
    }
}

/// Forms are objects. The reader would take the members of a list for those of a form, in their order.
pub(super) fn object(bytes: &[u8]) -> Result<(), ApiError> {
    match bytes.trim_ascii_start().first() {
        Some(b'{') => Ok(()),
        _ => Err(invalid_field("", "must be a JSON object")),
    }
}

async fn read_json(request: Request, limit: usize, api: &Api) -> Result<Bytes, ApiError> {
    let headers = request.headers();
    if headers.contains_key(CONTENT_ENCODING) {
        return Err(ApiError::new(ErrorCode::UnsupportedMediaType)
            .message("A Content-Encoding is only allowed on a batch."));
    }
    let essence = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = essence.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(ApiError::new(ErrorCode::UnsupportedMediaType)
            .message("The body must be sent as Content-Type: application/json."));
    }
    Ok(api.reader.read(request, limit).await?)
}

/// A field of a request that is wrong.
pub(super) fn invalid_field(field: &str, error: &str) -> ApiError {
    ApiError::new(ErrorCode::InvalidParameter)
        .details(json!({ "validation_errors": [{ "field": field, "error": masked(error) }] }))
}

/// The query parameters of a request.
pub(super) struct Params(HashMap<String, String>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query = axum::extract::Query::<Vec<(String, String)>>::from_request_parts(parts, state)
            .await
            .map_err(|_| invalid_field("", "the query string is malformed"))?;
        let mut params = HashMap::new();
        for (name, value) in query.0 {
            if params.insert(name.clone(), value).is_some() {
                return Err(invalid_field(&name, "given twice"));
            }
        }
        Ok(Self(params))
    }
}

impl Params {
    /// The text of a parameter that is not empty.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|text| !text.is_empty())
    }

    /// A whole number within bounds.
    pub(super) fn number(
        &self,
        name: &str,
        bounds: std::ops::RangeInclusive<usize>,
        absent: usize,
    ) -> Result<usize, ApiError> {
        let Some(text) = self.0.get(name) else {
            return Ok(absent);
        };
        text.parse()
            .ok()
            .filter(|number| bounds.contains(number))
            .ok_or_else(|| {
                let (low, high) = (bounds.start(), bounds.end());
                invalid_field(
                    name,
                    &format!("must be a whole number from {low} to {high}"),
                )
            })
    }

    /// A moment.
    pub(super) fn moment(&self, name: &str) -> Result<Option<Timestamp>, ApiError> {
        self.text(name)
            .map(|text| {
                Timestamp::parse_rfc3339(text)
                    .map_err(|_| invalid_field(name, "must be a time such as 2026-08-14T10:30:00Z"))
            })
            .transpose()
    }

    /// An address.
    pub(super) fn address(&self, name: &str) -> Result<Option<Address>, ApiError> {
        self.text(name)
            .map(|text| {
                Address::parse(text).map_err(|fault| invalid_field(name, &fault.to_string()))
            })
            .transpose()
    }

    /// Yes or no.
    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, ApiError> {
        self.text(name)
            .map(|text| {
                bool::from_str(text).map_err(|_| invalid_field(name, "must be true or false"))
            })
            .transpose()
    }

    /// A time span: a number of seconds, or a number with `ms`, `s`, `m`, `h`.
    pub(super) fn span(&self, name: &str, most: Duration) -> Result<Option<Duration>, ApiError> {
        self.text(name)
            .map(|text| {
                span(text).filter(|span| *span <= most).ok_or_else(|| {
                    let most = most.as_secs();
                    invalid_field(
                        name,
                        &format!("must be a time span such as 30s, at most {most}s"),
                    )
                })
            })
            .transpose()
    }

    /// The position behind an opaque cursor.
    pub(super) fn cursor(&self) -> Result<Option<i64>, ApiError> {
        self.text("cursor")
            .map(|text| {
                super::cursor::read(text)
                    .ok_or_else(|| invalid_field("cursor", "is not one of ours"))
            })
            .transpose()
    }
}

/// Reads `30`, `30s`, `500ms`, `5m`, `2h`, `7d`.
pub(in crate::endpoint) fn span(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "" | "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3_600).map(Duration::from_secs),
        "d" => number.checked_mul(86_400).map(Duration::from_secs),
        _ => None,
    }
}

/// The parts of the state that handlers take.
pub(super) type Gate = State<Shared>;
