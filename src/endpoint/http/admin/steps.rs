//! Long work on many rows: which are meant, one step a request, and where the next step begins.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use crate::endpoint::http::error::ApiError;
use crate::endpoint::http::extract::invalid_field;
use crate::protocol::{Address, Domain, MessageId};
use crate::store::{Position, Step};

/// What a step did.
#[derive(Serialize)]
pub(crate) struct StepView {
    changed: u64,
    more: bool,
    next_cursor: Option<String>,
}

impl From<Step> for StepView {
    fn from(step: Step) -> Self {
        Self {
            changed: step.changed,
            more: step.next.is_some(),
            next_cursor: step.next.map(write),
        }
    }
}

/// Whom deliveries or dead letters are from and for.
pub(super) struct Parties {
    pub(super) domain: Option<Domain>,
    pub(super) sender: Option<Address>,
    pub(super) recipient: Option<Address>,
    pub(super) message_id: Option<MessageId>,
}

impl Parties {
    /// Reads the fields of these names.
    pub(super) fn read<'a>(field: impl Fn(&str) -> Option<&'a str>) -> Result<Self, ApiError> {
        Ok(Self {
            domain: parsed("domain", field("domain"), Domain::parse)?,
            sender: parsed("sender", field("sender"), Address::parse)?,
            recipient: parsed("recipient", field("recipient"), Address::parse)?,
            message_id: parsed("message_id", field("message_id"), MessageId::parse)?,
        })
    }
}

/// A field read as what it is; absent and empty are the same.
pub(super) fn parsed<T, E: std::fmt::Display>(
    field: &str,
    text: Option<&str>,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<Option<T>, ApiError> {
    text.filter(|text| !text.is_empty())
        .map(|text| parse(text).map_err(|fault| invalid_field(field, &fault.to_string())))
        .transpose()
}

/// Everything is only meant where that is said, and then no filter stands beside it.
pub(super) fn all_or_some(all: Option<bool>, filtered: bool) -> Result<(), ApiError> {
    match (all.unwrap_or(false), filtered) {
        (false, false) => Err(invalid_field(
            "all",
            "must be true where nothing else says which are meant",
        )),
        (true, true) => Err(invalid_field("all", "does not go with a filter")),
        _ => Ok(()),
    }
}

const VERSION: u8 = 2;

/// The position a form names.
pub(super) fn position(cursor: Option<&str>) -> Result<Position, ApiError> {
    match cursor.filter(|text| !text.is_empty()) {
        None => Ok(Position::START),
        Some(text) => read(text).ok_or_else(|| invalid_field("cursor", "is not one of ours")),
    }
}

fn write(position: Position) -> String {
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(&position.after.to_be_bytes());
    bytes.extend_from_slice(&position.until.to_be_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

fn read(text: &str) -> Option<Position> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (version, numbers) = bytes.split_first()?;
    let (after, until) = numbers.split_at_checked(8)?;
    if *version != VERSION {
        return None;
    }
    Some(Position {
        after: i64::from_be_bytes(after.try_into().ok()?),
        until: i64::from_be_bytes(until.try_into().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_as_it_was_written() {
        for (after, until) in [(0, i64::MAX), (7, 9), (-1, 0)] {
            let position = Position { after, until };
            assert_eq!(read(&write(position)), Some(position));
        }
        for text in ["", "x", "AQAAAAAAAAAH", "%%%"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn everything_is_meant_only_where_it_is_said() {
        assert!(all_or_some(None, false).is_err());
        assert!(all_or_some(Some(false), false).is_err());
        assert!(all_or_some(Some(true), true).is_err());
        assert!(all_or_some(Some(true), false).is_ok());
        assert!(all_or_some(None, true).is_ok());
    }
}
