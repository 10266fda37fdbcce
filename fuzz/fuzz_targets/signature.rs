//! Any bytes as a signature object, and as a body to sign: reading never panics, what is read is
//! written back equal, and the canonical form of a body is its own canonical form.

#![no_main]

use amtpd::protocol::signature::{SignatureObject, attach, canonical, signable};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(signature) = SignatureObject::read(text)
    {
        assert!(!signature.keyid.as_str().contains('.'));
        assert_eq!(SignatureObject::read(&signature.to_json()), Ok(signature));
    }
    let Ok(bytes) = canonical(data) else {
        assert!(!signable(data));
        return;
    };
    assert_eq!(canonical(&bytes).as_ref(), Ok(&bytes));
    assert!(std::str::from_utf8(&bytes).is_ok());
    if bytes != b"{}" {
        let signed = attach(&bytes, r#"{"algorithm":"ES256"}"#);
        assert_eq!(canonical(&signed), Ok(bytes));
    }
});
