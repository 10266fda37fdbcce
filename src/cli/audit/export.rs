//! Copies of the audit log, chain by chain.
//!
//! A line for each chain says where it begins: `{"chain":…,"after":…,"hash":…}`; then each entry is
//! a line with its hash. All chains end where they ended at one moment, so that none names an end of
//! another that is not in the copy. Where they end is printed as `CHAIN:NUMBER,…`: the next export
//! goes on there, and nothing is in both or in neither, whatever the clocks say.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use serde_json::json;

use super::{PAGE, PATH, Page, Reach, page, reaches};
use crate::cli::client::{Gateway, with_query};
use crate::protocol::Timestamp;

/// Where a copy goes.
pub(super) struct Out {
    pub(super) file: Option<PathBuf>,
    pub(super) append: bool,
}

impl Out {
    fn open(&self) -> Result<Option<File>> {
        let Some(path) = &self.file else {
            return Ok(None);
        };
        let mut options = File::options();
        options.append(true).mode(0o600);
        match self.append {
            true => options.create(true),
            false => options.create_new(true),
        };
        let file = options.open(path);
        Ok(Some(file.with_context(|| {
            format!("cannot write {}", path.display())
        })?))
    }
}

/// Where to begin.
#[derive(Debug, PartialEq, Eq)]
enum Since {
    Beginning,
    Moment(Timestamp),
    /// Behind these entries; a chain that is not named is new.
    Ends(BTreeMap<String, i64>),
}

impl Since {
    fn read(text: Option<&str>) -> Result<Self> {
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            return Ok(Self::Beginning);
        };
        if let Ok(moment) = Timestamp::parse_rfc3339(text) {
            return Ok(Self::Moment(moment));
        }
        let end = |part: &str| {
            let (chain, n) = part.rsplit_once(':')?;
            let n = n.parse().ok().filter(|n| *n >= 0)?;
            (!chain.is_empty()).then(|| (chain.to_owned(), n))
        };
        let ends: Option<BTreeMap<_, _>> = text.split(',').map(end).collect();
        ends.map(Self::Ends).with_context(|| {
            format!(
                "--since {text:?}: must be what the last export printed, such as main:120, or a time"
            )
        })
    }

    /// Nothing that an earlier export wrote may be gone at the new end.
    fn check(&self, chains: &BTreeMap<String, Reach>) -> Result<()> {
        let Self::Ends(ends) = self else {
            return Ok(());
        };
        for (chain, n) in ends {
            let last = chains.get(chain).map_or(0, Reach::last);
            if *n > last {
                bail!(
                    "chain {chain} ends at entry {last} and the last export at entry {n}: \
                     it was cut short, or is another one"
                );
            }
        }
        Ok(())
    }

    /// The number behind which the export of a chain begins.
    async fn of(&self, gateway: &Gateway, reach: &Reach) -> Result<i64> {
        match self {
            Self::Beginning => Ok(reach.cut()),
            Self::Ends(ends) => {
                let n = ends.get(&reach.chain).copied().unwrap_or(0);
                if n < reach.cut() {
                    eprintln!(
                        "amtpd: entries {} to {} of chain {} are gone: their retention was over",
                        n + 1,
                        reach.cut(),
                        reach.chain
                    );
                }
                Ok(n.max(reach.cut()))
            }
            Self::Moment(moment) => {
                let moment = moment.to_string();
                let parameters = [
                    ("chain", Some(reach.chain.as_str())),
                    ("since", Some(moment.as_str())),
                    ("limit", Some("1")),
                ];
                let page: Page = gateway.read(&with_query(PATH, &parameters)).await?;
                match page.entries.first() {
                    Some(first) => Ok(first.number()? - 1),
                    None => Ok(reach.last()),
                }
            }
        }
    }
}

