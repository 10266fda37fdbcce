//! Rules: what one says, and what comes of it for a message that matches.

use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::pattern::{AddressPattern, Key};
use super::question::{
    CertificateStanding, Directions, PayloadStanding, Question, SignatureStanding,
};
use crate::config::DeliveryPath;
use crate::protocol::{ErrorCode, Priority, SchemaPattern};

/// What is done with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It passes.
    Allow,
    /// It is refused.
    Deny,
    /// It is accepted, and waits until an operator releases it.
    Hold,
}

impl Action {
    /// The word in rules.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Hold => "hold",
        }
    }
}

/// What a message must have beside matching.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requirement {
    /// A verified sender.
    Verified,
    /// A trusted sender.
    Trusted,
    /// A valid domain signature.
    Signed,
    /// A payload encrypted for the recipient.
    Encrypted,
    /// A TLS client certificate of the sender.
    ClientCertificate,
}

impl Requirement {
    /// Every requirement, in the order of the documentation.
    pub const ALL: [Self; 5] = [
        Self::Verified,
        Self::Trusted,
        Self::Signed,
        Self::Encrypted,
        Self::ClientCertificate,
    ];

    /// The word in rules.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Trusted => "trusted",
            Self::Signed => "signed",
            Self::Encrypted => "encrypted",
            Self::ClientCertificate => "tls-client-cert",
        }
    }

    /// Why a message does not have it, if it does not.
    fn refuses(self, question: &Question<'_>) -> Option<ErrorCode> {
        let standing = question.standing;
        let met = match self {
            Self::Verified => standing.is_verified(),
            Self::Trusted => standing.is_trusted(),
            Self::Signed => standing.is_signed(),
            Self::Encrypted => standing.payload == PayloadStanding::Encrypted,
            Self::ClientCertificate => standing.certificate == CertificateStanding::Valid,
        };
        let by_signature = || match (self, standing.signature) {
            (Self::Encrypted | Self::ClientCertificate, _) => ErrorCode::PolicyDenied,
            (Self::Trusted, SignatureStanding::Absent) => ErrorCode::PolicyDenied,
            (_, signature) => refusal_of(signature),
        };
        (!met).then(by_signature)
    }
}

/// What a sender is told whose signature does not make it verified.
const fn refusal_of(signature: SignatureStanding) -> ErrorCode {
    match signature {
        SignatureStanding::Absent => ErrorCode::SignatureRequired,
        SignatureStanding::Invalid => ErrorCode::SignatureInvalid,
        SignatureStanding::KeyUnavailable => ErrorCode::SignatureKeyUnavailable,
        SignatureStanding::Valid => ErrorCode::PolicyDenied,
    }
}

/// What is done with a foreign sender that is not verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SignatureMode {
    /// Nothing.
    Accept,
    /// It is recorded, logged and counted.
    #[default]
    Flag,
    /// It is refused.
    Reject,
}

impl SignatureMode {
    /// The word in rules.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Flag => "flag",
            Self::Reject => "reject",
        }
    }
}

/// Whether messages from one sender to one recipient keep their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ordering {
    /// One after the other.
    Strict,
    /// As it comes.
    None,
}

impl Ordering {
    /// The word in rules.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::None => "none",
        }
    }
}

/// So many messages in a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Allowance {
    /// How many.
    pub count: NonZeroU32,
    /// In which time.
    pub period: Duration,
    /// How many at once.
    pub burst: NonZeroU32,
}

/// What each sender may send by a rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Limit {
    /// The rule's name, or else all it says: what keeps its counts over a reload.
    pub(super) identity: Box<str>,
    /// The place in the list of all limits of a set.
    pub(super) number: usize,
    /// Messages in a time.
    pub rate: Option<Allowance>,
    /// Messages a day.
    pub messages: Option<NonZeroU32>,
    /// Payloads and all, a day, in KiB; a message counts as the next whole one.
    pub kibibytes: Option<NonZeroU32>,
}

