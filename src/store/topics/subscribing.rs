//! Making subscriptions and confirming them.

use std::time::Duration;

use super::lock_topic;
use super::subscriptions::SubscriptionState;
use crate::events::Topic;
use crate::protocol::{Address, Timestamp};
use crate::store::Patience;
use crate::store::Store;
use crate::store::accept::Acceptance;
use crate::store::committer::Verb;
use crate::store::error::StoreError;
use crate::store::sql::{Connection, Statement};

/// Where a subscription begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With what is published from now on.
    Now,
    /// With what was published after this number.
    After(i64),
    /// With what was published at this moment or later.
    Since(Timestamp),
    /// With the last publication.
    Last,
}

/// What a subscriber of another domain is asked.
#[derive(Debug, Clone)]
pub struct Asking {
    /// SHA-256 of the token.
    pub token: Vec<u8>,
    /// When the token ends.
    pub expires_at: Timestamp,
    /// At most so many times in `window`; a further one is refused.
    pub most: i64,
    /// See `most`.
    pub window: Duration,
}

/// A subscription to make.
#[derive(Debug, Clone)]
pub struct NewSubscription {
    /// By which others know it.
    pub public_id: String,
    /// The topic's number.
    pub topic: i64,
    /// Who subscribes.
    pub address: Address,
    /// The subscriber's number, if it is a local agent.
    pub agent: Option<i64>,
    /// The session it ends with.
    pub session: Option<i64>,
    /// What it takes.
    pub filter: Vec<u8>,
    /// Where it begins.
    pub start: Start,
    /// It has to be confirmed.
    pub asking: Option<Asking>,
    /// At most so many subscriptions of one address.
    pub most: i64,
    /// The present moment.
    pub now: Timestamp,
}

/// What subscribing came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subscribed {
    /// The subscription of this id stands so.
    As(String, SubscriptionState),
    /// The address has as many as it may have.
    TooMany,
    /// The address was asked too often lately.
    TooOften,
}

/// A token sent back.
#[derive(Debug, Clone)]
pub struct Confirming {
    /// The topic's number.
    pub topic: i64,
    /// Who sent it.
    pub subscriber: Address,
    /// SHA-256 of the token.
    pub token: Vec<u8>,
    /// The present moment.
    pub now: Timestamp,
}

impl Store {
    /// Subscribes. Where the same address is subscribed already, for the same session or for none,
    /// what it takes is changed, and where it begins only if `start` is not [`Start::Now`].
    ///
    /// # Errors
    /// When the database fails.
    pub async fn subscribe(&self, new: NewSubscription) -> Result<Subscribed, StoreError> {
        self.0.committing.commit(Subscribe(new)).await
    }

    /// The same for one that has to be confirmed; `question` asks the subscriber, and is stored in
    /// the same commit.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn subscribe_with_question(
        &self,
        new: NewSubscription,
        question: Acceptance,
    ) -> Result<Subscribed, StoreError> {
        let mut reader = self.reader().await?;
        let asked = asked_too_often(&mut reader, &new).await?;
        let known = existing(&mut reader, &new).await?;
        let full = known.is_none() && has_too_many(&mut reader, &new).await?;
        drop(reader);
        match (asked, full) {
            (true, _) => Ok(Subscribed::TooOften),
            (_, true) => Ok(Subscribed::TooMany),
            _ => {
                let question = vec![question];
                let verb = SubscribeAsking(Subscribe(new));
                self.0
                    .committing
                    .commit_with(verb, question, Patience::Short)
                    .await
            }
        }
    }

    /// Confirms a subscription. Answers its id; nothing where the token is wrong or over.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn confirm_subscription(
        &self,
        confirming: Confirming,
    ) -> Result<Option<String>, StoreError> {
        self.0.committing.commit(Confirm(confirming)).await
    }
}

async fn asked_too_often(connection: &mut Connection, new: &NewSubscription) -> sqlx::Result<bool> {
    let Some(asking) = &new.asking else {
        return Ok(false);
    };
    let count = Statement::new(
        "SELECT count(*) FROM subscription_requests WHERE subscriber = ? AND requested_at > ?",
    )
    .bind(new.address.key())
    .bind(new.now.minus(asking.window).as_millis());
    let row = connection
        .row(count)
        .await?
        .ok_or(sqlx::Error::RowNotFound)?;
    Ok(row.int(0)? >= asking.most)
}

async fn has_too_many(connection: &mut Connection, new: &NewSubscription) -> sqlx::Result<bool> {
    let count = Statement::new("SELECT count(*) FROM subscriptions WHERE subscriber = ?")
        .bind(new.address.key());
    let row = connection
        .row(count)
        .await?
        .ok_or(sqlx::Error::RowNotFound)?;
    Ok(row.int(0)? >= new.most)
}

/// Number, id and state of the subscription that there is already.
async fn existing(
    connection: &mut Connection,
    new: &NewSubscription,
) -> sqlx::Result<Option<(i64, String, i64)>> {
    let find = Statement::new(
        "SELECT id, public_id, state FROM subscriptions \
         WHERE subscriber = ? AND topic = ? AND coalesce(session, 0) = ? ORDER BY id LIMIT 1",
    )
    .bind(new.address.key())
    .bind(new.topic)
    .bind(new.session.unwrap_or(0));
    let row = connection.row(find).await?;
    row.map(|row| Ok((row.int(0)?, row.text(1)?, row.int(2)?)))
        .transpose()
}

struct Subscribe(NewSubscription);

