//! Why a message is not taken.

use std::borrow::Cow;
use std::time::Duration;

use serde_json::{Value, json};

use crate::admission::Shed;
use crate::auth::OverRate;
use crate::protocol::{ErrorCode, MessageFault};
use crate::store::StoreError;

/// How long a sender is asked to wait when we are in trouble.
const LATER: Duration = Duration::from_secs(30);
/// The same when the trouble is only that too much comes.
const SOON: Duration = Duration::from_secs(5);

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
    /// The limit that was reached.
    pub rate: Option<Box<OverRate>>,
    /// Whether it is turned away only because too much comes: there may be very many of these.
    pub shed: bool,
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
            rate: None,
            shed: false,
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

    /// The same may be taken in a while.
    pub(super) fn later(mut self) -> Self {
        self.retry_after = Some(LATER);
        self
    }

    /// Adds a detail.
    pub(super) fn with_detail(mut self, name: &str, value: Value) -> Self {
        match &mut self.details {
            Some(Value::Object(details)) => drop(details.insert(name.to_owned(), value)),
            details => *details = Some(json!({ name: value })),
        }
        self
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
        let retry_after = match error {
            StoreError::Busy => SOON,
            _ => LATER,
        };
        Self {
            retry_after: Some(retry_after),
            cause: Some(error.to_string()),
            ..Self::new(ErrorCode::TemporaryFailure)
        }
    }
}

impl From<Shed> for Refusal {
    fn from(shed: Shed) -> Self {
        Self {
            retry_after: Some(shed.retry_after),
            shed: true,
            ..Self::new(ErrorCode::TemporaryFailure)
        }
    }
}

impl From<OverRate> for Refusal {
    fn from(over: OverRate) -> Self {
        Self {
            retry_after: Some(over.retry_after),
            rate: Some(Box::new(over)),
            ..Self::new(ErrorCode::RateLimitExceeded)
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
