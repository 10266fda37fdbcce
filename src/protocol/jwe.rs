//! Whether a payload is encrypted: whether it is a JWE (RFC 7516), in its JSON or its compact form.
//!
//! Nothing is decrypted, and nobody's word is taken for it: what is not in the form of a JWE is
//! readable on the way.

use super::json::scan_object;

/// Whether a payload, as the text of its member, is a JWE.
#[must_use]
pub fn is_jwe(payload: &str) -> bool {
    let payload = payload.trim();
    match payload.as_bytes().first() {
        Some(b'"') => is_compact(payload.trim_matches('"')),
        // Most payloads have no such member; that is quickly seen.
        Some(b'{') if payload.contains("\"ciphertext\"") => is_json_form(payload),
        _ => false,
    }
}

/// Header, encrypted key, initialization vector, ciphertext and tag.
fn is_compact(text: &str) -> bool {
    let parts: Vec<&str> = text.splitn(6, '.').collect();
    let is_part = |part: &&str| {
        part.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    parts.len() == 5 && parts.iter().all(is_part) && !parts[0].is_empty() && !parts[3].is_empty()
}

fn is_json_form(text: &str) -> bool {
    let Ok(members) = scan_object(text.as_bytes()) else {
        return false;
    };
    let has = |wanted: &str| members.iter().any(|(name, _)| name == wanted);
    let known = |name: &str| {
        matches!(
            name,
            "protected"
                | "unprotected"
                | "header"
                | "encrypted_key"
                | "iv"
                | "ciphertext"
                | "tag"
                | "aad"
                | "recipients"
        )
    };
    has("ciphertext")
        && (has("protected") || has("unprotected") || has("header") || has("recipients"))
        && members.iter().all(|(name, _)| known(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_a_jwe_counts_as_encrypted() {
        for (payload, expected) in [
            (
                r#"{"protected":"e30","ciphertext":"x","tag":"t","iv":"i"}"#,
                true,
            ),
            (r#"{"recipients":[],"ciphertext":"x"}"#, true),
            (r#""eyJhbGciOiJkaXIifQ..aXY.Y2lwaGVy.dGFn""#, true),
            // Something readable beside it is readable.
            (
                r#"{"protected":"e30","ciphertext":"x","note":"in the clear"}"#,
                false,
            ),
            (r#"{"ciphertext":"x"}"#, false),
            (r#"{"a":{"ciphertext":"x","protected":"y"}}"#, false),
            (r#""a.b.c""#, false),
            (r#""....""#, false),
            ("{}", false),
            ("null", false),
            ("", false),
        ] {
            assert_eq!(is_jwe(payload), expected, "{payload}");
        }
    }
}
