//! Makes the copies of a publication: one for all local subscribers together, one for each other.

use uuid::Uuid;

use super::{Filter, TopicFault, Topics};
use crate::envelope::{Origin, Trust};
use crate::intake::Made;
use crate::protocol::json::string_of;
use crate::protocol::list::{CopyHeading, ORIGINAL_ID, ORIGINAL_SENDER, copy, passed};
use crate::protocol::{Address, ErrorCode, IdempotencyKey, Message, MessageId};
use crate::store::{Acceptance, Plan, StoredMessage, Subscription};

/// The bodies of the copies stored in one commit hold at most so much together, or are one.
pub(super) const BYTES: usize = 8 * 1024 * 1024;

/// A publication that is copied.
pub(super) struct Original<'a> {
    pub(super) stored: &'a StoredMessage,
    pub(super) message: &'a Message,
    /// The topic.
    pub(super) list: &'a Address,
    /// Whom copies are from: the topic, or who broadcasts.
    pub(super) sender: &'a Address,
    pub(super) seq: i64,
}

/// Whom a copy is for.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) address: Address,
    /// The number of a local agent.
    pub(super) agent: Option<i64>,
    /// The subscriptions it comes of.
    pub(super) subscriptions: Vec<i64>,
}

/// Copies to store.
#[derive(Default)]
pub(super) struct Copies {
    pub(super) acceptances: Vec<Acceptance>,
    /// Subscriptions of agents that are gone.
    pub(super) gone: Vec<i64>,
    /// How many of the targets have theirs.
    pub(super) done: usize,
}

impl Target {
    /// Whom these subscriptions, sorted by address, let have a publication: each address once.
    pub(super) fn of(subscriptions: &[Subscription], message: &Message) -> Vec<Self> {
        let mut targets: Vec<Self> = Vec::new();
        for it in subscriptions {
            if !Filter::read(&it.filter).is_some_and(|filter| filter.lets(message)) {
                continue;
            }
            match targets.last_mut() {
                Some(last) if last.address.key() == it.address.key() => {
                    last.subscriptions.push(it.number);
                }
                _ => targets.push(Self {
                    address: it.address.clone(),
                    agent: it.agent,
                    subscriptions: vec![it.number],
                }),
            }
        }
        targets
    }
}

impl Topics {
    /// The copies for some targets, judged: for all of them, or for those before one whose copy
    /// cannot be judged now.
    ///
    /// # Errors
    /// When not even the first can be judged now, or no copy can be made of this publication.
    pub(super) async fn copies(
        &self,
        original: &Original<'_>,
        targets: &[Target],
    ) -> Result<Copies, TopicFault> {
        let mut copies = Copies {
            done: targets.len(),
            ..Copies::default()
        };
        for (at, target) in targets.iter().enumerate() {
            if target.agent.is_some() {
                continue;
            }
            let to = std::slice::from_ref(&target.address);
            match self.0.intake.judge_copy(self.made(original, to), to).await {
                Ok(acceptance) => copies.acceptances.push(acceptance),
                Err(refusal) if passes(refusal.code) && at == 0 => return Err(refusal),
                Err(refusal) if passes(refusal.code) => {
                    copies.done = at;
                    break;
                }
                Err(refusal) => tracing::info!(
                    topic.address = %original.list,
                    message.recipient = %target.address,
                    error.code = refusal.code.as_str(),
                    "a copy may not go to a subscriber"
                ),
            }
        }
        let local = targets[..copies.done].iter();
        let local: Vec<&Target> = local.filter(|it| it.agent.is_some()).collect();
        if !local.is_empty() {
            self.shared_copy(original, &local, &mut copies).await?;
        }
        Ok(copies)
    }

    /// The one copy that all local subscribers share.
    async fn shared_copy(
        &self,
        original: &Original<'_>,
        local: &[&Target],
        copies: &mut Copies,
    ) -> Result<(), TopicFault> {
        let to: Vec<Address> = local.iter().map(|it| it.address.clone()).collect();
        // They share one body, so it names the topic and not them.
        let list = std::slice::from_ref(original.list);
        let made = self.made(original, list);
        let mut acceptance = self.0.intake.judge_copy(made, &to).await?;
        let mut targets = local.iter();
        acceptance.recipients.retain(|planned| {
            let target = targets.next();
            let number = match &planned.plan {
                Plan::Inbox { mailbox, .. } => Some(*mailbox),
                Plan::Queue { party, .. } => Some(*party),
                Plan::Refused(ErrorCode::AgentUnknown) => None,
                Plan::Bridge(_) | Plan::Refused(_) => return false,
            };
            let same = target.is_some_and(|it| it.agent == number);
            if !same && let Some(target) = target {
                copies.gone.extend(&target.subscriptions);
            }
            same
        });
        if !acceptance.recipients.is_empty() {
            copies.acceptances.push(acceptance);
        }
        Ok(())
    }

    fn made(&self, original: &Original<'_>, recipients: &[Address]) -> Made {
        let (stored, message) = (original.stored, original.message);
        let mut path = passed(message);
        path.push(original.list.key());
        let first = first_sender(original);
        let heading = CopyHeading {
            message_id: &MessageId::from(self.0.clock.mint_v7()),
            idempotency_key: &IdempotencyKey::from(Uuid::new_v4()),
            timestamp: message.timestamp().unwrap_or(stored.accepted_at),
            sender: original.sender,
            recipients,
            list: original.list,
            seq: original.seq,
            path: &path,
            original: (&first.0, &first.1),
        };
        Made {
            raw: copy(message, &heading).into(),
            origin: Origin::List,
            request_id: stored.notes.request_id.clone(),
        }
    }
}

/// Whether what was refused may be taken later.
pub(super) const fn passes(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::TemporaryFailure | ErrorCode::RateLimitExceeded
    )
}

/// Who published first, and under which id: a copy of another topic says so, if it can be believed.
fn first_sender(original: &Original<'_>) -> (String, String) {
    let message = original.message;
    let said = |name| message.header(name).and_then(string_of);
    let is_copy = !passed(message).is_empty() && original.stored.trust != Trust::Unverified;
    match (said(ORIGINAL_SENDER), said(ORIGINAL_ID)) {
        (Some(sender), Some(id)) if is_copy => (sender.into_owned(), id.into_owned()),
        _ => (
            message.sender().to_string(),
            original.stored.message_id.as_str().to_owned(),
        ),
    }
}
