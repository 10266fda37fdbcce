//! The gateway under test: where it is, and what it lets us do.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;
use serde::Deserialize;

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
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    url: Option<String>,
    admin_url: Option<String>,
    admin_key_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
    resolve: Option<IpAddr>,
    dns: Option<String>,
    domain: Option<String>,
    webhook_host: Option<IpAddr>,
    message_size: Option<usize>,
    recipients: Option<usize>,
}

/// What is known of the gateway.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub(crate) url: String,
    pub(crate) admin_url: String,
    pub(crate) admin_key: String,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) resolve: Option<IpAddr>,
    pub(crate) dns: Option<String>,
    pub(crate) domain: String,
    /// Where our webhooks listen; without it none is tested.
    pub(crate) webhook_host: Option<IpAddr>,
    /// The largest message it takes, in bytes.
    pub(crate) message_size: usize,
    /// The most recipients of one message.
    pub(crate) recipients: usize,
}

impl Subject {
    pub(crate) fn load(path: Option<&Path>, over: Overrides) -> Result<Self> {
        let file = match path {
            None => File::default(),
            Some(path) => {
                let text =
                    std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
                serde_yaml::from_str(&text).with_context(|| path.display().to_string())?
            }
        };
        let folder = path.and_then(Path::parent).unwrap_or(Path::new("."));
        let beside = |path: PathBuf| folder.join(path);
        let url = over
            .url
            .or(file.url)
            .context("which gateway? give --url or --subject")?;
        let key = over.admin_key_file.or(file.admin_key_file.map(beside));
        let key = key.context("the tests add agents: give --admin-key-file")?;
        let admin_key = std::fs::read_to_string(&key).with_context(|| key.display().to_string())?;
        Ok(Self {
            admin_url: trimmed(
                over.admin_url
                    .or(file.admin_url)
                    .unwrap_or_else(|| url.clone()),
            ),
            url: trimmed(url),
            admin_key: admin_key.trim().to_owned(),
            ca_file: over.ca_file.or(file.ca_file.map(beside)),
            resolve: over.resolve.or(file.resolve),
            dns: over.dns.or(file.dns),
            domain: over
                .domain
                .or(file.domain)
                .context("which domain? give --domain")?,
            webhook_host: over.webhook_host.or(file.webhook_host),
            message_size: file.message_size.unwrap_or(10 * 1024 * 1024),
            recipients: file.recipients.unwrap_or(100),
        })
    }
}

fn trimmed(url: String) -> String {
    url.trim_end_matches('/').to_owned()
}
