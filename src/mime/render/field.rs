//! Values of header fields: cleaned, encoded, folded.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lettre::message::header::{HeaderName, HeaderValue};

/// Longer words are encoded: a line cannot be folded within a word.
const WORD: usize = 70;
/// How many bytes of text go into an encoded word, which has at most 75 characters.
const ENCODED: usize = 45;
/// The most ids of a thread that are written: the first and the last ones.
const IDS: usize = 20;
/// Longer ids are left out.
const ID: usize = 250;

/// Text on one line, without control characters and those that turn its direction.
pub(super) fn clean(text: &str) -> String {
    let words = text.split(|c: char| c.is_control() || c.is_whitespace());
    let words = words.filter(|word| !word.is_empty());
    let line = words.collect::<Vec<_>>().join(" ");
    line.chars().filter(|c| !is_hidden(*c)).collect()
}

/// Whether a character is not to be seen, or changes how others are: marks of direction, and U+FEFF.
pub(super) const fn is_hidden(c: char) -> bool {
    matches!(
        c,
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
    )
}

/// At most so many characters, with an ellipsis where there were more.
pub(super) fn short(text: &str, most: usize) -> String {
    if text.chars().nth(most).is_none() {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(most.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// A header field of cleaned text.
pub(super) fn raw(name: &'static str, text: &str) -> HeaderValue {
    let field = HeaderName::new_from_ascii_str(name);
    let is_plain = |word: &str| word.len() <= WORD && word.bytes().all(|b| b.is_ascii_graphic());
    // What looks like an encoded word would be decoded by the reader.
    if text.split(' ').all(is_plain) && !text.contains("=?") {
        return HeaderValue::new(field, text.to_owned());
    }
    // Ids and addresses are never encoded: they are shorter than a line.
    if text.is_ascii() && !text.contains("=?") && name != "Subject" {
        let folded = text.replace(' ', "\r\n ");
        return HeaderValue::dangerous_new_pre_encoded(field, text.to_owned(), folded);
    }
    HeaderValue::dangerous_new_pre_encoded(field, text.to_owned(), encoded(text))
}

/// Encoded words (RFC 2047), one a line.
fn encoded(text: &str) -> String {
    let mut words = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let mut end = rest.len().min(ENCODED);
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        let (piece, after) = rest.split_at(end);
        words.push(format!("=?utf-8?B?{}?=", STANDARD.encode(piece)));
        rest = after;
    }
    words.join("\r\n ")
}

/// Ids of mails as a field has them; `None` if there is none.
pub(super) fn id_list<'a>(ids: impl Iterator<Item = &'a str>) -> Option<String> {
    let is_id = |id: &&str| {
        let sound = |b: u8| b.is_ascii_graphic() && !b"<>".contains(&b);
        let length = 1..=ID;
        length.contains(&id.len()) && id.bytes().all(sound) && !id.contains("=?")
    };
    let mut ids: Vec<&str> = ids
        .map(|id| id.trim_matches(['<', '>']))
        .filter(is_id)
        .collect();
    if ids.len() > IDS {
        let surplus = ids.len() - IDS;
        ids.drain(1..=surplus);
    }
    let written: Vec<String> = ids.iter().map(|id| format!("<{id}>")).collect();
    Some(written.join(" ")).filter(|list| !list.is_empty())
}
