//! The verb `accept`: message, inbox rows or deliveries, and idempotency in one commit.
//!
//! What it promises:
//! - a recipient that polls is settled here: its inbox row *is* the delivery;
//! - positions in a mailbox become visible in order and without gaps;
//! - a message whose key is known for a recipient is not delivered to it again
//!   (AMTP 1.0, section 8.1.1), and a known key with other content refuses the whole request;
//! - where every recipient is refused or known, nothing is written.

use std::collections::HashMap;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::claims::{Claim, Claims, Known};
use super::error::StoreError;
use super::sql::{Connection, Statement, Value, padded, places};
use super::{party_hash, settled};
use crate::envelope::Envelope;
use crate::events::Topic;
use crate::protocol::{Address, DeliveryStatus, ErrorCode, MessageId, Priority, Timestamp};

/// A judged message: what is to become of each recipient.
#[derive(Debug, Clone)]
pub struct Acceptance {
    /// The message and how it came.
    pub envelope: Envelope,
    /// In the order the sender wrote them.
    pub recipients: Vec<Planned>,
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
    },
    /// Into the queue.
    Queue {
        /// The agent's number, or [`party_hash`] of a foreign address.
        party: i64,
        /// The peer or target with its limits: `agent:7`, `domain:example.org`.
        destination: String,
        /// When to stop trying.
        give_up_at: Timestamp,
    },
    /// Not at all.
    Refused(ErrorCode),
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

/// The numbers the one writer hands out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numbers {
    mid: i64,
    seq: i64,
}

impl Numbers {
    /// Goes on after the highest number ever given, also where its row is gone.
    pub(super) async fn read(connection: &mut Connection) -> sqlx::Result<Self> {
        let mut numbers = Self { mid: 0, seq: 0 };
        let rows = connection
            .rows(Statement::new(
                "SELECT name, seq FROM sqlite_sequence WHERE name IN ('messages','deliveries')",
            ))
            .await?;
        for row in rows {
            match row.text(0)?.as_str() {
                "messages" => numbers.mid = row.int(1)?,
                _ => numbers.seq = row.int(1)?,
            }
        }
        Ok(numbers)
    }
}

/// An acceptance on its way through the committer.
pub(super) struct AcceptJob {
    acceptance: Acceptance,
    /// One a recipient; `None` where the recipient is refused or the key is ours.
    claims: Vec<Option<Claim>>,
    notes: Vec<u8>,
    decision: Option<Decision>,
    reply: oneshot::Sender<Result<Decision, StoreError>>,
}

impl AcceptJob {
    pub(super) fn new(
        acceptance: Acceptance,
    ) -> (Self, oneshot::Receiver<Result<Decision, StoreError>>) {
        let (reply, answer) = oneshot::channel();
        let claims = Claim::of(&acceptance);
        let notes = serde_json::to_vec(&acceptance.envelope.notes())
            .expect("notes are strings under string names");
        (
            Self {
                acceptance,
                claims,
                notes,
                decision: None,
                reply,
            },
            answer,
        )
    }

    pub(super) fn bytes(&self) -> usize {
        self.acceptance.envelope.message.raw().len()
    }

    pub(super) fn claims(&self) -> impl Iterator<Item = &Claim> {
        self.claims.iter().flatten()
    }

    pub(super) fn now(&self) -> Timestamp {
        self.acceptance.envelope.received_at
    }

    pub(super) fn finish(self, outcome: Result<(), StoreError>) {
        let answer = outcome.and_then(|()| self.decision.ok_or(StoreError::Closed));
        // The caller may be gone; what is committed stays committed.
        drop(self.reply.send(answer));
    }
}

/// Accepts a batch inside the running transaction.
pub(super) async fn apply(
    tx: &mut Connection,
    jobs: &mut [&mut AcceptJob],
    next: &mut Numbers,
    topics: &mut Vec<Topic>,
) -> sqlx::Result<()> {
    let mut claims = Claims::read(tx, jobs).await?;
    let mut mailboxes = Mailboxes::read(tx, jobs).await?;
    let mut rows = Rows::default();
    for job in jobs.iter_mut() {
        let decision = decide(job, &mut claims, &mut mailboxes, next, &mut rows);
        job.decision = Some(decision);
    }
    mailboxes.write(tx, topics).await?;
    topics.extend(rows.shards.drain(..).map(Topic::Shard));
    rows.write(tx).await?;
    claims.write(tx).await
}