/// Where a rule stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RulePlace {
    /// The file as it was named.
    pub file: PathBuf,
    /// The line it begins on, from 1.
    pub line: usize,
    /// Its name.
    pub name: Option<String>,
    /// Why it is there, for logs and people; never for senders.
    pub reason: Option<String>,
}

/// What decided. Cloning is cheap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleRef {
    /// This rule.
    Rule(Arc<RulePlace>),
    /// The recipient is restricted here.
    Restricted(Arc<RulePlace>),
    /// No rule matches: `default_policy`, or what holds without any file.
    Default,
}

impl RuleRef {
    /// Where it stands; `None` for the default.
    #[must_use]
    pub fn place(&self) -> Option<&RulePlace> {
        match self {
            Self::Rule(place) | Self::Restricted(place) => Some(place),
            Self::Default => None,
        }
    }
}

impl fmt::Display for RuleRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, place) = match self {
            Self::Rule(place) => ("rule", place),
            Self::Restricted(place) => ("restricted recipient", place),
            Self::Default => return f.write_str("default_policy"),
        };
        f.write_str(word)?;
        if let Some(name) = &place.name {
            write!(f, " \"{name}\"")?;
        }
        write!(f, " ({}:{})", place.file.display(), place.line)
    }
}

/// Why the verdict is what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Because {
    /// The rule's action.
    Action,
    /// The message is larger than the rule's `max_size`.
    Size,
    /// The message does not have what the rule requires.
    Requirement(Requirement),
    /// The rule says `signature_policy: reject`.
    SignaturePolicy,
    /// The sender is not among those who may write to this recipient.
    Restricted,
    /// The sender has had what the rule's `rate_limit` allows.
    RateLimit,
    /// The sender has had what the rule's `quota` allows.
    Quota,
    /// No rule matches.
    NoRule,
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Action => f.write_str("the rule says so"),
            Self::Size => f.write_str("the message is larger than max_size"),
            Self::Requirement(requirement) => {
                write!(
                    f,
                    "it requires `{}`, which is not met",
                    requirement.as_str()
                )
            }
            Self::SignaturePolicy => f.write_str("signature_policy is reject"),
            Self::Restricted => f.write_str("the sender may not write to this recipient"),
            Self::RateLimit => f.write_str("the sender is over rate_limit"),
            Self::Quota => f.write_str("the sender is over quota"),
            Self::NoRule => f.write_str("no rule matches"),
        }
    }
}

/// The policy's answer for one message to one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What decided.
    pub rule: RuleRef,
    /// What is to be done; `Deny` exactly where `refusal` is there.
    pub action: Action,
    /// What the sender is told.
    pub refusal: Option<ErrorCode>,
    /// When it may come again, where a limit refuses.
    pub retry_after: Option<Duration>,
    /// Why.
    pub because: Because,
    /// The path, where the rule says one.
    pub path: Option<DeliveryPath>,
    /// The priority, where the rule says one.
    pub priority: Option<Priority>,
    /// The order, where the rule says one.
    pub ordering: Option<Ordering>,
    /// What is done with a sender that is not verified.
    pub signature: SignatureMode,
    /// What the sender may send by this rule.
    pub limit: Option<Arc<Limit>>,
}

impl Verdict {
    pub(super) const fn plain(rule: RuleRef, action: Action, because: Because) -> Self {
        let refusal = match action {
            Action::Deny => Some(ErrorCode::PolicyDenied),
            Action::Allow | Action::Hold => None,
        };
        Self {
            rule,
            action,
            refusal,
            retry_after: None,
            because,
            path: None,
            priority: None,
            ordering: None,
            signature: SignatureMode::Flag,
            limit: None,
        }
    }

    /// The same, refused.
    pub(super) fn refuse(mut self, code: ErrorCode, because: Because) -> Self {
        self.action = Action::Deny;
        self.refusal = Some(code);
        self.because = because;
        self
    }
}

