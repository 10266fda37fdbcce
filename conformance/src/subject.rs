//! The gateway under test: where it is, what it claims, and what it lets us do.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde::Deserialize;

use crate::context::Agent;

/// The same facts on the command line; they win over the file.
#[derive(Debug, Default, Args)]
pub(crate) struct Overrides {
    /// The gateway's URL
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The URL of its admin API, if it is another
    #[arg(long, value_name = "URL")]
    admin_url: Option<String>,
    /// The file with its admin key
    #[arg(long, value_name = "FILE")]
    admin_key_file: Option<PathBuf>,
    /// The certificates to believe
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// The address to connect to instead of asking for the host's name
    #[arg(long, value_name = "IP")]
    resolve: Option<IpAddr>,
    /// A DNS server that knows the gateway's domain
    #[arg(long, value_name = "IP:PORT")]
    dns: Option<String>,
    /// The gateway's domain
    #[arg(long)]
    domain: Option<String>,
    /// The address of this machine that the gateway may call webhooks at
    #[arg(long, value_name = "IP")]
    webhook_host: Option<IpAddr>,
    /// Where it takes mail
    #[arg(long, value_name = "IP:PORT")]
    smtp: Option<SocketAddr>,
    /// A shell command that restarts it
    #[arg(long, value_name = "COMMAND")]
    restart: Option<String>,
    /// The folder of the bench's authority
    #[arg(long, value_name = "DIR")]
    bench_folder: Option<PathBuf>,
    /// The port of the bench's DNS server
    #[arg(long, value_name = "PORT")]
    bench_dns_port: Option<u16>,
    /// The port of the bench's mail server
    #[arg(long, value_name = "PORT")]
    bench_smtp_port: Option<u16>,
    /// Records the bench's DNS server gives as well, as a zone file
    #[arg(long, value_name = "FILE")]
    bench_zone_file: Option<PathBuf>,
}

/// The file; see conformance/README.md.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    name: Option<String>,
    url: Option<String>,
    admin_url: Option<String>,
    admin_key_file: Option<PathBuf>,
    admin_key_header: Option<String>,
    agents: Vec<Agent>,
    ca_file: Option<PathBuf>,
    resolve: Option<IpAddr>,
    dns: Option<String>,
    domain: Option<String>,
    webhook_host: Option<IpAddr>,
    smtp: Option<SocketAddr>,
    restart: Option<String>,
    message_size: Option<usize>,
    recipients: Option<usize>,
    patience: Option<u64>,
    at_once: Option<usize>,
    new_names_per_second: Option<u32>,
    capabilities: BTreeSet<Capability>,
    denied_senders: Option<String>,
    strict_senders: Option<String>,
    bench: Option<BenchPlan>,
    expected_failures: BTreeMap<String, String>,
}

/// Where the bench is. The gateway has to be told of it; see conformance/README.md.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct BenchPlan {
    /// What everything listens on, and the gateway connects to.
    pub(crate) address: IpAddr,
    pub(crate) dns_port: u16,
    /// 0 takes a free one.
    pub(crate) peer_port: u16,
    /// Without it there is no mail server.
    pub(crate) smtp_port: Option<u16>,
    /// Domains of peers end so; they are called `p000` and so on.
    pub(crate) zone: String,
    /// How many of them there are.
    pub(crate) peers: usize,
    /// Has `ca.pem` and `ca.key`; they are made where they are not there.
    pub(crate) folder: PathBuf,
    /// Records of the gateway's own domain.
    pub(crate) zone_file: Option<PathBuf>,
}

impl Default for BenchPlan {
    fn default() -> Self {
        Self {
            address: IpAddr::from([127, 0, 0, 1]),
            dns_port: 15353,
            peer_port: 0,
            smtp_port: None,
            zone: "bench.test".to_owned(),
            peers: 200,
            folder: PathBuf::from("bench"),
            zone_file: None,
        }
    }
}

