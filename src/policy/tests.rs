//! Whole sets: right and wrong files, and what they decide.

use std::fmt::Write as _;
use std::path::PathBuf;

use proptest::prelude::{ProptestConfig, prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::config::DeliveryPath;
use crate::protocol::{Address, Domain, ErrorCode, Priority, SchemaId};

mod faults;
mod shipped;
mod speed;

fn local() -> Vec<Domain> {
    vec![Domain::parse("example.com").unwrap()]
}

fn parse(files: &[(&str, &str)]) -> Result<PolicySet, PolicyFaults> {
    let files: Vec<(PathBuf, String)> = files
        .iter()
        .map(|(name, text)| (PathBuf::from(name), (*text).to_owned()))
        .collect();
    PolicySet::parse(&files, &local())
}

/// A set of one file with these rules, each a flow map, and `deny` as default.
fn set(rules: &[&str]) -> PolicySet {
    parse(&[("p.yaml", &file(rules))]).unwrap_or_else(|faults| panic!("{faults}"))
}

fn file(rules: &[&str]) -> String {
    let rules: String = rules.iter().map(|rule| format!("  - {rule}\n")).collect();
    format!("version: \"1.0\"\ndefault_policy: deny\nrules:\n{rules}")
}

struct Letter {
    directions: Directions,
    sender: Address,
    recipient: Address,
    schema: Option<SchemaId>,
    size: usize,
    standing: Standing,
}

impl Letter {
    /// A stranger's letter.
    fn from(sender: &str, recipient: &str) -> Self {
        Self {
            directions: Direction::Inbound.into(),
            sender: Address::parse(sender).unwrap(),
            recipient: Address::parse(recipient).unwrap(),
            schema: None,
            size: 1_000,
            standing: Standing::default(),
        }
    }

    fn question(&self) -> Question<'_> {
        Question {
            directions: self.directions,
            sender: &self.sender,
            recipient: &self.recipient,
            schema: self.schema.as_ref(),
            size: self.size,
            standing: self.standing,
        }
    }

    fn with_schema(mut self, schema: &str) -> Self {
        self.schema = Some(SchemaId::parse(schema).unwrap());
        self
    }

    fn going(mut self, directions: impl Into<Directions>) -> Self {
        self.directions = directions.into();
        self
    }
}

/// The line of the rule that decides; 0 for the default.
fn line(set: &PolicySet, letter: &Letter) -> usize {
    let question = letter.question();
    let verdict = set.decide(&question);
    assert_eq!(
        verdict,
        set.explain(&question).verdict,
        "index and list differ"
    );
    verdict.rule.place().map_or(0, |place| place.line)
}

#[test]
fn without_a_file_everything_passes_and_strangers_are_flagged() {
    let set = parse(&[]).unwrap();
    assert!(set.is_empty() && set.files().is_empty());
    let verdict = set.decide(&Letter::from("a@b.com", "c@example.com").question());
    assert_eq!((verdict.action, verdict.refusal), (Action::Allow, None));
    assert_eq!(verdict.signature, SignatureMode::Flag);
    assert_eq!(
        (verdict.rule, verdict.because),
        (RuleRef::Default, Because::NoRule)
    );
}

#[test]
fn the_first_rule_that_matches_decides() {
    let set = set(&[
        "{sender_pattern: evil@b.com, action: deny}",
        "{sender_pattern: \"*@b.com\", schemas: [\"agntcy:commerce.*\", x], action: allow}",
        "{sender_pattern: \"*.b.com\", direction: [inbound, bridge-in], action: hold}",
        "{recipient_pattern: \"orders-*@example.com\", action: allow}",
        "{sender_pattern: \"*@b.com\", action: hold}",
    ]);
    let order = "agntcy:commerce.order.v1";
    for (letter, expected) in [
        (Letter::from("EVIL@B.com", "c@example.com"), 4),
        (
            Letter::from("a@b.com", "c@example.com").with_schema(order),
            5,
        ),
        (Letter::from("a@b.com", "c@example.com").with_schema("x"), 5),
        (Letter::from("a@b.com", "c@example.com").with_schema("y"), 8),
        (Letter::from("a@b.com", "c@example.com"), 8),
        (Letter::from("a@x.b.com", "c@example.com"), 6),
        (
            Letter::from("a@x.b.com", "c@example.com").going(Direction::Outbound),
            0,
        ),
        (Letter::from("a@x.b.com", "orders-1@example.com"), 6),
        (Letter::from("a@q.com", "Orders-1@example.com"), 7),
        (Letter::from("a@q.com", "c@example.com"), 0),
    ] {
        assert_eq!(line(&set, &letter), expected, "{:?}", letter.question());
    }
}

