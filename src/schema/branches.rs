//! How often a schema looks at one value, before it is compiled.
//!
//! A document of a few lines can ask to check a value 2^30 times (`allOf` of two references to the
//! next of thirty parts), or for ever (a part that refers to itself). Such a document is refused.
//! One that does so only from level to level of a payload, by referring back to itself, is taken:
//! whether a payload fits is found by remembering what was seen, but its faults cannot be told one
//! by one.

use std::collections::HashMap;

use serde_json::Value;

use super::document::DocumentFault;

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
    let graph = Graph::of(root);
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
    fn of(root: &'a Value) -> Self {
        let mut graph = Self {
            root,
            numbers: HashMap::new(),
            values: Vec::new(),
            parts: Vec::new(),
        };
        graph.number(root);
        let mut next = 0;
        while next < graph.values.len() {
            graph.parts[next] = graph.part(graph.values[next]);
            next += 1;
        }
        graph
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

    fn part(&mut self, value: &'a Value) -> Part {
        let mut part = Part::default();
        let Value::Object(members) = value else {
            return part;
        };
        for name in ["$ref", "$dynamicRef", "$recursiveRef"] {
            let target = members.get(name).and_then(Value::as_str);
            if let Some(target) = target.and_then(|text| pointed(self.root, text)) {
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
        part
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

/// What a reference inside the document points at.
pub(super) fn pointed<'a>(root: &'a Value, reference: &str) -> Option<&'a Value> {
    match reference.strip_prefix('#')? {
        "" => Some(root),
        pointer if pointer.starts_with('/') => root.pointer(&decoded(pointer)),
        anchor => anchored(root, anchor),
    }
}

fn anchored<'a>(root: &'a Value, anchor: &str) -> Option<&'a Value> {
    let mut open = vec![root];
    while let Some(value) = open.pop() {
        let named = |key| value.get(key).and_then(Value::as_str) == Some(anchor);
        if named("$anchor") || named("$dynamicAnchor") {
            return Some(value);
        }
        match value {
            Value::Array(items) => open.extend(items),
            Value::Object(members) => open.extend(members.values()),
            _ => {}
        }
    }
    None
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
mod tests {
    use super::*;
    use serde_json::json;

    fn chain(inner: impl Fn(&str) -> Value, length: usize) -> Value {
        let mut parts = serde_json::Map::new();
        for number in 0..length {
            let next = format!("#/$defs/p{}", number + 1);
            parts.insert(format!("p{number}"), inner(&next));
        }
        parts.insert(format!("p{length}"), json!({"type": "string"}));
        json!({"$ref": "#/$defs/p0", "$defs": parts})
    }

    #[test]
    fn a_value_that_would_be_looked_at_too_often_is_found() {
        let twice = |next: &str| json!({"allOf": [{"$ref": next}, {"$ref": next}]});
        assert_eq!(look(&chain(twice, 5)), Ok(Detail::All));
        assert_eq!(look(&chain(twice, 40)), Err(DocumentFault::Branches));
        for document in [
            json!({"$ref": "#"}),
            json!({"anyOf": [{"type": "string"}, {"not": {"$ref": "#"}}]}),
            json!({"$defs": {"a": {"$ref": "#/$defs/a%20b"}, "a b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}),
            json!({"$defs": {"a": {"$anchor": "x", "if": {"$ref": "#x"}}}, "$ref": "#x"}),
        ] {
            assert_eq!(look(&document), Err(DocumentFault::Branches), "{document}");
        }
    }

    #[test]
    fn what_doubles_from_level_to_level_is_told_as_a_whole() {
        let deeper = |next: &str| {
            let inner = json!({"properties": {"a": {"$ref": next}}});
            json!({"allOf": [inner.clone(), inner]})
        };
        assert_eq!(look(&chain(deeper, 5)), Ok(Detail::All));
        assert_eq!(look(&chain(deeper, 40)), Ok(Detail::None));
        let again = json!({"allOf": [
            {"properties": {"a": {"$ref": "#"}}},
            {"additionalProperties": {"$ref": "#"}},
        ]});
        assert_eq!(look(&again), Ok(Detail::None));
    }

    #[test]
    fn trees_and_lists_of_themselves_are_told_in_full() {
        for document in [
            json!({"properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}}}),
            json!({"items": {"$ref": "#"}, "additionalProperties": {"$ref": "#"}}),
            json!({"anyOf": [
                {"properties": {"op": {"const": "and"}, "all": {"items": {"$ref": "#"}}}},
                {"properties": {"op": {"const": "is"}, "value": {"type": "string"}}},
            ]}),
            json!(true),
            json!({"$ref": "https://elsewhere.test/x"}),
        ] {
            assert_eq!(look(&document), Ok(Detail::All), "{document}");
        }
    }
}
