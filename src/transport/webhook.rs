//! To webhooks: local agents that are called when mail comes (AMTP 1.0, section 10.2).
//!
//! - One request a message and recipient, signed as Standard Webhooks ask. Its id is the message's
//!   and stays the same over attempts, so that a receiver can tell a repetition.
//! - No redirect is followed. An answer has ten seconds and one mebibyte; a longer one counts as
//!   none, because nobody knows what it says.
//! - What is told of a failure names neither the target nor its address: the sender may read it.
//!   The cause goes to the log.

mod judgement;
mod reply;
mod request;

use std::sync::Arc;
use std::time::Duration;

use super::behind::Behind;
use super::{
    Attempted, Carrying, Copy, Destination, Fault, Load, Outcome, Parcel, Transport, Trouble,
};
use crate::clock::Clock;
use crate::net::{Answer, AnswerLimits, GuardedClient, NetFault};
use crate::protocol::ErrorCode;
use crate::store::{Agent, DeliveryMode, Sealer, Store};
use judgement::{judge, without_answer};
use request::Letter;

pub use reply::{may_reply, reply_message};
pub use request::greeting;
pub(super) use request::own_headers;

/// How long a webhook has, and how much it may answer.
const LIMITS: AnswerLimits = AnswerLimits {
    size: 1 << 20,
    time: Duration::from_secs(10),
};

/// Carries to the webhooks of local agents. Cloning is cheap.
#[derive(Clone)]
pub struct WebhookTransport {
    store: Store,
    client: GuardedClient,
    sealer: Option<Sealer>,
    clock: Clock,
}

impl WebhookTransport {
    /// A transport that signs with secrets derived by `sealer`; without one everything defers.
    #[must_use]
    pub fn new(store: Store, client: GuardedClient, sealer: Option<Sealer>, clock: Clock) -> Self {
        Self {
            store,
            client,
            sealer,
            clock,
        }
    }

    /// Tries once; says also whether it is sure what became of it.
    pub(super) async fn deliver(
        &self,
        to: &Destination,
        parcel: &Parcel,
        copy: &Copy,
    ) -> (Attempted, Reached) {
        match self.prepare(to, parcel, copy).await {
            Ok((agent, letter)) => {
                let answer = self.client.send(letter, LIMITS).await;
                if let Err(fault) = &answer {
                    tracing::info!(
                        agent.address = %agent.address,
                        message.id = parcel.stored.message_id.as_str(),
                        error = %fault,
                        "a webhook was not reached"
                    );
                }
                let reached = Reached::by(&answer);
                (judge(answer, copy.attempts, self.clock.now()), reached)
            }
            Err(outcome) => (without_answer(outcome), Reached::Surely),
        }
    }

    async fn prepare(
        &self,
        to: &Destination,
        parcel: &Parcel,
        copy: &Copy,
    ) -> Result<(Arc<Agent>, Letter), Outcome> {
        let agent = self.find(to).await?;
        let sealer = self.sealer.as_ref().ok_or_else(|| {
            unready("webhooks are signed with the key of `secrets.key_file`, which is not set")
        })?;
        let letter = request::write(&agent, sealer, (parcel, &copy.recipient), self.clock.now())
            .map_err(unready)?;
        Ok((agent, letter))
    }

    /// The agent, if it can be called now.
    async fn find(&self, to: &Destination) -> Result<Arc<Agent>, Outcome> {
        let Destination::Agent(number) = to else {
            return Err(unready("there is no webhook of a foreign domain"));
        };
        let found = self.store.find_agent_by_number(*number).await;
        let agent = found.map_err(|error| {
            tracing::error!(agent.number = number, %error, "an agent could not be looked up");
            unready("the agent could not be looked up")
        })?;
        let agent = agent.ok_or_else(|| {
            Outcome::Failed(Trouble {
                code: ErrorCode::AgentUnknown,
                text: "the agent was removed".to_owned(),
                fault: Fault::Message,
                retry_after: None,
            })
        })?;
        if !agent.active {
            return Err(unready("the agent is inactive"));
        }
        if agent.settings.delivery_mode != DeliveryMode::Push {
            // The queue puts the mail of such an agent into its inbox; it had looked too early.
            return Err(unready("the agent polls its inbox since a moment ago"));
        }
        Ok(agent)
    }
}

/// Whether it is known what a webhook made of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reached {
    /// It answered, or surely did not get it.
    Surely,
    /// It may have it.
    Perhaps,
}

impl Reached {
    fn by(answer: &Result<Answer, NetFault>) -> Self {
        match answer {
            Err(
                NetFault::TimedOut { .. } | NetFault::Broken { .. } | NetFault::TooLarge { .. },
            ) => Self::Perhaps,
            _ => Self::Surely,
        }
    }
}

/// The agent cannot be called at present, whatever the message.
fn unready(text: &str) -> Outcome {
    Outcome::Deferred(Trouble {
        code: ErrorCode::RecipientUnavailable,
        text: text.to_owned(),
        fault: Fault::Destination,
        retry_after: None,
    })
}

impl Transport for WebhookTransport {
    fn carry<'a>(&'a self, to: &'a Destination, parcels: Vec<Parcel>) -> Carrying<'a> {
        Box::pin(async move {
            let mut behind = Behind::default();
            let mut carried = Vec::with_capacity(parcels.len());
            for parcel in &parcels {
                let mut attempts = Vec::with_capacity(parcel.copies.len());
                for copy in &parcel.copies {
                    let attempted = match behind.what(parcel, copy) {
                        Some(outcome) => without_answer(outcome),
                        None => self.deliver(to, parcel, copy).await.0,
                    };
                    behind.note(parcel, copy, &attempted.outcome);
                    attempts.push(attempted);
                }
                carried.push(attempts);
            }
            carried
        })
    }

    fn load(&self, _to: &Destination) -> Load {
        Load::SINGLE
    }
}

#[cfg(test)]
mod tests;
