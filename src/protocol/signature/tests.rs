use bytes::Bytes;
use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};
use ring::digest::{SHA256, digest};

use super::*;
use crate::protocol::{Limits, Profile};

const KEY: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEfpvYdVJA70+GxjSPOWOfg7qrGPtSeYI/NmiS816KhmEMPCeB7a4+eGO0d5cPQhV50sVgA8/s1EcPxToOqhxqlQ==";
const VALUE: &str =
    "bc8fAWBRx5g0TV_qaxTtebCp2pnFtHGW5jr1gjbwQbdkIBMOgugK6nBKx6E7JHU5z1izKHXyeJuObTDgWD7M4w";
const P256_PEM: &str = include_str!("tests/p256.pem");
const RSA_PEM: &str = include_str!("tests/rsa2048.pem");
const RSA_PUBLIC: &str = include_str!("tests/rsa2048.pub");

/// The message of the draft's test vector, with a blank here and there.
const MESSAGE: &str = r#"{"version": "1.0", "message_id":"01987654-3210-7654-8765-432198765432",
"idempotency_key":"01234567-89ab-4cde-8123-456789abcdef","timestamp":"2026-08-14T10:30:00Z",
"sender":"orders@sender.example","recipients":["payments@receiver.example"],
"subject":"Invoice\u002042","schema":"agntcy:commerce.order.v1",
"payload":{"order_id":"ORD-42","total":125.50,"currency":"USD"},"workflow_id":""}"#;

fn signed_at() -> Timestamp {
    Timestamp::parse_rfc3339("2026-08-14T10:31:00Z").unwrap()
}

fn message(body: &str) -> Message {
    let body = Bytes::from(body.to_owned());
    Message::parse(body, Profile::Relay, &Limits::default()).unwrap()
}

fn record(algorithm: &str, key: &str) -> KeyRecord {
    KeyRecord::parse(&format!("v=amtpkey1;alg={algorithm};p={}", key.trim())).unwrap()
}

