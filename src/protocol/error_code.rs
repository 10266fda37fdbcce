//! What the other side is told when something fails: the closed set of codes, and the body that carries one.
//!
//! Every failure of every route answers with an [`ErrorBody`]. The text of a code is fixed; causes
//! go to the log, never into an answer. A code says nothing about trying again: that is the
//! transport's outcome.

use std::fmt;
use std::str::FromStr;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::Timestamp;
use super::text_serde::text_serde;

macro_rules! codes {
    ($($name:ident $word:literal $status:literal $text:literal)+) => {
        /// Why a request or a delivery was refused. AMTP 1.0, section 13.1, and this gateway's own codes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $(#[doc = $text] $name,)+
        }

        impl ErrorCode {
            /// Every code, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The word on the wire, such as `POLICY_DENIED`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)+ }
            }

            /// The HTTP status an answer with this code has.
            #[must_use]
            pub const fn http_status(self) -> u16 {
                match self { $(Self::$name => $status,)+ }
            }

            /// The fixed public sentence of this code.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

codes! {
    InvalidMessageFormat "INVALID_MESSAGE_FORMAT" 400 "The message is not well-formed."
    UnsupportedVersion "UNSUPPORTED_VERSION" 400 "This protocol version is not supported."
    SchemaValidationFailed "SCHEMA_VALIDATION_FAILED" 400 "The payload does not match its schema."
    MessageTooLarge "MESSAGE_TOO_LARGE" 413 "The message is larger than allowed."
    InvalidRecipient "INVALID_RECIPIENT" 400 "A recipient is not a valid address."
    RecipientUnavailable "RECIPIENT_UNAVAILABLE" 503 "The recipient cannot be reached at present."
    RecipientNotFound "RECIPIENT_NOT_FOUND" 404 "The recipient's domain does not accept messages."
    AuthenticationFailed "AUTHENTICATION_FAILED" 401 "Valid credentials are required."
    RateLimitExceeded "RATE_LIMIT_EXCEEDED" 429 "Too many requests; slow down."
    TemporaryFailure "TEMPORARY_FAILURE" 503 "The gateway cannot do this at present; try again later."
    WorkflowTimeout "WORKFLOW_TIMEOUT" 504 "The workflow did not complete in time."
    RequiredResponseMissing "REQUIRED_RESPONSE_MISSING" 424 "A required response of the workflow is missing."
    CoordinationFailed "COORDINATION_FAILED" 400 "The workflow could not be coordinated."
    LocalSenderAuthRequired "LOCAL_SENDER_AUTH_REQUIRED" 401 "A sender of this domain must authenticate."
    SenderCredentialMismatch "SENDER_CREDENTIAL_MISMATCH" 403 "The credential belongs to another sender."
    SignatureRequired "SIGNATURE_REQUIRED" 403 "Messages must carry a valid domain signature."
    SignatureInvalid "SIGNATURE_INVALID" 403 "The domain signature is not valid."
    SignatureKeyUnavailable "SIGNATURE_KEY_UNAVAILABLE" 503 "The key of the domain signature cannot be fetched at present."
    AgentUnknown "AGENT_UNKNOWN" 404 "There is no such agent here."
    PolicyDenied "POLICY_DENIED" 403 "A policy of this gateway refuses the message."
    RelayDenied "RELAY_DENIED" 403 "This gateway does not relay for other domains."
    LoopDetected "LOOP_DETECTED" 400 "The message has passed too many gateways."
    MessageExpired "MESSAGE_EXPIRED" 400 "The message has expired."
    IdempotencyConflict "IDEMPOTENCY_CONFLICT" 409 "The idempotency key was used for another message."
    MailboxFull "MAILBOX_FULL" 503 "The recipient's mailbox is full."
    NotFound "NOT_FOUND" 404 "There is nothing here."
    MethodNotAllowed "METHOD_NOT_ALLOWED" 405 "This method is not allowed here."
    UnsupportedMediaType "UNSUPPORTED_MEDIA_TYPE" 415 "The content type or encoding is not supported."
    AccessDenied "ACCESS_DENIED" 403 "Access is denied."
    InvalidParameter "INVALID_PARAMETER" 400 "A parameter is not valid."
    Conflict "CONFLICT" 409 "The request conflicts with the present state."
    RequestTimeout "REQUEST_TIMEOUT" 408 "The request took too long to arrive."
    InternalError "INTERNAL_ERROR" 500 "The gateway failed."
    TaskTerminal "TASK_TERMINAL" 409 "The task has already ended."
}

impl ErrorCode {
    /// The code of a word on the wire; `None` for a word outside the closed set.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == word)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The word is no code of the closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown error code")]
pub struct UnknownErrorCode;

impl FromStr for ErrorCode {
    type Err = UnknownErrorCode;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::parse(word).ok_or(UnknownErrorCode)
    }
}

text_serde!(ErrorCode);

/// The body of every failed answer: `{"error":{"code","message","details"?,"timestamp","request_id"}}`.
#[derive(Debug, Clone, PartialEq)]
pub struct ErrorBody {
    /// What went wrong.
    pub code: ErrorCode,
    /// The public sentence; normally the code's own [`ErrorCode::text`].
    pub message: String,
    /// More for programs, such as `validation_errors`; left out of the answer when `None`.
    pub details: Option<serde_json::Value>,
    /// When the answer was made.
    pub timestamp: Timestamp,
    /// The id that finds the causes in the log.
    pub request_id: String,
}

impl ErrorBody {
    /// A body with the fixed sentence of `code` and no details.
    #[must_use]
    pub fn new(code: ErrorCode, timestamp: Timestamp, request_id: impl Into<String>) -> Self {
        Self {
            code,
            message: code.text().to_owned(),
            details: None,
            timestamp,
            request_id: request_id.into(),
        }
    }

    /// The same body with `details`.
    #[must_use]
    pub fn with_details(mut self, details: serde_json::Value) -> Self {
        self.details = Some(details);
        self
    }
}

impl Serialize for ErrorBody {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut outer = serializer.serialize_struct("ErrorBody", 1)?;
        outer.serialize_field("error", &Inner(self))?;
        outer.end()
    }
}

