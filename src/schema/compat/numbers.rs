//! Bounds: of numbers, lengths and counts.

use serde_json::{Map, Value};

use super::Walk;
use super::parts::{Types, choices};

type Members = Map<String, Value>;

/// Keywords of a least and a most, and what they are about.
const COUNTS: [(&str, &str, &str); 3] = [
    ("minLength", "maxLength", "string"),
    ("minItems", "maxItems", "array"),
    ("minProperties", "maxProperties", "object"),
];

/// Tells where the reader's bounds are narrower than the writer's.
pub(super) fn compare(
    walk: &mut Walk<'_>,
    types: &Types,
    (writer, reader): (&Members, &Members),
    path: &str,
) {
    if choices(writer).is_some() && choices(reader).is_some() {
        return;
    }
    for (least, most, about) in COUNTS {
        if types.has(about) {
            narrower(walk, least, (writer, reader, path), |it| {
                Some((number(it, least).filter(|it| *it > 0.0)?, false))
            });
            narrower(walk, most, (writer, reader, path), |it| {
                Some((-number(it, most)?, false))
            });
        }
    }
    if types.has("number") {
        narrower(walk, "minimum", (writer, reader, path), |it| {
            bound(it, "minimum", "exclusiveMinimum", 1.0)
        });
        narrower(walk, "maximum", (writer, reader, path), |it| {
            bound(it, "maximum", "exclusiveMaximum", -1.0)
        });
        multiples(walk, (writer, reader, path));
    }
}

/// A bound as a least: the higher, the narrower; at the same height the one that leaves it out.
type Bound = Option<(f64, bool)>;

fn narrower(
    walk: &mut Walk<'_>,
    keyword: &str,
    (writer, reader, path): (&Members, &Members, &str),
    read: impl Fn(&Members) -> Bound,
) {
    let Some((asked, open)) = read(reader) else {
        return;
    };
    let promised = read(writer);
    let kept = promised.is_some_and(|(height, leaves_out)| {
        height > asked || (height - asked).abs() < f64::EPSILON && (leaves_out || !open)
    });
    if !kept {
        let what = match promised {
            None => format!("has a bound, `{keyword}`, where {} has none", walk.named),
            Some(_) => format!("has a narrower `{keyword}` than {}", walk.named),
        };
        walk.tell(path, what);
    }
}

fn number(members: &Members, keyword: &str) -> Option<f64> {
    members.get(keyword)?.as_f64()
}

/// The bound of both its keywords; `exclusive…` is a number, or in draft 4 a mark of the other.
fn bound(members: &Members, keyword: &str, exclusive: &str, sign: f64) -> Bound {
    let marked = members.get(exclusive) == Some(&Value::Bool(true));
    let plain = number(members, keyword).map(|it| (it * sign, marked));
    let open = number(members, exclusive).map(|it| (it * sign, true));
    match (plain, open) {
        (Some(plain), Some(open)) if plain.0 > open.0 => Some(plain),
        (plain, open) => open.or(plain),
    }
}

fn multiples(walk: &mut Walk<'_>, (writer, reader, path): (&Members, &Members, &str)) {
    let Some(asked) = number(reader, "multipleOf") else {
        return;
    };
    let fits = number(writer, "multipleOf").is_some_and(|promised| {
        let times = promised / asked;
        (times - times.round()).abs() < 1e-9 && times.round() >= 1.0
    });
    let whole = writer.get("type") == Some(&Value::from("integer"));
    if !(fits || whole && (asked - 1.0).abs() < f64::EPSILON) {
        let what = format!(
            "must be a multiple of {asked}, where {} need not",
            walk.named
        );
        walk.tell(path, what);
    }
}