fn signature() -> SignatureObject {
    let raw = format!(r#"{{"algorithm":"ES256","keyid":"k1","value":"{VALUE}"}}"#);
    SignatureObject::read(&raw).unwrap()
}

/// Whether a body is signed with this key, all rules applied.
fn check(body: &str, key: &KeyRecord, now: Timestamp) -> Result<(), SignatureFault> {
    let message = message(body);
    let signature = SignatureObject::read(message.signature().unwrap())?;
    complete(&message, now)?;
    verify(key, &signature, &canonical(message.raw())?)
}

#[test]
fn the_test_vector_of_the_draft_verifies() {
    let bytes = canonical(MESSAGE.as_bytes()).unwrap();
    let hash: String = digest(&SHA256, &bytes)
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(
        hash,
        "983bf54ebe8927bf0d395be395894b62bf4735f7878c462dab9ae16cc1df37f6"
    );
    let key = record("ES256", KEY);
    assert_eq!(verify(&key, &signature(), &bytes), Ok(()));
    let body = String::from_utf8(attach(MESSAGE.as_bytes(), &signature().to_json())).unwrap();
    assert_eq!(check(&body, &key, signed_at()), Ok(()));
    let late = signed_at().plus(OLDEST);
    assert_eq!(check(&body, &key, late), Err(SignatureFault::Stale));
    let early = signed_at().minus(AHEAD + Duration::from_secs(61));
    assert_eq!(check(&body, &key, early), Err(SignatureFault::Ahead));
}

/// Changes of a signed body, each `from => to`, and what they come to.
#[test]
fn whatever_is_changed_the_signature_no_longer_fits() {
    let key = record("ES256", KEY);
    let signed = String::from_utf8(attach(MESSAGE.as_bytes(), &signature().to_json())).unwrap();
    for (from, to) in [
        ("\"1.0\"", "\"1.0\",\"x\":1"),
        ("01987654-3210", "01987654-3211"),
        ("01234567-89ab", "01234567-89ac"),
        ("10:30:00Z", "10:30:01Z"),
        ("10:30:00Z", "10:30:00.000Z"),
        ("orders@sender", "order@sender"),
        ("payments@", "payment@"),
        ("payments@", "Payments@"),
        ("\\u002042", " 43"),
        ("order.v1", "order.v2"),
        ("125.50", "125.51"),
        ("\"USD\"", "\"EUR\""),
        ("\"workflow_id\":\"\"", "\"workflow_id\":null"),
        (",\"workflow_id\":\"\"", ""),
    ] {
        assert!(signed.contains(from), "{from}");
        let changed = signed.replacen(from, to, 1);
        let fault = check(&changed, &key, signed_at()).unwrap_err();
        assert_eq!(fault, SignatureFault::Forged, "{from} => {to}");
    }
    // What says the same is the same.
    for (from, to) in [
        ("125.50", "1.255e2"),
        ("\\u0020", " "),
        ("{\"version\": \"1.0\", ", "{\"version\":\"1.0\","),
    ] {
        let same = signed.replacen(from, to, 1);
        assert_eq!(check(&same, &key, signed_at()), Ok(()), "{from} => {to}");
    }
}

#[test]
fn a_signed_message_carries_its_own_identity_and_time() {
    for (cut, name) in [
        ("\"version\": \"1.0\", ", "version"),
        (
            "\"message_id\":\"01987654-3210-7654-8765-432198765432\",",
            "message_id",
        ),
        (
            "\"idempotency_key\":\"01234567-89ab-4cde-8123-456789abcdef\",",
            "idempotency_key",
        ),
        ("\"timestamp\":\"2026-08-14T10:30:00Z\",", "timestamp"),
    ] {
        assert!(MESSAGE.contains(cut));
        for put in [String::new(), format!("\"{name}\":null,")] {
            let body = MESSAGE.replace(cut, &put);
            let fault = complete(&message(&body), signed_at()).unwrap_err();
            assert_eq!(fault, SignatureFault::Missing(name));
        }
    }
    let year_one = MESSAGE.replace("2026-08-14T10:30:00Z", "0001-01-01T00:00:00Z");
    let fault = complete(&message(&year_one), signed_at()).unwrap_err();
    assert_eq!(fault, SignatureFault::Missing("timestamp"));
}

#[test]
fn a_signature_object_has_exactly_three_members() {
    let good = signature().to_json();
    let longest = "A".repeat(1_366);
    let read = |from: &str, to: &str| SignatureObject::read(&good.replacen(from, to, 1));
    assert!(read("", "").is_ok());
    assert!(read("ES256\"", "\\u00452\"").is_err());
    use SignatureFault::{Algorithm as Alg, Selector as Sel, Shape, Value};
    let rows = [
        ("}", ",\"x\":1}", Shape),
        ("}", ",\"keyid\":\"k1\"}", Shape),
        ("\"algorithm\":\"ES256\",", "", Shape),
        ("\"keyid\"", "\"kid\"", Shape),
        ("\"k1\"", "1", Shape),
        ("\"ES256\"", "null", Shape),
        ("{", "[{", Shape),
        ("ES256", "none", Alg),
        ("ES256", "es256", Alg),
        ("ES256", "HS256", Alg),
        ("ES256", "", Alg),
        ("k1", "K1", Sel),
        ("k1", "k1.evil.example", Sel),
        ("k1", "", Sel),
        ("k1", "-k", Sel),
        ("k1", "k-", Sel),
        ("k1", "k_1", Sel),
        ("k1", "k 1", Sel),
        ("k1", "ké", Sel),
        ("bc8f", "bc8f=", Value),
        ("bc8f", "bc8+", Value),
        ("bc8f", "", Value),
        ("bc8f", "bc8fAAAA", Value),
        // Another spelling of the last bits.
        ("7M4w", "7M4x", Value),
        ("ES256", "RS256", Value),
        ("bc8f", longest.as_str(), Value),
    ];
    for (from, to, fault) in rows {
        assert_eq!(read(from, to), Err(fault), "{from} => {to}");
    }
    for raw in ["null", "\"x\"", "[]", "1", "{}", ""] {
        assert_eq!(SignatureObject::read(raw), Err(Shape), "{raw}");
    }
    let long = "a".repeat(63);
    for label in ["k1", "0", "a-b", "9z", &long] {
        assert_eq!(Selector::parse(label).unwrap().as_str(), label);
    }
    assert_eq!(Selector::parse(&"a".repeat(64)), Err(Sel));
    let domain = Domain::parse("Sender.Example.").unwrap();
    let name = Selector::parse("k1").unwrap().name_in(&domain);
    assert_eq!(name, "k1._amtpkey.sender.example");
}

#[test]
fn a_key_record_is_read_as_it_is_meant_and_no_other_way() {
    let good = format!("v=amtpkey1;alg=ES256;p={KEY}");
    let read = |record: &str| KeyRecord::parse(record).map_err(|fault| fault.to_string());
    for record in [
        good.clone(),
        format!(" v = amtpkey1 ; alg=ES256; x=y; p = {KEY} ;"),
        format!("p={KEY};V=amtpkey1;ALG=ES256;flag"),
    ] {
        assert_eq!(read(&record).unwrap().to_string(), good, "{record}");
    }
    let rsa = format!("v=amtpkey1;alg=RS256;p={RSA_PUBLIC}");
    assert_eq!(read(&rsa).unwrap().to_string(), rsa);
    assert_eq!(read(&rsa).unwrap().bits(), 2_048);
    let (small, odd, other) = (
        include_str!("tests/rsa1024.pub"),
        include_str!("tests/rsa2047.pub"),
        include_str!("tests/p384.pub"),
    );
    for (alg, key, words) in [
        ("RS256", small, "1024 bits"),
        ("RS256", odd, "2047 bits"),
        ("RS256", KEY, "not an RSA key"),
        ("ES256", RSA_PUBLIC, "not a key on P-256"),
        ("ES256", other, "not a key on P-256"),
        ("ES256", "", "not a key on P-256"),
        ("ES256", "AAAA", "not a key on P-256"),
        ("ES256", "?", "not base64"),
        ("ES256", KEY.trim_end_matches('='), "not base64"),
        ("none", KEY, "neither ES256 nor RS256"),
        ("es256", KEY, "neither ES256 nor RS256"),
        ("ES384", other, "neither ES256 nor RS256"),
    ] {
        let fault = read(&format!("v=amtpkey1;alg={alg};p={key}")).unwrap_err();
        assert!(fault.contains(words), "{alg} {key}: {fault}");
    }
    for (record, words) in [
        (good.replace("amtpkey1", "amtpkey2"), "v=amtpkey1"),
        (good.replace("v=amtpkey1;", ""), "v=amtpkey1"),
        (format!("{good};alg=ES256"), "alg stands twice"),
        (format!("{good};P={KEY}"), "p stands twice"),
        (format!("{good};x=1;x=2"), "x stands twice"),
        ((0..99).map(|n| format!("n{n}=1;")).collect(), "too many"),
        (String::new(), "v=amtpkey1"),
    ] {
        let fault = read(&record).unwrap_err();
        assert!(fault.contains(words), "{record}: {fault}");
    }
    assert!(KeyRecord::is_meant(" \"V=AmtpKey9;") && !KeyRecord::is_meant("v=spf1"));
    assert!(!KeyRecord::is_meant("v=amtp1") && !KeyRecord::is_meant("é"));
}

#[test]
fn only_one_spelling_of_a_public_key_is_right() {
    let der = base64::prelude::BASE64_STANDARD
        .decode(RSA_PUBLIC.trim())
        .unwrap();
    let parse = |der: &[u8]| {
        let key = base64::prelude::BASE64_STANDARD.encode(der);
        KeyRecord::parse(&format!("v=amtpkey1;alg=RS256;p={key}"))
    };
    assert!(parse(&der).is_ok());
    assert!(parse(&[&der[..], b"x"].concat()).is_err());
    for at in 0..der.len() {
        // A cut key is none, and neither is one with another length or tag.
        assert!(parse(&der[..at]).is_err(), "{at}");
    }
    // A length of one byte written in two, as BER allows.
    let mut long = der.clone();
    long.splice(4..6, [0x30, 0x81, 0x0d]);
    assert!(parse(&long).is_err());
    // A negative modulus, and one with a needless zero.
    let modulus = der.len() - 256 - 5 - 1;
    assert_eq!(der[modulus], 0);
    let mut negative = der.clone();
    negative[modulus] = 0x80;
    assert!(parse(&negative).is_err());
}

#[test]
fn what_is_signed_here_verifies_and_the_algorithm_is_the_keys() {
    let selector = Selector::parse("k1").unwrap();
    let bytes = canonical(MESSAGE.as_bytes()).unwrap();
    let mut made = Vec::new();
    for (pem, algorithm) in [(P256_PEM, Algorithm::Es256), (RSA_PEM, Algorithm::Rs256)] {
        let signer = Signer::read(selector.clone(), pem).unwrap();
        assert_eq!(signer.algorithm(), algorithm);
        let signature = signer.sign(&bytes).unwrap();
        let read = SignatureObject::read(&signature.to_json()).unwrap();
        assert_eq!(read, signature);
        let key = KeyRecord::parse(&signer.record().to_string()).unwrap();
        assert_eq!(key, signer.record());
        assert_eq!(verify(&key, &read, &bytes), Ok(()));
        let body = attach(MESSAGE.as_bytes(), &signature.to_json());
        assert_eq!(canonical(&body).unwrap(), bytes);
        made.push((key, signature));
    }
    let (es, rs) = (&made[0], &made[1]);
    assert_eq!(es.0.algorithm(), Algorithm::Es256);
    assert_eq!(verify(&es.0, &rs.1, &bytes), Err(SignatureFault::Confused));
    assert_eq!(verify(&rs.0, &es.1, &bytes), Err(SignatureFault::Confused));
    let other = record("ES256", KEY);
    assert_eq!(verify(&other, &es.1, &bytes), Err(SignatureFault::Forged));
    assert_eq!(record("RS256", RSA_PUBLIC), rs.0);
}

#[test]
fn a_private_key_is_pkcs8_of_a_kind_we_use() {
    let selector = || Selector::parse("k1").unwrap();
    let read = |pem: &str| Signer::read(selector(), pem).unwrap_err();
    assert_eq!(read(""), SignerFault::Pem);
    assert_eq!(read("hidden"), SignerFault::Pem);
    let sec1 = P256_PEM.replace("PRIVATE KEY", "EC PRIVATE KEY");
    assert_eq!(read(&sec1), SignerFault::Pem);
    let public = format!("-----BEGIN PRIVATE KEY-----\n{KEY}\n-----END PRIVATE KEY-----\n");
    assert_eq!(read(&public), SignerFault::Kind);
    let signer = Signer::read(selector(), P256_PEM).unwrap();
    assert_eq!(format!("{signer:?}"), "Signer(k1, ES256)");
}

#[test]
fn a_body_with_a_number_that_would_change_cannot_be_signed() {
    let with = |number: &str| format!(r#"{{"payload":{{"a":[{number}]}},"x":1}}"#);
    for number in ["29.99", "0.1", "1e2", "-0", "9007199254740992"] {
        assert!(signable(with(number).as_bytes()), "{number}");
    }
    for number in ["9007199254740993", "1e400", "0.10000000000000000001"] {
        let fault = canonical(with(number).as_bytes()).unwrap_err();
        assert_eq!(fault, NotSignable::Number { offset: 17 }, "{number}");
        // Wherever it stands but in the signature itself.
        let inside = format!(r#"{{"signature":{{"a":{number}}},"x":1}}"#);
        assert_eq!(canonical(inside.as_bytes()).unwrap(), br#"{"x":1}"#);
    }
    for body in [
        "[]",
        "1",
        "{",
        r#"{"a":1,"a":1}"#,
        r#"{"a":{"b":1,"\u0062":2}}"#,
        r#"{"a":"\ud800"}"#,
        r#"{"a":"\udc00\ud800"}"#,
        "{} x",
        "{\"a\":\"\u{0}\"}",
    ] {
        let fault = canonical(body.as_bytes()).unwrap_err();
        assert!(matches!(fault, NotSignable::Json(_)), "{body}");
    }
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(!signable(deep.as_bytes()));
    assert!(!signable(b"{\"a\":\"\xff\"}"));
}

/// The examples of RFC 8785, sections 3.2.2 to 3.2.4.
#[test]
fn the_examples_of_the_rfc_are_written_as_it_says() {
    let table = [
        (
            r#"{"numbers": [333333333.3333333, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
               "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
               "literals": [null, true, false]}"#,
            r#"{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}"#,
        ),
        (
            r#"{"\u20ac": "Euro Sign", "\r": "Carriage Return", "\ufb33": "Hebrew Letter Dalet With Dagesh",
               "1": "One", "\ud83d\ude00": "Emoji: Grinning Face", "\u0080": "Control",
               "\u00f6": "Latin Small Letter O With Diaeresis"}"#,
            "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u{80}\":\"Control\",\"ö\":\"Latin Small Letter O With Diaeresis\",\"€\":\"Euro Sign\",\"😀\":\"Emoji: Grinning Face\",\"\u{fb33}\":\"Hebrew Letter Dalet With Dagesh\"}",
        ),
        (
            r#"{"1": {"f": {"f": "hi", "F": 5}, "\n": 56.0}, "10": {}, "": "empty", "a": {},
               "111": [{"e": "yes", "E": "no"}], "A": {}, "signature": {"z": 1}}"#,
            "{\"\":\"empty\",\"1\":{\"\\n\":56,\"f\":{\"F\":5,\"f\":\"hi\"}},\"10\":{},\"111\":[{\"E\":\"no\",\"e\":\"yes\"}],\"A\":{},\"a\":{}}",
        ),
        (
            r#"{"a":{"signature":1},"\u0073ignature":2,"b":"\b\t\n\f\r\u0000\u001f\u007f\/"}"#,
            "{\"a\":{\"signature\":1},\"b\":\"\\b\\t\\n\\f\\r\\u0000\\u001f\u{7f}/\"}",
        ),
        (" { } ", "{}"),
    ];
    for (text, expected) in table {
        let written = canonical(text.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(written).unwrap(), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn strings_and_their_order_are_as_others_write_them(
        members in proptest::collection::btree_map(any::<String>(), any::<String>(), 0..12),
        number in any::<f64>(),
    ) {
        let mut value = serde_json::json!({ "m": members, "n": number });
        value["m"]["signature"] = serde_json::json!([members]);
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        let theirs = serde_json_canonicalizer::to_vec(&value).unwrap();
        prop_assert_eq!(canonical(pretty.as_bytes()).unwrap(), theirs);
    }

    #[test]
    fn nothing_panics(record in "[ -~]{0,200}", raw in any::<String>(), body in any::<Vec<u8>>()) {
        if let Ok(key) = KeyRecord::parse(&record) {
            prop_assert_eq!(KeyRecord::parse(&key.to_string()), Ok(key));
        }
        if let Ok(read) = SignatureObject::read(&raw) {
            prop_assert!(SignatureObject::read(&read.to_json()).is_ok());
        }
        let _ = canonical(&body);
    }
}
