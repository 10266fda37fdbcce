//! The public SDKs of A2A as clients, as they come from their registries. What each of them sees is
//! the same for every kind of agent, over both bindings.

mod agents;
mod documentation;
mod resume;
mod server;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::background::Task;
use crate::support::webhook::WebhookTarget;
use crate::support::{Agent, Daemon, eventually_so, words};

const SOON: Duration = Duration::from_secs(60);

/// A gateway whose agents are at work, a client, and a place to post to.
struct Bench {
    /// They end before the gateway does.
    _agents: Vec<Task>,
    daemon: Daemon,
    receiver: WebhookTarget,
}

impl Bench {
    async fn new(names: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut all = vec![
            ("AMTPD__A2A__ORGANIZATION", "Example Ltd."),
            ("AMTPD__NET__ALLOW__A2A", "[127.0.0.0/8]"),
            ("AMTPD__NET__ALLOW__WEBHOOKS", "[127.0.0.0/8]"),
            ("AMTPD__LIVE__HEARTBEAT", "5s"),
        ];
        all.extend_from_slice(variables);
        let mut daemon = Daemon::prepare(&all);
        // Cards say where agents are called.
        let url = format!("https://localhost:{}", daemon.port());
        let url = ("AMTPD__GATEWAY_URL".to_owned(), url);
        daemon.variables.push(url);
        daemon.run().await;
        let mut agents = Vec::new();
        for name in names {
            agents.push(agents::start(&daemon, name).await);
        }
        Self {
            daemon,
            receiver: WebhookTarget::start_plain("127.0.0.1:0".parse().unwrap()),
            _agents: agents,
        }
    }

    /// What clients are given: it ends with a slash.
    fn base(&self, name: &str) -> String {
        format!("https://localhost:{}/a2a/{name}/", self.daemon.port())
    }

    /// The certificate that is believed.
    fn authority(&self) -> PathBuf {
        self.daemon.folder.path().join("gateway/tls/cert.pem")
    }

    fn receiver(&self) -> String {
        self.receiver.url("127.0.0.1")
    }

    /// What a client prints that calls as this agent.
    async fn run(&self, mut client: Command, agent: &Agent) -> String {
        let authority = self.authority();
        client
            .env("AMTP_KEY", &agent.key)
            .env("SSL_CERT_FILE", &authority)
            .env("NODE_EXTRA_CA_CERTS", &authority);
        let done = tokio::task::spawn_blocking(move || client.output().unwrap());
        let done = done.await.unwrap();
        assert!(done.status.success(), "{}", words(&done));
        String::from_utf8(done.stdout).unwrap()
    }

    /// What a client of the scripts saw; the task whose end it wanted posted.
    async fn seen(&self, client: Command, name: &str) -> (Value, String) {
        let agent = self.daemon.agent(name).await;
        let printed = self.run(client, &agent).await;
        let said: Value = serde_json::from_str(&printed).unwrap();
        let posted = said["posted"].as_str().unwrap().to_owned();
        (said["seen"].clone(), posted)
    }

    /// Waits until the end of a task was posted, and checks every post about it.
    async fn told(&self, task: &str, run: usize) {
        let end = [json!("TASK_STATE_COMPLETED"), json!("completed")];
        eventually_so("a post of the end", SOON, async || {
            let posts = self.receiver.requests();
            let posts = posts.iter().filter(|it| it.json.to_string().contains(task));
            let posts: Vec<_> = posts.collect();
            for post in &posts {
                let token = post.header("x-a2a-notification-token");
                let secret = token.replace("token", "Bearer secret");
                assert!(token.starts_with("token-"), "run {run}: {token}");
                assert_eq!(post.header("authorization"), secret, "run {run}");
            }
            let ended = posts.iter().any(|post| {
                let update = &post.json["statusUpdate"]["status"]["state"];
                end.contains(update) || end.contains(&post.json["status"]["state"])
            });
            ended.then_some(())
        })
        .await;
    }
}

/// A file of this repository.
fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn install(command: &mut Command) {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{command:?}: {}", words(&done));
}

/// Python with these packages.
struct Python(TempDir);

impl Python {
    fn with(packages: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--target"])
            .arg(home.path())
            .args(packages);
        install(&mut pip);
        Self(home)
    }

    fn script(&self, path: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("python3");
        command
            .arg(file(path))
            .args(arguments)
            .env("PYTHONPATH", self.0.path());
        command
    }
}

