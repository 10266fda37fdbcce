//! Every kind of mistake, with what is told of it.

use super::*;

/// The faults of one file.
fn faults(text: &str) -> Vec<String> {
    let faults = parse(&[("p.yaml", text)]).unwrap_err();
    faults.faults().iter().map(ToString::to_string).collect()
}

const HEAD: &str = "version: \"1.0\"\ndefault_policy: deny\n";

/// A line of a rule at line 4, column 5, and what is told of it.
const IN_A_RULE: &[(&str, &str)] = &[
    (
        "sender_patern: a@b.com",
        "4:5: rules[0].sender_patern: is no key; did you mean `sender_pattern`?",
    ),
    (
        "color: red",
        "4:5: rules[0].color: is no key; known here: name, reason,",
    ),
    (
        "action: deny",
        "4:5: rules[0].action: stands twice; remove one",
    ),
    (
        "sender_pattern: b.com",
        "4:21: rules[0].sender_pattern: \"b.com\" is a domain; write `*@b.com`",
    ),
    (
        "sender_pattern: \"*@*\"",
        "4:21: rules[0].sender_pattern: \"*@*\" has a `*` in the domain",
    ),
    ("sender_pattern: \"a**@b.com\"", "has `**`"),
    (
        "sender_pattern: 7",
        "4:21: rules[0].sender_pattern: is a number, but must be a pattern",
    ),
    (
        "sender_pattern: [a@b.com]",
        "4:21: rules[0].sender_pattern: is a list, but must be",
    ),
    (
        "recipient_pattern: ~",
        "4:24: rules[0].recipient_pattern: has no value",
    ),
    (
        "schemas: x",
        "4:14: rules[0].schemas: is a text, but must be a list",
    ),
    ("schemas: []", "rules[0].schemas: is empty"),
    (
        "schemas: [x, \"a**\"]",
        "4:18: rules[0].schemas[1]: \"a**\" has `**`",
    ),
    (
        "schemas: [\"\"]",
        "rules[0].schemas[0]: \"\" is no pattern of schemas",
    ),
    (
        "direction: inbond",
        "4:16: rules[0].direction: \"inbond\" is not one of `submission`",
    ),
    ("direction: inbond", "did you mean `inbound`?"),
    (
        "direction: [inbound, 1]",
        "4:26: rules[0].direction: is a number",
    ),
    ("direction: []", "rules[0].direction: is empty"),
    (
        "require: signed",
        "rules[0].require: is a text, but must be a list",
    ),
    ("require: [sined]", "did you mean `signed`?"),
    (
        "max_size: 10MB",
        "4:15: rules[0].max_size: \"10MB\" is no size",
    ),
    ("max_size: 0", "rules[0].max_size: \"0\" is no size"),
    ("max_size: -1", "rules[0].max_size: \"-1\" is no size"),
    (
        "rate_limit: 100",
        "rules[0].rate_limit: is a number, but must be a rate",
    ),
    (
        "rate_limit: 100/week",
        "4:17: rules[0].rate_limit: \"100/week\" is no rate",
    ),
    ("rate_limit: 0/hour", "\"0/hour\" is no rate"),
    (
        "rate_limit: 5000000000/hour",
        "\"5000000000/hour\" is no rate",
    ),
    (
        "rate_limit: {burst: 5}",
        "rules[0].rate_limit.rate: is missing",
    ),
    (
        "rate_limit: {rate: 5/s, burst: 0}",
        "rules[0].rate_limit.burst: \"0\" is not a whole number",
    ),
    (
        "rate_limit: {rate: 5/s, brust: 1}",
        "rules[0].rate_limit.brust: is no key; did you mean `burst`?",
    ),
    ("quota: 5", "rules[0].quota: must hold keys"),
    ("quota: {}", "rules[0].quota: says nothing"),
    (
        "quota: {messages: 1.5}",
        "rules[0].quota.messages: \"1.5\" is not a whole number",
    ),
    (
        "quota: {bytes: 9999TiB}",
        "rules[0].quota.bytes: is too much",
    ),
    (
        "path: fast",
        "rules[0].path: \"fast\" is not one of `immediate`, `durable`",
    ),
    ("priority: 1", "rules[0].priority: is a number"),
    ("priority: hihg", "did you mean `high`?"),
    (
        "ordering: lax",
        "rules[0].ordering: \"lax\" is not one of `strict`, `none`",
    ),
    ("signature_policy: reject!", "did you mean `reject`?"),
    (
        "name: 7",
        "rules[0].name: is a number, but must be a text (put numbers in quotes)",
    ),
    (
        "name: \"\"",
        "rules[0].name: must be one line of 1 to 256 bytes",
    ),
    ("reason: \"a\\nb\"", "rules[0].reason: must be one line"),
];

