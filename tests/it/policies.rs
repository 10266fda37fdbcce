//! The schema of policies that editors use says of a file what the gateway says of it.

use std::path::Path;

use amtpd::policy::PolicySet;
use amtpd::protocol::Domain;
use amtpd::schema::{Document, check};
use serde_json::Value;

fn read(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// What the gateway finds wrong with a file.
fn by_the_gateway(text: &str) -> Vec<String> {
    let local = [Domain::parse("example.com").unwrap()];
    let parsed = PolicySet::parse(&[("p.yaml".into(), text.to_owned())], &local);
    let faults = parsed.err();
    let told = faults.iter().flat_map(|it| it.faults());
    told.map(ToString::to_string).collect()
}

/// What the schema finds wrong with it.
fn by_the_schema(text: &str) -> Vec<String> {
    let value: Value = match serde_yaml::from_str(text) {
        Ok(value) => value,
        Err(error) => return vec![error.to_string()],
    };
    let schema = Document::read(read("schemas/amtp-policy-1.0.json").as_bytes()).unwrap();
    let faults = check(&schema, &value.to_string()).unwrap();
    faults
        .iter()
        .map(|it| format!("{}: {}", it.path, it.error))
        .collect()
}

fn file(rule: &str) -> String {
    format!("version: \"1.0\"\ndefault_policy: deny\nrules:\n  - {rule}\n")
}

/// The policies that a page shows; a part of a file is put into one.
fn policies_of(page: &str) -> Vec<String> {
    let blocks = page.split("```yaml\n").skip(1);
    let blocks = blocks.map(|rest| rest.split("```").next().unwrap());
    let policies = blocks.filter(|block| !block.contains("amtpd.yaml"));
    let whole = policies.map(|block| match block.contains("version:") {
        true => block.to_owned(),
        false => format!("version: \"1.0\"\ndefault_policy: deny\n{block}"),
    });
    whole.collect()
}

#[test]
fn what_is_shipped_and_shown_is_good_by_both() {
    let shown = policies_of(&read("docs/policies.md"));
    assert!(shown.len() >= 2, "{shown:?}");
    let shipped = ["open", "partners-only", "signed-only"];
    let shipped = shipped.map(|name| read(&format!("policies/{name}.yaml")));
    for text in shown.iter().chain(&shipped) {
        assert_eq!(by_the_gateway(text), [""; 0], "{text}");
        assert_eq!(by_the_schema(text), [""; 0], "{text}");
    }
}

/// Rules that are good.
const GOOD: &str = r#"
{action: allow}
{action: hold, ordering: none}
{action: allow, ordering: strict, path: immediate, priority: urgent, signature_policy: accept}
{action: allow, rate_limit: 100/hour}
{action: allow, rate_limit: {rate: 5/m, burst: 20}}
{action: allow, rate_limit: {rate: 1000000000/d, burst: "7"}}
{action: allow, quota: {messages: 5000, bytes: 1GiB}}
{action: allow, quota: {bytes: 100}}
{action: allow, max_size: 64KiB}
{action: allow, max_size: 1024}
{action: allow, max_size: "0064"}
{action: allow, require: [verified, tls-client-cert]}
{action: allow, direction: inbound}
{action: allow, direction: [inbound, bridge-in]}
{action: deny, name: "no", reason: "ü", sender_pattern: "*.x.com", recipient_pattern: "a-*@x.com", schemas: ["*"]}
{action: allow, sender_pattern: "*", recipient_pattern: Alice@münchen.example}
"#;

/// Rules with a mistake.
const BROKEN: &str = r#"
{}
{action: drop}
{action: ~}
{action: allow, ordering: relaxed}
{action: allow, ordering: ~}
{action: allow, burst: 5}
{action: allow, rate_limit: many}
{action: allow, rate_limit: 100}
{action: allow, rate_limit: 0/hour}
{action: allow, rate_limit: 5/week}
{action: allow, rate_limit: 1000000001/hour}
{action: allow, rate_limit: {burst: 5}}
{action: allow, rate_limit: {rate: 5/m, burst: 0}}
{action: allow, rate_limit: {rate: 5/m, brust: 5}}
{action: allow, quota: 1000/d}
{action: allow, quota: {}}
{action: allow, quota: {messages: -1}}
{action: allow, quota: {bytes: 0}}
{action: allow, quota: {bytes: many}}
{action: allow, quota: {mails: 1}}
{action: allow, max_size: 0}
{action: allow, max_size: -1}
{action: allow, max_size: 1.5}
{action: allow, max_size: 5 KiB}
{action: allow, max_size: 5kb}
{action: allow, require: verified}
{action: allow, require: []}
{action: allow, require: [good]}
{action: allow, direction: in}
{action: allow, direction: []}
{action: allow, direction: [inbound, in]}
{action: allow, schemas: x}
{action: allow, schemas: []}
{action: allow, schemas: ["a**"]}
{action: allow, schemas: [""]}
{action: allow, sender_pattern: b.com}
{action: allow, sender_pattern: "*@*"}
{action: allow, sender_pattern: "a**@b.com"}
{action: allow, sender_pattern: ""}
{action: allow, sender_pattern: 7}
{action: allow, sender_pattern: [a@b.com]}
{action: allow, recipient_pattern: ~}
{action: allow, path: fast}
{action: allow, priority: 1}
{action: allow, signature_policy: refuse}
{action: allow, name: ""}
{action: allow, name: 7}
{action: allow, reason: "a\nb"}
{action: allow, recipient: x@y.com}
{action: deny, max_size: 1KiB}
{action: deny, ordering: none}
{action: deny, quota: {messages: 1}}
"#;

/// Whole files with a mistake.
const FILES: [&str; 12] = [
    "",
    "[]",
    "default_policy: deny",
    "version: 1.0\ndefault_policy: deny",
    "version: \"1.1\"\ndefault_policy: deny",
    "version: \"1.0\"\ndefault_policy: hold",
    "version: \"1.0\"\ndefault_policy: deny\nrule: []",
    "version: \"1.0\"\ndefault_policy: deny\nrules: {}",
    "version: \"1.0\"\ndefault_policy: deny\nrestricted: {a@b.com: []}",
    "version: \"1.0\"\ndefault_policy: deny\nrestricted: [{recipient_pattern: a@b.com}]",
    "version: \"1.0\"\ndefault_policy: deny\nrestricted: [{senders: []}]",
    "version: \"1.0\"\ndefault_policy: deny\nrestricted: [{recipient_pattern: a@b.com, senders: x@y.com}]",
];

#[test]
fn both_find_the_same_rules_good() {
    for rule in GOOD.trim().lines() {
        let text = file(rule);
        assert_eq!(by_the_gateway(&text), [""; 0], "{rule}");
        assert_eq!(by_the_schema(&text), [""; 0], "{rule}");
    }
}

#[test]
fn both_find_the_same_mistakes() {
    let rules = BROKEN.trim().lines().map(file);
    for text in rules.chain(FILES.map(str::to_owned)) {
        let (gateway, schema) = (by_the_gateway(&text), by_the_schema(&text));
        assert!(!gateway.is_empty(), "the gateway takes {text}");
        assert!(!schema.is_empty(), "the schema takes {text}");
    }
}
