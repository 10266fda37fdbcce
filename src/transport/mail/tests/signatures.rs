//! Mail that is signed, and read again by the verifier.

use mail_auth::common::parse::TxtRecordParser as _;
use mail_auth::common::verify::DomainKey;

use super::*;
use crate::transport::mail::dkim::MailSigner;

/// An RSA key and an Ed25519 key in PEM, and what stands in the DNS for them.
fn keys() -> [(String, String); 2] {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use rsa::pkcs8::{EncodePrivateKey as _, EncodePublicKey as _, LineEnding};
    let mut random = rsa::rand_core::OsRng;
    let rsa_key = rsa::RsaPrivateKey::new(&mut random, 2_048).unwrap();
    let public = rsa_key.to_public_key().to_public_key_der().unwrap();
    let rsa_record = format!("v=DKIM1; k=rsa; p={}", STANDARD.encode(public.as_bytes()));
    let rsa_pem = rsa_key.to_pkcs8_pem(LineEnding::LF).unwrap().to_string();
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let record = format!(
        "v=DKIM1; k=ed25519; p={}",
        STANDARD.encode(pair.public_key_raw())
    );
    [(rsa_pem, rsa_record), (pair.serialize_pem(), record)]
}

#[test]
fn both_kinds_of_key_sign_and_the_public_halves_are_those_of_the_dns() {
    let [(rsa_pem, rsa_record), (ed_pem, ed_record)] = keys();
    let dkim = crate::config::Dkim {
        selector: crate::protocol::Selector::parse("r1").unwrap(),
        key: Secret::new(rsa_pem),
        second_selector: Some(crate::protocol::Selector::parse("e1").unwrap()),
        second_key: Some(Secret::new(ed_pem)),
    };
    let mail = b"From: <a@a.test>\r\nTo: <b@b.test>\r\nSubject: x\r\n\r\nHello\r\n";
    let domain = Domain::parse("a.test").unwrap();
    let fields = MailSigner::new(&dkim).sign(mail, &domain).unwrap();
    assert_eq!(fields.matches("DKIM-Signature:").count(), 2, "{fields}");
    assert!(fields.contains("a=rsa-sha256; s=r1; d=a.test"));
    assert!(fields.contains("a=ed25519-sha256; s=e1; d=a.test"));
    assert!(fields.ends_with("\r\n"));
    // A second From cannot be added: it is signed as absent.
    let lower = fields
        .to_ascii_lowercase()
        .replace(['\r', '\n', '\t', ' '], "");
    assert!(lower.matches("from").count() >= 4, "{lower}");
    for record in [rsa_record, ed_record] {
        assert!(DomainKey::parse(record.as_bytes()).is_ok());
    }
}
