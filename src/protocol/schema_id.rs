//! Names of payload schemas, and patterns over such names. AMTP 1.0, section 6.1.

use std::sync::Arc;

use super::text_serde::text_value;

/// The identifier of a schema: 1 to 255 bytes without control characters. Cloning is cheap.
///
/// Identifiers of the form `agntcy:domain.entity.vN` have parts ([`SchemaId::agntcy`]); all others
/// are opaque.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SchemaId(Arc<str>);

/// A pattern over schema identifiers, in which each `*` stands for any text. Cloning is cheap.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SchemaPattern(Arc<str>);

/// The parts of `agntcy:domain.entity.vN`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgntcyId<'a> {
    /// The field of business, such as `commerce`.
    pub domain: &'a str,
    /// The thing described, such as `order`.
    pub entity: &'a str,
    /// The version number.
    pub version: u32,
}

/// The text is no schema identifier or pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 255 bytes without control characters")]
pub struct SchemaIdFault;

impl SchemaId {
    /// Checks and takes the text of an identifier.
    ///
    /// # Errors
    /// The text is empty, too long or has a control character.
    pub fn parse(text: &str) -> Result<Self, SchemaIdFault> {
        checked(text).map(Self)
    }

    /// The identifier as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The parts of an `agntcy:` identifier; `None` for any other.
    #[must_use]
    pub fn agntcy(&self) -> Option<AgntcyId<'_>> {
        let mut parts = self.0.strip_prefix("agntcy:")?.split('.');
        let (domain, entity) = (parts.next()?, parts.next()?);
        let digits = parts.next()?.strip_prefix('v')?;
        let whole = parts.next().is_none()
            && is_name(domain)
            && is_name(entity)
            && digits.bytes().all(|byte| byte.is_ascii_digit());
        whole.then_some(AgntcyId {
            domain,
            entity,
            version: digits.parse().ok()?,
        })
    }
}

impl SchemaPattern {
    /// Checks and takes the text of a pattern.
    ///
    /// # Errors
    /// The text is empty, too long or has a control character.
    pub fn parse(text: &str) -> Result<Self, SchemaIdFault> {
        checked(text).map(Self)
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the pattern covers `id`; case counts.
    #[must_use]
    pub fn matches(&self, id: &SchemaId) -> bool {
        glob(self.0.as_bytes(), id.0.as_bytes())
    }
}

fn checked(text: &str) -> Result<Arc<str>, SchemaIdFault> {
    if (1..=255).contains(&text.len()) && !text.chars().any(char::is_control) {
        Ok(text.into())
    } else {
        Err(SchemaIdFault)
    }
}

fn is_name(part: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    !part.is_empty() && part.bytes().all(allowed)
}

/// Matches with at most one step back a byte: when the rest does not fit, the last `*` takes one byte more.
pub(crate) fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut last_star = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            last_star = Some((p, t));
            p += 1;
        } else if pattern.get(p) == Some(&text[t]) {
            (p, t) = (p + 1, t + 1);
        } else if let Some((star, taken)) = last_star {
            last_star = Some((star, taken + 1));
            (p, t) = (star + 1, taken + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

text_value!(SchemaId, SchemaIdFault);
text_value!(SchemaPattern, SchemaIdFault);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{ProptestConfig, prop_assert, prop_assert_eq, proptest};

    #[test]
    fn identifiers_keep_to_length_and_characters() {
        let longest = "x".repeat(255);
        for text in [
            "a",
            "agntcy:commerce.order.v2",
            "urn:x:y",
            "mit Leerzeichen",
            &longest,
        ] {
            assert_eq!(SchemaId::parse(text).unwrap().as_str(), text);
        }
        let too_long = "x".repeat(256);
        for text in ["", "a\nb", "a\0", "\u{85}", &too_long] {
            assert_eq!(SchemaId::parse(text), Err(SchemaIdFault), "{text}");
        }
    }

    #[test]
    fn only_agntcy_identifiers_have_parts() {
        let id = SchemaId::parse("agntcy:commerce.purchase-order.v12").unwrap();
        let parts = id.agntcy().unwrap();
        assert_eq!(
            (parts.domain, parts.entity, parts.version),
            ("commerce", "purchase-order", 12)
        );
        for text in [
            "agntcy:commerce.order",
            "agntcy:commerce.order.2",
            "agntcy:commerce.order.v",
            "agntcy:commerce.order.v+1",
            "agntcy:commerce.order.v99999999999",
            "agntcy:commerce.order.v1.x",
            "agntcy:.order.v1",
            "agntcy:a b.order.v1",
            "AGNTCY:commerce.order.v1",
            "commerce.order.v1",
        ] {
            assert_eq!(SchemaId::parse(text).unwrap().agntcy(), None, "{text}");
        }
    }

    #[test]
    fn patterns_match_whole_identifiers() {
        let table = [
            ("agntcy:commerce.*", "agntcy:commerce.order.v1", true),
            ("agntcy:commerce.*", "agntcy:finance.order.v1", false),
            ("agntcy:*.order.v*", "agntcy:a.b.order.v1", true),
            ("*", "x", true),
            ("**", "x", true),
            ("agntcy:commerce.order.v1", "agntcy:commerce.order.v1", true),
            (
                "agntcy:commerce.order.v1",
                "agntcy:commerce.order.v10",
                false,
            ),
            (
                "agntcy:commerce.order.v10",
                "agntcy:commerce.order.v1",
                false,
            ),
            ("*.v1", "agntcy:commerce.order.v1.v1", true),
            ("*.v1", "agntcy:commerce.order.v1x", false),
            ("a*b*c", "aXbXbXc", true),
            ("a*b*c", "aXcXb", false),
            ("A*", "abc", false),
        ];
        for (pattern, id, expected) in table {
            let matched = SchemaPattern::parse(pattern)
                .unwrap()
                .matches(&SchemaId::parse(id).unwrap());
            assert_eq!(matched, expected, "{pattern} {id}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn an_identifier_reads_back_and_matches_itself(text in "[!-)+-~]{1,60}") {
            let id = SchemaId::parse(&text).unwrap();
            let json = serde_json::to_string(&id).unwrap();
            prop_assert_eq!(serde_json::from_str::<SchemaId>(&json).unwrap(), id.clone());
            prop_assert!(SchemaPattern::parse(&text).unwrap().matches(&id));
            let prefix = format!("{}*", &text[..1]);
            prop_assert!(SchemaPattern::parse(&prefix).unwrap().matches(&id));
        }
    }
}
