//! A message and how it came to us.
//!
//! The message itself never changes after it is parsed; everything we learn about it stands here.

mod principal;
mod short;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::protocol::{Domain, IdempotencyKey, Message, MessageId, SignatureObject, Timestamp};

pub use principal::{Principal, Role, Scope, ScopeFault, Scopes};

/// By which way a message entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// From one of our agents.
    Submission,
    /// From another gateway.
    Peer,
    /// Made here of what a webhook answered.
    Reply,
    /// Made here because a delivery failed or is late.
    Bounce,
    /// Made here for a subscriber of a topic, or for everybody.
    List,
    /// A mail, by SMTP.
    Mail,
    /// Made here of what an A2A client said.
    A2a,
}

impl Origin {
    /// The number kept in the database.
    #[must_use]
    pub const fn code(self) -> i64 {
        match self {
            Self::Submission => 0,
            Self::Peer => 1,
            Self::Reply => 2,
            Self::Bounce => 3,
            Self::List => 4,
            Self::Mail => 5,
            Self::A2a => 6,
        }
    }

    /// The way behind a stored number; an unknown number (a newer gateway's) reads as a peer's.
    #[must_use]
    pub const fn from_code(code: i64) -> Self {
        match code {
            0 => Self::Submission,
            2 => Self::Reply,
            3 => Self::Bounce,
            4 => Self::List,
            5 => Self::Mail,
            6 => Self::A2a,
            _ => Self::Peer,
        }
    }
}

/// The word in metrics and logs.
impl From<Origin> for &'static str {
    fn from(origin: Origin) -> Self {
        match origin {
            Origin::Submission => "submission",
            Origin::Peer => "peer",
            Origin::Reply => "reply",
            Origin::Bounce => "bounce",
            Origin::List => "list",
            Origin::Mail => "mail",
            Origin::A2a => "a2a",
        }
    }
}

/// How far the sender's name can be believed; ids and idempotency keys are scoped by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trust {
    /// Authenticated as one of our own agents.
    Local,
    /// A foreign sender, verified or from its own gateway's address.
    Trusted,
    /// A foreign sender that nothing vouches for.
    Unverified,
}

impl Trust {
    /// The number kept in the database.
    #[must_use]
    pub const fn code(self) -> i64 {
        match self {
            Self::Local => 0,
            Self::Trusted => 1,
            Self::Unverified => 2,
        }
    }

    /// The class behind a stored number; an unknown number is not trusted.
    #[must_use]
    pub const fn from_code(code: i64) -> Self {
        match code {
            0 => Self::Local,
            1 => Self::Trusted,
            _ => Self::Unverified,
        }
    }
}

/// What is known of the sender (AMTP 1.0, section 9.3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// The outcome.
    pub result: VerificationResult,
    /// How it was reached: `api_key`, `domain_signature`, `none`, ….
    pub method: String,
    /// The sender's domain.
    pub domain: String,
    /// The selector of the signature's key, where it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyid: Option<String>,
    /// The signature's algorithm, where it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<String>,
}

impl Verification {
    fn of(result: VerificationResult, method: &str, domain: &Domain) -> Self {
        Self {
            result,
            method: method.to_owned(),
            domain: domain.as_str().to_owned(),
            keyid: None,
            algorithm: None,
        }
    }

    /// The record of a sender nobody vouches for.
    #[must_use]
    pub fn unsigned(domain: &Domain) -> Self {
        Self::of(VerificationResult::Unsigned, "none", domain)
    }

    /// The record of a sender whose domain's gateway has the address the message came from.
    #[must_use]
    pub fn source_address(domain: &Domain) -> Self {
        Self::of(VerificationResult::SourceAddress, "source_address", domain)
    }

    /// The record of a sender whose domain the client's certificate is for.
    #[must_use]
    pub fn client_certificate(domain: &Domain) -> Self {
        Self::of(VerificationResult::Verified, "client_certificate", domain)
    }

    /// The record of a message with a signature; nothing of the signature where it cannot be read.
    #[must_use]
    pub fn signed(
        result: VerificationResult,
        domain: &Domain,
        signature: Option<&SignatureObject>,
    ) -> Self {
        Self {
            keyid: signature.map(|it| it.keyid.to_string()),
            algorithm: signature.map(|it| it.algorithm.to_string()),
            ..Self::of(result, "domain_signature", domain)
        }
    }

    /// The record of an A2A client that shows no credential, at an address of the gateway's own.
    #[must_use]
    pub fn a2a_anonymous(domain: &Domain) -> Self {
        Self::of(VerificationResult::Unsigned, "a2a_anonymous", domain)
    }

    /// The record of a sender of mail. `method` is how it was looked at: `dmarc`, `dkim`, `spf`,
    /// `arc` or `none`.
    #[must_use]
    pub fn mail(result: VerificationResult, method: &str, domain: &Domain) -> Self {
        Self::of(result, method, domain)
    }

    /// The record of a message this gateway made.
    #[must_use]
    pub fn internal(domain: &Domain) -> Self {
        Self::of(VerificationResult::TrustedInternal, "internal", domain)
    }

    /// The record of an agent that showed its own key.
    #[must_use]
    pub fn authenticated(domain: &Domain) -> Self {
        Self::of(VerificationResult::Authenticated, "api_key", domain)
    }

