//! `amtpd policy …`: looking at policy files without a gateway.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};

use super::load;
use crate::policy::{PolicyFaults, PolicySet, read_files};
use crate::protocol::Domain;

mod check;
mod explain;

/// Check policy files, and see what they decide
#[derive(Debug, Args)]
pub(super) struct PolicyCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Check(check::CheckCommand),
    Explain(Box<explain::ExplainCommand>),
}

impl PolicyCommand {
    pub(super) fn run(self) -> Result<()> {
        match self.what {
            What::Check(command) => command.run(),
            What::Explain(command) => command.run(),
        }
    }
}

/// Which files make the policy, and whose gateway it is for.
#[derive(Debug, Args)]
struct Files {
    /// Policy files, and folders of them, in the order their rules have
    #[arg(value_name = "FILE|DIR")]
    files: Vec<PathBuf>,
    /// Take the domains, and without FILE the folder of policies, from this configuration
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A domain of the gateway; may be repeated
    #[arg(long = "domain", value_name = "DOMAIN")]
    domains: Vec<Domain>,
}

/// What was read.
struct Policy {
    set: Result<PolicySet, PolicyFaults>,
    domains: Vec<Domain>,
    /// How many files were read.
    files: usize,
}

impl Files {
    fn read(self) -> Result<Policy> {
        let (mut paths, mut domains) = (self.files, self.domains);
        if let Some(file) = &self.config {
            let config = load(file)?;
            domains.extend(config.domains);
            if paths.is_empty() {
                paths.extend(config.policies.map(|policies| policies.dir));
            }
        } else if paths.is_empty() {
            bail!("which policy? name files, a folder, or a configuration with --config");
        }
        let texts = read_files(&paths);
        let files = texts.as_ref().map_or(0, Vec::len);
        let set = texts.and_then(|texts| PolicySet::parse(&texts, &domains));
        Ok(Policy {
            set,
            domains,
            files,
        })
    }
}
