//! The content of a part: its transfer encoding, its charset, its line wrapping.

use std::borrow::Cow;

use mail_parser::decoders::base64::base64_decode;
use mail_parser::decoders::charsets::map::charset_decoder;
use mail_parser::parsers::MessageStream;

use super::fields::Parameters;

/// Undoes a transfer encoding. An unknown one leaves the bytes as they are.
pub(super) fn decode<'a>(body: &'a [u8], encoding: &str) -> Cow<'a, [u8]> {
    match encoding.to_ascii_lowercase().as_str() {
        "base64" => Cow::Owned(base64(body)),
        "quoted-printable" => {
            let (_, bytes) = MessageStream::new(body).decode_quoted_printable_mime(b"");
            bytes
        }
        _ => Cow::Borrowed(body),
    }
}

/// Broken base64 gives what can be read of it: other characters are passed over.
fn base64(body: &[u8]) -> Vec<u8> {
    base64_decode(body).unwrap_or_else(|| {
        let known = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
        let clean: Vec<u8> = body.iter().copied().filter(known).collect();
        base64_decode(&clean).unwrap_or_default()
    })
}

/// The text of a part, with `\n` as line end.
pub(super) fn text_of(bytes: &[u8], content: &Parameters) -> String {
    let text = in_charset(bytes, content.get("charset").unwrap_or_default().trim());
    let text = if text.contains('\r') {
        text.replace("\r\n", "\n").replace('\r', "\n")
    } else {
        text
    };
    let is = |name, value: &str| {
        let found = content.get(name);
        found.is_some_and(|found: &str| found.eq_ignore_ascii_case(value))
    };
    if content.value == "text/plain" && is("format", "flowed") {
        let space = if is("delsp", "yes") { "" } else { " " };
        return unwrapped(&text, space);
    }
    text
}

/// Decodes a charset. Without one, or one that nobody knows, the text is UTF-8 or else Windows-1252.
fn in_charset(bytes: &[u8], charset: &str) -> String {
    let says_nothing = [
        "",
        "us-ascii",
        "ascii",
        "utf-8",
        "utf8",
        "unknown-8bit",
        "8bit",
    ]
    .iter()
    .any(|name| charset.eq_ignore_ascii_case(name));
    let decoder = charset_decoder(charset.as_bytes()).filter(|_| !says_nothing);
    if let Some(decoder) = decoder {
        return decoder(bytes);
    }
    let without_mark = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match std::str::from_utf8(without_mark) {
        Ok(text) => text.to_owned(),
        Err(_) if has_wide_characters(without_mark) => {
            String::from_utf8_lossy(without_mark).into_owned()
        }
        Err(_) => charset_decoder(b"windows-1252").map_or_else(
            || String::from_utf8_lossy(bytes).into_owned(),
            |decoder| decoder(bytes),
        ),
    }
}

/// Whether broken UTF-8 is UTF-8 nevertheless: some characters outside ASCII can be read.
fn has_wide_characters(bytes: &[u8]) -> bool {
    bytes.utf8_chunks().any(|chunk| !chunk.valid().is_ascii())
}

/// Joins the lines that were only wrapped (RFC 3676): those that end with a space, of one quote depth.
fn unwrapped(text: &str, space: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut open: Option<usize> = None;
    for line in text.lines() {
        let content = line.trim_start_matches('>');
        let depth = line.len() - content.len();
        let content = content.strip_prefix(' ').unwrap_or(content);
        if open == Some(depth) && content != "-- " {
            out.push_str(space);
        } else {
            if open.is_some() {
                out.push('\n');
            }
            out.push_str(&">".repeat(depth));
            if depth > 0 && !content.is_empty() {
                out.push(' ');
            }
        }
        let flows = content.ends_with(' ') && content != "-- ";
        out.push_str(if flows { content.trim_end() } else { content });
        open = flows.then_some(depth);
        if !flows {
            out.push('\n');
        }
    }
    if open.is_some() {
        out.push('\n');
    }
    out
}