fn decide(
    job: &AcceptJob,
    claims: &mut Claims,
    mailboxes: &mut Mailboxes,
    next: &mut Numbers,
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
                }) => {
                    message_id.get_or_insert(first);
                    Some(mid)
                }
                Some(Known::No) | None => None,
            },
        );
    }
    let message_id = message_id.unwrap_or_else(|| envelope.message_id.clone());
    let mid = next.mid + 1;
    let fates: Vec<Fate> = job
        .acceptance
        .recipients
        .iter()
        .zip(known)
        .map(|(recipient, known)| match (known, &recipient.plan) {
            (_, Plan::Refused(code)) => Fate::Refused(*code),
            (Some(mid), _) => Fate::Known(mid),
            (None, Plan::Inbox { mailbox }) => match mailboxes.take(*mailbox) {
                Some(seq) => rows.inbox((*mailbox, seq), mid, envelope, &recipient.address),
                None => Fate::Refused(ErrorCode::AgentUnknown),
            },
            (None, Plan::Queue { .. }) => {
                next.seq += 1;
                rows.delivery(next.seq, mid, envelope, recipient)
            }
        })
        .collect();
    if !fates.iter().any(|fate| matches!(fate, Fate::New(_))) {
        return Decision::Taken { message_id, fates };
    }
    next.mid = mid;
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

/// The next positions of the mailboxes this batch touches.
struct Mailboxes(HashMap<i64, (i64, i64)>);

impl Mailboxes {
    async fn read(tx: &mut Connection, jobs: &[&mut AcceptJob]) -> sqlx::Result<Self> {
        let mut ids: Vec<i64> = jobs
            .iter()
            .flat_map(|job| &job.acceptance.recipients)
            .filter_map(|recipient| match recipient.plan {
                Plan::Inbox { mailbox } => Some(mailbox),
                _ => None,
            })
            .collect();
        ids.sort_unstable();
        ids.dedup();
        let mut found = HashMap::with_capacity(ids.len());
        for chunk in padded(&ids) {
            let text = format!(
                "SELECT id, next_seq FROM mailboxes WHERE id IN ({})",
                places(chunk.len())
            );
            for row in tx.rows(Statement::new(text).bind_all(chunk)).await? {
                let next = row.int(1)?;
                found.insert(row.int(0)?, (next, next));
            }
        }
        Ok(Self(found))
    }

    /// The next position, or nothing where the mailbox is gone.
    fn take(&mut self, mailbox: i64) -> Option<i64> {
        let (_, next) = self.0.get_mut(&mailbox)?;
        *next += 1;
        Some(*next - 1)
    }

    async fn write(self, tx: &mut Connection, topics: &mut Vec<Topic>) -> sqlx::Result<()> {
        let mut moved: Vec<(i64, i64)> = self
            .0
            .into_iter()
            .filter(|(_, (before, after))| before != after)
            .map(|(id, (_, after))| (id, after))
            .collect();
        moved.sort_unstable();
        topics.extend(moved.iter().map(|(id, _)| Topic::Mailbox(*id)));
        for chunk in padded(&moved) {
            let mut text = "(?,?),".repeat(chunk.len());
            text.pop();
            let text = format!(
                "UPDATE mailboxes SET next_seq = v.column2 FROM (VALUES {text}) AS v WHERE mailboxes.id = v.column1"
            );
            let values = chunk.into_iter().flat_map(|(id, next)| [id, next]);
            tx.run(Statement::new(text).bind_all(values)).await?;
        }
        Ok(())
    }
}

/// The rows of a batch, by table.
#[derive(Default)]
struct Rows {
    messages: Vec<Vec<Value>>,
    bodies: Vec<Vec<Value>>,
    inbox: Vec<Vec<Value>>,
    deliveries: Vec<Vec<Value>>,
    settled: Vec<Vec<Value>>,
    shards: Vec<u16>,
}

