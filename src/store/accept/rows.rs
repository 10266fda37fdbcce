//! The rows a batch of acceptances writes, by table.

use bytes::Bytes;

use super::{
    AcceptJob, Begin, DELIVERY_HELD, DELIVERY_QUEUED, Fate, Next, Plan, Planned, lane_of, priority,
    shard,
};
use crate::envelope::Envelope;
use crate::events::Topic;
use crate::protocol::{Address, DeliveryStatus, ErrorCode, MessageId};
use crate::store::sql::{Connection, Insert, Statement, Value};
use crate::store::{blobs, id_hash, party_hash, settled};

/// The rows of a batch, by table.
#[derive(Default)]
pub(super) struct Rows {
    messages: Vec<Vec<Value>>,
    inbox: Vec<Vec<Value>>,
    deliveries: Vec<Vec<Value>>,
    settled: Vec<Vec<Value>>,
    aliases: Vec<Vec<Value>>,
    raised: Vec<(i64, i64, Vec<u8>)>,
    claimed: Vec<(i64, String)>,
    pub(super) topics: Vec<Topic>,
}

impl Rows {
    pub(super) fn message(&mut self, mid: i64, message_id: &MessageId, job: &AcceptJob) {
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
            envelope
                .answers
                .as_ref()
                .map(|id| id_hash(id.as_str()))
                .into(),
            body.into(),
        ]);
        if let Some(id) = &envelope.answers {
            self.topics.push(Topic::Answer(id_hash(id.as_str())));
        }
        let blobs = job.acceptance.blobs.iter();
        self.claimed.extend(blobs.map(|id| (mid, id.clone())));
    }

    pub(super) fn inbox(
        &mut self,
        (mailbox, seq): (i64, i64),
        mid: i64,
        envelope: &Envelope,
        recipient: &Planned,
    ) -> Fate {
        let urgency = match recipient.plan {
            Plan::Inbox { priority, .. } => priority,
            _ => None,
        };
        let urgency = urgency.unwrap_or(envelope.message.priority());
        self.inbox.push(vec![
            mailbox.into(),
            seq.into(),
            mid.into(),
            party_hash(&envelope.message.sender().key()).into(),
            priority(urgency).into(),
            recipient.address.to_string().into(),
        ]);
        Fate::New(DeliveryStatus::Delivered)
    }

    pub(super) fn delivery(
        &mut self,
        next: &mut Next<'_>,
        mid: i64,
        envelope: &Envelope,
        recipient: &Planned,
    ) -> Fate {
        let Plan::Queue {
            party,
            destination,
            give_up_at,
            wire,
            reserved,
            terms,
        } = &recipient.plan
        else {
            return Fate::Refused(ErrorCode::InternalError);
        };
        let lane = lane_of(envelope, recipient);
        let (state, status) = match terms.begin {
            Begin::Queued => (DELIVERY_QUEUED, DeliveryStatus::Queued),
            Begin::Held => (DELIVERY_HELD, DeliveryStatus::Held),
        };
        let urgency = terms.priority.unwrap_or(envelope.message.priority());
        let shard = shard(lane);
        // A reserved number is on its way already: nobody has to read it.
        let seq = reserved.unwrap_or_else(|| next.delivery(shard));
        if reserved.is_none() {
            self.topics.push(Topic::Queue);
        }
        if let Some(wire) = wire {
            self.aliases.push(vec![wire.id.as_str().into(), mid.into()]);
        }
        self.deliveries.push(vec![
            seq.into(),
            mid.into(),
            recipient.address.to_string().into(),
            (*party).into(),
            lane.into(),
            i64::from(shard).into(),
            destination.as_str().into(),
            state.into(),
            envelope.received_at.as_millis().into(),
            give_up_at.as_millis().into(),
            priority(urgency).into(),
            wire.as_ref().map(|wire| wire.id.as_str()).into(),
            wire.as_ref().map(|wire| wire.key.as_str()).into(),
            wire.as_ref()
                .map_or(0, |wire| i64::from(wire.recipients))
                .into(),
        ]);
        Fate::New(status)
    }

    /// A message stored unverified whose sender is believed now.
    pub(super) fn raise(&mut self, mid: i64, job: &AcceptJob) {
        let trust = job.acceptance.envelope.trust.code();
        self.raised.push((mid, trust, job.notes.clone()));
    }

    pub(super) fn refused(
        &mut self,
        mid: i64,
        envelope: &Envelope,
        address: &Address,
        code: ErrorCode,
    ) {
        self.settled
            .push(settled::refused(mid, address, code, envelope.received_at));
    }

    /// A message for the gateway itself.
    pub(super) fn bridged(&mut self, mid: i64, envelope: &Envelope, address: &Address) -> Fate {
        let at = envelope.received_at;
        self.settled.push(settled::bridged(mid, address, at));
        Fate::New(DeliveryStatus::Delivered)
    }

    pub(super) async fn write(self, tx: &mut Connection) -> sqlx::Result<()> {
        for (mid, trust, notes) in self.raised {
            let update =
                Statement::new("UPDATE messages SET trust = ?, envelope = ? WHERE mid = ?")
                    .bind(trust)
                    .bind(notes)
                    .bind(mid);
            tx.tell(update).await?;
        }
        for (mid, id) in self.claimed {
            tx.run(blobs::claim(mid, &id)).await?;
        }
        tx.insert(Insert::new("INSERT INTO messages (mid, message_id, sender, sender_hash, trust, origin, accepted_at, size, envelope, answers, body)", self.messages))
        .await?;
        let mut inbox = self.inbox;
        inbox.sort_by_key(|row| match (&row[0], &row[1]) {
            (Value::Int(mailbox), Value::Int(seq)) => (*mailbox, *seq),
            _ => (0, 0),
        });
        tx.insert(Insert::new(
            "INSERT INTO inbox (mailbox, seq, mid, sender_hash, priority, recipient)",
            inbox,
        ))
        .await?;
        tx.insert(Insert::new("INSERT INTO deliveries (seq, mid, recipient, party, lane, shard, destination, state, due_at, give_up_at, priority, wire_id, wire_key, wire_set)", self.deliveries))
        .await?;
        tx.insert(
            Insert::new("INSERT INTO wire_ids (wire_id, mid)", self.aliases)
                .or("ON CONFLICT DO NOTHING"),
        )
        .await?;
        tx.insert(Insert::new(settled::INSERT, self.settled)).await
    }
}
