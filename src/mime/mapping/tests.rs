use super::*;
use proptest::prelude::{ProptestConfig, prop_assert_eq, proptest};

#[test]
fn mail_addresses_are_amtp_addresses_or_say_why_not() {
    let good = [
        ("alice@example.org", "alice@example.org"),
        (" <Alice.B@EXAMPLE.org> ", "Alice.B@example.org"),
        ("agent+tag/7@example.org", "agent+tag/7@example.org"),
        ("a@münchen.example", "a@xn--mnchen-3ya.example"),
    ];
    for (written, address) in good {
        assert_eq!(read_address(written).unwrap().as_str(), address);
    }
    let bad = [
        ("\"a b\"@example.org", MapFault::Quoted),
        ("\"plain\"@example.org", MapFault::Quoted),
        ("\"@\"@example.org", MapFault::Quoted),
        ("jörg@example.org", MapFault::NotAscii),
        ("a@[192.0.2.1]", MapFault::Literal),
        ("a@[IPv6:2001:db8::1]", MapFault::Literal),
        ("nobody", MapFault::Malformed(AddressFault::NoAt)),
        ("", MapFault::Malformed(AddressFault::NoAt)),
        ("@example.org", MapFault::Malformed(AddressFault::Local)),
        ("a..b@example.org", MapFault::Malformed(AddressFault::Local)),
        ("a@b@example.org", MapFault::Malformed(AddressFault::Local)),
        ("a@", MapFault::Malformed(AddressFault::Domain)),
        ("a@exa mple.org", MapFault::Malformed(AddressFault::Domain)),
    ];
    for (written, fault) in bad {
        assert_eq!(read_address(written), Err(fault), "{written}");
    }
}

#[test]
fn message_ids_become_mail_ids_that_any_server_takes() {
    let domain = Domain::parse("one.example").unwrap();
    for (id, written) in [
        (
            "01987654-3210-7654-8765-432198765432",
            "01987654-3210-7654-8765-432198765432@one.example",
        ),
        ("a:b", "a=3Ab@one.example"),
        (".a..b.", "=2Ea.=2Eb=2E@one.example"),
        (".", "=2E@one.example"),
    ] {
        let id = MessageId::parse(id).unwrap();
        assert_eq!(write_message_id(&id, &domain), written);
        assert_eq!(read_message_id(written, |_| true), Some(id));
    }
}

#[test]
fn other_ids_are_not_ours() {
    let ours = Domain::parse("one.example").unwrap();
    for written in [
        "m-1@two.example",
        "m-1",
        "m 1@one.example",
        "m=1@one.example",
        "m=zz@one.example",
        "=é1@one.example",
        "m=00@one.example",
        "@one.example",
        "a@b@one.example",
    ] {
        let read = read_message_id(written, |domain| *domain == ours);
        assert_eq!(read, None, "{written}");
    }
    let read = read_message_id(" <m-1@ONE.example> ", |domain| *domain == ours);
    assert_eq!(read, MessageId::parse("m-1").ok());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_message_id_reads_back(id in "[A-Za-z0-9._:-]{1,128}") {
        let id = MessageId::parse(&id).unwrap();
        let written = write_message_id(&id, &Domain::parse("one.example").unwrap());
        let local = written.split('@').next().unwrap();
        assert!(!local.starts_with('.') && !local.ends_with('.') && !local.contains(".."));
        assert!(!local.contains(':'));
        prop_assert_eq!(read_message_id(&written, |_| true), Some(id));
    }

    #[test]
    fn no_text_panics(text in ".{0,60}") {
        let _ = read_address(&text);
        let _ = read_message_id(&text, |_| true);
    }
}