impl Rows {
    fn message(&mut self, mid: i64, message_id: &MessageId, job: &AcceptJob) {
        let envelope = &job.acceptance.envelope;
        let sender = envelope.message.sender().key();
        let body: Bytes = envelope.message.raw().clone();
        self.messages.push(vec![
            mid.into(),
            message_id.as_str().into(),
            sender.as_str().into(),
            party_hash(&sender).into(),
            envelope.trust.code().into(),
            envelope.origin.code().into(),
            envelope.received_at.as_millis().into(),
            i64::try_from(body.len()).unwrap_or(i64::MAX).into(),
            job.notes.as_slice().into(),
        ]);
        self.bodies.push(vec![mid.into(), body.into()]);
    }

    fn inbox(
        &mut self,
        (mailbox, seq): (i64, i64),
        mid: i64,
        envelope: &Envelope,
        address: &Address,
    ) -> Fate {
        self.inbox.push(vec![
            mailbox.into(),
            seq.into(),
            mid.into(),
            party_hash(&envelope.message.sender().key()).into(),
            address.to_string().into(),
        ]);
        Fate::New(DeliveryStatus::Delivered)
    }

    fn delivery(&mut self, seq: i64, mid: i64, envelope: &Envelope, recipient: &Planned) -> Fate {
        let Plan::Queue {
            party,
            destination,
            give_up_at,
        } = &recipient.plan
        else {
            return Fate::Refused(ErrorCode::InternalError);
        };
        let lane = lane(envelope.message.sender(), &recipient.address);
        let shard = shard(lane);
        self.shards.push(shard);
        self.deliveries.push(vec![
            seq.into(),
            mid.into(),
            recipient.address.to_string().into(),
            (*party).into(),
            lane.into(),
            i64::from(shard).into(),
            destination.as_str().into(),
            DELIVERY_QUEUED.into(),
            envelope.received_at.as_millis().into(),
            give_up_at.as_millis().into(),
            priority(envelope.message.priority()).into(),
        ]);
        Fate::New(DeliveryStatus::Queued)
    }

    fn refused(&mut self, mid: i64, envelope: &Envelope, address: &Address, code: ErrorCode) {
        self.settled
            .push(settled::refused(mid, address, code, envelope.received_at));
    }

    async fn write(self, tx: &mut Connection) -> sqlx::Result<()> {
        tx.insert(
            "INSERT INTO messages (mid, message_id, sender, sender_hash, trust, origin, accepted_at, size, envelope)",
            9,
            self.messages,
        )
        .await?;
        tx.insert("INSERT INTO bodies (mid, body)", 2, self.bodies)
            .await?;
        let mut inbox = self.inbox;
        inbox.sort_by_key(|row| match (&row[0], &row[1]) {
            (Value::Int(mailbox), Value::Int(seq)) => (*mailbox, *seq),
            _ => (0, 0),
        });
        tx.insert(
            "INSERT INTO inbox (mailbox, seq, mid, sender_hash, recipient)",
            5,
            inbox,
        )
        .await?;
        tx.insert(
            "INSERT INTO deliveries (seq, mid, recipient, party, lane, shard, destination, state, due_at, give_up_at, priority)",
            11,
            self.deliveries,
        )
        .await?;
        tx.insert(settled::INSERT, settled::WIDTH, self.settled)
            .await
    }
}

/// The state of a delivery that waits for its first attempt.
pub(super) const DELIVERY_QUEUED: i64 = 0;

/// The order of one sender and one recipient, as a number.
pub(super) fn lane(sender: &Address, recipient: &Address) -> i64 {
    party_hash(&format!("{} {}", sender.key(), recipient.key()))
}

/// The slice of all lanes a lane belongs to: one of 1,024.
pub(super) fn shard(lane: i64) -> u16 {
    u16::try_from(lane & 1023).expect("ten bits fit")
}

const fn priority(priority: Priority) -> i64 {
    match priority {
        Priority::Low => 0,
        Priority::Normal => 1,
        Priority::High => 2,
        Priority::Urgent => 3,
    }
}
