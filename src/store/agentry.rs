//! The database of Agentry, the Go gateway, as something to import from.
//!
//! - It is read in one read-only transaction, over one snapshot: nothing there is changed, and what
//!   is written meanwhile is not seen.
//! - Tables have gained columns over time. What an older database lacks is taken as absent.
//! - A message is read when it is asked for, one at a time.

use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, PgConnection, Row};
use thiserror::Error;

use crate::config::PostgresUrl;

/// What is there at least.
const TABLES: [&str; 3] = ["agents", "messages", "recipient_statuses"];

/// The members of a message, and the column each one stands in, as JSON.
const MEMBERS: [(&str, &str); 15] = [
    ("version", "to_json(m.version)"),
    ("message_id", "to_json(m.message_id)"),
    ("idempotency_key", "to_json(m.idempotency_key)"),
    (
        "timestamp",
        "to_json(to_char(m.timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'))",
    ),
    ("sender", "to_json(m.sender)"),
    ("recipients", "m.recipients"),
    ("subject", "to_json(m.subject)"),
    ("schema", "to_json(m.schema)"),
    ("coordination", "m.coordination"),
    ("headers", "m.headers"),
    ("payload", "m.payload"),
    ("attachments", "m.attachments"),
    ("in_reply_to", "to_json(m.in_reply_to)"),
    ("response_type", "to_json(m.response_type)"),
    ("signature", "m.signature"),
];

/// What was put into an inbox and not acknowledged.
const UNREAD: &str =
    "r.local_delivery AND r.inbox_delivered AND NOT coalesce(r.acknowledged, false)";

/// Why it cannot be read.
#[derive(Debug, Error)]
pub enum AgentryFault {
    /// The database does not answer, or refuses.
    #[error("{database}: {cause}")]
    Database {
        /// The database.
        database: String,
        /// Its words.
        cause: sqlx::Error,
    },
    /// It is another one's database.
    #[error("{database} is no database of Agentry: it has no table `{table}`")]
    Missing {
        /// The database.
        database: String,
        /// What it lacks.
        table: &'static str,
    },
}

/// An agent, as it stands there; not to be printed.
#[derive(Clone)]
pub struct AgentryAgent {
    /// `name@domain`.
    pub address: String,
    /// `push` or `pull`.
    pub delivery_mode: String,
    /// Its webhook.
    pub push_target: Option<String>,
    /// Headers for its webhook, as JSON.
    pub headers: Option<String>,
    /// The hash of its key in hexadecimal digits; of old versions the key itself.
    pub key: String,
    /// The schemas it takes, as JSON.
    pub schemas: Option<String>,
}

/// A schema, as it stands there.
#[derive(Debug, Clone)]
pub struct AgentrySchema {
    /// `agntcy:domain.entity.version`.
    pub id: String,
    /// The document.
    pub definition: String,
}

/// A message that waits in inboxes.
#[derive(Debug, Clone)]
pub struct AgentryMail {
    /// Its id.
    pub message_id: String,
    /// The message, put together from its columns.
    pub body: String,
    /// In whose inboxes it waits.
    pub unread_by: Vec<String>,
    /// What was found out about its sender, where that was written down.
    pub verification: Option<String>,
}

/// A recipient that a message did not get to.
#[derive(Debug, Clone)]
pub struct AgentryUndelivered {
    /// The message's id.
    pub message_id: String,
    /// Whom it is for.
    pub recipient: String,
    /// How far it got.
    pub state: String,
}

/// An open database of Agentry.
#[derive(Debug)]
pub struct Agentry {
    connection: PgConnection,
    database: String,
    has_schemas: bool,
    has_workflows: bool,
    has_verification: bool,
}

impl Agentry {
    /// Opens it and takes a snapshot.
    ///
    /// # Errors
    /// See [`AgentryFault`].
    pub async fn open(url: &PostgresUrl) -> Result<Self, AgentryFault> {
        let database = url.to_string();
        let connection = connect(url).await.map_err(|cause| AgentryFault::Database {
            database: database.clone(),
            cause,
        })?;
        let mut found = Self {
            connection,
            database,
            has_schemas: false,
            has_workflows: false,
            has_verification: false,
        };
        for table in TABLES {
            if !found
                .has("SELECT to_regclass($1) IS NOT NULL", &[table])
                .await?
            {
                let database = found.database;
                return Err(AgentryFault::Missing { database, table });
            }
        }
        let column = "SELECT count(*) > 0 FROM pg_attribute WHERE attrelid = to_regclass($1) \
                      AND attname = $2 AND attnum > 0 AND NOT attisdropped";
        found.has_schemas = found
            .has("SELECT to_regclass($1) IS NOT NULL", &["schemas"])
            .await?;
        found.has_workflows = found.has(column, &["messages", "workflow_id"]).await?;
        found.has_verification = found
            .has(column, &["message_statuses", "sender_verification"])
            .await?;
        Ok(found)
    }

