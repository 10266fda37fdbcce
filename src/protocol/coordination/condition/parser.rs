//! From the text of a condition to its expression, by recursive descent.

use super::super::super::Address;
use super::value::{Literal, Order, Path};
use super::{ConditionFault, Expression, Test};

/// The longest condition, in bytes.
const LONGEST: usize = 4_096;

/// How deep brackets and `not` may lie inside one another.
const DEEPEST: usize = 32;

/// How many tests a condition may have: each reads a payload.
const MOST_TESTS: usize = 32;

/// The expression of a whole text.
pub(super) fn parse(text: &str) -> Result<Expression, ConditionFault> {
    let mut parser = Parser {
        text,
        at: 0,
        depth: 0,
        tests: 0,
        subject: None,
    };
    if text.len() > LONGEST {
        return parser.fault("must have no more than 4096 bytes");
    }
    let expression = parser.any()?;
    match parser.rest() {
        "" => Ok(expression),
        _ => parser.fault("must have `and`, `or` or its end"),
    }
}

type Parsed<T> = Result<T, ConditionFault>;

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    tests: usize,
    /// The last address: a test without one is about it.
    subject: Option<Address>,
}

impl<'a> Parser<'a> {
    fn any(&mut self) -> Parsed<Expression> {
        let mut parts = vec![self.all()?];
        while self.keyword("or") {
            parts.push(self.all()?);
        }
        Ok(single(parts, Expression::Any))
    }

    fn all(&mut self) -> Parsed<Expression> {
        let mut parts = vec![self.one()?];
        while self.keyword("and") {
            parts.push(self.one()?);
        }
        Ok(single(parts, Expression::All))
    }

    fn one(&mut self) -> Parsed<Expression> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return self.fault("must not be nested deeper than 32 levels");
        }
        let expression = if self.symbol("(") {
            let inner = self.any()?;
            if !self.symbol(")") {
                return self.fault("must have a closing bracket");
            }
            inner
        } else if let Some(address) = self.address()? {
            self.reply_of(address)?
        } else if self.is_not() {
            Expression::Not(Box::new(self.one()?))
        } else {
            self.test()?
        };
        self.depth -= 1;
        Ok(expression)
    }

    /// Passes `<address> responds`.
    fn address(&mut self) -> Parsed<Option<Address>> {
        let start = self.at;
        let rest = self.rest();
        let is_end = |c: char| c.is_whitespace() || matches!(c, '(' | ')');
        let word = &rest[..rest.find(is_end).unwrap_or(rest.len())];
        let begin = self.at;
        self.at += word.len();
        if !word.contains('@') || !self.keyword("responds") {
            self.at = start;
            return Ok(None);
        }
        match Address::parse(word) {
            Ok(address) => Ok(Some(address)),
            Err(_) => {
                self.at = begin;
                self.fault("must have an address")
            }
        }
    }

    /// What follows `<address> responds`.
    fn reply_of(&mut self, address: Address) -> Parsed<Expression> {
        self.subject = Some(address.clone());
        if self.keyword("with") {
            self.one()
        } else {
            Ok(Expression::Replied(address))
        }
    }

    /// Passes `not`, unless it is the path of a test.
    fn is_not(&mut self) -> bool {
        let start = self.at;
        let here = self.keyword("not") && self.operator().is_none();
        if !here {
            self.at = start;
        }
        here
    }

    fn test(&mut self) -> Parsed<Expression> {
        self.tests += 1;
        if self.tests > MOST_TESTS {
            return self.fault("must have no more than 32 comparisons");
        }
        let start = self.at;
        let word = self.path_text();
        let test = if let Some(operator) = self.operator() {
            self.comparison(word, start, operator)?
        } else if self.keyword("exists") {
            Test::Exists(self.path(word, start)?)
        } else if word.eq_ignore_ascii_case("exists") {
            let start = self.at;
            let word = self.path_text();
            Test::Exists(self.path(word, start)?)
        } else {
            self.at = start;
            return self.fault("must have an address with `responds`, or a comparison");
        };
        match &self.subject {
            Some(subject) => Ok(Expression::Test(subject.clone(), test)),
            None => {
                self.at = start;
                self.fault("must begin with an address and `responds with`")
            }
        }
    }

    fn comparison(&mut self, word: &str, start: usize, operator: Operator) -> Parsed<Test> {
        let path = self.path(word, start)?;
        let literal = self.literal()?;
        Ok(match operator {
            Operator::Equal => Test::Equal(path, literal),
            Operator::Unequal => Test::Unequal(path, literal),
            Operator::Ordered(order) => Test::Ordered(path, order, literal),
        })
    }

    fn path(&mut self, word: &str, start: usize) -> Parsed<Path> {
        if let Some(path) = Path::parse(word) {
            return Ok(path);
        }
        self.at = start;
        self.fault("must have a path such as order.items[0].price")
    }

    fn path_text(&mut self) -> &'a str {
        let rest = self.rest();
        let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '[' | ']');
        let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    fn operator(&mut self) -> Option<Operator> {
        const OPERATORS: [(&str, Operator); 7] = [
            ("==", Operator::Equal),
            ("!=", Operator::Unequal),
            ("<=", Operator::Ordered(Order::AtMost)),
            (">=", Operator::Ordered(Order::AtLeast)),
            ("=", Operator::Equal),
            ("<", Operator::Ordered(Order::Below)),
            (">", Operator::Ordered(Order::Above)),
        ];
        let found = OPERATORS.iter().find(|(symbol, _)| self.symbol(symbol));
        found.map(|(_, operator)| *operator)
    }

    fn literal(&mut self) -> Parsed<Literal> {
        let rest = self.rest();
        if let Some(quote @ ('"' | '\'')) = rest.chars().next() {
            let Some(end) = rest[1..].find(quote) else {
                return self.fault("must have a closing quotation mark");
            };
            self.at += end + 2;
            return Ok(Literal::text(&rest[1..=end]));
        }
        let is_end = |c: char| c.is_whitespace() || matches!(c, ')' | '(');
        let length = rest.find(is_end).unwrap_or(rest.len());
        if length == 0 {
            return self.fault("must have a value");
        }
        self.at += length;
        Ok(Literal::word(&rest[..length]))
    }

    /// Passes a word of the language.
    fn keyword(&mut self, word: &str) -> bool {
        let rest = self.rest();
        let Some((head, tail)) = rest.split_at_checked(word.len()) else {
            return false;
        };
        let ends = tail
            .chars()
            .next()
            .is_none_or(|c| !c.is_alphanumeric() && !"_-.[".contains(c));
        let here = head.eq_ignore_ascii_case(word) && ends;
        if here {
            self.at += word.len();
        }
        here
    }

    fn symbol(&mut self, symbol: &str) -> bool {
        let here = self.rest().starts_with(symbol);
        if here {
            self.at += symbol.len();
        }
        here
    }

    /// What is left, after blanks.
    fn rest(&mut self) -> &'a str {
        let rest = self.text[self.at..].trim_start();
        self.at = self.text.len() - rest.len();
        rest
    }

    fn fault<T>(&self, wanted: &'static str) -> Parsed<T> {
        Err(ConditionFault {
            offset: self.at,
            wanted,
        })
    }
}

#[derive(Clone, Copy)]
enum Operator {
    Equal,
    Unequal,
    Ordered(Order),
}

fn single(mut parts: Vec<Expression>, join: fn(Vec<Expression>) -> Expression) -> Expression {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        Some(last) => {
            parts.push(last);
            join(parts)
        }
        None => join(parts),
    }
}
