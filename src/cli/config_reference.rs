//! `amtpd config-reference` prints `docs/configuration.md`, and with `--routes` the table of routes in
//! `docs/security.md`; `amtpd config-schema` prints `schemas/amtpd-configuration.json`.

use anyhow::Result;
use clap::Args;

use super::show;
use crate::config::{reference, schema};
use crate::endpoint::http::route_reference;

/// Print the reference of the configuration
#[derive(Debug, Args)]
pub(super) struct ConfigReferenceCommand {
    /// The table of routes and who may call them
    #[arg(long)]
    routes: bool,
}

impl ConfigReferenceCommand {
    pub(super) fn run(self) -> Result<()> {
        match self.routes {
            true => show(&route_reference()),
            false => show(&reference()),
        }
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
