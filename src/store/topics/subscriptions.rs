//! Subscriptions as they stand.

use super::{lock_topic, moved_on};
use crate::events::Topic;
use crate::protocol::{Address, Timestamp};
use crate::store::accept::Acceptance;
use crate::store::committer::Verb;
use crate::store::error::StoreError;
use crate::store::sql::{Connection, Row, Statement, Value, padded, places};
use crate::store::{Patience, Store, party_hash, settled};

/// How a subscription stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscriptionState {
    /// The subscriber has not confirmed it yet.
    Pending,
    /// It gets what is published.
    Active,
    /// It gets what was published before.
    Behind,
}

impl SubscriptionState {
    /// The word in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Behind => "catching_up",
        }
    }

    pub(super) const fn code(self) -> i64 {
        match self {
            Self::Pending => 0,
            Self::Active => 1,
            Self::Behind => 2,
        }
    }

    pub(super) const fn from_code(code: i64) -> Self {
        match code {
            1 => Self::Active,
            2 => Self::Behind,
            _ => Self::Pending,
        }
    }
}

/// One subscription.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// Its number.
    pub number: i64,
    /// By which others know it.
    pub public_id: String,
    /// The topic's number.
    pub topic: i64,
    /// Who subscribed.
    pub address: Address,
    /// The subscriber's number, if it is a local agent.
    pub agent: Option<i64>,
    /// The session it ends with.
    pub session: Option<i64>,
    /// What it takes, as the caller wrote it down.
    pub filter: Vec<u8>,
    /// How it stands.
    pub state: SubscriptionState,
    /// It has what was published up to this number.
    pub after: i64,
    /// Copies that failed for good, one after the other.
    pub failures: i64,
    /// When a pending one is forgotten.
    pub expires_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
}

const SELECT: &str = "SELECT id, public_id, topic, address, agent, session, filter, state, \
                      after_seq, failures, expires_at, created_at FROM subscriptions";

