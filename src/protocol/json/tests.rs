use super::scanner::{FEW, SHOWN};
use super::strings::plain_prefix;
use super::*;
use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};

fn names_and_values(text: &str) -> Vec<(String, &str)> {
    scan_object(text.as_bytes())
        .unwrap()
        .into_iter()
        .map(|(name, value)| (name.into_owned(), &text[value]))
        .collect()
}

fn canonical(text: &str) -> String {
    let mut out = Vec::new();
    canonical_text(text.as_bytes(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn fault(text: &[u8]) -> String {
    scan_object(text).unwrap_err().to_string()
}

#[test]
fn members_come_in_order_with_their_exact_text() {
    let text = " {\"b\" : 1.10 ,\t\"a\":{\"x\":[1, 2 ]},\r\n\"\\u0063\":\"\\\"é\"  } ";
    assert_eq!(
        names_and_values(text),
        [
            ("b".to_owned(), "1.10"),
            ("a".to_owned(), "{\"x\":[1, 2 ]}"),
            ("c".to_owned(), "\"\\\"é\"")
        ]
    );
    assert_eq!(names_and_values("{}"), []);
}

#[test]
fn items_come_in_order() {
    let table: [(&str, &[&str]); 7] = [
        (
            "[1, [2,3] ,{\"a\":1}, \"x\" ]",
            &["1", "[2,3]", "{\"a\":1}", "\"x\""],
        ),
        (" [ ] ", &[]),
        ("[null]", &["null"]),
        ("[[],[[]]]", &["[]", "[[]]"]),
        ("[1,x,2]", &["1"]),
        ("[1 2]", &["1"]),
        ("[", &[]),
    ];
    for (text, expected) in table {
        let found: Vec<&str> = items(text).unwrap().collect();
        assert_eq!(found, expected, "{text}");
    }
    for text in ["", "{}", "1", "\"[]\""] {
        assert!(items(text).is_none(), "{text}");
    }
}

#[test]
fn every_fault_says_where_it_is() {
    let table: [(&[u8], &str); 30] = [
        (b"", "ends too early at byte 0"),
        (b"[]", "expected an object at byte 0"),
        (b"\xef\xbb\xbf{}", "expected an object at byte 0"),
        (b"{\"a\":\"\xff\"}", "is not UTF-8 at byte 6"),
        (b"{\"a\":1", "ends too early at byte 6"),
        (b"{\"a\":", "a: ends too early at byte 5"),
        (b"{\"a\"", "ends too early at byte 4"),
        (b"{\"a", "ends too early at byte 3"),
        (b"{\"a\":1,}", "expected a member name at byte 7"),
        (b"{a:1}", "expected a member name at byte 1"),
        (b"{\"a\" 1}", "expected ':' at byte 5"),
        (b"{\"a\":1 \"b\":2}", "expected ',' or '}' at byte 7"),
        (b"{\"a\":[1 2]}", "a: expected ',' or ']' at byte 8"),
        (b"{\"a\":[1,]}", "a[1]: expected a value at byte 8"),
        (b"{\"a\":tru}", "a: expected a value at byte 5"),
        (b"{\"a\":nul", "a: expected a value at byte 5"),
        (b"{\"a\":01}", "a: malformed number at byte 6"),
        (b"{\"a\":-}", "a: malformed number at byte 6"),
        (b"{\"a\":1.}", "a: malformed number at byte 7"),
        (b"{\"a\":.5}", "a: expected a value at byte 5"),
        (b"{\"a\":1e+}", "a: malformed number at byte 8"),
        (b"{\"a\":NaN}", "a: expected a value at byte 5"),
        (
            b"{\"a\":\"\n\"}",
            "a: control character in a string at byte 6",
        ),
        (b"{\"a\":\"\\x\"}", "a: malformed escape sequence at byte 6"),
        (
            b"{\"a\":\"\\u12g4\"}",
            "a: malformed escape sequence at byte 6",
        ),
        (
            b"{\"a\":\"\\ud800\"}",
            "a: malformed escape sequence at byte 6",
        ),
        (
            b"{\"a\":\"\\udc00\\ud800\"}",
            "a: malformed escape sequence at byte 6",
        ),
        (b"{} {}", "more text after the value at byte 3"),
        (b"{\"a\":1}\0", "more text after the value at byte 7"),
        (b"{/**/}", "expected a member name at byte 1"),
    ];
    for (text, expected) in table {
        let shown = String::from_utf8_lossy(text);
        assert_eq!(fault(text), expected, "{shown}");
    }
}

#[test]
fn a_duplicate_is_found_at_any_depth_and_in_any_spelling() {
    let table = [
        (r#"{"a":1,"a":2}"#, "duplicate member \"a\" at byte 7"),
        (
            r#"{"payload":{"items":[{"a":1,"b":2,"a":3}]}}"#,
            "payload.items[0]: duplicate member \"a\" at byte 34",
        ),
        (r#"{"é":1,"\u00e9":2}"#, "duplicate member \"é\" at byte 8"),
        (r#"{"":1,"":2}"#, "duplicate member \"\" at byte 6"),
        (
            r#"{"😀":1,"\uD83D\ude00":2}"#,
            "duplicate member \"😀\" at byte 10",
        ),
        (
            r#"{"a/b":1,"a\/b":2}"#,
            "duplicate member \"a/b\" at byte 9",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(fault(text.as_bytes()), expected, "{text}");
    }
    assert!(scan_object(br#"{"a":{"a":{"a":1}},"A":[{"a":1},{"a":1}]}"#).is_ok());
}

#[test]
fn a_duplicate_is_found_among_many_members() {
    let member = |index: usize| format!("\"m{index}\":{{\"m0\":1,\"m1\":[]}}");
    for count in [FEW - 1, FEW, FEW + 1, 5_000] {
        let mut members: Vec<String> = (0..count).map(member).collect();
        assert!(scan_object(format!("{{{}}}", members.join(",")).as_bytes()).is_ok());
        members.push("\"\\u006d0\":0".to_owned());
        let fault = scan_object(format!("{{{}}}", members.join(",")).as_bytes()).unwrap_err();
        assert_eq!(fault.kind, JsonFaultKind::Duplicate("m0".to_owned()));
    }
}

#[test]
fn nesting_stops_at_the_limit() {
    let nested = |depth: usize| {
        format!(
            "{{\"a\":{}1{}}}",
            "[".repeat(depth - 1),
            "]".repeat(depth - 1)
        )
    };
    assert!(scan_object(nested(MAX_DEPTH).as_bytes()).is_ok());
    let fault = scan_object(nested(MAX_DEPTH + 1).as_bytes()).unwrap_err();
    assert_eq!(fault.kind, JsonFaultKind::Depth);
    assert!(scan_object("{\"a\":".repeat(1_000_000).as_bytes()).is_err());
    assert_eq!(items(&"[".repeat(1_000_000)).unwrap().count(), 0);
}

#[test]
fn long_names_are_cut_in_faults() {
    let name = "é".repeat(100_000);
    let fault = scan_object(format!("{{\"{name}\":1,\"{name}\":2}}").as_bytes()).unwrap_err();
    assert_eq!(fault.kind, JsonFaultKind::Duplicate("é".repeat(SHOWN)));
}

#[test]
fn canonical_text_has_one_spelling() {
    let table = [
        (" { } ", "{}"),
        ("[ ]", "[]"),
        (" 1.10 ", "1.10"),
        (
            r#"{"b":1,"a":[ true , null ]}"#,
            r#"{"a":[true,null],"b":1}"#,
        ),
        (
            r#"{"z":{"d":[{"y":1,"x":2},{"w":3}],"c":{}},"a":{"q":9007199254740993,"p":1e400}}"#,
            r#"{"a":{"p":1e400,"q":9007199254740993},"z":{"c":{},"d":[{"x":2,"y":1},{"w":3}]}}"#,
        ),
        (
            r#"{"\u0061":"\u00e9\/\n\"\\\ud83d\ude00"}"#,
            r#"{"a":"é/\u000a\"\\😀"}"#,
        ),
        (r#"["a","\u0000","]}"]"#, r#"["a","\u0000","]}"]"#),
    ];
    for (text, expected) in table {
        assert_eq!(canonical(text), expected, "{text}");
        assert_eq!(canonical(expected), expected);
    }
    assert!(canonical_text(b"{", &mut Vec::new()).is_err());
}

#[test]
fn strings_are_decoded_and_other_values_are_not() {
    assert_eq!(string_of(r#""a\tb\u0041""#).unwrap(), "a\tbA");
    assert_eq!(string_of(r#""""#).unwrap(), "");
    for value in ["1", "null", "[\"a\"]", "\"", ""] {
        assert_eq!(string_of(value), None, "{value}");
    }
}

fn arbitrary_json() -> impl proptest::strategy::Strategy<Value = serde_json::Value> {
    use proptest::strategy::{Just, Strategy};
    let leaf = proptest::prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        any::<f64>().prop_map(serde_json::Value::from),
        any::<String>().prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(5, 60, 20, |inner| {
        proptest::prop_oneof![
            proptest::collection::vec(inner.clone(), 0..20).prop_map(serde_json::Value::from),
            proptest::collection::btree_map(any::<String>(), inner, 0..20)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_serde_writes_is_read_and_means_the_same(value in arbitrary_json()) {
        let compact = serde_json::to_string(&serde_json::json!({ "v": value })).unwrap();
        let pretty = serde_json::to_string_pretty(&serde_json::json!({ "v": value })).unwrap();
        let members = scan_object(compact.as_bytes()).unwrap();
        let again: serde_json::Value = serde_json::from_str(&compact[members[0].1.clone()]).unwrap();
        prop_assert_eq!(&again, &value);
        prop_assert_eq!(canonical(&compact), canonical(&pretty));
        let again: serde_json::Value = serde_json::from_str(&canonical(&compact)).unwrap();
        prop_assert_eq!(again, serde_json::json!({ "v": value }));
    }

    #[test]
    fn any_string_survives_writing(text in any::<String>()) {
        let mut out = Vec::new();
        write_string(&text, &mut out);
        let json = String::from_utf8(out).unwrap();
        prop_assert_eq!(string_of(&json).unwrap(), text.as_str());
        prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }

    #[test]
    fn damaged_json_never_panics_and_serde_is_no_stricter(
        value in arbitrary_json(),
        at in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut text = serde_json::to_vec(&serde_json::json!({ "v": value })).unwrap();
        let at = at.index(text.len());
        text[at] = byte;
        if scan_object(&text).is_ok() {
            prop_assert!(serde_json::from_slice::<&serde_json::value::RawValue>(&text).is_ok());
            prop_assert!(canonical_text(&text, &mut Vec::new()).is_ok());
        }
    }

    #[test]
    fn plain_prefix_stops_at_the_first_special_byte(
        plain in 0_usize..200,
        rest in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let bytes = [vec![b'x'; plain], rest].concat();
        let expected = bytes
            .iter()
            .position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))
            .unwrap_or(bytes.len());
        prop_assert_eq!(plain_prefix(&bytes), expected);
    }
}
