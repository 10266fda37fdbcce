//! Any bytes as an `_amtp` record: parsing never panics, and what parses reads back from its text.

#![no_main]

use amtpd::protocol::Advertisement;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(advertisement) = Advertisement::parse_strings(&[data]) else {
        return;
    };
    let text = advertisement.to_string();
    assert_eq!(Advertisement::parse(&text).as_ref(), Ok(&advertisement));
    let halves = text.split_at(text.len() / 2);
    let joined = Advertisement::parse_strings(&[halves.0, halves.1]);
    assert_eq!(joined.as_ref(), Ok(&advertisement));

    let gateway = &advertisement.gateway;
    assert_ne!(gateway.port(), 0);
    assert!(!gateway.host().is_empty());
    assert!(!gateway.path().ends_with('/'));
    assert!(gateway.as_str().ends_with(gateway.path()));
    assert!(gateway.as_str().contains(gateway.authority()));
});
