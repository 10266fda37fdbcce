//! How notes are stored in few bytes.
//!
//! Of verifications the usual ones of a sender's own domain are one word, and what a signature came to
//! is three: result, algorithm, selector. Others stand whole; one without a domain is that of the
//! sender's own. An id that is a UUID is a star and 22 characters.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

use uuid::Uuid;

use super::{Verification, VerificationResult};

/// Result and method that stand together, by word.
const WORDS: [(&str, VerificationResult, &str); 5] = [
    ("key", VerificationResult::Authenticated, "api_key"),
    ("own", VerificationResult::TrustedInternal, "internal"),
    ("ip", VerificationResult::SourceAddress, "source_address"),
    ("no", VerificationResult::Unsigned, "none"),
    ("tls", VerificationResult::Verified, "client_certificate"),
];

/// The first of the three words of a signature.
const SIGNED: [(&str, VerificationResult); 3] = [
    ("sig", VerificationResult::Verified),
    ("bad", VerificationResult::Invalid),
    ("nokey", VerificationResult::KeyUnavailable),
];
const SIGNATURE: &str = "domain_signature";

fn word(verification: &Verification) -> Option<&'static str> {
    let (word, ..) = WORDS.into_iter().find(|(_, result, method)| {
        *result == verification.result && *method == verification.method
    })?;
    let plain = verification.domain.is_empty() && verification.keyid.is_none();
    (plain && verification.algorithm.is_none()).then_some(word)
}

