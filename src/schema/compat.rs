//! Whether a new version of a schema goes with the old one.
//!
//! - Backward: whoever reads by the new one understands what was written by the old one.
//! - Forward: whoever reads by the old one understands what is written by the new one.
//! - Full: both.
//!
//! The check walks both documents side by side and names the places where the reader's schema asks
//! for more than the writer's promises. It is careful: what it cannot compare (`not`, `oneOf`,
//! `if`, changed patterns, …) is a break that says so, unless both documents say the same there. A
//! member that the writer's schema does not name is taken as not sent, unless it describes its
//! other members.

mod numbers;
mod parts;

use std::collections::HashSet;
use std::str::FromStr;

use serde::Serialize;
use serde_json::{Map, Value};

use parts::{Items, Types, same};

/// Which way a new version must go with the old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// New readers understand old writers.
    Backward,
    /// Old readers understand new writers.
    Forward,
    /// Both.
    Full,
}

/// The word is no mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be backward, forward or full")]
pub struct ModeFault;

impl FromStr for Mode {
    type Err = ModeFault;

    fn from_str(word: &str) -> Result<Self, ModeFault> {
        match word {
            "backward" => Ok(Self::Backward),
            "forward" => Ok(Self::Forward),
            "full" => Ok(Self::Full),
            _ => Err(ModeFault),
        }
    }
}

/// A place where two versions do not go together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Break {
    /// Where in a payload, such as `order.items[].price`; empty for the payload as a whole.
    #[serde(rename = "field")]
    pub path: String,
    /// What is wrong.
    #[serde(rename = "error")]
    pub what: String,
}

/// How many breaks are told.
const MOST_BREAKS: usize = 50;
/// How many pairs of parts are compared.
const MOST_STEPS: usize = 50_000;

/// The breaks between two versions, at most fifty; empty if they go together.
#[must_use]
pub fn compare(old: &Value, new: &Value, mode: Mode) -> Vec<Break> {
    let mut breaks = Vec::new();
    if matches!(mode, Mode::Backward | Mode::Full) {
        breaks.extend(Walk::of(old, new, "the old version").run());
    }
    if matches!(mode, Mode::Forward | Mode::Full) {
        breaks.extend(Walk::of(new, old, "the new version").run());
    }
    breaks.dedup();
    breaks.truncate(MOST_BREAKS);
    breaks
}

/// Finds what a writer may send that a reader refuses.
struct Walk<'a> {
    writer: &'a Value,
    reader: &'a Value,
    /// What the writer goes by, in words.
    named: &'static str,
    breaks: Vec<Break>,
    /// Pairs that are being or were compared, and in which order they came.
    seen: HashSet<Pair>,
    trail: Vec<Pair>,
    steps: usize,
}

type Members = Map<String, Value>;
type Pair = (*const Value, *const Value);

/// A schema that is an object.
#[derive(Clone, Copy)]
struct Side<'a> {
    value: &'a Value,
    members: &'a Members,
}

/// Keywords that cannot be compared unless they are equal.
const OPAQUE: [&str; 16] = [
    "not",
    "oneOf",
    "if",
    "then",
    "else",
    "contains",
    "minContains",
    "maxContains",
    "propertyNames",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "unevaluatedProperties",
    "unevaluatedItems",
    "$dynamicRef",
    "$recursiveRef",
];

impl<'a> Walk<'a> {
    fn of(writer: &'a Value, reader: &'a Value, named: &'static str) -> Self {
        Self {
            writer,
            reader,
            named,
            breaks: Vec::new(),
            seen: HashSet::new(),
            trail: Vec::new(),
            steps: 0,
        }
    }

    fn run(mut self) -> Vec<Break> {
        self.pair(self.writer, self.reader, "");
        self.breaks
    }

    fn tell(&mut self, path: &str, what: impl Into<String>) {
        if self.breaks.len() < MOST_BREAKS {
            let what: String = what.into();
            self.breaks.push(Break {
                path: path.to_owned(),
                what: what.chars().take(200).collect(),
            });
        }
    }

    fn unknown(&mut self, path: &str, keyword: &str) {
        self.tell(
            path,
            format!("unknown: `{keyword}` differs, and cannot be compared"),
        );
    }

    /// Whether everything the one allows is allowed by the other; nothing is told.
    fn fits(&mut self, writer: &'a Value, reader: &'a Value) -> bool {
        let (told, came) = (self.breaks.len(), self.trail.len());
        if told >= MOST_BREAKS {
            return false;
        }
        self.pair(writer, reader, "");
        let fits = self.breaks.len() == told;
        self.breaks.truncate(told);
        if !fits {
            // What was found on the way is not to be taken for compared.
            for pair in self.trail.drain(came..) {
                self.seen.remove(&pair);
            }
        }
        fits
    }

