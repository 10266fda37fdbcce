//! `amtpd version`.

use std::env::consts::{ARCH, OS};

use anyhow::Result;
use clap::Args;
use serde_json::json;

/// Print the version
#[derive(Debug, Args)]
pub(super) struct VersionCommand {
    /// Print JSON for programs
    #[arg(long)]
    json: bool,
}

impl VersionCommand {
    pub(super) fn run(self) -> Result<()> {
        let version = env!("CARGO_PKG_VERSION");
        if self.json {
            let facts = json!({ "version": version, "amtp": "1.0", "os": OS, "arch": ARCH });
            println!("{facts}");
        } else {
            println!("amtpd {version} (AMTP 1.0, {OS} {ARCH})");
        }
        Ok(())
    }
}
