//! What every request and every answer passes: id, version, error body, headers, metrics, one log line.
//!
//! - A request gets a [`RequestId`]: it stands in the request's extensions, in the answer's
//!   `X-Request-ID`, in every error body and in the log.
//! - What the gateway is too busy for is refused before its body is read (`admit`).
//! - A request that names a protocol version other than 1.x is refused before any handler sees it
//!   (AMTP 1.0, section 4.2).
//! - Whatever failed (a handler, the router, an extractor, a panic) answers with the AMTP error
//!   body. An answer that is JSON already is a handler's own and stays as it is.

use std::any::Any;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use serde_json::json;
use tower::Service;
use tower::layer::layer_fn;
use tracing::Instrument;

use super::admit::admit;
use super::error::ApiError;
use super::request_id::{RequestId, X_REQUEST_ID};
use super::server::{Connection, ForwardedFault};
use crate::admission::{Admission, Presence};
use crate::clock::Clock;
use crate::protocol::ErrorCode;
use crate::telemetry::{HttpAnswer, Metrics};

#[cfg(test)]
mod tests;

const X_AMTP_VERSION: HeaderName = HeaderName::from_static("x-amtp-version");
/// A framework's refusal is one short sentence; more of it is not shown.
const LONGEST_REASON: usize = 1_024;

/// Set on every answer unless the handler chose otherwise.
const HEADERS: [(HeaderName, &str); 5] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'",
    ),
];

/// What the edge works with. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Edge {
    /// Mints ids, stamps errors, measures.
    pub clock: Clock,
    /// Counts.
    pub metrics: Metrics,
    /// Who may come in while the gateway is busy; everybody where there is none.
    pub admission: Option<Admission>,
}

impl Edge {
    /// Puts the edge around every route of `router` and around what no route matches; routes added later stand outside.
    pub fn around(self, router: Router) -> Router {
        router.layer(layer_fn(move |inner| Guarded {
            edge: self.clone(),
            inner,
        }))
    }
}

/// A route with the edge around it. The route is called where it stands: a copy would copy all
/// that is nested in it.
#[derive(Clone)]
struct Guarded<S> {
    edge: Edge,
    inner: S,
}

impl<S> Service<Request> for Guarded<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let edge = self.edge.clone();
        let seen = Seen::of(&request, &edge.clock);
        request.extensions_mut().insert(seen.id.clone());
        let work = admitted(&edge, &mut request);
        let work = work.map(|presence| (self.inner.call(request), presence));
        Box::pin(async move { Ok(pass(edge, seen, work).await) })
    }
}

/// What the log and the metrics say about a request, taken before it is consumed.
struct Seen {
    id: RequestId,
    route: Arc<str>,
    method: &'static str,
    connection: Option<Connection>,
    began: Duration,
}

/// From the answer of a route, or what the request is refused with, to the answer that goes out.
async fn pass(
    edge: Edge,
    seen: Seen,
    work: Result<
        (
            impl Future<Output = Result<Response, Infallible>>,
            Option<Presence>,
        ),
        ApiError,
    >,
) -> Response {
    let flight = edge.metrics.request_in_flight();
    let span = tracing::info_span!("request", request.id = seen.id.as_str());
    // Who is admitted is present until the answer's head is there.
    let (answer, _presence) = match work {
        Err(error) => (error.into_response(), None),
        Ok((work, presence)) => (unpanicked(work).instrument(span).await, presence),
    };
    let (mut answer, error) = translated(answer).await;
    if let Some(error) = &error {
        answer = error.render(&seen.id, edge.clock.now());
        edge.metrics.refused(error.code());
    }
    drop(flight);
    seen.dress(answer.headers_mut());
    seen.note(&edge, answer.status(), error.as_ref());
    answer
}

fn admitted(edge: &Edge, request: &mut Request) -> Result<Option<Presence>, ApiError> {
    match refusal(request) {
        Some(error) => Err(error),
        None => Ok(admit(edge.admission.as_ref(), request)?),
    }
}

/// What no handler is to see.
fn refusal(request: &Request) -> Option<ApiError> {
    if request.extensions().get::<ForwardedFault>().is_some() {
        return Some(ApiError::new(ErrorCode::InvalidParameter).details(json!({
            "validation_errors": [{ "field": "X-Forwarded-For", "error": "names no address" }]
        })));
    }
    let spoken = request
        .headers()
        .get_all(X_AMTP_VERSION)
        .iter()
        .all(is_version_1);
    (!spoken).then(|| {
        ApiError::new(ErrorCode::UnsupportedVersion).details(json!({ "supported": ["1.0"] }))
    })
}

