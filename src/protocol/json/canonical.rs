//! One text for all spellings of a value, to compare values by, or to sign.
//!
//! Fingerprints keep the text of numbers ([`canonical_text`]); signatures are made over RFC 8785,
//! which rewrites them ([`signed_text`]).

use std::borrow::Cow;
use std::marker::PhantomData;

use super::number::write_number;
use super::strings::{plain_prefix, write_short};
use super::{Entry, JsonFault, Keep, Only, scan, unescape, write_string};

/// Appends `value` with members sorted by name, without blanks, strings in one spelling.
///
/// Numbers keep their text, so `1.0` and `1` stay two values.
///
/// # Errors
/// `value` is not strict JSON; nothing was appended.
pub fn canonical_text(value: &[u8], out: &mut Vec<u8>) -> Result<(), JsonFault> {
    let (text, entries) = scan(value, Keep::Members, Only::Value)?;
    out.reserve(text.len());
    let mut writer = Writer::<Kept>::new(text, &entries, out);
    let start = writer.skip_blanks(0);
    writer.value(start, 0);
    Ok(())
}

/// Why a text cannot be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotSignable {
    /// It is not one strict JSON object.
    #[error(transparent)]
    Json(#[from] JsonFault),
    /// It holds a number that RFC 8785 would change.
    #[error("the number at byte {offset} has no exact double of its own")]
    Number {
        /// Where the first one stands.
        offset: usize,
    },
}

/// An object as RFC 8785 (JCS) writes it, without its member `without`.
///
/// # Errors
/// The text is no strict JSON object, or holds a number whose decimal value is not that of the
/// shortest form of its nearest double.
pub fn signed_text(object: &[u8], without: &str) -> Result<Vec<u8>, NotSignable> {
    let (text, entries) = scan(object, Keep::Members, Only::Object)?;
    let mut out = Vec::with_capacity(text.len());
    let mut writer = Writer::<Jcs>::new(text, &entries, &mut out);
    let start = writer.skip_blanks(0);
    let (mut members, ..) = writer.list(start, 0);
    members.retain(|(name, _)| name != without);
    writer.members(members);
    match writer.refused {
        Some(offset) => Err(NotSignable::Number { offset }),
        None => Ok(out),
    }
}

/// A way to spell values.
trait Spelling {
    /// Puts members in order.
    fn sort(members: &mut [(Cow<'_, str>, usize)]);
    /// Appends a string.
    fn string(text: &str, out: &mut Vec<u8>);
    /// Appends a number or a word; `false` if it cannot be written this way.
    fn plain(text: &str, out: &mut Vec<u8>) -> bool;
}

/// Numbers keep their text.
struct Kept;

impl Spelling for Kept {
    fn sort(members: &mut [(Cow<'_, str>, usize)]) {
        members.sort_unstable();
    }

    fn string(text: &str, out: &mut Vec<u8>) {
        write_string(text, out);
    }

    fn plain(text: &str, out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(text.as_bytes());
        true
    }
}

/// RFC 8785: names in the order of their UTF-16, numbers as ECMAScript writes them.
struct Jcs;

impl Spelling for Jcs {
    fn sort(members: &mut [(Cow<'_, str>, usize)]) {
        members.sort_unstable_by(|(one, _), (other, _)| {
            if one.is_ascii() && other.is_ascii() {
                one.cmp(other)
            } else {
                one.encode_utf16().cmp(other.encode_utf16())
            }
        });
    }

    fn string(text: &str, out: &mut Vec<u8>) {
        write_short(text, out);
    }

    fn plain(text: &str, out: &mut Vec<u8>) -> bool {
        if text.starts_with(['t', 'f', 'n']) {
            out.extend_from_slice(text.as_bytes());
            return true;
        }
        write_number(text, out)
    }
}

/// Walks a text that was scanned. The entries of all members stand in the order of the text, so a
/// position in the text goes with a position among the entries: the first one at or after it.
struct Writer<'a, S> {
    text: &'a str,
    entries: &'a [Entry],
    out: &'a mut Vec<u8>,
    /// Where the first value stands that cannot be written this way.
    refused: Option<usize>,
    spelling: PhantomData<S>,
}

impl<'a, S: Spelling> Writer<'a, S> {
    const fn new(text: &'a str, entries: &'a [Entry], out: &'a mut Vec<u8>) -> Self {
        Self {
            text,
            entries,
            out,
            refused: None,
            spelling: PhantomData,
        }
    }

    /// Writes the value at `at`; returns where the text and the entries go on after it.
    fn value(&mut self, at: usize, entry: usize) -> (usize, usize) {
        match self.text.as_bytes()[at] {
            b'{' => self.object(at, entry),
            b'[' => self.array(at, entry),
            b'"' => (self.string(at), entry),
            _ => (self.plain(at), entry),
        }
    }

    fn object(&mut self, at: usize, entry: usize) -> (usize, usize) {
        let (members, end, next) = self.list(at, entry);
        self.members(members);
        (end, next)
    }

    /// The members of the object at `at`, with the index of the entry of each, and where it ends.
    fn list(&self, at: usize, entry: usize) -> (Vec<(Cow<'a, str>, usize)>, usize, usize) {
        let first = self.skip_blanks(at + 1);
        let mut members = Vec::new();
        if self.text.as_bytes()[first] == b'}' {
            return (members, first + 1, entry);
        }
        let mut index = entry;
        let (end, next) = loop {
            let member = &self.entries[index];
            members.push((unescape(member.name.of(self.text)), index));
            if member.last {
                break (member.value.range().end, member.next as usize);
            }
            index = member.next as usize;
        };
        (members, self.skip_blanks(end) + 1, next)
    }

    fn members(&mut self, mut members: Vec<(Cow<'a, str>, usize)>) {
        S::sort(&mut members);
        self.out.push(b'{');
        for (place, (name, index)) in members.iter().enumerate() {
            if place > 0 {
                self.out.push(b',');
            }
            S::string(name, self.out);
            self.out.push(b':');
            self.value(self.entries[*index].value.range().start, index + 1);
        }
        self.out.push(b'}');
    }

    fn array(&mut self, at: usize, mut entry: usize) -> (usize, usize) {
        self.out.push(b'[');
        let mut at = self.skip_blanks(at + 1);
        while self.text.as_bytes()[at] != b']' {
            if self.text.as_bytes()[at] == b',' {
                self.out.push(b',');
                at = self.skip_blanks(at + 1);
            }
            let (end, next) = self.value(at, entry);
            entry = next;
            at = self.skip_blanks(end);
        }
        self.out.push(b']');
        (at + 1, entry)
    }

    fn string(&mut self, at: usize) -> usize {
        let inner = &self.text[at + 1..];
        let mut end = 0;
        loop {
            end += plain_prefix(&inner.as_bytes()[end..]);
            if inner.as_bytes()[end] == b'"' {
                break;
            }
            end += 2;
        }
        S::string(&unescape(&inner[..end]), self.out);
        at + end + 2
    }

    /// A number or a word: up to the next blank, comma or bracket.
    fn plain(&mut self, at: usize) -> usize {
        let rest = &self.text.as_bytes()[at..];
        let is_end = |byte: &u8| matches!(byte, b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r');
        let length = rest.iter().position(is_end).unwrap_or(rest.len());
        if !S::plain(&self.text[at..at + length], self.out) {
            self.refused.get_or_insert(at);
        }
        at + length
    }

    fn skip_blanks(&self, at: usize) -> usize {
        let rest = &self.text.as_bytes()[at..];
        let is_blank = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        at + rest.iter().take_while(is_blank).count()
    }
}
