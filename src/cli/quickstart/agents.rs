//! The agents of a quickstart: registered through the admin API, their keys kept in files.

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Method;
use serde_json::{Value, json};

use super::folder::{Folder, Readers};
use super::site::Site;
use crate::cli::client::Gateway;
use crate::net::HttpsClient;

const AGENTS: &str = "/v1/admin/agents";

/// A registered agent.
pub(super) struct Agent {
    pub(super) address: String,
    pub(super) key: String,
    /// The file of its profile.
    pub(super) profile: String,
    pub(super) api: Gateway,
}

/// Registers agents; those of an earlier time keep their keys.
pub(super) struct Registry<'a> {
    pub(super) folder: &'a Folder,
    pub(super) client: &'a HttpsClient,
}

impl Registry<'_> {
    /// An agent that polls its inbox.
    pub(super) async fn pull(&self, site: &Site, name: &str) -> Result<Agent> {
        let form = json!({ "delivery_mode": "pull" });
        self.place(site, name).register(form).await
    }

    /// An agent that is called at `target`, and the secret that signs the calls.
    pub(super) async fn push(
        &self,
        site: &Site,
        name: &str,
        target: &str,
    ) -> Result<(Agent, Vec<u8>)> {
        let form = json!({ "delivery_mode": "push", "push_target": target });
        let place = self.place(site, name);
        let agent = place.register(form).await?;
        let secret = place.webhook_secret().await?;
        let secret = secret.strip_prefix("whsec_").unwrap_or(&secret);
        let secret = STANDARD.decode(secret).context("the webhook's secret")?;
        Ok((agent, secret))
    }

    /// An address that stands for an agent of another domain.
    pub(super) async fn stand_in(&self, site: &Site, name: &str, target: &str) -> Result<Agent> {
        let form = json!({ "delivery_mode": "peer", "push_target": target });
        self.place(site, name).register(form).await
    }

    fn place<'a>(&'a self, site: &'a Site, name: &'a str) -> Place<'a> {
        let address = format!("{name}@{}", site.domain);
        Place {
            registry: self,
            site,
            name,
            admin: site.admin(self.client),
            path: format!("{AGENTS}/{address}"),
            address,
        }
    }
}

/// An agent to be: where the admin API and the folder have it.
struct Place<'a> {
    registry: &'a Registry<'a>,
    site: &'a Site,
    name: &'a str,
    admin: Gateway,
    address: String,
    path: String,
}

impl Place<'_> {
    async fn register(&self, mut form: Value) -> Result<Agent> {
        if !self.is_known().await? {
            form["address"] = Value::from(self.address.as_str());
            let answer = self.admin.call(Method::POST, AGENTS, Some(&form)).await?;
            self.keep(&answer)?;
        } else {
            let answer = self.admin.call(Method::PATCH, &self.path, Some(&form));
            self.keep(&answer.await?)?;
        }
        let key = self.file("key");
        let key = match self.registry.folder.find(&key) {
            Some(key) => key,
            None => {
                self.renew("rotate-key", json!({ "overlap": "0s" }), &key)
                    .await?
            }
        };
        let profile = self.file("yaml");
        let text = self
            .site
            .profile(&format!("{}.key", self.name), Some(&self.address))?;
        self.registry.folder.write(&profile, Readers::All, &text)?;
        Ok(Agent {
            address: self.address.clone(),
            api: self.site.api(self.registry.client, &key),
            key,
            profile,
        })
    }

    async fn webhook_secret(&self) -> Result<String> {
        let file = self.file("webhook-secret");
        match self.registry.folder.find(&file) {
            Some(secret) => Ok(secret),
            None => self.renew("rotate-webhook-secret", json!({}), &file).await,
        }
    }

    async fn is_known(&self) -> Result<bool> {
        let path = format!("{AGENTS}?limit=1000");
        let known = self.admin.call(Method::GET, &path, None).await?;
        let mut agents = known["agents"].as_array().into_iter().flatten();
        Ok(agents.any(|agent| agent["address"] == *self.address))
    }

    async fn renew(&self, verb: &str, form: Value, file: &str) -> Result<String> {
        let path = format!("{}/{verb}", self.path);
        let answer = self.admin.call(Method::POST, &path, Some(&form)).await?;
        self.keep(&answer)?;
        let renewed = self.registry.folder.find(file);
        renewed.with_context(|| format!("{verb} of {} gave nothing", self.address))
    }

    /// Writes down what is shown only once.
    fn keep(&self, answer: &Value) -> Result<()> {
        for (member, file) in [("api_key", "key"), ("webhook_secret", "webhook-secret")] {
            if let Some(secret) = answer["agent"][member].as_str() {
                let text = format!("{secret}\n");
                self.registry
                    .folder
                    .write(&self.file(file), Readers::Owner, &text)?;
            }
        }
        Ok(())
    }

    fn file(&self, ending: &str) -> String {
        format!("agents/{}.{ending}", self.name)
    }
}