/// Why a rule does not match a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mismatch {
    /// It goes another way.
    Direction,
    /// Another sender.
    Sender,
    /// The sender is the gateway's own or an anonymous caller, which patterns do not cover.
    ReservedSender,
    /// Another recipient.
    Recipient,
    /// Another schema.
    Schema,
    /// It has no schema.
    NoSchema,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Direction => "another direction",
            Self::Sender => "another sender",
            Self::ReservedSender => "the sender's name is reserved, which only `*` covers",
            Self::Recipient => "another recipient",
            Self::Schema => "another schema",
            Self::NoSchema => "the message has no schema",
        })
    }
}

/// A rule.
#[derive(Debug, Clone)]
pub struct Rule {
    pub(super) place: Arc<RulePlace>,
    pub(super) sender: AddressPattern,
    pub(super) recipient: AddressPattern,
    /// Any schema and none, when empty.
    pub(super) schemas: Box<[SchemaPattern]>,
    pub(super) directions: Directions,
    pub(super) require: Box<[Requirement]>,
    pub(super) max_size: Option<usize>,
    pub(super) action: Action,
    pub(super) path: Option<DeliveryPath>,
    pub(super) priority: Option<Priority>,
    pub(super) ordering: Option<Ordering>,
    pub(super) signature: SignatureMode,
    pub(super) limit: Option<Arc<Limit>>,
}

/// A question with its addresses as patterns compare them.
pub(super) struct Asked<'a> {
    pub(super) question: &'a Question<'a>,
    pub(super) sender: Key<'a>,
    pub(super) recipient: Key<'a>,
    /// The sender is reserved in one of our domains: only `*` covers it.
    pub(super) reserved: bool,
}

impl Rule {
    /// Why it does not match; `None` where it does.
    pub(super) fn mismatch(&self, asked: &Asked<'_>) -> Option<Mismatch> {
        if !self.directions.meets(asked.question.directions) {
            return Some(Mismatch::Direction);
        }
        if asked.reserved && self.sender != AddressPattern::Any {
            return Some(Mismatch::ReservedSender);
        }
        if !self.sender.covers_key(&asked.sender) {
            return Some(Mismatch::Sender);
        }
        if !self.recipient.covers_key(&asked.recipient) {
            return Some(Mismatch::Recipient);
        }
        match asked.question.schema {
            _ if self.schemas.is_empty() => None,
            None => Some(Mismatch::NoSchema),
            Some(id) => {
                let known = self.schemas.iter().any(|pattern| pattern.matches(id));
                (!known).then_some(Mismatch::Schema)
            }
        }
    }

    /// What comes of it for a message that matches.
    pub(super) fn verdict(&self, question: &Question<'_>) -> Verdict {
        let rule = RuleRef::Rule(self.place.clone());
        let verdict = Verdict {
            path: self.path,
            priority: self.priority,
            ordering: self.ordering,
            signature: self.signature,
            limit: self.limit.clone(),
            ..Verdict::plain(rule, self.action, Because::Action)
        };
        match self.refusal(question) {
            Some((code, because)) => verdict.refuse(code, because),
            None => verdict,
        }
    }

    fn refusal(&self, question: &Question<'_>) -> Option<(ErrorCode, Because)> {
        if self.action == Action::Deny {
            return None;
        }
        if self.max_size.is_some_and(|most| question.size > most) {
            return Some((ErrorCode::MessageTooLarge, Because::Size));
        }
        let unmet = self.require.iter().find_map(|requirement| {
            let code = requirement.refuses(question)?;
            Some((code, Because::Requirement(*requirement)))
        });
        let standing = question.standing;
        let by_mode = || {
            let rejects = self.signature == SignatureMode::Reject && !standing.is_verified();
            let code = refusal_of(standing.signature);
            rejects.then_some((code, Because::SignaturePolicy))
        };
        unmet.or_else(by_mode)
    }
}