#[test]
fn every_mistake_in_a_rule_is_told_with_its_place() {
    let long = format!("name: {}", "x".repeat(257));
    let long = [(long.as_str(), "rules[0].name: must be one line")];
    for (extra, told) in IN_A_RULE.iter().chain(&long) {
        let text = format!("{HEAD}rules:\n  - {extra}\n    action: allow\n");
        let text = match extra.starts_with("action") {
            // The second one is the fault.
            true => format!("{HEAD}rules:\n  - action: deny\n    action: allow\n"),
            false => text,
        };
        let told = told.replace("4:5: rules[0].action", "5:5: rules[0].action");
        let faults = faults(&text);
        assert!(
            faults.iter().any(|fault| fault.contains(&told)),
            "{extra}: {faults:#?}"
        );
        assert!(faults[0].starts_with("p.yaml:"), "{faults:?}");
    }
}

/// A file, and what is told of it.
const IN_A_FILE: &[(&str, &str)] = &[
    ("", "must hold keys; known here: version"),
    ("[]", "must hold keys; known here: version"),
    (
        "version: \"1.0\"\n",
        "default_policy: is missing in every file; set it to `deny` or `allow`",
    ),
    (
        "default_policy: deny\n",
        "p.yaml:1:1: version: is missing; begin the file with `version: \"1.0\"`",
    ),
    (
        "version: 1.0\ndefault_policy: deny\n",
        "p.yaml:1:10: version: must be a text in quotes",
    ),
    (
        "version: \"2.0\"\ndefault_policy: deny\n",
        "version: is not known",
    ),
    (
        "version: \"1.0\"\ndefault_policy: hold\n",
        "p.yaml:2:17: default_policy: \"hold\" is not one of `deny`, `allow`",
    ),
    (
        "version: \"1.0\"\ndefault_policy: deny\ndefault_policy: deny\n",
        "p.yaml:3:1: default_policy: stands twice",
    ),
    (
        "version: \"1.0\"\ndefault: deny\n",
        "p.yaml:2:1: default: is no key",
    ),
    (
        "version: \"1.0\"\ndefault_policy: deny\nrule: []\n",
        "rule: is no key; did you mean `rules`?",
    ),
    (
        "version: \"1.0\"\ndefault_policy: deny\nrules: {}\n",
        "p.yaml:3:8: rules: must be a list",
    ),
    (
        "version: \"1.0\"\ndefault_policy: deny\nrules:\n",
        "rules: must be a list",
    ),
    (
        "version: \"1.0\"\ndefault_policy: deny\nrules:\n- x\n",
        "p.yaml:4:3: rules[0]: must hold keys",
    ),
    (
        "version: \"1.0\"\ndefault_policy: deny\nrules:\n- []\n",
        "p.yaml:4:3: rules[0]: must hold keys",
    ),
    (
        "version: \"1.0\"\ndefault_policy: deny\nrules:\n- name: x\n",
        "p.yaml:4:3: rules[0].action: is missing; give `allow`, `deny` or `hold`",
    ),
    (
        "version: \"1.0\"\ndefault_policy: deny\nrules:\n- {}\n",
        "p.yaml:4:3: rules[0].action: is missing",
    ),
    (
        "version: \"1.0\"\ndefault_policy: deny\nrules:\n- {name: x, action: deny}\n- {name: x, action: deny}\n",
        "p.yaml:5:10: rules[1].name: is the name of the rule at p.yaml:4 already",
    ),
    (
        "version: \"1.0\"\ndefault_policy: deny\nrules:\n- {action: deny, require: [signed]}\n",
        "p.yaml:4:18: rules[0].require: means nothing where `action` is `deny`",
    ),
    (
        "version: \"1.0\"\ndefault_policy: deny\nrestricted:\n- {senders: []}\n",
        "restricted[0].recipient_pattern: is missing",
    ),
    (
        "version: \"1.0\"\ndefault_policy: deny\nrestricted:\n- {recipient_pattern: a@b.com}\n",
        "restricted[0].senders: is missing",
    ),
    (
        "version: \"1.0\"\ndefault_policy: deny\nrestricted:\n- {recipient_pattern: a@b.com, senders: x@b.com}\n",
        "restricted[0].senders: is a text, but must be a list",
    ),
    (
        "version: \"1.0\"\ndefault_policy: deny\nrestricted:\n- {recipient_pattern: a@b.com, senders: [x]}\n",
        "p.yaml:4:42: restricted[0].senders[0]: \"x\" is a domain; write `*@x`",
    ),
    (
        "version: \"1.0\"\ndefault_policy: deny\nrestricted:\n- {recipient_pattern: a@b.com, sender: [x]}\n",
        "did you mean `senders`?",
    ),
    ("version: [\n", "cannot be read as YAML"),
    ("\tversion: x\n", "p.yaml:1:1: cannot be read as YAML"),
    ("version: *nobody\n", "cannot be read as YAML"),
    ("version: !tag x\n", "cannot be read as YAML"),
    (
        "version: \"1.0\"\n---\nversion: \"1.0\"\n",
        "cannot be read as YAML",
    ),
];

