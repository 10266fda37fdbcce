//! Values of policy files: texts, words, patterns, sizes, rates.

use std::num::NonZeroU32;
use std::time::Duration;

use super::super::pattern::AddressPattern;
use super::super::question::{Direction, Directions};
use super::super::rule::{Action, Allowance, Ordering, Requirement, SignatureMode};
use super::{MOST_IN_A_LIST, Reading, join};
use crate::config::{DeliveryPath, Node, Shape, Size, closest};
use crate::protocol::{Priority, SchemaPattern};

/// Bytes of a name or a reason.
const LONGEST_TEXT: usize = 256;
/// Of a rate, a burst or a quota.
const MOST_MESSAGES: u64 = 1_000_000_000;

pub(super) const DEFAULTS: [(&str, Action); 2] = [("deny", Action::Deny), ("allow", Action::Allow)];
pub(super) const ACTIONS: [(&str, Action); 3] = [
    ("allow", Action::Allow),
    ("deny", Action::Deny),
    ("hold", Action::Hold),
];
pub(super) const PATHS: [(&str, DeliveryPath); 2] = [
    ("immediate", DeliveryPath::Immediate),
    ("durable", DeliveryPath::Durable),
];
pub(super) const PRIORITIES: [(&str, Priority); 4] = [
    ("low", Priority::Low),
    ("normal", Priority::Normal),
    ("high", Priority::High),
    ("urgent", Priority::Urgent),
];
pub(super) const ORDERINGS: [(&str, Ordering); 2] =
    [("strict", Ordering::Strict), ("none", Ordering::None)];
pub(super) const SIGNATURE_MODES: [(&str, SignatureMode); 3] = [
    ("accept", SignatureMode::Accept),
    ("flag", SignatureMode::Flag),
    ("reject", SignatureMode::Reject),
];

const PERIODS: [(&[&str], u64); 4] = [
    (&["second", "s"], 1),
    (&["minute", "m"], 60),
    (&["hour", "h"], 3_600),
    (&["day", "d"], 86_400),
];

/// One word of a closed set.
pub(super) fn word<T: Copy>(
    reading: &mut Reading<'_>,
    node: &Node,
    path: &str,
    words: &[(&str, T)],
) -> Option<T> {
    let all: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
    let all = all.join(", ");
    let given = reading.text(node, path, &format!("one of {all}"))?;
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == given) {
        return Some(*value);
    }
    let meant = closest(&given, words.iter().map(|(word, _)| (*word).to_owned()));
    let text = match meant {
        Some(meant) => format!("{given:?} is not one of {all}; did you mean `{meant}`?"),
        None => format!("{given:?} is not one of {all}"),
    };
    reading.fault(&node.origin, path, text)
}

/// What stands there instead of a text.
const fn kind(shape: &Shape) -> &'static str {
    match shape {
        Shape::Null => "has no value",
        Shape::Bool(_) => "is a switch",
        Shape::Number(_) => "is a number",
        Shape::Text(_) => "is a text",
        Shape::List(_) => "is a list",
        Shape::Map(_) => "has keys of its own",
    }
}

