//! One of the two domains: its files, its gateway, its record in the DNS.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::authority::Authority;
use super::folder::{Folder, Readers};
use super::ports::here;
use crate::auth::{IssuedKey, KeyKind};
use crate::cli::client;
use crate::cli::init::fresh_sealing_key;
use crate::clock::Clock;
use crate::config::{Config, Environment, Profile};
use crate::gateway::Gateway;
use crate::net::HttpsClient;
use crate::protocol::{Advertisement, GatewayUrl};

/// What the gateways can do beyond the minimum.
const FEATURES: [&str; 5] = [
    "agent-discovery",
    "multi-recipient",
    "domain-signatures",
    "batch",
    "wait",
];

/// Who writes to whom.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) domain: &'static str,
    pub(super) other: &'static str,
    /// The agent that gets mail about the gateway.
    pub(super) postmaster: &'static str,
    /// Of the AMTP API, of health and metrics, and of mail that comes in.
    pub(super) ports: (u16, u16, u16),
    pub(super) dns: u16,
    /// The port of the mail server of people.
    pub(super) mail: u16,
}

/// A domain that is ready to be served.
#[derive(Debug, Clone)]
pub(super) struct Site {
    pub(super) domain: &'static str,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) ops: u16,
    /// Where mail comes in.
    pub(super) smtp: u16,
    config: PathBuf,
    admin_key: String,
}

impl Site {
    /// Writes the files of a domain; keys and data of an earlier time stay.
    pub(super) fn prepare(plan: Plan, folder: &Folder, authority: &Authority) -> Result<Self> {
        let domain = plan.domain;
        let inside = |name: &str| format!("{domain}/{name}");
        let admin_key = folder.secret(&inside("admin.key"), || {
            IssuedKey::generate(KeyKind::Admin).secret
        })?;
        folder.secret(&inside("secrets.key"), fresh_sealing_key)?;
        let site = Self {
            domain,
            host: format!("gateway.{domain}"),
            port: plan.ports.0,
            ops: plan.ports.1,
            smtp: plan.ports.2,
            config: folder.path().join(inside("amtpd.yaml")),
            admin_key,
        };
        let pair = authority.vouch(&site.host)?;
        folder.write(&inside("tls/cert.pem"), Readers::All, &pair.certificate)?;
        folder.write(&inside("tls/key.pem"), Readers::Owner, &pair.key)?;
        let text = site.configuration(plan, folder)?;
        folder.write(&inside("amtpd.yaml"), Readers::All, &text)?;
        let profile = site.profile("admin.key", None);
        folder.write(&inside("admin.yaml"), Readers::All, &profile?)?;
        Ok(site)
    }

    fn configuration(&self, plan: Plan, folder: &Folder) -> Result<String> {
        let data = folder.inside(&format!("{}/data", self.domain))?;
        let store = serde_json::to_string(&format!("sqlite://{}/amtpd.db", data.display()))?;
        let (https, ops, dns) = (here(self.port), here(self.ops), here(plan.dns));
        let (domain, other, url) = (self.domain, plan.other, self.url());
        let (host, mail) = (&self.host, plan.mail);
        let (smtp, postmaster) = (here(self.smtp), plan.postmaster);
        Ok(format!(
            r#"# The gateway of {domain}. `amtpd quickstart` writes this file anew each time it starts;
# docs/configuration.md describes every key.
domains: [{domain}]
gateway_url: {url}
postmaster: {postmaster}
listen:
  https: {https}
  ops: {ops}
  # Mail to agents. On the Internet this is port 25, and the MX record of the domain leads here.
  smtp: {smtp}
tls:
  cert_file: tls/cert.pem
  key_file: tls/key.pem
  # Who vouches for the other gateway. On the Internet the system's authorities do.
  trusted_ca_file: ../ca.pem
store:
  url: {store}
secrets: {{key_file: secrets.key}}
admin: {{key_file: admin.key}}
# The DNS server of the quickstart. On the Internet the system's servers are asked.
dns: {{servers: ["{dns}"]}}
# Both gateways are on this machine; normally a gateway never connects to such an address.
peers:
  {other}: {{allow_private: true}}
net:
  allow: {{webhooks: [127.0.0.0/8], smtp: [127.0.0.0/8]}}
# Its agents as A2A servers, each with a card under /a2a/NAME/.
a2a: {{}}
# Mail to people. On the Internet the port of mail servers is 25.
bridge: {{host: {host}, port: {mail}}}
limits: {{min_free_disk: 16MiB, shutdown_grace: 5s}}
log: {{format: text}}
"#
        ))
    }

    /// Where its gateway is.
    pub(super) fn url(&self) -> String {
        format!("https://{}:{}", self.host, self.port)
    }

    /// What its record in the DNS says.
    pub(super) fn record(&self) -> Result<String> {
        let url: GatewayUrl = self.url().parse()?;
        Ok(Advertisement::of_gateway(url, &FEATURES).to_string())
    }

    /// Starts its gateway as `amtpd serve` would. The environment sets nothing here.
    pub(super) async fn start(&self, clock: &Clock) -> Result<Gateway> {
        let config = Config::load(&self.config, &Environment::default())?;
        Gateway::start(&config, clock.clone())
            .await
            .with_context(|| format!("the gateway of {} does not start", self.domain))
    }

    /// A profile for client commands; files are named as seen from the profile's folder.
    pub(super) fn profile(&self, key_file: &str, address: Option<&str>) -> Result<String> {
        let profile = Profile {
            gateway: Some(self.url()),
            key_file: Some(key_file.into()),
            ca_file: Some("../ca.pem".into()),
            resolve: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            address: address.map(str::to_owned),
        };
        Ok(serde_yaml::to_string(&profile)?)
    }

    /// Its API, for the holder of a key.
    pub(super) fn api(&self, client: &HttpsClient, key: &str) -> client::Gateway {
        client::Gateway::new(client.clone(), self.url(), key.to_owned())
    }

    /// Its API, for the operator.
    pub(super) fn admin(&self, client: &HttpsClient) -> client::Gateway {
        self.api(client, &self.admin_key)
    }
}