#[test]
fn files_make_one_list_in_their_order() {
    let one = "version: \"1.0\"\nrules: [{sender_pattern: a@b.com, action: hold}]\n";
    let two = "version: \"1.0\"\ndefault_policy: allow\nrules:\n- {sender_pattern: a@b.com, action: deny}\n- {sender_pattern: b@b.com, action: deny}\n";
    let set = parse(&[("10.yaml", one), ("20.yml", two)]).unwrap();
    assert_eq!((set.len(), set.files().len()), (3, 2));
    let verdict = set.decide(&Letter::from("a@b.com", "c@example.com").question());
    assert_eq!(verdict.action, Action::Hold);
    assert_eq!(verdict.rule.to_string(), "rule (10.yaml:2)");
    let verdict = set.decide(&Letter::from("b@b.com", "c@example.com").question());
    assert_eq!(verdict.rule.to_string(), "rule (20.yml:5)");
    let verdict = set.decide(&Letter::from("c@b.com", "c@example.com").question());
    assert_eq!(verdict.action, Action::Allow);
}

#[test]
fn an_agents_mail_to_others_goes_by_two_directions() {
    let out = Direction::Submission | Direction::Outbound;
    let letter = || Letter::from("a@example.com", "b@b.com").going(out);
    for (direction, expected) in [
        ("submission", 4),
        ("outbound", 4),
        ("[inbound, bridge-out]", 0),
    ] {
        let set = set(&[&format!("{{direction: {direction}, action: allow}}")]);
        assert_eq!(line(&set, &letter()), expected, "{direction}");
    }
}

#[test]
fn patterns_never_cover_reserved_senders_of_our_own() {
    let set = set(&[
        "{sender_pattern: \"*@example.com\", action: allow}",
        "{sender_pattern: postmaster@example.com, action: allow}",
        "{sender_pattern: \"a2a+*@example.com\", action: allow}",
        "{sender_pattern: \"*.com\", action: allow}",
        "{sender_pattern: \"*\", recipient_pattern: \"*@b.com\", action: allow}",
        "{recipient_pattern: \"*@example.com\", action: hold}",
    ]);
    for (sender, recipient, expected) in [
        ("alice@example.com", "c@q.com", 4),
        ("postmaster@example.com", "c@q.com", 0),
        ("a2a+x7@example.com", "c@q.com", 0),
        ("A2A+x7@Example.com", "c@b.com", 8),
        ("a2a@example.com", "c@q.com", 4),
        ("workflow@example.com", "c@b.com", 8),
        ("postmaster@x.com", "c@q.com", 7),
        ("a2a+x@x.com", "c@q.com", 7),
        ("a@q.org", "postmaster@example.com", 9),
    ] {
        let letter = Letter::from(sender, recipient);
        assert_eq!(line(&set, &letter), expected, "{sender} {recipient}");
    }
}

#[test]
fn a_restricted_recipient_is_closed_to_all_others_whatever_the_rules_say() {
    let text = "version: \"1.0\"\ndefault_policy: allow\nrestricted:\n\
        - {recipient_pattern: payroll@example.com, senders: [hr@example.com, \"*.audit.org\"], name: pay}\n\
        - {recipient_pattern: \"pay*@example.com\", senders: [\"*@example.com\", \"*.audit.org\"]}\n\
        - {recipient_pattern: nobody@example.com, senders: []}\n\
        - {recipient_pattern: open@example.com, senders: [\"*\"]}\n\
        rules: [{action: allow}]\n";
    let set = parse(&[("p.yaml", text)]).unwrap();
    for (sender, recipient, expected) in [
        ("HR@example.com", "Payroll@example.com", 8),
        ("x@eu.audit.org", "payroll@example.com", 8),
        ("x@audit.org", "payroll@example.com", 4),
        ("alice@example.com", "payroll@example.com", 4),
        ("alice@example.com", "payments@example.com", 8),
        ("alice@q.com", "payments@example.com", 5),
        ("alice@example.com", "nobody@example.com", 6),
        ("alice@example.com", "somebody@example.com", 8),
        ("workflow@example.com", "payments@example.com", 5),
        ("workflow@example.com", "open@example.com", 8),
    ] {
        let letter = Letter::from(sender, recipient);
        assert_eq!(line(&set, &letter), expected, "{sender} {recipient}");
    }
    let verdict = set.decide(&Letter::from("a@b.com", "payroll@example.com").question());
    assert_eq!(
        (verdict.action, verdict.refusal, verdict.because),
        (
            Action::Deny,
            Some(ErrorCode::PolicyDenied),
            Because::Restricted
        )
    );
    assert_eq!(
        verdict.rule.to_string(),
        "restricted recipient \"pay\" (p.yaml:4)"
    );
}

