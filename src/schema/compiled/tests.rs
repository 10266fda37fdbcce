//! Drafts, references that lead outside, patterns, paths and the words of faults.

use serde_json::json;

use super::*;

fn compile(document: &Value) -> Result<Compiled, DocumentFault> {
    Compiled::of(&Document::read(document.to_string().as_bytes()).unwrap())
}

fn faults(document: &Value, payload: &str) -> Vec<(String, String)> {
    let faults = compile(document).unwrap().faults(payload);
    faults.into_iter().map(|it| (it.path, it.error)).collect()
}

#[test]
fn nothing_outside_the_document_is_ever_fetched() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let at = listener.local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("s.json");
    std::fs::write(&file, "true").unwrap();
    for reference in [
        format!("http://{at}/s.json"),
        format!("https://{at}/s.json"),
        format!("file://{}", file.display()),
        file.display().to_string(),
        "urn:example:other".to_owned(),
        "agntcy:commerce.order.v1".to_owned(),
    ] {
        for keyword in ["$ref", "$dynamicRef"] {
            let document = json!({"properties": {"a": {keyword: reference}}});
            let fault = compile(&document).unwrap_err();
            let outside = matches!(fault, DocumentFault::Outside(_));
            assert!(outside, "{reference}: {fault}");
            // Nor would the crate fetch it.
            let fault = validator(&document).unwrap_err();
            let refused = matches!(fault, DocumentFault::Rules(_));
            assert!(refused, "{reference}: {fault}");
        }
        // A relative reference is one to the place that the document says it is at.
        let document = json!({"$id": reference, "properties": {"a": {"$ref": "/other.json"}}});
        assert!(compile(&document).is_err(), "{reference}");
    }
    let asked = listener.accept().unwrap_err();
    assert_eq!(asked.kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn references_inside_the_document_work_whatever_it_is_called() {
    for id in ["agntcy:commerce.order.v1", "urn:x:y", "https://x.test/y"] {
        let document = json!({
            "$id": id, "$defs": {"n": {"type": "number"}},
            "properties": {"a": {"$ref": "#/$defs/n"}},
        });
        assert_eq!(faults(&document, r#"{"a": 1}"#), []);
        assert_eq!(faults(&document, r#"{"a": "x"}"#).len(), 1, "{id}");
    }
}

#[test]
fn every_draft_is_known_by_what_it_alone_does() {
    let table = [
        (
            "http://json-schema.org/draft-04/schema#",
            json!({"minimum": 1, "exclusiveMinimum": true}),
            "1",
        ),
        (
            "http://json-schema.org/draft-06/schema#",
            json!({"const": 2}),
            "1",
        ),
        (
            "http://json-schema.org/draft-07/schema#",
            json!({"if": true, "then": false}),
            "1",
        ),
        (
            "https://json-schema.org/draft/2019-09/schema",
            json!({"dependentRequired": {"a": ["b"]}}),
            r#"{"a":1}"#,
        ),
        (
            "https://json-schema.org/draft/2020-12/schema",
            json!({"prefixItems": [false]}),
            "[1]",
        ),
    ];
    for (draft, mut document, refused) in table {
        document["$schema"] = json!(draft);
        assert_eq!(faults(&document, refused).len(), 1, "{draft}");
        assert_eq!(
            faults(&document, "\"other\"").is_empty(),
            draft != "http://json-schema.org/draft-06/schema#"
                && draft != "http://json-schema.org/draft-07/schema#"
        );
    }
}

#[test]
fn a_pattern_takes_linear_time_and_bounded_room() {
    let document = json!({"pattern": "^(a+)+$", "x": "(([a-z])+.)+[A-Z]([a-z])+$"});
    let payload = format!("\"{}!\"", "a".repeat(100_000));
    assert_eq!(faults(&document, &payload).len(), 1);
    let nested = json!({"pattern": "(x+x+)+y"});
    assert_eq!(
        faults(&nested, &format!("\"{}\"", "x".repeat(100_000))).len(),
        1
    );
    for pattern in [
        "(?=a)b",
        "(a)\\1",
        "(?<!a)b",
        "(",
        "(?:(?:a{1000}){1000}){1000}",
    ] {
        let fault = compile(&json!({"pattern": pattern})).unwrap_err();
        assert!(
            matches!(fault, DocumentFault::Rules(_)),
            "{pattern}: {fault}"
        );
    }
}

#[test]
fn a_fault_has_its_path_and_its_words() {
    let order = json!({
        "type": "object",
        "properties": {"order": {
            "required": ["id"],
            "additionalProperties": false,
            "properties": {
                "id": {"type": "string", "maxLength": 3, "pattern": "^[a-z]+$"},
                "kind": {"enum": ["a", "b"]},
                "items": {"type": "array", "maxItems": 2, "items": {
                    "properties": {"price": {"type": "number", "minimum": 0}},
                }},
            },
        }},
    });
    let table = [
        (
            r#"{"order":{"id":"x","items":[{"price":"1"}]}}"#,
            "order.items[0].price",
            "is of the wrong type",
        ),
        (
            r#"{"order":{"id":"x","items":[{},{"price":-1}]}}"#,
            "order.items[1].price",
            "must be at least 0",
        ),
        (r#"{"order":{}}"#, "order.id", "is missing"),
        (
            r#"{"order":{"id":"x","more":1}}"#,
            "order.more",
            "is not a member of it",
        ),
        (
            r#"{"order":{"id":"x","kind":"c"}}"#,
            "order.kind",
            r#"must be one of ["a","b"]"#,
        ),
        (
            r#"{"order":{"id":"X"}}"#,
            "order.id",
            r#"does not match "^[a-z]+$""#,
        ),
        (
            r#"{"order":{"id":"abcd"}}"#,
            "order.id",
            "is longer than 3 characters",
        ),
        (
            r#"{"order":{"id":"x","items":[1,2,3]}}"#,
            "order.items",
            "has more than 2 items",
        ),
        ("[]", "", "is of the wrong type"),
    ];
    for (payload, path, error) in table {
        assert_eq!(
            faults(&order, payload),
            [(path.to_owned(), error.to_owned())],
            "{payload}"
        );
    }
    let pointer = json!({"properties": {"a/b": {"properties": {"0": {"type": "null"}}}}});
    assert_eq!(faults(&pointer, r#"{"a/b":{"0":1}}"#)[0].0, "a/b.0");
}

#[test]
fn faults_are_few_and_short_and_show_no_payload() {
    let document =
        json!({"items": {"type": "string", "format": "date"}, "additionalProperties": false});
    assert_eq!(
        faults(&document, &format!("[{}1]", "1,".repeat(5_000))).len(),
        MOST_FAULTS
    );
    let large = format!("[{}1]", "1,".repeat(200_000));
    assert_eq!(
        faults(&document, &large),
        [("[0]".to_owned(), "is of the wrong type".to_owned())]
    );
    let secret = "s3cret".repeat(50);
    for payload in [format!(r#"["{secret}"]"#), format!(r#"{{"{secret}":1}}"#)] {
        for (path, error) in faults(&document, &payload) {
            assert!(path.chars().count() <= 65, "{path}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
    let long = json!({"enum": ["x".repeat(10_000)]});
    assert!(faults(&long, "1")[0].1.chars().count() <= LONGEST + 1);
    assert_eq!(
        faults(&json!({"properties": {"a\nb": false}}), r#"{"a\nb":1}"#)[0].0,
        "a b"
    );
}

#[test]
fn no_payload_breaks_the_judge() {
    let tree = compile(&json!({"items": {"$ref": "#"}, "maxItems": 1})).unwrap();
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(tree.faults(&nested(127)), []);
    for payload in [
        nested(100_000),
        "[".repeat(100_000),
        String::new(),
        "1e400".to_owned(),
    ] {
        assert_eq!(tree.faults(&payload).len(), 1);
    }
}

#[test]
fn a_schema_that_doubles_from_level_to_level_ends() {
    let again = json!({"allOf": [
        {"properties": {"a": {"$ref": "#"}}},
        {"properties": {"a": {"$ref": "#"}, "bad": false}},
    ]});
    let payload = format!(
        "{}{}{}",
        r#"{"a":"#.repeat(100),
        r#"{"bad":1}"#,
        "}".repeat(100)
    );
    let expected = (String::new(), "does not fit the schema".to_owned());
    assert_eq!(faults(&again, &payload), [expected]);
}

#[test]
fn the_deepest_schema_that_is_taken_compiles_on_a_small_stack() {
    let mut document = json!(false);
    for _ in 0..61 {
        document = json!({"not": document});
    }
    let work = move || compile(&document).unwrap().faults("1").len();
    let thread = std::thread::Builder::new().stack_size(2 * 1024 * 1024);
    thread.spawn(work).unwrap().join().unwrap();
}
