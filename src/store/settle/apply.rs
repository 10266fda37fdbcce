//! What settling writes: a settled delivery leaves `deliveries` for `settled`, a failed one leaves a
//! dead letter too. Settlements of one batch are written together.

use std::collections::HashMap;

use super::{BounceFate, Ending, Marks, Reason, Settlement};
use crate::events::Topic;
use crate::protocol::ErrorCode;
use crate::store::claims::HeldKey;
use crate::store::deliveries::{DESTINATION_FAULT, LOOSE, NOTIFIED};
use crate::store::identity::RENEW;
use crate::store::settled::{self, Settled};
use crate::store::shards;
use crate::store::sql::{Connection, Insert, Statement, Value, padded, places};

/// Whether a lost shard spoils everything, or only what is of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Together {
    /// Messages come of it.
    AllOrNothing,
    /// Each settlement stands by itself.
    Each,
}

/// The settlements that count.
async fn counting<'a>(
    tx: &mut Connection,
    settlements: &[&'a Settlement],
    together: Together,
) -> sqlx::Result<Vec<&'a Settlement>> {
    let doubtful = settlements.iter().filter(|it| !it.is_fact());
    let held: Vec<(u16, i64)> = doubtful.filter_map(|it| it.held).collect();
    if !tx.is_postgres() || held.is_empty() {
        return Ok(settlements.to_vec());
    }
    let lost = shards::lost(tx, &held, " FOR SHARE").await?;
    if together == Together::AllOrNothing && !lost.is_empty() {
        return Err(sqlx::Error::InvalidArgument(
            "another gateway goes on with deliveries that were to be settled".to_owned(),
        ));
    }
    let counts = |it: &&&Settlement| {
        let shard = it.held.map(|(shard, _)| shard);
        it.is_fact() || !shard.is_some_and(|shard| lost.contains(&shard))
    };
    Ok(settlements.iter().filter(counts).copied().collect())
}

/// Settles inside the running transaction.
pub(in crate::store) async fn apply(
    tx: &mut Connection,
    settlements: &[&Settlement],
    together: Together,
    topics: &mut Vec<Topic>,
) -> sqlx::Result<()> {
    let settlements = counting(tx, settlements, together).await?;
    let ended: Vec<i64> = settlements
        .iter()
        .filter(|it| !matches!(it.fate, Ending::Deferred { .. }))
        .map(|it| it.seq)
        .collect();
    let mut taken = take(tx, &ended).await?;
    let mut rows = Rows::default();
    for settlement in settlements {
        topics.push(Topic::Message(settlement.mid));
        // Settled twice in one batch it counts once.
        match (&settlement.fate, taken.remove(&settlement.seq)) {
            (Ending::Deferred { .. }, _) => defer(tx, settlement, &mut rows).await?,
            (_, Some(taken)) => end(tx, settlement, &taken, &mut rows).await?,
            (_, None) => match take_moved(tx, settlement).await? {
                Some(taken) => end(tx, settlement, &taken, &mut rows).await?,
                None => delivered_after_all(tx, settlement).await?,
            },
        }
    }
    rows.write(tx).await
}

/// A delivery that was taken out of the queue.
struct Taken {
    party: i64,
    attempts: i64,
    destination: String,
    priority: i64,
    first_at: Option<i64>,
}

/// A delivery that was held and released while it was under way has another number.
async fn take_moved(tx: &mut Connection, it: &Settlement) -> sqlx::Result<Option<Taken>> {
    let find = Statement::new("SELECT seq FROM deliveries WHERE mid = ? AND recipient = ?")
        .bind(it.mid)
        .bind(it.recipient.as_str());
    let Some(row) = tx.row(find).await? else {
        return Ok(None);
    };
    let seq = row.int(0)?;
    Ok(take(tx, &[seq]).await?.remove(&seq))
}

async fn take(tx: &mut Connection, seqs: &[i64]) -> sqlx::Result<HashMap<i64, Taken>> {
    let mut taken = HashMap::with_capacity(seqs.len());
    for chunk in padded(seqs) {
        let text = format!(
            "DELETE FROM deliveries WHERE seq IN ({}) RETURNING seq, party, attempts, destination, priority, first_at",
            places(chunk.len())
        );
        for row in tx.rows(Statement::new(text).bind_all(chunk)).await? {
            let it = Taken {
                party: row.int(1)?,
                attempts: row.int(2)?,
                destination: row.text(3)?,
                priority: row.int(4)?,
                first_at: row.maybe_int(5)?,
            };
            taken.insert(row.int(0)?, it);
        }
    }
    Ok(taken)
}

#[derive(Default)]
struct Rows {
    settled: Vec<Vec<Value>>,
    attempts: Vec<Vec<Value>>,
    dead: Vec<Vec<Value>>,
}

impl Rows {
    async fn write(self, tx: &mut Connection) -> sqlx::Result<()> {
        tx.insert(Insert::new(settled::INSERT, self.settled))
            .await?;
        tx.insert(Insert::new("INSERT INTO attempts (mid, recipient, number, made_at, took, failed, error_code, text, remote)", self.attempts))
        .await?;
        tx.insert(Insert::new("INSERT INTO dead_letters (mid, recipient, party, destination, priority, error_code, text, attempts, \
             first_at, last_at, dead_at, bounce)", self.dead))
        .await
    }

