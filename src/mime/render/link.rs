//! Links in texts: which are safe to follow, and how text is written into HTML.

use std::fmt::Write as _;

use crate::protocol::Address;

/// Longer links are text.
const LONGEST: usize = 2_000;

/// Appends text to HTML, escaped, with its addresses as links. Line ends become `<br>`.
pub(super) fn write_text(text: &str, html: &mut String) {
    for (index, line) in text.split('\n').enumerate() {
        if index > 0 {
            html.push_str("<br>\n");
        }
        for (index, word) in line.split(' ').enumerate() {
            if index > 0 {
                html.push(' ');
            }
            write_word(word, html);
        }
    }
}

/// Appends escaped text without links.
pub(super) fn escape(text: &str, html: &mut String) {
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            _ => html.push(c),
        }
    }
}

fn write_word(word: &str, html: &mut String) {
    let inner = word.trim_start_matches(['(', '[', '<', '"', '\'']);
    let before = &word[..word.len() - inner.len()];
    let link = inner.trim_end_matches(['.', ',', ';', ':', '!', '?', ')', ']', '>', '"', '\'']);
    let after = &inner[link.len()..];
    escape(before, html);
    match target(link) {
        Some(target) => {
            html.push_str("<a href=\"");
            escape(&target, html);
            html.push_str("\" rel=\"noopener noreferrer nofollow\">");
            escape(link, html);
            html.push_str("</a>");
        }
        None => escape(link, html),
    }
    escape(after, html);
}

/// Where a word links to: a web page or a mail address that says no more than it shows.
pub(super) fn target(word: &str) -> Option<String> {
    if word.len() > LONGEST || !word.bytes().all(is_sound) {
        return None;
    }
    let lower = word
        .get(..8)
        .map(str::to_ascii_lowercase)
        .unwrap_or_default();
    if lower.starts_with("https://") || lower.starts_with("http://") {
        let (_, rest) = word.split_once("://")?;
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        // A user name before the host is made to mislead.
        let is_host = |b: u8| b.is_ascii_alphanumeric() || b".-:[]".contains(&b);
        return (!host.is_empty() && host.bytes().all(is_host)).then(|| word.to_owned());
    }
    let address = word.strip_prefix("mailto:").unwrap_or(word);
    let address = Address::parse(address).ok()?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._+-".contains(&b);
    let is_plain = address.local().bytes().all(plain);
    let mut target = String::new();
    write!(target, "mailto:{address}").ok()?;
    (is_plain && address.domain().as_str().contains('.')).then_some(target)
}

const fn is_sound(byte: u8) -> bool {
    byte.is_ascii_graphic()
        && !matches!(
            byte,
            b'"' | b'<' | b'>' | b'\\' | b'`' | b'{' | b'}' | b'|' | b'^'
        )
}