/// `sig ES256 k1`; just `bad` where the signature could not be read.
fn words(verification: &Verification) -> Option<String> {
    let mut all = SIGNED.into_iter();
    let (word, _) = all.find(|(_, result)| *result == verification.result)?;
    if verification.method != SIGNATURE || !verification.domain.is_empty() {
        return None;
    }
    match (&verification.algorithm, &verification.keyid) {
        (None, None) => Some(word.to_owned()),
        (Some(algorithm), Some(keyid)) if is_word(algorithm) && is_word(keyid) => {
            Some(format!("{word} {algorithm} {keyid}"))
        }
        _ => None,
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.contains(' ')
}

fn of_words(text: &str) -> Option<Verification> {
    let mut parts = text.splitn(3, ' ');
    let first = parts.next()?;
    let plain = WORDS.into_iter().find(|(word, ..)| *word == first);
    let (result, method) = match plain {
        Some((_, result, method)) => (result, method),
        None => {
            let (_, result) = SIGNED.into_iter().find(|(word, _)| *word == first)?;
            (result, SIGNATURE)
        }
    };
    Some(Verification {
        result,
        method: method.to_owned(),
        domain: String::new(),
        algorithm: parts.next().map(str::to_owned),
        keyid: parts.next().map(str::to_owned),
    })
}

/// What stands where nothing is stored: an agent that showed its key.
pub(super) fn usual() -> Verification {
    of_words(WORDS[0].0).expect("the first word is one")
}

pub(super) fn is_usual(verification: &Verification) -> bool {
    word(verification) == Some(WORDS[0].0)
}

pub(super) fn serialize<S: Serializer>(it: &Verification, to: S) -> Result<S::Ok, S::Error> {
    match (word(it), words(it)) {
        (Some(word), _) => to.serialize_str(word),
        (None, Some(words)) => to.serialize_str(&words),
        (None, None) => it.serialize(to),
    }
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Verification, D::Error> {
    from.deserialize_any(Either)
}

struct Either;

impl<'de> Visitor<'de> for Either {
    type Value = Verification;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a verification or its word")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Verification, E> {
        of_words(text).ok_or_else(|| E::custom("no word of a verification"))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Verification, A::Error> {
        Verification::deserialize(MapAccessDeserializer::new(map))
    }
}

/// An id.
pub(super) mod id {
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(id: &str, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&super::packed(id))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<String, D::Error> {
        String::deserialize(from).map(super::unpacked)
    }
}

/// An id or none.
pub(super) mod maybe_id {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(
        id: &Option<String>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        id.as_deref().map(super::packed).serialize(to)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<String>, D::Error> {
        Ok(Option::<String>::deserialize(from)?.map(super::unpacked))
    }
}

fn packed(id: &str) -> String {
    match Uuid::try_parse(id) {
        Ok(uuid) if uuid.hyphenated().to_string() == id => {
            format!("*{}", BASE64_URL_SAFE_NO_PAD.encode(uuid))
        }
        // What begins with a star itself gets another.
        _ if id.starts_with('*') => format!("*{id}"),
        _ => id.to_owned(),
    }
}

fn unpacked(stored: String) -> String {
    let Some(rest) = stored.strip_prefix('*') else {
        return stored;
    };
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(rest).ok();
    match bytes.and_then(|bytes| Uuid::from_slice(&bytes).ok()) {
        Some(uuid) => uuid.hyphenated().to_string(),
        None => rest.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Notes;
    use super::*;
    use crate::protocol::{Domain, SignatureObject};

    fn there_and_back(verification: Verification) -> String {
        let notes = Notes {
            verification: verification.clone(),
            minted_key: None,
            request_id: "r-1".to_owned(),
            remote: None,
            answers: None,
        };
        let stored = notes.stored(&Domain::parse("one.test").unwrap());
        let read = Notes::read(&stored, "alice@one.test").unwrap();
        assert_eq!(read.verification, verification);
        String::from_utf8(stored).unwrap()
    }

    #[test]
    fn the_usual_takes_no_room_and_everything_is_read_back() {
        let domain = Domain::parse("one.test").unwrap();
        let usual = there_and_back(Verification::authenticated(&domain));
        assert_eq!(usual, r#"{"r":"r-1"}"#);
        for (verification, word) in [
            (Verification::internal(&domain), "own"),
            (Verification::source_address(&domain), "ip"),
            (Verification::unsigned(&domain), "no"),
            (Verification::client_certificate(&domain), "tls"),
            (signed(VerificationResult::Verified), "sig ES256 k1"),
            (signed(VerificationResult::Invalid), "bad ES256 k1"),
            (signed(VerificationResult::KeyUnavailable), "nokey ES256 k1"),
            (
                Verification::signed(VerificationResult::Invalid, &domain, None),
                "bad",
            ),
        ] {
            let stored = there_and_back(verification);
            assert_eq!(stored, format!(r#"{{"v":"{word}","r":"r-1"}}"#));
        }
        let other = Domain::parse("two.test").unwrap();
        there_and_back(Verification::source_address(&other));
        there_and_back(Verification {
            method: "another".to_owned(),
            ..Verification::unsigned(&domain)
        });
        there_and_back(Verification {
            keyid: None,
            ..signed(VerificationResult::Verified)
        });
        there_and_back(Verification {
            keyid: Some("k1".to_owned()),
            ..Verification::unsigned(&domain)
        });
    }

    fn signed(result: VerificationResult) -> Verification {
        let value = "A".repeat(86);
        let raw = format!(r#"{{"algorithm":"ES256","keyid":"k1","value":"{value}"}}"#);
        let signature = SignatureObject::read(&raw).unwrap();
        let domain = Domain::parse("one.test").unwrap();
        Verification::signed(result, &domain, Some(&signature))
    }

    #[test]
    fn what_earlier_gateways_stored_is_read() {
        let domain = Domain::parse("one.test").unwrap();
        let other = Domain::parse("two.test").unwrap();
        for (stored, verification) in [
            (r#"{"r":"r-1"}"#, Verification::authenticated(&domain)),
            (
                r#"{"v":"ip","r":"r-1"}"#,
                Verification::source_address(&domain),
            ),
            (
                r#"{"v":"no","r":"r-1","a":"192.0.2.1"}"#,
                Verification::unsigned(&domain),
            ),
            (
                r#"{"v":{"result":"source_address","method":"source_address","domain":"two.test"},"r":"r-1"}"#,
                Verification::source_address(&other),
            ),
        ] {
            let read = Notes::read(stored.as_bytes(), "alice@one.test").unwrap();
            assert_eq!(read.verification, verification, "{stored}");
        }
        assert!(Notes::read(br#"{"v":"what","r":"r-1"}"#, "alice@one.test").is_err());
    }

    #[test]
    fn ids_come_back_as_they_were() {
        let uuid = "01a1fd17-5853-7467-9447-727ace73ba6b";
        assert_eq!(packed(uuid), "*AaH9F1hTdGeUR3J6znO6aw");
        let upper = uuid.to_uppercase();
        for id in [
            uuid,
            &upper,
            "",
            "r-1",
            "*",
            "*AaH9F1hTdGeUR3J6znO6aw",
            "**",
        ] {
            assert_eq!(unpacked(packed(id)), id);
        }
    }

    #[test]
    fn what_older_versions_stored_is_read() {
        let old =
            br#"{"v":{"result":"unsigned","method":"none","domain":"one.test"},"k":"k","r":"r-1"}"#;
        let read = Notes::read(old, "alice@two.test").unwrap();
        assert_eq!(read.verification.domain, "one.test");
        assert_eq!(read.minted_key.as_deref(), Some("k"));
        assert!(Notes::read(br#"{"v":"nobody","r":""}"#, "a@b.test").is_err());
    }
}
