//! Exported files: whether they are whole, and whether the log still holds what they have.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{PAGE, Reach, page, reaches};
use crate::auth::audit::chain::{Checker, Entry, Report};
use crate::cli::client::Gateway;
use crate::store::{AuditCut, AuditRow};

/// The longest line of a file.
const LONGEST: u64 = 1 << 20;
/// Faults told of one chain.
const FAULTS: usize = 20;

/// What a file has.
pub(super) struct Exported {
    reports: Vec<Report>,
    /// Hashes by chain and number.
    hashes: BTreeMap<String, BTreeMap<i64, String>>,
}

/// A line: where a chain begins, or an entry.
#[derive(Deserialize)]
struct Line {
    hash: String,
    entry: Option<Box<RawValue>>,
    chain: Option<String>,
    after: Option<i64>,
}

impl Exported {
    /// Reads and checks a file.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::check(BufReader::new(file)).with_context(|| path.display().to_string())
    }

    fn check(mut file: impl BufRead) -> Result<Self> {
        let mut checker = Checker::default();
        let mut hashes: BTreeMap<String, BTreeMap<i64, String>> = BTreeMap::new();
        let mut line = Vec::new();
        for number in 1_u64.. {
            line.clear();
            if (&mut file).take(LONGEST).read_until(b'\n', &mut line)? == 0 {
                break;
            }
            let at = || format!("line {number}");
            let read: Line = serde_json::from_slice(&line).with_context(at)?;
            match (read.entry, read.chain, read.after) {
                (Some(entry), ..) => {
                    let row = row(&entry, &read.hash).with_context(at)?;
                    checker.take(&row);
                    let chain = hashes.entry(row.chain).or_default();
                    chain.insert(row.n, read.hash);
                }
                (None, Some(chain), Some(n)) => checker.begin(&AuditCut {
                    chain,
                    n,
                    hash: bytes(&read.hash).with_context(at)?,
                }),
                _ => bail!("line {number} is neither an entry nor the begin of a chain"),
            }
        }
        Ok(Self {
            reports: checker.finish(),
            hashes,
        })
    }

    /// Holds the file against the log of a gateway.
    pub(super) async fn compare(&mut self, gateway: &Gateway) -> Result<()> {
        let chains = reaches(gateway).await?;
        for (chain, hashes) in &self.hashes {
            let faults = match chains.get(chain) {
                Some(reach) => differences(gateway, reach, hashes).await?,
                None => vec!["the log does not have this chain".to_owned()],
            };
            let report = self.reports.iter_mut().find(|it| it.chain == *chain);
            if let Some(report) = report {
                report.faults.extend(faults.into_iter().take(FAULTS));
            }
        }
        Ok(())
    }

    /// What was found, chain by chain.
    pub(super) fn reports(self) -> Vec<Report> {
        self.reports
    }
}

/// What the log says otherwise than a file, beyond what it no longer keeps.
async fn differences(
    gateway: &Gateway,
    reach: &Reach,
    hashes: &BTreeMap<i64, String>,
) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    if let Some(cut) = &reach.cut
        && hashes.get(&cut.n).is_some_and(|hash| *hash != cut.hash)
    {
        faults.push(format!("the log was cut behind another entry {}", cut.n));
    }
    let kept: BTreeMap<i64, &String> = hashes
        .range(reach.cut() + 1..)
        .map(|(n, hash)| (*n, hash))
        .collect();
    let (Some(first), Some(last)) = (kept.keys().next(), kept.keys().next_back()) else {
        return Ok(faults);
    };
    let mut live = BTreeMap::new();
    let mut after = first - 1;
    while after < *last {
        let rows = page(gateway, &reach.chain, after, PAGE).await?;
        if rows.is_empty() {
            break;
        }
        for row in rows {
            after = row.number()?;
            live.insert(after, row.hash);
        }
    }
    for (n, hash) in kept {
        match live.get(&n) {
            Some(found) if found == hash => {}
            Some(_) => faults.push(format!("entry {n} is another one in the log")),
            None => faults.push(format!("entry {n} is missing in the log")),
        }
    }
    Ok(faults)
}

fn row(entry: &RawValue, hash: &str) -> Result<AuditRow> {
    let text = entry.get();
    let read: Entry = serde_json::from_str(text).context("is no entry")?;
    Ok(AuditRow {
        chain: read.chain,
        n: read.n,
        at: read.at,
        entry: text.as_bytes().to_vec(),
        hash: bytes(hash)?,
    })
}

/// The bytes of a hash as it is shown.
fn bytes(hash: &str) -> Result<Vec<u8>> {
    if hash.len() != 64 || !hash.is_ascii() {
        bail!("a hash has 64 hexadecimal digits");
    }
    let byte = |at: usize| u8::from_str_radix(&hash[at..at + 2], 16);
    let bytes = (0..64).step_by(2).map(byte).collect::<Result<_, _>>();
    bytes.context("a hash has 64 hexadecimal digits")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::audit::chain::{Head, hex};
    use crate::auth::audit::{Event, Outcome};
    use crate::protocol::Timestamp;

    fn rows(count: usize) -> Vec<AuditRow> {
        let mut head = Head::default();
        let event = Event::new("test", "staff:me".to_owned(), "x", Outcome::Done);
        (0..count)
            .map(|_| head.extend("main", Timestamp::from_millis(5), &event))
            .collect()
    }

    fn line(row: &AuditRow) -> String {
        let entry = std::str::from_utf8(&row.entry).unwrap();
        format!("{{\"entry\":{entry},\"hash\":\"{}\"}}\n", hex(&row.hash))
    }

    fn begin(row: &AuditRow) -> String {
        let hash = hex(&row.hash);
        format!(
            "{{\"chain\":\"main\",\"after\":{},\"hash\":\"{hash}\"}}\n",
            row.n
        )
    }

    fn faults(text: &str) -> Option<usize> {
        let exported = Exported::check(text.as_bytes()).ok()?;
        Some(exported.reports.iter().map(|it| it.faults.len()).sum())
    }

    #[test]
    fn a_file_tells_what_was_done_to_it() {
        let rows = rows(4);
        let lines: Vec<String> = rows.iter().map(line).collect();
        let whole = lines.concat();
        let table = [
            ("untouched", whole.clone(), Some(0)),
            ("nothing in it", String::new(), Some(0)),
            (
                "a later part",
                format!("{}{}", begin(&rows[1]), lines[2..].concat()),
                Some(0),
            ),
            (
                "two parts",
                format!(
                    "{}{}{}",
                    lines[..2].concat(),
                    begin(&rows[1]),
                    lines[2..].concat()
                ),
                Some(0),
            ),
            (
                "a part that begins elsewhere",
                format!("{}{}", begin(&rows[0]), lines[2..].concat()),
                Some(1),
            ),
            (
                "another text",
                whole.replacen("staff:me", "staff:it", 1),
                Some(1),
            ),
            (
                "one is gone",
                [&lines[0], &lines[2]].map(String::as_str).concat(),
                Some(1),
            ),
            ("no JSON", format!("{whole}x\n"), None),
            (
                "no hash",
                whole.replacen("\"hash\":\"", "\"hash\":\"z", 1),
                None,
            ),
            ("a line without end", "[".repeat(2 << 20), None),
        ];
        for (what, text, expected) in table {
            assert_eq!(faults(&text), expected, "{what}");
        }
    }
}
