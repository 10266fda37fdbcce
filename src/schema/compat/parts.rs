//! What the comparison reads from a schema.

use serde_json::{Map, Value};
use std::sync::LazyLock;

use crate::schema::branches::pointed;

type Members = Map<String, Value>;

static NOTHING: LazyLock<Value> = LazyLock::new(|| Value::Object(Members::new()));
static ANYTHING: Value = Value::Bool(true);

/// A schema that asks for nothing.
pub(super) fn nothing() -> &'static Value {
    &NOTHING
}

const TYPES: [&str; 7] = [
    "array", "boolean", "integer", "null", "number", "object", "string",
];

/// The types that a schema allows.
pub(super) struct Types(Vec<&'static str>);

impl Types {
    pub(super) fn of(members: &Members) -> Self {
        let named = |name: &Value| {
            let name = name.as_str()?;
            TYPES.iter().copied().find(|known| *known == name)
        };
        Self(match members.get("type") {
            None => TYPES.to_vec(),
            Some(Value::Array(names)) => names.iter().filter_map(named).collect(),
            Some(name) => named(name).into_iter().collect(),
        })
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains(&name) || name == "number" && self.0.contains(&"integer")
    }

    pub(super) fn within(&self, other: &Self) -> bool {
        let taken = |name: &&str| {
            other.0.contains(name) || *name == "integer" && other.0.contains(&"number")
        };
        self.0.iter().all(taken)
    }

    pub(super) fn takes(&self, value: &Value) -> bool {
        match value {
            Value::Null => self.has("null"),
            Value::Bool(_) => self.has("boolean"),
            Value::String(_) => self.has("string"),
            Value::Array(_) => self.has("array"),
            Value::Object(_) => self.has("object"),
            Value::Number(number) => {
                let whole = number.as_f64().is_some_and(|it| it.fract() == 0.0);
                self.0.contains(&"number") || whole && self.0.contains(&"integer")
            }
        }
    }

    pub(super) fn words(&self) -> String {
        if self.0.len() == TYPES.len() {
            return "any type".to_owned();
        }
        self.0.join(" or ")
    }
}

/// The values that a schema takes, where they are listed.
pub(super) fn choices(members: &Members) -> Option<Vec<&Value>> {
    if let Some(value) = members.get("const") {
        return Some(vec![value]);
    }
    Some(members.get("enum")?.as_array()?.iter().collect())
}

/// The members that a schema names.
pub(super) fn named(members: &Members) -> impl Iterator<Item = (&String, &Value)> {
    let named = members.get("properties").and_then(Value::as_object);
    named.into_iter().flatten()
}

/// The schemas in a list.
pub(super) fn list<'a>(members: &'a Members, keyword: &str) -> &'a [Value] {
    let list = members.get(keyword).and_then(Value::as_array);
    list.map_or(&[], Vec::as_slice)
}

/// What is asked of the items of an array.
pub(super) struct Items<'a> {
    /// Of the first ones, each.
    pub(super) first: &'a [Value],
    /// Of all others.
    pub(super) rest: &'a Value,
}

impl<'a> Items<'a> {
    pub(super) fn of(members: &'a Members) -> Self {
        let any = |keyword: &str| members.get(keyword).unwrap_or(&ANYTHING);
        if members.contains_key("prefixItems") {
            return Self {
                first: list(members, "prefixItems"),
                rest: any("items"),
            };
        }
        match members.get("items") {
            Some(Value::Array(first)) => Self {
                first,
                rest: any("additionalItems"),
            },
            Some(rest) => Self { first: &[], rest },
            None => Self {
                first: &[],
                rest: &ANYTHING,
            },
        }
    }

    pub(super) fn at(&self, place: usize) -> &'a Value {
        self.first.get(place).unwrap_or(self.rest)
    }
}

/// What a reference in a document leads to, if that is in the document.
pub(super) fn target<'a>(root: &'a Value, reference: &Value) -> Option<&'a Value> {
    pointed(root, reference.as_str()?)
}

/// Words about a schema that ask for nothing.
const NOTES: [&str; 16] = [
    "$ref",
    "$id",
    "id",
    "$schema",
    "$comment",
    "$defs",
    "definitions",
    "$anchor",
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "x-amtp-schema",
];

/// Whether a schema asks for nothing beside its reference.
fn is_bare(members: &Members) -> bool {
    members
        .keys()
        .all(|key| NOTES.contains(&key.as_str()) || key.starts_with("x-"))
}

/// How many references in a row are followed.
const MOST_HOPS: usize = 64;

/// A schema, or what it refers to where it does nothing else.
pub(super) fn followed<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let mut at = schema;
    for _ in 0..MOST_HOPS {
        let reference = match at {
            Value::Object(members) if is_bare(members) => members.get("$ref"),
            _ => None,
        };
        match reference.and_then(|reference| target(root, reference)) {
            Some(next) => at = next,
            None => return at,
        }
    }
    at
}

/// Whether two parts say the same. What they refer to must be the same as well.
pub(super) fn same(one: &Value, other: &Value, roots: (&Value, &Value)) -> bool {
    one == other && (!refers(one) || definitions_equal(roots))
}

fn definitions_equal((one, other): (&Value, &Value)) -> bool {
    let kept = |key: &&str| one.get(key) == other.get(key);
    one == other || (["$defs", "definitions"].iter().all(kept) && only_to_definitions(one))
}

/// Whether every reference of a document leads into its definitions.
fn only_to_definitions(root: &Value) -> bool {
    let mut open = vec![root];
    while let Some(value) = open.pop() {
        match value {
            Value::Object(members) => {
                let inside =
                    |text: &str| text.starts_with("#/$defs/") || text.starts_with("#/definitions/");
                let reference = members.get("$ref").and_then(Value::as_str);
                if reference.is_some_and(|text| !inside(text))
                    || members.contains_key("$dynamicRef")
                {
                    return false;
                }
                open.extend(members.values());
            }
            Value::Array(items) => open.extend(items),
            _ => {}
        }
    }
    true
}

fn refers(value: &Value) -> bool {
    let names = ["$ref", "$dynamicRef", "$recursiveRef"];
    match value {
        Value::Object(members) => {
            names.iter().any(|name| members.contains_key(*name)) || members.values().any(refers)
        }
        Value::Array(items) => items.iter().any(refers),
        _ => false,
    }
}

/// A path with one more member.
pub(super) fn join(path: &str, name: &str) -> String {
    let name: String = name.chars().take(64).collect();
    match path {
        "" => name,
        path => format!("{path}.{name}"),
    }
}
