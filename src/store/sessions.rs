//! Sessions: the connections over which agents are sent their mail as it arrives.
//!
//! - What a session was handed stays in the mailbox, marked as its own, until it is acknowledged or
//!   put back. The marks are made by one verb that holds the mailbox, so they hold across gateways.
//! - A session whose connection is lost is *detached*: its marks are taken off at once, the row stays
//!   for a while so that it can be resumed. A session of a gateway that is gone is detached by others.
//! - A session that somebody else ends (an operator, a revoked key) keeps its row with the reason,
//!   until its connection has told it.
//! - Where sessions get copies, a message leaves the mailbox when each of them acknowledged it.

mod copies;
mod ending;
mod handing;
mod opening;
mod pick;
mod tending;

use std::collections::HashMap;

use uuid::Uuid;

use super::error::StoreError;
use super::inbox::InboxItem;
use super::sql::{Row, Statement, padded, places};
use super::{SessionOrder, SessionSharing, Store};
use crate::protocol::Timestamp;

pub(super) use copies::{
    acknowledge as acknowledge_copies, forget as forget_copies, put_back as put_back_copies,
    put_back_for_all,
};
pub(super) use ending::{Which, dismiss};
pub use opening::{NewSession, Opened};
pub use tending::{Tended, Tending};

/// What a message of the mailbox is marked with that was handed out as copies.
pub(super) const AS_COPIES: i64 = -1;

/// How a session is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SessionKind {
    /// A WebSocket that the agent opened.
    WebSocket,
    /// A stream of events.
    Stream,
    /// A WebSocket that this gateway opened.
    Dialled,
}

impl SessionKind {
    /// The word in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::Stream => "stream",
            Self::Dialled => "dialled",
        }
    }

    const fn code(self) -> i64 {
        match self {
            Self::WebSocket => 0,
            Self::Stream => 1,
            Self::Dialled => 2,
        }
    }

    const fn of(code: i64) -> Self {
        match code {
            1 => Self::Stream,
            2 => Self::Dialled,
            _ => Self::WebSocket,
        }
    }
}

/// One connection of a session: a later connection of the same session has another epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionRef {
    /// The session's number.
    pub number: i64,
    /// The how-manieth connection it is.
    pub epoch: i64,
    /// The mailbox it takes mail from.
    pub mailbox: i64,
    /// Whether each session of the mailbox gets every message.
    pub sharing: SessionSharing,
}

impl SessionRef {
    fn gets_copies(&self) -> bool {
        self.sharing == SessionSharing::Copies
    }
}

/// What a session asks for.
#[derive(Debug, Clone, Copy)]
pub struct HandOut {
    /// Who asks.
    pub session: SessionRef,
    /// Whether mail of one sender keeps its order among the sessions of the mailbox.
    pub order: SessionOrder,
    /// The most unacknowledged messages it may have.
    pub credit: usize,
    /// At most so many now.
    pub most: usize,
    /// Whether what it was handed before is to be handed out anew: it is not known what that was.
    pub again: bool,
    /// The present moment.
    pub now: Timestamp,
}

/// What a session is handed.
#[derive(Debug)]
pub enum Handed {
    /// Mail, in the order it is to be pushed.
    Mail {
        /// May be empty.
        items: Vec<InboxItem>,
        /// Whether the session has as many as it may have.
        full: bool,
        /// Whether more could be handed out at once.
        more: bool,
        /// When something that is hidden now can be seen.
        due: Option<Timestamp>,
    },
    /// Nothing any more: the session has ended, for this reason.
    Ended(String),
}

/// A session as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// Its number.
    pub number: i64,
    /// Its id.
    pub id: Uuid,
    /// The mailbox it takes mail from.
    pub mailbox: i64,
    /// That mailbox's address.
    pub mailbox_address: String,
    /// The address of the agent that opened it.
    pub agent_address: String,
    /// With which credential.
    pub key_id: String,
    /// How it is connected.
    pub kind: SessionKind,
    /// The gateway that holds it.
    pub node: String,
    /// Where it comes from.
    pub remote: Option<String>,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When its other side last gave a sign of life.
    pub seen_at: Timestamp,
    /// When its connection was lost, where it was.
    pub detached_at: Option<Timestamp>,
    /// How many messages it was handed and has not acknowledged.
    pub unacknowledged: u64,
}

/// Which sessions to list.
#[derive(Debug, Clone, Default)]
pub struct SessionFilter {
    /// Those that take mail from this mailbox, or that this agent opened.
    pub agent: Option<i64>,
    /// Those that this gateway holds.
    pub node: Option<String>,
    /// Those with a higher number.
    pub after: i64,
    /// At most so many.
    pub limit: usize,
}

