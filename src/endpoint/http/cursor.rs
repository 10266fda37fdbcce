//! Opaque cursors: a position, encoded so that nobody is tempted to count with it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

const VERSION: u8 = 1;

/// The text of a position.
pub(super) fn write(position: i64) -> String {
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(&position.to_be_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The position behind a text we wrote.
pub(super) fn read(text: &str) -> Option<i64> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (version, position) = bytes.split_first()?;
    if *version != VERSION {
        return None;
    }
    Some(i64::from_be_bytes(position.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_as_it_was_written() {
        for position in [0, 1, -1, i64::MAX] {
            assert_eq!(read(&write(position)), Some(position));
        }
        for text in ["", "x", "AAAAAAAAAAAA", "%%%"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
