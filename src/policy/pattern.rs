//! Patterns over addresses.
//!
//! Five forms: `*` any address; `*.x.com` an address at any subdomain of x.com, not at x.com itself;
//! `*@x.com` any address at x.com; `orders-*@x.com` with `*` for any text in the local part; and an
//! address for itself. Case does not matter. A `+tag` belongs to the local part.

use std::fmt;

use crate::protocol::schema_id::glob;
use crate::protocol::{Address, AddressFault, Domain};

/// A local part has no more bytes.
const LONGEST_LOCAL: usize = 64;

/// A pattern over addresses.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AddressPattern {
    /// Any address.
    Any,
    /// Any address at a subdomain of this domain.
    Below(Domain),
    /// Addresses at this domain.
    At(Locals, Domain),
}

/// A pattern over local parts, lower-cased.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Locals {
    /// Any.
    All,
    /// This one.
    One(Box<str>),
    /// With `*` for any text.
    Glob(Box<str>),
}

/// Why a text is no pattern, and what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PatternFault(String);

impl AddressPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// It has none of the five forms; the text says what to write.
    pub fn parse(text: &str) -> Result<Self, PatternFault> {
        if text == "*" {
            return Ok(Self::Any);
        }
        if let Some((local, domain)) = text.rsplit_once('@') {
            return parse_at(local, domain);
        }
        let fault = |text: String| Err(PatternFault(text));
        match text.strip_prefix("*.") {
            Some(domain) => parse_domain(domain).map(Self::Below),
            None if Domain::parse(text).is_ok() => {
                fault(format!("is a domain; write `*@{text}` for its addresses"))
            }
            None if text.contains('*') => {
                let forms =
                    "write `*`, `*.DOMAIN`, `*@DOMAIN`, or an address with `*` before the @";
                fault(format!("has a `*` where none can stand; {forms}"))
            }
            None => fault("is no address; write `*`, `*.DOMAIN`, `*@DOMAIN` or an address".into()),
        }
    }

    /// Whether it covers an address.
    #[must_use]
    pub fn matches(&self, address: &Address) -> bool {
        self.covers_key(&Key::of(address))
    }

    pub(super) fn covers_key(&self, key: &Key<'_>) -> bool {
        match self {
            Self::Any => true,
            Self::Below(domain) => is_below(key.domain, domain.as_str()),
            Self::At(locals, domain) => {
                domain.as_str() == key.domain && locals.matches(key.local())
            }
        }
    }

    /// Whether it covers every address that `other` covers. `false` where that cannot be told.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) => true,
            (Self::Below(domain), Self::Below(inner)) => {
                domain == inner || is_below(inner.as_str(), domain.as_str())
            }
            (Self::Below(domain), Self::At(_, inner)) => is_below(inner.as_str(), domain.as_str()),
            (Self::At(locals, domain), Self::At(others, inner)) => {
                domain == inner && locals.covers(others)
            }
            _ => false,
        }
    }

    /// The domain whose addresses it covers, if it is one.
    #[must_use]
    pub const fn domain(&self) -> Option<&Domain> {
        match self {
            Self::At(_, domain) => Some(domain),
            _ => None,
        }
    }
}

impl Locals {
    fn matches(&self, local: &[u8]) -> bool {
        match self {
            Self::All => true,
            Self::One(one) => one.as_bytes() == local,
            Self::Glob(pattern) => glob(pattern.as_bytes(), local),
        }
    }

    /// A `*` of the other is taken as a sign that only a `*` covers.
    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::All) => *self == Self::All,
            (_, Self::One(text) | Self::Glob(text)) => self.matches(text.as_bytes()),
        }
    }
}

fn is_below(domain: &str, suffix: &str) -> bool {
    let head = domain.strip_suffix(suffix);
    head.is_some_and(|head| head.ends_with('.'))
}

fn parse_at(local: &str, domain: &str) -> Result<AddressPattern, PatternFault> {
    if let Some(below) = domain.strip_prefix("*.") {
        let text = match local {
            "*" => format!("has two `*`; write `*.{below}` for addresses at subdomains"),
            _ => {
                "has a `*` in the domain; only `*.DOMAIN`, for all addresses there, can".to_owned()
            }
        };
        return Err(PatternFault(text));
    }
    if domain.contains('*') {
        let text = "has a `*` in the domain; write `*` for any address, or `*.DOMAIN`";
        return Err(PatternFault(text.to_owned()));
    }
    let domain = parse_domain(domain)?;
    if local == "*" {
        return Ok(AddressPattern::At(Locals::All, domain));
    }
    // `*` itself is a sign that a local part may have, so a glob has the form of one.
    Address::parse(&format!("{local}@{domain}")).map_err(|fault| in_words(fault, local))?;
    if local.contains("**") {
        return Err(PatternFault("has `**`; one `*` stands for any text".into()));
    }
    let local = local.to_ascii_lowercase().into_boxed_str();
    let locals = if local.contains('*') {
        Locals::Glob(local)
    } else {
        Locals::One(local)
    };
    Ok(AddressPattern::At(locals, domain))
}

fn in_words(fault: AddressFault, local: &str) -> PatternFault {
    if local.is_empty() {
        return PatternFault("has nothing before the @; write `*@DOMAIN` for all there".into());
    }
    PatternFault(format!("is no pattern of addresses: {fault}"))
}

fn parse_domain(text: &str) -> Result<Domain, PatternFault> {
    let fault = |_| PatternFault(format!("has no valid domain: {text:?}"));
    Domain::parse(text).map_err(fault)
}

impl fmt::Display for AddressPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Below(domain) => write!(f, "*.{domain}"),
            Self::At(Locals::All, domain) => write!(f, "*@{domain}"),
            Self::At(Locals::One(text) | Locals::Glob(text), domain) => {
                write!(f, "{text}@{domain}")
            }
        }
    }
}

