//! A process of the real binary, in a folder of its own on this machine.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::Value;
use tempfile::TempDir;

use crate::clock::pause;

/// An agent with its key.
#[derive(Debug, Clone)]
pub(crate) struct Agent {
    pub(crate) address: String,
    pub(crate) authorization: String,
}

/// A gateway with its files. It ends with this value, and so does its folder.
pub(crate) struct Daemon {
    folder: TempDir,
    binary: PathBuf,
    process: Option<Child>,
    ports: Ports,
}

#[derive(Debug, Clone, Copy)]
struct Ports {
    https: u16,
    admin: u16,
    ops: u16,
}

impl Daemon {
    /// Writes the files of a domain's gateway; it does not run yet.
    pub(crate) fn prepare(binary: &Path, domain: &str) -> Result<Self> {
        let daemon = Self {
            folder: tempfile::tempdir()?,
            binary: binary.to_owned(),
            process: None,
            ports: free_ports()?,
        };
        let url = format!("https://localhost:{}", daemon.ports.https);
        run(Command::new(binary)
            .args(["init", "--domain", domain, "--gateway-url", &url])
            .args(["--self-signed", "--dir"])
            .arg(daemon.home()))?;
        Ok(daemon)
    }

    /// Starts it with these variables and waits until it is ready.
    pub(crate) async fn serve(&mut self, variables: &[(&str, String)]) -> Result<()> {
        let Ports { https, admin, ops } = self.ports;
        let process = Command::new(&self.binary)
            .args(["serve", "--config"])
            .arg(self.config())
            .env("AMTPD__LISTEN__HTTPS", format!("127.0.0.1:{https}"))
            .env("AMTPD__LISTEN__ADMIN", format!("127.0.0.1:{admin}"))
            .env("AMTPD__LISTEN__OPS", format!("127.0.0.1:{ops}"))
            .env("AMTPD__LIMITS__ADDRESS_RATE", "10000000/s")
            .env("AMTPD__LOG__LEVEL", "warn")
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::null())
            .spawn()?;
        self.process = Some(process);
        self.ready().await
    }

    async fn ready(&mut self) -> Result<()> {
        for _ in 0..200 {
            let url = format!("http://{}/ready", self.ops());
            if Command::new("curl")
                .args(["-fs", "-o", "/dev/null", &url])
                .status()?
                .success()
            {
                return Ok(());
            }
            let ended = self.process.as_mut().map(Child::try_wait).transpose()?;
            ensure!(ended.flatten().is_none(), "the gateway ended");
            pause(50).await;
        }
        bail!("the gateway does not get ready")
    }

    /// Registers an agent that polls.
    pub(crate) fn add(&self, name: &str) -> Result<Agent> {
        let admin = self.ports.admin;
        let answer = run(Command::new(&self.binary)
            .args(["agent", "add", name, "--json", "--resolve", "127.0.0.1"])
            .args(["--gateway", &format!("https://localhost:{admin}")])
            .arg("--key-file")
            .arg(self.home().join("admin.key"))
            .arg("--ca-file")
            .arg(self.certificate_file()))?;
        let answer: Value = serde_json::from_slice(&answer)?;
        let text = |member: &str| {
            answer["agent"][member]
                .as_str()
                .map(str::to_owned)
                .context("no agent")
        };
        Ok(Agent {
            address: text("address")?,
            authorization: format!("Bearer {}", text("api_key")?),
        })
    }

    /// Where it takes HTTPS.
    pub(crate) fn address(&self) -> SocketAddr {
        here(self.ports.https)
    }

    /// Where its metrics are, by plain HTTP.
    pub(crate) fn ops(&self) -> SocketAddr {
        here(self.ports.ops)
    }

    pub(crate) fn binary(&self) -> &Path {
        &self.binary
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.folder.path().join("gateway")
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.home().join("amtpd.yaml")
    }

    pub(crate) fn certificate_file(&self) -> PathBuf {
        self.home().join("tls/cert.pem")
    }

    /// What a client must believe.
    pub(crate) fn roots(&self) -> Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        for der in CertificateDer::pem_file_iter(self.certificate_file())? {
            roots.add(der?)?;
        }
        Ok(roots)
    }

    /// Has it end in order, and waits for that.
    pub(crate) fn stop(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            run(Command::new("kill").arg(process.id().to_string()))?;
            process.wait()?;
        }
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            drop(process.kill());
            drop(process.wait());
        }
    }
}

/// Runs a command to its end and gives what it wrote.
pub(crate) fn run(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.output()?;
    ensure!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output.stdout)
}

fn here(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn free_ports() -> Result<Ports> {
    let taken = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0"));
    let mut ports = [0; 3];
    for (port, listener) in ports.iter_mut().zip(&taken) {
        let listener = listener
            .as_ref()
            .map_err(|error| anyhow::anyhow!("{error}"))?;
        *port = listener.local_addr()?.port();
    }
    let [https, admin, ops] = ports;
    Ok(Ports { https, admin, ops })
}
