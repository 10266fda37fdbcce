//! The keys by which a domain's signatures are checked: `<selector>._amtpkey.<domain>`.
//! AMTP 1.0, section 3.2.3.

use std::sync::Arc;

use super::answer::{Found, Heard, Knowledge};
use super::{Discovery, DiscoveryFault};
use crate::protocol::{Domain, KeyRecord, Selector};

/// What the DNS says about a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyAnswer {
    /// Exactly one valid record.
    Key(KeyRecord),
    /// Records that are meant to be one, but none that is valid, or several: none counts.
    Unfit,
    /// For sure no record.
    Nothing,
}

impl KeyAnswer {
    /// What the TXT records of a name say together.
    fn read(records: &[String]) -> Self {
        let mut valid = records
            .iter()
            .filter_map(|record| KeyRecord::parse(record).ok());
        match (valid.next(), valid.next()) {
            (Some(key), None) => Self::Key(key),
            (None, _) if !records.iter().any(|record| KeyRecord::is_meant(record)) => Self::Nothing,
            _ => Self::Unfit,
        }
    }
}

impl Knowledge for KeyAnswer {
    fn is_nothing(&self) -> bool {
        !matches!(self, Self::Key(_))
    }

    fn weight(&self) -> usize {
        match self {
            Self::Key(key) => key.weight(),
            Self::Unfit | Self::Nothing => 0,
        }
    }
}

impl Discovery {
    /// The key that a domain publishes under a selector.
    ///
    /// # Errors
    /// Nobody knows at the moment.
    pub async fn find_key(
        &self,
        selector: &Selector,
        domain: &Domain,
    ) -> Result<Arc<Found<KeyAnswer>>, DiscoveryFault> {
        let name = selector.name_in(domain);
        let asked = async {
            let answer = self.asker.resolver.txt(&name).await;
            Heard::of(answer, |records| KeyAnswer::read(&records))
        };
        self.asker.ask(&self.asker.keys, &name, asked).await
    }

    /// What is known of a key without asking, unless its time is over.
    #[must_use]
    pub fn cached_key(
        &self,
        selector: &Selector,
        domain: &Domain,
    ) -> Option<Arc<Found<KeyAnswer>>> {
        let now = self.asker.clock.now();
        self.asker.keys.fresh(&selector.name_in(domain), now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "v=amtpkey1;alg=ES256;p=MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEfpvYdVJA70+GxjSPOWOfg7qrGPtSeYI/NmiS816KhmEMPCeB7a4+eGO0d5cPQhV50sVgA8/s1EcPxToOqhxqlQ==";

    #[test]
    fn exactly_one_valid_record_is_a_key() {
        let key = KeyAnswer::Key(KeyRecord::parse(ONE).unwrap());
        let broken = "v=amtpkey1;alg=RS256;p=AAAA";
        let small = concat!(
            "v=amtpkey1;alg=RS256;p=",
            include_str!("../protocol/signature/tests/rsa1024.pub")
        );
        let table: [(&[&str], KeyAnswer); 9] = [
            (&[ONE], key.clone()),
            (&["v=spf1 -all", ONE], key.clone()),
            (&[broken, ONE], key),
            (&[ONE, ONE], KeyAnswer::Unfit),
            (&[broken], KeyAnswer::Unfit),
            (&[small], KeyAnswer::Unfit),
            (&["v=amtpkey2;alg=ES999"], KeyAnswer::Unfit),
            (&["v=spf1 -all"], KeyAnswer::Nothing),
            (&[], KeyAnswer::Nothing),
        ];
        for (records, expected) in table {
            let records: Vec<String> = records.iter().map(|&one| one.to_owned()).collect();
            assert_eq!(KeyAnswer::read(&records), expected, "{records:?}");
        }
    }
}