fn is_version_1(value: &HeaderValue) -> bool {
    let minor = value
        .to_str()
        .ok()
        .and_then(|text| text.trim().strip_prefix("1."));
    minor.is_some_and(|minor| {
        (1..=5).contains(&minor.len()) && minor.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// The answer of `work`, also when it panics: the caller gets an error, the log the reason.
async fn unpanicked(work: impl Future<Output = Result<Response, Infallible>>) -> Response {
    let mut work = pin!(work);
    std::future::poll_fn(move |context| {
        match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
            Ok(poll) => poll.map(|Ok(answer)| answer),
            Err(panic) => {
                let cause = format!("a handler panicked: {}", panic_text(panic.as_ref()));
                Poll::Ready(ApiError::internal(cause).into_response())
            }
        }
    })
    .await
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no reason given")
}

/// The answer, and the error it stands for if it is a failure that still lacks its body.
async fn translated(mut answer: Response) -> (Response, Option<ApiError>) {
    if let Some(error) = answer.extensions_mut().remove::<ApiError>() {
        return (answer, Some(error));
    }
    let status = answer.status();
    if !(status.is_client_error() || status.is_server_error()) || is_json(answer.headers()) {
        return (answer, None);
    }
    let (parts, body) = answer.into_parts();
    let mut error = ApiError::new(code_of(status));
    if let Some(methods) = parts.headers.get(header::ALLOW) {
        error = error.allow(methods.clone());
    }
    let text = axum::body::to_bytes(body, LONGEST_REASON)
        .await
        .unwrap_or_default();
    let reason = String::from_utf8_lossy(&text).into_owned();
    if status.is_server_error() {
        error = error.cause(reason);
    } else if !reason.is_empty() {
        error = error.details(json!({ "reason": reason }));
    }
    (Response::new(axum::body::Body::empty()), Some(error))
}

fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    content_type.is_some_and(|value| {
        value.starts_with("application/json") || value.starts_with("application/a2a+json")
    })
}

/// The code of a failure that the framework made.
fn code_of(status: StatusCode) -> ErrorCode {
    match status {
        StatusCode::UNAUTHORIZED => ErrorCode::AuthenticationFailed,
        StatusCode::FORBIDDEN => ErrorCode::AccessDenied,
        StatusCode::NOT_FOUND => ErrorCode::NotFound,
        StatusCode::METHOD_NOT_ALLOWED => ErrorCode::MethodNotAllowed,
        StatusCode::REQUEST_TIMEOUT => ErrorCode::RequestTimeout,
        StatusCode::CONFLICT => ErrorCode::Conflict,
        StatusCode::PAYLOAD_TOO_LARGE => ErrorCode::MessageTooLarge,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => ErrorCode::UnsupportedMediaType,
        StatusCode::TOO_MANY_REQUESTS => ErrorCode::RateLimitExceeded,
        StatusCode::SERVICE_UNAVAILABLE => ErrorCode::TemporaryFailure,
        status if status.is_server_error() => ErrorCode::InternalError,
        _ => ErrorCode::InvalidParameter,
    }
}

impl Seen {
    fn of(request: &Request, clock: &Clock) -> Self {
        let route = request.extensions().get::<MatchedPath>();
        Self {
            id: RequestId::of(request.headers(), clock),
            route: route.map_or("unmatched", MatchedPath::as_str).into(),
            method: method_name(request.method()),
            connection: request.extensions().get().cloned(),
            began: clock.monotonic(),
        }
    }

    fn dress(&self, headers: &mut HeaderMap) {
        headers.reserve(HEADERS.len() + 3);
        for (name, value) in HEADERS {
            headers
                .entry(name)
                .or_insert(HeaderValue::from_static(value));
        }
        headers.insert(X_REQUEST_ID, self.id.header());
        headers.insert(X_AMTP_VERSION, HeaderValue::from_static("1.0"));
        if self
            .connection
            .as_ref()
            .is_some_and(|connection| connection.tls)
        {
            let year = HeaderValue::from_static("max-age=31536000");
            headers.insert(header::STRICT_TRANSPORT_SECURITY, year);
        }
    }

    fn note(&self, edge: &Edge, status: StatusCode, error: Option<&ApiError>) {
        let took = edge.clock.monotonic().saturating_sub(self.began);
        edge.metrics.answered(&HttpAnswer {
            route: self.route.clone(),
            method: self.method,
            status: status.as_u16(),
            took,
        });
        let client = self
            .connection
            .as_ref()
            .map(|connection| connection.client.ip());
        let code = error.map(|error| error.code().as_str());
        let cause = error.and_then(ApiError::cause_text);
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    request.id = self.id.as_str(),
                    http.method = self.method,
                    http.route = &*self.route,
                    http.status = status.as_u16(),
                    client.address = client.map(tracing::field::display),
                    duration.ms = took.as_secs_f64() * 1_000.0,
                    error.code = code,
                    error.cause = cause,
                    "request"
                )
            };
        }
        match status {
            StatusCode::INTERNAL_SERVER_ERROR => line!(error),
            // A line for each would be load itself; that there are many is logged where they are shed.
            _ if error.is_some_and(ApiError::is_shed) => line!(debug),
            status if status.is_server_error() => line!(info),
            _ => line!(debug),
        }
    }
}

/// The method for metrics: callers may invent methods, series must not grow with them.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
