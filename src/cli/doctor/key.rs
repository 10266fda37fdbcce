//! The key record of a selector, by which others check the domain's signatures.
//!
//! `<selector>._amtpkey.<domain>` is to have exactly one valid record:
//! `v=amtpkey1;alg=ES256|RS256;p=<public key, DER in base64>`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::report::Check;
use crate::net::{DnsFault, Texts};

const NAME: &str = "key";
/// Bits an RSA key has at least.
const LEAST_BITS: usize = 2_048;
/// Bytes of a point on P-256, uncompressed.
const POINT: usize = 65;
const P256: &str = "1.2.840.10045.3.1.7";

/// Judges the answer to a question for the key records at `name`.
pub(super) fn judge(name: &str, answer: &Result<Texts, DnsFault>) -> Check {
    let texts = match answer {
        Ok(texts) => texts,
        Err(DnsFault::Nothing { .. }) => {
            let text = format!("{name} has no key record: what it signs cannot be verified");
            return Check::fault(NAME, text, "publish the key, or sign with another selector");
        }
        Err(fault) => {
            let text = format!("{name}: {fault}");
            let fix =
                "signatures cannot be verified while this lasts: look at the zone's name servers";
            return Check::fault(NAME, text, fix);
        }
    };
    let read: Vec<_> = texts.records.iter().map(|strings| read(strings)).collect();
    let valid: Vec<&String> = read.iter().flatten().collect();
    match (valid.as_slice(), read.as_slice()) {
        ([one], _) if texts.records.iter().any(|strings| strings.len() > 1) => {
            let text = format!("{name} has a key ({one}) in several strings");
            let fix = "some gateways read 255 characters only: an ES256 key fits into them";
            Check::warning(NAME, text, fix)
        }
        ([one], _) => Check::ok(NAME, format!("{name} has a key ({one})")),
        ([], [Err(fault)]) => {
            let text = format!("{name}: {fault}");
            Check::fault(NAME, text, "write v=amtpkey1;alg=ES256;p=KEY")
        }
        ([], _) => {
            let text = format!("{name} has no valid key record");
            Check::fault(NAME, text, "write v=amtpkey1;alg=ES256;p=KEY")
        }
        (more, _) => {
            let text = format!("{name} has {} key records, so none counts", more.len());
            Check::fault(NAME, text, "keep one; a new key gets a new selector")
        }
    }
}

/// What key a record holds, or what is wrong with it.
fn read(strings: &[Vec<u8>]) -> Result<String, String> {
    let record = String::from_utf8(strings.concat()).map_err(|_| "the record is not text")?;
    let [version, algorithm, key] = values(&record)?;
    if version != Some("amtpkey1") {
        return Err("the record does not say v=amtpkey1".to_owned());
    }
    let key = key.unwrap_or_default();
    let der = STANDARD.decode(key).map_err(|_| "p is not base64")?;
    let (rest, parsed) =
        SubjectPublicKeyInfo::from_der(&der).map_err(|_| "p is not a public key")?;
    if !rest.is_empty() {
        return Err("p has more than a public key".to_owned());
    }
    match algorithm {
        Some("ES256") if is_p256(&parsed) => Ok("ES256".to_owned()),
        Some("RS256") => rsa(&parsed),
        Some("ES256") => Err("p is not a key on P-256, as ES256 needs".to_owned()),
        _ => Err("alg is neither ES256 nor RS256".to_owned()),
    }
}

fn values(record: &str) -> Result<[Option<&str>; 3], String> {
    let mut values = [None; 3];
    for (name, value) in record.split(';').filter_map(|part| part.split_once('=')) {
        let name = name.trim();
        let Some(index) = ["v", "alg", "p"].iter().position(|known| *known == name) else {
            continue;
        };
        if values[index].replace(value.trim()).is_some() {
            return Err(format!("{name} stands twice"));
        }
    }
    Ok(values)
}

fn is_p256(key: &SubjectPublicKeyInfo<'_>) -> bool {
    let curve = key.algorithm.parameters.as_ref();
    let curve = curve.and_then(|any| any.as_oid().ok());
    let point = &key.subject_public_key.data;
    curve.is_some_and(|oid| oid.to_id_string() == P256)
        && point.len() == POINT
        && point.first() == Some(&4)
}

fn rsa(key: &SubjectPublicKeyInfo<'_>) -> Result<String, String> {
    match key.parsed() {
        Ok(PublicKey::RSA(rsa)) if rsa.key_size() >= LEAST_BITS => {
            Ok(format!("RS256, {} bits", rsa.key_size()))
        }
        Ok(PublicKey::RSA(rsa)) => Err(format!(
            "an RSA key of {} bits is too short",
            rsa.key_size()
        )),
        _ => Err("p is not an RSA key, as RS256 needs".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::report::Grade::{self, Fault, Ok as Fine, Warning};
    use std::time::Duration;

    const KEY: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEfpvYdVJA70+GxjSPOWOfg7qrGPtSeYI/NmiS816KhmEMPCeB7a4+eGO0d5cPQhV50sVgA8/s1EcPxToOqhxqlQ==";

    fn texts(records: &[&[&str]]) -> Result<Texts, DnsFault> {
        let strings = |record: &&[&str]| record.iter().map(|one| one.as_bytes().to_vec()).collect();
        Ok(Texts {
            records: records.iter().map(strings).collect(),
            ttl: Duration::from_secs(60),
            authoritative: true,
        })
    }

    #[test]
    fn exactly_one_key_counts() {
        let good = format!("v=amtpkey1;alg=ES256;p={KEY}");
        let spaced = format!(" v = amtpkey1 ; alg=ES256; x=y; p={KEY}");
        let as_rsa = format!("v=amtpkey1;alg=RS256;p={KEY}");
        let twice = format!("v=amtpkey1;alg=ES256;alg=ES256;p={KEY}");
        let more = format!(
            "v=amtpkey1;alg=ES256;p={}",
            STANDARD.encode([&STANDARD.decode(KEY).unwrap()[..], b"x"].concat())
        );
        let (start, end) = good.split_at(20);
        let table: [(&[&[&str]], Grade, &str); 12] = [
            (&[&[&good]], Fine, "(ES256)"),
            (&[&[&spaced]], Fine, "(ES256)"),
            (&[&["v=spf1"], &[&good]], Fine, "(ES256)"),
            (&[&[start, end]], Warning, "several strings"),
            (&[&[&good], &[&good]], Fault, "none counts"),
            (&[&[&as_rsa]], Fault, "not an RSA key"),
            (&[&[&twice]], Fault, "alg stands twice"),
            (&[&[&more]], Fault, "more than a public key"),
            (&[&["v=amtpkey1;alg=ES256;p=?"]], Fault, "not base64"),
            (
                &[&["v=amtpkey1;alg=ES256;p=AAAA"]],
                Fault,
                "not a public key",
            ),
            (&[&["v=amtpkey1"]], Fault, "not a public key"),
            (&[&["v=spf1"], &["x"]], Fault, "no valid key record"),
        ];
        for (records, grade, words) in table {
            let check = judge("k1._amtpkey.a.example", &texts(records));
            assert_eq!(check.result, grade, "{check:?}");
            assert!(check.text.contains(words), "{check:?}");
        }
        for fault in [
            DnsFault::Nothing { ttl: None },
            DnsFault::Failed("x".to_owned()),
        ] {
            assert_eq!(judge("k", &Err(fault)).result, Fault);
        }
    }
}
