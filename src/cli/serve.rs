//! `amtpd serve`: the daemon.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::load;
use crate::clock::Clock;
use crate::config;
use crate::gateway::Gateway;
use crate::lifecycle::{ServiceManager, Signals};
use crate::telemetry::{self, LogFormat, LogOptions};

/// Run the gateway until it is told to stop.
#[derive(Debug, Args)]
pub(super) struct ServeCommand {
    /// The configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

impl ServeCommand {
    pub(super) async fn run(self) -> Result<()> {
        let config = load(&self.config)?;
        let clock = Clock::system();
        telemetry::start(&log_options(&config.log), clock.clone())?;
        let signals = Signals::system()?;
        let gateway = Gateway::start(&config, clock).await?;
        tracing::info!(version = env!("CARGO_PKG_VERSION"), address = %gateway.https(), "amtpd is ready");
        gateway.run(signals, ServiceManager::of_process()).await?;
        Ok(())
    }
}

fn log_options(log: &config::Log) -> LogOptions {
    let format = match log.format {
        config::LogFormat::Json => LogFormat::Json,
        config::LogFormat::Text => LogFormat::Text,
    };
    LogOptions {
        format,
        level: log.level.clone(),
    }
}
