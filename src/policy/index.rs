//! Finding the first rule that matches, without asking every rule.
//!
//! Each rule stands in one place of the index: under its sender, its recipient or its schemas,
//! whichever it shares with the fewest other rules. A question looks into the few places its own
//! sender, recipient and schema lead to, and asks the rules there. Rules that say none of the three
//! are asked always.

use std::collections::HashMap;

use super::pattern::{AddressPattern, Key, Locals};
use super::rule::Rule;
use crate::protocol::{SchemaId, SchemaPattern};

/// Numbers of rules, rising.
type Numbers = Vec<u32>;

/// A place in the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Spot<'a> {
    /// Under the subdomains of a domain.
    Below(&'a str),
    /// Under a domain.
    Domain(&'a str),
    /// Under a whole text at a domain; schemas are at no domain.
    Whole(&'a str, &'a str),
    /// Under the beginning of a text.
    Start(&'a str, &'a str),
    /// Under the end of a text.
    End(&'a str, &'a str),
}

impl<'a> Spot<'a> {
    fn of_address(pattern: &'a AddressPattern) -> Option<Self> {
        match pattern {
            AddressPattern::Any => None,
            AddressPattern::Below(domain) => Some(Spot::Below(domain.as_str())),
            AddressPattern::At(Locals::All, domain) => Some(Spot::Domain(domain.as_str())),
            AddressPattern::At(Locals::One(local), domain) => {
                Some(Spot::Whole(domain.as_str(), local))
            }
            AddressPattern::At(Locals::Glob(glob), domain) => {
                Some(Self::of_glob(domain.as_str(), glob).unwrap_or(Spot::Domain(domain.as_str())))
            }
        }
    }

    fn of_schema(pattern: &'a SchemaPattern) -> Self {
        let text = pattern.as_str();
        if text.contains('*') {
            return Self::of_glob("", text).unwrap_or(Spot::Domain(""));
        }
        Spot::Whole("", text)
    }

    /// By what stands before the first `*` or after the last, whichever is longer.
    fn of_glob(domain: &'a str, glob: &'a str) -> Option<Self> {
        let (start, _) = glob.split_once('*')?;
        let (_, end) = glob.rsplit_once('*')?;
        match (start.len(), end.len()) {
            (0, 0) => None,
            (before, after) if before >= after => Some(Spot::Start(domain, start)),
            _ => Some(Spot::End(domain, end)),
        }
    }
}

/// Texts at one domain, or schemas.
#[derive(Debug, Default)]
struct Texts {
    all: Numbers,
    whole: HashMap<Box<[u8]>, Numbers>,
    starts: Ends,
    ends: Ends,
}

/// Numbers by a beginning or an end, with the lengths that occur.
#[derive(Debug, Default)]
struct Ends {
    lengths: Vec<usize>,
    numbers: HashMap<Box<[u8]>, Numbers>,
}

impl Ends {
    fn add(&mut self, part: &str, number: u32) {
        if let Err(place) = self.lengths.binary_search(&part.len()) {
            self.lengths.insert(place, part.len());
        }
        push(
            self.numbers.entry(part.as_bytes().into()).or_default(),
            number,
        );
    }
}

fn push(numbers: &mut Numbers, number: u32) {
    if numbers.last() != Some(&number) {
        numbers.push(number);
    }
}

impl Texts {
    fn add(&mut self, spot: Spot<'_>, number: u32) {
        match spot {
            Spot::Below(_) | Spot::Domain(_) => push(&mut self.all, number),
            Spot::Whole(_, text) => {
                push(
                    self.whole.entry(text.as_bytes().into()).or_default(),
                    number,
                );
            }
            Spot::Start(_, part) => self.starts.add(part, number),
            Spot::End(_, part) => self.ends.add(part, number),
        }
    }

    fn look(&self, text: &[u8], search: &mut Search<impl Fn(u32) -> bool>) {
        search.among(&self.all);
        if let Some(numbers) = self.whole.get(text) {
            search.among(numbers);
        }
        for length in &self.starts.lengths {
            let Some(part) = text.get(..*length) else {
                break;
            };
            search.among(self.starts.numbers.get(part).map_or(&[], Vec::as_slice));
        }
        for length in &self.ends.lengths {
            let Some(start) = text.len().checked_sub(*length) else {
                break;
            };
            let part = &text[start..];
            search.among(self.ends.numbers.get(part).map_or(&[], Vec::as_slice));
        }
    }
}

/// Looks for the lowest number that is a match.
pub(super) struct Search<F> {
    first: Option<u32>,
    is_match: F,
}

impl<F: Fn(u32) -> bool> Search<F> {
    pub(super) const fn new(is_match: F) -> Self {
        let first = None;
        Self { first, is_match }
    }

    pub(super) const fn first(&self) -> Option<u32> {
        self.first
    }

    fn among(&mut self, numbers: &[u32]) {
        let lower = |number: &u32| self.first.is_none_or(|first| *number < first);
        let mut lower = numbers.iter().copied().take_while(lower);
        if let Some(number) = lower.find(|number| (self.is_match)(*number)) {
            self.first = Some(number);
        }
    }
}

/// Numbers by patterns of addresses.
#[derive(Debug, Default)]
pub(super) struct AddressIndex {
    any: Numbers,
    below: HashMap<Box<str>, Numbers>,
    at: HashMap<Box<str>, Texts>,
}

impl AddressIndex {
    /// Patterns by their places in a list.
    pub(super) fn build<'a>(patterns: impl Iterator<Item = &'a AddressPattern>) -> Self {
        let mut index = Self::default();
        for (number, pattern) in (0..).zip(patterns) {
            match Spot::of_address(pattern) {
                Some(spot) => index.add(spot, number),
                None => index.any.push(number),
            }
        }
        index
    }

    fn add(&mut self, spot: Spot<'_>, number: u32) {
        match spot {
            Spot::Below(domain) => push(self.below.entry(domain.into()).or_default(), number),
            Spot::Domain(domain)
            | Spot::Whole(domain, _)
            | Spot::Start(domain, _)
            | Spot::End(domain, _) => self.at.entry(domain.into()).or_default().add(spot, number),
        }
    }

    pub(super) fn look(&self, key: &Key<'_>, search: &mut Search<impl Fn(u32) -> bool>) {
        search.among(&self.any);
        if let Some(texts) = self.at.get(key.domain) {
            texts.look(key.local(), search);
        }
        if self.below.is_empty() {
            return;
        }
        let mut domain = key.domain;
        while let Some((_, parent)) = domain.split_once('.') {
            if let Some(numbers) = self.below.get(parent) {
                search.among(numbers);
            }
            domain = parent;
        }
    }
}

