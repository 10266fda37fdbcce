//! Subscribing and unsubscribing.

use std::borrow::Cow;
use std::time::Duration;

use ring::digest;
use uuid::Uuid;

use super::{Filter, TopicFault, Topics, answers, invalid, said, settings};
use crate::envelope::{Origin, Principal, Role};
use crate::intake::Made;
use crate::policy::{Direction, Standing};
use crate::protocol::list::Confirmation;
use crate::protocol::{Address, ErrorCode, IdempotencyKey, MessageId, Timestamp};
use crate::store::{
    Acceptance, Agent, Asking, NewSubscription, Start, Subscribed as Stored, Subscription,
    SubscriptionState,
};

/// Subscriptions of one address, sessions' included.
const MOST: i64 = 1_000;
/// An address of another domain is asked at most so often in a day.
const MOST_ASKED: i64 = 3;
/// How long a token is good, and the day of [`MOST_ASKED`].
pub(super) const TOKEN: Duration = Duration::from_secs(24 * 3_600);

/// A subscription that is asked for.
#[derive(Debug, Clone)]
pub struct Subscribing {
    /// To what.
    pub topic: Address,
    /// Who.
    pub subscriber: Address,
    /// The number of the session it ends with; for the session's own agent only.
    pub session: Option<i64>,
    /// What it takes.
    pub filter: Filter,
    /// What it wants of what was published before.
    pub from: Option<From>,
}

/// From where on a subscriber wants what was published before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// After the publication of this number.
    Seq(i64),
    /// From this moment on.
    Time(Timestamp),
    /// The topic's present value: its last publication.
    Retained,
}

/// A subscription that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribed {
    /// Its id.
    pub id: String,
    /// How it stands.
    pub state: SubscriptionState,
}

/// Who asks for a subscription.
#[derive(Debug, Clone, Copy)]
pub(super) enum Asker {
    /// The subscriber, of whom this is known.
    Itself(Standing),
    /// The topic itself or an operator.
    Owner,
}

impl Topics {
    /// Subscribes an address: a local agent itself, or anybody by the topic's own key or an
    /// operator. One of another domain is asked to confirm.
    ///
    /// # Errors
    /// `NOT_FOUND`, `ACCESS_DENIED`, `POLICY_DENIED`, `RATE_LIMIT_EXCEEDED` where the address has
    /// too many subscriptions or was asked too often, `INVALID_PARAMETER`.
    pub async fn subscribe(
        &self,
        by: &Principal,
        request: Subscribing,
    ) -> Result<Subscribed, TopicFault> {
        let topic = self.find(&request.topic).await?;
        let asker = match by {
            Principal::Agent { address, .. } if *address == request.subscriber => {
                Asker::Itself(Standing::local())
            }
            by if owns(by, &topic) => Asker::Owner,
            Principal::Anonymous => return Err(TopicFault::new(ErrorCode::AuthenticationFailed)),
            _ => return Err(TopicFault::new(ErrorCode::AccessDenied)),
        };
        self.admit(&topic, asker, request).await
    }

    /// Ends the subscriptions of the caller to a topic, or the one of an id: the caller's own, or
    /// any by the topic's own key or an operator. Answers whether there was one.
    ///
    /// # Errors
    /// `NOT_FOUND` where there is no such topic; when the store fails.
    pub async fn unsubscribe(
        &self,
        by: &Principal,
        topic: &Address,
        subscription: Option<Uuid>,
    ) -> Result<bool, TopicFault> {
        let topic = self.find(topic).await?;
        let own = match by {
            Principal::Agent { address, .. } => Some(address),
            _ => None,
        };
        let found = match (subscription, own) {
            (Some(id), _) => {
                let found = self.0.store.find_subscription(&id.to_string()).await?;
                let may = |it: &Subscription| owns(by, &topic) || own == Some(&it.address);
                let found = found.filter(|it| it.topic == topic.id && may(it));
                found.into_iter().collect()
            }
            (None, Some(own)) => self.0.store.subscriptions_of(topic.id, own).await?,
            (None, None) => {
                return Err(invalid("subscription", "is required: the id of one"));
            }
        };
        self.remove(&found).await
    }

    /// Whether a caller may read what was published in a topic: who may subscribe, its own key, and
    /// operators.
    ///
    /// # Errors
    /// `POLICY_DENIED`, `ACCESS_DENIED`.
    pub fn may_read(&self, by: &Principal, topic: &Agent) -> Result<(), TopicFault> {
        if owns(by, topic) {
            return Ok(());
        }
        let Principal::Agent { address, .. } = by else {
            return Err(TopicFault::new(ErrorCode::AccessDenied));
        };
        let who = (address, Standing::local());
        let intake = &self.0.intake;
        match intake.allows(Direction::Subscribe, who, &topic.address, true) {
            true => Ok(()),
            false => Err(TopicFault::new(ErrorCode::PolicyDenied)),
        }
    }

    pub(super) async fn remove(&self, found: &[Subscription]) -> Result<bool, TopicFault> {
        let numbers = found.iter().map(|it| it.number).collect();
        let removed = self.0.store.remove_subscriptions(numbers).await?;
        Ok(removed > 0)
    }

