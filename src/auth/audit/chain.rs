//! How entries hang together. Pure.
//!
//! The hash of an entry is the SHA-256 over the hash before it (32 zero bytes before the first) and
//! the bytes of the entry, which name the chain, the number and the time.

use std::collections::{BTreeMap, HashMap};

use ring::digest;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Event;
use crate::protocol::Timestamp;
use crate::store::{AuditCut, AuditRow};

/// The bytes of an entry, as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The chain it is of.
    pub chain: String,
    /// Its number, from one.
    pub n: i64,
    /// When it was written.
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// The end of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    n: i64,
    hash: [u8; 32],
}

impl Default for Head {
    /// That of an empty chain.
    fn default() -> Self {
        Self {
            n: 0,
            hash: [0; 32],
        }
    }
}

impl Head {
    /// Behind this entry. A hash of another length is one that nothing fits.
    #[must_use]
    pub fn at(n: i64, hash: &[u8]) -> Self {
        Self {
            n,
            hash: hash.try_into().unwrap_or([0xff; 32]),
        }
    }

    /// The next entry; the head moves behind it.
    #[must_use]
    pub fn extend(&mut self, chain: &str, at: Timestamp, event: &Event) -> AuditRow {
        let entry = Entry {
            chain: chain.to_owned(),
            n: self.n + 1,
            at,
            event: event.clone(),
        };
        let bytes = serde_json::to_vec(&entry).expect("an entry is strings under string names");
        self.n = entry.n;
        self.hash = hash(&self.hash, &bytes);
        AuditRow {
            chain: entry.chain,
            n: entry.n,
            at,
            entry: bytes,
            hash: self.hash.to_vec(),
        }
    }
}

fn hash(before: &[u8; 32], entry: &[u8]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(before);
    context.update(entry);
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// Where chains stand, for an entry of another one.
#[must_use]
pub fn anchors(heads: &[AuditRow]) -> Value {
    let heads: BTreeMap<&str, Value> = heads
        .iter()
        .map(|row| {
            (
                row.chain.as_str(),
                json!({ "n": row.n, "hash": hex(&row.hash) }),
            )
        })
        .collect();
    json!({ "anchors": heads })
}

/// The form of a hash where it is shown.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What checking a chain found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The chain.
    pub chain: String,
    /// Its entries.
    pub entries: u64,
    /// The number of its first entry.
    pub first: i64,
    /// The number of its last entry.
    pub last: i64,
    /// What is wrong with it.
    pub faults: Vec<String>,
}

#[derive(Debug)]
struct Walk {
    head: Head,
    began: i64,
    entries: u64,
    faults: Vec<String>,
}

/// Checks chains, entry by entry.
#[derive(Debug, Default)]
pub struct Checker {
    walks: BTreeMap<String, Walk>,
    /// What entries say of other chains: by whom, which, where and the hash.
    said: Vec<(String, String, i64, String)>,
    /// Hashes by chain and number.
    seen: HashMap<(String, i64), String>,
}

/// Faults told of one chain.
const FAULTS: usize = 20;

impl Checker {
    /// Chains that begin behind these cuts.
    #[must_use]
    pub fn new(cuts: &[AuditCut]) -> Self {
        let walks = cuts.iter().map(|cut| (cut.chain.clone(), behind(cut)));
        Self {
            walks: walks.collect(),
            ..Self::default()
        }
    }

    /// Says where a chain begins that nothing is known of yet.
    pub fn begin(&mut self, cut: &AuditCut) {
        self.walks
            .entry(cut.chain.clone())
            .or_insert_with(|| behind(cut));
    }

    /// Takes the next entry of a chain.
    pub fn take(&mut self, row: &AuditRow) {
        let walk = self.walks.entry(row.chain.clone()).or_insert_with(|| Walk {
            head: Head::default(),
            began: 1,
            entries: 0,
            faults: Vec::new(),
        });
        let mut fault = |text: String| {
            if walk.faults.len() < FAULTS {
                walk.faults.push(text);
            }
        };
        if row.n != walk.head.n + 1 {
            fault(format!(
                "entries {} to {} are missing",
                walk.head.n + 1,
                row.n - 1
            ));
        } else if hash(&walk.head.hash, &row.entry).as_slice() != row.hash {
            fault(format!("entry {} does not fit the one before it", row.n));
        }
        match serde_json::from_slice::<Entry>(&row.entry) {
            Err(error) => fault(format!("entry {} cannot be read: {error}", row.n)),
            Ok(entry) if (&entry.chain, entry.n, entry.at) != (&row.chain, row.n, row.at) => {
                fault(format!(
                    "entry {} stands in another place than it says",
                    row.n
                ));
            }
            Ok(entry) => self.said.extend(said(&entry)),
        }
        walk.entries += 1;
        walk.head = Head::at(row.n, &row.hash);
        self.seen.insert((row.chain.clone(), row.n), hex(&row.hash));
    }

    /// What was found, chain by chain.
    #[must_use]
    pub fn finish(mut self) -> Vec<Report> {
        for (by, chain, n, hash) in std::mem::take(&mut self.said) {
            let text = match (self.walks.get(&chain), self.seen.get(&(chain.clone(), n))) {
                // Cut off since then.
                (Some(walk), None) if n < walk.began => continue,
                (_, Some(seen)) if *seen == hash => continue,
                (_, Some(_)) => format!("entry {n} is another one than chain {by} saw"),
                (_, None) => format!("it ends before entry {n}, which chain {by} saw"),
            };
            let walk = self.walks.entry(chain).or_insert_with(|| Walk {
                head: Head::default(),
                began: 1,
                entries: 0,
                faults: Vec::new(),
            });
            if walk.faults.len() < FAULTS {
                walk.faults.push(text);
            }
        }
        let report = |(chain, walk): (String, Walk)| Report {
            chain,
            entries: walk.entries,
            first: walk.began,
            last: walk.head.n,
            faults: walk.faults,
        };
        self.walks.into_iter().map(report).collect()
    }
}

fn behind(cut: &AuditCut) -> Walk {
    Walk {
        head: Head::at(cut.n, &cut.hash),
        began: cut.n + 1,
        entries: 0,
        faults: Vec::new(),
    }
}

fn said(entry: &Entry) -> Vec<(String, String, i64, String)> {
    let details = entry.event.details.as_ref();
    let anchors = details.and_then(|it| it.get("anchors")?.as_object());
    let anchors = anchors.into_iter().flatten();
    let read = |(chain, said): (&String, &Value)| {
        let (n, hash) = (said.get("n")?.as_i64()?, said.get("hash")?.as_str()?);
        Some((entry.chain.clone(), chain.clone(), n, hash.to_owned()))
    };
    anchors.filter_map(read).collect()
}