    fn pair(&mut self, writer: &'a Value, reader: &'a Value, path: &str) {
        self.steps += 1;
        if self.steps > MOST_STEPS {
            return self.unknown(path, "the whole part");
        }
        let writer = parts::followed(self.writer, writer);
        let reader = parts::followed(self.reader, reader);
        let pair = (std::ptr::from_ref(writer), std::ptr::from_ref(reader));
        if self.breaks.len() >= MOST_BREAKS || !self.seen.insert(pair) {
            return;
        }
        self.trail.push(pair);
        match (Side::of(writer), Side::of(reader)) {
            _ if writer == &Value::Bool(false) || reader == &Value::Bool(true) => {}
            _ if reader == &Value::Bool(false) => self.tell(path, "nothing is allowed here"),
            (Some(writer), Some(reader)) => self.sides(writer, reader, path),
            _ => self.unknown(path, "the whole part"),
        }
    }

    /// A reference beside other keywords is asked for like them. What a writer promises by one is
    /// left out: that asks for more than is needed, never for less.
    fn sides(&mut self, writer: Side<'a>, reader: Side<'a>, path: &str) {
        if let Some(reference) = reader.members.get("$ref") {
            match parts::target(self.reader, reference) {
                Some(target) => self.pair(writer.value, target, path),
                None if self.is_same("$ref", writer.members, reader.members) => {}
                None => self.unknown(path, "$ref"),
            }
        }
        self.keywords(writer, reader, path);
    }

    fn keywords(&mut self, writer: Side<'a>, reader: Side<'a>, path: &str) {
        let both = (writer.members, reader.members);
        let types = Types::of(writer.members);
        self.types(&types, both, path);
        self.choices(writer.members, reader.members, path);
        numbers::compare(self, &types, both, path);
        if types.has("string") {
            self.texts(writer.members, reader.members, path);
        }
        if types.has("object") {
            self.required(writer.members, reader.members, path);
            self.members(writer.members, reader.members, path);
        }
        if types.has("array") {
            self.items(writer.members, reader.members, path);
        }
        for keyword in OPAQUE {
            self.opaque(keyword, both, path);
        }
        self.all_of(writer, reader, path);
        self.any_of(writer, reader, path);
    }

    fn types(&mut self, types: &Types, (writer, reader): (&Members, &Members), path: &str) {
        if !reader.contains_key("type") {
            return;
        }
        let allowed = Types::of(reader);
        let values = parts::choices(writer);
        let fits = match &values {
            Some(values) => values.iter().all(|value| allowed.takes(value)),
            None => types.within(&allowed),
        };
        if !fits {
            let (was, is) = (types.words(), allowed.words());
            let named = self.named;
            self.tell(path, format!("must be {is}, where {named} allows {was}"));
        }
    }

    fn choices(&mut self, writer: &Members, reader: &Members, path: &str) {
        let Some(allowed) = parts::choices(reader) else {
            return;
        };
        let named = self.named;
        match parts::choices(writer) {
            None => self.tell(
                path,
                format!("takes only certain values, where {named} takes others"),
            ),
            Some(values) => {
                let gone = values.iter().filter(|value| !allowed.contains(value));
                for value in gone.take(5) {
                    let value: String = value.to_string().chars().take(64).collect();
                    self.tell(path, format!("no longer takes {value}, which {named} has"));
                }
            }
        }
    }

    fn texts(&mut self, writer: &Members, reader: &Members, path: &str) {
        if parts::choices(writer).is_some() && parts::choices(reader).is_some() {
            return;
        }
        for keyword in ["pattern", "format", "contentEncoding", "contentMediaType"] {
            if reader.contains_key(keyword) && writer.get(keyword) != reader.get(keyword) {
                self.unknown(path, keyword);
            }
        }
    }

    fn required(&mut self, writer: &Members, reader: &Members, path: &str) {
        let names = |members: &Members| -> Vec<String> {
            let list = members.get("required").and_then(Value::as_array);
            let names = list.into_iter().flatten().filter_map(Value::as_str);
            names.map(str::to_owned).collect()
        };
        let promised = names(writer);
        for name in names(reader) {
            if !promised.contains(&name) {
                let what = format!("is required, where {} may leave it out", self.named);
                self.tell(&parts::join(path, &name), what);
            }
        }
    }

