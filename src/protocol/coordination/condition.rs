//! The language of conditions: `approval@a.example responds with approve=true and amount<=100`.
//!
//! ```text
//! condition  = all { "or" all }
//! all        = one { "and" one }
//! one        = "not" one | "(" condition ")" | address "responds" [ "with" one ] | test
//! test       = path op value | path "exists" | "exists" path
//! op         = "=" | "==" | "!=" | "<" | "<=" | ">" | ">="
//! path       = name { "." name | "[" number "]" }          into the payload of the reply
//! value      = "text" | 'text' | true | false | null | number | word
//! ```
//!
//! A test without an address is about the address before it. Words of the language are read in any
//! case. Whatever is asked of an address that has not replied is false. Of a reply: `=` compares
//! equal JSON values only (a word is a text, so `approve=true` does not mean the text "true");
//! `!=` is its opposite, also true where the path leads nowhere; the order compares two numbers or
//! two texts and is false for anything else.

mod parser;
mod value;

use std::fmt;
use std::str::FromStr;

use super::super::Address;
use value::{Literal, Order, Path};

/// A checked condition over the replies to a message. `Display` shows it as it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    text: Box<str>,
    expression: Expression,
}

/// Why a text is no condition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{wanted} at byte {offset}")]
pub struct ConditionFault {
    /// The byte the fault was found at, counted from 0.
    pub offset: usize,
    /// What should stand there.
    pub wanted: &'static str,
}

#[derive(Debug, Clone, PartialEq)]
enum Expression {
    Any(Vec<Expression>),
    All(Vec<Expression>),
    Not(Box<Expression>),
    /// The address replied.
    Replied(Address),
    /// The address replied, and its payload passes.
    Test(Address, Test),
}

#[derive(Debug, Clone, PartialEq)]
enum Test {
    Exists(Path),
    Equal(Path, Literal),
    Unequal(Path, Literal),
    Ordered(Path, Order, Literal),
}

impl Condition {
    /// Checks a condition.
    ///
    /// # Errors
    /// The text does not follow the grammar, is longer than 4,096 bytes, is nested deeper than 32
    /// levels or has more than 32 comparisons.
    pub fn parse(text: &str) -> Result<Self, ConditionFault> {
        Ok(Self {
            expression: parser::parse(text)?,
            text: text.into(),
        })
    }

    /// Whether the condition holds, given the raw payload of each address that has replied.
    #[must_use]
    pub fn holds<'r>(&self, reply: impl Fn(&Address) -> Option<&'r str>) -> bool {
        self.expression.holds(&reply)
    }

    /// Whose replies the condition asks about, as often as it does.
    #[must_use]
    pub fn addresses(&self) -> Vec<&Address> {
        let mut addresses = Vec::new();
        self.expression.collect_addresses(&mut addresses);
        addresses
    }

    /// The condition as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl Expression {
    fn holds<'r>(&self, reply: &impl Fn(&Address) -> Option<&'r str>) -> bool {
        match self {
            Self::Any(parts) => parts.iter().any(|part| part.holds(reply)),
            Self::All(parts) => parts.iter().all(|part| part.holds(reply)),
            Self::Not(part) => !part.holds(reply),
            Self::Replied(address) => reply(address).is_some(),
            Self::Test(address, test) => reply(address).is_some_and(|payload| test.passes(payload)),
        }
    }

    fn collect_addresses<'a>(&'a self, addresses: &mut Vec<&'a Address>) {
        match self {
            Self::Any(parts) | Self::All(parts) => {
                for part in parts {
                    part.collect_addresses(addresses);
                }
            }
            Self::Not(part) => part.collect_addresses(addresses),
            Self::Replied(address) | Self::Test(address, _) => addresses.push(address),
        }
    }
}

impl Test {
    fn passes(&self, payload: &str) -> bool {
        match self {
            Self::Exists(path) => path.find(payload).is_some(),
            Self::Equal(path, literal) => is_equal(path, payload, literal),
            Self::Unequal(path, literal) => !is_equal(path, payload, literal),
            Self::Ordered(path, order, literal) => {
                let compared = path.find(payload).and_then(|found| literal.compare(found));
                compared.is_some_and(|ordering| order.admits(ordering))
            }
        }
    }
}

fn is_equal(path: &Path, payload: &str, literal: &Literal) -> bool {
    path.find(payload)
        .is_some_and(|found| literal.equals(found))
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Condition {
    type Err = ConditionFault;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests;
