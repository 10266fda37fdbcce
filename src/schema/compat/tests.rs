//! Pairs of versions, and the breaks between them.

use serde_json::json;

use super::*;

/// The paths of the breaks, and the words they begin with.
fn breaks(old: &Value, new: &Value, mode: Mode) -> Vec<(String, String)> {
    let found = compare(old, new, mode);
    found.into_iter().map(|it| (it.path, it.what)).collect()
}

fn order() -> Value {
    json!({
        "type": "object",
        "required": ["id"],
        "properties": {
            "id": {"type": "string", "maxLength": 20},
            "kind": {"enum": ["a", "b"]},
            "items": {"type": "array", "items": {"$ref": "#/$defs/item"}},
        },
        "$defs": {"item": {
            "type": "object",
            "properties": {"price": {"type": "number", "minimum": 0}, "note": {"type": "string"}},
        }},
    })
}

/// The order with what `change` does.
fn changed(change: impl FnOnce(&mut Value)) -> Value {
    let mut order = order();
    change(&mut order);
    order
}

#[test]
fn a_version_goes_with_itself() {
    for mode in [Mode::Backward, Mode::Forward, Mode::Full] {
        assert_eq!(compare(&order(), &order(), mode), []);
    }
    let full = json!({
        "not": {"const": 1}, "oneOf": [true, false], "if": {"type": "string"}, "then": {"minLength": 1},
        "contains": {"type": "string"}, "minContains": 1, "patternProperties": {"^x": {"type": "null"}},
        "additionalProperties": {"type": "string"}, "propertyNames": {"maxLength": 3},
        "dependentRequired": {"a": ["b"]}, "allOf": [{"required": ["a"]}, {"$ref": "#/$defs/x"}],
        "anyOf": [{"type": "object"}, {"type": "array"}], "unevaluatedProperties": false,
        "multipleOf": 0.5, "exclusiveMaximum": 9, "pattern": "x", "uniqueItems": true,
        "prefixItems": [{"type": "string"}], "items": false, "$defs": {"x": {"minItems": 1}},
    });
    assert_eq!(compare(&full, &full, Mode::Full), []);
}

type Change = fn(&mut Value);

/// What is done to the order, where that breaks, and the words the break begins with.
const NARROWER: [(Change, &str, &str); 18] = [
    (
        |it| it["required"] = json!(["id", "kind"]),
        "kind",
        "is required",
    ),
    (
        |it| it["additionalProperties"] = json!(false),
        "*",
        "nothing is allowed",
    ),
    (
        |it| it["$defs"]["item"]["properties"]["price"]["type"] = json!("integer"),
        "items[].price",
        "must be integer",
    ),
    (
        |it| it["properties"]["id"]["maxLength"] = json!(10),
        "id",
        "has a narrower `maxLength`",
    ),
    (
        |it| it["properties"]["id"]["minLength"] = json!(1),
        "id",
        "has a bound, `minLength`",
    ),
    (
        |it| it["properties"]["id"]["pattern"] = json!("^x"),
        "id",
        "unknown: `pattern`",
    ),
    (
        |it| it["properties"]["id"]["format"] = json!("uuid"),
        "id",
        "unknown: `format`",
    ),
    (
        |it| it["properties"]["kind"]["enum"] = json!(["a"]),
        "kind",
        "no longer takes \"b\"",
    ),
    (
        |it| it["properties"]["kind"] = json!({"const": "a"}),
        "kind",
        "no longer takes \"b\"",
    ),
    (
        |it| it["properties"]["items"]["maxItems"] = json!(3),
        "items",
        "has a bound",
    ),
    (
        |it| it["properties"]["items"]["uniqueItems"] = json!(true),
        "items",
        "takes no item twice",
    ),
    (
        |it| it["$defs"]["item"]["required"] = json!(["price"]),
        "items[].price",
        "is required",
    ),
    (
        |it| it["$defs"]["item"]["properties"]["price"]["minimum"] = json!(1),
        "items[].price",
        "has a narrower",
    ),
    (
        |it| it["$defs"]["item"]["properties"]["price"]["exclusiveMinimum"] = json!(0),
        "items[].price",
        "has a narrower",
    ),
    (
        |it| it["$defs"]["item"]["properties"]["price"]["multipleOf"] = json!(0.01),
        "items[].price",
        "must be a multiple",
    ),
    (
        |it| it["$defs"]["item"]["properties"]["note"] = json!(false),
        "items[].note",
        "nothing is allowed",
    ),
    (
        |it| it["not"] = json!({"required": ["kind"]}),
        "",
        "unknown: `not`",
    ),
    (
        |it| it["oneOf"] = json!([{"required": ["kind"]}, {"required": ["items"]}]),
        "",
        "unknown: `oneOf`",
    ),
];

