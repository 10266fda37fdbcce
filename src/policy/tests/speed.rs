//! How long deciding takes with a thousand rules. Prints nanoseconds; meaningful in release only:
//! `cargo test --release --lib policy::tests::speed -- --ignored --nocapture`.

use super::*;
use crate::clock::Clock;

/// A thousand rules of one kind, and letters that the last of them, or none, covers.
fn kinds() -> Vec<(&'static str, Vec<String>, Letter)> {
    let rules = |rule: &dyn Fn(usize) -> String| (0..1_000).map(rule).collect::<Vec<_>>();
    let to = "orders-1@example.com";
    vec![
        (
            "domains",
            rules(&|n| format!("{{sender_pattern: \"*@d{n}.com\", action: allow}}")),
            Letter::from("a@d999.com", to),
        ),
        (
            "subdomains",
            rules(&|n| format!("{{sender_pattern: \"*.d{n}.com\", action: allow}}")),
            Letter::from("a@x.y.d999.com", to),
        ),
        (
            "addresses of one domain",
            rules(&|n| format!("{{sender_pattern: \"a{n}@b.com\", action: allow}}")),
            Letter::from("a999@b.com", to),
        ),
        (
            "globs of one domain",
            rules(&|n| format!("{{sender_pattern: \"a{n}-*@b.com\", action: allow}}")),
            Letter::from("a999-x@b.com", to),
        ),
        (
            "pairs",
            rules(&|n| {
                let (sender, recipient) = (n % 32, n / 32);
                format!(
                    "{{sender_pattern: \"s{sender}@b.com\", recipient_pattern: \"r{recipient}@example.com\", action: allow}}"
                )
            }),
            Letter::from("s7@b.com", "r31@example.com"),
        ),
        (
            "schemas",
            rules(&|n| format!("{{schemas: [\"agntcy:d{n}.*\"], action: allow}}")),
            Letter::from("a@b.com", to).with_schema("agntcy:d999.order.v1"),
        ),
        (
            "directions only (worst)",
            rules(&|_| "{direction: outbound, action: allow}".to_owned()),
            Letter::from("a@b.com", to),
        ),
        (
            "globs without beginning or end (worst)",
            rules(&|n| format!("{{sender_pattern: \"*x{n}y*@b.com\", action: allow}}")),
            Letter::from("a@b.com", to),
        ),
    ]
}

#[test]
#[ignore = "a measurement"]
#[allow(clippy::print_stdout, reason = "a measurement")]
fn nanoseconds_of_a_decision_among_a_thousand_rules() {
    const TIMES: u32 = 20_000;
    let clock = Clock::system();
    for (kind, rules, letter) in kinds() {
        let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
        let set = set(&rules);
        let began = clock.monotonic();
        let mut allowed = 0;
        for _ in 0..TIMES {
            let question = letter.question();
            let verdict = set.decide(std::hint::black_box(&question));
            allowed += u32::from(verdict.action == Action::Allow);
        }
        let took = (clock.monotonic() - began) / TIMES;
        println!("{kind}: {} ns, {allowed} allowed", took.as_nanos());
    }
}