/// What every client of 1.0 sees.
fn expected() -> Value {
    json!([
        ["card", [true, true]],
        [
            "modes",
            [
                "text/plain",
                "application/json",
                "text/plain",
                "application/json"
            ]
        ],
        ["blocking", ["completed", [["result", ["done"]]]]],
        ["history", [["ROLE_USER", ["hello"]]]],
        ["refused", "UnsupportedOperationError"],
        ["asked", ["input_required", ["which?"]]],
        ["told", ["completed", [["response", ["red it is"]]]]],
        ["history", [["ask"], ["which?"], ["red"]]],
        ["refused", "TaskNotFoundError"],
        [
            "stream",
            [
                "task",
                ["artifact", "a", false, false],
                ["artifact", "b", true, false],
                ["artifact", "c", true, true],
                ["completed"],
            ]
        ],
        ["question", ["task", ["input_required", "which?"]]],
        ["canceled", ["canceled", []]],
        ["refused", "TaskNotCancelableError"],
        ["refused", "UnsupportedOperationError"],
        ["refused", "TaskNotFoundError"],
        ["refused", "TaskNotFoundError"],
        ["context", [2, 2, 50, ""]],
        ["by state", ["canceled"]],
        ["listed", 7],
        ["refused", "InvalidParamsError"],
        ["refused", "InvalidParamsError"],
        ["refused", "TaskNotFoundError"],
        ["posted", true],
    ])
}

/// Every kind of agent over both bindings; `client` makes the command of its arguments.
async fn all_the_same(bench: &Bench, client: impl Fn(&[&str]) -> Command) {
    let receiver = bench.receiver();
    let mut run = 0;
    for name in agents::NAMES {
        for binding in ["JSONRPC", "HTTP+JSON"] {
            run += 1;
            let base = bench.base(name);
            let command = client(&[base.as_str(), binding, receiver.as_str()]);
            let (seen, posted) = bench.seen(command, &format!("client-{run}")).await;
            assert_eq!(seen, expected(), "{name} {binding}");
            bench.told(&posted, run).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn python_1_3() {
    let python = Python::with(&["a2a-sdk==1.3.0"]);
    let bench = Bench::new(&agents::NAMES, &[]).await;
    let script = |arguments: &[&str]| python.script("tests/a2a/client_1_0.py", arguments);
    all_the_same(&bench, script).await;
    // The client of the documentation.
    let alice = bench.daemon.agent("alice").await;
    let base = bench.base("connects");
    let client = python.script("docs/clients/a2a_ask.py", &[&base, "hello"]);
    let printed = bench.run(client, &alice).await;
    assert!(printed.starts_with("task "), "{printed}");
    assert!(printed.contains("artifact_update done\n"), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn javascript_1_3() {
    let home = tempfile::tempdir().unwrap();
    let mut npm = Command::new("npm");
    npm.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"])
        .arg(home.path())
        .arg("@a2a-js/sdk@1.3.0");
    install(&mut npm);
    // A module finds its packages beside itself.
    let script = |path: &str, arguments: &[&str]| {
        let copy = home.path().join(Path::new(path).file_name().unwrap());
        std::fs::copy(file(path), &copy).unwrap();
        let mut command = Command::new("node");
        command.arg(copy).args(arguments);
        command
    };
    let bench = Bench::new(&agents::NAMES, &[]).await;
    all_the_same(&bench, |arguments| {
        script("tests/a2a/client_1_0.mjs", arguments)
    })
    .await;
    let alice = bench.daemon.agent("alice").await;
    let base = bench.base("polls");
    let client = script("docs/clients/a2a_ask.mjs", &[&base, "hello"]);
    let printed = bench.run(client, &alice).await;
    let events: Vec<Value> = printed
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(events[0]["task"].is_object(), "{printed}");
    let last = events.last().unwrap();
    let state = &last["statusUpdate"]["status"]["state"];
    assert_eq!(state, "TASK_STATE_COMPLETED");
}

#[tokio::test(flavor = "multi_thread")]
async fn python_0_3() {
    let python = Python::with(&["a2a-sdk==0.3.26"]);
    let bench = Bench::new(&agents::NAMES, &[]).await;
    let expected = json!([
        ["card", [true, true]],
        ["blocking", ["completed", [["result", ["done"]]]]],
        ["history", [["user", ["hello"]]]],
        ["refused", -32004],
        ["asked", ["input-required", ["which?"]]],
        ["told", ["completed", [["response", ["red it is"]]]]],
        ["refused", -32001],
        [
            "stream",
            [
                "task",
                ["artifact", "a", false, false],
                ["artifact", "b", true, false],
                ["artifact", "c", true, true],
                ["completed", true],
            ]
        ],
        ["question", ["task", ["input-required", "which?", true]]],
        ["canceled", ["canceled", []]],
        ["refused", -32002],
        ["refused", -32001],
        ["refused", -32001],
    ]);
    let old = ".well-known/agent.json";
    let script = |bench: &Bench, name: &str, card: &str| {
        let (base, receiver) = (bench.base(name), bench.receiver());
        python.script("tests/a2a/client_0_3.py", &[&base, card, &receiver])
    };
    for (run, name) in agents::NAMES.into_iter().enumerate() {
        let client = script(&bench, name, old);
        let (seen, posted) = bench.seen(client, &format!("client-{run}")).await;
        assert_eq!(seen, expected, "{name}");
        bench.told(&posted, run).await;
    }
    // Where both cards are one, the client is told nothing but the URL.
    let merged = Bench::new(&["polls"], &[("AMTPD__A2A__LEGACY_CARD", "merge")]).await;
    let client = script(&merged, "polls", ".well-known/agent-card.json");
    let (seen, posted) = merged.seen(client, "client").await;
    assert_eq!(seen, expected);
    merged.told(&posted, 0).await;
}
