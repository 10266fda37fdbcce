//! What is wrong with a message that was refused: one code, and every field that broke its rule.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;

use super::super::ErrorCode;
use super::super::json::{JsonFault, string_of};

/// The versions of the protocol this gateway speaks.
pub const SUPPORTED_VERSIONS: [&str; 1] = ["1.0"];

/// More faults than these are not written down; a hostile body has millions.
const MOST_VIOLATIONS: usize = 100;

/// One field that breaks its rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// The path of the field, such as `attachments[0].hash`; empty for the body as a whole.
    pub field: String,
    /// The rule, as the rest of a sentence: `must be a string`.
    pub error: String,
}

/// Why a body is no message we take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageFault {
    /// What the sender is told.
    pub code: ErrorCode,
    /// Every field at fault, at most a hundred of them.
    pub violations: Vec<Violation>,
}

impl MessageFault {
    pub(super) fn new(code: ErrorCode, field: &str, error: impl fmt::Display) -> Self {
        let violation = Violation {
            field: field.to_owned(),
            error: error.to_string(),
        };
        Self {
            code,
            violations: vec![violation],
        }
    }

    /// The versions to name in the answer, if the fault is the version.
    #[must_use]
    pub fn supported(&self) -> Option<&'static [&'static str]> {
        (self.code == ErrorCode::UnsupportedVersion).then_some(&SUPPORTED_VERSIONS)
    }

    /// The `details` of the answer: `validation_errors`, and `supported` if the fault is the version.
    #[must_use]
    pub fn details(&self) -> serde_json::Value {
        let mut details = serde_json::json!({ "validation_errors": self.violations });
        if let Some(supported) = self.supported() {
            details["supported"] = supported.into();
        }
        details
    }
}

impl From<JsonFault> for MessageFault {
    fn from(fault: JsonFault) -> Self {
        let error = format_args!("{} at byte {}", fault.kind, fault.offset);
        Self::new(ErrorCode::InvalidMessageFormat, &fault.path, error)
    }
}

impl fmt::Display for MessageFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        for violation in &self.violations {
            write!(f, "; {} {}", violation.field, violation.error)?;
        }
        Ok(())
    }
}

impl std::error::Error for MessageFault {}

/// Collects the violations of one reading.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Violation>);

impl Faults {
    /// Notes that `field` breaks the rule `error`.
    #[cold]
    pub(crate) fn add(&mut self, field: impl fmt::Display, error: impl fmt::Display) {
        if self.0.len() < MOST_VIOLATIONS {
            self.0.push(Violation {
                field: field.to_string(),
                error: error.to_string(),
            });
        }
    }

    /// Takes over what another reading noted.
    pub(crate) fn append(&mut self, violations: Vec<Violation>) {
        let room = MOST_VIOLATIONS.saturating_sub(self.0.len());
        self.0.extend(violations.into_iter().take(room));
    }

    /// The text of a member that must be a string.
    pub(crate) fn string<'v>(
        &mut self,
        field: impl fmt::Display,
        value: &'v str,
    ) -> Option<Cow<'v, str>> {
        let text = string_of(value);
        if text.is_none() {
            self.add(field, "must be a string");
        }
        text
    }

    /// The value of a member that must be a string in some form.
    pub(crate) fn parsed<T, E: fmt::Display>(
        &mut self,
        field: impl fmt::Display,
        value: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.string(&field, value)?;
        parse(&text).map_err(|fault| self.add(field, fault)).ok()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether further faults would be dropped: time to stop reading.
    pub(crate) fn is_full(&self) -> bool {
        self.0.len() >= MOST_VIOLATIONS
    }

    pub(crate) fn into_violations(self) -> Vec<Violation> {
        self.0
    }
}
