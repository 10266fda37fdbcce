//! Messages to a topic that are no publications: requests about the sender's own subscription, and
//! notices that a copy did not arrive.

use serde::Deserialize;

use super::subscribing::{Asker, From, Subscribing, hash};
use super::{Filter, MOST_FAILURES, TopicFault, Topics, invalid, said};
use crate::envelope::{Trust, VerificationResult};
use crate::policy::{SenderStanding, Standing};
use crate::protocol::list::ToTopic;
use crate::protocol::{Bounce, ErrorCode, Message, Timestamp};
use crate::store::{Agent, Confirming, StoredMessage};

/// The payload of `topic_subscribe`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    #[serde(default)]
    filter: Filter,
    #[serde(default)]
    from: Option<WantedFrom>,
}

/// From where on, as it is written: `{"seq": 7}`, `{"time": "…"}`, `"retained"`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum WantedFrom {
    Seq(i64),
    Time(Timestamp),
    Retained,
}

impl std::convert::From<WantedFrom> for From {
    fn from(wanted: WantedFrom) -> Self {
        match wanted {
            WantedFrom::Seq(seq) => Self::Seq(seq),
            WantedFrom::Time(moment) => Self::Time(moment),
            WantedFrom::Retained => Self::Retained,
        }
    }
}

impl<'de> Deserialize<'de> for From {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        WantedFrom::deserialize(from).map(std::convert::Into::into)
    }
}

/// The payload of `topic_confirm`.
#[derive(Debug, Deserialize)]
struct Answer {
    token: String,
}

impl Topics {
    /// Does what the sender of a message asks of its own subscription.
    pub(super) async fn answer(
        &self,
        topic: &Agent,
        request: ToTopic,
        (stored, message): (&StoredMessage, &Message),
    ) -> Result<(), TopicFault> {
        if stored.trust == Trust::Unverified {
            return Err(said(
                ErrorCode::AccessDenied,
                "Only a sender that can be believed may change its subscription.",
            ));
        }
        let subscriber = message.sender().clone();
        match request {
            ToTopic::Subscribe => {
                let wanted: Wanted = match message.payload() {
                    "null" => Wanted::default(),
                    text => read(text)?,
                };
                let asked = Subscribing {
                    topic: topic.address.clone(),
                    subscriber,
                    session: None,
                    filter: wanted.filter,
                    from: wanted.from.map(std::convert::Into::into),
                };
                let asker = Asker::Itself(standing(stored));
                self.admit(topic, asker, asked).await.map(drop)
            }
            ToTopic::Confirm => {
                let answer: Answer = read(message.payload())?;
                let confirming = Confirming {
                    topic: topic.id,
                    subscriber,
                    token: hash(&answer.token),
                    now: self.0.clock.now(),
                };
                let confirmed = self.0.store.confirm_subscription(confirming).await?;
                self.0.behind.notify_one();
                confirmed.map(drop).ok_or_else(|| {
                    said(
                        ErrorCode::NotFound,
                        "This token is not one of yours, or its time is over.",
                    )
                })
            }
            ToTopic::Unsubscribe => {
                let store = &self.0.store;
                let mut own = store.subscriptions_of(topic.id, &subscriber).await?;
                own.retain(|it| it.session.is_none());
                self.remove(&own).await.map(drop)
            }
            ToTopic::Publication | ToTopic::Notice => Ok(()),
        }
    }

    /// Counts what a believed bounce says of copies that did not arrive. Other notices to a topic
    /// are for nobody.
    pub(super) async fn note_bounce(
        &self,
        topic: &Agent,
        (stored, message): (&StoredMessage, &Message),
    ) -> Result<(), TopicFault> {
        let Some(bounce) = Bounce::from_message(message) else {
            return Ok(());
        };
        let speaker = message.sender().domain();
        let believed = match stored.trust {
            Trust::Local => true,
            Trust::Trusted => {
                let mut failed = bounce.failed_recipients.iter();
                failed.all(|failed| failed.domain() == speaker)
            }
            Trust::Unverified => false,
        };
        let late = bounce.error_code == ErrorCode::MessageExpired.as_str();
        if !believed || late {
            return Ok(());
        }
        for failed in &bounce.failed_recipients {
            let of = (topic.id, topic.address.key());
            let most = (MOST_FAILURES, self.0.clock.now());
            let removed = self.0.store.note_copy_failed((of.0, &of.1), failed, most);
            if removed.await? > 0 {
                tracing::info!(
                    topic.address = %topic.address,
                    message.recipient = %failed,
                    "a subscriber that cannot be reached is unsubscribed"
                );
            }
        }
        Ok(())
    }

    /// Counts that a copy did not reach a subscriber for good. `topic` is the sender of the copy.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn note_failed(
        &self,
        topic: &crate::protocol::Address,
        subscriber: &crate::protocol::Address,
    ) -> Result<(), TopicFault> {
        let Some(topic) = self.0.intake.find(topic).await? else {
            return Ok(());
        };
        let of = (topic.id, topic.address.key());
        let most = (MOST_FAILURES, self.0.clock.now());
        let removed = self
            .0
            .store
            .note_copy_failed((of.0, &of.1), subscriber, most);
        if removed.await? > 0 {
            tracing::info!(
                topic.address = %topic.address,
                message.recipient = %subscriber,
                "a subscriber that cannot be reached is unsubscribed"
            );
        }
        Ok(())
    }
}

fn read<'a, T: Deserialize<'a>>(payload: &'a str) -> Result<T, TopicFault> {
    serde_json::from_str(payload).map_err(|fault| invalid("payload", &fault.to_string()))
}

/// What the policy knows of a sender.
fn standing(stored: &StoredMessage) -> Standing {
    let sender = match stored.notes.verification.result {
        VerificationResult::Authenticated => SenderStanding::Local,
        VerificationResult::TrustedInternal => SenderStanding::Internal,
        VerificationResult::Verified => SenderStanding::Verified,
        VerificationResult::SourceAddress => SenderStanding::SourceAddress,
        _ => SenderStanding::Unverified,
    };
    Standing {
        sender,
        ..Standing::default()
    }
}
