//! Lists of messages, newest first, with filters.
//!
//! The database narrows by sender, recipient, party and age; the state of a message is known only
//! from its recipients, so that filter runs here, over a bounded number of candidates a call. A
//! page may therefore be short and still have a cursor to go on.

use super::Store;
use super::error::StoreError;
use super::messages::{Party, Tracked, numbers, track};
use super::party_hash;
use super::sql::{Connection, Statement, Value};
use crate::protocol::Timestamp;

/// At most so many candidates are looked at in one call.
const CANDIDATES: usize = 5_000;
const STEP: usize = 200;

/// What to list.
#[derive(Debug, Clone)]
pub struct ListQuery {
    /// Who asks.
    pub party: Party,
    /// Only this sender (address, lower-cased).
    pub sender: Option<String>,
    /// Only messages to this party: an agent's number or [`party_hash`] of an address.
    pub recipient: Option<i64>,
    /// Only messages accepted at this moment or later.
    pub since: Option<Timestamp>,
    /// Only numbers below this one.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: usize,
    /// Skip so many.
    pub offset: usize,
}

/// A page of a list.
#[derive(Debug, Default)]
pub struct MessagePage {
    /// Newest first.
    pub messages: Vec<Tracked>,
    /// Where to go on; nothing when the list ends here.
    pub next: Option<i64>,
}

impl Store {
    /// A page of the messages that the party may see and `keep` agrees to.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_messages(
        &self,
        query: &ListQuery,
        keep: impl Fn(&Tracked) -> bool + Send,
    ) -> Result<MessagePage, StoreError> {
        let mut reader = self.reader().await?;
        let mut page = MessagePage::default();
        let mut before = query.before.unwrap_or(i64::MAX);
        let mut skip = query.offset;
        let mut seen = 0;
        loop {
            let mids = candidates(&mut reader, query, before).await?;
            let last_step = mids.len() < STEP;
            seen += mids.len();
            for tracked in track(&mut reader, &mids, &query.party).await? {
                if !keep(&tracked) {
                    continue;
                }
                if skip > 0 {
                    skip -= 1;
                    continue;
                }
                if page.messages.len() == query.limit {
                    page.next = page.messages.last().map(|last| last.message.mid);
                    return Ok(page);
                }
                page.messages.push(tracked);
            }
            if last_step {
                return Ok(page);
            }
            before = mids.last().copied().unwrap_or(0);
            if seen >= CANDIDATES && skip == 0 {
                page.next = Some(before);
                return Ok(page);
            }
        }
    }
}

/// The next numbers that the database can tell may match.
async fn candidates(
    reader: &mut Connection,
    query: &ListQuery,
    before: i64,
) -> sqlx::Result<Vec<i64>> {
    let mut text =
        String::from("SELECT m.mid FROM messages m WHERE m.mid < ? AND m.accepted_at >= ?");
    let mut values: Vec<Value> = vec![
        before.into(),
        query.since.map_or(i64::MIN, Timestamp::as_millis).into(),
    ];
    if let Some(sender) = &query.sender {
        text.push_str(" AND m.sender_hash = ? AND m.sender = ?");
        values.push(party_hash(sender).into());
        values.push(sender.as_str().into());
    }
    if let Some(recipient) = query.recipient {
        text.push_str(" AND m.mid IN (");
        text.push_str(RECEIVED);
        text.push(')');
        values.extend([recipient.into(), recipient.into(), recipient.into()]);
    }
    if let Party::Agent { id, key } = &query.party {
        text.push_str(" AND (m.sender_hash = ? OR m.mid IN (");
        text.push_str(RECEIVED);
        text.push_str("))");
        values.extend([
            party_hash(key).into(),
            (*id).into(),
            (*id).into(),
            (*id).into(),
        ]);
    }
    text.push_str(" ORDER BY m.mid DESC LIMIT ?");
    values.push(i64::try_from(STEP).unwrap_or(i64::MAX).into());
    numbers(&reader.rows(Statement::new(text).bind_all(values)).await?)
}

/// The numbers of messages to one party.
const RECEIVED: &str = "SELECT mid FROM inbox WHERE mailbox = ? UNION SELECT mid FROM deliveries WHERE party = ? \
     UNION SELECT mid FROM settled WHERE party = ?";
