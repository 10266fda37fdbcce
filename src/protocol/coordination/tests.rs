use super::*;

const LIMITS: Limits = Limits {
    message_size: 100_000,
    recipients: 4,
};

fn addresses(names: &str) -> Vec<Address> {
    let address = |name: &str| Address::parse(&format!("{name}@x.example")).unwrap();
    names.split_whitespace().map(address).collect()
}

/// Checks a coordination of a message to `a` and `b`; single letters in quotes stand for addresses.
fn parse(value: &str) -> Result<Coordination, Vec<Violation>> {
    let mut value = value.to_owned();
    for name in ["a", "b", "c", "d", "e"] {
        value = value.replace(&format!("\"{name}\""), &format!("\"{name}@x.example\""));
    }
    Coordination::parse(&value, &addresses("a b"), &LIMITS)
}

#[test]
fn parallel_waits_for_the_required() {
    let table = [
        (r#"{"type":"parallel","timeout":60}"#, "a b", ""),
        (
            r#"{"type":"parallel","timeout":60,"required_responses":["b"]}"#,
            "b",
            "",
        ),
        (
            r#"{"type":"parallel","timeout":60,"required_responses":[],"optional_responses":null}"#,
            "a b",
            "",
        ),
        (
            r#"{"type":"parallel","timeout":60,"optional_responses":["a"]}"#,
            "b",
            "a",
        ),
        (
            r#"{"type":"parallel","timeout":60,"optional_responses":["a","b"]}"#,
            "a b",
            "",
        ),
        (
            r#"{"type":"parallel","timeout":60,"required_responses":["a"],"optional_responses":["a","b"]}"#,
            "a",
            "b",
        ),
    ];
    for (value, required, optional) in table {
        let expected = Parallel {
            timeout: Duration::from_secs(60),
            required: addresses(required),
            optional: addresses(optional),
        };
        assert_eq!(
            parse(value),
            Ok(Coordination::Parallel(expected)),
            "{value}"
        );
    }
}

#[test]
fn sequential_keeps_the_order() {
    let read = parse(
        r#"{"type":"sequential","timeout":7,"sequence":["c","a"],"stop_on_failure":true,"x":1}"#,
    );
    let expected = Sequential {
        timeout: Duration::from_secs(7),
        sequence: addresses("c a"),
        stop_on_failure: true,
    };
    let read = read.unwrap();
    assert_eq!((read.kind(), read.timeout().as_secs()), ("sequential", 7));
    assert_eq!(read, Coordination::Sequential(expected));
}

#[test]
fn conditional_has_branches() {
    let read = parse(
        r#"{"type":"conditional","timeout":1800,"conditions":[
            {"if":"a@x.example responds with approve=true","then":["c"],"else":["d"]},
            {"if":"c@x.example responds","then":["e"]}]}"#,
    );
    let Ok(Coordination::Conditional(read)) = read else {
        panic!("{read:?}");
    };
    assert_eq!(read.branches[0].then, addresses("c"));
    assert_eq!(read.branches[0].otherwise, addresses("d"));
    assert_eq!(read.branches[1].otherwise, []);
    assert!(
        read.branches[0]
            .condition
            .holds(|_| Some(r#"{"approve":true}"#))
    );
}

/// Coordinations, and the fields that are at fault.
const BROKEN: &str = r#"
[] => coordination
1 => coordination
{} => coordination.timeout coordination.type
{"type":"parallel"} => coordination.timeout
{"type":"parallel","timeout":0} => coordination.timeout
{"type":"parallel","timeout":-1} => coordination.timeout
{"type":"parallel","timeout":1.5} => coordination.timeout
{"type":"parallel","timeout":"60"} => coordination.timeout
{"type":"parallel","timeout":99999999999} => coordination.timeout
{"type":"serial","timeout":1} => coordination.type
{"type":7,"timeout":1} => coordination.type
{"type":"parallel","timeout":1,"required_responses":"a"} => coordination.required_responses
{"type":"parallel","timeout":1,"required_responses":["a","c"]} => coordination.required_responses[1]
{"type":"parallel","timeout":1,"optional_responses":["x@"]} => coordination.optional_responses[0]
{"type":"parallel","timeout":1,"optional_responses":["a","a"]} => coordination.optional_responses[1]
{"type":"sequential","timeout":1} => coordination.sequence
{"type":"sequential","timeout":1,"sequence":[]} => coordination.sequence
{"type":"sequential","timeout":1,"sequence":["a",1]} => coordination.sequence[1]
{"type":"sequential","timeout":1,"sequence":["a","b","a"]} => coordination.sequence[2]
{"type":"sequential","timeout":1,"sequence":["a","b","c","d","e"]} => coordination.sequence coordination.sequence
{"type":"sequential","timeout":1,"sequence":["a"],"stop_on_failure":"yes"} => coordination.stop_on_failure
{"type":"conditional","timeout":1} => coordination.conditions
{"type":"conditional","timeout":1,"conditions":{}} => coordination.conditions
{"type":"conditional","timeout":1,"conditions":[1]} => coordination.conditions[0]
{"type":"conditional","timeout":1,"conditions":[{}]} => coordination.conditions[0].if coordination.conditions[0].then
{"type":"conditional","timeout":1,"conditions":[{"if":"x","then":["a"]}]} => coordination.conditions[0].if
{"type":"conditional","timeout":1,"conditions":[{"if":"d@x.example responds","then":["c"]}]} => coordination.conditions[0].if
{"type":"conditional","timeout":1,"conditions":[{"if":"a@x.example responds","then":["c"],"else":["?"]}]} => coordination.conditions[0].else[0]
"#;

#[test]
fn every_broken_rule_is_named() {
    for line in BROKEN.trim().lines() {
        let (value, expected) = line.split_once(" => ").unwrap();
        let violations = parse(value).expect_err(line);
        let fields: Vec<String> = violations.into_iter().map(|each| each.field).collect();
        assert_eq!(fields.join(" "), expected, "{line}");
    }
    let many = r#"{"if":"a@x.example responds","then":["a"]},"#.repeat(33);
    let value = format!(
        r#"{{"type":"conditional","timeout":1,"conditions":[{}]}}"#,
        many.trim_end_matches(',')
    );
    assert_eq!(
        parse(&value).unwrap_err()[0].field,
        "coordination.conditions"
    );
}
