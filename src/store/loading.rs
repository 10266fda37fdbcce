//! Reading deliveries for many at once: as in a group commit, what is asked for while others are
//! being read is read together next. Each asks for one or a few; one by one they would cost a round
//! trip each. Readings begin a millisecond apart at least: at a rate at which that matters each has
//! several to read.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;

use super::Delivery;

/// Readings at a time.
const READINGS: usize = 2;

/// Between the beginnings of two.
const APART: Duration = Duration::from_millis(1);

type Found = Option<Vec<Delivery>>;

/// Those who wait for deliveries.
#[derive(Debug)]
pub(super) struct Loading {
    asked: Mutex<Vec<Asked>>,
    turns: Semaphore,
    /// When the next may begin.
    next: Mutex<Option<Instant>>,
}

#[derive(Debug)]
struct Asked {
    seqs: Vec<i64>,
    reply: oneshot::Sender<Found>,
}

impl Default for Loading {
    fn default() -> Self {
        Self {
            asked: Mutex::default(),
            turns: Semaphore::new(READINGS),
            next: Mutex::default(),
        }
    }
}

impl Loading {
    /// What `read` finds of these numbers, in their order; nothing where it failed.
    pub(super) async fn load<F>(&self, seqs: &[i64], read: impl FnOnce(Vec<i64>) -> F) -> Found
    where
        F: Future<Output = Found>,
    {
        let (reply, mut answer) = oneshot::channel();
        let seqs = seqs.to_vec();
        self.lock().push(Asked { seqs, reply });
        let turn = tokio::select! {
            biased;
            found = &mut answer => return found.unwrap_or(None),
            turn = self.turns.acquire() => turn,
        };
        if let Some(until) = self.reserve() {
            tokio::select! {
                biased;
                // Another one read it meanwhile.
                found = &mut answer => return found.unwrap_or(None),
                () = tokio::time::sleep_until(until) => {}
            }
        }
        let together = std::mem::take(&mut *self.lock());
        if !together.is_empty() {
            let mut all: Vec<i64> = together.iter().flat_map(|it| &it.seqs).copied().collect();
            all.sort_unstable();
            all.dedup();
            hand_out(together, read(all).await);
        }
        drop(turn);
        answer.await.unwrap_or(None)
    }

    /// The moment at which the next reading may begin, if that is later than now.
    #[allow(clippy::disallowed_methods, reason = "the machine's own pace")]
    fn reserve(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = next.filter(|next| *next > now);
        *next = Some(begin.unwrap_or(now) + APART);
        begin
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Asked>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hand_out(together: Vec<Asked>, found: Found) {
    let found: Option<HashMap<i64, Delivery>> =
        found.map(|found| found.into_iter().map(|it| (it.seq, it)).collect());
    for asked in together {
        let own = found.as_ref().map(|found| {
            let mut own: Vec<Delivery> = asked
                .seqs
                .iter()
                .filter_map(|seq| found.get(seq).cloned())
                .collect();
            own.sort_by_key(|delivery| delivery.seq);
            own.dedup_by_key(|delivery| delivery.seq);
            own
        });
        // Who asked may be gone.
        drop(asked.reply.send(own));
    }
}
