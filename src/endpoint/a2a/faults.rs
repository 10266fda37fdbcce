//! What the gateway refuses, in the words of A2A.

use std::time::Duration;

use super::dialect::error::{A2aError, Kind};
use crate::intake::Refusal;
use crate::protocol::ErrorCode;
use crate::store::StoreError;

const LATER: Duration = Duration::from_secs(5);

impl A2aError {
    /// A code of AMTP. Its own word stands among the details.
    pub(super) fn of_code(code: ErrorCode) -> Self {
        let kind = match code.http_status() {
            401 => Kind::Unauthenticated,
            403 => Kind::Forbidden,
            404 => Kind::NoAgent,
            408 => Kind::TooSlow,
            409 => Kind::UnsupportedOperation,
            413 => Kind::TooLarge,
            429 => Kind::TooMany,
            500 => Kind::Internal,
            400..=499 => Kind::InvalidParams,
            _ => Kind::Unavailable,
        };
        Self::new(kind, code.text()).with("amtpCode", code.as_str())
    }
}

impl From<Refusal> for A2aError {
    fn from(refusal: Refusal) -> Self {
        let mut error = Self::of_code(refusal.code);
        if let Some(details) = &refusal.details {
            error = error.with("amtpDetails", details.to_string());
        }
        error.retry_after = refusal.retry_after;
        error.cause = refusal.cause.map(String::into_boxed_str);
        error
    }
}

impl From<StoreError> for A2aError {
    fn from(fault: StoreError) -> Self {
        let (kind, text) = match fault {
            StoreError::Corrupt(_) => (Kind::Internal, "something went wrong here"),
            _ => (Kind::Unavailable, "the gateway cannot do this just now"),
        };
        let mut error = Self::new(kind, text);
        error.retry_after = Some(LATER);
        error.cause = Some(fault.to_string().into());
        error
    }
}