impl Reading<'_> {
    pub(super) fn text(&mut self, node: &Node, path: &str, form: &str) -> Option<String> {
        match &node.shape {
            Shape::Text(text) => Some(text.clone()),
            shape => {
                let text = format!("{}, but must be {form}", kind(shape));
                self.fault(&node.origin, path, text)
            }
        }
    }

    /// A name or a reason: one line that may stand in a log.
    pub(super) fn line_of_text(&mut self, node: &Node, path: &str) -> Option<String> {
        let text = self.text(node, path, "a text (put numbers in quotes)")?;
        let fits = (1..=LONGEST_TEXT).contains(&text.len()) && !text.chars().any(char::is_control);
        if !fits {
            let text = format!("must be one line of 1 to {LONGEST_TEXT} bytes");
            return self.fault(&node.origin, path, text);
        }
        Some(text)
    }

    pub(super) fn list<'n>(&mut self, node: &'n Node, path: &str) -> Option<&'n [Node]> {
        let text = match &node.shape {
            Shape::List(items) if items.len() <= MOST_IN_A_LIST => return Some(items),
            Shape::List(_) => {
                format!("has more than {MOST_IN_A_LIST} items; make it several rules")
            }
            shape => format!("{}, but must be a list, such as `[a, b]`", kind(shape)),
        };
        self.fault(&node.origin, path, text)
    }

    pub(super) fn pattern(&mut self, node: &Node, path: &str) -> Option<AddressPattern> {
        let form = "a pattern of addresses in quotes, such as `\"*@example.com\"`";
        let text = self.text(node, path, form)?;
        match AddressPattern::parse(&text) {
            Ok(pattern) => Some(pattern),
            Err(fault) => self.fault(&node.origin, path, format!("{text:?} {fault}")),
        }
    }

    pub(super) fn schemas(&mut self, node: &Node, path: &str) -> Option<Box<[SchemaPattern]>> {
        let items = self.several(node, path)?;
        let mut patterns = Vec::new();
        let mut sound = true;
        for (index, item) in items.iter().enumerate() {
            let path = format!("{path}[{index}]");
            match self.schema(item, &path) {
                Some(pattern) => patterns.push(pattern),
                None => sound = false,
            }
        }
        sound.then(|| patterns.into())
    }

    fn schema(&mut self, node: &Node, path: &str) -> Option<SchemaPattern> {
        let form = "the name of a schema, in which `*` stands for any text";
        let text = self.text(node, path, form)?;
        let fault = match SchemaPattern::parse(&text) {
            Ok(_) if text.contains("**") => "has `**`; one `*` stands for any text".to_owned(),
            Ok(pattern) => return Some(pattern),
            Err(fault) => format!("is no pattern of schemas: {fault}"),
        };
        self.fault(&node.origin, path, format!("{text:?} {fault}"))
    }

    /// A list that is not empty.
    fn several<'n>(&mut self, node: &'n Node, path: &str) -> Option<&'n [Node]> {
        let items = self.list(node, path)?;
        if items.is_empty() {
            let text = "is empty; name at least one, or remove the line".to_owned();
            return self.fault(&node.origin, path, text);
        }
        Some(items)
    }

    /// One direction or a list of them.
    pub(super) fn directions(&mut self, node: &Node, path: &str) -> Option<Directions> {
        let words = Direction::ALL.map(|each| (each.as_str(), each));
        if matches!(node.shape, Shape::Text(_)) {
            return word(self, node, path, &words).map(Directions::from);
        }
        let items = self.several(node, path)?;
        let mut all = Some(Directions::NONE);
        for item in items {
            let one = word(self, item, path, &words).map(Directions::from);
            all = all.zip(one).map(|(all, one)| all | one);
        }
        all
    }

    pub(super) fn requirements(&mut self, node: &Node, path: &str) -> Option<Box<[Requirement]>> {
        let words = Requirement::ALL.map(|each| (each.as_str(), each));
        let items = self.several(node, path)?;
        let read = |item| word(self, item, path, &words);
        let read: Vec<_> = items.iter().map(read).collect();
        read.into_iter().collect()
    }

    pub(super) fn size(&mut self, node: &Node, path: &str) -> Option<u64> {
        let text = match &node.shape {
            Shape::Number(text) | Shape::Text(text) => text.clone(),
            _ => self.text(node, path, "a size, such as `64KiB`")?,
        };
        match text.parse::<Size>() {
            Ok(Size(bytes)) if bytes > 0 => Some(bytes),
            _ => {
                let text = format!("{text:?} is no size, such as `64KiB`");
                self.fault(&node.origin, path, text)
            }
        }
    }

    pub(super) fn count(&mut self, node: &Node, path: &str) -> Option<NonZeroU32> {
        let form = format!("a whole number from 1 to {MOST_MESSAGES}");
        let text = match &node.shape {
            Shape::Number(text) => text.clone(),
            _ => self.text(node, path, &form)?,
        };
        match parse_count(&text) {
            Some(count) => Some(count),
            None => self.fault(&node.origin, path, format!("{text:?} is not {form}")),
        }
    }

    /// `100/hour`, or `{rate: 100/hour, burst: 20}`.
    pub(super) fn rate(&mut self, node: &Node, path: &str) -> Option<Allowance> {
        let form = "a rate, such as `100/hour`, or `{rate: 100/hour, burst: 20}`";
        if !matches!(node.shape, Shape::Map(_)) {
            let text = self.text(node, path, form)?;
            return self.plain_rate(node, path, &text);
        }
        let keys = self.keys(node, path, &["rate", "burst"])?;
        let rate = match keys.find("rate") {
            Some(entry) => {
                let path = join(path, "rate");
                let text = self.text(&entry.value, &path, "a rate, such as `100/hour`");
                text.and_then(|text| self.plain_rate(&entry.value, &path, &text))
            }
            None => self.missing(node, path, "rate", "a rate, such as `100/hour`"),
        };
        let burst = match keys.find("burst") {
            Some(entry) => self.count(&entry.value, &join(path, "burst")),
            None => rate.map(|rate| rate.burst),
        };
        let (rate, burst) = (rate?, burst?);
        Some(Allowance { burst, ..rate })
    }

    fn plain_rate(&mut self, node: &Node, path: &str, text: &str) -> Option<Allowance> {
        let parsed = text.split_once('/').and_then(|(count, unit)| {
            let count = parse_count(count)?;
            let named = |(names, _): &&(&[&str], u64)| names.contains(&unit);
            let (_, seconds) = PERIODS.iter().find(named)?;
            let period = Duration::from_secs(*seconds);
            Some(Allowance {
                count,
                period,
                burst: count,
            })
        });
        if parsed.is_none() {
            let units = "`/second`, `/minute`, `/hour` or `/day`";
            let text =
                format!("{text:?} is no rate; write a number and {units}, such as `100/hour`");
            return self.fault(&node.origin, path, text);
        }
        parsed
    }
}

fn parse_count(text: &str) -> Option<NonZeroU32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = digits.then(|| text.parse().ok())??;
    let number = u32::try_from(number.min(MOST_MESSAGES + 1)).ok()?;
    NonZeroU32::new(number).filter(|it| u64::from(it.get()) <= MOST_MESSAGES)
}
