//! Everything that is kept, and every SQL statement of the product.
//!
//! - One SQLite file, WAL, `synchronous=FULL`, one writer; a lock file keeps a second process out.
//!   Or a PostgreSQL that several gateways share, two writers each. Readers have a pool of their own.
//! - Verbs of the domain (`accept`, `acknowledge`, `cancel`), each one commit.
//! - A verb answers only after its commit: what is answered is on disk.
//! - Migrations only go forward; a database of a newer version is refused.
//!
//! Times are milliseconds since 1970, ids are text, JSON is bytes.

mod accept;
mod agentry;
mod agents;
mod audit;
mod backup;
mod blobs;
mod bounced;
mod calls;
mod checkpoints;
mod claims;
mod committer;
mod control;
mod dead_letters;
mod deliveries;
mod durability;
mod enrolment;
mod error;
mod fronts;
mod groups;
mod identity;
mod inbox;
mod keys;
mod lag;
mod listing;
mod loading;
mod memory;
mod messages;
mod migrations;
mod notices;
mod open;
mod postgres;
mod redirect;
mod resealing;
mod retention;
mod return_path;
mod returned;
mod room;
mod schemas;
mod seal;
mod sessions;
mod settle;
mod settled;
mod shards;
mod space;
mod sql;
mod staff;
mod steps;
mod suppressions;
mod tasks;
#[cfg(test)]
pub(crate) mod tests;
mod token_keys;
mod topics;
mod trace;
mod webhook_secret;

use std::sync::{Arc, OnceLock};

use moka::future::Cache;
use ring::digest;
use sqlx::SqlitePool;

pub use accept::{
    Acceptance, Begin, Decision, Fate, Order, Plan, Planned, Succession, Terms, lane_of,
};
pub use agentry::{
    Agentry, AgentryAgent, AgentryFault, AgentryMail, AgentrySchema, AgentryUndelivered,
};
pub use agents::{
    A2aAccess, A2aExtension, A2aProfile, A2aSettings, A2aSkill, Agent, AgentChange, AgentKind,
    AgentSettings, Bounds, Created, DeliveryMode, GroupSettings, Listing, LiveSettings, NewAgent,
    Replies, SecretKeys, SessionOrder, SessionSharing, Spread, TopicSettings, WhenFull,
};
pub use audit::{AuditCut, AuditFilter, AuditRow};
pub use backup::{BackupError, BackupReport, backup, restore, verify};
pub use blobs::{Blob, BlobMeta, part_id, raw_mail_id};
pub use calls::{Call, CallAnswer, Follower, NewCall};
pub use claims::HeldKey;
pub use committer::{Accepting, Committer};
pub use control::{QueueFilter, QueueState, QueuedDelivery};
pub use dead_letters::{DeadLetter, DeadLetterFilter, DeadLetters};
pub use deliveries::{Delivery, Feed, QueueRow};
pub use durability::Durability;
pub use enrolment::{EnrolmentToken, NewEnrolmentToken};
pub use error::{OpenError, StoreError};
pub use groups::MOST_MEMBERS;
pub use identity::WireIdentity;
pub use inbox::{InboxItem, InboxPage, InboxQuery, Negative, ReadFilter, Take};
pub use keys::{ApiKey, Grant, MOST_KEYS, NewKey};
pub use lag::Lag;
pub use listing::{ListQuery, MessagePage};
pub use messages::{Party, RecipientState, StoredMessage, Tracked};
pub use notices::Messenger;
pub use open::{StoreLock, StoreOptions, open};
pub use postgres::inspect;
pub use redirect::Redirection;
pub use resealing::{SealedAgent, Seals, count_seals};
pub use retention::{RetentionRules, Swept};
pub use return_path::ReturnPath;
pub use returned::{MailFailure, Sent};
pub use room::Arriving;
pub use schemas::{NewSchema, PutSchema, SchemaState, SchemaStateFault, StoredSchema};
pub use seal::{KeyMark, PUSH_CREDENTIALS, SealFault, Sealer, WEBHOOK_HEADERS};
pub use sessions::{
    HandOut, Handed, NewSession, Opened, SessionFilter, SessionKind, SessionPresence, SessionRef,
    SessionRow, Tended, Tending,
};
pub use settle::{AttemptNote, BounceFate, Ending, Marks, Reason, Settlement};
pub use shards::{Claimed, GatewayRow, Presence, SHARDS, ShardSet, Solitude, shard_of};
pub use space::Space;
pub use staff::{NewStaffKey, StaffKey};
pub use steps::{Position, Step};
pub use suppressions::{Because, Suppression};
pub use tasks::{
    Advance, Advanced, ArtifactPiece, Direction, DuePush, Ended, MOST_PUSHES, NewPush, NewStatus,
    NewTask, OpenedTask, Otherwise, Pushed, SealedPush, StoredPush, TaskCounts, TaskCursor,
    TaskEvent, TaskPage, TaskParts, TaskQuery, TaskRow, TaskStep, When, WholeTask, task_topic,
};
pub use token_keys::{KeyUse, SigningKey};
pub use topics::{
    ALL_AGENTS, Asking, CONNECTED_AGENTS, Confirming, NewSubscription, Numbered, Publication,
    Start, StoredPublication, Subscribed, Subscription, SubscriptionState, Trim, list_destination,
    list_number,
};
pub use trace::{Buried, Entry, Hop, Reply, Trace, Tried};

