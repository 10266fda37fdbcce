//! The numbers of messages and deliveries: who is next.
//!
//! On SQLite this process counts. On PostgreSQL the database does, one number at a time, inside the
//! accepting transaction: a delivery accepted after another was answered has the higher number,
//! whichever gateway took it.
//!
//! With several committing connections a higher number may be on disk before a lower one. So the
//! queue reads only up to the [safe mark](Numbers::safe_mark): below it nothing of this process is
//! still on its way.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::shard;
use crate::store::sql::{Connection, Statement};

/// How many slices of lanes there are.
const SHARDS: usize = 1024;

/// The numbers this process hands out. A number that ends unused leaves a gap, nothing more.
#[derive(Debug)]
pub(in crate::store) struct Numbers {
    mid: AtomicI64,
    /// The highest number of a delivery that this process has seen.
    seq: AtomicI64,
    /// The latest delivery of each lane shard that the queue has to read from the database.
    latest: Vec<AtomicI64>,
    /// For each transaction under way the highest number before it began.
    open: Mutex<BTreeMap<u64, i64>>,
    opened: AtomicU64,
    /// Whether somebody did not read all because of a transaction under way.
    clipped: AtomicBool,
}

/// Numbers for one batch.
#[derive(Debug, Default)]
pub(in crate::store) struct Drawn {
    mids: VecDeque<i64>,
    seqs: VecDeque<i64>,
}

impl Drawn {
    pub(in crate::store) fn mid(&mut self) -> i64 {
        self.mids.pop_front().expect("one was drawn for each")
    }

    pub(in crate::store) fn seq(&mut self) -> i64 {
        self.seqs.pop_front().expect("one was drawn for each")
    }
}

/// A transaction of this process that may bring forth deliveries; ends when dropped.
#[derive(Debug)]
pub(in crate::store) struct Open {
    numbers: Arc<Numbers>,
    id: u64,
    lowest: i64,
}

impl Open {
    /// Its deliveries have numbers above this one.
    pub(in crate::store) const fn lowest(&self) -> i64 {
        self.lowest
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.numbers.lock().remove(&self.id);
    }
}

impl Numbers {
    /// Goes on after the highest number ever given, also where its row is gone.
    pub(in crate::store) async fn read(connection: &mut Connection) -> sqlx::Result<Self> {
        let (mut mid, mut seq) = (0, 0);
        let text = if connection.is_postgres() {
            "SELECT 'deliveries', last_value FROM delivery_numbers"
        } else {
            "SELECT name, seq FROM sqlite_sequence WHERE name IN ('messages','deliveries')"
        };
        for row in connection.rows(Statement::new(text)).await? {
            match row.text(0)?.as_str() {
                "messages" => mid = row.int(1)?,
                _ => seq = row.int(1)?,
            }
        }
        Ok(Self {
            mid: AtomicI64::new(mid),
            seq: AtomicI64::new(seq),
            latest: (0..SHARDS).map(|_| AtomicI64::new(seq)).collect(),
            open: Mutex::default(),
            opened: AtomicU64::new(0),
            clipped: AtomicBool::new(false),
        })
    }

    /// Draws numbers for so many messages and deliveries.
    pub(in crate::store) async fn draw(
        &self,
        tx: &mut Connection,
        (mids, seqs): (usize, usize),
    ) -> sqlx::Result<Drawn> {
        if !tx.is_postgres() {
            return Ok(self.count_up((mids, seqs)));
        }
        let (mids, seqs) = (count(mids), count(seqs));
        let mut drawn = Drawn::default();
        if mids + seqs == 0 {
            return Ok(drawn);
        }
        let draw = Statement::new(
            "SELECT 0, nextval('message_numbers') FROM generate_series(1, ?) \
             UNION ALL SELECT 1, nextval('delivery_numbers') FROM generate_series(1, ?)",
        )
        .bind(mids)
        .bind(seqs);
        for row in tx.rows(draw).await? {
            match row.int(0)? {
                0 => drawn.mids.push_back(row.int(1)?),
                _ => drawn.seqs.push_back(row.int(1)?),
            }
        }
        drawn.mids.make_contiguous().sort_unstable();
        drawn.seqs.make_contiguous().sort_unstable();
        if let Some(last) = drawn.seqs.back() {
            self.seq.fetch_max(*last, Ordering::SeqCst);
        }
        Ok(drawn)
    }

    /// The same where this process counts.
    pub(in crate::store) fn count_up(&self, (mids, seqs): (usize, usize)) -> Drawn {
        let up = |counter: &AtomicI64, by| {
            let before = counter.fetch_add(by, Ordering::SeqCst);
            (before + 1..=before + by).collect()
        };
        Drawn {
            mids: up(&self.mid, count(mids)),
            seqs: up(&self.seq, count(seqs)),
        }
    }

    /// A transaction begins.
    pub(in crate::store) fn open(self: &Arc<Self>) -> Open {
        let id = self.opened.fetch_add(1, Ordering::SeqCst);
        let mut open = self.lock();
        // Read under the lock: a safe mark that was told before cannot be above it.
        let lowest = self.seq.load(Ordering::SeqCst);
        open.insert(id, lowest);
        Open {
            numbers: self.clone(),
            id,
            lowest,
        }
    }

    /// All deliveries of this process up to this number are on disk, or never will be.
    pub(in crate::store) fn safe_mark(&self) -> i64 {
        match self.lock().values().min() {
            Some(lowest) => {
                self.clipped.store(true, Ordering::SeqCst);
                *lowest
            }
            None => i64::MAX,
        }
    }

    /// Whether somebody waits for the safe mark to rise; forgets it.
    pub(in crate::store) fn take_clipped(&self) -> bool {
        self.clipped.swap(false, Ordering::SeqCst)
    }

    /// The latest delivery of a lane's shard that the queue has to read.
    pub(in crate::store) fn latest(&self, lane: i64) -> i64 {
        self.latest[usize::from(shard(lane))].load(Ordering::SeqCst)
    }

    pub(in crate::store) fn note(&self, shard: u16, seq: i64) {
        self.latest[usize::from(shard)].fetch_max(seq, Ordering::SeqCst);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, i64>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(seq: i64) -> Arc<Numbers> {
        Arc::new(Numbers {
            mid: AtomicI64::new(0),
            seq: AtomicI64::new(seq),
            latest: Vec::new(),
            open: Mutex::default(),
            opened: AtomicU64::new(0),
            clipped: AtomicBool::new(false),
        })
    }

    #[test]
    fn nothing_is_read_above_a_transaction_under_way() {
        let numbers = numbers(10);
        assert_eq!(numbers.safe_mark(), i64::MAX);
        let first = numbers.open();
        numbers.seq.store(20, Ordering::SeqCst);
        let second = numbers.open();
        assert!(!numbers.take_clipped());
        assert_eq!(numbers.safe_mark(), 10);
        drop(first);
        assert_eq!(numbers.safe_mark(), 20);
        drop(second);
        assert_eq!(numbers.safe_mark(), i64::MAX);
        assert!(numbers.take_clipped());
        assert!(!numbers.take_clipped());
    }
}
