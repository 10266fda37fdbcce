//! Addresses `local@domain`: parse, normalise, compare, show. AMTP 1.0, section 3.1.
//!
//! An address is a bare addr-spec: the local part a dot-atom of RFC 5321 in ASCII, at most 64 bytes,
//! kept as given and compared without case; the domain normalised ([`Domain`]). The agents of our own
//! domains have stricter names ([`AgentName`]).

use std::borrow::Cow;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

use super::text_serde::text_value;

/// Why a text is no address, domain or agent name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressFault {
    /// There is no `@`.
    #[error("must have the form local@domain")]
    NoAt,
    /// The part before the `@` is not a dot-atom of 1 to 64 bytes.
    #[error("the part before the @ must be 1 to 64 ASCII letters, digits or allowed signs")]
    Local,
    /// The domain is not a host name.
    #[error("the domain is not valid")]
    Domain,
    /// The name breaks the rule for agents.
    #[error(
        "an agent name must be 1 to 64 of a-z 0-9 . _ - and start and end with a letter or digit"
    )]
    AgentName,
}

/// A DNS domain in normal form: ASCII (IDNA), lower case, no trailing dot, at most 253 bytes. Cloning is cheap.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Domain(Arc<str>);

impl Domain {
    /// Normalises and checks a domain.
    ///
    /// # Errors
    /// It is no host name: a label is empty, longer than 63 bytes or has a character outside
    /// letters, digits and inner hyphens; the whole is too long; or it is an IP address.
    pub fn parse(text: &str) -> Result<Self, AddressFault> {
        let name = normalise(text).ok_or(AddressFault::Domain)?;
        Ok(Self(name.as_ref().into()))
    }

    /// The normal form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Longer input cannot be a domain in any script, and is not given to IDNA.
const LONGEST_INPUT: usize = 1_024;

fn normalise(text: &str) -> Option<Cow<'_, str>> {
    if is_normal(text) {
        Some(Cow::Borrowed(text))
    } else {
        normalise_thoroughly(text)
    }
}

fn normalise_thoroughly(text: &str) -> Option<Cow<'_, str>> {
    if text.len() > LONGEST_INPUT {
        return None;
    }
    let mut name = if text.is_ascii() && !has_punycode(text) {
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(text.to_ascii_lowercase())
        } else {
            Cow::Borrowed(text)
        }
    } else {
        Uts46::new()
            .to_ascii(
                text.as_bytes(),
                AsciiDenyList::STD3,
                Hyphens::CheckFirstLast,
                DnsLength::Ignore,
            )
            .ok()?
    };
    if name.ends_with('.') {
        match &mut name {
            Cow::Borrowed(name) => *name = &name[..name.len() - 1],
            Cow::Owned(name) => name.truncate(name.len() - 1),
        }
    }
    is_host_name(&name).then_some(name)
}

/// Whether `text` is a host name in normal form at first sight, as nearly all are. Two hyphens
/// together may be punycode, which is looked at more closely.
fn is_normal(text: &str) -> bool {
    if text.len() > 253 {
        return false;
    }
    let (mut before, mut label, mut digits) = (b'.', 0, true);
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' => digits = false,
            b'0'..=b'9' => {}
            b'-' if !matches!(before, b'.' | b'-') => digits = false,
            b'.' if !matches!(before, b'.' | b'-') => (label, digits) = (0, true),
            _ => return false,
        }
        label += usize::from(byte != b'.');
        if label > 63 {
            return false;
        }
        before = byte;
    }
    !digits && !matches!(before, b'.' | b'-')
}

fn has_punycode(text: &str) -> bool {
    text.as_bytes()
        .windows(4)
        .any(|window| window.eq_ignore_ascii_case(b"xn--"))
}

fn is_host_name(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= 253 && name.split('.').all(is_label) && !last.bytes().all(|b| b.is_ascii_digit())
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

/// An address. Equality, order and hash ignore the case of the local part. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Address {
    /// `local@domain` with the domain normalised.
    text: Arc<str>,
    domain: Domain,
}

impl Address {
    /// Checks an address and normalises its domain.
    ///
    /// # Errors
    /// It is not `dot-atom@domain`; display names, comments, quoted local parts, blanks and
    /// local parts outside ASCII are refused.
    pub fn parse(text: &str) -> Result<Self, AddressFault> {
        let at = text.bytes().rposition(|byte| byte == b'@');
        let at = at.ok_or(AddressFault::NoAt)?;
        let (local, domain) = (&text[..at], &text[at + 1..]);
        if !is_local(local) {
            return Err(AddressFault::Local);
        }
        let normal = Domain::parse(domain)?;
        if normal.as_str() != domain {
            return Ok(Self::join(local, normal));
        }
        Ok(Self {
            text: text.into(),
            domain: normal,
        })
    }

