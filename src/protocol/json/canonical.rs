//! One text for all spellings of a value, to compare values by.

use std::borrow::Cow;

use super::strings::plain_prefix;
use super::{Entry, JsonFault, Keep, Only, scan, unescape, write_string};

/// Appends `value` with members sorted by name, without blanks, strings in one spelling.
///
/// Numbers keep their text, so `1.0` and `1` stay two values. This is for fingerprints; signatures
/// are made over RFC 8785, which rewrites numbers.
///
/// # Errors
/// `value` is not strict JSON; nothing was appended.
pub fn canonical_text(value: &[u8], out: &mut Vec<u8>) -> Result<(), JsonFault> {
    let (text, entries) = scan(value, Keep::Members, Only::Value)?;
    out.reserve(text.len());
    let mut writer = Writer {
        text,
        entries: &entries,
        out,
    };
    let start = writer.skip_blanks(0);
    writer.value(start, 0);
    Ok(())
}

/// Walks a text that was scanned. The entries of all members stand in the order of the text, so a
/// position in the text goes with a position among the entries: the first one at or after it.
struct Writer<'a> {
    text: &'a str,
    entries: &'a [Entry],
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
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
        let first = self.skip_blanks(at + 1);
        if self.text.as_bytes()[first] == b'}' {
            self.out.extend_from_slice(b"{}");
            return (first + 1, entry);
        }
        let mut members = Vec::new();
        let mut index = entry;
        let (end, next) = loop {
            let member = &self.entries[index];
            members.push((unescape(member.name.of(self.text)), index));
            if member.last {
                break (member.value.range().end, member.next as usize);
            }
            index = member.next as usize;
        };
        members.sort_unstable();
        self.members(&members);
        (self.skip_blanks(end) + 1, next)
    }

    fn members(&mut self, members: &[(Cow<'a, str>, usize)]) {
        let mut before = b'{';
        for (name, index) in members {
            self.out.push(before);
            before = b',';
            write_string(name, self.out);
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
        write_string(&unescape(&inner[..end]), self.out);
        at + end + 2
    }

    /// A number or a word: up to the next blank, comma or bracket.
    fn plain(&mut self, at: usize) -> usize {
        let rest = &self.text.as_bytes()[at..];
        let is_end = |byte: &u8| matches!(byte, b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r');
        let length = rest.iter().position(is_end).unwrap_or(rest.len());
        self.out.extend_from_slice(&rest[..length]);
        at + length
    }

    fn skip_blanks(&self, at: usize) -> usize {
        let rest = &self.text.as_bytes()[at..];
        let is_blank = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        at + rest.iter().take_while(is_blank).count()
    }
}
