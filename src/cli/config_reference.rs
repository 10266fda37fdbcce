//! `amtpd config-reference`: prints `docs/configuration.md`.

use anyhow::Result;
use clap::Args;

use super::show;
use crate::config::reference;

/// Print the reference of the configuration
#[derive(Debug, Args)]
pub(super) struct ConfigReferenceCommand {}

impl ConfigReferenceCommand {
    pub(super) fn run(self) -> Result<()> {
        show(&reference())
    }
}
