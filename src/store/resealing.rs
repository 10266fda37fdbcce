//! What is sealed with which key, and sealing it anew.
//!
//! A value is replaced only where it still is what was read: what somebody changes meanwhile stays.

use std::collections::BTreeMap;

use super::Store;
use super::agents::{AgentSettings, DeliveryMode, settings_bytes, settings_of};
use super::committer::Verb;
use super::error::StoreError;
use super::postgres::Servers;
use super::seal::KeyMark;
use super::sql::{Connection, Row, Statement};
use super::token_keys::KeyUse;
use crate::config::Database;
use crate::events::Topic;

/// Agents read at a time.
const PAGE: i64 = 1_000;

/// How many values rest on each key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seals {
    /// Headers of webhooks.
    pub headers: BTreeMap<KeyMark, u64>,
    /// Keys that sign tokens and cards.
    pub signing_keys: BTreeMap<KeyMark, u64>,
    /// What is shown where changes of tasks are posted.
    pub pushes: BTreeMap<KeyMark, u64>,
    /// Secrets of webhooks in force, which are derived.
    pub webhook_secrets: BTreeMap<KeyMark, u64>,
}

/// What of an agent rests on a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedAgent {
    /// Its number.
    pub id: i64,
    /// The headers of its webhook.
    pub headers: Option<Vec<u8>>,
    /// The key of its webhook's secret; nothing where that was not noted yet.
    pub secret: Option<KeyMark>,
    /// Whether it has a webhook.
    pub has_webhook: bool,
}

impl Store {
    /// What of agents rests on keys: those after a number, in the order of their numbers.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sealed_agents(
        &self,
        after: i64,
        limit: i64,
    ) -> Result<Vec<SealedAgent>, StoreError> {
        Ok(agents(&mut self.reader().await?, after, limit).await?)
    }

    /// How many values rest on each key.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn seals(&self) -> Result<Seals, StoreError> {
        Ok(count(&mut self.reader().await?).await?)
    }

    /// Replaces headers of webhooks, given as agent, old and new. Answers how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn reseal_headers(
        &self,
        values: Vec<(i64, Vec<u8>, Vec<u8>)>,
    ) -> Result<u64, StoreError> {
        let replaced = self.0.committing.commit(Headers(values)).await?;
        self.forget_agents();
        Ok(replaced)
    }

    /// Replaces the secret halves of keys that sign, given as id, old and new. Answers how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn reseal_signing_keys(
        &self,
        of: KeyUse,
        values: Vec<(String, Vec<u8>, Vec<u8>)>,
    ) -> Result<u64, StoreError> {
        self.0.committing.commit(SigningKeys(of, values)).await
    }

    /// Notes the key of webhook secrets of which none is noted.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn mark_secrets(&self, agents: Vec<i64>, key: KeyMark) -> Result<(), StoreError> {
        self.0.committing.commit(Mark(agents, key)).await?;
        self.forget_agents();
        Ok(())
    }
}

/// How many values of a database rest on each key, without a gateway; changes nothing.
///
/// # Errors
/// When the database cannot be read, as where it was never migrated.
pub async fn count_seals(database: &Database) -> Result<Seals, StoreError> {
    let mut connection = match database {
        Database::Sqlite(file) => super::backup::look(file).await?,
        Database::Postgres(url) => Servers::find(url).await?.1,
    };
    Ok(count(&mut connection).await?)
}

async fn count(connection: &mut Connection) -> sqlx::Result<Seals> {
    let mut seals = Seals {
        pushes: super::tasks::count_sealed(connection).await?,
        ..Seals::default()
    };
    let mut after = 0;
    loop {
        let page = agents(connection, after, PAGE).await?;
        let Some(last) = page.last() else {
            break;
        };
        after = last.id;
        for agent in page {
            if let Some(mark) = agent.headers.as_deref().and_then(KeyMark::of) {
                *seals.headers.entry(mark).or_default() += 1;
            }
            if let Some(mark) = agent.secret.filter(|_| agent.has_webhook) {
                *seals.webhook_secrets.entry(mark).or_default() += 1;
            }
        }
    }
    for of in KeyUse::ALL {
        let select = Statement::new(format!("SELECT sealed FROM {}", of.table()));
        for row in connection.rows(select).await? {
            if let Some(mark) = KeyMark::of(&row.bytes(0)?) {
                *seals.signing_keys.entry(mark).or_default() += 1;
            }
        }
    }
    Ok(seals)
}

async fn agents(
    connection: &mut Connection,
    after: i64,
    limit: i64,
) -> sqlx::Result<Vec<SealedAgent>> {
    let select = Statement::new(
        "SELECT id, sealed_headers, settings FROM agents WHERE id > ? AND deleted_at IS NULL \
         ORDER BY id LIMIT ?",
    );
    let rows = connection.rows(select.bind(after).bind(limit)).await?;
    rows.iter().map(agent).collect()
}

fn agent(row: &Row) -> sqlx::Result<SealedAgent> {
    let settings: AgentSettings = serde_json::from_slice(&row.bytes(2)?)
        .map_err(|fault| sqlx::Error::Decode(fault.to_string().into()))?;
    Ok(SealedAgent {
        id: row.int(0)?,
        headers: row.maybe_bytes(1)?,
        secret: settings.secret_keys.present,
        has_webhook: settings.delivery_mode == DeliveryMode::Push,
    })
}

struct Headers(Vec<(i64, Vec<u8>, Vec<u8>)>);

impl Verb for Headers {
    type Answer = u64;

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<u64> {
        let mut replaced = 0;
        for (agent, old, new) in &self.0 {
            let update = Statement::new(
                "UPDATE agents SET sealed_headers = ? WHERE id = ? AND sealed_headers = ?",
            );
            let update = update.bind(new.as_slice()).bind(*agent);
            replaced += tx.run(update.bind(old.as_slice())).await?;
        }
        Ok(replaced)
    }
}

struct SigningKeys(KeyUse, Vec<(String, Vec<u8>, Vec<u8>)>);

impl Verb for SigningKeys {
    type Answer = u64;

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<u64> {
        let mut replaced = 0;
        for (id, old, new) in &self.1 {
            let table = self.0.table();
            let update = Statement::new(format!(
                "UPDATE {table} SET sealed = ? WHERE id = ? AND sealed = ?"
            ));
            let update = update.bind(new.as_slice()).bind(id.as_str());
            replaced += tx.run(update.bind(old.as_slice())).await?;
        }
        Ok(replaced)
    }
}

struct Mark(Vec<i64>, KeyMark);

impl Verb for Mark {
    type Answer = ();

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<()> {
        for agent in &self.0 {
            let Some(mut settings) = settings_of(tx, *agent).await? else {
                continue;
            };
            if settings.secret_keys.present.is_some() {
                continue;
            }
            settings.secret_keys.present = Some(self.1);
            let update = Statement::new("UPDATE agents SET settings = ? WHERE id = ?");
            let update = update.bind(settings_bytes(&settings)).bind(*agent);
            tx.run(update).await?;
        }
        Ok(())
    }
}
