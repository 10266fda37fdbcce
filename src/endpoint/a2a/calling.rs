//! A call of an agent: who calls, what may be seen, and what the client said of itself.

use std::net::IpAddr;
use std::sync::Arc;

use ring::digest::{SHA256, digest};

use super::dialect::error::{A2aError, Kind};
use super::dialect::version;
use super::tools::{A2a, Visitor};
use crate::auth::Permission;
use crate::envelope::Principal;
use crate::store::{A2aAccess, Agent, TaskRow};
use crate::task::{Dialect, Owner};

/// The header by which a client asks that a repeated request counts once.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
const LAST_EVENT: &str = "last-event-id";
/// Bytes of what names a request that may be repeated.
const LONGEST_KEY: usize = 255;

/// A call that may be made.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) agent: Arc<Agent>,
    pub(super) principal: Principal,
    pub(super) dialect: Dialect,
    /// Extensions of the agent that the client named.
    pub(super) extensions: Vec<String>,
    pub(super) remote: IpAddr,
    pub(super) request_id: String,
    /// What names a request that may be repeated.
    key: Option<String>,
    /// The position of the last event that a client has.
    pub(super) last_event: Option<i64>,
}

/// Whether somebody may call an agent.
///
/// # Errors
/// It may not: nothing is said about what it would find.
pub(super) fn admits(agent: &Agent, principal: &Principal) -> Result<(), A2aError> {
    let settings = &agent.settings.a2a;
    let listed = match principal {
        Principal::Anonymous => {
            if settings.access == A2aAccess::Public {
                return Ok(());
            }
            let text = "this agent is for callers with a credential";
            return Err(A2aError::new(Kind::Unauthenticated, text));
        }
        Principal::Agent { address, .. } => {
            if !Permission::Send.allows(principal) {
                let text = "the credential is not good for sending";
                return Err(A2aError::new(Kind::Forbidden, text));
            }
            settings.lists(address)
        }
        Principal::Staff { .. } => true,
    };
    match settings.access {
        A2aAccess::AllowList if !listed => {
            let text = "this agent is for those on its list";
            Err(A2aError::new(Kind::Forbidden, text))
        }
        _ => Ok(()),
    }
}

impl Call {
    /// A call of an agent in a dialect.
    ///
    /// # Errors
    /// The client may not call, or does not name an extension that it must know.
    pub(super) fn new(
        agent: Arc<Agent>,
        visitor: &Visitor,
        dialect: Dialect,
    ) -> Result<Self, A2aError> {
        admits(&agent, &visitor.principal)?;
        let requested = version::extensions(visitor.all("a2a-extensions", "x-a2a-extensions"));
        let card = super::card::extensions(&agent, super::card::Reader::Anybody);
        let card = card.iter().map(|it| (it.uri.as_str(), it.required));
        let key = visitor.text(IDEMPOTENCY_KEY).map(str::to_owned);
        if key.as_ref().is_some_and(|key| key.len() > LONGEST_KEY) {
            let text = format!("Idempotency-Key has more than {LONGEST_KEY} bytes");
            return Err(A2aError::new(Kind::InvalidParams, text));
        }
        let last_event = match visitor.text(LAST_EVENT) {
            None => None,
            Some(text) => Some(text.parse().map_err(|_| {
                let text = "Last-Event-ID is not one of ours";
                A2aError::new(Kind::InvalidParams, text)
            })?),
        };
        Ok(Self {
            extensions: version::active(&requested, card)?,
            agent,
            principal: visitor.principal.clone(),
            dialect,
            remote: visitor.remote,
            request_id: visitor.request_id.clone(),
            key,
            last_event,
        })
    }

    /// The owner that the caller is with respect to a task, by its id or, in 0.1, its name.
    pub(super) fn owner(&self, task: &str) -> Owner {
        Owner::of(&self.principal, task)
    }

    /// What names this request among all there are. Who shows no credential could name that of
    /// others: there a repeated request counts again.
    pub(super) fn repeatable(&self, task: &str) -> Option<String> {
        let key = self.key.as_ref()?;
        if self.principal == Principal::Anonymous {
            return None;
        }
        let owner = self.owner("");
        let text = format!("{}\n{}\n{task}\n{key}", owner.as_str(), self.agent.id);
        let hash = digest(&SHA256, text.as_bytes());
        let hex = hash.as_ref().iter().map(|byte| format!("{byte:02x}"));
        Some(hex.collect())
    }

    /// Whether the caller shows a credential.
    pub(super) fn is_known(&self) -> bool {
        self.principal != Principal::Anonymous
    }
}

impl A2a {
    /// A task of the caller with this agent.
    ///
    /// # Errors
    /// There is none: also for one of others, and one whose client has not seen it.
    pub(super) async fn task(&self, call: &Call, id: &str) -> Result<TaskRow, A2aError> {
        let found = match call.dialect {
            Dialect::V01 => self.aliased(call, id).await?,
            Dialect::V1 | Dialect::V03 => None,
        };
        let found = match found {
            Some(row) => Some(row),
            None => {
                let owner = call.owner(id);
                self.store.find_task(id, owner.as_str()).await?
            }
        };
        let now = self.clock.now();
        let seen = |row: &TaskRow| row.agent == call.agent.id && row.held_until <= now;
        found.filter(seen).ok_or_else(|| A2aError::no_task(id))
    }

    /// The task that an early client knows by a name of its own.
    pub(super) async fn aliased(
        &self,
        call: &Call,
        alias: &str,
    ) -> Result<Option<TaskRow>, A2aError> {
        let owner = call.owner(alias);
        let key = (owner.as_str(), call.agent.id);
        Ok(self.store.find_task_by_alias(key, alias).await?)
    }
}

impl Visitor {
    /// The text of a header that is not empty.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let value = self.headers.get(name)?.to_str().ok();
        value.map(str::trim).filter(|text| !text.is_empty())
    }

    /// The texts of headers of either name.
    fn all<'a>(&'a self, one: &'a str, other: &'a str) -> impl Iterator<Item = &'a str> {
        let named = |name| self.headers.get_all(name).iter();
        named(one)
            .chain(named(other))
            .filter_map(|value| value.to_str().ok())
    }

    /// The version that the client names.
    pub(super) fn version(&self) -> version::Asked {
        let query = self.query.iter();
        let parameter = query
            .filter(|(name, _)| name.eq_ignore_ascii_case("a2a-version"))
            .map(|(_, value)| value.as_str())
            .next();
        // One that cannot be read is one that is not supported.
        let header = self.headers.get("a2a-version");
        let header = header.map(|value| value.to_str().unwrap_or("?"));
        version::Asked::read(header, parameter)
    }
}
