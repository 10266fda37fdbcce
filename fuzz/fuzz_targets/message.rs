//! Any bytes as a message: parsing never panics, and what parses survives being sent.
//!
//! For each profile: a parsed message, built and parsed again, has the same members and the same
//! fingerprint, and building it once more gives the same bytes.

#![no_main]

use amtpd::protocol::json::{canonical_text, scan_object};
use amtpd::protocol::wire::{Replace, build};
use amtpd::protocol::{Bounce, IdempotencyKey, Limits, Message, MessageId, Profile, Timestamp};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits {
    message_size: usize::MAX,
    recipients: 100,
};

/// The members that the wire form sets itself.
const IDENTITY: [&str; 4] = ["version", "message_id", "idempotency_key", "timestamp"];

fuzz_target!(|data: &[u8]| {
    let raw = Bytes::copy_from_slice(data);
    for profile in [Profile::Submission, Profile::Relay] {
        if let Ok(message) = Message::parse(raw.clone(), profile, &LIMITS) {
            check(&message, profile);
        }
    }
    check_canonical(data);
});

fn check(message: &Message, profile: Profile) {
    let minted_id = MessageId::parse("minted").expect("a valid id");
    let minted_key = IdempotencyKey::parse("minted").expect("a valid key");
    let id = message.message_id().unwrap_or(&minted_id);
    let key = message.idempotency_key().unwrap_or(&minted_key);
    let timestamp = message.timestamp().unwrap_or(Timestamp::from_millis(0));
    let replace = Replace::identity(id, key, timestamp);

    let sent = build(message, &replace);
    let again = Message::parse(Bytes::from(sent.clone()), profile, &LIMITS)
        .expect("what is sent is a message");
    assert_eq!(build(&again, &replace), sent, "building is stable");
    assert_eq!(again.message_id(), Some(id));
    assert_eq!(again.idempotency_key(), Some(key));
    assert_eq!(again.timestamp(), Some(timestamp));
    assert_eq!(again.sender(), message.sender());
    assert_eq!(again.recipients(), message.recipients());
    assert_eq!(again.fingerprint(), message.fingerprint());
    let kept = |message: &Message| -> Vec<(String, String)> {
        let members = message.members();
        members
            .filter(|(name, _)| !IDENTITY.contains(&name.as_ref()))
            .map(|(name, value)| (name.into_owned(), value.to_owned()))
            .collect()
    };
    assert_eq!(kept(&again), kept(message), "every other member is kept");

    let _ = Bounce::from_message(message);
    if let Some(plan) = message.plan() {
        assert!(!plan.timeout().is_zero());
    }
}

fn check_canonical(data: &[u8]) {
    let mut once = Vec::new();
    let result = canonical_text(data, &mut once);
    if scan_object(data).is_ok() {
        result.expect("a scanned object has a canonical text");
        let mut twice = Vec::new();
        canonical_text(&once, &mut twice).expect("a canonical text is JSON");
        assert_eq!(once, twice, "a canonical text is its own");
    }
}
