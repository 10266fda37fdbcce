//! Ids of messages and of requests to accept them: opaque texts, often UUIDs.
//!
//! Any text within the rules is an id. Some gateways take only UUIDs; [`MessageId::is_uuid_v7`] and
//! [`IdempotencyKey::is_uuid_v4`] tell whether those would.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::text_serde::text_serde;

/// The id of a message: 1 to 128 of `[A-Za-z0-9._:-]`, compared byte for byte. Cloning is cheap.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(Arc<str>);

/// The key under which a sender repeats a request: 1 to 255 printable ASCII characters. Cloning is cheap.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdempotencyKey(Arc<str>);

/// Why a text is no id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdFault {
    /// A message id breaks its rule.
    #[error("must be 1 to 128 characters of A-Z a-z 0-9 . _ : -")]
    MessageId,
    /// An idempotency key breaks its rule.
    #[error("must be 1 to 255 printable ASCII characters")]
    IdempotencyKey,
}

impl MessageId {
    /// Checks and takes the text of an id.
    ///
    /// # Errors
    /// The text is empty, too long, or holds another character.
    pub fn parse(text: &str) -> Result<Self, IdFault> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
        if (1..=128).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(IdFault::MessageId)
        }
    }

    /// The id as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is a hyphenated UUID of version 7.
    #[must_use]
    pub fn is_uuid_v7(&self) -> bool {
        is_uuid(&self.0, b'7')
    }
}

impl IdempotencyKey {
    /// Checks and takes the text of a key.
    ///
    /// # Errors
    /// The text is empty, too long, or holds a blank, a control or a non-ASCII character.
    pub fn parse(text: &str) -> Result<Self, IdFault> {
        let allowed = |byte: u8| (b' '..=b'~').contains(&byte);
        if (1..=255).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(IdFault::IdempotencyKey)
        }
    }

    /// The key as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is a hyphenated UUID of version 4.
    #[must_use]
    pub fn is_uuid_v4(&self) -> bool {
        is_uuid(&self.0, b'4')
    }
}

/// Whether `text` is `8-4-4-4-12` hex digits of the variant of RFC 9562 and this version.
fn is_uuid(text: &str, version: u8) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 36
        && bytes.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            14 => *byte == version,
            19 => matches!(byte, b'8' | b'9' | b'a' | b'b' | b'A' | b'B'),
            _ => byte.is_ascii_hexdigit(),
        })
}

impl From<uuid::Uuid> for MessageId {
    fn from(id: uuid::Uuid) -> Self {
        Self(id.hyphenated().encode_lower(&mut [0; 36])[..].into())
    }
}

impl From<uuid::Uuid> for IdempotencyKey {
    fn from(id: uuid::Uuid) -> Self {
        Self(id.hyphenated().encode_lower(&mut [0; 36])[..].into())
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for MessageId {
    type Err = IdFault;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl FromStr for IdempotencyKey {
    type Err = IdFault;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

text_serde!(MessageId);
text_serde!(IdempotencyKey);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{ProptestConfig, prop_assert_eq, proptest};

    #[test]
    fn message_ids_keep_to_their_characters_and_length() {
        let longest = "x".repeat(128);
        for text in ["a", "A.b_c:d-9", longest.as_str()] {
            assert_eq!(MessageId::parse(text).unwrap().as_str(), text);
        }
        let too_long = "x".repeat(129);
        for text in [
            "",
            " ",
            "a b",
            "a/b",
            "a\0",
            "é",
            "<a@b>",
            too_long.as_str(),
        ] {
            assert_eq!(MessageId::parse(text), Err(IdFault::MessageId), "{text}");
        }
    }

    #[test]
    fn idempotency_keys_are_printable_ascii() {
        let longest = "~".repeat(255);
        for text in ["a", "order 17 / retry", longest.as_str()] {
            assert_eq!(IdempotencyKey::parse(text).unwrap().as_str(), text);
        }
        let too_long = "x".repeat(256);
        for text in ["", "a\n", "\u{7f}", "é", "a\0", too_long.as_str()] {
            assert_eq!(
                IdempotencyKey::parse(text),
                Err(IdFault::IdempotencyKey),
                "{text}"
            );
        }
    }

    #[test]
    fn uuids_are_told_by_version_and_variant() {
        let table = [
            ("01987654-3210-7654-8765-432198765432", true, false),
            ("01987654-3210-7654-B765-432198765432", true, false),
            ("01234567-89ab-4cde-8123-456789abcdef", false, true),
            ("01234567-89ab-4cde-c123-456789abcdef", false, false),
            ("0123456789ab4cde8123456789abcdef", false, false),
            ("01234567-89ab-4cde-8123-456789abcdeg", false, false),
            ("01234567-89ab-4cde-8123-456789abcde", false, false),
        ];
        for (text, v7, v4) in table {
            assert_eq!(MessageId::parse(text).unwrap().is_uuid_v7(), v7, "{text}");
            assert_eq!(
                IdempotencyKey::parse(text).unwrap().is_uuid_v4(),
                v4,
                "{text}"
            );
        }
        assert!(IdempotencyKey::from(uuid::Uuid::new_v4()).is_uuid_v4());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn ids_read_back_from_text_and_json(id in "[A-Za-z0-9._:-]{1,128}", key in "[ -~]{1,255}") {
            let parsed = MessageId::parse(&id).unwrap();
            prop_assert_eq!(parsed.to_string(), id);
            let json = serde_json::to_string(&parsed).unwrap();
            prop_assert_eq!(serde_json::from_str::<MessageId>(&json).unwrap(), parsed);
            let parsed = IdempotencyKey::parse(&key).unwrap();
            prop_assert_eq!(parsed.to_string(), key);
            let json = serde_json::to_string(&parsed).unwrap();
            prop_assert_eq!(serde_json::from_str::<IdempotencyKey>(&json).unwrap(), parsed);
        }
    }
}
