//! JSON strings: where they end, what they stand for, how they are written.

use std::borrow::Cow;

/// The decoded text of a JSON string that was scanned before; `None` for another value.
#[must_use]
pub fn string_of(value: &str) -> Option<Cow<'_, str>> {
    let inner = value.strip_prefix('"')?.strip_suffix('"')?;
    Some(unescape(inner))
}

/// Appends `text` as a JSON string, escaping no more than it must.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    write(text, out, |_| None);
}

/// The same with the two-character escapes where JSON has them, as RFC 8785 wants it.
pub(super) fn write_short(text: &str, out: &mut Vec<u8>) {
    write(text, out, |byte| match byte {
        0x08 => Some(b'b'),
        b'\t' => Some(b't'),
        b'\n' => Some(b'n'),
        0x0c => Some(b'f'),
        b'\r' => Some(b'r'),
        _ => None,
    });
}

fn write(text: &str, out: &mut Vec<u8>, short: impl Fn(u8) -> Option<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let mut rest = text.as_bytes();
    loop {
        let (plain, special) = rest.split_at(plain_prefix(rest));
        out.extend_from_slice(plain);
        let Some(byte) = special.first() else { break };
        match (*byte, short(*byte)) {
            (b'"' | b'\\', _) => out.extend_from_slice(&[b'\\', *byte]),
            (_, Some(letter)) => out.extend_from_slice(&[b'\\', letter]),
            (byte, None) => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
        }
        rest = &special[1..];
    }
    out.push(b'"');
}

/// The text that the inside of a scanned string stands for.
pub(crate) fn unescape(inner: &str) -> Cow<'_, str> {
    // Of what ends a plain run, a scanned string holds nothing but backslashes.
    let first = plain_prefix(inner.as_bytes());
    if first == inner.len() {
        return Cow::Borrowed(inner);
    }
    let mut text = String::with_capacity(inner.len());
    text.push_str(&inner[..first]);
    let mut rest = &inner[first..];
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        let (decoded, length) = unescape_one(&rest.as_bytes()[at..]);
        text.push(decoded);
        rest = rest.get(at + length..).unwrap_or_default();
    }
    text.push_str(rest);
    Cow::Owned(text)
}

/// The character of the escape that begins `bytes`, and its length.
fn unescape_one(bytes: &[u8]) -> (char, usize) {
    let simple = match bytes.get(1) {
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => {
            let (code, length) = match (hex4(bytes), bytes.get(6..).and_then(hex4)) {
                (Some(high @ 0xd800..0xdc00), Some(low @ 0xdc00..0xe000)) => {
                    (0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00), 12)
                }
                (Some(code), _) => (code, 6),
                (None, _) => (0xfffd, 6),
            };
            return (char::from_u32(code).unwrap_or('\u{fffd}'), length);
        }
        Some(byte) => char::from(*byte),
        None => '\u{fffd}',
    };
    (simple, 2)
}

/// How many bytes come before the first quote, backslash or control character. Looks at many bytes at a time.
pub(super) fn plain_prefix(bytes: &[u8]) -> usize {
    let special =
        |eight: &[u8]| special_bytes(u64::from_le_bytes(eight.try_into().unwrap_or_default()));
    let mut length = 0;
    for many in bytes.chunks_exact(64) {
        if many
            .chunks_exact(8)
            .fold(0, |all, eight| all | special(eight))
            != 0
        {
            break;
        }
        length += 64;
    }
    for eight in bytes[length..].chunks_exact(8) {
        let special = special(eight);
        if special != 0 {
            return length + special.trailing_zeros() as usize / 8;
        }
        length += 8;
    }
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    let rest = &bytes[length..];
    length + rest.iter().position(is_special).unwrap_or(rest.len())
}

/// Sets the high bit of special bytes. Bytes above the lowest special one may be marked wrongly.
const fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES * 0x80;
    let quote = word ^ (ONES * b'"' as u64);
    let slash = word ^ (ONES * b'\\' as u64);
    let quotes = quote.wrapping_sub(ONES) & !quote;
    let slashes = slash.wrapping_sub(ONES) & !slash;
    let controls = word.wrapping_sub(ONES * 0x20) & !word;
    (quotes | slashes | controls) & HIGHS
}

/// The code unit of a `\uXXXX` that begins `bytes`.
pub(super) fn hex4(bytes: &[u8]) -> Option<u32> {
    let digits = bytes.strip_prefix(b"\\u")?.get(..4)?;
    digits.iter().try_fold(0, |sum, digit| {
        Some(sum * 16 + char::from(*digit).to_digit(16)?)
    })
}