/// A rule's keys, what is known of a message, and what it is told.
fn requirements() -> Vec<(&'static str, Standing, Option<ErrorCode>)> {
    use ErrorCode::{
        MessageTooLarge, PolicyDenied, SignatureInvalid, SignatureKeyUnavailable, SignatureRequired,
    };
    let standing = |sender, signature| Standing {
        sender,
        signature,
        ..Standing::default()
    };
    let unsigned = Standing::default();
    let forged = standing(SenderStanding::Unverified, SignatureStanding::Invalid);
    let no_key = standing(
        SenderStanding::Unverified,
        SignatureStanding::KeyUnavailable,
    );
    let near = standing(SenderStanding::SourceAddress, SignatureStanding::Absent);
    let signed = standing(SenderStanding::Verified, SignatureStanding::Valid);
    let by_certificate = Standing {
        certificate: CertificateStanding::Valid,
        ..standing(SenderStanding::Verified, SignatureStanding::Absent)
    };
    let encrypted = Standing {
        payload: PayloadStanding::Encrypted,
        ..unsigned
    };
    vec![
        ("require: [verified]", unsigned, Some(SignatureRequired)),
        ("require: [verified]", near, Some(SignatureRequired)),
        ("require: [verified]", forged, Some(SignatureInvalid)),
        ("require: [verified]", no_key, Some(SignatureKeyUnavailable)),
        ("require: [verified]", signed, None),
        ("require: [verified]", by_certificate, None),
        ("require: [verified]", Standing::local(), None),
        ("require: [signed]", unsigned, Some(SignatureRequired)),
        ("require: [signed]", by_certificate, Some(SignatureRequired)),
        ("require: [signed]", forged, Some(SignatureInvalid)),
        ("require: [signed]", signed, None),
        ("require: [signed]", Standing::local(), None),
        ("require: [trusted]", unsigned, Some(PolicyDenied)),
        ("require: [trusted]", forged, Some(SignatureInvalid)),
        ("require: [trusted]", no_key, Some(SignatureKeyUnavailable)),
        ("require: [trusted]", near, None),
        ("require: [encrypted]", signed, Some(PolicyDenied)),
        ("require: [encrypted]", encrypted, None),
        ("require: [tls-client-cert]", signed, Some(PolicyDenied)),
        ("require: [tls-client-cert]", forged, Some(PolicyDenied)),
        ("require: [tls-client-cert]", by_certificate, None),
        ("require: [trusted, encrypted]", near, Some(PolicyDenied)),
        (
            "signature_policy: reject",
            unsigned,
            Some(SignatureRequired),
        ),
        ("signature_policy: reject", near, Some(SignatureRequired)),
        ("signature_policy: reject", forged, Some(SignatureInvalid)),
        (
            "signature_policy: reject",
            no_key,
            Some(SignatureKeyUnavailable),
        ),
        ("signature_policy: reject", signed, None),
        ("signature_policy: reject", Standing::local(), None),
        ("signature_policy: flag", forged, None),
        ("max_size: 1000", unsigned, None),
        ("max_size: 999B", unsigned, Some(MessageTooLarge)),
        (
            "max_size: 999, require: [signed]",
            unsigned,
            Some(MessageTooLarge),
        ),
    ]
}

#[test]
fn what_matches_but_lacks_what_is_required_is_refused() {
    for (extra, standing, refusal) in requirements() {
        let set = set(&[
            &format!("{{{extra}, action: hold}}"),
            "{action: allow, name: never asked}",
        ]);
        let mut letter = Letter::from("a@b.com", "c@example.com");
        letter.standing = standing;
        let verdict = set.decide(&letter.question());
        let action = if refusal.is_some() {
            Action::Deny
        } else {
            Action::Hold
        };
        assert_eq!(
            (verdict.refusal, verdict.action),
            (refusal, action),
            "{extra} {standing:?}"
        );
        assert_eq!(line(&set, &letter), 4);
    }
}

