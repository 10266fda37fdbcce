//! Strict JSON without a tree: one scanner that checks a text and tells where its members are.
//!
//! `serde_json` cannot do what a gateway must: find duplicate member names at any depth, keep each
//! number's exact text, and say at which byte and under which member a fault is. The scanner takes
//! RFC 8259 JSON in UTF-8 and refuses duplicate names (compared after unescaping), lone surrogates,
//! nesting deeper than [`MAX_DEPTH`], and anything after the value. It runs in linear time; its
//! memory is bounded by the number of members.

mod canonical;
mod number;
mod scanner;
mod strings;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

pub use canonical::{NotSignable, canonical_text, signed_text};
pub use scanner::Items;
pub(crate) use scanner::{Entry, Keep, Only, scan};
pub(crate) use strings::unescape;
pub use strings::{string_of, write_string};

/// How many arrays and objects may lie inside one another.
pub const MAX_DEPTH: usize = 128;

/// Where and why a text is not the JSON we take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonFault {
    /// The byte the fault was found at, counted from 0.
    pub offset: usize,
    /// The member it lies in, such as `payload.items[0]`; empty at the top.
    pub path: String,
    /// What is wrong.
    pub kind: JsonFaultKind,
}

/// What is wrong with a JSON text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonFaultKind {
    /// Not UTF-8.
    #[error("is not UTF-8")]
    Encoding,
    /// Another character than the grammar wants; holds what it wants.
    #[error("expected {0}")]
    Expected(&'static str),
    /// The text stops inside a value.
    #[error("ends too early")]
    Ends,
    /// A number that JSON does not know, such as `01` or `1.`.
    #[error("malformed number")]
    Number,
    /// An unknown escape or a lone surrogate.
    #[error("malformed escape sequence")]
    Escape,
    /// A control character inside a string.
    #[error("control character in a string")]
    Control,
    /// One name twice in one object; holds the name.
    #[error("duplicate member {0:?}")]
    Duplicate(String),
    /// More than [`MAX_DEPTH`] levels.
    #[error("nested deeper than {MAX_DEPTH} levels")]
    Depth,
    /// Something follows the value.
    #[error("more text after the value")]
    Trailing,
    /// More bytes than a position can count (4 GiB).
    #[error("is too long")]
    TooLong,
}

impl fmt::Display for JsonFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        write!(f, "{} at byte {}", self.kind, self.offset)
    }
}

impl std::error::Error for JsonFault {}

/// A member of a scanned object: its name unescaped, and the place of its value.
pub type Member<'a> = (Cow<'a, str>, Range<usize>);

/// The members of the object that `text` is, in order.
///
/// # Errors
/// `text` is not one strict JSON object.
pub fn scan_object(text: &[u8]) -> Result<Vec<Member<'_>>, JsonFault> {
    let (text, entries) = scan(text, Keep::Top, Only::Object)?;
    let member = |entry: &Entry| (unescape(entry.name.of(text)), entry.value.range());
    Ok(entries.iter().map(member).collect())
}

/// The items of an array that was scanned before, one by one; `None` if `value` is no array.
///
/// Nothing is remembered, so an array of a million items costs no memory. The items end where the
/// text is no JSON.
#[must_use]
pub fn items(value: &str) -> Option<Items<'_>> {
    Items::of(value)
}

#[cfg(test)]
mod tests;