impl Store {
    /// Those who are to get a publication of this number, with addresses after `progress`, in the
    /// order of these; at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn subscribers_of(
        &self,
        (topic, seq): (i64, i64),
        progress: &str,
        limit: usize,
    ) -> Result<Vec<Subscription>, StoreError> {
        let statement = Statement::new(format!(
            "{SELECT} WHERE topic = ? AND state = 1 AND subscriber > ? AND after_seq < ? \
             AND (session IS NULL OR EXISTS \
               (SELECT 1 FROM sessions WHERE sessions.number = subscriptions.session)) \
             ORDER BY subscriber, id LIMIT ?"
        ))
        .bind(topic)
        .bind(progress)
        .bind(seq)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        self.subscriptions(statement).await
    }

    /// All subscriptions to a topic, oldest first, after a number, at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn subscriptions_to(
        &self,
        topic: i64,
        after: i64,
        limit: usize,
    ) -> Result<Vec<Subscription>, StoreError> {
        let statement = Statement::new(format!(
            "{SELECT} WHERE topic = ? AND id > ? ORDER BY id LIMIT ?"
        ))
        .bind(topic)
        .bind(after)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        self.subscriptions(statement).await
    }

    /// The subscriptions of an address to a topic.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn subscriptions_of(
        &self,
        topic: i64,
        subscriber: &Address,
    ) -> Result<Vec<Subscription>, StoreError> {
        let statement = Statement::new(format!(
            "{SELECT} WHERE subscriber = ? AND topic = ? ORDER BY id LIMIT 1000"
        ))
        .bind(subscriber.key())
        .bind(topic);
        self.subscriptions(statement).await
    }

    /// The subscription that others know by this id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_subscription(
        &self,
        public_id: &str,
    ) -> Result<Option<Subscription>, StoreError> {
        let statement = Statement::new(format!("{SELECT} WHERE public_id = ?")).bind(public_id);
        Ok(self.subscriptions(statement).await?.pop())
    }

    /// Subscriptions that get what was published before, at most 100, after a number.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn subscriptions_behind(&self, after: i64) -> Result<Vec<Subscription>, StoreError> {
        let statement = Statement::new(format!(
            "{SELECT} WHERE state = 2 AND id > ? ORDER BY id LIMIT 100"
        ))
        .bind(after);
        self.subscriptions(statement).await
    }

    /// Those of these agents that have a session.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn connected_agents(&self, agents: &[i64]) -> Result<Vec<i64>, StoreError> {
        let mut reader = self.reader().await?;
        let mut found = Vec::new();
        for chunk in padded(agents) {
            let marks = places(chunk.len());
            let text = format!("SELECT DISTINCT agent FROM sessions WHERE agent IN ({marks})");
            for row in reader.rows(Statement::new(text).bind_all(chunk)).await? {
                found.push(row.int(0)?);
            }
        }
        Ok(found)
    }

    /// How many confirmed subscriptions topics have.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn count_subscriptions(&self, topics: &[i64]) -> Result<Vec<(i64, i64)>, StoreError> {
        let mut reader = self.reader().await?;
        let mut counts = Vec::new();
        for chunk in padded(topics) {
            let text = format!(
                "SELECT topic, count(*) FROM subscriptions WHERE topic IN ({}) AND state > 0 \
                 GROUP BY topic",
                places(chunk.len())
            );
            for row in reader.rows(Statement::new(text).bind_all(chunk)).await? {
                counts.push((row.int(0)?, row.int(1)?));
            }
        }
        Ok(counts)
    }

    async fn subscriptions(&self, statement: Statement) -> Result<Vec<Subscription>, StoreError> {
        let mut reader = self.reader().await?;
        reader.rows(statement).await?.iter().map(read).collect()
    }

    /// Stores copies of what was published before, and that the subscription has everything up to
    /// `to`.
    ///
    /// # Errors
    /// When the database fails, or somebody else went on: nothing of it is stored.
    pub async fn advance_subscription(
        &self,
        subscription: &Subscription,
        to: i64,
        copies: Vec<Acceptance>,
    ) -> Result<(), StoreError> {
        let verb = CatchUp {
            number: subscription.number,
            from: subscription.after,
            to,
        };
        self.0
            .committing
            .commit_with(verb, copies, Patience::Long)
            .await
    }

    /// Lets a subscription that has everything get what is published. Answers whether it has; not
    /// if something was published meanwhile.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn activate_subscription(
        &self,
        subscription: &Subscription,
    ) -> Result<bool, StoreError> {
        let verb = Activate {
            number: subscription.number,
            topic: subscription.topic,
            after: subscription.after,
        };
        self.0.committing.commit(verb).await
    }

    /// Removes subscriptions by their numbers. Answers how many were there.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn remove_subscriptions(&self, numbers: Vec<i64>) -> Result<u64, StoreError> {
        self.0.committing.commit(Remove(numbers)).await
    }

    /// Counts that a copy of a topic did not reach an address for good, and removes the address'
    /// subscriptions at the `most`-th time in a row. Answers how many were removed. `sender` is
    /// the topic, lower-cased.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_copy_failed(
        &self,
        (topic, sender): (i64, &str),
        recipient: &Address,
        (most, now): (i64, Timestamp),
    ) -> Result<u64, StoreError> {
        let verb = NoteFailure {
            topic,
            sender: party_hash(sender),
            subscriber: recipient.key(),
            party: party_hash(&recipient.key()),
            most,
            now,
        };
        self.0.committing.commit(verb).await
    }
}

pub(super) fn read(row: &Row) -> Result<Subscription, StoreError> {
    let address = row.text(3)?;
    let address = Address::parse(&address)
        .map_err(|fault| StoreError::Corrupt(format!("subscriber {address}: {fault}")))?;
    Ok(Subscription {
        number: row.int(0)?,
        public_id: row.text(1)?,
        topic: row.int(2)?,
        address,
        agent: row.maybe_int(4)?,
        session: row.maybe_int(5)?,
        filter: row.bytes(6)?,
        state: SubscriptionState::from_code(row.int(7)?),
        after: row.int(8)?,
        failures: row.int(9)?,
        expires_at: row.maybe_int(10)?.map(Timestamp::from_millis),
        created_at: Timestamp::from_millis(row.int(11)?),
    })
}

