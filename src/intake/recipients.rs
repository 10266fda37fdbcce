//! Our own names: which addresses are ours and who answers to them (AMTP 1.0, section 3.1).

use std::collections::HashSet;
use std::sync::Arc;

use crate::protocol::list::{ToTopic, may_pass};
use crate::protocol::{Address, AgentName, Domain, ErrorCode, Message, Timestamp, is_reserved};
use crate::store::{
    Agent, AgentKind, DeliveryMode, Plan, Store, StoreError, Terms, list_destination, party_hash,
};

/// The domains we are responsible for, and the agents that take what is for nobody else.
#[derive(Debug, Clone, Default)]
pub struct LocalNames {
    /// Our domains.
    pub domains: HashSet<Domain>,
    /// Who reads mail to `postmaster`.
    pub postmaster: Option<Address>,
    /// Who reads mail to `abuse`; the same as `postmaster` where nobody is named.
    pub abuse: Option<Address>,
    /// Who reads mail to unknown agents.
    pub catch_all: Option<Address>,
    /// How people are reached, where that is on.
    pub people: Option<People>,
}

/// How people are reached.
#[derive(Debug, Clone, Default)]
pub struct People {
    /// Domains of ours whose people have their mail elsewhere.
    pub onward: HashSet<Domain>,
}

impl LocalNames {
    /// Whether a domain is ours.
    #[must_use]
    pub fn is_local(&self, domain: &Domain) -> bool {
        self.domains.contains(domain)
    }

    /// The agent that answers to one of our addresses.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn find(
        &self,
        store: &Store,
        address: &Address,
    ) -> Result<Option<Arc<Agent>>, StoreError> {
        let stand_in = match address.local().to_ascii_lowercase().as_str() {
            "postmaster" => self.postmaster.as_ref(),
            "abuse" => self.abuse.as_ref().or(self.postmaster.as_ref()),
            local if is_reserved(local) => None,
            _ => return self.registered(store, address).await,
        };
        match stand_in {
            Some(agent) => by_name(store, agent).await,
            None => Ok(None),
        }
    }

    async fn registered(
        &self,
        store: &Store,
        address: &Address,
    ) -> Result<Option<Arc<Agent>>, StoreError> {
        if let Some(agent) = by_name(store, address).await? {
            return Ok(Some(agent));
        }
        match &self.catch_all {
            Some(agent) => by_name(store, agent).await,
            None => Ok(None),
        }
    }

    /// Whether an address that is no agent's may be a person's, whose mail lives elsewhere.
    pub(super) fn has_people(&self, address: &Address) -> bool {
        let people = self.people.as_ref();
        people.is_some_and(|people| people.onward.contains(address.domain()))
            && !is_reserved(address.local())
    }

    /// Whether a message answers one that came as mail from this address: then it goes as mail.
    async fn answers_mail(
        &self,
        store: &Store,
        message: &Message,
        address: &Address,
    ) -> Result<bool, StoreError> {
        match (&self.people, message.in_reply_to()) {
            (Some(_), Some(id)) => store.came_by_mail(id, address).await,
            _ => Ok(false),
        }
    }

    /// What is to become of a message for one recipient.
    pub(super) async fn plan(
        &self,
        store: &Store,
        message: &Message,
        address: &Address,
        give_up_at: Timestamp,
    ) -> Result<Plan, StoreError> {
        if !self.is_local(address.domain()) {
            let way = match self.answers_mail(store, message, address).await? {
                true => "mail",
                false => "domain",
            };
            return Ok(abroad(way, address, give_up_at));
        }
        let Some(agent) = self.find(store, address).await? else {
            return Ok(match self.has_people(address) {
                true => abroad("mail", address, give_up_at),
                false => Plan::Refused(ErrorCode::AgentUnknown),
            });
        };
        if !agent.active {
            return Ok(Plan::Refused(ErrorCode::RecipientUnavailable));
        }
        if agent.settings.kind == AgentKind::Topic {
            return Ok(to_topic(&agent, message, give_up_at));
        }
        if agent.settings.delivery_mode == DeliveryMode::Peer {
            return Ok(through(&agent, message, give_up_at));
        }
        if !takes_schema(&agent, message) {
            return Ok(Plan::Refused(ErrorCode::SchemaValidationFailed));
        }
        let queued = |kind: &str| Plan::Queue {
            party: agent.id,
            destination: format!("{kind}:{}", agent.id),
            give_up_at,
            wire: None,
            reserved: None,
            terms: Terms::default(),
        };
        Ok(match agent.settings.kind {
            AgentKind::Group if store.calls_members(&agent).await? => queued("group"),
            _ if agent.settings.has_mailbox() => Plan::Inbox {
                mailbox: agent.id,
                priority: None,
            },
            _ => queued("agent"),
        })
    }
}

/// The plan of what leaves this gateway.
fn abroad(way: &str, address: &Address, give_up_at: Timestamp) -> Plan {
    Plan::Queue {
        party: party_hash(&address.key()),
        destination: format!("{way}:{}", address.domain()),
        give_up_at,
        wire: None,
        reserved: None,
        terms: Terms::default(),
    }
}

/// The plan of what is sent to an address that stands for an agent of another domain: it goes on there,
/// and what comes from there goes back to whoever asked.
fn through(front: &Agent, message: &Message, give_up_at: Timestamp) -> Plan {
    let Some(target) = front.settings.stands_for() else {
        return Plan::Refused(ErrorCode::RecipientUnavailable);
    };
    let tells = message.member("message_type").is_some();
    if !tells && *message.sender() != target {
        return match takes_schema(front, message) {
            true => abroad("domain", &target, give_up_at),
            false => Plan::Refused(ErrorCode::SchemaValidationFailed),
        };
    }
    Plan::Queue {
        party: front.id,
        destination: format!("agent:{}", front.id),
        give_up_at,
        wire: None,
        reserved: None,
        terms: Terms::default(),
    }
}

/// Whether a recipient is an address of ours that stands for an agent of another domain, to which the
/// plan leads.
pub(super) fn leads_through(plan: &Plan, address: &Address) -> bool {
    let Plan::Queue { destination, .. } = plan else {
        return false;
    };
    let domain = destination.strip_prefix("domain:");
    domain.is_some_and(|domain| domain != address.domain().as_str())
}

/// What is sent to a topic waits in the queue until the copies are made.
fn to_topic(topic: &Agent, message: &Message, give_up_at: Timestamp) -> Plan {
    if ToTopic::of(message) == ToTopic::Publication {
        if !may_pass(message, &topic.address) {
            return Plan::Refused(ErrorCode::LoopDetected);
        }
        if !takes_schema(topic, message) {
            return Plan::Refused(ErrorCode::SchemaValidationFailed);
        }
    }
    Plan::Queue {
        party: topic.id,
        destination: list_destination(topic.id),
        give_up_at,
        wire: None,
        reserved: None,
        terms: Terms::default(),
    }
}

/// An agent that names schemas takes messages of these schemas only.
fn takes_schema(agent: &Agent, message: &Message) -> bool {
    let patterns = &agent.settings.supported_schemas;
    patterns.is_empty()
        || message
            .schema()
            .is_some_and(|schema| patterns.iter().any(|pattern| pattern.matches(schema)))
}

async fn by_name(store: &Store, address: &Address) -> Result<Option<Arc<Agent>>, StoreError> {
    let names: Vec<AgentName> = address.agent_names().collect();
    for name in names {
        if let Some(agent) = store.find_agent(address.domain(), &name).await? {
            return Ok(Some(agent));
        }
    }
    Ok(None)
}