    /// Notes an attempt that did not succeed.
    fn attempt(&mut self, settlement: &Settlement, number: i64, reason: &Reason) {
        let Some(note) = &settlement.attempt else {
            return;
        };
        let failed = matches!(settlement.fate, Ending::Failed { .. });
        self.attempts.push(vec![
            settlement.mid.into(),
            settlement.recipient.as_str().into(),
            number.into(),
            note.made_at.as_millis().into(),
            i64::from(note.took).into(),
            failed.into(),
            reason.code.as_str().into(),
            reason.text.as_str().into(),
            note.remote.as_deref().into(),
        ]);
    }
}

async fn defer(tx: &mut Connection, it: &Settlement, rows: &mut Rows) -> sqlx::Result<()> {
    let Ending::Deferred {
        due_at,
        reason,
        marks,
    } = &it.fate
    else {
        return Ok(());
    };
    let made = i64::from(it.attempt.is_some());
    let at = it.attempt.as_ref().map(|note| note.made_at.as_millis());
    // What was held meanwhile stays held; its attempt counts all the same.
    let update = Statement::new(format!(
        "UPDATE deliveries SET state = CASE state WHEN 2 THEN 2 ELSE 1 END, due_at = ?, attempts = attempts + ?, \
         error_code = ?, first_at = coalesce(first_at, ?), last_at = coalesce(?, last_at), \
         flags = (flags & {NOTIFIED}) | ? WHERE seq = ? RETURNING attempts"
    ))
    .bind(due_at.as_millis())
    .bind(made)
    .bind(reason.code.as_str())
    .bind(at)
    .bind(at)
    .bind(marks.bits())
    .bind(it.seq);
    if let Some(row) = tx.row(update).await? {
        rows.attempt(it, row.int(0)?, reason);
    }
    Ok(())
}

impl Marks {
    fn bits(self) -> i64 {
        [
            (self.loose, LOOSE),
            (self.destination_fault, DESTINATION_FAULT),
            (self.renew, RENEW),
            (self.notified, NOTIFIED),
        ]
        .into_iter()
        .filter(|(set, _)| *set)
        .map(|(_, bit)| bit)
        .sum()
    }
}

async fn end(
    tx: &mut Connection,
    it: &Settlement,
    taken: &Taken,
    rows: &mut Rows,
) -> sqlx::Result<()> {
    let attempts = taken.attempts + i64::from(it.attempt.is_some());
    let at = it.at.as_millis();
    let mut row = Settled {
        mid: it.mid,
        recipient: it.recipient.clone(),
        party: taken.party,
        state: settled::DELIVERED,
        settled_at: at,
        delivered_at: None,
        acknowledged_at: None,
        attempts,
        error_code: None,
        remote: it.attempt.as_ref().and_then(|note| note.remote.clone()),
    };
    match &it.fate {
        Ending::Delivered => row.delivered_at = Some(at),
        Ending::Expired { held } => {
            row.state = settled::EXPIRED;
            row.error_code = Some(ErrorCode::MessageExpired.as_str().to_owned());
            free(tx, *held).await?;
        }
        Ending::Failed {
            reason,
            bounce,
            held,
        } => {
            row.state = settled::FAILED;
            row.error_code = Some(reason.code.as_str().to_owned());
            rows.attempt(it, attempts, reason);
            rows.dead
                .push(dead_letter(it, taken, attempts, (reason, *bounce)));
            free(tx, *held).await?;
        }
        Ending::Deferred { .. } => return Ok(()),
    }
    rows.settled.push(row.row());
    Ok(())
}

async fn free(tx: &mut Connection, held: Option<HeldKey>) -> sqlx::Result<()> {
    match held {
        Some(held) => held.free(tx).await,
        None => Ok(()),
    }
}

fn dead_letter(
    it: &Settlement,
    taken: &Taken,
    attempts: i64,
    (reason, bounce): (&Reason, BounceFate),
) -> Vec<Value> {
    let last_at = it.attempt.as_ref().map(|note| note.made_at.as_millis());
    vec![
        it.mid.into(),
        it.recipient.as_str().into(),
        taken.party.into(),
        taken.destination.as_str().into(),
        taken.priority.into(),
        reason.code.as_str().into(),
        reason.text.as_str().into(),
        attempts.into(),
        taken.first_at.or(last_at).into(),
        last_at.or(taken.first_at).into(),
        it.at.as_millis().into(),
        bounce.code().into(),
    ]
}

/// It was cancelled while it was under way, and arrived. Or another gateway gave it up.
async fn delivered_after_all(tx: &mut Connection, it: &Settlement) -> sqlx::Result<()> {
    if !matches!(it.fate, Ending::Delivered) {
        return Ok(());
    }
    let is_shared = tx.is_postgres();
    let others = if is_shared {
        vec![settled::CANCELLED, settled::FAILED, settled::EXPIRED]
    } else {
        vec![settled::CANCELLED]
    };
    let update = Statement::new(format!(
        "UPDATE settled SET state = ?, delivered_at = ?, attempts = attempts + 1, error_code = NULL, remote = ? \
         WHERE mid = ? AND recipient = ? AND state IN ({})",
        places(others.len())
    ))
    .bind(settled::DELIVERED)
    .bind(it.at.as_millis())
    .bind(it.attempt.as_ref().and_then(|note| note.remote.as_deref()))
    .bind(it.mid)
    .bind(it.recipient.as_str())
    .bind_all(others);
    if tx.run(update).await? > 0 && is_shared {
        let dig_up = Statement::new("DELETE FROM dead_letters WHERE mid = ? AND recipient = ?")
            .bind(it.mid)
            .bind(it.recipient.as_str());
        tx.run(dig_up).await?;
    }
    Ok(())
}
