//! Local agents: who has a mailbox here and how its mail is delivered.
//!
//! An agent's number is never used again: a new agent under an old name gets a new, empty mailbox.
//! Deleting an agent takes its mailbox and keys at once; its rows are cleared away afterwards in
//! small steps (see `retention`).

mod a2a;
mod settings;

use std::sync::Arc;

use super::Store;
use super::committer::Verb;
use super::error::StoreError;
use super::keys::{self, NewKey};
use super::room;
use super::sessions::{self, Which};
use super::sql::{Connection, Row, Statement};
use super::tasks;
use crate::events::Topic;
use crate::protocol::{Address, AgentName, Domain, Timestamp};

pub use a2a::{A2aAccess, A2aExtension, A2aProfile, A2aSettings, A2aSkill};
pub use settings::{
    AgentKind, AgentSettings, Bounds, DeliveryMode, GroupSettings, Listing, LiveSettings, Replies,
    SecretKeys, SessionOrder, SessionSharing, Spread, TopicSettings, WhenFull,
};

/// A local agent.
#[derive(Debug, Clone)]
pub struct Agent {
    /// Its number, also that of its mailbox.
    pub id: i64,
    /// Its address.
    pub address: Address,
    /// What the operator set.
    pub settings: AgentSettings,
    /// Headers for its webhook, sealed.
    pub sealed_headers: Option<Vec<u8>>,
    /// Whether it takes mail and may send.
    pub active: bool,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// When it last used its key, to the minute.
    pub last_active_at: Option<Timestamp>,
}

/// An agent to register.
#[derive(Debug, Clone)]
pub struct NewAgent {
    /// The domain, one of ours.
    pub domain: Domain,
    /// The local part.
    pub name: AgentName,
    /// What the operator set.
    pub settings: AgentSettings,
    /// Headers for its webhook, sealed.
    pub sealed_headers: Option<Vec<u8>>,
    /// Its first key.
    pub key: NewKey,
    /// The enrolment token that pays for it, if any.
    pub token: Option<String>,
    /// The present moment.
    pub now: Timestamp,
}

/// A change to an agent; what is absent stays, and so does the secret of its webhook.
#[derive(Debug, Clone)]
pub struct AgentChange {
    /// The agent's number.
    pub id: i64,
    /// New settings.
    pub settings: AgentSettings,
    /// New sealed headers; `Some(None)` removes them.
    pub sealed_headers: Option<Option<Vec<u8>>>,
    /// Whether it takes mail and may send.
    pub active: bool,
    /// The present moment.
    pub now: Timestamp,
}

/// Domain and local part, both lower-cased.
pub(super) type Name = (String, String);

fn name_of(domain: &Domain, name: &AgentName) -> Name {
    (domain.as_str().to_owned(), name.as_str().to_owned())
}

const COLUMNS: &str =
    "id, domain, name, settings, sealed_headers, active, created_at, updated_at, last_active_at";

