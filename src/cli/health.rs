//! `amtpd health`: is the gateway of this machine well? For containers and scripts that have no `curl`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use hyper::StatusCode;
use serde_json::Value;

use super::init::loopback_of;
use super::{FAILED, Reported, load, show};
use crate::clock::Clock;
use crate::net::ask_plainly;

/// The gateway gives its database two seconds.
const PATIENCE: Duration = Duration::from_secs(4);

/// Ask the gateway of this machine whether it is well; exit code 0 if it is
#[derive(Debug, Args)]
pub(super) struct HealthCommand {
    /// The configuration, for its `listen.ops`
    #[arg(long, value_name = "FILE", required_unless_present = "ops")]
    config: Option<PathBuf>,
    /// Where its operator's listener is, in place of the configuration's
    #[arg(long, value_name = "IP:PORT", conflicts_with = "config")]
    ops: Option<SocketAddr>,
    /// Ask whether it can take work, not only whether it lives
    #[arg(long)]
    ready: bool,
    /// Print JSON for programs
    #[arg(long)]
    json: bool,
}

impl HealthCommand {
    pub(super) async fn run(self) -> Result<()> {
        let remote = self.listener()?;
        let path = if self.ready { "/ready" } else { "/health" };
        let asking = Clock::system()
            .within(PATIENCE, ask_plainly(remote, path))
            .await;
        let (status, body) = asking
            .ok_or_else(|| anyhow!("no answer in {} seconds", PATIENCE.as_secs()))
            .and_then(|answer| Ok(answer?))
            .with_context(|| format!("the gateway does not answer on {remote}"))?;
        let answer: Value = serde_json::from_slice(&body)
            .with_context(|| format!("what answers on {remote} is no gateway: {status}"))?;
        match self.json {
            true => show(&format!("{answer}\n"))?,
            false => show(&in_words(&answer))?,
        }
        match status {
            StatusCode::OK => Ok(()),
            _ => Err(Reported(FAILED).into()),
        }
    }

    fn listener(&self) -> Result<SocketAddr> {
        let Some(file) = &self.config else {
            return self.ops.context("name the listener with --ops");
        };
        let ops = load(file)?.listen.ops;
        let ops = ops.with_context(|| format!("{} has no listen.ops", file.display()))?;
        Ok(SocketAddr::new(loopback_of(ops), ops.port()))
    }
}

/// The answer's word, then its parts, one a line.
fn in_words(answer: &Value) -> String {
    let mut text = format!("{}\n", word(&answer["status"]));
    for parts in ["components", "dependencies"] {
        for (name, state) in answer[parts].as_object().into_iter().flatten() {
            text += &format!("  {}: {}\n", shown(name), word(state));
        }
    }
    text
}

fn word(value: &Value) -> String {
    shown(value.as_str().unwrap_or("?"))
}

/// What a terminal can show.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        health: HealthCommand,
    }

    fn command(options: &[&str]) -> Result<HealthCommand, clap::Error> {
        let line = [&["health"], options].concat();
        Line::try_parse_from(line).map(|line| line.health)
    }

    #[test]
    fn one_of_configuration_and_address_is_needed() {
        for options in [
            &[][..],
            &["--config", "a", "--ops", "127.0.0.1:1"],
            &["--ops", "localhost:1"],
        ] {
            assert!(command(options).is_err(), "{options:?}");
        }
        let given = command(&["--ops", "127.0.0.1:9"]).unwrap();
        assert_eq!(given.listener().unwrap(), "127.0.0.1:9".parse().unwrap());
    }

    #[test]
    fn the_answer_is_told_with_its_parts() {
        let health =
            json!({"status": "healthy", "components": {"store": "ok", "x\u{1b}": "\u{7}no"}});
        assert_eq!(in_words(&health), "healthy\n  store: ok\n  x: no\n");
        let ready = json!({"status": "not_ready", "dependencies": {"database": "does not answer"}});
        assert_eq!(in_words(&ready), "not_ready\n  database: does not answer\n");
        assert_eq!(in_words(&json!([])), "?\n");
    }
}
