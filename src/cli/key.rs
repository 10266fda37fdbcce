//! `amtpd key …`: the keys that sign what leaves this gateway, and the DNS records that go with them.
//!
//! Rotation: generate a key under a new selector, publish its record (`key dns` with the new
//! configuration), wait until it is seen everywhere, then switch `signing` over and name the old
//! selector in `signing.previous`. Its record stays for 8 days: so long what it signed may be on its way.

pub(super) mod generate;
pub(super) mod records;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{print_json, print_table};
use super::{load, show};
use crate::config::{Config, Signing};

/// Make and look at the keys that sign messages to other domains
#[derive(Debug, Args)]
pub(super) struct KeyCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make a private key in a new file, and print the record to publish
    Generate(generate::Generate),
    /// List the keys of a configuration
    List(Of),
    /// Print the DNS records to publish for each domain
    Dns(Of),
}

#[derive(Debug, Args)]
struct Of {
    /// The configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Print JSON for programs
    #[arg(long)]
    json: bool,
}

impl KeyCommand {
    pub(super) fn run(self) -> Result<()> {
        match self.what {
            What::Generate(command) => command.run(),
            What::List(of) => of.list(),
            What::Dns(of) => of.dns(),
        }
    }
}

impl Of {
    fn list(&self) -> Result<()> {
        let config = load(&self.config)?;
        let keys = config.signing.as_ref().map(keys).unwrap_or_default();
        if self.json {
            return print_json(&json!({ "keys": keys }));
        }
        if keys.is_empty() {
            return show("No key: nothing is signed. `amtpd key generate` makes one.\n");
        }
        let columns = [
            ("selector", "selector"),
            ("state", "state"),
            ("algorithm", "algorithm"),
            ("bits", "bits"),
        ];
        print_table(&keys, &columns);
        Ok(())
    }

    fn dns(&self) -> Result<()> {
        let config = load(&self.config)?;
        let Config {
            signing: Some(signing),
            domains,
            ..
        } = &config
        else {
            anyhow::bail!(
                "the configuration has no section `signing`, so there is no key to publish"
            );
        };
        let published = records::of(signing, domains);
        if self.json {
            return print_json(&published.json());
        }
        show(&published.text())
    }
}

/// The keys of a configuration: the one that signs first.
fn keys(signing: &Signing) -> Vec<Value> {
    let record = signing.signer().record();
    let first = json!({
        "selector": signing.selector,
        "state": "signing",
        "algorithm": record.algorithm().as_str(),
        "bits": record.bits(),
    });
    let previous = signing.previous.iter();
    let others = previous.map(|selector| json!({ "selector": selector, "state": "previous" }));
    std::iter::once(first).chain(others).collect()
}
