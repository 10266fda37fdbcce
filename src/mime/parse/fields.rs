//! A block of header fields (RFC 5322, section 2.2), and what single fields say.
//!
//! The block ends at the first empty line. A line that begins with a blank belongs to the field above
//! it; a line that is no field is passed over. What single values mean is read by `mail-parser`.

use std::borrow::Cow;
use std::ops::Range;

use mail_parser::parsers::MessageStream;
use mail_parser::{Addr, HeaderValue};

use super::super::mail::{MailFault, Mailbox};
use super::super::mapping::read_address;
use super::moment;
use crate::protocol::Timestamp;

/// Longer values of fields with parameters are cut.
const STRUCTURED: usize = 4_096;

/// Header fields in order.
#[derive(Debug, Default, Clone)]
pub(super) struct Fields<'a> {
    fields: Vec<Field<'a>>,
    /// Lines that are no field, of a block without an end: the text of a mail whose empty line is missing.
    stray: Option<&'a [u8]>,
}

#[derive(Debug, Clone)]
struct Field<'a> {
    name: &'a str,
    /// With its line ends.
    value: &'a [u8],
}

/// Splits what begins with a header into its fields and what follows the empty line.
///
/// # Errors
/// The header has more than `most` bytes.
pub(super) fn split(raw: &[u8], most: usize) -> Result<(Fields<'_>, &[u8]), MailFault> {
    let mut found = Fields::default();
    let mut places: Vec<Place<'_>> = Vec::new();
    let (mut at, mut stray, mut in_field) = (0, None, false);
    while at < raw.len() {
        let end = line_end(raw, at);
        let line = &raw[at..end];
        if end > most {
            return Err(MailFault::Header(most));
        }
        if matches!(line, b"\n" | b"\r\n") {
            found.take(raw, places);
            return Ok((found, &raw[end..]));
        }
        let is_more = matches!(line[0], b' ' | b'\t') && in_field;
        if let (true, Some(last)) = (is_more, places.last_mut()) {
            last.1.end = end;
        } else if let Some((name, value)) = name_of(line) {
            places.push((name, at + value..end));
            in_field = true;
        } else {
            stray = stray.or(Some(at));
            in_field = false;
        }
        at = end;
    }
    found.take(raw, places);
    found.stray = stray.map(|at| &raw[at..]);
    Ok((found, &raw[raw.len()..]))
}

/// The name of a field, and where its value lies.
type Place<'a> = (&'a str, Range<usize>);

fn line_end(raw: &[u8], from: usize) -> usize {
    let found = raw[from..].iter().position(|byte| *byte == b'\n');
    found.map_or(raw.len(), |at| from + at + 1)
}

/// The name of the field that a line begins, and where its value begins.
fn name_of(line: &[u8]) -> Option<(&str, usize)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = line[..colon].trim_ascii_end();
    let is_name = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
    let name = std::str::from_utf8(name).ok().filter(|_| is_name)?;
    Some((name, colon + 1))
}

impl<'a> Fields<'a> {
    fn take(&mut self, raw: &'a [u8], places: Vec<Place<'a>>) {
        let field = |(name, place): Place<'a>| Field {
            name,
            value: &raw[place],
        };
        self.fields = places.into_iter().map(field).collect();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The lines that were no field, where the block has no end.
    pub(super) fn stray(&self) -> Option<&'a [u8]> {
        self.stray
    }

    /// The raw values of all fields of a name, given in lower case.
    pub(super) fn all(&self, name: &'static str) -> impl Iterator<Item = &'a [u8]> {
        let named = self.fields.iter();
        let named = named.filter(move |field| field.name.eq_ignore_ascii_case(name));
        named.map(|field| field.value)
    }

    /// The decoded value of the first field of a name.
    pub(super) fn text(&self, name: &'static str) -> Option<String> {
        self.all(name).next().map(unstructured)
    }

    /// The first field of a name as a value with parameters.
    pub(super) fn parameters(&self, name: &'static str) -> Option<Parameters> {
        self.all(name).next().and_then(Parameters::read)
    }

    /// All fields as name and decoded value.
    pub(super) fn decoded(&self) -> impl Iterator<Item = (String, String)> {
        let fields = self.fields.iter();
        fields.map(|field| (field.name.to_owned(), unstructured(field.value)))
    }
}