struct Inner<'a>(&'a ErrorBody);

impl Serialize for Inner<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let body = self.0;
        let mut inner = serializer.serialize_struct("Error", 5)?;
        inner.serialize_field("code", &body.code)?;
        inner.serialize_field("message", &body.message)?;
        match &body.details {
            Some(details) => inner.serialize_field("details", details)?,
            None => inner.skip_field("details")?,
        }
        inner.serialize_field("timestamp", &body.timestamp)?;
        inner.serialize_field("request_id", &body.request_id)?;
        inner.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_found_again_by_its_word() {
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::parse(code.as_str()), Some(*code));
            assert!((400..600).contains(&code.http_status()), "{code}");
            assert!(code.text().ends_with('.'), "{code}");
        }
        assert_eq!(ErrorCode::ALL.len(), 34);
        assert_eq!(ErrorCode::parse("policy_denied"), None);
    }

    #[test]
    fn the_statuses_the_draft_fixes_are_kept() {
        let table = [
            (ErrorCode::InvalidMessageFormat, 400),
            (ErrorCode::AuthenticationFailed, 401),
            (ErrorCode::LocalSenderAuthRequired, 401),
            (ErrorCode::SenderCredentialMismatch, 403),
            (ErrorCode::RelayDenied, 403),
            (ErrorCode::AgentUnknown, 404),
            (ErrorCode::IdempotencyConflict, 409),
            (ErrorCode::MessageTooLarge, 413),
            (ErrorCode::UnsupportedMediaType, 415),
            (ErrorCode::RequiredResponseMissing, 424),
            (ErrorCode::RateLimitExceeded, 429),
            (ErrorCode::MailboxFull, 503),
            (ErrorCode::WorkflowTimeout, 504),
        ];
        for (code, status) in table {
            assert_eq!(code.http_status(), status, "{code}");
        }
    }

    #[test]
    fn the_body_has_the_shape_of_the_draft() {
        let body = ErrorBody::new(
            ErrorCode::PolicyDenied,
            Timestamp::from_millis(1_700_000_000_123),
            "r-1",
        );
        assert_eq!(
            serde_json::to_string(&body).unwrap(),
            r#"{"error":{"code":"POLICY_DENIED","message":"A policy of this gateway refuses the message.","timestamp":"2023-11-14T22:13:20.123Z","request_id":"r-1"}}"#
        );
        let detailed = body.with_details(serde_json::json!({"supported": ["1.0"]}));
        assert!(
            serde_json::to_string(&detailed)
                .unwrap()
                .contains(r#""details":{"supported":["1.0"]},"timestamp""#)
        );
    }
}
