//! The verb `accept`: message, inbox rows or deliveries, and idempotency in one commit.
//!
//! What it promises:
//! - a recipient that polls is settled here: its inbox row *is* the delivery; where its mailbox is
//!   full, what becomes of the message is decided here too (see `room`);
//! - positions in a mailbox become visible in order and without gaps;
//! - a message whose key is known for a recipient is not delivered to it again
//!   (AMTP 1.0, section 8.1.1), and a known key with other content refuses the whole request;
//! - what is sent to a topic gets its number there, if its sender knows the last one or names none;
//! - where every recipient is refused or known, nothing is written.

mod bridge;
mod mailboxes;
mod numbers;
mod publications;
mod rows;
mod succession;

use tokio::sync::oneshot;

use super::claims::{Claim, Claims, Known};
use super::error::StoreError;
use super::identity::WireIdentity;
use super::party_hash;
use super::room;
pub(super) use super::shards::shard_of as shard;
use super::sql::Connection;
use super::tasks::Advance;
use crate::admission::Place;
use crate::envelope::Envelope;
use crate::events::Topic;
use crate::protocol::{Address, DeliveryStatus, ErrorCode, MessageId, Priority, Timestamp};

use mailboxes::{Mailboxes, Room};
pub(super) use numbers::{Drawn, Numbers, Open};
use publications::Publications;
use rows::Rows;
pub use succession::Succession;

/// A judged message: what is to become of each recipient.
#[derive(Debug, Clone)]
pub struct Acceptance {
    /// The message and how it came.
    pub envelope: Envelope,
    /// In the order the sender wrote them.
    pub recipients: Vec<Planned>,
    /// The number it has already, where it is on its way before it is on disk.
    pub reserved: Option<i64>,
    /// Its place among those in flight, until it is written or refused.
    pub place: Option<Place>,
    /// The batch it came in.
    pub succession: Option<Succession>,
    /// Complete contents that it refers to: they are its own from the commit on.
    pub blobs: Vec<String>,
}

/// One recipient and what was judged of it.
#[derive(Debug, Clone)]
pub struct Planned {
    /// As the sender wrote it.
    pub address: Address,
    /// What to do.
    pub plan: Plan,
}

/// What is to become of a message for one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Into the inbox of a local agent that polls.
    Inbox {
        /// The agent's number.
        mailbox: i64,
        /// Its priority there, whatever its message says.
        priority: Option<Priority>,
    },
    /// Into the queue.
    Queue {
        /// The agent's number, or [`party_hash`] of a foreign address.
        party: i64,
        /// The peer or target with its limits: `agent:7`, `domain:example.org`.
        destination: String,
        /// When to stop trying.
        give_up_at: Timestamp,
        /// What it travels under, where its own id or key is not for strangers.
        wire: Option<WireIdentity>,
        /// The number it has already, where it is on its way before it is on disk.
        reserved: Option<i64>,
        /// How it goes.
        terms: Terms,
    },
    /// To the gateway itself: it answers a task, and is delivered by changing that.
    Bridge(Box<Advance>),
    /// Not at all.
    Refused(ErrorCode),
}

/// How a delivery goes, where that is not as usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Terms {
    /// How it begins.
    pub begin: Begin,
    /// Its priority, whatever its message says.
    pub priority: Option<Priority>,
    /// Whether it keeps its place.
    pub order: Order,
}

/// How a delivery begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Begin {
    /// It waits for its turn.
    #[default]
    Queued,
    /// It waits until an operator releases it.
    Held,
}

/// Whether a delivery keeps its place among those of its sender and recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// It does.
    #[default]
    Kept,
    /// It goes when it can.
    Free,
}

/// What `accept` decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// At least one recipient was taken, known or refused by itself.
    Taken {
        /// The id the message goes by: the first one under this key.
        message_id: MessageId,
        /// In the order of the acceptance.
        fates: Vec<Fate>,
    },
    /// The key is known with other content.
    Conflict,
}

/// What became of one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// On disk now.
    New(DeliveryStatus),
    /// Accepted before, in the stored message of this number.
    Known(i64),
    /// Refused.
    Refused(ErrorCode),
}

/// An acceptance on its way through the committer.
pub(super) struct AcceptJob {
    acceptance: Acceptance,
    /// One a recipient; `None` where the recipient is refused or the key is ours.
    claims: Vec<Option<Claim>>,
    notes: Vec<u8>,
    /// By recipient, why a task could not be changed; empty where none was to be.
    refused: Vec<Option<ErrorCode>>,
    decision: Option<Decision>,
    reply: oneshot::Sender<Result<Decision, StoreError>>,
}

