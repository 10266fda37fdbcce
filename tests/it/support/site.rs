//! Gateways of several domains that find each other: a world of its own for a test.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use amtpd::net::{HttpsClient, Options, Roots};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::caller::Caller;
use super::dns::DnsServer;
use super::netns::Network;
use super::pki::{Ca, Issued};
use super::{Agent, amtpd, eventually_so, pause};

/// What the sites of a test share: an authority and a DNS server.
pub struct World {
    pub folder: TempDir,
    pub ca: Ca,
    pub dns: DnsServer,
    domains: Vec<String>,
}

/// The gateway of one domain.
pub struct Site {
    pub domain: String,
    folder: TempDir,
    https: SocketAddr,
    admin: SocketAddr,
    process: Option<Child>,
    client: HttpsClient,
    admin_key: String,
    variables: Vec<(String, String)>,
    /// The program and what stands before its own arguments.
    program: Vec<String>,
}

impl World {
    /// A world for these domains, whose DNS server is on this address.
    pub fn new(dns: SocketAddr, domains: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let world = Self {
            ca: Ca::new(folder.path()),
            dns: DnsServer::start_on(dns),
            domains: domains.iter().map(|it| (*it).to_owned()).collect(),
            folder,
        };
        world.dns.set_ttl(Duration::from_secs(30));
        world
    }

    /// The host of a domain's gateway.
    pub fn host(domain: &str) -> String {
        format!("gateway.{domain}")
    }

    /// A certificate for the gateway of a domain.
    pub fn certificate(&self, domain: &str) -> Issued {
        let folder = self.folder.path().join(domain);
        std::fs::create_dir_all(&folder).unwrap();
        self.ca.issue(&[&Self::host(domain)], &folder)
    }

    /// Tells the DNS where a domain's gateway is.
    pub fn publish(&self, domain: &str, at: SocketAddr, features: &str) {
        self.dns.set_a(&Self::host(domain), at.ip());
        let record = format!(
            "v=amtp1;gateway=https://{}:{};features={features}",
            Self::host(domain),
            at.port()
        );
        self.dns.set_txt(&format!("_amtp.{domain}"), &[&record]);
    }

    /// A gateway on this address, not running yet; `node` is where it runs in a network.
    pub fn site(
        &self,
        domain: &str,
        address: IpAddr,
        node: Option<(&Network, u8)>,
        variables: &[(&str, &str)],
    ) -> Site {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("gateway");
        let (https, admin, ops) = ports(address, node.is_some());
        let url = format!("https://{}:{}", Self::host(domain), https.port());
        let done = amtpd()
            .args(["init", "--domain", domain, "--gateway-url", &url])
            .args(["--self-signed", "--dir"])
            .arg(&home)
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", super::words(&done));
        let mut all = self.variables(domain, (https, admin, ops));
        for (name, value) in variables {
            all.retain(|(known, _)| known != name);
            all.push(((*name).to_owned(), (*value).to_owned()));
        }
        if node.is_none() {
            all.extend(super::backend::wanted(variables));
        }
        let roots = Roots::File(self.ca.pem_path().to_owned());
        let resolve = Some(address);
        let binary = amtpd().get_program().to_string_lossy().into_owned();
        Site {
            domain: domain.to_owned(),
            https,
            admin,
            process: None,
            client: HttpsClient::new(&Options { roots, resolve }).unwrap(),
            admin_key: std::fs::read_to_string(home.join("admin.key"))
                .unwrap()
                .trim()
                .to_owned(),
            variables: all,
            program: match node {
                Some((network, node)) => words(&network.command(node, &binary)),
                None => vec![binary],
            },
            folder,
        }
    }