/// An address as patterns are compared with it: the local part lower-cased.
pub(super) struct Key<'a> {
    local: [u8; LONGEST_LOCAL],
    length: usize,
    pub(super) domain: &'a str,
}

impl<'a> Key<'a> {
    pub(super) fn of(address: &'a Address) -> Self {
        let given = address.local().as_bytes();
        let length = given.len().min(LONGEST_LOCAL);
        let mut local = [0; LONGEST_LOCAL];
        local[..length].copy_from_slice(&given[..length]);
        local[..length].make_ascii_lowercase();
        let domain = address.domain().as_str();
        Self {
            local,
            length,
            domain,
        }
    }

    pub(super) fn local(&self) -> &[u8] {
        &self.local[..self.length]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, prop_assert, proptest};

    use super::*;

    fn pattern(text: &str) -> AddressPattern {
        AddressPattern::parse(text).unwrap()
    }

    #[test]
    fn each_form_covers_what_it_says() {
        let table = [
            ("*", "a@b.com", true),
            ("*", "postmaster@x.com", true),
            ("*.x.com", "a@y.x.com", true),
            ("*.x.com", "a@z.y.x.com", true),
            ("*.x.com", "a@x.com", false),
            ("*.x.com", "a@evilx.com", false),
            ("*.X.com", "A@Y.x.COM", true),
            ("*@x.com", "a@x.com", true),
            ("*@x.com", "a@y.x.com", false),
            ("*@x.com", "a@x.com.evil.com", false),
            ("*@Bücher.example", "a@xn--bcher-kva.example", true),
            ("Alice@x.com", "aLICE@X.com", true),
            ("alice@x.com", "alice+tag@x.com", false),
            ("alice+tag@x.com", "alice+TAG@x.com", true),
            ("alice*@x.com", "alice+tag@x.com", true),
            ("alice+*@x.com", "alice@x.com", false),
            ("orders-*@x.com", "orders-eu@x.com", true),
            ("orders-*@x.com", "Orders-@x.com", true),
            ("orders-*@x.com", "orders@x.com", false),
            ("*-bot@x.com", "a-b-bot@x.com", true),
            ("a*b*c@x.com", "aXcXbYc@x.com", true),
            ("a*b*c@x.com", "aXcX@x.com", false),
        ];
        for (text, address, expected) in table {
            let matched = pattern(text).matches(&Address::parse(address).unwrap());
            assert_eq!(matched, expected, "{text} {address}");
        }
    }

    #[test]
    fn what_is_no_pattern_says_what_to_write() {
        let long = format!("{}@x.com", "a".repeat(65));
        for (text, part) in [
            ("", "is no address"),
            ("x.com", "write `*@x.com`"),
            ("*x.com", "a `*` where none can stand"),
            ("*.", "no valid domain"),
            ("*.*.x.com", "no valid domain"),
            ("*@*", "write `*` for any address"),
            ("*@*.x.com", "write `*.x.com`"),
            ("a@*.x.com", "`*` in the domain"),
            ("a@x*.com", "`*` in the domain"),
            ("**@x.com", "has `**`"),
            ("a**b@x.com", "has `**`"),
            ("@x.com", "nothing before the @"),
            ("a b@x.com", "no pattern of addresses"),
            ("a@b@x.com", "no pattern of addresses"),
            ("a@-x.com", "no valid domain"),
            ("a@", "no valid domain"),
            ("\"a\"@x.com", "no pattern of addresses"),
            (&long, "no pattern of addresses"),
        ] {
            let fault = AddressPattern::parse(text).unwrap_err().to_string();
            assert!(fault.contains(part), "{text}: {fault}");
        }
    }

    #[test]
    fn covering_is_never_claimed_wrongly() {
        let texts = [
            "*",
            "*.com",
            "*.x.com",
            "*.y.x.com",
            "*@x.com",
            "*@y.x.com",
            "a@x.com",
            "ab@x.com",
            "a*@x.com",
            "a*b@x.com",
            "*b@x.com",
            "a@y.x.com",
        ];
        let covered = [
            ("*.com", "*.x.com", true),
            ("*.com", "*@x.com", true),
            ("*.x.com", "*.x.com", true),
            ("*.x.com", "*@x.com", false),
            ("*.x.com", "a@y.x.com", true),
            ("*@x.com", "a*@x.com", true),
            ("a*@x.com", "a*b@x.com", true),
            ("a*b@x.com", "a*@x.com", false),
            ("a*@x.com", "*@x.com", false),
            ("a@x.com", "a@x.com", true),
        ];
        for (one, other, expected) in covered {
            assert_eq!(
                pattern(one).covers(&pattern(other)),
                expected,
                "{one} {other}"
            );
        }
        let addresses = [
            "a@x.com",
            "ab@x.com",
            "acb@x.com",
            "a@y.x.com",
            "b@z.y.x.com",
            "a@com.com",
        ];
        for (one, other) in texts
            .iter()
            .flat_map(|one| texts.map(|other| (*one, other)))
        {
            if pattern(one).covers(&pattern(other)) {
                for address in addresses.map(|text| Address::parse(text).unwrap()) {
                    let both = pattern(one).matches(&address) || !pattern(other).matches(&address);
                    assert!(both, "{one} {other} {address}");
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_shown_reads_back(text in "(\\*|[a-z*+.-]{1,8}@|\\*\\.)[a-z]{1,4}\\.[a-z]{2,3}") {
            if let Ok(pattern) = AddressPattern::parse(&text) {
                prop_assert!(AddressPattern::parse(&pattern.to_string()) == Ok(pattern));
            }
        }
    }
}