    /// Subscribes, whoever asked.
    pub(super) async fn admit(
        &self,
        topic: &Agent,
        asker: Asker,
        request: Subscribing,
    ) -> Result<Subscribed, TopicFault> {
        request.filter.check()?;
        let is_local = self.0.intake.is_local(request.subscriber.domain());
        let agent = match is_local {
            true => Some(self.subscriber(topic, &request.subscriber).await?),
            false => None,
        };
        if let Asker::Itself(standing) = asker {
            let who = (&request.subscriber, standing);
            let intake = &self.0.intake;
            if !intake.allows(Direction::Subscribe, who, &topic.address, is_local) {
                return Err(said(
                    ErrorCode::PolicyDenied,
                    "A policy of this gateway does not let this address subscribe.",
                ));
            }
        }
        let new = NewSubscription {
            public_id: Uuid::new_v4().to_string(),
            topic: topic.id,
            address: request.subscriber.clone(),
            agent,
            session: request.session,
            filter: request.filter.stored(),
            start: start(topic, request.from)?,
            asking: None,
            most: MOST,
            now: self.0.clock.now(),
        };
        let stored = match is_local || self.is_confirmed(&new).await? {
            true => self.0.store.subscribe(new).await?,
            false => self.ask(topic, new).await?,
        };
        match stored {
            Stored::As(id, state) => {
                if state == SubscriptionState::Behind {
                    self.0.behind.notify_one();
                }
                Ok(Subscribed { id, state })
            }
            Stored::TooMany => Err(said(
                ErrorCode::RateLimitExceeded,
                "This address has as many subscriptions as one may have.",
            )),
            Stored::TooOften => Err(TopicFault {
                message: Some(Cow::Borrowed(
                    "This address was asked three times in a day to confirm a subscription.",
                )),
                retry_after: Some(TOKEN),
                ..TopicFault::new(ErrorCode::RateLimitExceeded)
            }),
        }
    }

    /// The number of a local agent that subscribes.
    async fn subscriber(&self, topic: &Agent, address: &Address) -> Result<i64, TopicFault> {
        let found = self.0.intake.find(address).await?;
        match found.filter(|agent| answers(agent, address)) {
            Some(agent) if agent.id == topic.id => {
                Err(invalid("subscriber", "is the topic itself"))
            }
            Some(agent) => Ok(agent.id),
            None => Err(TopicFault::new(ErrorCode::AgentUnknown)),
        }
    }

    /// Whether an address of another domain has confirmed this subscription before.
    async fn is_confirmed(&self, new: &NewSubscription) -> Result<bool, TopicFault> {
        let known = self.0.store.subscriptions_of(new.topic, &new.address);
        let mut known = known.await?.into_iter();
        Ok(known.any(|it| it.state != SubscriptionState::Pending))
    }

    /// Subscribes an address of another domain, and asks it.
    async fn ask(&self, topic: &Agent, new: NewSubscription) -> Result<Stored, TopicFault> {
        let token = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let expires_at = new.now.plus(TOKEN);
        let question = self.question(topic, &new.address, (&token, expires_at));
        let question = question.await?;
        let asking = Asking {
            token: hash(&token),
            expires_at,
            most: MOST_ASKED,
            window: TOKEN,
        };
        let new = NewSubscription {
            asking: Some(asking),
            ..new
        };
        Ok(self.0.store.subscribe_with_question(new, question).await?)
    }

    async fn question(
        &self,
        topic: &Agent,
        subscriber: &Address,
        (token, expires_at): (&str, Timestamp),
    ) -> Result<Acceptance, TopicFault> {
        let confirmation = Confirmation {
            message_id: &MessageId::from(self.0.clock.mint_v7()),
            idempotency_key: &IdempotencyKey::from(Uuid::new_v4()),
            timestamp: self.0.clock.now(),
            topic: &topic.address,
            subscriber,
            token,
            expires_at,
        };
        let made = Made {
            raw: confirmation.message().into(),
            origin: Origin::List,
            request_id: format!("topic-{}", topic.id),
        };
        let to = std::slice::from_ref(subscriber);
        self.0.intake.judge_copy(made, to).await
    }
}

/// Whether a caller may do for a topic what is not its own: the topic's key, or an operator.
#[must_use]
pub(super) fn owns(by: &Principal, topic: &Agent) -> bool {
    match by {
        Principal::Agent { id, .. } => *id == topic.id,
        Principal::Staff { role, .. } => matches!(role, Role::Admin | Role::Operator),
        Principal::Anonymous => false,
    }
}

pub(super) fn hash(token: &str) -> Vec<u8> {
    digest::digest(&digest::SHA256, token.as_bytes())
        .as_ref()
        .to_vec()
}

fn start(topic: &Agent, from: Option<From>) -> Result<Start, TopicFault> {
    let settings = settings(topic);
    let keeps = settings.retention_seconds.is_some() || settings.keep.is_some();
    match from {
        None => Ok(Start::Now),
        Some(From::Retained) if settings.retain => Ok(Start::Last),
        Some(From::Retained) => Err(invalid("from", "the topic keeps no value")),
        Some(From::Seq(seq)) if keeps && seq >= 0 => Ok(Start::After(seq)),
        Some(From::Time(moment)) if keeps => Ok(Start::Since(moment)),
        Some(From::Seq(_)) if keeps => Err(invalid("from.seq", "must not be negative")),
        Some(_) => Err(invalid("from", "the topic keeps no publications")),
    }
}