    /// What makes the gateway of a domain part of this world.
    fn variables(
        &self,
        domain: &str,
        (https, admin, ops): (SocketAddr, SocketAddr, SocketAddr),
    ) -> Vec<(String, String)> {
        let issued = self.certificate(domain);
        let peers: Vec<String> = self
            .domains
            .iter()
            .filter(|other| *other != domain)
            .map(|other| format!("{other}: {{allow_private: true}}"))
            .collect();
        vec![
            ("AMTPD__LISTEN__HTTPS".to_owned(), https.to_string()),
            ("AMTPD__LISTEN__ADMIN".to_owned(), admin.to_string()),
            ("AMTPD__LISTEN__OPS".to_owned(), ops.to_string()),
            ("AMTPD__ADMIN__FROM".to_owned(), "[0.0.0.0/0]".to_owned()),
            ("AMTPD__LIMITS__MIN_FREE_DISK".to_owned(), "1MiB".to_owned()),
            (
                "AMTPD__LIMITS__ADDRESS_RATE".to_owned(),
                "1000000/s".to_owned(),
            ),
            (
                "AMTPD__LIMITS__CONNECTIONS_PER_ADDRESS".to_owned(),
                "10000".to_owned(),
            ),
            (
                "AMTPD__TLS__CERT_FILE".to_owned(),
                shown(&issued.certificate),
            ),
            ("AMTPD__TLS__KEY_FILE".to_owned(), shown(&issued.key)),
            (
                "AMTPD__TLS__TRUSTED_CA_FILE".to_owned(),
                shown(self.ca.pem_path()),
            ),
            (
                "AMTPD__DNS__SERVERS".to_owned(),
                format!("[\"{}\"]", self.dns.address()),
            ),
            ("AMTPD__DNS__TIMEOUT".to_owned(), "500ms".to_owned()),
            (
                "AMTPD__PEERS".to_owned(),
                format!("{{{}}}", peers.join(", ")),
            ),
            (
                "AMTPD__NET__ALLOW__WEBHOOKS".to_owned(),
                "[127.0.0.0/8]".to_owned(),
            ),
            (
                "AMTPD__DELIVERY__RETRY__INITIAL".to_owned(),
                "50ms".to_owned(),
            ),
            ("AMTPD__DELIVERY__RETRY__MAX".to_owned(), "500ms".to_owned()),
            (
                "AMTPD__DELIVERY__RETRY__ATTEMPTS".to_owned(),
                "10000".to_owned(),
            ),
        ]
    }

    /// A gateway on this address of this machine that runs and is published.
    pub async fn start(&self, domain: &str, address: &str, variables: &[(&str, &str)]) -> Site {
        let mut site = self.site(domain, address.parse().unwrap(), None, variables);
        self.publish(domain, site.https, FEATURES);
        site.run().await;
        site
    }
}

/// What our gateways offer.
pub const FEATURES: &str = "agent-discovery,multi-recipient,domain-signatures,batch,wait";

impl Site {
    pub fn https(&self) -> SocketAddr {
        self.https
    }

    /// Where its metrics are, by plain HTTP.
    pub fn ops(&self) -> SocketAddr {
        let place = |(name, _): &&(String, String)| name == "AMTPD__LISTEN__OPS";
        let found = self.variables.iter().find(place).unwrap();
        found.1.parse().unwrap()
    }

    pub fn config(&self) -> PathBuf {
        self.folder.path().join("gateway/amtpd.yaml")
    }

