//! Compiled schemas: the one place that knows the crate that does the work.
//!
//! - Nothing is ever fetched: a reference to anything outside the document is refused (`http`,
//!   `https`, `file` and all others).
//! - Regular expressions take linear time; look-around and back references are refused.
//! - Formats (`date-time`, `email`, …) are checked, whatever the draft says of them.
//! - Faults are told in words of our own, without values of the payload: its names are cut, its
//!   texts are not shown.

use jsonschema::error::ValidationErrorKind;
use jsonschema::{PatternOptions, ValidationError, Validator};
use serde::Serialize;
use serde_json::Value;

use super::branches::{self, Detail};
use super::document::{Document, DocumentFault};

/// How many faults of one payload are told.
pub const MOST_FAULTS: usize = 20;
/// The longest text of a fault, in characters.
const LONGEST: usize = 200;
/// Longer names of the payload, and values of the schema, are cut in faults.
const SHOWN: usize = 64;
/// The longest path of a fault, in characters.
const LONGEST_PATH: usize = 256;
/// Of a longer payload only the first fault is looked for: there may be one for each of its bytes.
const DETAILED: usize = 256 * 1024;
/// What one regular expression may take, in bytes.
const PATTERN_SIZE: usize = 256 * 1024;

/// A place of a payload that does not fit its schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SchemaFault {
    /// Where, such as `order.items[0].price`; empty for the payload as a whole.
    #[serde(rename = "field")]
    pub path: String,
    /// What is wrong.
    pub error: String,
}

impl SchemaFault {
    fn of_all(error: impl Into<String>) -> Self {
        Self {
            path: String::new(),
            error: error.into(),
        }
    }
}

/// A schema, ready to judge payloads.
#[derive(Debug)]
pub(super) struct Compiled {
    validator: Validator,
    detail: Detail,
}

impl Compiled {
    /// Compiles a document.
    ///
    /// # Errors
    /// It breaks the rules of its draft, refers to what is not in it, or repeats itself too often.
    pub(super) fn of(document: &Document) -> Result<Self, DocumentFault> {
        let detail = branches::look(&document.value)?;
        let validator = validator(&document.value)?;
        Ok(Self { validator, detail })
    }

    /// What is wrong with a payload, at most [`MOST_FAULTS`]; empty if it fits.
    pub(super) fn faults(&self, payload: &str) -> Vec<SchemaFault> {
        let value: Value = match serde_json::from_str(payload) {
            Ok(value) => value,
            Err(error) => return vec![SchemaFault::of_all(cut(&error.to_string(), LONGEST))],
        };
        // This way repeated work is remembered; the others do all of it again.
        if self.validator.is_valid(&value) {
            return Vec::new();
        }
        let mut faults = Vec::new();
        match self.detail {
            Detail::None => {}
            Detail::All if payload.len() > DETAILED => {
                if let Err(first) = self.validator.validate(&value) {
                    tell(&first, &value, &mut faults);
                }
            }
            Detail::All => {
                for error in self.validator.iter_errors(&value).take(MOST_FAULTS) {
                    tell(&error, &value, &mut faults);
                }
            }
        }
        faults.truncate(MOST_FAULTS);
        if faults.is_empty() {
            faults.push(SchemaFault::of_all("does not fit the schema"));
        }
        faults
    }
}

fn validator(document: &Value) -> Result<Validator, DocumentFault> {
    let patterns = PatternOptions::regex()
        .size_limit(PATTERN_SIZE)
        .dfa_size_limit(PATTERN_SIZE);
    jsonschema::options()
        .offline()
        .with_pattern_options(patterns)
        .should_validate_formats(true)
        .should_ignore_unknown_formats(true)
        .build(document)
        .map_err(|error| DocumentFault::Rules(rule(&error)))
}

/// What is wrong with a document, in one line.
fn rule(error: &ValidationError<'_>) -> String {
    let at = match error.instance_path().as_str() {
        "" => String::new(),
        path => format!("{}: ", cut(path, LONGEST_PATH)),
    };
    let said = error.masked().to_string();
    format!("{at}{}", cut(&said, LONGEST))
}

