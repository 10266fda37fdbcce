//! `amtpd config-reference` prints `docs/configuration.md`, `amtpd config-schema` prints
//! `schemas/amtpd-configuration.json`.

use anyhow::Result;
use clap::Args;

use super::show;
use crate::config::{reference, schema};

/// Print the reference of the configuration
#[derive(Debug, Args)]
pub(super) struct ConfigReferenceCommand {}

impl ConfigReferenceCommand {
    pub(super) fn run(self) -> Result<()> {
        show(&reference())
    }
}

/// Print the schema of the configuration
#[derive(Debug, Args)]
pub(super) struct ConfigSchemaCommand {}

impl ConfigSchemaCommand {
    pub(super) fn run(self) -> Result<()> {
        show(&schema())
    }
}