    /// What the process wrote.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// A file in its folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("gateway").join(name)
    }

    pub fn admin_key(&self) -> &str {
        &self.admin_key
    }

    pub fn admin_url(&self) -> String {
        format!(
            "https://{}:{}",
            World::host(&self.domain),
            self.admin.port()
        )
    }

    /// Changes a setting for the next start.
    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// Starts the process and waits until it is ready.
    pub async fn run(&mut self) {
        self.launch();
        for _ in 0..1_000 {
            let asked = self.caller();
            let asked = asked.ask_soon(Method::GET, "/ready", None, None).await;
            if asked.is_ok_and(|answer| answer.status() == StatusCode::OK) {
                return;
            }
            let ended = self.process.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "{} ended: {}", self.domain, self.log());
            pause(Duration::from_millis(20)).await;
        }
        panic!("{} is not ready: {}", self.domain, self.log());
    }

    /// Starts the process.
    pub fn launch(&mut self) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("log"))
            .unwrap();
        let process = Command::new(&self.program[0])
            .args(&self.program[1..])
            .args(["serve", "--config"])
            .arg(self.config())
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.process = Some(process);
    }

    /// Lets the process stand still, or go on, without its knowledge.
    pub fn pause(&self, pause: bool) {
        let name = if pause { "-STOP" } else { "-CONT" };
        super::signal(self.process.as_ref().unwrap(), name);
    }

    /// Ends the process as a power failure would.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

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
            host: World::host(&self.domain),
            https: self.https.port(),
            admin: self.admin.port(),
        }
    }

    /// Posts a batch of lines, packed as said, and gives a line of the answer for each.
    pub async fn batch(
        &self,
        from: &Agent,
        body: Vec<u8>,
        packing: &str,
    ) -> (StatusCode, Vec<Value>) {
        let url = format!(
            "https://{}:{}/v1/messages/batch",
            World::host(&self.domain),
            self.https.port()
        );
        let mut request = Request::post(url)
            .header("authorization", format!("Bearer {}", from.key))
            .header("content-type", "application/x-ndjson");
        if !packing.is_empty() {
            request = request.header("content-encoding", packing);
        }
        let request = request.body(Full::new(Bytes::from(body))).unwrap();
        let answer = self.client.send(request).await.unwrap();
        let lines = answer.body().split(|byte| *byte == b'\n');
        let lines = lines.filter_map(|line| serde_json::from_slice(line).ok());
        (answer.status(), lines.collect())
    }

    pub async fn admin(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        self.call(method, path, Some(&self.admin_key), body).await
    }

    /// An agent that polls.
    pub async fn agent(&self, name: &str) -> Agent {
        let form = json!({ "address": name, "delivery_mode": "pull" });
        self.register(form).await.0
    }

    /// An agent whose webhook is called, with the secret that signs the calls.
    pub async fn push_agent(&self, name: &str, target: &str, more: Value) -> (Agent, String) {
        let mut form = json!({ "address": name, "delivery_mode": "push", "push_target": target });
        for (member, value) in more.as_object().into_iter().flatten() {
            form[member] = value.clone();
        }
        let (agent, answer) = self.register(form).await;
        let secret = answer["agent"]["webhook_secret"].as_str();
        (agent, secret.unwrap_or_default().to_owned())
    }

    async fn register(&self, form: Value) -> (Agent, Value) {
        let (status, answer) = self
            .admin(Method::POST, "/v1/admin/agents", Some(form))
            .await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        let text = |member: &str| answer["agent"][member].as_str().unwrap().to_owned();
        let agent = Agent {
            address: text("address"),
            key: text("api_key"),
        };
        (agent, answer)
    }

    /// Submits a message that must be taken, and gives its id.
    pub async fn send(&self, from: &Agent, to: &[&str], payload: Value) -> String {
        let body = json!({ "sender": from.address, "recipients": to, "payload": payload });
        self.submit(from, body).await
    }

    /// Submits a body that must be taken, and gives its id.
    pub async fn submit(&self, from: &Agent, body: Value) -> String {
        let (status, answer) = self
            .call(Method::POST, "/v1/messages", Some(&from.key), Some(body))
            .await;
        assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
        answer["message_id"].as_str().unwrap().to_owned()
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

    /// The mail of an agent, as soon as it has this many.
    pub async fn mail(&self, agent: &Agent, count: usize) -> Vec<Value> {
        eventually_so("mail", Duration::from_secs(30), async || {
            let mail = self.inbox(agent).await;
            (mail.len() >= count).then_some(mail)
        })
        .await
    }

    /// The state of a message for its sender, recipient by recipient.
    pub async fn status(&self, from: &Agent, id: &str) -> Value {
        let path = format!("/v1/messages/{id}/status");
        self.call(Method::GET, &path, Some(&from.key), None).await.1
    }

    /// Waits until the whole message is in this state.
    pub async fn reaches(&self, from: &Agent, id: &str, status: &str) -> Value {
        let what = format!("{id} {status}");
        eventually_so(&what, Duration::from_secs(30), async || {
            let found = self.status(from, id).await;
            (found["status"] == status).then_some(found)
        })
        .await
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.kill();
    }
}

fn shown(path: &std::path::Path) -> String {
    path.display().to_string()
}

/// The words of a command.
pub fn words(command: &Command) -> Vec<String> {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect()
}

/// Three ports: fixed where nobody else is, else free ones.
fn ports(address: IpAddr, alone: bool) -> (SocketAddr, SocketAddr, SocketAddr) {
    if alone {
        return [443, 8444, 9090]
            .map(|port| SocketAddr::new(address, port))
            .into();
    }
    let taken: [std::net::TcpListener; 3] =
        std::array::from_fn(|_| std::net::TcpListener::bind((address, 0)).unwrap());
    taken.map(|listener| listener.local_addr().unwrap()).into()
}