impl AcceptJob {
    pub(super) fn new(
        acceptance: Acceptance,
    ) -> (Self, oneshot::Receiver<Result<Decision, StoreError>>) {
        let (reply, answer) = oneshot::channel();
        let claims = Claim::of(&acceptance);
        let envelope = &acceptance.envelope;
        let notes = envelope.notes().stored(envelope.message.sender().domain());
        (
            Self {
                acceptance,
                claims,
                notes,
                refused: Vec::new(),
                decision: None,
                reply,
            },
            answer,
        )
    }

    pub(super) fn bytes(&self) -> usize {
        self.acceptance.envelope.message.raw().len()
    }

    /// The mailboxes it is for.
    pub(super) fn mailboxes(&self) -> impl Iterator<Item = i64> {
        let recipients = self.acceptance.recipients.iter();
        recipients.filter_map(|recipient| match recipient.plan {
            Plan::Inbox { mailbox, .. } => Some(mailbox),
            _ => None,
        })
    }

    pub(super) fn claims(&self) -> impl Iterator<Item = &Claim> {
        self.claims.iter().flatten()
    }

    pub(super) fn now(&self) -> Timestamp {
        self.acceptance.envelope.received_at
    }

    /// Whether one before it that it must not overtake is missing.
    pub(super) fn is_behind_a_gap(&self) -> bool {
        let Acceptance {
            succession,
            envelope,
            ..
        } = &self.acceptance;
        succession
            .as_ref()
            .is_some_and(|it| it.is_broken(envelope.message.sender()))
    }

    /// It is not stored in this run.
    pub(super) fn leave_out(&mut self) {
        self.decision = None;
    }

    pub(super) fn finish(self, outcome: Result<(), StoreError>) {
        let answer = outcome.and_then(|()| self.decision.ok_or(StoreError::Closed));
        if let (Err(_), Some(succession)) = (&answer, &self.acceptance.succession) {
            succession.broke(self.acceptance.envelope.message.sender());
        }
        // The caller may be gone; what is committed stays committed.
        drop(self.reply.send(answer));
    }
}

/// Accepts a batch inside the running transaction.
pub(super) async fn apply(
    tx: &mut Connection,
    jobs: &mut [&mut AcceptJob],
    numbers: &Numbers,
    topics: &mut Vec<Topic>,
) -> sqlx::Result<()> {
    let mut claims = Claims::read(tx, jobs).await?;
    let mut publications = Publications::read(tx, jobs).await?;
    let mut mailboxes = Mailboxes::read(tx, jobs).await?;
    let mut next = Next {
        drawn: numbers.draw(tx, needed(jobs, &mailboxes)).await?,
        numbers,
    };
    let mut rows = Rows::default();
    for job in jobs.iter_mut() {
        bridge::cross(tx, job, &claims, topics).await?;
        let places = (&mut mailboxes, &mut publications);
        let decision = decide(job, &mut claims, places, &mut next, &mut rows);
        job.decision = Some(decision);
    }
    let overfull = mailboxes.write(tx, topics).await?;
    topics.append(&mut rows.topics);
    rows.write(tx).await?;
    publications.write(tx).await?;
    let now = jobs.iter().map(|job| job.now()).max().unwrap_or_default();
    for (id, mailbox) in overfull {
        room::bury(tx, (id, &mailbox), now, topics).await?;
    }
    claims.write(tx).await
}

/// The numbers of this batch.
struct Next<'a> {
    drawn: Drawn,
    numbers: &'a Numbers,
}

impl Next<'_> {
    /// The next delivery of a shard, which the queue has to read.
    fn delivery(&mut self, shard: u16) -> i64 {
        let seq = self.drawn.seq();
        self.numbers.note(shard, seq);
        seq
    }
}

/// How many messages and deliveries the batch brings forth at most.
fn needed(jobs: &[&mut AcceptJob], mailboxes: &Mailboxes) -> (usize, usize) {
    let deliveries = jobs
        .iter()
        .flat_map(|job| &job.acceptance.recipients)
        .filter(|recipient| match recipient.plan {
            Plan::Queue { reserved, .. } => reserved.is_none(),
            Plan::Inbox { mailbox, .. } => mailboxes.may_hold(mailbox),
            Plan::Bridge(_) | Plan::Refused(_) => false,
        })
        .count();
    (jobs.len(), deliveries)
}

