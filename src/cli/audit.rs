//! `amtpd audit …`: the audit log, whether it is whole, and copies of it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::client::{Gateway, Target, print_json, print_table, with_query};
use super::{FAILED, Reported, selection};
use crate::auth::audit::chain::Report;

mod export;
mod file;

const PATH: &str = "/v1/admin/audit";
/// Entries asked for at a time.
const PAGE: &str = "1000";

/// Read, check and copy the audit log.
#[derive(Debug, Args)]
pub(super) struct AuditCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List entries, the oldest first
    List {
        /// Only those of this chain
        #[arg(long)]
        chain: Option<String>,
        /// Only those since this time, such as 2026-08-14T10:30:00Z
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
        /// Only those before this time
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: usize,
        #[command(flatten)]
        target: Target,
    },
    /// Check that nothing was changed or taken out; exit code 1 says that something was
    Verify {
        /// Check this exported file instead; no gateway is asked
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Check the file, and that the gateway's log still holds what it has
        #[arg(long, requires = "file")]
        live: bool,
        #[command(flatten)]
        target: Target,
    },
    /// Write the entries with their hashes as lines of JSON, and say where they end
    Export {
        /// The new file; without it, standard output
        file: Option<PathBuf>,
        /// Go on behind the end of the last export, as it was printed; or begin at a time
        #[arg(long, value_name = "END|TIME")]
        since: Option<String>,
        /// Add to the file if it is there
        #[arg(long, requires = "file")]
        append: bool,
        #[command(flatten)]
        target: Target,
    },
}

impl AuditCommand {
    pub(super) async fn run(self) -> Result<()> {
        match self.what {
            What::List {
                chain,
                since,
                until,
                limit,
                target,
            } => {
                let fields = [
                    ("chain", chain.as_deref()),
                    ("since", since.as_deref()),
                    ("until", until.as_deref()),
                ];
                list(&target.connect()?, &fields, limit).await
            }
            What::Verify {
                file: None, target, ..
            } => {
                let gateway = target.connect()?;
                let told: Told = gateway.read(&format!("{PATH}/verify")).await?;
                tell(told.chains, gateway.json)
            }
            What::Verify {
                file: Some(file),
                live,
                target,
            } => {
                let mut exported = file::Exported::read(&file)?;
                let json = target.json;
                if live {
                    exported.compare(&target.connect()?).await?;
                }
                tell(exported.reports(), json)
            }
            What::Export {
                file,
                since,
                append,
                target,
            } => {
                let out = export::Out { file, append };
                export::run(&target.connect()?, out, since.as_deref()).await
            }
        }
    }
}

async fn list(gateway: &Gateway, fields: &[(&str, Option<&str>)], limit: usize) -> Result<()> {
    let (rows, more) = selection::list(gateway, (PATH, "entries"), fields, limit).await?;
    if gateway.json {
        return print_json(&json!({ "entries": rows, "more": more }));
    }
    let entries: Vec<Value> = rows.into_iter().map(|row| row["entry"].clone()).collect();
    print_table(
        &entries,
        &[
            ("at", "at"),
            ("chain", "chain"),
            ("n", "n"),
            ("event", "event"),
            ("who", "actor"),
            ("on what", "subject"),
            ("outcome", "outcome"),
            ("from", "remote"),
            ("count", "count"),
        ],
    );
    if more {
        println!("There is more: raise --limit, or narrow it down.");
    }
    Ok(())
}

#[derive(Deserialize)]
struct Told {
    chains: Vec<Report>,
}

fn tell(chains: Vec<Report>, as_json: bool) -> Result<()> {
    let whole = chains.iter().all(|chain| chain.faults.is_empty());
    if as_json {
        print_json(&json!({ "whole": whole, "chains": chains }))?;
    } else {
        for chain in &chains {
            println!(
                "Chain {}: {} entries, {} to {}.",
                chain.chain, chain.entries, chain.first, chain.last
            );
            for fault in &chain.faults {
                println!("  fault: {}", super::client::plain(&json!(fault)));
            }
        }
        let verdict = match whole {
            true => "The log is whole.",
            false => "The log was changed.",
        };
        println!("{verdict}");
    }
    match whole {
        true => Ok(()),
        false => Err(Reported(FAILED).into()),
    }
}

/// A place in a chain.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Place {
    n: i64,
    hash: String,
}

/// From where to where a chain reaches.
#[derive(Debug, Clone, Deserialize)]
struct Reach {
    chain: String,
    cut: Option<Place>,
    last: Option<Place>,
}

impl Reach {
    /// The number of the last entry that was cut off.
    fn cut(&self) -> i64 {
        self.cut.as_ref().map_or(0, |place| place.n)
    }

    /// The number of the last entry.
    fn last(&self) -> i64 {
        self.last
            .as_ref()
            .map_or_else(|| self.cut(), |place| place.n)
    }
}

#[derive(Deserialize)]
struct Reaches {
    chains: Vec<Reach>,
}

async fn reaches(gateway: &Gateway) -> Result<BTreeMap<String, Reach>> {
    let told: Reaches = gateway.read(&format!("{PATH}/chains")).await?;
    let chains = told.chains.into_iter();
    Ok(chains.map(|it| (it.chain.clone(), it)).collect())
}

/// An entry as it is shown and exported. The bytes that were hashed are kept as they are.
#[derive(Serialize, Deserialize)]
struct Shown {
    entry: Box<RawValue>,
    hash: String,
}

/// What is read of an entry here.
#[derive(Deserialize)]
struct Number {
    n: i64,
}

impl Shown {
    fn number(&self) -> Result<i64> {
        Ok(serde_json::from_str::<Number>(self.entry.get())?.n)
    }
}

#[derive(Deserialize)]
struct Page {
    entries: Vec<Shown>,
}

/// Entries of a chain after a number, in their order.
async fn page(gateway: &Gateway, chain: &str, after: i64, limit: &str) -> Result<Vec<Shown>> {
    let after = after.to_string();
    let parameters = [
        ("chain", Some(chain)),
        ("after", Some(after.as_str())),
        ("limit", Some(limit)),
    ];
    let page: Page = gateway.read(&with_query(PATH, &parameters)).await?;
    Ok(page.entries)
}
