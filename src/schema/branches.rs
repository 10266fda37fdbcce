//! How often a schema looks at one value, before it is compiled.
//!
//! A document of a few lines can ask to check a value 2^30 times (`allOf` of two references to the
//! next of thirty parts), or for ever (a part that refers to itself). Such a document is refused.
//! One that does so only from level to level of a payload, by referring back to itself, is taken:
//! whether a payload fits is found by remembering what was seen, but its faults cannot be told one
//! by one.
//!
//! For that every reference must be followed: it is a fragment (`#…`), perhaps behind the name of the
//! document itself, or names a draft. Parts with an `$id` of their own would change what fragments
//! mean, and are refused.

use std::collections::HashMap;

use serde_json::Value;

use super::document::{DocumentFault, is_draft};

/// How many parts of a schema may look at one value.
const MOST_LOOKS: u64 = 10_000;
/// Of a schema that unfolds to more parts than this, faults are not told one by one.
const MOST_PARTS: u64 = 200_000;

/// How much of what is wrong with a payload can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// Every fault.
    All,
    /// Only that it does not fit.
    None,
}

/// The keywords whose value is a schema for the same value, or a list or a map of such.
const HERE: [&str; 9] = [
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "dependentSchemas",
    "dependencies",
];
/// The keywords that hold schemas of what lies inside, with what kind of thing they are about.
const INSIDE: [(&str, &str); 11] = [
    ("properties", "member"),
    ("patternProperties", "member"),
    ("additionalProperties", "member"),
    ("unevaluatedProperties", "member"),
    ("propertyNames", "name"),
    ("items", "item"),
    ("prefixItems", "item"),
    ("additionalItems", "item"),
    ("unevaluatedItems", "item"),
    ("contains", "item"),
    ("contentSchema", "content"),
];

#[derive(Default)]
struct Part {
    /// The parts that look at the same value.
    here: Vec<usize>,
    /// The parts that look at what lies inside, and at which of it: a kind, and a member's name.
    inside: Vec<(&'static str, String, usize)>,
}

impl Part {
    fn targets(&self) -> impl Iterator<Item = usize> {
        let inside = self.inside.iter().map(|(_, _, target)| *target);
        self.here.iter().copied().chain(inside)
    }
}

struct Graph<'a> {
    root: &'a Value,
    numbers: HashMap<*const Value, usize>,
    values: Vec<&'a Value>,
    parts: Vec<Part>,
}

/// Looks at a whole document.
///
/// # Errors
/// [`DocumentFault::Branches`].
pub(super) fn look(root: &Value) -> Result<Detail, DocumentFault> {
    check_names(root)?;
    let graph = Graph::of(root)?;
    let order = graph.order(|part| part.here.clone());
    let order = order.ok_or(DocumentFault::Branches)?;
    let looks = graph.unfold(&order, |part| part.here.clone());
    if looks.iter().any(|looks| *looks > MOST_LOOKS) {
        return Err(DocumentFault::Branches);
    }
    let all = |part: &Part| part.targets().collect::<Vec<_>>();
    if let Some(order) = graph.order(all) {
        let parts = graph.unfold(&order, all);
        let few = parts.first().is_none_or(|parts| *parts <= MOST_PARTS);
        return Ok(if few { Detail::All } else { Detail::None });
    }
    Ok(if graph.doubles() {
        Detail::None
    } else {
        Detail::All
    })
}

impl<'a> Graph<'a> {
    fn of(root: &'a Value) -> Result<Self, DocumentFault> {
        let mut graph = Self {
            root,
            numbers: HashMap::new(),
            values: Vec::new(),
            parts: Vec::new(),
        };
        graph.number(root);
        let mut next = 0;
        while next < graph.values.len() {
            graph.parts[next] = graph.part(graph.values[next])?;
            next += 1;
        }
        Ok(graph)
    }

    fn number(&mut self, value: &'a Value) -> usize {
        let fresh = self.values.len();
        let number = *self
            .numbers
            .entry(std::ptr::from_ref(value))
            .or_insert(fresh);
        if number == fresh {
            self.values.push(value);
            self.parts.push(Part::default());
        }
        number
    }