struct CatchUp {
    number: i64,
    from: i64,
    to: i64,
}

impl Verb for CatchUp {
    type Answer = ();

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<()> {
        let update = Statement::new(
            "UPDATE subscriptions SET after_seq = ? WHERE id = ? AND after_seq = ? AND state = 2",
        )
        .bind(self.to)
        .bind(self.number)
        .bind(self.from);
        match tx.run(update).await? {
            0 => Err(moved_on()),
            _ => Ok(()),
        }
    }
}

struct Activate {
    number: i64,
    topic: i64,
    after: i64,
}

impl Verb for Activate {
    type Answer = bool;

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<bool> {
        // Who publishes waits for the lock: nothing is published between the look and the change.
        let last = lock_topic(tx, self.topic).await?;
        let newer =
            Statement::new("SELECT seq FROM publications WHERE topic = ? AND seq > ? LIMIT 1")
                .bind(self.topic)
                .bind(self.after);
        if tx.row(newer).await?.is_some() {
            return Ok(false);
        }
        let update = Statement::new(
            "UPDATE subscriptions SET state = 1, after_seq = ? WHERE id = ? AND after_seq = ? AND state = 2",
        )
        .bind(last)
        .bind(self.number)
        .bind(self.after);
        Ok(tx.run(update).await? > 0)
    }
}

struct Remove(Vec<i64>);

impl Verb for Remove {
    type Answer = u64;

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<u64> {
        let mut removed = 0;
        for chunk in padded(&self.0) {
            let text = format!(
                "DELETE FROM subscriptions WHERE id IN ({})",
                places(chunk.len())
            );
            removed += tx.run(Statement::new(text).bind_all(chunk)).await?;
        }
        Ok(removed)
    }
}

struct NoteFailure {
    topic: i64,
    sender: i64,
    subscriber: String,
    party: i64,
    most: i64,
    now: Timestamp,
}

impl NoteFailure {
    fn of_subscriber(&self, text: &str) -> Statement {
        let values: [Value; 2] = [self.subscriber.as_str().into(), self.topic.into()];
        Statement::new(format!(
            "{text} WHERE subscriber = ? AND topic = ? AND state > 0"
        ))
        .bind_all(values)
    }
}

impl Verb for NoteFailure {
    type Answer = u64;

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<u64> {
        let last = self.of_subscriber("SELECT max(failed_at) FROM subscriptions");
        let row = tx.row(last).await?;
        let Some(failed_at) = row.map(|row| row.maybe_int(0)).transpose()?.flatten() else {
            return Ok(0);
        };
        // A copy that arrived since begins the count anew.
        let arrived = Statement::new(
            "SELECT s.id FROM settled s JOIN messages m ON m.mid = s.mid \
             WHERE s.party = ? AND s.state = ? AND s.settled_at > ? AND m.sender_hash = ? LIMIT 1",
        )
        .bind(self.party)
        .bind(settled::DELIVERED)
        .bind(failed_at)
        .bind(self.sender);
        let before = match tx.row(arrived).await?.is_some() {
            true => "1",
            false => "failures + 1",
        };
        let text = format!("UPDATE subscriptions SET failures = {before}, failed_at = ?");
        let count = Statement::new(format!(
            "{text} WHERE subscriber = ? AND topic = ? AND state > 0"
        ))
        .bind(self.now.as_millis())
        .bind(self.subscriber.as_str())
        .bind(self.topic);
        tx.run(count).await?;
        let remove = Statement::new(
            "DELETE FROM subscriptions WHERE subscriber = ? AND topic = ? AND failures >= ?",
        )
        .bind(self.subscriber.as_str())
        .bind(self.topic)
        .bind(self.most);
        tx.run(remove).await
    }
}
