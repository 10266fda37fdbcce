//! The walk over the parts of a mail (RFC 2046), bounded in number and depth.
//!
//! A multipart is cut at its boundary lines; what lies before the first and after the last one is
//! dropped, as the RFC wants it. Text that is meant to be read becomes the text of the mail,
//! everything else a file. Of alternatives the plain text is the text and the HTML the HTML.

use bytes::Bytes;

use super::super::mail::{MailFault, MailLimits, PartKind};
use super::body::{decode, text_of};
use super::collect::{Collected, Found, Piece};
use super::fields::{Fields, Parameters, split};

/// Longer boundaries are no boundaries; the RFC allows 70 bytes.
const BOUNDARY: usize = 250;

/// Walks a mail whose header was read.
///
/// # Errors
/// It goes over the limits.
pub(super) fn walk<'a>(
    fields: &Fields<'a>,
    body: &'a [u8],
    limits: &MailLimits,
) -> Result<Collected<'a>, MailFault> {
    let mut walk = Walk {
        limits,
        count: 0,
        found: Collected::default(),
    };
    let stray = fields.stray().filter(|_| body.is_empty());
    walk.node(fields, stray.unwrap_or(body), Place::ROOT)?;
    let mut found = walk.found;
    found.content = fields.parameters("content-type").unwrap_or_default();
    found.stray = stray;
    if found.text.trim().is_empty()
        && let Some(html) = found.html.take()
    {
        found.text.clear();
        found.add_text_of(&html);
        found.html = Some(html);
    }
    Ok(found)
}

/// Where a part lies.
#[derive(Clone, Copy)]
struct Place {
    depth: usize,
    /// In a digest, where a part without a type is a mail.
    in_digest: bool,
    in_alternative: bool,
    /// Beside the root of related parts.
    is_related: bool,
    /// Directly in a `multipart/report` that is the whole mail.
    in_report: bool,
}

impl Place {
    const ROOT: Self = Self {
        depth: 0,
        in_digest: false,
        in_alternative: false,
        is_related: false,
        in_report: false,
    };

    fn inside(self, kind: &str, first: bool) -> Self {
        Self {
            depth: self.depth + 1,
            in_digest: kind == "multipart/digest",
            in_alternative: self.in_alternative || kind == "multipart/alternative",
            is_related: kind == "multipart/related" && !first,
            in_report: kind == "multipart/report" && self.depth == 0,
        }
    }
}

struct Walk<'a, 'l> {
    limits: &'l MailLimits,
    count: usize,
    found: Collected<'a>,
}