    /// The class of trust that follows.
    #[must_use]
    pub const fn trust(&self) -> Trust {
        match self.result {
            VerificationResult::Authenticated | VerificationResult::TrustedInternal => Trust::Local,
            VerificationResult::Verified | VerificationResult::SourceAddress => Trust::Trusted,
            VerificationResult::Unsigned
            | VerificationResult::Invalid
            | VerificationResult::KeyUnavailable => Trust::Unverified,
        }
    }
}

/// The outcome of sender verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerificationResult {
    /// A local credential.
    Authenticated,
    /// Made by this gateway itself.
    TrustedInternal,
    /// By a signature or a client certificate of the sender's domain.
    Verified,
    /// From an address of the gateway that the sender's domain names.
    SourceAddress,
    /// No signature.
    Unsigned,
    /// A signature that does not hold.
    Invalid,
    /// A signature whose key could not be had.
    KeyUnavailable,
}

/// The word in metrics and logs.
impl From<VerificationResult> for &'static str {
    fn from(result: VerificationResult) -> Self {
        match result {
            VerificationResult::Authenticated => "authenticated",
            VerificationResult::TrustedInternal => "trusted_internal",
            VerificationResult::Verified => "verified",
            VerificationResult::SourceAddress => "source_address",
            VerificationResult::Unsigned => "unsigned",
            VerificationResult::Invalid => "invalid",
            VerificationResult::KeyUnavailable => "key_unavailable",
        }
    }
}

/// Where the idempotency key of a message comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeySource {
    /// The sender gave it: it is remembered.
    Given,
    /// We minted it: nobody can repeat it, so no row is kept.
    Minted,
}

/// A message and how it came to us, before and after it is stored.
#[derive(Debug, Clone)]
pub struct Envelope {
    /// The content as received.
    pub message: Message,
    /// Given by the sender or minted here.
    pub message_id: MessageId,
    /// Given by the sender or minted here.
    pub idempotency_key: IdempotencyKey,
    /// Which of the two.
    pub key_source: KeySource,
    /// The sender's, or our clock where it gave none.
    pub timestamp: Timestamp,
    /// The way in.
    pub origin: Origin,
    /// The scope of its ids.
    pub trust: Trust,
    /// What is known of the sender.
    pub verification: Verification,
    /// When the request arrived.
    pub received_at: Timestamp,
    /// The address it came from; nothing where this gateway made it.
    pub remote: Option<IpAddr>,
    /// The request it came in.
    pub request_id: String,
    /// The message it answers, by that message's own id.
    pub answers: Option<MessageId>,
}

/// What of an [`Envelope`] stands in the store beside the body, as JSON without what is usual; see
/// [`Notes::stored`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Notes {
    /// What is known of the sender.
    #[serde(
        rename = "v",
        with = "short",
        default = "short::usual",
        skip_serializing_if = "short::is_usual"
    )]
    pub verification: Verification,
    /// The key, where we minted it.
    #[serde(
        rename = "k",
        default,
        with = "short::maybe_id",
        skip_serializing_if = "Option::is_none"
    )]
    pub minted_key: Option<String>,
    /// The request it came in.
    #[serde(rename = "r", with = "short::id")]
    pub request_id: String,
    /// The address it came from, for foreign senders.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<IpAddr>,
    /// The own id of the message it answers, where `in_reply_to` names another it travelled under.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<String>,
}

impl Notes {
    /// The bytes that are stored: the sender's own domain is left out, and so is the verification of
    /// an agent that showed its key.
    #[must_use]
    pub fn stored(mut self, sender: &Domain) -> Vec<u8> {
        if self.verification.domain == sender.as_str() {
            self.verification.domain.clear();
        }
        serde_json::to_vec(&self).expect("notes are strings under string names")
    }

    /// Reads what was stored for a message of this sender.
    ///
    /// # Errors
    /// The bytes are no notes.
    pub fn read(stored: &[u8], sender: &str) -> serde_json::Result<Self> {
        let mut notes: Self = serde_json::from_slice(stored)?;
        if notes.verification.domain.is_empty() {
            let domain = sender.rsplit('@').next().unwrap_or_default();
            domain.clone_into(&mut notes.verification.domain);
        }
        Ok(notes)
    }
}

impl Envelope {
    /// What is kept beside the body.
    #[must_use]
    pub fn notes(&self) -> Notes {
        Notes {
            verification: self.verification.clone(),
            minted_key: match self.key_source {
                KeySource::Minted => Some(self.idempotency_key.as_str().to_owned()),
                KeySource::Given => None,
            },
            request_id: self.request_id.clone(),
            remote: self.remote.filter(|_| self.trust != Trust::Local),
            answers: self
                .answers
                .as_ref()
                .filter(|id| self.message.in_reply_to() != Some(id))
                .map(|id| id.as_str().to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use VerificationResult::{
        Authenticated, Invalid, KeyUnavailable, SourceAddress, TrustedInternal, Unsigned, Verified,
    };

    #[test]
    fn every_result_has_its_trust_and_its_word() {
        let domain = Domain::parse("a.example").unwrap();
        for (result, trust) in [
            (Authenticated, Trust::Local),
            (TrustedInternal, Trust::Local),
            (Verified, Trust::Trusted),
            (SourceAddress, Trust::Trusted),
            (Unsigned, Trust::Unverified),
            (Invalid, Trust::Unverified),
            (KeyUnavailable, Trust::Unverified),
        ] {
            let record = Verification::of(result, "x", &domain);
            assert_eq!(record.trust(), trust, "{result:?}");
            let word: &str = result.into();
            assert_eq!(serde_json::to_value(result).unwrap(), word);
        }
    }
}
