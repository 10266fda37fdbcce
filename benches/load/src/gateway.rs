//! The gateway under load: the real binary, in a folder of its own.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::Value;
use tempfile::TempDir;

use crate::clock::pause;

/// An agent that sends.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    pub(crate) address: String,
    pub(crate) authorization: String,
}

/// A running gateway with its agents.
pub(crate) struct Gateway {
    folder: TempDir,
    binary: PathBuf,
    process: Child,
    address: SocketAddr,
    ops: u16,
    certificate: Vec<u8>,
    key: Vec<u8>,
    roots: RootCertStore,
    senders: Vec<Sender>,
}

impl Gateway {
    pub(crate) async fn start(binary: &Path, senders: usize) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let home = folder.path().join("gateway");
        let init = [
            "init",
            "--domain",
            "load.test",
            "--gateway-url",
            "https://localhost:8443",
            "--self-signed",
            "--dir",
        ];
        run(Command::new(binary).args(init).arg(&home))?;
        let [https, admin, ops] = ports()?;
        let process = Command::new(binary)
            .args(["serve", "--config"])
            .arg(home.join("amtpd.yaml"))
            .env("AMTPD__LISTEN__HTTPS", format!("127.0.0.1:{https}"))
            .env("AMTPD__LISTEN__ADMIN", format!("127.0.0.1:{admin}"))
            .env("AMTPD__LISTEN__OPS", format!("127.0.0.1:{ops}"))
            .env("AMTPD__LIMITS__ADDRESS_RATE", "10000000/s")
            .env("AMTPD__LOG__LEVEL", "warn")
            .stdout(Stdio::null())
            .spawn()?;
        let certificate = std::fs::read(home.join("tls/cert.pem"))?;
        let mut roots = RootCertStore::empty();
        for der in CertificateDer::pem_slice_iter(&certificate) {
            roots.add(der?)?;
        }
        let mut gateway = Self {
            address: SocketAddr::from(([127, 0, 0, 1], https)),
            key: std::fs::read(home.join("tls/key.pem"))?,
            binary: binary.to_owned(),
            senders: Vec::new(),
            folder,
            process,
            ops,
            certificate,
            roots,
        };
        gateway.ready().await?;
        for number in 0..senders {
            gateway.add(&format!("agent-{number}"), admin)?;
        }
        Ok(gateway)
    }

    async fn ready(&mut self) -> Result<()> {
        for _ in 0..200 {
            let url = format!("http://127.0.0.1:{}/ready", self.ops);
            if Command::new("curl")
                .args(["-fs", "-o", "/dev/null", &url])
                .status()?
                .success()
            {
                return Ok(());
            }
            ensure!(self.process.try_wait()?.is_none(), "the gateway ended");
            pause(50).await;
        }
        bail!("the gateway does not get ready")
    }

    fn add(&mut self, name: &str, admin: u16) -> Result<()> {
        let home = self.folder.path().join("gateway");
        let answer = run(Command::new(&self.binary)
            .args(["agent", "add", name, "--json", "--resolve", "127.0.0.1"])
            .args(["--gateway", &format!("https://localhost:{admin}")])
            .arg("--key-file")
            .arg(home.join("admin.key"))
            .arg("--ca-file")
            .arg(home.join("tls/cert.pem")))?;
        let answer: Value = serde_json::from_slice(&answer)?;
        let text = |member: &str| {
            answer["agent"][member]
                .as_str()
                .map(str::to_owned)
                .context("no agent")
        };
        self.senders.push(Sender {
            address: text("address")?,
            authorization: format!("Bearer {}", text("api_key")?),
        });
        Ok(())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
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

    pub(crate) fn senders(&self) -> &[Sender] {
        &self.senders
    }

    /// How many messages wait in the inboxes, by a backup that reads them through.
    pub(crate) async fn stored(&self) -> Result<u64> {
        let home = self.folder.path().join("gateway");
        let copy = self.folder.path().join("copy.db");
        let report = run(Command::new(&self.binary)
            .arg("backup")
            .arg(&copy)
            .arg("--json")
            .arg("--config")
            .arg(home.join("amtpd.yaml")))?;
        let report: Value = serde_json::from_slice(&report)?;
        report["holds"]["inbox"]
            .as_u64()
            .context("the backup does not say")
    }

    /// Stops it and tells the size of its database in bytes.
    pub(crate) fn stop(mut self) -> Result<u64> {
        run(Command::new("kill").arg(self.process.id().to_string()))?;
        self.process.wait()?;
        let database = self.folder.path().join("gateway/data/amtpd.db");
        Ok(std::fs::metadata(database)?.len())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn run(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.output()?;
    ensure!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output.stdout)
}

fn ports() -> Result<[u16; 3]> {
    let taken = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0"));
    let mut ports = [0; 3];
    for (port, listener) in ports.iter_mut().zip(&taken) {
        let listener = listener
            .as_ref()
            .map_err(|error| anyhow::anyhow!("{error}"))?;
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}
