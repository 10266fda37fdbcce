use super::*;
use proptest::prelude::{ProptestConfig, prop_assert, prop_assert_eq, proptest};
use std::collections::HashSet;

#[test]
fn domains_are_normalised() {
    let table = [
        ("example.com", "example.com"),
        ("EXAMPLE.Com.", "example.com"),
        ("localhost", "localhost"),
        ("r3---sn.example", "r3---sn.example"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example。", "xn--bcher-kva.example"),
        ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
        ("1.2.example", "1.2.example"),
    ];
    for (text, expected) in table {
        assert_eq!(Domain::parse(text).unwrap().as_str(), expected, "{text}");
    }
}

#[test]
fn what_is_no_host_name_is_no_domain() {
    let long_label = format!("{}.example", "a".repeat(64));
    let long_name = vec!["abcdefg"; 32].join(".");
    let table = [
        "",
        ".",
        "a..b",
        ".a",
        "a.b..",
        "-a.example",
        "a-.example",
        "a_b.example",
        "a b",
        "a\0b",
        "127.0.0.1",
        "[127.0.0.1]",
        "::1",
        "a.123",
        "exa mple.com",
        "example.com:443",
        "xn--a.example",
        "\u{202e}a.example",
        &long_label,
        &long_name,
    ];
    for text in table {
        assert_eq!(Domain::parse(text), Err(AddressFault::Domain), "{text}");
    }
    assert!(Domain::parse(long_name[..253].trim_end_matches('.')).is_ok());
    assert!(Domain::parse(&"a.".repeat(1_000_000)).is_err());
}

#[test]
fn addresses_keep_the_local_part_and_compare_without_case() {
    let shown = Address::parse("Alice.B+tag@EXAMPLE.com").unwrap();
    assert_eq!(shown.to_string(), "Alice.B+tag@example.com");
    assert_eq!(shown.local(), "Alice.B+tag");
    assert_eq!(shown.domain().as_str(), "example.com");
    assert_eq!(shown.key(), "alice.b+tag@example.com");
    let same = Address::parse("alice.b+TAG@example.com").unwrap();
    assert_eq!(shown, same);
    assert_eq!(shown.cmp(&same), Ordering::Equal);
    assert!(HashSet::from([shown]).contains(&same));
}

#[test]
fn what_is_no_bare_dot_atom_is_refused() {
    let long = format!("{}@example.com", "a".repeat(65));
    let table = [
        ("", AddressFault::NoAt),
        ("alice", AddressFault::NoAt),
        ("@example.com", AddressFault::Local),
        ("alice@", AddressFault::Domain),
        ("a@b@example.com", AddressFault::Local),
        (".a@example.com", AddressFault::Local),
        ("a.@example.com", AddressFault::Local),
        ("a..b@example.com", AddressFault::Local),
        ("\"a b\"@example.com", AddressFault::Local),
        ("a b@example.com", AddressFault::Local),
        (" a@example.com", AddressFault::Local),
        ("a(x)@example.com", AddressFault::Local),
        ("Alice <a@example.com>", AddressFault::Local),
        ("a@example.com>", AddressFault::Domain),
        ("a\0@example.com", AddressFault::Local),
        ("älice@example.com", AddressFault::Local),
        ("a@example.com ", AddressFault::Domain),
        (long.as_str(), AddressFault::Local),
    ];
    for (text, fault) in table {
        assert_eq!(Address::parse(text), Err(fault), "{text}");
    }
    assert!(Address::parse(&long[1..]).is_ok());
    assert!(Address::parse("!#$%&'*+-/=?^_`{|}~@example.com").is_ok());
}

#[test]
fn agent_names_are_strict_and_lower_case() {
    for (text, name) in [("a", "a"), ("Sales-Bot_2.eu", "sales-bot_2.eu"), ("0", "0")] {
        assert_eq!(AgentName::parse(text).unwrap().as_str(), name);
    }
    let long = "a".repeat(65);
    for text in [
        "", ".a", "a.", "_a", "a_", "-a", "a-", "a+b", "a b", "ä", "a..b", &long,
    ] {
        assert_eq!(
            AgentName::parse(text),
            Err(AddressFault::AgentName),
            "{text}"
        );
    }
}

#[test]
fn a_tagged_address_means_the_agent_before_the_tag() {
    let table = [
        ("agent@a.example", vec!["agent"]),
        ("Agent+x+y@a.example", vec!["agent"]),
        ("_agent+x@a.example", vec![]),
        ("a$b@a.example", vec![]),
        ("+x@a.example", vec![]),
    ];
    for (text, expected) in table {
        let address = Address::parse(text).unwrap();
        let names: Vec<String> = address.agent_names().map(|name| name.to_string()).collect();
        assert_eq!(names, expected, "{text}");
    }
}

#[test]
fn reserved_local_parts_are_known_in_any_case_and_with_tags() {
    for local in [
        "postmaster",
        "Abuse",
        "mailer-daemon",
        "workflow",
        "amtp-bridge",
        "postmaster+x",
        "a2a+1",
        "BOUNCE+abc",
        "bounce+",
    ] {
        assert!(is_reserved(local), "{local}");
    }
    for local in [
        "",
        "post",
        "postmaster2",
        "a2a",
        "bounce",
        "a2ax+1",
        "x+a2a",
    ] {
        assert!(!is_reserved(local), "{local}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_domain_reads_back_as_itself(text in "([a-zA-Z0-9äßñ中-]{1,12}\\.){0,4}[a-zA-Z]{2,8}\\.?") {
        if let Ok(domain) = Domain::parse(&text) {
            prop_assert_eq!(Domain::parse(domain.as_str()), Ok(domain.clone()));
            let json = serde_json::to_string(&domain).unwrap();
            prop_assert_eq!(serde_json::from_str::<Domain>(&json).unwrap(), domain);
        }
    }

    #[test]
    fn what_looks_normal_at_first_sight_is_normal(text in "[a-bxn0-1.-]{0,9}|[a-z-]{60,66}|([a-z]{60}\\.){3}[a-z.]{60,75}") {
        let thorough = normalise_thoroughly(&text);
        prop_assert_eq!(normalise(&text), thorough);
    }

    #[test]
    fn an_address_reads_back_as_itself(
        local in "[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]{1,20}(\\.[a-zA-Z0-9+-]{1,20}){0,2}",
        domain in "[a-z]([a-z0-9]{0,10}\\.[a-z]{2,5}){1,3}",
    ) {
        let address = Address::parse(&format!("{local}@{domain}")).unwrap();
        prop_assert_eq!(address.local(), local);
        prop_assert_eq!(address.domain().as_str(), domain);
        let again = Address::parse(&address.to_string()).unwrap();
        prop_assert_eq!(again.as_str(), address.as_str());
        prop_assert_eq!(Address::parse(&address.key()).unwrap(), address);
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,80}") {
        if let Ok(address) = Address::parse(&text) {
            prop_assert!(Address::parse(address.as_str()) == Ok(address));
        }
        let _ = Domain::parse(&text);
        let _ = AgentName::parse(&text);
    }
}
