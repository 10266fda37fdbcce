//! A process of the real binary, in a folder of its own on this machine.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::{Client, connect, exchange};
use crate::clock::{now, pause};
use crate::load::Target;
use crate::process::{Process, Usage};

/// How long a start or an end may take.
const PATIENCE: Duration = Duration::from_secs(120);

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

    /// Another one with the same files but its own ports, for the same database on a server.
    pub(crate) fn sibling(&self) -> Result<Self> {
        let sibling = Self {
            folder: tempfile::tempdir()?,
            binary: self.binary.clone(),
            process: None,
            ports: free_ports()?,
        };
        run(Command::new("cp")
            .arg("-a")
            .args([self.home(), sibling.home()]))?;
        Ok(sibling)
    }

    /// Starts it with these variables and waits until it is ready: how long that took.
    ///
    /// # Errors
    ///
    /// With the gateway's own words where it ends.
    pub(crate) async fn serve(&mut self, variables: &[(&str, String)]) -> Result<Duration> {
        let Ports { https, admin, ops } = self.ports;
        let log = File::create(self.log())?;
        let began = now();
        let process = Command::new(&self.binary)
            .args(["serve", "--config"])
            .arg(self.config())
            .env("AMTPD__LISTEN__HTTPS", format!("127.0.0.1:{https}"))
            .env("AMTPD__LISTEN__ADMIN", format!("127.0.0.1:{admin}"))
            .env("AMTPD__LISTEN__OPS", format!("127.0.0.1:{ops}"))
            .env("AMTPD__LIMITS__ADDRESS_RATE", "10000000/s")
            .env("AMTPD__LIMITS__SENDER_RATE", "10000000/s")
            .env("AMTPD__LIMITS__DOMAIN_RATE", "10000000/s")
            .env("AMTPD__LOG__LEVEL", "warn")
            .env("AMTPD__LOG__FORMAT", "text")
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        self.process = Some(process);
        while !is_ready(self.ops()).await {
            let ended = self.process.as_mut().map(Child::try_wait).transpose()?;
            if ended.flatten().is_some() {
                self.process = None;
                let said = std::fs::read_to_string(self.log()).unwrap_or_default();
                bail!("the gateway ended and says: {}", said.trim());
            }
            ensure!(began.elapsed() < PATIENCE, "the gateway does not get ready");
            pause(2).await;
        }
        Ok(began.elapsed())
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("gateway.log")
    }

    /// Registers agents that poll.
    pub(crate) async fn pollers(&self, name: &str, count: usize) -> Result<Vec<Agent>> {
        let form = |number: usize| json!({ "address": format!("{name}-{number}") });
        self.register((0..count).map(form)).await
    }

    /// Registers an agent for each of these webhooks.
    pub(crate) async fn pushed(&self, targets: &[String]) -> Result<Vec<Agent>> {
        let targets = targets.iter().enumerate();
        let form = |(number, target): (usize, &String)| {
            json!({
                "address": format!("hook-{number}"),
                "delivery_mode": "push",
                "push_target": target,
            })
        };
        self.register(targets.map(form)).await
    }

    /// Registers a topic.
    pub(crate) async fn topic(&self, name: &str) -> Result<()> {
        let form = json!({ "address": name, "kind": "topic" });
        self.register(std::iter::once(form)).await.map(drop)
    }

    async fn register(&self, forms: impl Iterator<Item = Value>) -> Result<Vec<Agent>> {
        let connection = connect(&self.roots()?, here(self.ports.admin)).await?;
        let key = std::fs::read_to_string(self.home().join("admin.key"))?;
        let mut agents = Vec::new();
        for form in forms {
            agents.push(register(&connection, key.trim(), &form).await?);
        }
        Ok(agents)
    }

    /// Where its clients go.
    pub(crate) fn target(&self) -> Result<Target> {
        Ok(Target {
            roots: self.roots()?,
            servers: vec![self.address()],
        })
    }

    /// The running process.
    pub(crate) fn process(&self) -> Result<Process> {
        let process = self.process.as_ref().context("the gateway does not run")?;
        Ok(Process::new(process.id()))
    }

    /// The size of its SQLite database in bytes, with what belongs to it.
    pub(crate) fn database_bytes(&self) -> Result<u64> {
        let mut bytes = 0;
        for entry in std::fs::read_dir(self.home().join("data"))? {
            bytes += entry?.metadata()?.len();
        }
        Ok(bytes)
    }

    /// Where it takes HTTPS.
    pub(crate) fn address(&self) -> SocketAddr {
        here(self.ports.https)
    }

    /// Where its metrics are, by plain HTTP.
    pub(crate) fn ops(&self) -> SocketAddr {
        here(self.ports.ops)
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

    pub(crate) fn key_file(&self) -> PathBuf {
        self.home().join("tls/key.pem")
    }

    /// What a client must believe.
    pub(crate) fn roots(&self) -> Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        for der in CertificateDer::pem_file_iter(self.certificate_file())? {
            roots.add(der?)?;
        }
        Ok(roots)
    }

    /// Has it end in order, and gives what it used from its start to its very end.
    pub(crate) async fn stop(&mut self) -> Result<Usage> {
        let process = self.process()?;
        let Some(mut child) = self.process.take() else {
            bail!("the gateway does not run");
        };
        run(Command::new("kill").arg(child.id().to_string()))?;
        let since = now();
        while !process.has_ended() {
            if since.elapsed() > PATIENCE {
                child.kill()?;
                bail!("the gateway does not end");
            }
            pause(10).await;
        }
        let usage = process.usage();
        child.wait()?;
        usage
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

async fn register(connection: &Client, key: &str, form: &Value) -> Result<Agent> {
    let request = Request::post("https://localhost/v1/admin/agents")
        .header("x-admin-key", key)
        .header("content-type", "application/json")
        .body(form.to_string().into())?;
    let answer = exchange(connection.clone(), request, StatusCode::CREATED).await?;
    let answer: Value = serde_json::from_slice(&answer)?;
    let text = |member: &str| answer["agent"][member].as_str().context("no agent");
    Ok(Agent {
        address: text("address")?.to_owned(),
        authorization: format!("Bearer {}", text("api_key")?),
    })
}

/// Whether it says so itself.
async fn is_ready(ops: SocketAddr) -> bool {
    let ask = async {
        #[allow(
            clippy::disallowed_methods,
            reason = "the question comes from outside the gateway"
        )]
        let tcp = tokio::net::TcpStream::connect(ops).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await?;
        let request = Request::get("/ready")
            .header("host", "localhost")
            .body(Empty::<Bytes>::new())?;
        let ask = async {
            let answer = sender.send_request(request).await?;
            let status = answer.status();
            drop(answer.into_body().collect().await?);
            drop(sender);
            Ok::<_, hyper::Error>(status)
        };
        let (status, _) = tokio::join!(ask, connection);
        anyhow::Ok(status?)
    };
    matches!(ask.await, Ok(StatusCode::OK))
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
