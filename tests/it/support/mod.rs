//! Real gateways for tests: the binary as a process of its own, and a client.

pub mod a2a_agent;
pub mod agentry;
pub mod agentry_database;
pub mod audit;
pub mod backend;
pub mod background;
pub mod behaviour;
pub mod caller;
pub mod dkim;
pub mod dns;
pub mod events;
pub mod failing_disk;
pub mod many;
pub mod metrics;
pub mod netns;
pub mod peer;
pub mod pki;
pub mod postfix;
#[path = "../../../src/store/tests/postgres/mod.rs"]
pub mod postgres;
pub mod promises;
pub mod relay;
pub mod server;
pub mod site;
pub mod small_disk;
pub mod smtp;
mod tap;
pub mod webhook;
pub mod websocket;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use amtpd::net::{HttpsClient, Options, Roots};
use caller::Caller;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The domain of every gateway here.
pub const DOMAIN: &str = "it.test";

/// A gateway's folder, and the process that runs in it.
pub struct Daemon {
    pub folder: TempDir,
    config: PathBuf,
    ports: [u16; 3],
    pub variables: Vec<(String, String)>,
    process: Option<Child>,
    client: HttpsClient,
    admin_key: String,
}

/// A registered agent.
#[derive(Debug, Clone)]
pub struct Agent {
    pub address: String,
    pub key: String,
}

impl Daemon {
    /// A gateway that runs; more configuration by variables.
    pub async fn start(variables: &[(&str, &str)]) -> Self {
        let mut daemon = Self::prepare(variables);
        daemon.run().await;
        daemon
    }

    /// As `prepare`, on the file that `amtpd init` names, whatever database the others stand on: for
    /// tests that put their hands on the file.
    pub fn on_a_file(variables: &[(&str, &str)]) -> Self {
        let mut daemon = Self::prepare(variables);
        daemon
            .variables
            .retain(|(name, _)| name != backend::STORE_URL);
        daemon
    }

    /// A gateway's folder, as `amtpd init` leaves it.
    pub fn prepare(variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("gateway");
        let init = [
            "init",
            "--domain",
            DOMAIN,
            "--gateway-url",
            "https://localhost:8443",
            "--self-signed",
            "--dir",
        ];
        let done = amtpd().args(init).arg(&home).output().unwrap();
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
        let roots = Roots::File(home.join("tls/cert.pem"));
        let resolve = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
        Self {
            config: home.join("amtpd.yaml"),
            ports: free_ports(),
            variables: variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .chain(backend::wanted(variables))
                .collect(),
            process: None,
            client: HttpsClient::new(&Options { roots, resolve }).unwrap(),
            admin_key: std::fs::read_to_string(home.join("admin.key"))
                .unwrap()
                .trim()
                .to_owned(),
            folder,
        }
    }

    /// The same, reached by a client that believes this authority.
    pub fn believing(mut self, authority: &Path) -> Self {
        let roots = Roots::File(authority.to_owned());
        let resolve = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
        self.client = HttpsClient::new(&Options { roots, resolve }).unwrap();
        self
    }

    pub fn config(&self) -> &Path {
        &self.config
    }

    pub fn port(&self) -> u16 {
        self.ports[0]
    }

    pub fn admin_key(&self) -> &str {
        &self.admin_key
    }