    fn part(&mut self, value: &'a Value) -> Result<Part, DocumentFault> {
        let mut part = Part::default();
        let Value::Object(members) = value else {
            return Ok(part);
        };
        for name in ["$ref", "$dynamicRef", "$recursiveRef"] {
            let Some(text) = members.get(name).and_then(Value::as_str) else {
                continue;
            };
            if is_outside(self.root, text) {
                let text = text.chars().take(100).collect();
                return Err(DocumentFault::Outside(text));
            }
            for target in targets(self.root, text) {
                part.here.push(self.number(target));
            }
        }
        for name in HERE {
            let held = members.get(name).map(|value| schemas(name, value));
            for (_, inner) in held.unwrap_or_default() {
                part.here.push(self.number(inner));
            }
        }
        for (name, kind) in INSIDE {
            let exact = name == "properties";
            let held = members.get(name).map(|value| schemas(name, value));
            for (member, inner) in held.unwrap_or_default() {
                let which = if exact { member } else { "" };
                let number = self.number(inner);
                part.inside.push((kind, which.to_owned(), number));
            }
        }
        Ok(part)
    }

    /// The parts, each after those it leads to; nothing if some lead back to themselves.
    fn order(&self, targets: impl Fn(&Part) -> Vec<usize>) -> Option<Vec<usize>> {
        let mut state = vec![0_u8; self.parts.len()];
        let mut order = Vec::new();
        for start in 0..self.parts.len() {
            if state[start] != 0 {
                continue;
            }
            let mut open = vec![(start, targets(&self.parts[start]))];
            state[start] = 1;
            while let Some((part, left)) = open.last_mut() {
                match left.pop() {
                    None => {
                        state[*part] = 2;
                        order.push(*part);
                        open.pop();
                    }
                    Some(next) if state[next] == 1 => return None,
                    Some(next) if state[next] == 0 => {
                        state[next] = 1;
                        open.push((next, targets(&self.parts[next])));
                    }
                    Some(_) => {}
                }
            }
        }
        Some(order)
    }

    /// How many parts each part leads to, counted as often as it leads there.
    fn unfold(&self, order: &[usize], targets: impl Fn(&Part) -> Vec<usize>) -> Vec<u64> {
        let mut counts = vec![0_u64; self.parts.len()];
        for part in order {
            let inner = targets(&self.parts[*part]).into_iter();
            let sum = inner.fold(1_u64, |sum, target| sum.saturating_add(counts[target]));
            counts[*part] = sum;
        }
        counts
    }

    /// Which parts lead to one that leads back to itself.
    fn endless(&self) -> Vec<bool> {
        let mut left: Vec<usize> = self
            .parts
            .iter()
            .map(|part| part.targets().count())
            .collect();
        let mut sources = vec![Vec::new(); self.parts.len()];
        for (number, part) in self.parts.iter().enumerate() {
            for target in part.targets() {
                sources[target].push(number);
            }
        }
        let mut ended: Vec<usize> = (0..left.len()).filter(|part| left[*part] == 0).collect();
        while let Some(part) = ended.pop() {
            for source in &sources[part] {
                left[*source] -= 1;
                if left[*source] == 0 {
                    ended.push(*source);
                }
            }
        }
        left.into_iter().map(|left| left > 0).collect()
    }

    /// Whether a value that leads on without end may be looked at twice by parts that look at one
    /// value. It may say yes too often.
    fn doubles(&self) -> bool {
        let endless = self.endless();
        let mut work = MOST_PARTS;
        self.parts.iter().any(|part| {
            let mut seen: Vec<(u64, &str, &str)> = Vec::new();
            let mut open = vec![part];
            while let Some(part) = open.pop() {
                open.extend(part.here.iter().map(|number| &self.parts[*number]));
                let by = work;
                for (kind, which, target) in &part.inside {
                    if !endless[*target] {
                        continue;
                    }
                    // Within one part each member is looked at once.
                    let meets = |(other_by, other_kind, other): &(u64, &str, &str)| {
                        let same = which.is_empty() || other.is_empty() || which == other;
                        by != *other_by && kind == other_kind && same
                    };
                    if seen.iter().any(meets) {
                        return true;
                    }
                    seen.push((by, kind, which));
                }
                let done = 1 + seen.len() as u64;
                if work <= done {
                    return true;
                }
                work -= done;
            }
            false
        })
    }
}

