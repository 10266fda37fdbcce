//! Does the published key record hold the key that the configuration signs with?

use super::report::Check;
use crate::config::{Config, Signing};
use crate::net::{DnsFault, Texts};
use crate::protocol::{Domain, KeyRecord, Selector};

const NAME: &str = "config-key";

/// The selectors to look at: the one that was asked for, and those of the configuration.
pub(super) fn selectors(asked: Option<&Selector>, config: Option<&Config>) -> Vec<Selector> {
    let signing = config.and_then(|config| config.signing.as_ref());
    let ours = signing.map(|it| std::iter::once(&it.selector).chain(&it.previous));
    let mut all: Vec<Selector> = Vec::new();
    for selector in asked.into_iter().chain(ours.into_iter().flatten()) {
        if !all.contains(selector) {
            all.push(selector.clone());
        }
    }
    all
}

/// Compares the records of a selector with the key that signs.
pub(super) fn compare(
    (selector, domain): (&Selector, &Domain),
    signing: &Signing,
    answer: &Result<Texts, DnsFault>,
) -> Option<Check> {
    if *selector != signing.selector {
        return None;
    }
    let texts = answer.as_ref().ok()?;
    let records = texts.records.iter();
    let valid: Vec<KeyRecord> = records.filter_map(|strings| read(strings).ok()).collect();
    let [published] = &valid[..] else { return None };
    let ours = signing.signer().record();
    let name = selector.name_in(domain);
    Some(if *published == ours {
        Check::ok(
            NAME,
            format!("{name} has the key that signing.key_file has"),
        )
    } else {
        let text = format!("{name} has another key than signing.key_file: what we sign is invalid");
        Check::fault(
            NAME,
            text,
            format!("publish \"{ours}\", or sign with the key it has"),
        )
    })
}

/// What a record says, or what is wrong with it.
pub(super) fn read(strings: &[Vec<u8>]) -> Result<KeyRecord, String> {
    let record = String::from_utf8(strings.concat()).map_err(|_| "the record is not text")?;
    KeyRecord::parse(&record).map_err(|fault| fault.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::report::Grade;
    use crate::config::Secret;
    use std::time::Duration;

    #[test]
    fn the_published_key_is_to_be_ours() {
        let selector = |name: &str| Selector::parse(name).unwrap();
        let signing = Signing {
            selector: selector("k2"),
            key: Secret::new(include_str!("../../protocol/signature/tests/p256.pem").to_owned()),
            previous: vec![selector("k1")],
        };
        let domain = Domain::parse("a.example").unwrap();
        let ours = signing.signer().record().to_string();
        let other = "v=amtpkey1;alg=ES256;p=MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEfpvYdVJA70+GxjSPOWOfg7qrGPtSeYI/NmiS816KhmEMPCeB7a4+eGO0d5cPQhV50sVgA8/s1EcPxToOqhxqlQ==";
        let judge = |name: &str, records: &[&str]| {
            let strings = |record: &&str| vec![record.as_bytes().to_vec()];
            let texts = Texts {
                records: records.iter().map(strings).collect(),
                ttl: Duration::from_secs(60),
                authoritative: true,
            };
            let check = compare((&selector(name), &domain), &signing, &Ok(texts));
            check.map(|check| check.result)
        };
        assert_eq!(judge("k2", &[&ours]), Some(Grade::Ok));
        assert_eq!(judge("k2", &[other]), Some(Grade::Fault));
        // Told by the check of the record itself.
        assert_eq!(judge("k2", &[&ours, other]), None);
        assert_eq!(judge("k2", &["v=spf1"]), None);
        assert_eq!(judge("k1", &[other]), None);
        assert_eq!(selectors(Some(&selector("k9")), None), [selector("k9")]);
    }
}