impl Store {
    /// The agent of this name, from memory where it was asked for in the last seconds.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_agent(
        &self,
        domain: &Domain,
        name: &AgentName,
    ) -> Result<Option<Arc<Agent>>, StoreError> {
        let key = name_of(domain, name);
        if let Some(known) = self.0.agents.get(&key).await {
            return Ok(known);
        }
        let mut reader = self.reader().await?;
        let statement = Statement::new(format!(
            "SELECT {COLUMNS} FROM agents WHERE domain = ? AND name = ? AND deleted_at IS NULL"
        ))
        .bind(key.0.as_str())
        .bind(key.1.as_str());
        let found = reader
            .row(statement)
            .await?
            .map(|row| agent(&row))
            .transpose()?
            .map(Arc::new);
        self.0.agents.insert(key, found.clone()).await;
        Ok(found)
    }

    /// The agent of this number, unless it was deleted; from memory as by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_agent_by_number(
        &self,
        number: i64,
    ) -> Result<Option<Arc<Agent>>, StoreError> {
        if let Some(known) = self.0.numbered.get(&number).await {
            return Ok(known);
        }
        let mut reader = self.reader().await?;
        let statement = Statement::new(format!(
            "SELECT {COLUMNS} FROM agents WHERE id = ? AND deleted_at IS NULL"
        ))
        .bind(number);
        let found = reader.row(statement).await?;
        let found = found.map(|row| agent(&row)).transpose()?.map(Arc::new);
        self.0.numbered.insert(number, found.clone()).await;
        Ok(found)
    }

    /// Forgets what is in memory of agents and their keys.
    pub(super) fn forget_agents(&self) {
        self.0.agents.invalidate_all();
        self.0.numbered.invalidate_all();
        self.0.keys.invalidate_all();
    }

    /// Agents in the order of their addresses, after `after`, at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_agents(
        &self,
        after: Option<&Address>,
        limit: usize,
    ) -> Result<Vec<Agent>, StoreError> {
        let (domain, name) = after.map_or((String::new(), String::new()), |address| {
            (
                address.domain().as_str().to_owned(),
                address.local().to_ascii_lowercase(),
            )
        });
        let mut reader = self.reader().await?;
        let statement = Statement::new(format!(
            "SELECT {COLUMNS} FROM agents WHERE deleted_at IS NULL AND (domain, name) > (?, ?) \
             ORDER BY domain, name LIMIT ?"
        ))
        .bind(domain)
        .bind(name)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        reader.rows(statement).await?.iter().map(agent).collect()
    }

    /// The active agents that are connected to by us, at most `limit`, in the order of their numbers.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn dialled_agents(&self, limit: usize) -> Result<Vec<Agent>, StoreError> {
        let mut reader = self.reader().await?;
        // The text finds few; what they say decides.
        let holds = match reader.is_postgres() {
            true => "position(? IN settings) > 0",
            false => "instr(settings, ?) > 0",
        };
        let statement = Statement::new(format!(
            "SELECT {COLUMNS} FROM agents WHERE deleted_at IS NULL AND active = ? \
             AND {holds} ORDER BY id LIMIT ?"
        ))
        .bind(true)
        .bind(b"\"push_target\":\"wss://".as_slice())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = reader.rows(statement).await?;
        let found = rows.iter().map(agent).collect::<Result<Vec<_>, _>>()?;
        let dials = |agent: &Agent| agent.settings.dials().is_some();
        Ok(found.into_iter().filter(dials).collect())
    }

    /// Registers an agent with its first key and an empty mailbox.
    ///
    /// # Errors
    /// When the database fails. The answer tells apart what the caller can mend.
    pub async fn create_agent(&self, new: NewAgent) -> Result<Created, StoreError> {
        let key = name_of(&new.domain, &new.name);
        let created = self.0.committing.commit(CreateAgent(new)).await?;
        self.0.agents.invalidate(&key).await;
        Ok(created)
    }

    /// Changes an agent. Answers whether it was there.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn change_agent(&self, change: AgentChange) -> Result<bool, StoreError> {
        let changed = self.0.committing.commit(ChangeAgent(change)).await?;
        self.forget_agents();
        Ok(changed)
    }

    /// Deletes an agent, its keys and its mailbox. Answers whether it was there.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delete_agent(&self, id: i64, now: Timestamp) -> Result<bool, StoreError> {
        let deleted = self.0.committing.commit(DeleteAgent { id, now }).await?;
        self.forget_agents();
        Ok(deleted)
    }

    /// Notes when agents were last active.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_activity(&self, seen: Vec<(i64, Timestamp)>) -> Result<(), StoreError> {
        self.0.committing.commit(NoteActivity(seen)).await
    }
}

fn agent(row: &Row) -> Result<Agent, StoreError> {
    let address = format!("{}@{}", row.text(2)?, row.text(1)?);
    let moment = |column| Ok::<_, sqlx::Error>(Timestamp::from_millis(row.int(column)?));
    Ok(Agent {
        id: row.int(0)?,
        address: Address::parse(&address)
            .map_err(|fault| StoreError::Corrupt(fault.to_string()))?,
        settings: serde_json::from_slice(&row.bytes(3)?)
            .map_err(|fault| StoreError::Corrupt(format!("settings of {address}: {fault}")))?,
        sealed_headers: row.maybe_bytes(4)?,
        active: row.int(5)? != 0,
        created_at: moment(6)?,
        updated_at: moment(7)?,
        last_active_at: row.maybe_int(8)?.map(Timestamp::from_millis),
    })
}

pub(super) fn settings_bytes(settings: &AgentSettings) -> Vec<u8> {
    serde_json::to_vec(settings).expect("settings are strings under string names")
}

/// What registering an agent came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// It is registered under this number.
    Agent(i64),
    /// The address is taken.
    Exists,
    /// The enrolment token is used up or gone.
    TokenSpent,
}

struct CreateAgent(NewAgent);

