//! How much in the database rests on which key of `secrets`.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::{Look, counted};
use crate::config::{Config, Database, Secrets};
use crate::store::{self, KeyMark, SealFault, Sealer, Seals};

/// What rests on a key.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Sealed {
    /// The key: the first four bytes of its SHA-256.
    key: KeyMark,
    /// Where the configuration names it.
    setting: Option<String>,
    headers: u64,
    token_keys: u64,
    push_credentials: u64,
    webhook_secrets: u64,
}

impl fmt::Display for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |count: u64, word| counted(usize::try_from(count).unwrap_or(usize::MAX), word);
        write!(
            f,
            "on the key {} ({}) rest {}, {}, {} and {}",
            self.key,
            self.setting.as_deref().unwrap_or("not configured"),
            number(self.headers, "header set"),
            number(self.token_keys, "token key"),
            number(self.push_credentials, "push credential"),
            number(self.webhook_secrets, "webhook secret")
        )
    }
}

impl Look {
    pub(super) async fn at_sealed(&mut self, config: &Config) {
        if matches!(&config.store.database, Database::Sqlite(file) if !file.exists()) {
            return;
        }
        // What keeps the database from being read is told elsewhere; one that no gateway of this
        // version has opened yet has nothing to say.
        let Ok(seals) = store::count_seals(&config.store.database).await else {
            return;
        };
        let Ok(keys) = keys(config.secrets.as_ref()) else {
            return;
        };
        let sealed = table(&seals, &keys);
        for lost in sealed.iter().filter(|it| it.setting.is_none()) {
            let text = format!("{lost}: these cannot be used without it");
            self.warning("secrets", text);
        }
        self.report.sealed = sealed;
    }
}

/// The configured keys with where they are named.
fn keys(secrets: Option<&Secrets>) -> Result<Vec<(KeyMark, String)>, SealFault> {
    let Some(secrets) = secrets else {
        return Ok(Vec::new());
    };
    let previous = secrets.previous.iter().map(|key| key.reveal());
    let sealer = Sealer::new(secrets.key.reveal())?.with_previous(previous)?;
    let name = |at: usize| match at {
        0 => "secrets.key_file".to_owned(),
        _ => format!("secrets.previous, number {at}"),
    };
    let marks = sealer.marks().enumerate();
    Ok(marks.map(|(at, mark)| (mark, name(at))).collect())
}

/// A row for each configured key, then one for each other key that something rests on.
fn table(seals: &Seals, keys: &[(KeyMark, String)]) -> Vec<Sealed> {
    let mut settings: Vec<(KeyMark, Option<String>)> = Vec::new();
    let configured = keys.iter().map(|(mark, name)| (*mark, Some(name.clone())));
    let maps = [
        &seals.headers,
        &seals.signing_keys,
        &seals.pushes,
        &seals.webhook_secrets,
    ];
    let found = maps.into_iter().flat_map(BTreeMap::keys);
    for (mark, name) in configured.chain(found.map(|mark| (*mark, None))) {
        if settings.iter().all(|(known, _)| *known != mark) {
            settings.push((mark, name));
        }
    }
    let of = |map: &BTreeMap<KeyMark, u64>, mark: KeyMark| map.get(&mark).copied().unwrap_or(0);
    let row = |(key, setting)| Sealed {
        headers: of(&seals.headers, key),
        token_keys: of(&seals.signing_keys, key),
        push_credentials: of(&seals.pushes, key),
        webhook_secrets: of(&seals.webhook_secrets, key),
        key,
        setting,
    };
    settings.into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_its_row_and_one_that_is_not_configured_says_so() {
        let mark = |text: &str| KeyMark::try_from(text.to_owned()).unwrap();
        let (present, previous, lost) = (mark("00000001"), mark("00000002"), mark("00000003"));
        let seals = Seals {
            headers: BTreeMap::from([(present, 5), (lost, 1)]),
            signing_keys: BTreeMap::from([(present, 1)]),
            pushes: BTreeMap::from([(previous, 3)]),
            webhook_secrets: BTreeMap::from([(previous, 2)]),
        };
        let keys = [
            (present, "secrets.key_file".to_owned()),
            (previous, "secrets.previous, number 1".to_owned()),
        ];
        let told: Vec<String> = table(&seals, &keys).iter().map(Sealed::to_string).collect();
        assert_eq!(
            told,
            [
                "on the key 00000001 (secrets.key_file) rest 5 header sets, 1 token key, 0 push credentials and 0 webhook secrets",
                "on the key 00000002 (secrets.previous, number 1) rest 0 header sets, 0 token keys, 3 push credentials and 2 webhook secrets",
                "on the key 00000003 (not configured) rest 1 header set, 0 token keys, 0 push credentials and 0 webhook secrets",
            ]
        );
    }
}