    /// The address of one of our agents.
    #[must_use]
    pub fn of_agent(name: &AgentName, domain: &Domain) -> Self {
        Self::join(name.as_str(), domain.clone())
    }

    fn join(local: &str, domain: Domain) -> Self {
        let mut text = String::with_capacity(local.len() + 1 + domain.0.len());
        text.push_str(local);
        text.push('@');
        text.push_str(&domain.0);
        Self {
            text: text.into(),
            domain,
        }
    }

    /// The part before the `@`, as given.
    #[must_use]
    pub fn local(&self) -> &str {
        &self.text[..self.text.len() - self.domain.0.len() - 1]
    }

    /// The part after the `@`, normalised.
    #[must_use]
    pub const fn domain(&self) -> &Domain {
        &self.domain
    }

    /// The whole address as it is shown.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The form to look addresses up by: lower-cased, equal for equal addresses.
    #[must_use]
    pub fn key(&self) -> String {
        self.text.to_ascii_lowercase()
    }

    /// The agents this address may mean, best first: the whole local part, then the part before the first `+`.
    pub fn agent_names(&self) -> impl Iterator<Item = AgentName> {
        let local = self.local();
        let base = local.split_once('+').map(|(base, _)| base);
        [Some(local), base]
            .into_iter()
            .flatten()
            .filter_map(|name| AgentName::parse(name).ok())
    }
}

/// Whether `local` is a dot-atom of RFC 5321: atoms of atext with single dots between them.
fn is_local(local: &str) -> bool {
    let atext = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte);
    let mut before = b'.';
    for byte in local.bytes() {
        let allowed = match byte {
            b'.' => before != b'.',
            _ => atext(byte),
        };
        if !allowed {
            return false;
        }
        before = byte;
    }
    local.len() <= 64 && before != b'.'
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.text.eq_ignore_ascii_case(&other.text)
    }
}

impl Eq for Address {}

impl Hash for Address {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for byte in self.text.bytes() {
            state.write_u8(byte.to_ascii_lowercase());
        }
        state.write_u8(0xff);
    }
}

impl Ord for Address {
    fn cmp(&self, other: &Self) -> Ordering {
        let lower = |byte: u8| byte.to_ascii_lowercase();
        let theirs = other.text.bytes().map(lower);
        self.text.bytes().map(lower).cmp(theirs)
    }
}

impl PartialOrd for Address {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The name of an agent of our own domains: the local part it is reached by, lower-cased. Cloning is cheap.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AgentName(Arc<str>);

impl AgentName {
    /// Checks a name and lower-cases it.
    ///
    /// # Errors
    /// It is not 1 to 64 of `a-z 0-9 . _ -`, or starts or ends with a sign, or has two dots in a
    /// row (no address could name it).
    pub fn parse(text: &str) -> Result<Self, AddressFault> {
        let name = text.to_ascii_lowercase();
        let inner = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
        let outer = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let bytes = name.as_bytes();
        let valid = bytes.len() <= 64
            && bytes.iter().copied().all(inner)
            && outer(bytes.first())
            && outer(bytes.last())
            && !name.contains("..");
        if valid {
            Ok(Self(name.into()))
        } else {
            Err(AddressFault::AgentName)
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether no agent may be registered under this name.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        is_reserved(&self.0)
    }
}

/// Whether the gateway keeps a local part for itself: `postmaster`, `abuse`, `mailer-daemon`,
/// `workflow`, `amtp-bridge` (also with a `+tag`), `a2a+*` and `bounce+*`, in any case.
#[must_use]
pub fn is_reserved(local: &str) -> bool {
    const NAMES: [&str; 5] = [
        "postmaster",
        "abuse",
        "mailer-daemon",
        "workflow",
        "amtp-bridge",
    ];
    const TAGGED: [&str; 2] = ["a2a", "bounce"];
    let (base, tagged) = match local.split_once('+') {
        Some((base, _)) => (base, true),
        None => (local, false),
    };
    let is_base = |name: &&str| name.eq_ignore_ascii_case(base);
    NAMES.iter().any(is_base) || tagged && TAGGED.iter().any(is_base)
}

text_value!(Domain, AddressFault);
text_value!(Address, AddressFault);
text_value!(AgentName, AddressFault);

#[cfg(test)]
mod tests;
