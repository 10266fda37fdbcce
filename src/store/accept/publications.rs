//! The numbers that a batch gives out in topics.

use std::collections::BTreeMap;

use super::{AcceptJob, Begin, Plan};
use crate::envelope::Envelope;
use crate::protocol::list::{ToTopic, expected_version};
use crate::store::sql::{Connection, Insert, Statement, Value};
use crate::store::topics::{list_number, lock_topic};

/// The last numbers of the topics this batch publishes in: before it, and by now.
#[derive(Default)]
pub(super) struct Publications {
    topics: BTreeMap<i64, (i64, i64)>,
    rows: Vec<Vec<Value>>,
}

/// The topic that a message is published in with its acceptance. What is held gets its number when it
/// is released.
fn topic_of(envelope: &Envelope, plan: &Plan) -> Option<i64> {
    let Plan::Queue {
        destination, terms, ..
    } = plan
    else {
        return None;
    };
    let number = list_number(destination).filter(|_| terms.begin == Begin::Queued)?;
    (ToTopic::of(&envelope.message) == ToTopic::Publication).then_some(number)
}

impl Publications {
    pub(super) async fn read(tx: &mut Connection, jobs: &[&mut AcceptJob]) -> sqlx::Result<Self> {
        let mut found = Self::default();
        for job in jobs {
            let acceptance = &job.acceptance;
            let plans = acceptance.recipients.iter().map(|it| &it.plan);
            for topic in plans.filter_map(|plan| topic_of(&acceptance.envelope, plan)) {
                found.topics.insert(topic, (0, 0));
            }
        }
        for (topic, numbers) in &mut found.topics {
            let last = lock_topic(tx, *topic).await?;
            *numbers = (last, last);
        }
        Ok(found)
    }

    /// Gives a message its number, where it is published. Answers whether it may be: not where
    /// another one was the last than its sender expected.
    pub(super) fn take(&mut self, mid: i64, envelope: &Envelope, plan: &Plan) -> bool {
        let Some(topic) = topic_of(envelope, plan) else {
            return true;
        };
        let Some((_, last)) = self.topics.get_mut(&topic) else {
            return true;
        };
        if expected_version(&envelope.message).is_some_and(|expected| expected != *last) {
            return false;
        }
        *last += 1;
        self.rows.push(vec![
            topic.into(),
            (*last).into(),
            mid.into(),
            envelope.received_at.as_millis().into(),
        ]);
        true
    }

    pub(super) async fn write(self, tx: &mut Connection) -> sqlx::Result<()> {
        for (topic, (before, last)) in self.topics {
            if before == last {
                continue;
            }
            let update = Statement::new("UPDATE topics SET last_seq = ? WHERE agent = ?")
                .bind(last)
                .bind(topic);
            tx.tell(update).await?;
        }
        let insert = "INSERT INTO publications (topic, seq, mid, published_at)";
        tx.insert(Insert::new(insert, self.rows)).await
    }
}
