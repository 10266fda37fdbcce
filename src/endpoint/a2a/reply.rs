//! Answers of HTTP.

use axum::body::Body;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Response, StatusCode};

use super::dialect::envelope;
use super::dialect::error::{A2aError, Kind};
use super::following::{Follow, Wrap, failed};
use super::tools::Visitor;
use crate::task::{Dialect, Json};

pub(super) const JSON: &str = "application/json";
pub(super) const A2A_JSON: &str = "application/a2a+json";
const EVENTS: &str = "text/event-stream";

/// An answer of JSON.
pub(super) fn json(status: StatusCode, media_type: &'static str, body: String) -> Response<Body> {
    let mut answer = Response::new(Body::from(body));
    *answer.status_mut() = status;
    let value = HeaderValue::from_static(media_type);
    answer.headers_mut().insert(CONTENT_TYPE, value);
    answer
}

/// A stream.
pub(super) fn events(follow: Follow) -> Response<Body> {
    as_events(follow.into_body())
}

/// An error for clients that read nothing but events.
pub(super) fn one_event(id: &Json, error: &A2aError, dialect: Dialect) -> Response<Body> {
    note(error);
    let event = failed(&Wrap::Call(id.clone()), error, dialect);
    as_events(Body::from(event))
}

fn as_events(body: Body) -> Response<Body> {
    let mut answer = Response::new(body);
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(EVENTS));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let name = HeaderName::from_static("x-accel-buffering");
    headers.insert(name, HeaderValue::from_static("no"));
    answer
}

/// The answer to a call that failed.
pub(super) fn rpc_error(id: Option<&Json>, error: &A2aError, dialect: Dialect) -> Response<Body> {
    note(error);
    let body = envelope::failure(id, error, dialect);
    let mut answer = json(status(error.kind.rpc_status()), JSON, body);
    hint(&mut answer, error);
    answer
}

/// The error of HTTP+JSON.
pub(super) fn rest_error(error: &A2aError, visitor: &Visitor) -> Response<Body> {
    note(error);
    let asks = visitor.text(ACCEPT.as_str());
    let media_type = match asks.is_some_and(|asks| asks.contains(A2A_JSON)) {
        true => A2A_JSON,
        false => JSON,
    };
    let body = error.body().get().to_owned();
    let mut answer = json(status(error.kind.status()), media_type, body);
    hint(&mut answer, error);
    answer
}

/// The media type of an answer: that of the request, else the one that A2A names.
pub(super) fn media_type(visitor: &Visitor) -> &'static str {
    let sent = visitor.text(CONTENT_TYPE.as_str()).map(essence);
    let asks = visitor.text(ACCEPT.as_str()).unwrap_or_default();
    match sent.as_deref() {
        Some(JSON) => JSON,
        Some(A2A_JSON) => A2A_JSON,
        _ if asks.contains(JSON) && !asks.contains(A2A_JSON) => JSON,
        _ => A2A_JSON,
    }
}

/// A media type without its parameters.
pub(super) fn essence(text: &str) -> String {
    let essence = text.split(';').next().unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}

/// Names the extensions that are active.
pub(super) fn activate(answer: &mut Response<Body>, extensions: &[String]) {
    if extensions.is_empty() {
        return;
    }
    if let Ok(value) = HeaderValue::try_from(extensions.join(",")) {
        let name = HeaderName::from_static("a2a-extensions");
        answer.headers_mut().insert(name, value);
    }
}

fn status(number: u16) -> StatusCode {
    StatusCode::from_u16(number).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn hint(answer: &mut Response<Body>, error: &A2aError) {
    let headers = answer.headers_mut();
    if error.kind == Kind::Unauthenticated {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    let later = matches!(error.kind, Kind::TooMany | Kind::Unavailable);
    let wait = error.retry_after.map_or(1, |wait| wait.as_secs().max(1));
    if later {
        headers.insert(RETRY_AFTER, wait.into());
    }
}

/// Writes down what only the log may say.
fn note(error: &A2aError) {
    if let Some(cause) = &error.cause {
        tracing::warn!(cause = &**cause, kind = ?error.kind, "an A2A request failed");
    }
}