    /// The agents, in the order they were registered.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn agents(&mut self) -> Result<Vec<AgentryAgent>, AgentryFault> {
        let rows = self
            .rows(
                "SELECT address, coalesce(delivery_mode, 'push'), nullif(push_target, ''), headers::text, \
                 coalesce(api_key, ''), supported_schemas::text FROM agents ORDER BY id",
            )
            .await?;
        self.all(&rows, |row| {
            Ok(AgentryAgent {
                address: row.try_get(0)?,
                delivery_mode: row.try_get(1)?,
                push_target: row.try_get(2)?,
                headers: row.try_get(3)?,
                key: row.try_get(4)?,
                schemas: row.try_get(5)?,
            })
        })
    }

    /// The schemas, in the order they were registered.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn schemas(&mut self) -> Result<Vec<AgentrySchema>, AgentryFault> {
        if !self.has_schemas {
            return Ok(Vec::new());
        }
        let rows = self
            .rows(
                "SELECT 'agntcy:' || domain || '.' || entity || '.' || version, definition::text \
                 FROM schemas ORDER BY id",
            )
            .await?;
        self.all(&rows, |row| {
            Ok(AgentrySchema {
                id: row.try_get(0)?,
                definition: row.try_get(1)?,
            })
        })
    }

    /// The numbers of the messages that wait in inboxes, in the order they came.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn unread(&mut self) -> Result<Vec<i64>, AgentryFault> {
        let rows = self
            .rows(&format!(
                "SELECT m.id::bigint FROM messages m WHERE m.message_id IN \
                 (SELECT r.message_id FROM recipient_statuses r WHERE {UNREAD}) ORDER BY m.id"
            ))
            .await?;
        self.all(&rows, |row| row.try_get(0))
    }

    /// One of the messages that wait.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn mail(&mut self, number: i64) -> Result<AgentryMail, AgentryFault> {
        let members = self.members();
        let columns: Vec<_> = members
            .iter()
            .map(|(_, column)| format!("({column})::text"))
            .collect();
        let verification = match self.has_verification {
            true => {
                "(SELECT s.sender_verification ->> 'result' FROM message_statuses s \
                 WHERE s.message_id = m.message_id LIMIT 1)"
            }
            false => "NULL::text",
        };
        let text = format!(
            "SELECT m.message_id::text, {verification}, ARRAY(SELECT r.address::text \
             FROM recipient_statuses r WHERE r.message_id = m.message_id AND {UNREAD} ORDER BY r.id), \
             {} FROM messages m WHERE m.id = $1",
            columns.join(", ")
        );
        let query = sqlx::query(AssertSqlSafe(text)).bind(number);
        let row = query.fetch_one(&mut self.connection).await;
        let read = row.and_then(|row| {
            Ok(AgentryMail {
                message_id: row.try_get(0)?,
                verification: row.try_get(1)?,
                unread_by: row.try_get(2)?,
                body: body(&members, &row)?,
            })
        });
        read.map_err(|cause| self.fault(cause))
    }

    /// What was taken from its sender and got neither to an inbox nor to an end.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn undelivered(&mut self) -> Result<Vec<AgentryUndelivered>, AgentryFault> {
        let rows = self
            .rows(
                "SELECT r.message_id::text, r.address, r.status::text FROM recipient_statuses r \
                 WHERE r.status::text NOT IN ('delivered', 'failed') ORDER BY r.id",
            )
            .await?;
        self.all(&rows, |row| {
            Ok(AgentryUndelivered {
                message_id: row.try_get(0)?,
                recipient: row.try_get(1)?,
                state: row.try_get(2)?,
            })
        })
    }

    fn members(&self) -> Vec<(&'static str, &'static str)> {
        let workflow = ("workflow_id", "to_json(m.workflow_id)");
        let more = self.has_workflows.then_some(workflow);
        MEMBERS.into_iter().chain(more).collect()
    }

    async fn has(&mut self, question: &'static str, names: &[&str]) -> Result<bool, AgentryFault> {
        let mut query = sqlx::query_scalar(question);
        for name in names {
            query = query.bind((*name).to_owned());
        }
        let answer = query.fetch_one(&mut self.connection).await;
        answer.map_err(|cause| self.fault(cause))
    }

    async fn rows(&mut self, text: &str) -> Result<Vec<PgRow>, AgentryFault> {
        let query = sqlx::query(AssertSqlSafe(text.to_owned()));
        let rows = query.fetch_all(&mut self.connection).await;
        rows.map_err(|cause| self.fault(cause))
    }

    fn all<T>(
        &self,
        rows: &[PgRow],
        read: impl FnMut(&PgRow) -> sqlx::Result<T>,
    ) -> Result<Vec<T>, AgentryFault> {
        let read: sqlx::Result<Vec<T>> = rows.iter().map(read).collect();
        read.map_err(|cause| self.fault(cause))
    }

    fn fault(&self, cause: sqlx::Error) -> AgentryFault {
        AgentryFault::Database {
            database: self.database.clone(),
            cause,
        }
    }
}

async fn connect(url: &PostgresUrl) -> sqlx::Result<PgConnection> {
    let mut fault = sqlx::Error::PoolClosed;
    for host in url.hosts() {
        let options: PgConnectOptions = host.reveal().parse()?;
        let options = options
            .application_name("amtpd import")
            .disable_statement_logging();
        match options.connect().await {
            Ok(mut connection) => {
                let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
                connection.execute(begin).await?;
                connection.ping().await?;
                return Ok(connection);
            }
            Err(error) => fault = error,
        }
    }
    Err(fault)
}

/// The message of a row; what is absent, `null` or empty is left out, but a payload is any value.
fn body(members: &[(&str, &str)], row: &PgRow) -> sqlx::Result<String> {
    let mut text = String::from("{");
    for (at, (name, _)) in members.iter().enumerate() {
        let value: Option<String> = row.try_get(at + 3)?;
        let Some(value) = value else { continue };
        if *name != "payload" && matches!(value.as_str(), "null" | "\"\"" | "[]" | "{}") {
            continue;
        }
        if text.len() > 1 {
            text.push(',');
        }
        text.push('"');
        text.push_str(name);
        text.push_str("\":");
        text.push_str(&value);
    }
    text.push('}');
    Ok(text)
}

/// Which database it is, without the password.
impl std::fmt::Display for Agentry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.database.fmt(f)
    }
}