/// Who is there for a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionPresence {
    /// The mailbox.
    pub mailbox: i64,
    /// How many sessions are attached.
    pub sessions: u64,
    /// Since when the oldest of them is; nothing where there is none.
    pub since: Option<Timestamp>,
    /// When one last gave a sign of life, also one that is detached.
    pub seen_at: Option<Timestamp>,
}

const LISTED: &str = "SELECT s.number, s.id, s.mailbox, m.name || '@' || m.domain, \
     a.name || '@' || a.domain, s.key_id, s.kind, s.node, s.remote, s.opened_at, s.seen_at, s.detached_at, \
     CASE WHEN s.copies = 0 THEN (SELECT count(*) FROM inbox i WHERE i.mailbox = s.mailbox \
     AND i.session = s.number AND i.session <> 0) \
     ELSE (SELECT count(*) FROM session_copies c WHERE c.session = s.number AND c.state <> 1) END \
     FROM sessions s JOIN agents m ON m.id = s.mailbox JOIN agents a ON a.id = s.agent \
     WHERE s.closing IS NULL";

impl Store {
    /// The sessions that are open, by their numbers.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_sessions(
        &self,
        filter: &SessionFilter,
    ) -> Result<Vec<SessionRow>, StoreError> {
        let mut text = format!("{LISTED} AND s.number > ?");
        if filter.agent.is_some() {
            text.push_str(" AND (s.mailbox = ? OR s.agent = ?)");
        }
        if filter.node.is_some() {
            text.push_str(" AND s.node = ?");
        }
        text.push_str(" ORDER BY s.number LIMIT ?");
        let ask = Statement::new(text)
            .bind(filter.after)
            .bind_all(filter.agent.into_iter().flat_map(|agent| [agent, agent]))
            .bind_all(filter.node.clone())
            .bind(i64::try_from(filter.limit).unwrap_or(i64::MAX));
        let rows = self.reader().await?.rows(ask).await?;
        rows.iter().map(listed).collect()
    }

    /// Who is there for each of these mailboxes, in their order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn presence(&self, mailboxes: &[i64]) -> Result<Vec<SessionPresence>, StoreError> {
        let mut found = HashMap::new();
        let mut reader = self.reader().await?;
        for chunk in padded(mailboxes) {
            let ask = Statement::new(format!(
                "SELECT mailbox, sum(CASE WHEN detached_at IS NULL THEN 1 ELSE 0 END), \
                 min(CASE WHEN detached_at IS NULL THEN attached_at END), max(seen_at) \
                 FROM sessions WHERE mailbox IN ({}) AND closing IS NULL GROUP BY mailbox",
                places(chunk.len())
            ));
            for row in reader.rows(ask.bind_all(chunk)).await? {
                found.insert(row.int(0)?, presence(&row)?);
            }
        }
        let of = |mailbox: &i64| {
            let nobody = SessionPresence {
                mailbox: *mailbox,
                sessions: 0,
                since: None,
                seen_at: None,
            };
            found.get(mailbox).cloned().unwrap_or(nobody)
        };
        Ok(mailboxes.iter().map(of).collect())
    }

    /// The mailboxes that a session is attached to, above `after`, in rising order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn connected(&self, after: i64, limit: usize) -> Result<Vec<i64>, StoreError> {
        let ask = Statement::new(
            "SELECT DISTINCT mailbox FROM sessions WHERE mailbox > ? AND closing IS NULL \
             AND detached_at IS NULL ORDER BY mailbox LIMIT ?",
        )
        .bind(after)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = self.reader().await?.rows(ask).await?;
        let mailboxes = rows.iter().map(|row| row.int(0));
        Ok(mailboxes.collect::<sqlx::Result<_>>()?)
    }
}

fn presence(row: &Row) -> sqlx::Result<SessionPresence> {
    let moment = |column| {
        let millis = row.maybe_int(column)?;
        Ok::<_, sqlx::Error>(millis.map(Timestamp::from_millis))
    };
    Ok(SessionPresence {
        mailbox: row.int(0)?,
        sessions: u64::try_from(row.int(1)?).unwrap_or(0),
        since: moment(2)?,
        seen_at: moment(3)?,
    })
}

fn listed(row: &Row) -> Result<SessionRow, StoreError> {
    let id = row.text(1)?;
    Ok(SessionRow {
        number: row.int(0)?,
        id: Uuid::parse_str(&id).map_err(|_| StoreError::Corrupt(format!("session id {id}")))?,
        mailbox: row.int(2)?,
        mailbox_address: row.text(3)?,
        agent_address: row.text(4)?,
        key_id: row.text(5)?,
        kind: SessionKind::of(row.int(6)?),
        node: row.text(7)?,
        remote: row.maybe_text(8)?,
        opened_at: Timestamp::from_millis(row.int(9)?),
        seen_at: Timestamp::from_millis(row.int(10)?),
        detached_at: row.maybe_int(11)?.map(Timestamp::from_millis),
        unacknowledged: u64::try_from(row.int(12)?).unwrap_or(0),
    })
}
