//! The numbers of messages and deliveries: who is next.

use std::sync::atomic::{AtomicI64, Ordering};

use super::shard;
use crate::store::sql::{Connection, Statement};

/// How many slices of lanes there are.
const SHARDS: usize = 1024;

/// The numbers this process hands out. A number that ends unused leaves a gap, nothing more.
#[derive(Debug)]
pub(in crate::store) struct Numbers {
    mid: AtomicI64,
    seq: AtomicI64,
    /// The latest delivery of each lane shard that the queue has to read from the database.
    latest: Vec<AtomicI64>,
}

impl Numbers {
    /// Goes on after the highest number ever given, also where its row is gone.
    pub(in crate::store) async fn read(connection: &mut Connection) -> sqlx::Result<Self> {
        let (mut mid, mut seq) = (0, 0);
        let rows = connection
            .rows(Statement::new(
                "SELECT name, seq FROM sqlite_sequence WHERE name IN ('messages','deliveries')",
            ))
            .await?;
        for row in rows {
            match row.text(0)?.as_str() {
                "messages" => mid = row.int(1)?,
                _ => seq = row.int(1)?,
            }
        }
        Ok(Self {
            mid: AtomicI64::new(mid),
            seq: AtomicI64::new(seq),
            latest: (0..SHARDS).map(|_| AtomicI64::new(seq)).collect(),
        })
    }

    pub(in crate::store) fn next_mid(&self) -> i64 {
        self.mid.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(in crate::store) fn next_seq(&self) -> i64 {
        self.seq.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// The latest delivery of a lane's shard that the queue has to read.
    pub(in crate::store) fn latest(&self, lane: i64) -> i64 {
        self.latest[usize::from(shard(lane))].load(Ordering::SeqCst)
    }

    pub(in crate::store) fn note(&self, shard: u16, seq: i64) {
        self.latest[usize::from(shard)].fetch_max(seq, Ordering::SeqCst);
    }
}
