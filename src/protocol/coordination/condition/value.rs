//! Paths into a reply and the values it is compared with.

use std::cmp::Ordering;

use super::super::super::json::{canonical_text, items, scan_object, string_of};

/// Paths may not have more steps: each step reads the rest of the payload once.
const LONGEST: usize = 16;

/// A way into a JSON value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Path(Vec<Step>);

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Name(Box<str>),
    Index(usize),
}

impl Path {
    /// Reads `name.name[0].name`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut steps = Vec::new();
        for part in text.split('.') {
            let (name, indexes) = part.split_at(part.find('[').unwrap_or(part.len()));
            if name.is_empty() || name.contains(']') {
                return None;
            }
            steps.push(Step::Name(name.into()));
            for index in indexes.split_inclusive(']') {
                let digits = index.strip_prefix('[')?.strip_suffix(']')?;
                let valid = digits.bytes().all(|byte| byte.is_ascii_digit());
                steps.push(Step::Index(valid.then(|| digits.parse().ok())??));
            }
        }
        (steps.len() <= LONGEST).then_some(Self(steps))
    }

    /// The raw value the path leads to in a raw payload.
    pub(super) fn find<'p>(&self, payload: &'p str) -> Option<&'p str> {
        self.0.iter().try_fold(payload, |value, step| match step {
            Step::Name(wanted) => {
                let members = scan_object(value.as_bytes()).ok()?;
                let (_, place) = members.into_iter().find(|(name, _)| *name == **wanted)?;
                Some(&value[place])
            }
            Step::Index(index) => items(value)?.nth(*index),
        })
    }
}

/// A way two values may be ordered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Order {
    Below,
    AtMost,
    AtLeast,
    Above,
}

impl Order {
    pub(super) fn admits(self, ordering: Ordering) -> bool {
        match self {
            Self::Below => ordering.is_lt(),
            Self::AtMost => ordering.is_le(),
            Self::AtLeast => ordering.is_ge(),
            Self::Above => ordering.is_gt(),
        }
    }
}

/// A value written in a condition.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Literal {
    /// `true`, `false` or `null`.
    Word(Box<str>),
    Number(Number),
    Text(Box<str>),
}

impl Literal {
    /// A quoted value.
    pub(super) fn text(text: &str) -> Self {
        Self::Text(text.into())
    }

    /// An unquoted value: what JSON knows, else a text.
    pub(super) fn word(word: &str) -> Self {
        match Number::parse(word) {
            Some(number) => Self::Number(number),
            None if matches!(word, "true" | "false" | "null") => Self::Word(word.into()),
            None => Self::Text(word.into()),
        }
    }

    pub(super) fn equals(&self, found: &str) -> bool {
        match self {
            Self::Word(word) => **word == *found,
            _ => self.compare(found).is_some_and(Ordering::is_eq),
        }
    }

    /// How the found raw value stands to this one; `None` if the two have no order.
    pub(super) fn compare(&self, found: &str) -> Option<Ordering> {
        match self {
            Self::Word(_) => None,
            Self::Number(number) => Number::parse(found)?.compare(number),
            Self::Text(text) => Some(string_of(found)?.as_ref().cmp(text)),
        }
    }
}

/// A JSON number. Whole numbers compare exactly, others as the nearest floats.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Number(Box<str>);

impl Number {
    fn parse(text: &str) -> Option<Self> {
        let begins = text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
        let is_json = begins && canonical_text(text.as_bytes(), &mut Vec::new()).is_ok();
        is_json.then(|| Self(text.into()))
    }

    fn compare(&self, other: &Self) -> Option<Ordering> {
        if let (Ok(left), Ok(right)) = (self.0.parse::<i128>(), other.0.parse::<i128>()) {
            return Some(left.cmp(&right));
        }
        let (left, right): (f64, f64) = (self.0.parse().ok()?, other.0.parse().ok()?);
        left.partial_cmp(&right)
    }
}