#[test]
fn every_mistake_in_a_file_is_told() {
    let many = format!("{HEAD}rules:\n{}", "- action: deny\n".repeat(10_001));
    let large = format!("{HEAD}#{}", "x".repeat(1 << 20));
    let crowd = "x,".repeat(1_001);
    let crowd = format!("{HEAD}rules:\n- {{action: deny, schemas: [{crowd}]}}\n");
    let large = [
        (
            many.as_str(),
            "p.yaml:10004:3: rules[10000]: is one too many: at most 10000",
        ),
        (&large, "p.yaml: is larger than 1MiB"),
        (&crowd, "rules[0].schemas: has more than 1000 items"),
    ];
    for (text, told) in IN_A_FILE.iter().chain(&large) {
        let faults = faults(text);
        let head: String = text.chars().take(100).collect();
        assert!(
            faults.iter().any(|fault| fault.contains(told)),
            "{head}: {faults:#?}"
        );
    }
}

#[test]
fn every_fault_is_told_at_once_up_to_a_hundred() {
    let one = "version: \"1.0\"\ndefault_policy: deny\nrules:\n- {action: alow, path: x}\n- {acton: deny}\n";
    let two = "version: \"1.0\"\ndefault_policy: allow\nrules: 7\n";
    let error = parse(&[("a.yaml", one), ("b.yaml", two)]).unwrap_err();
    let told: Vec<String> = error.faults().iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 6, "{told:#?}");
    assert!(
        told[4].contains("b.yaml:2:1: default_policy: stands in a.yaml already"),
        "{told:#?}"
    );
    let many = format!("{HEAD}rules:\n{}", "- {action: no}\n".repeat(150));
    let error = parse(&[("a.yaml", &many)]).unwrap_err();
    assert_eq!((error.faults().len(), error.untold()), (100, 50));
    assert!(error.to_string().ends_with("and 50 more faults"));
}

#[test]
fn the_faults_of_a_file_that_cannot_be_read_are_all() {
    let error = parse(&[("a.yaml", "version: [\n")]).unwrap_err();
    assert_eq!(error.faults().len(), 1, "no word on the default: {error}");
}

#[test]
fn aliases_cannot_blow_a_file_up() {
    let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (name, last) in ('b'..='l').zip('a'..='k') {
        let items = vec![format!("*{last}"); 9].join(", ");
        let _ = writeln!(bomb, "{name}: &{name} [{items}]");
    }
    assert!(faults(&bomb)[0].contains("cannot be read as YAML"));
    // No alias is followed often enough for the parser to mind, but they are many.
    let wide = format!(
        "a: &a [{}]\nb: [{}]\n",
        "x, ".repeat(2_000),
        "*a, ".repeat(20_000)
    );
    let faults = faults(&wide);
    assert!(
        faults[0].contains("more than 300000 keys and values, aliases counted"),
        "{faults:?}"
    );
}

#[test]
fn deep_and_odd_texts_are_faults_and_nothing_worse() {
    for text in [
        "[".repeat(100),
        "{a: ".repeat(100),
        "- ".repeat(20_000),
        "? ".repeat(20_000),
        "\u{feff}".to_owned(),
        "\0".to_owned(),
        "a: ".repeat(1_000),
        "&a ".repeat(1_000),
        "\"\\".repeat(10_000),
    ] {
        assert!(!faults(&text).is_empty());
    }
}

#[test]
fn nesting_is_refused_before_it_costs_the_parser_time() {
    let hidden = "[ #]\n".repeat(30_001);
    for (text, told) in [
        (
            "[".repeat(1 << 20),
            "p.yaml: has more than 100 brackets open",
        ),
        (
            "{a: ".repeat(1 << 18),
            "p.yaml: has more than 100 brackets open",
        ),
        (hidden, "p.yaml: has more than 30000 brackets"),
    ] {
        assert!(faults(&text)[0].contains(told));
    }
}

#[test]
fn an_anchor_saves_writing() {
    let text = format!(
        "{HEAD}rules:\n- {{sender_pattern: &p \"*@b.com\", schemas: &s [x], action: allow}}\n- {{recipient_pattern: *p, schemas: *s, action: hold}}\n"
    );
    let set = parse(&[("p.yaml", &text)]).unwrap();
    let letter = Letter::from("a@q.com", "a@b.com").with_schema("x");
    assert_eq!(line(&set, &letter), 5);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 500, ..ProptestConfig::default() })]

    /// What is nearly a policy is read or refused, and every fault has words.
    #[test]
    fn any_text_is_read_or_refused(
        noise in "[\\[\\]{}:*&!|>'\"#, \n@.a1~?%-]{0,40}",
        at in 0_usize..200,
        cut in 0_usize..20,
    ) {
        let text = format!(
            "{HEAD}restricted: [{{recipient_pattern: a@b.com, senders: [\"*\"]}}]\nrules:\n- name: x\n  schemas: [a, \"b*\"]\n  rate_limit: {{rate: 1/s, burst: 2}}\n  action: allow\n"
        );
        let (head, tail) = text.split_at(at.min(text.len()));
        let text = format!("{head}{noise}{}", &tail[cut.min(tail.len())..]);
        match parse(&[("p.yaml", &text)]) {
            Ok(set) => drop(set.idle_rules()),
            Err(faults) => {
                prop_assert!(!faults.faults().is_empty());
                prop_assert!(faults.faults().iter().all(|fault| !fault.text.is_empty()));
            }
        }
    }
}
