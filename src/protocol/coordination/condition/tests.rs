use super::*;
use proptest::prelude::{ProptestConfig, proptest};

const PAYLOAD: &str = r#"{"approve":true,"note":"fine","amount":100.50,"big":9007199254740993,
    "none":null,"order":{"items":[{"price":3},{"price":"x"}]},"date":"2026-01-02","and":1,"exists":2,"ünit":1}"#;

/// Whether the condition holds when `a@x.example` replied with [`PAYLOAD`] and nobody else replied.
fn holds(text: &str) -> bool {
    let replied = Address::parse("a@x.example").unwrap();
    let condition = Condition::parse(text).unwrap_or_else(|fault| panic!("{text}: {fault}"));
    condition.holds(|address| (*address == replied).then_some(PAYLOAD))
}

#[test]
fn conditions_are_judged_by_the_replies() {
    let table = [
        ("a@x.example responds", true),
        ("b@x.example responds", false),
        ("a@x.example responds with approve=true", true),
        ("A@X.example RESPONDS WITH approve == true", true),
        ("a@x.example responds with approve=false", false),
        ("a@x.example responds with approve='true'", false),
        ("a@x.example responds with approve!=true", false),
        ("a@x.example responds with missing!=true", true),
        ("a@x.example responds with missing=null", false),
        ("a@x.example responds with none=null", true),
        ("a@x.example responds with note=fine", true),
        ("a@x.example responds with note=\"fine\"", true),
        ("a@x.example responds with note='fine' and amount>100", true),
        ("a@x.example responds with amount=100.5", true),
        ("a@x.example responds with amount<100.5", false),
        ("a@x.example responds with amount<=1.005e2", true),
        ("a@x.example responds with amount>=200", false),
        ("a@x.example responds with big=9007199254740992", false),
        ("a@x.example responds with big>9007199254740992", true),
        ("a@x.example responds with note>100", false),
        ("a@x.example responds with date<2026-02-01", true),
        ("a@x.example responds with order.items[0].price=3", true),
        ("a@x.example responds with order.items[1].price=x", true),
        ("a@x.example responds with order.items[2] exists", false),
        ("a@x.example responds with order exists", true),
        ("a@x.example responds with exists order.items", true),
        ("a@x.example responds with none exists", true),
        ("a@x.example responds with missing exists", false),
        ("a@x.example responds with not missing exists", true),
        ("not b@x.example responds", true),
        ("not b@x.example responds with approve!=true", true),
        ("b@x.example responds with approve!=true", false),
        ("b@x.example responds with not approve=true", true),
        (
            "b@x.example responds or a@x.example responds with approve=true",
            true,
        ),
        ("a@x.example responds and b@x.example responds", false),
        (
            "a@x.example responds with (approve=false or note=fine) and amount>1",
            true,
        ),
        (
            "(a@x.example responds with approve=true)and(b@x.example responds)",
            false,
        ),
        (
            "a@x.example responds or b@x.example responds and b@x.example responds",
            true,
        ),
        (
            "(a@x.example responds or b@x.example responds) and b@x.example responds",
            false,
        ),
        ("a@x.example responds with and=1 and exists=2", true),
        ("a@x.example responds with ünit=1", true),
        ("a@x.example  responds\twith  approve = true ", true),
    ];
    for (text, expected) in table {
        assert_eq!(holds(text), expected, "{text}");
    }
}

#[test]
fn what_is_no_condition_is_refused_with_the_place() {
    let deep = format!("{}a@x.example responds", "(".repeat(1_000));
    let nots = format!("{}a@x.example responds", "not ".repeat(1_000));
    let long = format!("a@x.example responds with a={}", "x".repeat(4_096));
    let many = format!("a@x.example responds with{}", " a=1 or".repeat(33));
    let table = [
        ("", 0),
        ("approve=true", 0),
        ("responds with approve=true", 0),
        ("a@ responds with approve=true", 0),
        ("a@x.example", 0),
        ("a@x.example responds with", 25),
        ("a@x.example responds with approve", 26),
        ("a@x.example responds with approve=", 34),
        ("a@x.example responds with =true", 26),
        ("a@x.example responds with a..b=1", 26),
        ("a@x.example responds with a[x]=1", 26),
        ("a@x.example responds with a[1=1", 26),
        ("a@x.example responds with a='x", 28),
        ("a@x.example responds with a=1 b=2", 30),
        ("a@x.example responds with a=1 and", 33),
        ("a@x.example responds with (a=1", 30),
        ("a@x.example responds with a=1)", 29),
        (
            "a@x.example responds with a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a=1",
            26,
        ),
        (deep.as_str(), 32),
        (nots.as_str(), 128),
        (long.as_str(), 0),
        (many.as_str(), 250),
    ];
    for (text, offset) in table {
        let shown = &text[..text.len().min(80)];
        let fault = Condition::parse(text).expect_err(shown);
        assert_eq!(fault.offset, offset, "{shown}: {fault}");
    }
}

#[test]
fn a_condition_names_its_addresses() {
    let text = "a@x.example responds with x=1 and y=2 or not (b@x.example responds)";
    let condition = Condition::parse(text).unwrap();
    let addresses: Vec<&str> = condition
        .addresses()
        .iter()
        .map(|each| each.as_str())
        .collect();
    assert_eq!(addresses, ["a@x.example", "a@x.example", "b@x.example"]);
    assert_eq!(condition.to_string(), text);
}

#[test]
fn a_reply_that_is_no_object_leads_nowhere() {
    let condition = Condition::parse("a@x.example responds with x=1").unwrap();
    for payload in ["1", "[]", "null", "\"x\"", "not json"] {
        assert!(!condition.holds(|_| Some(payload)), "{payload}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_panics(
        text in "\\PC{0,60}",
        words in proptest::collection::vec(
            proptest::sample::select(vec!["a@x.example", "responds", "with", "not", "and", "or", "(", ")",
                "exists", "p", "p[0].q", "=", "<=", "!=", "'x'", "1.5", "é", "'", " "]), 0..30),
    ) {
        for text in [text, words.join(" "), words.concat()] {
            if let Ok(condition) = Condition::parse(&text) {
                let _ = condition.holds(|_| Some(PAYLOAD));
            }
        }
    }
}
