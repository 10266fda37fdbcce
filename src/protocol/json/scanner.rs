//! The walk over a JSON text: checks every byte once, remembers names to find duplicates.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use super::strings::{hex4, plain_prefix, unescape};
use super::{JsonFault, JsonFaultKind, MAX_DEPTH};

/// Up to this many names of one object are compared one by one; beyond, a set is used.
pub(super) const FEW: usize = 16;

/// Longer names are cut in the texts of faults.
pub(super) const SHOWN: usize = 64;

/// What the scanner writes down about a member of an object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    /// The name as written, without its quotes.
    pub(crate) name: Span,
    /// The value as written.
    pub(crate) value: Span,
    /// Where the entries of this value end: the index of the next sibling if there is one.
    pub(super) next: u32,
    /// Whether this is the last one of its object.
    pub(super) last: bool,
}

/// A place in a text shorter than 4 GiB.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    pub(crate) const fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    pub(crate) fn of(self, text: &str) -> &str {
        &text[self.range()]
    }
}

/// Which entries a scan keeps.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Keep {
    /// None.
    Nothing,
    /// The members of the outermost object.
    Top,
    /// The members of every object, each before those inside its value.
    Members,
}

/// What a text may be.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Only {
    /// An object.
    Object,
    /// Any value.
    Value,
}

/// Checks a whole text and returns it with its entries.
pub(crate) fn scan(text: &[u8], keep: Keep, only: Only) -> Result<(&str, Vec<Entry>), JsonFault> {
    let at_top = |offset: usize, kind| JsonFault {
        offset,
        path: String::new(),
        kind,
    };
    if u32::try_from(text.len()).is_err() {
        return Err(at_top(0, JsonFaultKind::TooLong));
    }
    let text = std::str::from_utf8(text)
        .map_err(|fault| at_top(fault.valid_up_to(), JsonFaultKind::Encoding))?;
    let mut scanner = Scanner::of(text, keep);
    scanner.names.reserve(FEW);
    scanner.entries.reserve(FEW);
    scanner.document(only).map_err(|pending| pending.finish())?;
    Ok((text, scanner.entries))
}

/// The items of a scanned array; see [`super::items`].
pub struct Items<'a> {
    scanner: Scanner<'a>,
    ended: bool,
}

impl<'a> Items<'a> {
    pub(super) fn of(value: &'a str) -> Option<Self> {
        let mut scanner = Scanner::of(value, Keep::Nothing);
        scanner.skip_blanks();
        if !scanner.accept(b'[') {
            return None;
        }
        scanner.skip_blanks();
        let ended = scanner.peek() == Some(b']');
        Some(Self { scanner, ended })
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        if self.ended {
            return None;
        }
        let start = self.scanner.at;
        self.ended = self.scanner.value(0).is_err();
        if self.ended {
            return None;
        }
        let item = &self.scanner.text[start..self.scanner.at];
        self.scanner.skip_blanks();
        self.ended = !self.scanner.accept(b',');
        Some(item)
    }
}

/// A fault on its way out; gains one path segment a level. Boxed to keep the good path small.
struct Pending {
    offset: usize,
    kind: JsonFaultKind,
    /// Innermost first.
    path: Vec<String>,
}

type Scan<T> = Result<T, Box<Pending>>;

impl Pending {
    #[cold]
    fn inside(mut self: Box<Self>, segment: String) -> Box<Self> {
        self.path.push(segment);
        self
    }

    fn finish(self) -> JsonFault {
        let mut path = String::new();
        for segment in self.path.iter().rev() {
            if !path.is_empty() && !segment.starts_with('[') {
                path.push('.');
            }
            path.push_str(segment);
        }
        JsonFault {
            offset: self.offset,
            path,
            kind: self.kind,
        }
    }
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    /// The names of the objects that are open and have few members, innermost last.
    names: Vec<Cow<'a, str>>,
    keep: Keep,
    entries: Vec<Entry>,
}

impl<'a> Scanner<'a> {
    const fn of(text: &'a str, keep: Keep) -> Self {
        Self {
            text,
            at: 0,
            names: Vec::new(),
            keep,
            entries: Vec::new(),
        }
    }

    fn document(&mut self, only: Only) -> Scan<()> {
        self.skip_blanks();
        if only == Only::Object && self.peek() != Some(b'{') {
            return self.expected("an object");
        }
        self.value(0)?;
        self.skip_blanks();
        match self.peek() {
            None => Ok(()),
            Some(_) => self.fault(JsonFaultKind::Trailing),
        }
    }

    fn value(&mut self, depth: usize) -> Scan<()> {
        match self.peek() {
            Some(b'"') => self.string().map(drop),
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.array(depth + 1),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            _ => self.expected("a value"),
        }
    }

    fn object(&mut self, depth: usize) -> Scan<()> {
        let base = self.open(depth)?;
        let mut many = None;
        if self.accept(b'}') {
            return Ok(());
        }
        let last = loop {
            if self.peek() != Some(b'"') {
                return self.expected("a member name");
            }
            let start = self.at;
            let name = self.string()?;
            if !self.is_new(base, &mut many, unescape(name.of(self.text))) {
                self.at = start;
                return self.fault(JsonFaultKind::Duplicate(self.shown(name)));
            }
            self.skip_blanks();
            self.require(b':', "':'")?;
            self.skip_blanks();
            let kept = self.kept(name, depth);
            let value = self.at;
            if let Err(pending) = self.value(depth) {
                return Err(pending.inside(self.shown(name)));
            }
            self.close(kept, value);
            self.skip_blanks();
            if !self.accept(b',') {
                break kept;
            }
        };
        if let Some(last) = last {
            self.entries[last].last = true;
        }
        self.names.truncate(base);
        self.require(b'}', "',' or '}'")
    }