fn decide(
    job: &AcceptJob,
    claims: &mut Claims,
    (mailboxes, publications): (&mut Mailboxes, &mut Publications),
    next: &mut Next<'_>,
    rows: &mut Rows,
) -> Decision {
    let envelope = &job.acceptance.envelope;
    let mut known = Vec::with_capacity(job.claims.len());
    let mut message_id = None;
    for claim in &job.claims {
        known.push(
            match claim.as_ref().map(|claim| claims.find(claim, envelope)) {
                Some(Known::Other) => return Decision::Conflict,
                Some(Known::Same {
                    mid,
                    message_id: first,
                    raised,
                }) => {
                    if raised {
                        rows.raise(mid, job);
                    }
                    message_id.get_or_insert(first);
                    Some(mid)
                }
                Some(Known::No) | None => None,
            },
        );
    }
    let message_id = message_id.unwrap_or_else(|| envelope.message_id.clone());
    let mid = job.acceptance.reserved.unwrap_or_else(|| next.drawn.mid());
    let fates: Vec<Fate> = job
        .acceptance
        .recipients
        .iter()
        .zip(known)
        .enumerate()
        .map(
            |(place, (recipient, known))| match (known, &recipient.plan) {
                (_, Plan::Refused(code)) => Fate::Refused(*code),
                (Some(mid), _) => Fate::Known(mid),
                (None, Plan::Inbox { mailbox, .. }) => {
                    match mailboxes.take(*mailbox, &job.acceptance, recipient) {
                        Room::Position(seq) => {
                            rows.inbox((*mailbox, seq), mid, envelope, recipient)
                        }
                        Room::Queue => {
                            rows.delivery(next, mid, envelope, &held(envelope, recipient))
                        }
                        Room::Full => Fate::Refused(ErrorCode::MailboxFull),
                        Room::Gone => Fate::Refused(ErrorCode::AgentUnknown),
                    }
                }
                (None, plan @ Plan::Queue { .. }) => match publications.take(mid, envelope, plan) {
                    true => rows.delivery(next, mid, envelope, recipient),
                    false => Fate::Refused(ErrorCode::Conflict),
                },
                (None, Plan::Bridge(_)) => match job.refused.get(place).copied().flatten() {
                    Some(code) => Fate::Refused(code),
                    None => rows.bridged(mid, envelope, &recipient.address),
                },
            },
        )
        .collect();
    if !fates.iter().any(|fate| matches!(fate, Fate::New(_))) {
        return Decision::Taken { message_id, fates };
    }
    rows.message(mid, &message_id, job);
    for ((recipient, fate), claim) in job
        .acceptance
        .recipients
        .iter()
        .zip(&fates)
        .zip(&job.claims)
    {
        match (fate, claim) {
            (Fate::New(_), Some(claim)) => {
                claims.add(claim, mid, &message_id, envelope.received_at)
            }
            (Fate::Refused(code), _) => rows.refused(mid, envelope, &recipient.address, *code),
            _ => {}
        }
    }
    Decision::Taken { message_id, fates }
}

/// A recipient whose mailbox is full: its message waits in the queue until there is room.
fn held(envelope: &Envelope, recipient: &Planned) -> Planned {
    let Plan::Inbox { mailbox, priority } = recipient.plan else {
        return recipient.clone();
    };
    let latest = envelope.received_at.plus(room::HELD_FOR);
    let expires = envelope.message.expires();
    Planned {
        address: recipient.address.clone(),
        plan: Plan::Queue {
            party: mailbox,
            destination: format!("agent:{mailbox}"),
            give_up_at: expires.map_or(latest, |expires| expires.min(latest)),
            wire: None,
            reserved: None,
            terms: Terms {
                priority,
                ..Terms::default()
            },
        },
    }
}

/// The state of a delivery that waits for its first attempt.
pub(super) const DELIVERY_QUEUED: i64 = 0;
/// The state of a delivery that an operator has to release.
pub(super) const DELIVERY_HELD: i64 = 2;

/// The order of one sender and one recipient, as a number.
pub(super) fn lane(sender: &Address, recipient: &Address) -> i64 {
    party_hash(&format!("{} {}", sender.key(), recipient.key()))
}

/// The lane of a delivery: that of its sender and recipient, or one of its own.
#[must_use]
pub fn lane_of(envelope: &Envelope, recipient: &Planned) -> i64 {
    let lane = lane(envelope.message.sender(), &recipient.address);
    match &recipient.plan {
        Plan::Queue { terms, .. } if terms.order == Order::Free => {
            party_hash(&format!("{lane} {}", envelope.message_id.as_str()))
        }
        _ => lane,
    }
}

/// The priority of what says nothing of it.
pub(super) const PRIORITY_NORMAL: i64 = 1;

const fn priority(priority: Priority) -> i64 {
    match priority {
        Priority::Low => 0,
        Priority::Normal => PRIORITY_NORMAL,
        Priority::High => 2,
        Priority::Urgent => 3,
    }
}
