//! The key record of a selector, by which others check the domain's signatures.
//!
//! `<selector>._amtpkey.<domain>` is to have exactly one valid record:
//! `v=amtpkey1;alg=ES256|RS256;p=<public key, DER in base64>`.

use super::report::Check;
use super::signing;
use crate::net::{DnsFault, Texts};
use crate::protocol::Algorithm;

const NAME: &str = "key";
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
    let key = signing::read(strings)?;
    Ok(match key.algorithm() {
        Algorithm::Es256 => "ES256".to_owned(),
        Algorithm::Rs256 => format!("RS256, {} bits", key.bits()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::report::Grade::{self, Fault, Ok as Fine, Warning};
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
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
            (&[&[&more]], Fault, "not a key on P-256"),
            (&[&["v=amtpkey1;alg=ES256;p=?"]], Fault, "not base64"),
            (
                &[&["v=amtpkey1;alg=ES256;p=AAAA"]],
                Fault,
                "not a key on P-256",
            ),
            (&[&["v=amtpkey1"]], Fault, "alg is neither"),
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
