//! Any text as a key record, and any bytes as the key in one: parsing never panics, and what parses
//! reads back from its text.

#![no_main]

use amtpd::protocol::KeyRecord;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        check(text);
        for algorithm in ["ES256", "RS256"] {
            check(&format!("v=amtpkey1;alg={algorithm};p={text}"));
        }
    }
});

fn check(record: &str) {
    let _ = KeyRecord::is_meant(record);
    let Ok(key) = KeyRecord::parse(record) else {
        return;
    };
    assert!(KeyRecord::is_meant(&key.to_string()));
    assert!((256..=8_192).contains(&key.bits()));
    assert_eq!(KeyRecord::parse(&key.to_string()), Ok(key));
}
