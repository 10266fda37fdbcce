//! Any bytes as a token, as the key set of an issuer, and as the claims of a token that is good: reading
//! never panics, nobody's token is believed, and claims name ours only.

#![no_main]

use amtpd::auth::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        fuzzing::token(text);
        fuzzing::token(&format!("eyJhbGciOiJFUzI1NiJ9.{text}"));
    }
    fuzzing::key_set(data);
    fuzzing::claims(data);
});