use crate::config::Database;
use crate::events::Events;
use committer::{Committing, Patience};
use postgres::Servers;
use sql::Connection;

/// The store. Cloning is cheap; all clones share one writer.
#[derive(Clone)]
pub struct Store(Arc<Shared>);

struct Shared {
    committing: Committing,
    numbers: Arc<accept::Numbers>,
    readers: Readers,
    /// Where idempotency keys may stand, where one process owns the database.
    known: Option<claims::Keys>,
    events: Events,
    agents: Cache<agents::Name, Option<Arc<Agent>>>,
    numbered: Cache<i64, Option<Arc<Agent>>>,
    loading: loading::Loading,
    keys: Cache<String, Option<Arc<ApiKey>>>,
    database: Database,
    board: notices::Board,
    /// Says whether the other gateways know of this one.
    admitted: OnceLock<Admitted>,
}

type Admitted = Box<dyn Fn() -> bool + Send + Sync>;

/// Where reading connections come from.
enum Readers {
    Sqlite(SqlitePool),
    Postgres(Arc<Servers>),
}

impl Store {
    /// The board on which commits are published.
    #[must_use]
    pub fn events(&self) -> &Events {
        &self.0.events
    }

    /// Accepts a judged message; answers when it is on disk.
    ///
    /// # Errors
    /// [`StoreError::Full`] when there is no room: the sender may try again later.
    pub async fn accept(&self, acceptance: Acceptance) -> Result<Decision, StoreError> {
        self.begin_accept(acceptance).await?.decision().await
    }

    /// Hands a judged message over: messages are stored in the order of these calls.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when too many wait already; [`StoreError::Closed`] when the process is
    /// going down.
    pub async fn begin_accept(&self, acceptance: Acceptance) -> Result<Accepting, StoreError> {
        self.0.committing.begin_accept(acceptance)
    }

    /// Asks the database for a sign of life.
    ///
    /// # Errors
    /// When it gives none.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let mut reader = self.reader().await?;
        reader
            .row(sql::Statement::new(
                "SELECT count(*) FROM mailboxes WHERE id = 0",
            ))
            .await?;
        Ok(())
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.0.database
    }

    /// Whether several gateways may use it.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(self.0.readers, Readers::Postgres(_))
    }

    /// Whether it took the last commit, and the other gateways know of this one. While it is not so
    /// new mail is refused at once.
    #[must_use]
    pub fn is_present(&self) -> bool {
        self.0.committing.is_present() && self.is_admitted()
    }

    /// Whether the other gateways of the database know of this one.
    #[must_use]
    pub fn is_admitted(&self) -> bool {
        self.0.admitted.get().is_none_or(|admitted| admitted())
    }

    /// Lets somebody else say whether the other gateways know of this one.
    pub fn admit_by(&self, admitted: impl Fn() -> bool + Send + Sync + 'static) {
        // The first one stays: a store has one keeper.
        let _ = self.0.admitted.set(Box::new(admitted));
    }

    /// What "202" promises on it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn durability(&self) -> Result<Durability, StoreError> {
        match &self.0.readers {
            // WAL and synchronous=FULL are set when the file is opened.
            Readers::Sqlite(_) => Ok(Durability::OneHost),
            Readers::Postgres(_) => Ok(postgres::durability(&mut self.reader().await?).await?),
        }
    }

    fn board(&self) -> &notices::Board {
        &self.0.board
    }

    /// A connection of its own for a single duty; PostgreSQL only.
    async fn duty_connection(&self) -> Result<Connection, StoreError> {
        match &self.0.readers {
            Readers::Sqlite(_) => Err(StoreError::Closed),
            Readers::Postgres(servers) => Ok(servers.connect().await?),
        }
    }

    /// The pool that reads from PostgreSQL.
    fn reading_pool(&self) -> Result<sqlx::PgPool, StoreError> {
        match &self.0.readers {
            Readers::Sqlite(_) => Err(StoreError::Closed),
            Readers::Postgres(servers) => Ok(servers.pool()),
        }
    }

    async fn reader(&self) -> Result<Connection, StoreError> {
        match &self.0.readers {
            Readers::Sqlite(pool) => Ok(Connection::Reader(pool.acquire().await?)),
            Readers::Postgres(servers) => servers.reader().await,
        }
    }
}

/// The number by which an id stands in indexes.
#[must_use]
pub fn id_hash(id: &str) -> i64 {
    let hash = digest::digest(&digest::SHA256, id.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hash.as_ref()[..8]);
    i64::from_be_bytes(first)
}

/// The number by which a foreign address stands in indexes: the first eight bytes of its SHA-256
/// with the sign bit set, so that it never meets the (positive) number of a local agent.
#[must_use]
pub fn party_hash(address_key: &str) -> i64 {
    id_hash(address_key) | i64::MIN
}
