//! `amtpd workers`: what a running gateway is doing.

use anyhow::Result;
use clap::Args;
use hyper::Method;
use serde_json::Value;

use super::client::{Target, print_json, print_table};

/// Show what the workers of a running gateway are doing.
#[derive(Debug, Args)]
pub(super) struct WorkersCommand {
    #[command(flatten)]
    target: Target,
}

impl WorkersCommand {
    pub(super) async fn run(self) -> Result<()> {
        let gateway = self.target.connect()?;
        let answer = gateway.call(Method::GET, "/v1/admin/workers", None).await?;
        if gateway.json {
            return print_json(&answer);
        }
        let workers: Vec<Value> = answer["workers"].as_array().cloned().unwrap_or_default();
        if workers.is_empty() {
            println!("No workers.");
            return Ok(());
        }
        print_table(
            &workers,
            &[
                ("worker", "name"),
                ("state", "state"),
                ("since", "since"),
                ("detail", "detail"),
            ],
        );
        Ok(())
    }
}
