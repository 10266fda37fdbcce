//! The agents of a quickstart: registered through the admin API, their keys kept in files.

use anyhow::{Context as _, Result};
use hyper::Method;
use serde_json::{Value, json};

use super::folder::{Folder, Readers};
use super::site::Site;
use crate::cli::client::Gateway;
use crate::net::HttpsClient;
use crate::store::Sealer;

/// A registered agent.
pub(super) struct Agent {
    pub(super) address: String,
    pub(super) key: String,
    /// The file of its profile.
    pub(super) profile: String,
    pub(super) api: Gateway,
}

/// Registers agents.
pub(super) struct Registry<'a> {
    pub(super) folder: &'a Folder,
    pub(super) client: &'a HttpsClient,
}

impl Registry<'_> {
    /// An agent that polls its inbox.
    pub(super) async fn pull(&self, site: &Site, name: &str) -> Result<Agent> {
        let form = json!({ "delivery_mode": "pull" });
        let (agent, _) = self.register(site, name, form).await?;
        Ok(agent)
    }

    /// An agent that is called at `target`, and the secret that signs the calls.
    pub(super) async fn push(
        &self,
        site: &Site,
        name: &str,
        target: &str,
    ) -> Result<(Agent, Vec<u8>)> {
        let form = json!({ "delivery_mode": "push", "push_target": target });
        let (agent, _) = self.register(site, name, form).await?;
        let key = self.folder.find(&format!("{}/secrets.key", site.domain));
        let sealer = Sealer::new(&key.context("the sealing key is gone")?)?;
        Ok((agent, sealer.webhook_secret(1, 0).to_vec()))
    }

    async fn register(&self, site: &Site, name: &str, mut form: Value) -> Result<(Agent, Value)> {
        let address = format!("{name}@{}", site.domain);
        let admin = site.admin(self.client);
        let file = format!("agents/{name}.key");
        let one = format!("/v1/admin/agents/{address}");
        let known = admin
            .call(Method::GET, "/v1/admin/agents?limit=1000", None)
            .await?;
        let is_known = known["agents"]
            .as_array()
            .is_some_and(|agents| agents.iter().any(|agent| agent["address"] == address));
        let answer = if !is_known {
            form["address"] = Value::from(address.as_str());
            let path = "/v1/admin/agents";
            admin.call(Method::POST, path, Some(&form)).await?
        } else if self.folder.find(&file).is_some() {
            admin.call(Method::PATCH, &one, Some(&form)).await?
        } else {
            admin.call(Method::PATCH, &one, Some(&form)).await?;
            let now = json!({ "overlap": "0s" });
            let path = format!("{one}/rotate-key");
            admin.call(Method::POST, &path, Some(&now)).await?
        };
        if let Some(key) = answer["agent"]["api_key"].as_str() {
            self.folder
                .write(&file, Readers::Owner, &format!("{key}\n"))?;
        }
        let key = self.folder.find(&file).context("an agent has no key")?;
        let profile = format!("agents/{name}.yaml");
        let text = site.profile(&format!("{name}.key"), Some(&address))?;
        self.folder.write(&profile, Readers::All, &text)?;
        let api = site.api(self.client, &key);
        let agent = Agent {
            address,
            key,
            profile,
            api,
        };
        Ok((agent, answer))
    }
}
