//! What is said to go together does: random pairs of versions, held against random payloads.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Mode, compare};
use crate::schema::{Document, check};

/// Schemas that name every member a payload may have, or say of others that there are none.
fn schema() -> impl Strategy<Value = Value> {
    let number = -2..6_i64;
    let leaf = prop_oneof![
        Just(json!({})),
        any::<bool>().prop_map(Value::Bool),
        prop::sample::subsequence(
            vec!["null", "integer", "number", "string", "array", "object"],
            1..4
        )
        .prop_map(|types| json!({ "type": types })),
        prop::sample::subsequence(vec![json!(1), json!("x"), json!(null), json!([])], 1..3)
            .prop_map(|values| json!({ "enum": values })),
        number.clone().prop_map(|least| json!({ "minimum": least })),
        number
            .clone()
            .prop_map(|most| json!({ "exclusiveMaximum": most })),
        (1..4_i64).prop_map(|step| json!({ "multipleOf": step })),
        (0..3_i64).prop_map(|least| json!({ "type": "string", "minLength": least })),
        (0..3_i64).prop_map(|most| json!({ "maxItems": most, "minProperties": most })),
    ];
    leaf.prop_recursive(3, 24, 3, |inner| {
        let two = (inner.clone(), inner.clone());
        let members = (two.clone(), any::<bool>(), any::<bool>(), inner.clone());
        prop_oneof![
            members.prop_map(|((a, b), required, closed, others)| {
                let required: &[&str] = if required { &["a"] } else { &[] };
                let others = if closed { json!(false) } else { others };
                json!({
                    "properties": {"a": a, "b": b}, "required": required,
                    "additionalProperties": others,
                })
            }),
            inner.clone().prop_map(|items| json!({ "items": items })),
            two.clone()
                .prop_map(|(first, rest)| json!({ "prefixItems": [first], "items": rest })),
            two.clone()
                .prop_map(|(one, other)| json!({ "anyOf": [one, other] })),
            two.clone()
                .prop_map(|(one, other)| json!({ "allOf": [one, other] })),
            two.prop_map(|(one, not)| json!({ "allOf": [one], "not": not })),
        ]
    })
}

fn payload() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        (-3..7_i64).prop_map(|number| json!(number)),
        Just(json!(1.5)),
        prop::sample::select(vec!["", "x", "xyz"]).prop_map(|text| json!(text)),
    ];
    leaf.prop_recursive(3, 16, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
            prop::collection::hash_map(prop::sample::select(vec!["a", "b"]), inner, 0..3)
                .prop_map(|members| json!(members)),
        ]
    })
}

fn fits(schema: &Value, payload: &Value) -> bool {
    let document = Document::read(schema.to_string().as_bytes()).unwrap();
    check(&document, &payload.to_string()).unwrap().is_empty()
}

/// A schema under which no object has a member that nothing names: that a version may name one
/// later, and say what it is, is no break.
fn closed(schema: &Value) -> Value {
    let Value::Object(members) = schema else {
        return schema.clone();
    };
    let mut members: serde_json::Map<String, Value> = members
        .iter()
        .map(|(keyword, value)| {
            let value = match (keyword.as_str(), value) {
                ("properties", Value::Object(inner)) => {
                    let inner = inner.iter().map(|(name, it)| (name.clone(), closed(it)));
                    Value::Object(inner.collect())
                }
                ("items" | "additionalProperties" | "not", it) => closed(it),
                ("anyOf" | "allOf" | "prefixItems", Value::Array(inner)) => {
                    inner.iter().map(closed).collect()
                }
                (_, other) => other.clone(),
            };
            (keyword.clone(), value)
        })
        .collect();
    members
        .entry("additionalProperties")
        .or_insert(Value::Bool(false));
    Value::Object(members)
}

/// A second version that is near the first, so that some go together.
fn pair() -> impl Strategy<Value = (Value, Value)> {
    prop_oneof![
        (schema(), schema()),
        (schema(), schema()).prop_map(|(one, other)| (one.clone(), json!({"anyOf": [other, one]}))),
        (schema(), schema()).prop_map(|(one, other)| (
            json!({"allOf": [other, one.clone()]}),
            json!({"allOf": [one]})
        )),
        schema().prop_map(|one| (one.clone(), one)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn what_goes_together_is_understood(
        (old, new) in pair(),
        payloads in prop::collection::vec(payload(), 12),
    ) {
        if compare(&old, &new, Mode::Backward).is_empty() {
            let named = closed(&old);
            for payload in payloads.into_iter().filter(|payload| fits(&named, payload)) {
                prop_assert!(!fits(&old, &payload) || fits(&new, &payload), "{old} {new} {payload}");
            }
        }
    }

    #[test]
    fn a_version_always_goes_with_itself(one in schema()) {
        prop_assert_eq!(compare(&one, &one, Mode::Full), []);
    }
}