/// The schemas that a keyword's value is or holds, with their names in it.
fn schemas<'a>(keyword: &str, value: &'a Value) -> Vec<(&'a str, &'a Value)> {
    let maps = [
        "properties",
        "patternProperties",
        "dependentSchemas",
        "dependencies",
    ];
    match value {
        Value::Array(items) => items.iter().map(|item| ("", item)).collect(),
        Value::Object(members) if maps.contains(&keyword) => {
            let inner = members.iter().map(|(name, value)| (name.as_str(), value));
            inner.collect()
        }
        Value::Object(_) => vec![("", value)],
        _ => Vec::new(),
    }
}

/// Refuses parts that have names of their own.
fn check_names(root: &Value) -> Result<(), DocumentFault> {
    let draft = root.get("$schema").and_then(Value::as_str);
    let old = draft.is_some_and(|draft| draft.contains("draft-04"));
    let named = |value: &Value| {
        value.get("$id").is_some_and(Value::is_string)
            || old && value.get("id").is_some_and(Value::is_string)
    };
    let mut open: Vec<&Value> = inner(root).collect();
    while let Some(value) = open.pop() {
        if named(value) {
            return Err(DocumentFault::Nested);
        }
        open.extend(inner(value));
    }
    Ok(())
}

fn inner(value: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    match value {
        Value::Array(items) => Box::new(items.iter()),
        Value::Object(members) => Box::new(members.values()),
        _ => Box::new(std::iter::empty()),
    }
}

/// The fragment of a reference into the document.
fn fragment<'t>(root: &Value, reference: &'t str) -> Option<&'t str> {
    let own = ["$id", "id"]
        .iter()
        .find_map(|name| root.get(name)?.as_str());
    let own = own.map(|own| own.trim_end_matches('#'));
    let rest = own.and_then(|own| reference.strip_prefix(own));
    match rest.unwrap_or(reference) {
        "" => Some(""),
        rest => rest.strip_prefix('#'),
    }
}

/// Whether a reference leads out of the document; the drafts themselves are known.
fn is_outside(root: &Value, reference: &str) -> bool {
    fragment(root, reference).is_none() && !is_draft(reference)
}

/// What a reference inside the document points at.
pub(super) fn pointed<'a>(root: &'a Value, reference: &str) -> Option<&'a Value> {
    targets(root, reference).into_iter().next()
}

/// The same; several parts may have one anchor.
fn targets<'a>(root: &'a Value, reference: &str) -> Vec<&'a Value> {
    match fragment(root, reference) {
        None => Vec::new(),
        Some("") => vec![root],
        Some(pointer) if pointer.starts_with('/') => {
            root.pointer(&decoded(pointer)).into_iter().collect()
        }
        Some(anchor) => anchored(root, &decoded(anchor)),
    }
}

fn anchored<'a>(root: &'a Value, anchor: &str) -> Vec<&'a Value> {
    let mut found = Vec::new();
    let mut open = vec![root];
    while let Some(value) = open.pop() {
        let named = |key| value.get(key).and_then(Value::as_str) == Some(anchor);
        if named("$anchor") || named("$dynamicAnchor") {
            found.push(value);
        }
        open.extend(inner(value));
    }
    found
}

/// A fragment without its percent escapes.
fn decoded(fragment: &str) -> String {
    let mut bytes = Vec::with_capacity(fragment.len());
    let mut rest = fragment.as_bytes();
    while let [first, tail @ ..] = rest {
        let escape = (*first == b'%').then(|| tail.get(..2)).flatten();
        let byte = escape
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests;