/// Writes a copy.
pub(super) async fn run(gateway: &Gateway, out: Out, since: Option<&str>) -> Result<()> {
    let since = Since::read(since)?;
    let chains = reaches(gateway).await?;
    since.check(&chains)?;
    let file = out.open()?;
    let to_file = file.is_some();
    let mut writer: BufWriter<Box<dyn Write>> = BufWriter::new(match &file {
        Some(file) => Box::new(file),
        None => Box::new(std::io::stdout()),
    });
    let mut entries = 0;
    for reach in chains.values() {
        let after = since.of(gateway, reach).await?;
        entries += copy(gateway, reach, after, &mut writer).await?;
    }
    writer.flush()?;
    drop(writer);
    if let Some(file) = file {
        file.sync_all()?;
    }
    let ends = chains
        .values()
        .map(|it| format!("{}:{}", it.chain, it.last()));
    let end = ends.collect::<Vec<_>>().join(",");
    let said = match gateway.json {
        true => json!({ "entries": entries, "end": end }).to_string(),
        false => format!("Wrote {entries} entries. The next export goes on with --since {end}"),
    };
    // Standard output may be the copy itself.
    match to_file {
        true => println!("{said}"),
        false => eprintln!("{said}"),
    }
    Ok(())
}

/// Copies a chain behind a number up to its end. Answers how many entries these were.
async fn copy(
    gateway: &Gateway,
    reach: &Reach,
    mut after: i64,
    writer: &mut impl Write,
) -> Result<u64> {
    let hash = hash_of(gateway, reach, after).await?;
    let begin = json!({ "chain": reach.chain, "after": after, "hash": hash });
    writeln!(writer, "{begin}")?;
    let mut entries = 0;
    while after < reach.last() {
        let rows = page(gateway, &reach.chain, after, PAGE).await?;
        if rows.is_empty() {
            break;
        }
        for row in rows {
            after = row.number()?;
            if after > reach.last() {
                break;
            }
            writeln!(writer, "{}", serde_json::to_string(&row)?)?;
            entries += 1;
        }
    }
    Ok(entries)
}

/// The hash of an entry of a chain.
async fn hash_of(gateway: &Gateway, reach: &Reach, n: i64) -> Result<String> {
    if let Some(place) = [&reach.cut, &reach.last]
        .into_iter()
        .flatten()
        .find(|place| place.n == n)
    {
        return Ok(place.hash.clone());
    }
    if n == 0 {
        return Ok("0".repeat(64));
    }
    let rows = page(gateway, &reach.chain, n - 1, "1").await?;
    match rows.into_iter().next() {
        Some(row) if row.number()? == n => Ok(row.hash),
        _ => bail!("entry {n} of chain {} is missing", reach.chain),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_an_export_is_read_as_it_is_printed() {
        let ends = |pairs: &[(&str, i64)]| {
            Since::Ends(pairs.iter().map(|(it, n)| ((*it).to_owned(), *n)).collect())
        };
        for (text, expected) in [
            (None, Some(Since::Beginning)),
            (Some(""), Some(Since::Beginning)),
            (Some("main:12"), Some(ends(&[("main", 12)]))),
            (Some("a:1,b:0"), Some(ends(&[("a", 1), ("b", 0)]))),
            (
                Some("1970-01-01T00:00:01Z"),
                Some(Since::Moment(Timestamp::from_millis(1_000))),
            ),
            (Some("main"), None),
            (Some(":1"), None),
            (Some("main:-1"), None),
            (Some("main:x"), None),
            (Some("main:1,"), None),
        ] {
            assert_eq!(Since::read(text).ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_chain_that_became_shorter_is_not_exported() {
        let reach = |last: i64| Reach {
            chain: "main".to_owned(),
            cut: None,
            last: Some(super::super::Place {
                n: last,
                hash: String::new(),
            }),
        };
        let chains = |last| BTreeMap::from([("main".to_owned(), reach(last))]);
        let since = Since::read(Some("main:5")).unwrap();
        assert!(since.check(&chains(5)).is_ok());
        assert!(since.check(&chains(4)).is_err());
        assert!(since.check(&BTreeMap::new()).is_err());
    }
}
