//! How refusals of the layers below become answers.

use std::time::Duration;

use super::error::ApiError;
use crate::admission::Shed;
use crate::intake::Refusal;
use crate::protocol::ErrorCode;
use crate::store::StoreError;

/// How long a caller is asked to wait when the store is in trouble.
const LATER: Duration = Duration::from_secs(30);

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let mut error = Self::new(refusal.code);
        if let Some(message) = refusal.message {
            error = error.message(message);
        }
        if let Some(details) = refusal.details {
            error = error.details(details);
        }
        if let Some(wait) = refusal.retry_after {
            error = error.retry_after(wait);
        }
        if let Some(rate) = refusal.rate {
            error = error.over_rate(*rate);
        }
        if let Some(cause) = refusal.cause {
            error = error.cause(cause);
        }
        match refusal.shed {
            true => error.shed(),
            false => error,
        }
    }
}

impl From<Shed> for ApiError {
    fn from(shed: Shed) -> Self {
        Refusal::from(shed).into()
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Corrupt(_) => Self::internal(error),
            StoreError::Busy => Self::new(ErrorCode::TemporaryFailure).cause(error),
            _ => Self::new(ErrorCode::TemporaryFailure)
                .retry_after(LATER)
                .cause(error),
        }
    }
}