/// What a gateway may have, and a test needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Capability {
    /// Reaches the gateways of other domains by the bench's DNS.
    Federation,
    /// Signs what it sends to other domains.
    Signing,
    /// Gives up after attempts that take less than the patience of the run.
    GivesUp,
    /// Its admin API lists dead letters.
    DeadLetters,
    /// Sends mail to domains without a gateway.
    BridgeOut,
    /// Takes mail for its agents.
    BridgeIn,
    /// Holds payloads against schemas that its admin API stores.
    Schemas,
    Workflows,
    Websocket,
    A2a,
}

impl Capability {
    /// Why a test of it does not run.
    pub(crate) const fn missing(self) -> &'static str {
        match self {
            Self::Federation => "the subject does not claim `federation`",
            Self::Signing => "the subject does not claim `signing`",
            Self::GivesUp => "the subject does not claim `gives-up`",
            Self::DeadLetters => "the subject does not claim `dead-letters`",
            Self::BridgeOut => "the subject does not claim `bridge-out`",
            Self::BridgeIn => "the subject does not claim `bridge-in`",
            Self::Schemas => "the subject does not claim `schemas`",
            Self::Websocket => "the subject does not claim `websocket`",
            Self::A2a => "the subject does not claim `a2a`",
            Self::Workflows => "the subject does not claim `workflows`",
        }
    }
}

/// What is known of the gateway.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) admin: Option<Admin>,
    /// Agents that are there already, where there is no admin access.
    pub(crate) agents: Vec<Agent>,
    /// Certificates to believe.
    pub(crate) ca_files: Vec<PathBuf>,
    pub(crate) resolve: Option<IpAddr>,
    pub(crate) dns: Option<String>,
    pub(crate) domain: String,
    /// Where our webhooks listen; without it none is tested.
    pub(crate) webhook_host: Option<IpAddr>,
    pub(crate) smtp: Option<SocketAddr>,
    pub(crate) restart: Option<String>,
    /// The largest message it takes, in bytes.
    pub(crate) message_size: usize,
    /// The most recipients of one message.
    pub(crate) recipients: usize,
    /// How long anything may take that is waited for.
    pub(crate) patience: Duration,
    /// Tests that run at a time.
    pub(crate) at_once: usize,
    /// How many domains that it has not heard of it looks up in a second for one client.
    pub(crate) new_names_per_second: Option<u32>,
    pub(crate) capabilities: BTreeSet<Capability>,
    /// Its policy denies mail of all domains under this one.
    pub(crate) denied_senders: Option<String>,
    /// It rejects what is not verified of all domains under this one.
    pub(crate) strict_senders: Option<String>,
    pub(crate) bench: Option<BenchPlan>,
    /// Ids of tests that fail, or patterns with one `*`, and why.
    pub(crate) expected_failures: BTreeMap<String, String>,
}

/// Access to the admin API.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    pub(crate) url: String,
    pub(crate) key: String,
    pub(crate) header: String,
}

impl Subject {
    /// Why a test is expected to fail, and whether it is named itself and not by a pattern with `*`.
    pub(crate) fn expected_failure(&self, id: &str) -> Option<(&str, bool)> {
        if let Some(reason) = self.expected_failures.get(id) {
            return Some((reason, true));
        }
        let fits = |pattern: &&String| {
            let around = pattern.split_once('*');
            around.is_some_and(|(begin, end)| {
                id.len() >= begin.len() + end.len() && id.starts_with(begin) && id.ends_with(end)
            })
        };
        let longest = self
            .expected_failures
            .keys()
            .filter(fits)
            .max_by_key(|it| it.len())?;
        Some((self.expected_failures.get(longest)?, false))
    }

