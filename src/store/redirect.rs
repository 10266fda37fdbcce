//! The verb `redirect`: deliveries go on to another destination, such as from a domain's gateway to
//! its mail.
//!
//! - A delivery keeps its lane and its history, and stands at the end of the queue under a new number:
//!   who waits for it at its new destination finds it there.
//! - What was held, cancelled or settled meanwhile is left alone.
//! - Where gateways share the database it counts only as long as the shard is in the hands it was in
//!   when the attempt began.

use std::collections::HashSet;
use std::sync::Arc;

use super::Store;
use super::accept::{DELIVERY_HELD, DELIVERY_QUEUED, Numbers};
use super::committer::Verb;
use super::deliveries::NOTIFIED;
use super::error::StoreError;
use super::settle::{AttemptNote, Reason};
use super::shards;
use super::sql::{Connection, Insert, Row, Statement, Value};
use crate::events::Topic;
use crate::protocol::Timestamp;

/// A delivery that goes on to another destination.
#[derive(Debug, Clone)]
pub struct Redirection {
    /// Its number.
    pub seq: i64,
    /// The shard and the epoch in which it was found, where gateways share the database.
    pub held: Option<(u16, i64)>,
    /// When that was decided.
    pub at: Timestamp,
    /// The attempt that brought it about, if one was made.
    pub attempt: Option<AttemptNote>,
    /// Why it does not go on where it went.
    pub reason: Reason,
    /// Where it goes: `mail:example.org`.
    pub destination: String,
    /// When to stop trying there. Attempts are counted anew.
    pub give_up_at: Timestamp,
}

impl Store {
    /// Lets deliveries go on to other destinations, in the order given. Answers how many do.
    ///
    /// # Errors
    /// When the database fails: nothing of it is stored, the deliveries still wait.
    pub async fn redirect(&self, redirections: Vec<Redirection>) -> Result<u64, StoreError> {
        let verb = Redirect {
            redirections,
            numbers: self.0.numbers.clone(),
        };
        self.0.committing.commit(verb).await
    }
}

struct Redirect {
    redirections: Vec<Redirection>,
    numbers: Arc<Numbers>,
}

/// What a redirected delivery is read for.
const KEPT: &str =
    "mid, recipient, party, lane, shard, priority, attempts, first_at, last_at, flags";

impl Verb for Redirect {
    type Answer = u64;

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<u64> {
        let lost = self.lost(tx).await?;
        let mut taken = Vec::new();
        for it in &self.redirections {
            if it.held.is_some_and(|(shard, _)| lost.contains(&shard)) {
                continue;
            }
            let delete = Statement::new(format!(
                "DELETE FROM deliveries WHERE seq = ? AND state < {DELIVERY_HELD} RETURNING {KEPT}"
            ))
            .bind(it.seq);
            if let Some(row) = tx.row(delete).await? {
                taken.push((it, row));
            }
        }
        let mut drawn = self.numbers.draw(tx, (0, taken.len())).await?;
        let (mut rows, mut attempts) = (Vec::new(), Vec::new());
        for (it, row) in &taken {
            topics.push(Topic::Message(row.int(0)?));
            rows.push(self.moved(it, row, drawn.seq())?);
            attempts.extend(attempt(it, row)?);
        }
        tx.insert(Insert::new(
            "INSERT INTO deliveries (seq, state, due_at, give_up_at, flags, mid, recipient, party, lane, shard, \
             destination, attempts, priority, error_code, first_at, last_at)",
            rows,
        ))
        .await?;
        tx.insert(Insert::new(
            "INSERT INTO attempts (mid, recipient, number, made_at, took, failed, error_code, text, remote)",
            attempts,
        ))
        .await?;
        topics.push(Topic::Queue);
        Ok(u64::try_from(taken.len()).unwrap_or(u64::MAX))
    }
}

impl Redirect {
    async fn lost(&self, tx: &mut Connection) -> sqlx::Result<HashSet<u16>> {
        let held: Vec<(u16, i64)> = self.redirections.iter().filter_map(|it| it.held).collect();
        if !tx.is_postgres() || held.is_empty() {
            return Ok(HashSet::new());
        }
        shards::lost(tx, &held, " FOR SHARE").await
    }

    fn moved(&self, it: &Redirection, row: &Row, seq: i64) -> sqlx::Result<Vec<Value>> {
        let shard = row.int(4)?;
        self.numbers.note(u16::try_from(shard).unwrap_or(0), seq);
        Ok(vec![
            seq.into(),
            DELIVERY_QUEUED.into(),
            it.at.as_millis().into(),
            it.give_up_at.as_millis().into(),
            (row.int(9)? & NOTIFIED).into(),
            row.int(0)?.into(),
            row.text(1)?.into(),
            row.int(2)?.into(),
            row.int(3)?.into(),
            shard.into(),
            it.destination.as_str().into(),
            0.into(),
            row.int(5)?.into(),
            it.reason.code.as_str().into(),
            row.maybe_int(7)?.or(made_at(it)).into(),
            made_at(it).or(row.maybe_int(8)?).into(),
        ])
    }
}

fn made_at(it: &Redirection) -> Option<i64> {
    it.attempt.as_ref().map(|note| note.made_at.as_millis())
}

/// The attempt for the history.
fn attempt(it: &Redirection, row: &Row) -> sqlx::Result<Option<Vec<Value>>> {
    let Some(note) = &it.attempt else {
        return Ok(None);
    };
    Ok(Some(vec![
        row.int(0)?.into(),
        row.text(1)?.into(),
        (row.int(6)? + 1).into(),
        note.made_at.as_millis().into(),
        i64::from(note.took).into(),
        false.into(),
        it.reason.code.as_str().into(),
        format!("{}; it goes on as mail", it.reason.text).into(),
        note.remote.as_deref().into(),
    ]))
}