    /// Where its metrics are, by plain HTTP.
    pub fn ops(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.ports[2]))
    }

    /// The command that serves this gateway.
    pub fn serve(&self) -> Command {
        let mut command = amtpd();
        let address = |port| format!("127.0.0.1:{port}");
        command
            .args(["serve", "--config"])
            .arg(&self.config)
            .env("AMTPD__LISTEN__HTTPS", address(self.ports[0]))
            .env("AMTPD__LISTEN__ADMIN", address(self.ports[1]))
            .env("AMTPD__LISTEN__OPS", address(self.ports[2]))
            .env("AMTPD__LIMITS__MIN_FREE_DISK", "1MiB")
            .env("AMTPD__LIMITS__ADDRESS_RATE", "1000000/s")
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// A command of an operator against this gateway.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = amtpd();
        command
            .args(arguments)
            .arg("--gateway")
            .arg(format!("https://localhost:{}", self.ports[1]))
            .arg("--ca-file")
            .arg(self.folder.path().join("gateway/tls/cert.pem"))
            .args(["--resolve", "127.0.0.1"])
            .env("AMTP_KEY", &self.admin_key);
        command
    }

    /// Starts the process and waits until it is ready.
    pub async fn run(&mut self) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.log())
            .unwrap();
        let process = self
            .serve()
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.process = Some(process);
        for _ in 0..500 {
            let asked = self.caller();
            let asked = asked.ask_soon(Method::GET, "/ready", None, None).await;
            if asked.is_ok_and(|answer| answer.status() == StatusCode::OK) {
                return;
            }
            let ended = self.process.as_mut().unwrap().try_wait().unwrap();
            assert!(
                ended.is_none(),
                "the gateway ended: {}",
                std::fs::read_to_string(self.log()).unwrap()
            );
            pause(Duration::from_millis(20)).await;
        }
        panic!(
            "not ready: {}",
            std::fs::read_to_string(self.log()).unwrap()
        );
    }

    /// The file that takes the log.
    pub fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Ends the process as a crash would.
    pub fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// Waits for the end of a process that ends by itself, and gives its exit code.
    pub fn wait(&mut self) -> Option<i32> {
        let mut process = self.process.take().unwrap();
        for _ in 0..3_000 {
            if let Some(status) = process.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.process = Some(process);
        panic!(
            "it does not end: {}",
            std::fs::read_to_string(self.log()).unwrap()
        );
    }

    /// The number of the process.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    /// Whether the process runs.
    pub fn runs(&mut self) -> bool {
        let process = self.process.as_mut();
        process.is_some_and(|it| it.try_wait().unwrap().is_none())
    }

    /// Asks the process to end, and gives its exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        let mut process = self.process.take().unwrap();
        signal(&process, "-TERM");
        process.wait().unwrap().code()
    }

    /// Asks the process to read its files again.
    pub fn hang_up(&self) {
        signal(self.process.as_ref().unwrap(), "-HUP");
    }

    /// A request with an answer; panics when there is none.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        key: Option<&str>,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        self.try_call(method, path, key, body).await.unwrap()
    }

    /// A request that may find nobody.
    pub async fn try_call(
        &self,
        method: Method,
        path: &str,
        key: Option<&str>,
        body: Option<Value>,
    ) -> Result<(StatusCode, Value), String> {
        let answer = self.caller().ask(method, path, key, body).await?;
        let value = serde_json::from_slice(answer.body()).unwrap_or(Value::Null);
        Ok((answer.status(), value))
    }

    /// A client that outlives the process.
    pub fn caller(&self) -> Caller {
        Caller {
            client: self.client.clone(),
            host: "localhost".to_owned(),
            https: self.ports[0],
            admin: self.ports[1],
        }
    }

    pub async fn admin(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        self.call(method, path, Some(&self.admin_key), body).await
    }

    pub async fn agent(&self, name: &str) -> Agent {
        let form = json!({ "address": name, "delivery_mode": "pull" });
        let (status, answer) = self
            .admin(Method::POST, "/v1/admin/agents", Some(form))
            .await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        let text = |member: &str| answer["agent"][member].as_str().unwrap().to_owned();
        Agent {
            address: text("address"),
            key: text("api_key"),
        }
    }

    /// All mail of an agent, oldest first.
    pub async fn inbox(&self, agent: &Agent) -> Vec<Value> {
        let mut mail = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/v1/inbox/{}?limit=1000&cursor={cursor}", agent.address);
            let (status, page) = self.call(Method::GET, &path, Some(&agent.key), None).await;
            assert_eq!(status, StatusCode::OK, "{page}");
            mail.extend(page["messages"].as_array().unwrap().iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => next.clone_into(&mut cursor),
                None => return mail,
            }
        }
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

/// The binary under test.
pub fn amtpd() -> Command {
    Command::new(env!("CARGO_BIN_EXE_amtpd"))
}

/// What a finished command wrote, both ways.
pub fn words(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), output.stderr.as_slice()].concat())
        .into_owned()
}

fn signal(process: &Child, name: &str) {
    let done = Command::new("kill")
        .arg(name)
        .arg(process.id().to_string())
        .status()
        .unwrap();
    assert!(done.success());
}

fn free_ports() -> [u16; 3] {
    let taken: Vec<TcpListener> = (0..3)
        .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    [0, 1, 2].map(|n| taken[n].local_addr().unwrap().port())
}

/// Real time, for what another process does in its own time.
#[allow(
    clippy::disallowed_methods,
    reason = "another process has its own clock"
)]
pub async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}

/// What a probe finds, as soon as it finds something; panics when that takes too long.
pub async fn eventually<T>(
    what: &str,
    within: Duration,
    mut probe: impl FnMut() -> Option<T>,
) -> T {
    eventually_so(what, within, async || probe()).await
}

/// The same, of something that is asked for over the network.
pub async fn eventually_so<T>(
    what: &str,
    within: Duration,
    mut probe: impl AsyncFnMut() -> Option<T>,
) -> T {
    const STEP: Duration = Duration::from_millis(5);
    let mut waited = Duration::ZERO;
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(waited < within, "still missing after {within:?}: {what}");
        pause(STEP).await;
        waited += STEP;
    }
}
