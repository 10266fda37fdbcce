//! What a handler answers when it refuses: a code, rendered by the edge as the AMTP error body.
//!
//! A handler returns [`ApiError`]; the id of the request and the time are added where the answer
//! leaves ([`super::edge`]). The public sentence of a code is fixed; a cause goes to the log only.

use std::borrow::Cow;
use std::fmt::Display;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::Value;

use super::request_id::RequestId;
use super::server::BodyFault;
use crate::auth::OverRate;
use crate::protocol::{ErrorBody, ErrorCode, Timestamp};

/// When a caller should come again if the refusal does not say.
const LATER: Duration = Duration::from_secs(5);

/// A refusal.
#[derive(Debug, Clone)]
pub struct ApiError {
    code: ErrorCode,
    /// Rarely there, and kept apart so that results stay small.
    more: Option<Box<More>>,
}

#[derive(Debug, Clone, Default)]
struct More {
    message: Option<Cow<'static, str>>,
    details: Option<Value>,
    retry_after: Option<Duration>,
    allow: Option<HeaderValue>,
    cause: Option<String>,
    rate: Option<OverRate>,
    shed: bool,
}

/// A refusal, to be said by other means than an HTTP answer.
pub(in crate::endpoint) struct Said<'a> {
    pub(in crate::endpoint) code: ErrorCode,
    pub(in crate::endpoint) message: &'a str,
    pub(in crate::endpoint) details: Option<&'a Value>,
    pub(in crate::endpoint) retry_after: Option<Duration>,
    /// For the log only.
    pub(in crate::endpoint) cause: Option<&'a str>,
}

impl ApiError {
    /// A refusal with the code's own sentence.
    #[must_use]
    pub const fn new(code: ErrorCode) -> Self {
        Self { code, more: None }
    }

    /// A failure of ours; `cause` goes to the log with the request's id, never to the caller.
    #[must_use]
    pub fn internal(cause: impl Display) -> Self {
        Self::new(ErrorCode::InternalError).cause(cause)
    }

    fn with(mut self, set: impl FnOnce(&mut More)) -> Self {
        set(self.more.get_or_insert_default());
        self
    }

    /// Says it in another public sentence.
    #[must_use]
    pub fn message(self, message: impl Into<Cow<'static, str>>) -> Self {
        self.with(|more| more.message = Some(message.into()))
    }

    /// Adds what programs can use, such as `validation_errors`.
    #[must_use]
    pub fn details(self, details: Value) -> Self {
        self.with(|more| more.details = Some(details))
    }

    /// Tells when to come again, in whole seconds (rounded up).
    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Self {
        self.with(|more| more.retry_after = Some(wait))
    }

    /// Says which limit was reached: 429 with `RateLimit` and `RateLimit-Policy`.
    #[must_use]
    pub fn over_rate(self, rate: OverRate) -> Self {
        self.retry_after(rate.retry_after)
            .with(|more| more.rate = Some(rate))
    }

    /// Names the methods that are allowed (405).
    #[must_use]
    pub fn allow(self, methods: HeaderValue) -> Self {
        self.with(|more| more.allow = Some(methods))
    }

    /// Adds the cause for the log.
    #[must_use]
    pub fn cause(self, cause: impl Display) -> Self {
        self.with(|more| more.cause = Some(cause.to_string()))
    }

    /// Says that it is refused only because too much comes.
    #[must_use]
    pub fn shed(self) -> Self {
        self.with(|more| more.shed = true)
    }

    pub(super) fn is_shed(&self) -> bool {
        self.more.as_ref().is_some_and(|more| more.shed)
    }

