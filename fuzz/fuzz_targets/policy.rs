//! Any text as a policy file: reading never panics and is bounded, and a set that reads decides by its
//! index what it decides rule by rule. The text is a file, and also a rule of one that is in order.

#![no_main]

use std::path::PathBuf;

use amtpd::policy::{Action, Direction, PolicySet, Question, Standing};
use amtpd::protocol::{Address, Domain, SchemaId};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let rule = text.replace('\n', "\n    ");
    let wrapped = format!("version: \"1.0\"\ndefault_policy: deny\nrules:\n  - {rule}\n");
    judge(text);
    judge(&wrapped);
});

fn judge(text: &str) {
    let local = [Domain::parse("example.com").expect("a domain")];
    let files = [(PathBuf::from("p.yaml"), text.to_owned())];
    let set = match PolicySet::parse(&files, &local) {
        Ok(set) => set,
        Err(faults) => {
            assert!(!faults.faults().is_empty());
            assert!(faults.faults().len() <= 100);
            return;
        }
    };
    for (rule, idle) in set.idle_rules() {
        assert!(rule.place().is_some() && !idle.text().is_empty());
    }
    let addresses = ["a@b.com", "a2a+x@example.com", "Orders-1@EXAMPLE.com", "x@y.partner.example"];
    let addresses = addresses.map(|text| Address::parse(text).expect("an address"));
    let schema = SchemaId::parse("agntcy:commerce.order.v1").expect("a schema");
    for sender in &addresses {
        for recipient in &addresses {
            for schema in [None, Some(&schema)] {
                let question = Question {
                    directions: Direction::Submission | Direction::Outbound,
                    sender,
                    recipient,
                    schema,
                    size: 1_000,
                    standing: Standing::default(),
                };
                let verdict = set.decide(&question);
                assert_eq!(verdict, set.explain(&question).verdict);
                assert_eq!(verdict.refusal.is_some(), verdict.action == Action::Deny);
            }
        }
    }
}
