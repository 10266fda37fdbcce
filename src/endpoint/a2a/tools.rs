//! What A2A requests are answered with.

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::dialect::error::{A2aError, Kind};
use super::dialect::version::Assume;
use super::place::Place;
use crate::auth::KeyRing;
use crate::auth::audit::Audit;
use crate::clock::Clock;
use crate::config;
use crate::envelope::Principal;
use crate::intake::{Intake, LocalNames};
use crate::protocol::{AgentName, Domain};
use crate::store::{Agent, AgentKind, Sealer, Store};

/// Streams and callers that wait, at a time.
const MOST_WAITING: usize = 10_000;

/// The handles of this endpoint, and what the operator set.
pub struct Tools {
    /// The door.
    pub intake: Intake,
    /// What is kept.
    pub store: Store,
    /// Which names are ours.
    pub names: Arc<LocalNames>,
    /// The domain of names without one.
    pub main_domain: Domain,
    /// Where this gateway is reached, without a slash at the end.
    pub gateway: String,
    /// What time it is.
    pub clock: Clock,
    /// Seals what is shown where changes are posted; without it nothing is posted.
    pub sealer: Option<Sealer>,
    /// What signs cards.
    pub keys: Option<KeyRing>,
    /// Where what was done is written down.
    pub audit: Audit,
    /// Given when the gateway drains: streams end.
    pub draining: CancellationToken,
    /// What the operator set.
    pub rules: config::A2a,
}

/// What A2A requests are answered with. Cloning is cheap.
#[derive(Clone)]
pub struct A2a {
    tools: Arc<Tools>,
    waiting: Arc<Semaphore>,
}

/// Who calls, and how.
#[derive(Debug, Clone)]
pub struct Visitor {
    /// Who.
    pub principal: Principal,
    /// From where.
    pub remote: IpAddr,
    /// The id of the request.
    pub request_id: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// The query of its URL.
    pub query: Vec<(String, String)>,
}

impl std::ops::Deref for A2a {
    type Target = Tools;

    fn deref(&self) -> &Tools {
        &self.tools
    }
}

impl A2a {
    /// An endpoint with these tools.
    #[must_use]
    pub fn new(tools: Tools) -> Self {
        Self {
            tools: Arc::new(tools),
            waiting: Arc::new(Semaphore::new(MOST_WAITING)),
        }
    }

    /// A place among those who wait, as long as it is held.
    pub(super) fn wait_place(&self) -> Result<OwnedSemaphorePermit, A2aError> {
        self.waiting
            .clone()
            .try_acquire_owned()
            .map_err(|_| A2aError::new(Kind::Unavailable, "too many callers wait already"))
    }

    /// Whether changes of tasks are posted where clients want it.
    pub(super) fn posts(&self) -> bool {
        self.rules.push_notifications && self.sealer.is_some()
    }

    pub(super) fn assumed(&self) -> Assume {
        match self.rules.assume_version {
            config::AssumedVersion::V03 => Assume::Strict,
            config::AssumedVersion::V1 => Assume::Newest,
        }
    }

    /// The agent of a place; nothing where there is none that A2A knows.
    pub(super) async fn agent(&self, place: &Place) -> Result<Option<Arc<Agent>>, A2aError> {
        match &place.agent {
            Some((domain, name)) => self.named(domain.as_ref(), name).await,
            None => Ok(None),
        }
    }

    /// The agent that a tenant is: a name, or a domain and a name with a slash between.
    pub(super) async fn tenant(&self, tenant: &str) -> Result<Option<Arc<Agent>>, A2aError> {
        let (domain, name) = match tenant.rsplit_once('/') {
            Some((domain, name)) => (Some(domain), name),
            None => (None, tenant),
        };
        let domain = match domain.map(Domain::parse) {
            Some(Ok(domain)) => Some(domain),
            Some(Err(_)) => return Ok(None),
            None => None,
        };
        self.named(domain.as_ref(), name).await
    }

    async fn named(
        &self,
        domain: Option<&Domain>,
        name: &str,
    ) -> Result<Option<Arc<Agent>>, A2aError> {
        let domain = domain.unwrap_or(&self.main_domain);
        let Ok(name) = AgentName::parse(name) else {
            return Ok(None);
        };
        if !self.names.is_local(domain) {
            return Ok(None);
        }
        let found = self.store.find_agent(domain, &name).await?;
        Ok(found.filter(|agent| agent.settings.kind != AgentKind::Topic))
    }

    /// Where an agent is called, without a slash at the end.
    pub(super) fn base(&self, agent: &Agent) -> String {
        let (gateway, address) = (&self.gateway, &agent.address);
        let name = address.local().to_ascii_lowercase();
        match *address.domain() == self.main_domain {
            true => format!("{gateway}/a2a/{name}"),
            false => format!("{gateway}/a2a/{}/{name}", address.domain()),
        }
    }
}
