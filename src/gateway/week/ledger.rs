//! What was sent, and how it must end.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::world::World;
use super::{DAY, HOUR};
use crate::protocol::{DeliveryStatus, MessageId};
use crate::store::{ListQuery, Party, Tracked};

/// How a message must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It is handed over, and outside once where it goes there.
    Inside,
    Outside,
    Failed,
    Expired,
}

#[derive(Debug)]
struct Sent {
    hour: u64,
    /// Hours after which it has ended.
    takes: u64,
    end: End,
}

/// What is not checked yet, and messages to look for.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    open: HashMap<String, Sent>,
    /// A message that Bob read in each hour.
    read: BTreeMap<u64, MessageId>,
    /// A message outside of each hour: it is kept for the longest retention but that of failures.
    kept: BTreeMap<u64, MessageId>,
    /// Failures Alice was told of.
    told: HashMap<String, u32>,
    pub(super) replies: u64,
    /// What Bob must find.
    pub(super) for_bob: Vec<MessageId>,
    /// A message under a key, of each hour.
    pub(super) repeats: BTreeMap<u64, (Value, MessageId)>,
}

impl Ledger {
    pub(super) fn sent(&mut self, hour: u64, id: &MessageId, (end, takes): (End, u64)) {
        if end == End::Outside {
            self.kept.insert(hour, id.clone());
        }
        let sent = Sent { hour, takes, end };
        let known = self.open.insert(id.as_str().to_owned(), sent);
        assert!(known.is_none(), "an id is given twice");
    }

    pub(super) fn read(&mut self, hour: u64, id: &MessageId) {
        self.read.insert(hour, id.clone());
    }

    pub(super) fn bounced(&mut self, id: &MessageId) {
        *self.told.entry(id.as_str().to_owned()).or_default() += 1;
    }

    pub(super) fn kept_in(&self, hour: u64) -> Option<MessageId> {
        self.kept.get(&hour).cloned()
    }

    pub(super) fn read_in(&self, hour: u64) -> Option<MessageId> {
        self.read.get(&hour).cloned()
    }
}

impl World {
    pub(super) async fn tracked(&self, id: &MessageId) -> Option<Tracked> {
        let found = self.store.find_message(id, &Party::Operator).await.unwrap();
        found.into_iter().next()
    }

    /// Whatever must have ended by now has, and as it should.
    pub(super) async fn check(&mut self) {
        let since = self
            .clock
            .now()
            .minus(HOUR * u32::try_from(3 * DAY).unwrap());
        let mut query = ListQuery {
            party: Party::Operator,
            sender: None,
            recipient: None,
            since: Some(since),
            before: None,
            limit: 1_000,
            offset: 0,
        };
        loop {
            let page = self.store.list_messages(&query, |_| true).await.unwrap();
            for tracked in &page.messages {
                self.compare(tracked);
            }
            query.before = page.next;
            if page.next.is_none() {
                break;
            }
        }
        let late = |sent: &&Sent| sent.hour + sent.takes <= self.hours;
        let late: Vec<&Sent> = self.ledger.open.values().filter(late).collect();
        assert!(late.is_empty(), "hour {}: {late:?}", self.hours);
    }

    fn compare(&mut self, tracked: &Tracked) {
        let id = tracked.message.message_id.as_str();
        let Some(sent) = self.ledger.open.get(id) else {
            return;
        };
        if sent.hour + sent.takes > self.hours {
            return;
        }
        let wanted = match sent.end {
            End::Inside | End::Outside => DeliveryStatus::Delivered,
            End::Failed => DeliveryStatus::Failed,
            End::Expired => DeliveryStatus::Expired,
        };
        let is = tracked.recipients.iter().map(|it| it.status);
        assert!(is.clone().all(|it| it == wanted), "{tracked:?}");
        assert!(is.count() > 0, "{id} is with nobody");
        let times = u32::from(sent.end == End::Outside);
        assert_eq!(self.outside.take(id), times, "{tracked:?}");
        let told = self.ledger.told.remove(id).unwrap_or(0);
        let failed = matches!(sent.end, End::Failed | End::Expired);
        assert_eq!(told, u32::from(failed), "{tracked:?}");
        self.ledger.open.remove(id);
    }

    /// What is over is gone, and nothing else.
    pub(super) async fn forgets(&self) {
        let of = |hour: u64| self.ledger.kept[&hour].clone();
        let last = self.hours - 1;
        for (hour, kept) in [
            (0, false),
            (last - 7 * DAY - 8, false),
            (last - 6 * DAY, true),
            (last - DAY, true),
            (last, true),
        ] {
            let found = self.tracked(&of(hour)).await;
            assert_eq!(found.is_some(), kept, "sent in hour {hour} of {last}");
        }
        assert_eq!(self.ledger.replies, self.hours, "one an hour asks for one");
        let first = self.ledger.read_in(0).unwrap();
        assert!(self.tracked(&first).await.is_none());
        let newest = self.ledger.read_in(last).unwrap();
        assert!(self.tracked(&newest).await.is_some());
    }
}
