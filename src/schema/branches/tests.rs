//! Documents that look at one value again and again.

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
        json!({"$id": "urn:x", "not": {"$ref": "urn:x"}}),
        json!({"$id": "urn:x", "$defs": {"a": {"not": {"$ref": "urn:x#/$defs/a"}}}, "$ref": "#/$defs/a"}),
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
        json!({"not": {"$ref": "http://json-schema.org/draft-07/schema#"}}),
    ] {
        assert_eq!(look(&document), Ok(Detail::All), "{document}");
    }
}

#[test]
fn no_part_hides_behind_another_name() {
    let hidden = json!({"$defs": {"a": {"$id": "urn:a", "allOf": [{"$ref": "#"}]}}});
    assert_eq!(look(&hidden), Err(DocumentFault::Nested));
    let old = json!({
        "$schema": "http://json-schema.org/draft-04/schema#", "definitions": {"a": {"id": "#a"}},
    });
    assert_eq!(look(&old), Err(DocumentFault::Nested));
    assert!(look(&json!({"properties": {"id": {"const": {"id": "x"}}, "$id": {}}})).is_ok());
    for reference in [
        "y",
        "/y",
        "https://x.test/y2#",
        "//x.test/y",
        "other.json#/a",
    ] {
        let document = json!({"$id": "https://x.test/y", "not": {"$ref": reference}});
        let told = look(&document);
        assert_eq!(told, Err(DocumentFault::Outside(reference.to_owned())));
    }
    // Two parts of one anchor: both count.
    let twice = json!({"$ref": "#x", "$defs": {
        "a": {"$anchor": "x"}, "b": {"$anchor": "x", "not": {"$ref": "#x"}},
    }});
    assert_eq!(look(&twice), Err(DocumentFault::Branches));
}