/// The index of a list of rules.
#[derive(Debug, Default)]
pub(super) struct Index {
    senders: AddressIndex,
    recipients: AddressIndex,
    schemas: Texts,
    others: Numbers,
}

impl Index {
    pub(super) fn build(rules: &[Rule]) -> Self {
        let crowds = Crowds::count(rules);
        let mut index = Self::default();
        for (number, rule) in (0..).zip(rules) {
            let sender = Spot::of_address(&rule.sender);
            let recipient = Spot::of_address(&rule.recipient);
            let ways = [
                sender.map(|spot| (crowds.senders[&spot], 0)),
                recipient.map(|spot| (crowds.recipients[&spot], 1)),
                crowds.of_schemas(rule).map(|crowd| (crowd, 2)),
            ];
            match (ways.into_iter().flatten().min(), sender, recipient) {
                (Some((_, 0)), Some(spot), _) => index.senders.add(spot, number),
                (Some((_, 1)), _, Some(spot)) => index.recipients.add(spot, number),
                (Some(_), ..) => {
                    for pattern in &rule.schemas {
                        index.schemas.add(Spot::of_schema(pattern), number);
                    }
                }
                (None, ..) => index.others.push(number),
            }
        }
        index
    }

    /// The lowest number of a rule for which `is_match` holds; it is asked of few.
    pub(super) fn first(
        &self,
        (sender, recipient): (&Key<'_>, &Key<'_>),
        schema: Option<&SchemaId>,
        is_match: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        let mut search = Search::new(is_match);
        self.senders.look(sender, &mut search);
        self.recipients.look(recipient, &mut search);
        if let Some(schema) = schema {
            self.schemas.look(schema.as_str().as_bytes(), &mut search);
        }
        search.among(&self.others);
        search.first()
    }
}

/// How many rules share each place they could stand in.
struct Crowds<'a> {
    senders: HashMap<Spot<'a>, usize>,
    recipients: HashMap<Spot<'a>, usize>,
    schemas: HashMap<Spot<'a>, usize>,
}

impl<'a> Crowds<'a> {
    fn count(rules: &'a [Rule]) -> Self {
        let mut crowds = Self {
            senders: HashMap::new(),
            recipients: HashMap::new(),
            schemas: HashMap::new(),
        };
        for rule in rules {
            if let Some(spot) = Spot::of_address(&rule.sender) {
                *crowds.senders.entry(spot).or_default() += 1;
            }
            if let Some(spot) = Spot::of_address(&rule.recipient) {
                *crowds.recipients.entry(spot).or_default() += 1;
            }
            for pattern in &rule.schemas {
                *crowds.schemas.entry(Spot::of_schema(pattern)).or_default() += 1;
            }
        }
        crowds
    }

    /// The largest crowd of a rule's schemas; `None` where it has none.
    fn of_schemas(&self, rule: &Rule) -> Option<usize> {
        let crowds = rule
            .schemas
            .iter()
            .map(|it| self.schemas[&Spot::of_schema(it)]);
        crowds.max()
    }
}