#[test]
fn what_breaks_the_old_writers_is_named_by_its_path() {
    for (change, path, begins) in NARROWER {
        let new = changed(change);
        let found = breaks(&order(), &new, Mode::Backward);
        assert!(
            found.len() == 1 && found[0].0 == path && found[0].1.starts_with(begins),
            "{path} {begins}: {found:?}"
        );
        // The other way round all of these are fine for new writers.
        assert_eq!(
            breaks(&new, &order(), Mode::Backward),
            [],
            "{path} {begins}"
        );
        assert_eq!(breaks(&order(), &new, Mode::Forward), [], "{path} {begins}");
        assert_eq!(
            breaks(&order(), &new, Mode::Full).len(),
            1,
            "{path} {begins}"
        );
    }
}

#[test]
fn a_removed_member_breaks_where_no_others_are_taken() {
    let closed = |mut schema: Value| {
        schema["additionalProperties"] = json!(false);
        schema
    };
    let without = changed(|it| {
        it["properties"].as_object_mut().unwrap().remove("kind");
    });
    assert_eq!(breaks(&order(), &without, Mode::Full), []);
    let found = breaks(&closed(order()), &closed(without.clone()), Mode::Backward);
    assert_eq!(
        found,
        [(
            "kind".to_owned(),
            "is not taken, where the old version has it".to_owned()
        )]
    );
    // An added one breaks the old readers in the same way.
    let found = breaks(&closed(without.clone()), &closed(order()), Mode::Forward);
    assert_eq!(
        found,
        [(
            "kind".to_owned(),
            "is not taken, where the new version has it".to_owned()
        )]
    );
    assert_eq!(
        breaks(&closed(without), &closed(order()), Mode::Backward),
        []
    );
}

