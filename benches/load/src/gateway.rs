//! The gateway under load: the real binary with the agents that send.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use rustls::RootCertStore;
use serde_json::Value;

use crate::daemon::{Agent, Daemon, run};

/// A running gateway with its agents.
pub(crate) struct Gateway {
    daemon: Daemon,
    certificate: Vec<u8>,
    key: Vec<u8>,
    roots: RootCertStore,
    senders: Vec<Agent>,
}

impl Gateway {
    pub(crate) async fn start(binary: &Path, senders: usize) -> Result<Self> {
        let mut daemon = Daemon::prepare(binary, "load.test")?;
        daemon.serve(&[]).await?;
        let names = (0..senders).map(|number| format!("agent-{number}"));
        Ok(Self {
            certificate: std::fs::read(daemon.certificate_file())?,
            key: std::fs::read(daemon.home().join("tls/key.pem"))?,
            roots: daemon.roots()?,
            senders: names.map(|name| daemon.add(&name)).collect::<Result<_>>()?,
            daemon,
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.daemon.address()
    }

    pub(crate) fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }

    pub(crate) fn roots(&self) -> &RootCertStore {
        &self.roots
    }

    pub(crate) fn senders(&self) -> &[Agent] {
        &self.senders
    }

    /// How many messages wait in the inboxes, by a backup that reads them through.
    pub(crate) async fn stored(&self) -> Result<u64> {
        let copy = self.daemon.folder().join("copy.db");
        let report = run(Command::new(self.daemon.binary())
            .arg("backup")
            .arg(&copy)
            .arg("--json")
            .arg("--config")
            .arg(self.daemon.config()))?;
        let report: Value = serde_json::from_slice(&report)?;
        report["holds"]["inbox"]
            .as_u64()
            .context("the backup does not say")
    }

    /// Stops it and tells the size of its database in bytes.
    pub(crate) fn stop(mut self) -> Result<u64> {
        self.daemon.stop()?;
        let database = self.daemon.home().join("data/amtpd.db");
        Ok(std::fs::metadata(database)?.len())
    }
}
