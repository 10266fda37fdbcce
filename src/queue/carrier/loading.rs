//! Reads the deliveries of a dispatch.

use std::collections::HashMap;
use std::time::Duration;

use super::Carrier;
use crate::protocol::ErrorCode;
use crate::queue::window::{After, Dispatch};
use crate::store::{Delivery, Ending, Marks, Reason, Settlement, StoreError};

/// A delivery that could not even be read is looked at again after this time.
const UNREADABLE: Duration = Duration::from_secs(3_600);

impl Carrier {
    /// Reads the deliveries of a dispatch. Where several gateways commit, a delivery may have become
    /// visible after the one behind it was read: such lanes do not go, they are read again from it.
    pub(super) async fn load_in_order(
        &self,
        dispatch: &Dispatch,
    ) -> Result<(Vec<Delivery>, Vec<(i64, After)>), StoreError> {
        let seqs = dispatch.groups.concat();
        let mut deliveries = self.load(&seqs).await?;
        if !self.share.is_kept() {
            return Ok((deliveries, Vec::new()));
        }
        let mut late: HashMap<i64, i64> = HashMap::new();
        for (lane, seq) in self.store.overtaken((&seqs, &dispatch.before)).await? {
            let first = late.entry(lane).or_insert(seq);
            *first = seq.min(*first);
        }
        let mut overtaken = Vec::new();
        deliveries.retain(|it| {
            let late = late.get(&it.lane).filter(|_| !it.loose);
            overtaken.extend(late.map(|late| (it.seq, After::Overtaken(*late))));
            late.is_none()
        });
        Ok((deliveries, overtaken))
    }

    /// Reads deliveries; one that cannot be read leaves its lane and does not stop the others.
    pub(super) async fn load(&self, seqs: &[i64]) -> Result<Vec<Delivery>, StoreError> {
        match self.store.load_deliveries(seqs).await {
            Err(StoreError::Corrupt(_)) => {}
            other => return other,
        }
        let mut deliveries = Vec::with_capacity(seqs.len());
        for seq in seqs {
            match self.store.load_deliveries(&[*seq]).await {
                Ok(found) => deliveries.extend(found),
                Err(StoreError::Corrupt(what)) => self.set_aside(*seq, what).await?,
                Err(error) => return Err(error),
            }
        }
        Ok(deliveries)
    }

    async fn set_aside(&self, seq: i64, what: String) -> Result<(), StoreError> {
        tracing::error!(
            delivery.seq = seq,
            error = what,
            "a delivery cannot be read"
        );
        let now = self.clock.now();
        let settlement = Settlement {
            seq,
            mid: 0,
            recipient: String::new(),
            at: now,
            held: None,
            attempt: None,
            fate: Ending::Deferred {
                due_at: now.plus(UNREADABLE),
                reason: Reason {
                    code: ErrorCode::InternalError,
                    text: what,
                },
                marks: Marks {
                    loose: true,
                    ..Marks::default()
                },
            },
        };
        let settled = self.store.settle(vec![settlement], Vec::new());
        settled.await.map(drop)
    }
}