    fn array(&mut self, depth: usize) -> Scan<()> {
        self.open(depth)?;
        if self.accept(b']') {
            return Ok(());
        }
        for index in 0_usize.. {
            if let Err(pending) = self.value(depth) {
                return Err(pending.inside(format!("[{index}]")));
            }
            self.skip_blanks();
            if !self.accept(b',') {
                break;
            }
        }
        self.require(b']', "',' or ']'")
    }

    /// Passes an opening bracket and the blanks after it; says where this level's names begin.
    fn open(&mut self, depth: usize) -> Scan<usize> {
        if depth > MAX_DEPTH {
            return self.fault(JsonFaultKind::Depth);
        }
        self.at += 1;
        self.skip_blanks();
        Ok(self.names.len())
    }

    /// Writes down that a value begins here, if such are kept; returns its index.
    fn kept(&mut self, name: Span, depth: usize) -> Option<usize> {
        match self.keep {
            Keep::Nothing => return None,
            Keep::Top if depth > 1 => return None,
            Keep::Top | Keep::Members => {}
        }
        self.entries.push(Entry {
            name,
            value: self.span(self.at),
            next: 0,
            last: false,
        });
        Some(self.entries.len() - 1)
    }

    /// Completes an entry whose value began at `start` and ends here.
    fn close(&mut self, index: Option<usize>, start: usize) {
        if let Some(index) = index {
            self.entries[index].value = self.span(start);
            // There are fewer entries than bytes, and a u32 counts the bytes.
            self.entries[index].next = self.entries.len() as u32;
        }
    }

    /// Whether the object that opened at `base` has no such name yet; remembers it.
    fn is_new(
        &mut self,
        base: usize,
        many: &mut Option<HashSet<Cow<'a, str>>>,
        name: Cow<'a, str>,
    ) -> bool {
        if let Some(many) = many {
            return many.insert(name);
        }
        if self.names[base..].contains(&name) {
            return false;
        }
        self.names.push(name);
        if self.names.len() - base > FEW {
            *many = Some(self.names.drain(base..).collect());
        }
        true
    }

    /// Passes a string; returns what is between its quotes.
    fn string(&mut self) -> Scan<Span> {
        self.at += 1;
        let start = self.at;
        loop {
            self.at += plain_prefix(&self.text.as_bytes()[self.at..]);
            match self.peek() {
                Some(b'"') => {
                    let inner = self.span(start);
                    self.at += 1;
                    return Ok(inner);
                }
                Some(b'\\') => self.escape()?,
                Some(_) => return self.fault(JsonFaultKind::Control),
                None => return self.fault(JsonFaultKind::Ends),
            }
        }
    }

    fn escape(&mut self) -> Scan<()> {
        let rest = &self.text.as_bytes()[self.at..];
        let length = match rest.get(1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u') => match (hex4(rest), rest.get(6..).and_then(hex4)) {
                (Some(0xd800..0xdc00), Some(0xdc00..0xe000)) => 12,
                (None | Some(0xd800..0xe000), _) => return self.fault(JsonFaultKind::Escape),
                (Some(_), _) => 6,
            },
            Some(_) => return self.fault(JsonFaultKind::Escape),
            None => return self.fault(JsonFaultKind::Ends),
        };
        self.at += length;
        Ok(())
    }

    fn number(&mut self) -> Scan<()> {
        self.accept(b'-');
        if !self.accept(b'0') {
            self.digits()?;
        }
        if self.accept(b'.') {
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        match self.peek() {
            // `01`, `1.2.3`, `-a`: say that the number is wrong rather than that a comma is missing.
            Some(b'0'..=b'9' | b'.' | b'a'..=b'z' | b'A'..=b'Z' | b'+' | b'-') => {
                self.fault(JsonFaultKind::Number)
            }
            _ => Ok(()),
        }
    }

    fn digits(&mut self) -> Scan<()> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start {
            return self.fault(JsonFaultKind::Number);
        }
        Ok(())
    }

    fn word(&mut self, word: &'static str) -> Scan<()> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return self.expected("a value");
        }
        self.at += word.len();
        Ok(())
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Passes `byte` and the blanks after it, if it stands here.
    fn accept(&mut self, byte: u8) -> bool {
        let here = self.peek() == Some(byte);
        if here {
            self.at += 1;
            if byte == b',' {
                self.skip_blanks();
            }
        }
        here
    }

    fn require(&mut self, byte: u8, wanted: &'static str) -> Scan<()> {
        if self.accept(byte) {
            Ok(())
        } else {
            self.expected(wanted)
        }
    }

    /// From `start` to here.
    fn span(&self, start: usize) -> Span {
        // `scan` refuses texts whose bytes a u32 cannot count.
        Span {
            start: start as u32,
            end: self.at as u32,
        }
    }

    #[cold]
    fn expected<T>(&self, wanted: &'static str) -> Scan<T> {
        self.fault(match self.peek() {
            Some(_) => JsonFaultKind::Expected(wanted),
            None => JsonFaultKind::Ends,
        })
    }

    #[cold]
    fn fault<T>(&self, kind: JsonFaultKind) -> Scan<T> {
        Err(Box::new(Pending {
            offset: self.at,
            kind,
            path: Vec::new(),
        }))
    }

    fn shown(&self, name: Span) -> String {
        unescape(name.of(self.text)).chars().take(SHOWN).collect()
    }
}