#[test]
fn wider_versions_go_with_old_writers() {
    let table = [
        (
            json!({"type": "integer"}),
            json!({"type": ["number", "string"]}),
        ),
        (json!({"enum": [1, 2]}), json!({"enum": [1, 2, 3]})),
        (
            json!({"enum": [1, "x"]}),
            json!({"type": ["integer", "string"]}),
        ),
        (json!({"minimum": 5}), json!({"exclusiveMinimum": 4})),
        (json!({"exclusiveMinimum": 4}), json!({"minimum": 4})),
        (
            json!({"maximum": 4, "exclusiveMaximum": true}),
            json!({"exclusiveMaximum": 4}),
        ),
        (json!({"multipleOf": 6}), json!({"multipleOf": 3})),
        (json!({"type": "string"}), json!({"maximum": 3})),
        (
            json!({"allOf": [{"minLength": 3}, {"maxLength": 9}]}),
            json!({"allOf": [{"maxLength": 9}, {"minLength": 2}]}),
        ),
        (
            json!({"minLength": 3}),
            json!({"allOf": [{"minLength": 2}]}),
        ),
        (
            json!({"anyOf": [{"type": "string"}]}),
            json!({"anyOf": [{"type": "null"}, {"type": "string"}]}),
        ),
        (
            json!({"type": "string"}),
            json!({"anyOf": [{"type": "null"}, {"type": "string"}]}),
        ),
        (
            json!({"prefixItems": [{"type": "string"}]}),
            json!({"items": [{"type": ["string", "null"]}]}),
        ),
        (
            json!({"type": "string", "not": {"const": "x"}}),
            json!({"type": "string"}),
        ),
        (
            json!({"$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}}),
            json!({"type": "string"}),
        ),
        (json!(false), json!({"type": "string"})),
        (json!({"type": "string"}), json!(true)),
        (
            json!({"additionalProperties": {"type": "integer"}}),
            json!({"properties": {"a": {"type": "number"}}}),
        ),
    ];
    for (old, new) in table {
        assert_eq!(breaks(&old, &new, Mode::Backward), [], "{old} {new}");
    }
}

/// Old and new versions, and where they break.
fn narrower() -> Vec<(Value, Value, &'static str)> {
    vec![
        (json!({"type": "number"}), json!({"type": "integer"}), ""),
        (json!({"enum": [1, "x"]}), json!({"type": "integer"}), ""),
        (json!({"type": "string"}), json!({"enum": ["x"]}), ""),
        (json!({"minimum": 4}), json!({"exclusiveMinimum": 4}), ""),
        (
            json!({"minimum": 4}),
            json!({"minimum": 4, "exclusiveMinimum": true}),
            "",
        ),
        (json!({"multipleOf": 3}), json!({"multipleOf": 6}), ""),
        (
            json!({"anyOf": [{"type": "string"}, {"type": "null"}]}),
            json!({"anyOf": [{"type": "string"}]}),
            "",
        ),
        (
            json!({"type": ["string", "null"]}),
            json!({"anyOf": [{"type": "null"}, {"type": "string"}]}),
            "",
        ),
        (
            json!({"allOf": [{"minLength": 1}]}),
            json!({"allOf": [{"minLength": 2}]}),
            "",
        ),
        (
            json!({"prefixItems": [{"type": "string"}]}),
            json!({"prefixItems": [{"type": "null"}]}),
            "[0]",
        ),
        (
            json!({"items": {"type": "string"}}),
            json!({"items": {"type": "string"}, "prefixItems": [false]}),
            "[0]",
        ),
        (
            json!({"patternProperties": {"^a": {"type": "string"}}}),
            json!({"patternProperties": {"^a": {"type": "null"}}}),
            "",
        ),
        (
            json!({"additionalProperties": {"type": "string"}}),
            json!({"properties": {"a": {"type": "null"}}}),
            "a",
        ),
        (
            json!({"additionalProperties": true}),
            json!({"additionalProperties": {"type": "null"}}),
            "*",
        ),
        (
            json!({"properties": {"a": {"type": "string"}}}),
            json!({"additionalProperties": {"type": "string"}}),
            "*",
        ),
        (
            json!({"if": {"const": 1}, "then": {"type": "string"}}),
            json!({"if": {"const": 2}, "then": {"type": "string"}}),
            "",
        ),
        (json!(true), json!({"type": "string"}), ""),
        (json!({}), json!(false), ""),
        (
            json!({"type": "string"}),
            json!({"type": "string", "$ref": "#/$defs/a", "$defs": {"a": {"minLength": 2}}}),
            "",
        ),
        (
            json!({"not": {"$ref": "#/$defs/a"}, "$defs": {"a": {"type": "string"}}}),
            json!({"not": {"$ref": "#/$defs/a"}, "$defs": {"a": {"type": "null"}}}),
            "",
        ),
    ]
}

#[test]
fn narrower_versions_do_not() {
    for (old, new, path) in narrower() {
        let found = breaks(&old, &new, Mode::Backward);
        assert!(
            !found.is_empty() && found[0].0 == path,
            "{old} {new}: {found:?}"
        );
    }
}

#[test]
fn documents_that_refer_to_themselves_are_compared_and_end() {
    let tree = |leaf: &str| {
        json!({"properties": {
            "leaf": {"type": leaf}, "left": {"$ref": "#"}, "right": {"$ref": "#"},
        }})
    };
    assert_eq!(breaks(&tree("string"), &tree("string"), Mode::Full), []);
    let found = breaks(&tree("string"), &tree("null"), Mode::Backward);
    assert!(found.iter().any(|(path, _)| path == "leaf"), "{found:?}");
    let endless = json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}});
    assert!(compare(&endless, &tree("string"), Mode::Full).len() <= 50);
}

#[test]
fn much_to_compare_ends_and_says_so() {
    let wide = |name: &str| {
        let alternatives: Vec<Value> = (0..400)
            .map(|number| json!({"properties": {name: {"const": number}}, "required": [name]}))
            .collect();
        json!({"anyOf": alternatives})
    };
    assert!(compare(&wide("a"), &wide("b"), Mode::Full).len() <= 50);
    let many: Map<String, Value> = (0..200)
        .map(|number| (format!("m{number}"), json!({"type": "string"})))
        .collect();
    let other: Map<String, Value> = many.keys().map(|key| (key.clone(), json!(false))).collect();
    let found = compare(
        &json!({"properties": many}),
        &json!({"properties": other}),
        Mode::Backward,
    );
    assert_eq!(found.len(), 50);
}