impl Verb for CreateAgent {
    type Answer = Created;

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<Created> {
        let new = &self.0;
        let (domain, name) = name_of(&new.domain, &new.name);
        let taken = Statement::new(
            "SELECT id FROM agents WHERE domain = ? AND name = ? AND deleted_at IS NULL",
        )
        .bind(domain.as_str())
        .bind(name.as_str());
        if tx.row(taken).await?.is_some() {
            return Ok(Created::Exists);
        }
        if let Some(token) = &new.token {
            let spend = Statement::new(
                "UPDATE enrolment_tokens SET uses_left = uses_left - 1 \
                 WHERE id = ? AND uses_left > 0 AND expires_at > ?",
            )
            .bind(token.as_str())
            .bind(new.now.as_millis());
            if tx.run(spend).await? == 0 {
                return Ok(Created::TokenSpent);
            }
        }
        let insert = Statement::new(
            "INSERT INTO agents (domain, name, settings, sealed_headers, active, created_at, updated_at) \
             VALUES (?, ?, ?, ?, 1, ?, ?) RETURNING id",
        )
        .bind(domain)
        .bind(name)
        .bind(settings_bytes(&new.settings))
        .bind(new.sealed_headers.clone())
        .bind(new.now.as_millis())
        .bind(new.now.as_millis());
        let row = tx.row(insert).await?.ok_or(sqlx::Error::RowNotFound)?;
        let id = row.int(0)?;
        tx.run(room::create(id, &new.settings.bounds)).await?;
        keys::insert(tx, id, &new.key, new.now).await?;
        Ok(Created::Agent(id))
    }
}

struct ChangeAgent(AgentChange);

impl Verb for ChangeAgent {
    type Answer = bool;

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<bool> {
        let change = &self.0;
        // There may be room now for what waits.
        topics.push(Topic::Room);
        let Some(present) = settings_of(tx, change.id).await? else {
            return Ok(false);
        };
        // The change was made of what was read before: a secret rotated since must not come back.
        let settings = AgentSettings {
            secret_generation: present.secret_generation,
            secret_rotated_at: present.secret_rotated_at,
            secret_keys: present.secret_keys,
            ..change.settings.clone()
        };
        let update = Statement::new(
            "UPDATE agents SET settings = ?, active = ?, updated_at = ? WHERE id = ? AND deleted_at IS NULL",
        )
        .bind(settings_bytes(&settings))
        .bind(change.active)
        .bind(change.now.as_millis())
        .bind(change.id);
        let found = tx.run(update).await? > 0;
        room::bound(tx, change.id, &settings.bounds).await?;
        if let Some(headers) = &change.sealed_headers {
            let update = Statement::new("UPDATE agents SET sealed_headers = ? WHERE id = ?")
                .bind(headers.clone())
                .bind(change.id);
            tx.run(update).await?;
        }
        if let Some(reason) = why_sessions_end(change, &present) {
            let all = Which::Agent(change.id);
            sessions::dismiss(tx, all, reason, change.now, topics).await?;
        }
        Ok(found)
    }
}

/// Why an agent's sessions do not outlive a change, where they do not.
fn why_sessions_end(change: &AgentChange, present: &AgentSettings) -> Option<&'static str> {
    if !change.active {
        return Some("the agent was deactivated");
    }
    let changed = change.settings.live != present.live
        || change.settings.has_mailbox() != present.has_mailbox()
        || change.settings.dials() != present.dials();
    changed.then_some("the agent's settings were changed")
}

/// What is set of an agent at present; nothing where it is gone.
pub(super) async fn settings_of(
    tx: &mut Connection,
    id: i64,
) -> sqlx::Result<Option<AgentSettings>> {
    let statement =
        Statement::new("SELECT settings FROM agents WHERE id = ? AND deleted_at IS NULL").bind(id);
    let Some(row) = tx.row(statement).await? else {
        return Ok(None);
    };
    let settings = serde_json::from_slice(&row.bytes(0)?)
        .map_err(|fault| sqlx::Error::Decode(fault.to_string().into()))?;
    Ok(Some(settings))
}

struct DeleteAgent {
    id: i64,
    now: Timestamp,
}

impl Verb for DeleteAgent {
    type Answer = bool;

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<bool> {
        let update =
            Statement::new("UPDATE agents SET deleted_at = ? WHERE id = ? AND deleted_at IS NULL")
                .bind(self.now.as_millis())
                .bind(self.id);
        let found = tx.run(update).await? > 0;
        let all = Which::Agent(self.id);
        sessions::dismiss(tx, all, "the agent was deleted", self.now, topics).await?;
        if let Some(memory) = tx.memory() {
            memory.forget(self.id);
        }
        tx.run(Statement::new("DELETE FROM mailboxes WHERE id = ?").bind(self.id))
            .await?;
        for text in [
            "DELETE FROM api_keys WHERE agent = ?",
            "DELETE FROM session_copies WHERE mailbox = ?",
        ] {
            tx.run(Statement::new(text).bind(self.id)).await?;
        }
        tasks::agent_lost(tx, self.id, self.now).await?;
        topics.push(Topic::Mailbox(self.id));
        Ok(found)
    }
}

struct NoteActivity(Vec<(i64, Timestamp)>);

impl Verb for NoteActivity {
    type Answer = ();

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<()> {
        for (id, at) in &self.0 {
            let update = Statement::new("UPDATE agents SET last_active_at = ? WHERE id = ?")
                .bind(at.as_millis())
                .bind(*id);
            tx.run(update).await?;
        }
        Ok(())
    }
}
