//! Long work in steps: a reader picks at most 500 rows, a verb changes them, and the answer says where
//! the next step begins. Rows that come after the first step are not picked, so every loop ends.

use super::Store;
use super::committer::Verb;
use super::error::StoreError;
use super::sql::{Connection, Statement, Value};
use crate::protocol::{Address, Domain, MessageId};

/// Rows changed in one step.
pub(super) const STEP: usize = 500;

/// Where a step of long work begins and where the whole work ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Rows after this number.
    pub after: i64,
    /// Up to this one, which is the newest when the work begins.
    pub until: i64,
}

impl Position {
    /// The first step.
    pub const START: Self = Self {
        after: 0,
        until: i64::MAX,
    };
}

/// What a step of long work did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Step {
    /// Rows changed.
    pub changed: u64,
    /// Where to go on; nothing when the work is done.
    pub next: Option<Position>,
}

/// What a step works on.
pub(super) struct Picked {
    pub(super) ids: Vec<i64>,
    next: Option<Position>,
}

impl Picked {
    /// The rows found from a position on, which was asked for [`STEP`] of them.
    pub(super) fn new(ids: Vec<i64>, until: i64) -> Self {
        let full = ids.len() >= STEP;
        let next = ids
            .last()
            .filter(|last| full && **last < until)
            .map(|last| Position {
                after: *last,
                until,
            });
        Self { ids, next }
    }

    pub(super) const fn done(&self, changed: u64) -> Step {
        Step {
            changed,
            next: self.next,
        }
    }
}

impl Store {
    /// Runs the verb of a step, unless there is nothing to do.
    pub(super) async fn step<V: Verb<Answer = u64>>(
        &self,
        picked: &Picked,
        verb: V,
    ) -> Result<Step, StoreError> {
        if picked.ids.is_empty() {
            return Ok(Step::default());
        }
        Ok(picked.done(self.0.committing.commit(verb).await?))
    }
}

/// The last number the work of a position goes up to.
pub(super) async fn newest(
    reader: &mut Connection,
    question: &'static str,
    from: Position,
) -> sqlx::Result<i64> {
    if from.until != i64::MAX {
        return Ok(from.until);
    }
    let row = reader.row(Statement::new(question)).await?;
    let newest = row.map(|row| row.maybe_int(0)).transpose()?.flatten();
    Ok(newest.unwrap_or(0))
}

/// Conditions with their values, each begun with AND.
#[derive(Default)]
pub(super) struct Conditions {
    pub(super) text: String,
    pub(super) values: Vec<Value>,
}

impl Conditions {
    pub(super) fn add(&mut self, condition: &str, value: impl Into<Value>) {
        self.text.push_str(" AND ");
        self.text.push_str(condition);
        self.values.push(value.into());
    }

    /// Who it is from and for; `table` has the recipient, `m` is the message.
    pub(super) fn parties(
        &mut self,
        table: &str,
        (domain, sender, recipient): (&Option<Domain>, &Option<Address>, &Option<Address>),
    ) {
        if let Some(domain) = domain {
            // A domain holds no sign that LIKE would take for a pattern.
            let pattern = format!("%@{domain}", domain = domain.as_str());
            self.add(&format!("lower({table}.recipient) LIKE ?"), pattern);
        }
        if let Some(sender) = sender {
            self.add("m.sender = ?", sender.key());
        }
        if let Some(recipient) = recipient {
            self.add(&format!("lower({table}.recipient) = ?"), recipient.key());
        }
    }

    /// The message of this id, or the one that travelled under it.
    pub(super) fn message(&mut self, table: &str, id: &MessageId) {
        let condition = format!(
            "{table}.mid IN (SELECT mid FROM messages WHERE message_id = ? \
             UNION SELECT mid FROM wire_ids WHERE wire_id = ?)"
        );
        self.add(&condition, id.as_str());
        self.values.push(id.as_str().into());
    }
}