    pub(crate) fn load(path: Option<&Path>, over: Overrides) -> Result<Self> {
        let file: File = match path {
            None => File::default(),
            Some(path) => {
                let text =
                    std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
                serde_yaml::from_str(&text).with_context(|| path.display().to_string())?
            }
        };
        let folder = path.and_then(Path::parent).unwrap_or(Path::new("."));
        let beside = |path: PathBuf| folder.join(path);
        let url = over.url.clone().or(file.url.clone());
        let url = trimmed(url.context("which gateway? give --url or --subject")?);
        let admin = admin(&file, &over, &url, folder)?;
        ensure!(
            admin.is_some() || file.agents.len() >= 3,
            "the tests need agents: give --admin-key-file, or at least three `agents` in the file"
        );
        let serial = admin.is_none();
        let bench = plan(file.bench, &over, folder);
        Ok(Self {
            name: file.name.unwrap_or_else(|| url.clone()),
            url,
            admin,
            agents: file.agents,
            ca_files: over
                .ca_file
                .or(file.ca_file.map(beside))
                .into_iter()
                .collect(),
            resolve: over.resolve.or(file.resolve),
            dns: over.dns.or(file.dns),
            domain: over
                .domain
                .or(file.domain)
                .context("which domain? give --domain")?,
            webhook_host: over.webhook_host.or(file.webhook_host),
            smtp: over.smtp.or(file.smtp),
            restart: over.restart.or(file.restart),
            message_size: file.message_size.unwrap_or(10 * 1024 * 1024),
            recipients: file.recipients.unwrap_or(100),
            patience: Duration::from_secs(file.patience.unwrap_or(30)),
            // Agents that were given are shared by the tests, which then wait for each other.
            at_once: if serial { 1 } else { file.at_once.unwrap_or(8) },
            new_names_per_second: file.new_names_per_second,
            capabilities: file.capabilities,
            denied_senders: file.denied_senders,
            strict_senders: file.strict_senders,
            bench,
            expected_failures: file.expected_failures,
        })
    }
}

fn admin(file: &File, over: &Overrides, url: &str, folder: &Path) -> Result<Option<Admin>> {
    let beside = file.admin_key_file.as_ref().map(|path| folder.join(path));
    let Some(path) = over.admin_key_file.clone().or(beside) else {
        return Ok(None);
    };
    let key = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let at = over.admin_url.clone().or(file.admin_url.clone());
    let header = file.admin_key_header.clone();
    Ok(Some(Admin {
        url: at.map_or_else(|| url.to_owned(), trimmed),
        key: key.trim().to_owned(),
        header: header.unwrap_or_else(|| "x-admin-key".to_owned()),
    }))
}

/// The bench of the file and the command line; none where neither names one.
fn plan(file: Option<BenchPlan>, over: &Overrides, folder: &Path) -> Option<BenchPlan> {
    let asked = over.bench_dns_port.is_some() || over.bench_folder.is_some();
    let mut plan = match file {
        Some(mut plan) => {
            plan.folder = folder.join(plan.folder);
            plan.zone_file = plan.zone_file.map(|path| folder.join(path));
            plan
        }
        None if asked => BenchPlan::default(),
        None => return None,
    };
    if let Some(folder) = &over.bench_folder {
        plan.folder.clone_from(folder);
    }
    if let Some(port) = over.bench_dns_port {
        plan.dns_port = port;
    }
    plan.smtp_port = over.bench_smtp_port.or(plan.smtp_port);
    if let Some(path) = &over.bench_zone_file {
        plan.zone_file = Some(path.clone());
    }
    Some(plan)
}

fn trimmed(url: String) -> String {
    url.trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str) -> File {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("subjects")
            .join(name);
        serde_yaml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    #[test]
    fn the_subjects_that_are_shipped_can_be_read_and_name_tests_that_exist() {
        let known: Vec<String> = crate::tests::all()
            .into_iter()
            .map(|test| test.id)
            .collect();
        for name in ["amtpd.yaml", "agentry.yaml"] {
            let file = read(name);
            assert!(file.bench.is_some() && file.name.is_some(), "{name}");
            for (id, why) in &file.expected_failures {
                let named = match id.split_once('*') {
                    Some((begin, end)) => known
                        .iter()
                        .any(|it| it.starts_with(begin) && it.ends_with(end)),
                    None => known.contains(id),
                };
                assert!(named, "{name}: there is no test {id}");
                assert!(why.len() > 20, "{name}: {id} needs a reason");
            }
        }
        assert!(!read("agentry.yaml").expected_failures.is_empty());
    }

    #[test]
    fn a_subject_with_an_unknown_member_is_a_fault() {
        let fault = serde_yaml::from_str::<File>("url: https://a.test\ntypo: 1\n").unwrap_err();
        assert!(fault.to_string().contains("typo"), "{fault}");
    }
}