impl<'a> Walk<'a, '_> {
    fn node(&mut self, fields: &Fields<'a>, body: &'a [u8], place: Place) -> Result<(), MailFault> {
        if place.depth > self.limits.depth {
            return Err(MailFault::Depth(self.limits.depth));
        }
        self.count += 1;
        if self.count > self.limits.parts {
            return Err(MailFault::Parts(self.limits.parts));
        }
        let content = fields.parameters("content-type");
        let content = content.filter(is_media_type);
        if let Some(content) = &content
            && content.value.starts_with("multipart/")
            && let Some(parts) = self.parts_of(body, content)?
        {
            return self.multipart(&content.value, &parts, place);
        }
        self.leaf(fields, content, body, place);
        Ok(())
    }

    fn multipart(&mut self, kind: &str, parts: &[&'a [u8]], place: Place) -> Result<(), MailFault> {
        let text_before = self.found.text.len();
        let html_before = self.found.html.as_ref().map_or(0, String::len);
        for (index, part) in parts.iter().enumerate() {
            let (fields, body) = split(part, self.limits.header)?;
            self.node(&fields, body, place.inside(kind, index == 0))?;
        }
        // HTML without an alternative of plain text, beside which other text stands.
        let is_outermost = kind == "multipart/alternative" && !place.in_alternative;
        if is_outermost && self.found.text[text_before..].trim().is_empty() {
            let html = self.found.html.as_deref().unwrap_or_default();
            let html = html.get(html_before..).unwrap_or_default().to_owned();
            self.found.add_text_of(&html);
        }
        Ok(())
    }

    /// The parts between the boundary lines; `None` if there is no such line.
    fn parts_of(
        &self,
        body: &'a [u8],
        content: &Parameters,
    ) -> Result<Option<Vec<&'a [u8]>>, MailFault> {
        let Some(boundary) = content.get("boundary").map(str::trim_end) else {
            return Ok(None);
        };
        if boundary.is_empty() || boundary.len() > BOUNDARY {
            return Ok(None);
        }
        let mut parts = Vec::new();
        let mut begun = None;
        let mut at = 0;
        for line in body.split_inclusive(|byte| *byte == b'\n') {
            let end = at + line.len();
            if let Some(rest) = delimiter(line, boundary.as_bytes()) {
                if let Some(start) = begun {
                    parts.push(without_line_end(&body[start..at]));
                }
                if parts.len() + self.count > self.limits.parts {
                    return Err(MailFault::Parts(self.limits.parts));
                }
                begun = Some(end);
                if rest == Delimiter::Last {
                    return Ok(Some(parts));
                }
            }
            at = end;
        }
        // The last boundary is missing: the mail was cut off.
        parts.extend(begun.map(|start| &body[start..]));
        Ok(begun.map(|_| parts))
    }

    fn leaf(
        &mut self,
        fields: &Fields<'a>,
        content: Option<Parameters>,
        body: &'a [u8],
        place: Place,
    ) {
        let content = content.unwrap_or_else(|| Parameters {
            value: if place.in_digest {
                "message/rfc822"
            } else {
                "text/plain"
            }
            .to_owned(),
            ..Parameters::default()
        });
        let disposition = fields.parameters("content-disposition").unwrap_or_default();
        let name = disposition.get("filename").or_else(|| content.get("name"));
        let is_file = disposition.value == "attachment" || name.is_some() && place.depth > 0;
        let encoding = fields.text("content-transfer-encoding");
        let bytes = decode(body, encoding.as_deref().unwrap_or_default());
        match content.value.as_str() {
            "text/plain" if !is_file => self.found.add_text(&text_of(&bytes, &content)),
            "text/html" if !is_file => self.html(&text_of(&bytes, &content), place),
            // A multipart without its boundary is still something to read.
            kind if kind.starts_with("multipart/") && !is_file => {
                self.found.add_text(&text_of(&bytes, &content));
            }
            kind => {
                let bytes = Bytes::from(bytes.into_owned());
                if place.in_report {
                    self.found.report.push(Piece {
                        kind: kind.to_owned(),
                        bytes: bytes.clone(),
                    });
                }
                let found = Found {
                    kind: kind_of(kind, &disposition, place, fields),
                    name: name.map(str::to_owned),
                    content_type: kind.to_owned(),
                    bytes,
                };
                self.found.add_part(fields, found);
            }
        }
    }

    fn html(&mut self, html: &str, place: Place) {
        self.found.add_html(html);
        if !place.in_alternative && place.depth > 0 {
            self.found.add_text_of(html);
        }
    }
}

fn is_media_type(content: &Parameters) -> bool {
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_graphic());
    let halves = content.value.split_once('/');
    halves.is_some_and(|(kind, sub)| is_word(kind) && is_word(sub))
}

fn kind_of(kind: &str, disposition: &Parameters, place: Place, fields: &Fields<'_>) -> PartKind {
    let has_id = fields.all("content-id").next().is_some();
    match kind {
        "text/calendar" | "application/ics" => PartKind::Calendar,
        "message/rfc822" | "message/global" => PartKind::Message,
        _ if disposition.value == "attachment" => PartKind::File,
        _ if has_id && (place.is_related || disposition.value == "inline") => PartKind::Inline,
        _ => PartKind::File,
    }
}

#[derive(PartialEq)]
enum Delimiter {
    Next,
    Last,
}

/// Whether a line is the boundary.
fn delimiter(line: &[u8], boundary: &[u8]) -> Option<Delimiter> {
    let rest = line.strip_prefix(b"--")?.strip_prefix(boundary)?;
    match rest.trim_ascii() {
        b"" => Some(Delimiter::Next),
        b"--" => Some(Delimiter::Last),
        _ => None,
    }
}

/// The line end before a boundary belongs to the boundary.
fn without_line_end(part: &[u8]) -> &[u8] {
    let part = part.strip_suffix(b"\n").unwrap_or(part);
    part.strip_suffix(b"\r").unwrap_or(part)
}
