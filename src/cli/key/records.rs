//! The DNS records of signing keys, as text for a zone file and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::config::{RECORD_TTL, Signing};
use crate::protocol::{Domain, KeyRecord, Selector};

/// The longest string of a TXT record, in bytes.
const LONGEST: usize = 255;
/// How long what a key signed may be on its way, in days.
const DAYS: u64 = crate::protocol::signature::OLDEST.as_secs() / 86_400;

/// What is to stand in the DNS.
pub(in crate::cli) struct Published {
    /// Name and value.
    records: Vec<(String, String)>,
    /// Names of records that must stay.
    keep: Vec<String>,
}

/// The records of a configuration's keys.
pub(super) fn of(signing: &Signing, domains: &[Domain]) -> Published {
    let value = signing.signer().record().to_string();
    let record = |domain| (signing.selector.name_in(domain), value.clone());
    let keep = |selector: &Selector| -> Vec<String> {
        domains
            .iter()
            .map(|domain| selector.name_in(domain))
            .collect()
    };
    Published {
        records: domains.iter().map(record).collect(),
        keep: signing.previous.iter().flat_map(keep).collect(),
    }
}

/// A record for one domain; `<domain>` where that is not named yet.
pub(in crate::cli) fn of_new(selector: &Selector, key: &KeyRecord, domain: &str) -> Published {
    Published {
        records: vec![(format!("{selector}._amtpkey.{domain}"), key.to_string())],
        keep: Vec::new(),
    }
}

impl Published {
    pub(in crate::cli) fn text(&self) -> String {
        let ttl = RECORD_TTL.as_secs();
        let mut text = String::new();
        for (name, value) in &self.records {
            let strings: Vec<String> = split(value).map(|part| format!("\"{part}\"")).collect();
            let _ = writeln!(text, "{name}. {ttl} IN TXT {}", strings.join(" "));
        }
        for name in &self.keep {
            let _ = writeln!(
                text,
                "; keep {name}. until {DAYS} days after its key signed last"
            );
        }
        text
    }

    pub(super) fn json(&self) -> Value {
        let ttl = RECORD_TTL.as_secs();
        let records: Vec<Value> = self
            .records
            .iter()
            .map(|(name, value)| {
                let strings: Vec<&str> = split(value).collect();
                json!({ "name": name, "type": "TXT", "ttl": ttl, "value": value, "strings": strings })
            })
            .collect();
        json!({ "records": records, "keep": self.keep })
    }
}

/// The strings a value is published in.
fn split(value: &str) -> impl Iterator<Item = &str> {
    // A record is ASCII.
    (0..value.len())
        .step_by(LONGEST)
        .map(|start| &value[start..value.len().min(start + LONGEST)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn signing(pem: &str) -> Signing {
        Signing {
            selector: Selector::parse("k2").unwrap(),
            key: Secret::new(pem.to_owned()),
            previous: vec![Selector::parse("k1").unwrap()],
        }
    }

    #[test]
    fn a_long_key_stands_in_several_strings_and_an_old_one_stays() {
        let domains = ["a.test", "b.test"].map(|name| Domain::parse(name).unwrap());
        for (pem, strings) in [
            (include_str!("../../protocol/signature/tests/p256.pem"), 1),
            (
                include_str!("../../protocol/signature/tests/rsa2048.pem"),
                2,
            ),
        ] {
            let signing = signing(pem);
            let published = of(&signing, &domains);
            let json = published.json();
            assert_eq!(json["records"][1]["name"], "k2._amtpkey.b.test");
            assert_eq!(json["keep"][0], "k1._amtpkey.a.test");
            let parts = json["records"][0]["strings"].as_array().unwrap();
            assert_eq!(parts.len(), strings);
            assert!(parts.iter().all(|part| part.as_str().unwrap().len() <= 255));
            let joined: String = parts.iter().map(|part| part.as_str().unwrap()).collect();
            assert_eq!(
                KeyRecord::parse(&joined).unwrap(),
                signing.signer().record()
            );
            let text = published.text();
            assert!(text.contains("k2._amtpkey.a.test. 3600 IN TXT \"v=amtpkey1;alg="));
            assert!(
                text.contains("; keep k1._amtpkey.b.test. until 8 days"),
                "{text}"
            );
        }
    }
}