impl Verb for Subscribe {
    type Answer = Subscribed;

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<Subscribed> {
        let new = &self.0;
        let last = lock_topic(tx, new.topic).await?;
        let after = begin(tx, new, last).await?;
        if let Some((number, id, state)) = existing(tx, new).await? {
            return self.change(tx, (number, id, state), after).await;
        }
        if has_too_many(tx, new).await? {
            return Ok(Subscribed::TooMany);
        }
        let state = match (&new.asking, after) {
            (Some(_), _) => SubscriptionState::Pending,
            (None, Some(_)) => SubscriptionState::Behind,
            (None, None) => SubscriptionState::Active,
        };
        // A pending one begins with its confirmation, unless it was said where.
        let otherwise = match new.asking {
            Some(_) => -1,
            None => last,
        };
        let insert = Statement::new(
            "INSERT INTO subscriptions (public_id, topic, subscriber, address, agent, session, \
             filter, state, after_seq, token, expires_at, created_at) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(new.public_id.as_str())
        .bind(new.topic)
        .bind(new.address.key())
        .bind(new.address.as_str())
        .bind(new.agent)
        .bind(new.session)
        .bind(new.filter.as_slice())
        .bind(state.code())
        .bind(after.unwrap_or(otherwise))
        .bind(new.asking.as_ref().map(|asking| asking.token.clone()))
        .bind(
            new.asking
                .as_ref()
                .map(|asking| asking.expires_at.as_millis()),
        )
        .bind(new.now.as_millis());
        tx.run(insert).await?;
        Ok(Subscribed::As(new.public_id.clone(), state))
    }
}

impl Subscribe {
    async fn change(
        &self,
        tx: &mut Connection,
        (number, id, state): (i64, String, i64),
        after: Option<i64>,
    ) -> sqlx::Result<Subscribed> {
        let new = &self.0;
        if let Some(asking) = &new.asking {
            let renew = Statement::new(
                "UPDATE subscriptions SET filter = ?, after_seq = ?, token = ?, expires_at = ? WHERE id = ?",
            )
            .bind(new.filter.as_slice())
            .bind(after.unwrap_or(-1))
            .bind(asking.token.as_slice())
            .bind(asking.expires_at.as_millis())
            .bind(number);
            tx.run(renew).await?;
            return Ok(Subscribed::As(id, SubscriptionState::Pending));
        }
        let change = Statement::new("UPDATE subscriptions SET filter = ? WHERE id = ?")
            .bind(new.filter.as_slice())
            .bind(number);
        tx.run(change).await?;
        let mut state = SubscriptionState::from_code(state);
        if let Some(after) = after {
            let back = Statement::new(
                "UPDATE subscriptions SET state = 2, after_seq = ? WHERE id = ? AND state > 0",
            )
            .bind(after)
            .bind(number);
            if tx.run(back).await? > 0 {
                state = SubscriptionState::Behind;
            }
        }
        Ok(Subscribed::As(id, state))
    }
}

/// Up to which number a subscription does not want anything; nothing where it begins now.
async fn begin(tx: &mut Connection, new: &NewSubscription, last: i64) -> sqlx::Result<Option<i64>> {
    Ok(match new.start {
        Start::Now => None,
        Start::After(seq) => Some(seq.clamp(0, last)),
        Start::Last => Some((last - 1).max(0)),
        Start::Since(moment) => {
            let first = Statement::new(
                "SELECT min(seq) FROM publications WHERE topic = ? AND published_at >= ?",
            )
            .bind(new.topic)
            .bind(moment.as_millis());
            let row = tx.row(first).await?;
            let first = row.map(|row| row.maybe_int(0)).transpose()?.flatten();
            Some(first.map_or(last, |first| first - 1))
        }
    })
}

/// Stores a question with it: all of it counts or nothing does.
struct SubscribeAsking(Subscribe);

impl Verb for SubscribeAsking {
    type Answer = Subscribed;

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<Subscribed> {
        let new = &self.0.0;
        let answer = self.0.apply(tx, topics).await?;
        // Counted under the lock of the topic, and once more here: two requests may have met.
        let refused = asked_too_often(tx, new).await? || answer == Subscribed::TooMany;
        if refused {
            return Err(sqlx::Error::InvalidArgument(
                "an address was asked too often to confirm a subscription".to_owned(),
            ));
        }
        let note = Statement::new(
            "INSERT INTO subscription_requests (subscriber, requested_at) VALUES (?, ?)",
        )
        .bind(new.address.key())
        .bind(new.now.as_millis());
        tx.run(note).await?;
        Ok(answer)
    }
}

struct Confirm(Confirming);

impl Verb for Confirm {
    type Answer = Option<String>;

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<Option<String>> {
        let it = &self.0;
        let last = lock_topic(tx, it.topic).await?;
        let confirm = Statement::new(
            "UPDATE subscriptions SET state = CASE WHEN after_seq < 0 THEN 1 ELSE 2 END, \
             after_seq = CASE WHEN after_seq < 0 THEN ? ELSE after_seq END, \
             token = NULL, expires_at = NULL \
             WHERE subscriber = ? AND topic = ? AND state = 0 AND token = ? AND expires_at > ? \
             RETURNING public_id",
        )
        .bind(last)
        .bind(it.subscriber.key())
        .bind(it.topic)
        .bind(it.token.as_slice())
        .bind(it.now.as_millis());
        let row = tx.row(confirm).await?;
        row.map(|row| row.text(0)).transpose()
    }
}