#[test]
fn a_verdict_carries_what_its_rule_says() {
    let set = set(&[
        "{name: fast, reason: they pay, path: immediate, priority: urgent, ordering: none, \
         signature_policy: accept, rate_limit: 100/hour, action: allow}",
    ]);
    let verdict = set.decide(&Letter::from("a@b.com", "c@example.com").question());
    assert_eq!(verdict.path, Some(DeliveryPath::Immediate));
    assert_eq!(verdict.priority, Some(Priority::Urgent));
    assert_eq!(verdict.ordering, Some(Ordering::None));
    assert_eq!(verdict.signature, SignatureMode::Accept);
    let rate = verdict.limit.unwrap().rate.unwrap();
    assert_eq!(
        (rate.count.get(), rate.period.as_secs(), rate.burst.get()),
        (100, 3_600, 100)
    );
    let place = verdict.rule.place().unwrap();
    assert_eq!(place.reason.as_deref(), Some("they pay"));
    assert_eq!(verdict.rule.to_string(), "rule \"fast\" (p.yaml:4)");
}

#[test]
fn an_explanation_names_every_rule_passed_over() {
    let set = set(&[
        "{direction: outbound, action: deny}",
        "{sender_pattern: \"*@q.com\", action: deny}",
        "{recipient_pattern: \"*@q.com\", action: deny}",
        "{schemas: [x], action: deny}",
        "{action: allow}",
    ]);
    let explanation = set.explain(&Letter::from("a@b.com", "c@example.com").question());
    let why: Vec<Mismatch> = explanation.passed.iter().map(|(_, why)| *why).collect();
    assert_eq!(
        why,
        [
            Mismatch::Direction,
            Mismatch::Sender,
            Mismatch::Recipient,
            Mismatch::NoSchema
        ]
    );
    assert_eq!(explanation.verdict.action, Action::Allow);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 200, ..ProptestConfig::default() })]

    /// The index decides as the list does, whatever the rules.
    #[test]
    fn the_index_finds_what_the_list_finds(
        rules in proptest::collection::vec((0_usize..14, 0_usize..14, 0_usize..8, 0_usize..4), 0..40),
        letters in proptest::collection::vec((0_usize..9, 0_usize..9, 0_usize..5, 0_usize..3), 1..30),
    ) {
        const PATTERNS: [&str; 14] = [
            "*", "*", "*.com", "*.b.com", "*@b.com", "*@x.b.com", "a@b.com", "a+t@b.com", "a*@b.com",
            "*a@b.com", "a*c@b.com", "*b*@b.com", "*@example.com", "bounce+*@example.com",
        ];
        const SCHEMAS: [&str; 8] = [
            "", "", "schemas: [x]", "schemas: [\"x.*\"]", "schemas: [\"*.v1\", y]",
            "schemas: [\"*\"]", "schemas: [\"x*1\", \"*\"]", "schemas: [\"*.*\"]",
        ];
        const WAYS: [&str; 4] = ["", "", "direction: inbound", "direction: [submission, outbound]"];
        const ADDRESSES: [&str; 9] = [
            "a@b.com", "A+t@b.com", "ab@b.com", "abc@B.com", "a@x.b.com", "a@y.x.b.com",
            "bounce+1@example.com", "a@example.com", "z@z.org",
        ];
        let mut text = "version: \"1.0\"\ndefault_policy: deny\nrules:\n".to_owned();
        for (sender, recipient, schema, way) in &rules {
            let _ = writeln!(
                text,
                "- {{sender_pattern: \"{}\", recipient_pattern: \"{}\", {} {} {} {} action: allow}}",
                PATTERNS[*sender], PATTERNS[*recipient],
                SCHEMAS[*schema], if SCHEMAS[*schema].is_empty() { "" } else { "," },
                WAYS[*way], if WAYS[*way].is_empty() { "" } else { "," },
            );
        }
        if rules.is_empty() {
            text = "version: \"1.0\"\ndefault_policy: deny\n".to_owned();
        }
        let set = parse(&[("p.yaml", &text)]).unwrap();
        for (sender, recipient, schema, way) in letters {
            let mut letter = Letter::from(ADDRESSES[sender], ADDRESSES[recipient]);
            let schema = ["", "x", "x.v1", "y", "z.v1"][schema];
            letter.schema = SchemaId::parse(schema).ok();
            letter.directions = [
                Direction::Inbound.into(), Direction::Outbound.into(),
                Direction::Submission | Direction::Outbound,
            ][way];
            let question = letter.question();
            prop_assert_eq!(set.decide(&question), set.explain(&question).verdict);
        }
    }
}
