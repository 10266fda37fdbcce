//! What is gathered while the parts of a mail are walked.

use bytes::Bytes;
use mail_parser::decoders::html::html_to_text;
use ring::digest::{SHA256, digest};

use super::super::mail::{Part, PartKind};
use super::fields::{Fields, Parameters, on_one_line};

/// The longest name of a file, in characters.
const NAME: usize = 200;

/// A piece of a report, decoded.
pub(super) struct Piece {
    /// Its media type.
    pub(super) kind: String,
    pub(super) bytes: Bytes,
}

/// What the parts of a mail hold.
#[derive(Default)]
pub(super) struct Collected<'a> {
    /// The plain text; of a mail without any, the text of its HTML.
    pub(super) text: String,
    /// Whether the text was made of HTML.
    pub(super) text_is_of_html: bool,
    pub(super) html: Option<String>,
    pub(super) parts: Vec<Part>,
    /// The pieces of a `multipart/report`, where the whole mail is one.
    pub(super) report: Vec<Piece>,
    /// The `Content-Type` of the whole mail.
    pub(super) content: Parameters,
    /// Lines of a header without an end.
    pub(super) stray: Option<&'a [u8]>,
}

impl Collected<'_> {
    pub(super) fn add_text(&mut self, text: &str) {
        append(&mut self.text, text);
    }

    pub(super) fn add_html(&mut self, html: &str) {
        append(self.html.get_or_insert_default(), html);
    }

    /// Adds the text of HTML that has no plain text beside it.
    pub(super) fn add_text_of(&mut self, html: &str) {
        self.text_is_of_html = self.text_is_of_html || self.text.trim().is_empty();
        let text = html_to_text(html);
        append(&mut self.text, &text);
    }

    /// Adds a file.
    pub(super) fn add_part(&mut self, fields: &Fields<'_>, found: Found) {
        let number = self.parts.len() + 1;
        let name = found.name.as_deref().map(clean_name);
        let name = name.filter(|name| !name.is_empty());
        let id = fields.text("content-id");
        let id = id.map(|id| id.trim_matches(['<', '>']).to_owned());
        let hash = digest(&SHA256, &found.bytes);
        self.parts.push(Part {
            name: name.unwrap_or_else(|| made_name(number, found.kind, &found.content_type)),
            content_type: found.content_type,
            kind: found.kind,
            content_id: id.filter(|id| !id.is_empty()),
            sha256: hash.as_ref().try_into().expect("SHA-256 has 32 bytes"),
            bytes: found.bytes,
        });
    }
}

/// A file before it is added.
pub(super) struct Found {
    pub(super) kind: PartKind,
    pub(super) content_type: String,
    pub(super) name: Option<String>,
    pub(super) bytes: Bytes,
}

fn append(all: &mut String, more: &str) {
    if !all.is_empty() && !all.ends_with('\n') {
        all.push('\n');
    }
    all.push_str(more);
}

/// A name that is no path, hides nothing and fits on a line.
fn clean_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let visible: String = last.chars().filter(|c| !is_direction(*c)).collect();
    let short: String = on_one_line(&visible).chars().take(NAME).collect();
    short.trim_start_matches('.').trim().to_owned()
}

/// The characters that turn the direction of text, with which `gpj.exe` is made to look like a picture.
const fn is_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn made_name(number: usize, kind: PartKind, content_type: &str) -> String {
    let ending = match (kind, content_type) {
        (PartKind::Message, _) => "eml",
        (PartKind::Calendar, _) => "ics",
        (_, "text/plain") => "txt",
        (_, "text/html") => "html",
        (_, "application/json") => "json",
        (_, "application/pdf") => "pdf",
        (_, "image/png") => "png",
        (_, "image/jpeg") => "jpg",
        (_, "image/gif") => "gif",
        (_, kind) if kind.starts_with("text/") || kind.starts_with("message/") => "txt",
        _ => "bin",
    };
    format!("part-{number}.{ending}")
}
