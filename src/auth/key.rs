//! The form of keys and tokens we hand out.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;
use ring::rand::{SecureRandom as _, SystemRandom};
use subtle::ConstantTimeEq as _;
use thiserror::Error;

/// What a key is for; shown in its first letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// An agent's API key.
    Agent,
    /// A token with which an agent registers itself.
    Enrolment,
    /// The key of one who runs the gateway.
    Staff,
    /// The admin key of the configuration.
    Admin,
}

impl KeyKind {
    /// Whether a credential looks like a key of this kind, good or not.
    #[must_use]
    pub fn begins(self, credential: &str) -> bool {
        credential.starts_with(self.prefix())
    }

    const fn prefix(self) -> &'static str {
        match self {
            Self::Agent => "ak_",
            Self::Enrolment => "et_",
            Self::Staff => "sk_",
            Self::Admin => "adm_",
        }
    }
}

/// A fresh key: shown once, then only its hash is left.
pub struct IssuedKey {
    /// The public part.
    pub id: String,
    /// The whole key, for its owner.
    pub secret: String,
    /// SHA-256 of the whole key, for the store.
    pub hash: Vec<u8>,
}

impl fmt::Debug for IssuedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl IssuedKey {
    /// A key of 256 random bits from the system.
    #[must_use]
    pub fn generate(kind: KeyKind) -> Self {
        let mut random = [0; 32 + 8];
        SystemRandom::new()
            .fill(&mut random)
            .expect("the system's random source works");
        let (id, secret) = random.split_at(8);
        let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        let secret = format!("{}{id}_{}", kind.prefix(), URL_SAFE_NO_PAD.encode(secret));
        let hash = hash(&secret).to_vec();
        Self { id, secret, hash }
    }
}

/// The public part of a credential, if it has the form of a key of this kind.
pub(super) fn id_of(kind: KeyKind, credential: &str) -> Option<&str> {
    let (id, secret) = credential.strip_prefix(kind.prefix())?.split_once('_')?;
    let plausible =
        id.len() == 16 && secret.len() == 43 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    plausible.then_some(id)
}

pub(super) fn hash(credential: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, credential.as_bytes()).as_ref());
    hash
}

/// Compares in a time that does not depend on where the difference is.
pub(super) fn same(left: &[u8], right: &[u8]) -> bool {
    left.ct_eq(right).into()
}

/// The names an enrolment token is good for: an agent name in which `*` stands for any run of
/// characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePattern(String);

/// What is wrong with a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a name pattern has 1 to 64 of a-z 0-9 . _ - and *")]
pub struct PatternFault;

impl NamePattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`PatternFault`] when a name could never match.
    pub fn parse(text: &str) -> Result<Self, PatternFault> {
        let text = text.to_ascii_lowercase();
        let fits = (1..=64).contains(&text.len())
            && text
                .bytes()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b'*'));
        fits.then_some(Self(text)).ok_or(PatternFault)
    }

    /// The pattern's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a name fits.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = name.strip_prefix(first) else {
            return false;
        };
        let mut parts: Vec<&str> = parts.collect();
        let Some(last) = parts.pop() else {
            return rest.is_empty();
        };
        for part in parts {
            match rest.find(part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_carries_its_id_and_its_hash() {
        let key = IssuedKey::generate(KeyKind::Agent);
        assert_eq!(id_of(KeyKind::Agent, &key.secret), Some(key.id.as_str()));
        assert_eq!(id_of(KeyKind::Enrolment, &key.secret), None);
        assert!(same(&key.hash, &hash(&key.secret)));
        assert!(!format!("{key:?}").contains(&key.secret));
        assert_ne!(key.secret, IssuedKey::generate(KeyKind::Agent).secret);
    }

    #[test]
    fn what_is_no_key_has_no_id() {
        for text in [
            "",
            "ak_",
            "ak_0123_x",
            "ak_0123456789abcdef_short",
            "Bearer",
        ] {
            assert_eq!(id_of(KeyKind::Agent, text), None, "{text}");
        }
    }

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, name, fits) in [
            ("*", "anything", true),
            ("worker-*", "worker-7", true),
            ("worker-*", "my-worker-7", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "acb", false),
            ("exact", "exact", true),
            ("exact", "exactly", false),
            ("aa*aa", "aaa", false),
        ] {
            assert_eq!(
                NamePattern::parse(pattern).unwrap().matches(name),
                fits,
                "{pattern} {name}"
            );
        }
        assert_eq!(NamePattern::parse("a@b"), Err(PatternFault));
    }
}