    fn members(&mut self, writer: &'a Members, reader: &'a Members, path: &str) {
        self.patterned(writer, reader, path);
        let (sent, taken) = (parts::named(writer), parts::named(reader));
        let writes_others = writer.get("additionalProperties");
        let reads_others = reader.get("additionalProperties");
        for (name, schema) in sent {
            let path = parts::join(path, name);
            match (
                reader.get("properties").and_then(|it| it.get(name)),
                reads_others,
            ) {
                (Some(other), _) => self.pair(schema, other, &path),
                (None, _) if reader.contains_key("patternProperties") => {}
                (None, Some(Value::Bool(false))) if schema != &Value::Bool(false) => {
                    let what = format!("is not taken, where {} has it", self.named);
                    self.tell(&path, what);
                }
                (None, Some(others)) => self.pair(schema, others, &path),
                (None, None) => {}
            }
        }
        let others = writes_others.filter(|others| others.is_object());
        for (name, schema) in taken {
            let known = writer.get("properties").and_then(|it| it.get(name));
            if let (None, Some(others)) = (known, others) {
                self.pair(others, schema, &parts::join(path, name));
            }
        }
        if let Some(reads) = reads_others {
            let writes = writes_others.unwrap_or(&Value::Bool(true));
            self.pair(writes, reads, &parts::join(path, "*"));
        }
    }

    fn patterned(&mut self, writer: &Members, reader: &Members, path: &str) {
        let keyword = "patternProperties";
        let asks = reader
            .get(keyword)
            .is_some_and(|it| it != &serde_json::json!({}));
        let sends = writer
            .get(keyword)
            .is_some_and(|it| it != &serde_json::json!({}));
        let open = reader
            .get("additionalProperties")
            .is_none_or(|it| it == &Value::Bool(true));
        if (asks || (sends && !open)) && !self.is_same(keyword, writer, reader) {
            self.unknown(path, keyword);
        }
    }

    fn items(&mut self, writer: &'a Members, reader: &'a Members, path: &str) {
        if reader.get("uniqueItems") == Some(&Value::Bool(true))
            && writer.get("uniqueItems") != Some(&Value::Bool(true))
        {
            let what = format!("takes no item twice, where {} may", self.named);
            self.tell(path, what);
        }
        let (sent, taken) = (Items::of(writer), Items::of(reader));
        for place in 0..sent.first.len().max(taken.first.len()) {
            self.pair(sent.at(place), taken.at(place), &format!("{path}[{place}]"));
        }
        self.pair(sent.rest, taken.rest, &format!("{path}[]"));
    }

    /// A keyword that cannot be compared: gone, or the same, or a break.
    fn opaque(&mut self, keyword: &str, (writer, reader): (&Members, &Members), path: &str) {
        let loose = keyword == "maxContains" || keyword == "minContains";
        let asked = reader.contains_key(keyword)
            || (loose || keyword == "contains")
                && reader.contains_key("contains")
                && writer.contains_key(keyword);
        if asked && !self.is_same(keyword, writer, reader) {
            self.unknown(path, keyword);
        }
    }

    fn is_same(&self, keyword: &str, writer: &Members, reader: &Members) -> bool {
        match (writer.get(keyword), reader.get(keyword)) {
            (Some(one), Some(other)) => same(one, other, (self.writer, self.reader)),
            (one, other) => one == other,
        }
    }

    /// Each part that the reader asks for must follow from one of the writer's, or from the whole.
    fn all_of(&mut self, writer: Side<'a>, reader: Side<'a>, path: &str) {
        let promised = parts::list(writer.members, "allOf");
        for (place, asked) in parts::list(reader.members, "allOf").iter().enumerate() {
            if promised.iter().any(|part| self.fits(part, asked)) {
                continue;
            }
            match promised.get(place) {
                Some(part) => self.pair(part, asked, path),
                None => self.pair(writer.value, asked, path),
            }
        }
    }

    /// Each alternative of the writer must be taken by one of the reader's.
    fn any_of(&mut self, writer: Side<'a>, reader: Side<'a>, path: &str) {
        let taken = parts::list(reader.members, "anyOf");
        if taken.is_empty() {
            return;
        }
        let sent = parts::list(writer.members, "anyOf");
        if sent.is_empty() && !taken.iter().any(|part| self.fits(writer.value, part)) {
            self.unknown(path, "anyOf");
        }
        for (place, alternative) in sent.iter().enumerate() {
            if !taken.iter().any(|part| self.fits(alternative, part)) {
                let what = format!("alternative {} of {} is not taken", place + 1, self.named);
                self.tell(path, what);
            }
        }
    }
}

impl<'a> Side<'a> {
    /// An object, or `true` as one that asks for nothing.
    fn of(value: &'a Value) -> Option<Self> {
        let value = match value {
            Value::Bool(true) => parts::nothing(),
            value => value,
        };
        let members = value.as_object()?;
        Some(Self { value, members })
    }
}

#[cfg(test)]
mod sound;
#[cfg(test)]
mod tests;