/// The readers of `mail-parser` want the line end.
fn terminated(value: &[u8]) -> Cow<'_, [u8]> {
    if value.ends_with(b"\n") {
        return Cow::Borrowed(value);
    }
    Cow::Owned([value, b"\n"].concat())
}

/// Text without control characters, on one line, without blanks around it.
pub(super) fn on_one_line(text: &str) -> String {
    let clean: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    clean.trim().to_owned()
}

/// A free text, with its encoded words decoded.
pub(super) fn unstructured(value: &[u8]) -> String {
    let value = terminated(value);
    match MessageStream::new(&value).parse_unstructured() {
        HeaderValue::Text(text) => on_one_line(&text),
        _ => String::new(),
    }
}

/// The ids of a field, without angle brackets.
pub(super) fn ids(value: &[u8]) -> Vec<String> {
    let value = terminated(value);
    match MessageStream::new(&value).parse_id() {
        HeaderValue::Text(id) => vec![on_one_line(&id)],
        HeaderValue::TextList(ids) => ids.iter().map(|id| on_one_line(id)).collect(),
        _ => Vec::new(),
    }
}

/// The moment of a date field.
pub(super) fn date(value: &[u8]) -> Option<Timestamp> {
    let value = terminated(value);
    let HeaderValue::DateTime(mut date) = MessageStream::new(&value).parse_date() else {
        return None;
    };
    if date.tz_hour == 0 && date.tz_minute == 0 {
        date.tz_hour = old_zone(&value);
        date.tz_before_gmt = date.tz_hour > 0;
    }
    moment(&date)
}

/// How many hours the zones that once had names in mails are behind Greenwich.
fn old_zone(value: &[u8]) -> u8 {
    const ZONES: [(&[u8], u8); 8] = [
        (b"EDT", 4),
        (b"EST", 5),
        (b"CDT", 5),
        (b"CST", 6),
        (b"MDT", 6),
        (b"MST", 7),
        (b"PDT", 7),
        (b"PST", 8),
    ];
    let mut words = value.split(u8::is_ascii_whitespace);
    let zone = words.find_map(|word| ZONES.iter().find(|(name, _)| *name == word));
    zone.map_or(0, |(_, hours)| *hours)
}

/// The mailboxes of an address field, those of groups too.
pub(super) fn mailboxes(value: &[u8]) -> Vec<Mailbox> {
    let value = terminated(value);
    match MessageStream::new(&value).parse_address() {
        HeaderValue::Address(addresses) => addresses.iter().filter_map(mailbox).collect(),
        _ => Vec::new(),
    }
}

fn mailbox(found: &Addr<'_>) -> Option<Mailbox> {
    let name = found.name.as_deref().map(on_one_line);
    let written = on_one_line(found.address.as_deref().unwrap_or_default());
    let written = without_route(&written).to_owned();
    let name = name.filter(|name| !name.is_empty());
    if written.is_empty() && name.is_none() {
        return None;
    }
    Some(Mailbox {
        name,
        address: read_address(&written).ok(),
        written,
    })
}

/// An address without the way that mails of the eighties were told to take (`@a,@b:user@c`).
fn without_route(written: &str) -> &str {
    let routed = written.strip_prefix('@').and_then(|it| it.split_once(':'));
    routed.map_or(written, |(_, address)| address.trim())
}

/// A value with parameters, such as `Content-Type` has.
#[derive(Debug, Clone, Default)]
pub(super) struct Parameters {
    /// Such as `text/plain` or `attachment`; in lower case.
    pub(super) value: String,
    pub(super) parameters: Vec<(String, String)>,
}

impl Parameters {
    fn read(value: &[u8]) -> Option<Self> {
        let cut = &value[..value.len().min(STRUCTURED)];
        let value = terminated(cut);
        let HeaderValue::ContentType(found) = MessageStream::new(&value).parse_content_type()
        else {
            return None;
        };
        let kind = found.c_type.trim();
        let value = match found.c_subtype.as_deref().map(str::trim) {
            Some(sub) if !sub.is_empty() => format!("{kind}/{sub}"),
            _ => kind.to_owned(),
        };
        let attributes = found.attributes.unwrap_or_default();
        let parameter = |it: mail_parser::Attribute<'_>| {
            let name = it.name.trim().to_ascii_lowercase();
            (name, it.value.into_owned())
        };
        Some(Self {
            value: value.to_ascii_lowercase(),
            parameters: attributes.into_iter().map(parameter).collect(),
        })
    }

    /// The value of a parameter, named in lower case.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }
}
