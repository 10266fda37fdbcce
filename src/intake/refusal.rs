//! Why a message is not taken.

use std::borrow::Cow;
use std::time::Duration;

use serde_json::{Value, json};

use crate::protocol::{ErrorCode, MessageFault};
use crate::store::StoreError;

/// How long a sender is asked to wait when we are in trouble.
const LATER: Duration = Duration::from_secs(30);

/// Why nothing of a message is stored, in words for the other side.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// The code.
    pub code: ErrorCode,
    /// A sentence that says more than the code's own.
    pub message: Option<Cow<'static, str>>,
    /// What and where.
    pub details: Option<Value>,
    /// When to try again.
    pub retry_after: Option<Duration>,
    /// What only the log may say.
    pub cause: Option<String>,
}

impl Refusal {
    /// A refusal with the code's own sentence.
    #[must_use]
    pub const fn new(code: ErrorCode) -> Self {
        Self {
            code,
            message: None,
            details: None,
            retry_after: None,
            cause: None,
        }
    }

    /// The disk is full.
    #[must_use]
    pub fn no_room() -> Self {
        Self {
            retry_after: Some(LATER),
            ..Self::new(ErrorCode::TemporaryFailure)
        }
    }

    /// A submission asks for coordination, which this gateway does not offer: taking the message
    /// without it would leave its sender waiting for results that never come.
    #[must_use]
    pub fn no_workflows() -> Self {
        let message =
            "This gateway does not coordinate workflows: send the message without `coordination`.";
        Self {
            message: Some(Cow::Borrowed(message)),
            ..Self::new(ErrorCode::CoordinationFailed)
        }
    }

    /// Over `limit` bytes.
    #[must_use]
    pub fn too_large(limit: usize) -> Self {
        Self {
            details: Some(json!({ "max_size": limit })),
            ..Self::new(ErrorCode::MessageTooLarge)
        }
    }

    /// Every recipient was refused.
    pub(super) fn of_recipients(
        code: ErrorCode,
        refused: impl Iterator<Item = (String, ErrorCode)>,
    ) -> Self {
        let recipients: Vec<Value> = refused
            .map(|(address, code)| json!({ "address": address, "status": "failed", "error_code": code.as_str() }))
            .collect();
        Self {
            details: Some(json!({ "recipients": recipients })),
            ..Self::new(code)
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self {
            cause: Some(error.to_string()),
            ..Self::no_room()
        }
    }
}

impl From<MessageFault> for Refusal {
    fn from(fault: MessageFault) -> Self {
        Self {
            details: Some(fault.details()),
            ..Self::new(fault.code)
        }
    }
}
