//! Keeps credentials out of what is written down, where somebody put one into the wrong place: a path,
//! a field, the name of a request. What looks like one of our keys, or like a token, is cut short; the
//! public part of a key stays.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};

static CREDENTIAL: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"((?:ak|et|sk|adm)_[0-9A-Fa-f]{16}_)[A-Za-z0-9_-]{4,}|(eyJ)[A-Za-z0-9_-]+\.[A-Za-z0-9_.-]*",
    )
    .expect("it is a regular expression")
});

/// The text without the secret part of any credential in it.
#[must_use]
pub fn masked(text: &str) -> Cow<'_, str> {
    CREDENTIAL.replace_all(text, |found: &Captures<'_>| {
        let public = found.get(1).or_else(|| found.get(2));
        format!("{}…", public.map_or("", |part| part.as_str()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{IssuedKey, KeyKind};

    #[test]
    fn what_looks_like_a_credential_is_cut_short() {
        for kind in [
            KeyKind::Agent,
            KeyKind::Enrolment,
            KeyKind::Staff,
            KeyKind::Admin,
        ] {
            let key = IssuedKey::generate(kind);
            let text = format!("/v1/x/{}?a", key.secret);
            let public = &key.secret[..key.secret.len() - 43];
            assert_eq!(masked(&text), format!("/v1/x/{public}…?a"));
        }
        for (text, expected) in [
            ("unknown `eyJhbGci.eyJpc3Mi.c2ln-_`", "unknown `eyJ…`"),
            ("ak_0123456789abcdef_cut-sho", "ak_0123456789abcdef_…"),
            ("/v1/admin/agents/bob@a.test/keys/0123456789abcdef", ""),
            ("01a1fe76-6798-77f3-843b-e4085e7efb17", ""),
            ("task_0123456789abcdef_a", ""),
        ] {
            let expected = if expected.is_empty() { text } else { expected };
            assert_eq!(masked(text), expected);
        }
    }
}