/// Adds the faults that one error is.
fn tell(error: &ValidationError<'_>, payload: &Value, faults: &mut Vec<SchemaFault>) {
    use ValidationErrorKind as Kind;
    let path = path_of(error.instance_path().as_str(), payload);
    let mut add = |path: String, text: String| {
        faults.push(SchemaFault {
            path: cut(&path, LONGEST_PATH),
            error: cut(&text, LONGEST),
        });
    };
    match error.kind() {
        Kind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            add(member(&path, name), "is missing".to_owned());
        }
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            for name in unexpected.iter().take(5) {
                add(member(&path, name), "is not a member of it".to_owned());
            }
        }
        kind => add(path, sentence(kind)),
    }
}

fn sentence(kind: &ValidationErrorKind) -> String {
    use ValidationErrorKind as Kind;
    match kind {
        Kind::AdditionalItems { limit } => format!("has more than {limit} items"),
        Kind::AnyOf { .. } | Kind::OneOfNotValid { .. } => "fits none of the alternatives".into(),
        Kind::OneOfMultipleValid { .. } => "fits more than one of the alternatives".into(),
        Kind::Constant { expected_value } => format!("must be {}", shown(expected_value)),
        Kind::Enum { options } => format!("must be one of {}", shown(options)),
        Kind::Contains => "has no item of the kind that must be in it".into(),
        Kind::Maximum { limit } => format!("must be at most {}", shown(limit)),
        Kind::Minimum { limit } => format!("must be at least {}", shown(limit)),
        Kind::ExclusiveMaximum { limit } => format!("must be less than {}", shown(limit)),
        Kind::ExclusiveMinimum { limit } => format!("must be more than {}", shown(limit)),
        Kind::MaxItems { limit } => format!("has more than {limit} items"),
        Kind::MinItems { limit } => format!("has fewer than {limit} items"),
        Kind::MaxLength { limit } => format!("is longer than {limit} characters"),
        Kind::MinLength { limit } => format!("is shorter than {limit} characters"),
        Kind::MaxProperties { limit } => format!("has more than {limit} members"),
        Kind::MinProperties { limit } => format!("has fewer than {limit} members"),
        Kind::MultipleOf { multiple_of } => format!("must be a multiple of {multiple_of}"),
        Kind::Pattern { pattern } => format!("does not match {:?}", cut(pattern, SHOWN)),
        Kind::Format { format } => format!("is not of the format {:?}", cut(format, SHOWN)),
        Kind::Type { .. } => "is of the wrong type".into(),
        Kind::UniqueItems => "has an item twice".into(),
        Kind::FalseSchema => "is not allowed".into(),
        Kind::PropertyNames { .. } => "has a member of a name that is not allowed".into(),
        Kind::UnevaluatedItems { .. } => "has items that are not allowed".into(),
        Kind::Not { .. } => "is of a kind that is not allowed".into(),
        other => format!("breaks the rule `{}`", other.keyword()),
    }
}

/// A value of the schema, cut.
fn shown(value: &Value) -> String {
    cut(&value.to_string(), 100)
}

/// The first `most` characters, on one line.
fn cut(text: &str, most: usize) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut cut: String = plain.take(most + 1).collect();
    if let Some((end, _)) = cut.char_indices().nth(most) {
        cut.truncate(end);
        cut.push('…');
    }
    cut
}

/// A path with one more member.
fn member(path: &str, name: &str) -> String {
    let name = cut(name, SHOWN);
    match path {
        "" => name,
        path => format!("{path}.{name}"),
    }
}

/// A JSON pointer into `payload` as people write it: `order.items[0].price`.
fn path_of(pointer: &str, payload: &Value) -> String {
    let mut path = String::new();
    let mut at = Some(payload);
    for step in pointer.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        match at {
            Some(Value::Array(items)) => {
                path.push_str(&format!("[{}]", cut(&step, SHOWN)));
                at = step.parse().ok().and_then(|index: usize| items.get(index));
            }
            value => {
                path = member(&path, &step);
                at = value.and_then(|value| value.get(&step));
            }
        }
    }
    path
}

#[cfg(test)]
mod tests;
