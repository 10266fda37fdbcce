//! What is said to operators and senders about a trouble, and what a peer's headers say.

use super::{Fault, Trouble};
use crate::protocol::ErrorCode;

/// The longest text of a trouble, in bytes.
const LONGEST: usize = 500;
/// The longest target of a redirect that is shown, in bytes.
const LONGEST_TARGET: usize = 200;

/// A trouble that says no time.
pub(super) fn trouble(code: ErrorCode, fault: Fault, words: &str) -> Trouble {
    Trouble {
        code,
        text: clean(words, LONGEST),
        fault,
        retry_after: None,
    }
}

/// A text from outside, fit for one line: no control characters, nothing that turns the direction
/// of writing, at most `most` bytes.
pub(super) fn clean(text: &str, most: usize) -> String {
    const MARK: char = '…';
    let mut out = String::with_capacity(text.len().min(most));
    for character in text.chars() {
        let shown = if is_plain(character) { character } else { ' ' };
        if out.len() + shown.len_utf8() > most {
            while out.len() + MARK.len_utf8() > most && out.pop().is_some() {}
            out.push(MARK);
            break;
        }
        out.push(shown);
    }
    out
}

fn is_plain(character: char) -> bool {
    let turns = matches!(character, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !character.is_control() && !turns
}

/// A URL without what may be secret in it: user, password, query and fragment.
pub(super) fn without_secrets(url: &str) -> String {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    let url = &url[..end];
    let start = url.find("//").map_or(0, |at| at + 2);
    let authority = url[start..].find('/').map_or(url.len(), |at| start + at);
    match url[start..authority].rfind('@') {
        Some(at) => clean(
            &format!("{}{}", &url[..start], &url[start + at + 1..]),
            LONGEST_TARGET,
        ),
        None => clean(url, LONGEST_TARGET),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_from_outside_are_cut_and_cleaned() {
        let table = [
            ("plain", 10, "plain"),
            ("a\r\n\tb\u{7f}\u{202e}c", 10, "a   b  c"),
            ("abcdefgh", 8, "abcdefgh"),
            ("abcdefghi", 8, "abcde…"),
            ("ääää", 7, "ää…"),
            ("", 8, ""),
        ];
        for (text, most, shown) in table {
            assert_eq!(clean(text, most), shown, "{text}");
        }
        let long = trouble(
            ErrorCode::TemporaryFailure,
            Fault::Message,
            &"ä".repeat(900),
        );
        assert!(long.text.len() <= 500 && long.text.ends_with('…'));
    }

    #[test]
    fn a_shown_url_holds_no_secret() {
        let table = [
            ("https://g.example/v1", "https://g.example/v1"),
            (
                "https://u:p@g.example/a@b?token=x#y",
                "https://g.example/a@b",
            ),
            ("https://u:p@g.example", "https://g.example"),
            ("/login?next=%2F", "/login"),
            ("//u@h/x", "//h/x"),
            ("https://g/\u{1b}[31m", "https://g/ [31m"),
        ];
        for (url, shown) in table {
            assert_eq!(without_secrets(url), shown, "{url}");
        }
        assert!(without_secrets(&format!("https://g/{}", "x".repeat(999))).len() <= 200);
    }
}