    /// What is said by other means than an HTTP answer.
    pub(in crate::endpoint) fn said(&self) -> Said<'_> {
        let more = self.more.as_deref();
        let message = more.and_then(|more| more.message.as_deref());
        Said {
            code: self.code,
            message: message.unwrap_or(self.code.text()),
            details: more.and_then(|more| more.details.as_ref()),
            retry_after: more.and_then(|more| more.retry_after),
            cause: self.cause_text(),
        }
    }

    /// The code.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        self.code
    }

    pub(super) fn cause_text(&self) -> Option<&str> {
        self.more.as_ref()?.cause.as_deref()
    }

    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The body of the answer.
    pub(super) fn body(&self, id: &RequestId, now: Timestamp) -> ErrorBody {
        let more = self.more.as_deref();
        let said = more.and_then(|more| more.message.as_deref());
        ErrorBody {
            message: said.unwrap_or(self.code.text()).to_owned(),
            details: more.and_then(|more| more.details.clone()),
            ..ErrorBody::new(self.code, now, id.as_str())
        }
    }

    /// In how many seconds to come again, where that is of use.
    pub(super) fn wait(&self) -> Option<u64> {
        let known = self.more.as_ref().and_then(|more| more.retry_after);
        match self.status() {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                Some(whole_seconds(known.unwrap_or(LATER)))
            }
            _ => None,
        }
    }

    /// The whole answer.
    pub(super) fn render(&self, id: &RequestId, now: Timestamp) -> Response {
        let more = self.more.as_deref();
        let body = self.body(id, now);
        let mut answer = (self.status(), axum::Json(body)).into_response();
        let headers = answer.headers_mut();
        if self.status() == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.wait() {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some(rate) = more.and_then(|more| more.rate) {
            for (name, value) in rate_headers(&rate) {
                headers.insert(name, value);
            }
        }
        if let Some(methods) = more.and_then(|more| more.allow.as_ref()) {
            headers.insert(header::ALLOW, methods.clone());
        }
        answer
    }
}

/// How much a limit allows and when it has room again, as the IETF's draft on rate limit headers has it.
fn rate_headers(rate: &OverRate) -> [(HeaderName, HeaderValue); 2] {
    let value =
        |text: String| HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""));
    let (name, quota) = (rate.name, rate.quota);
    let window = whole_seconds(rate.window);
    let wait = whole_seconds(rate.retry_after);
    [
        (
            HeaderName::from_static("ratelimit-policy"),
            value(format!("\"{name}\";q={quota};w={window}")),
        ),
        (
            HeaderName::from_static("ratelimit"),
            value(format!("\"{name}\";r=0;t={wait}")),
        ),
    ]
}

fn whole_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

/// The answer still without body: the edge knows the request's id and the time.
impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut answer = self.status().into_response();
        answer.extensions_mut().insert(self);
        answer
    }
}

impl From<ErrorCode> for ApiError {
    fn from(code: ErrorCode) -> Self {
        Self::new(code)
    }
}

impl From<BodyFault> for ApiError {
    fn from(fault: BodyFault) -> Self {
        match fault {
            BodyFault::TooLarge { limit } => Self::new(ErrorCode::MessageTooLarge)
                .details(serde_json::json!({ "max_size": limit })),
            BodyFault::Stalled | BodyFault::TooSlow => Self::new(ErrorCode::RequestTimeout),
            BodyFault::Busy => Self::new(ErrorCode::TemporaryFailure).cause(fault),
            BodyFault::Broken(reason) => Self::new(ErrorCode::InvalidMessageFormat).cause(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, TestClock};

    fn rendered(error: &ApiError) -> Response {
        let now = Timestamp::from_millis(0);
        let clock = Clock::over(TestClock::at(now));
        error.render(&RequestId::of(&http::HeaderMap::new(), &clock), now)
    }

    #[test]
    fn refusals_that_may_pass_say_when_to_come_again() {
        let table = [
            (ApiError::new(ErrorCode::TemporaryFailure), Some("5")),
            (
                ApiError::new(ErrorCode::RateLimitExceeded).retry_after(Duration::ZERO),
                Some("1"),
            ),
            (
                ApiError::new(ErrorCode::MailboxFull).retry_after(Duration::from_millis(1_001)),
                Some("2"),
            ),
            (ApiError::new(ErrorCode::PolicyDenied), None),
        ];
        for (error, expected) in table {
            let answer = rendered(&error);
            let shown = answer
                .headers()
                .get(header::RETRY_AFTER)
                .map(|v| v.to_str().unwrap());
            assert_eq!(shown, expected, "{error:?}");
        }
    }

    #[test]
    fn an_answer_without_credentials_names_the_scheme() {
        let answer = rendered(&ApiError::new(ErrorCode::LocalSenderAuthRequired));
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(answer.headers()[header::WWW_AUTHENTICATE], "Bearer");
    }
}
