//! The verb `settle`: what attempts came to, and the messages that brings forth, in one commit.
//!
//! - A settled delivery leaves `deliveries` for `settled`; a failed one leaves a dead letter too
//!   and frees its idempotency row, so that its sender may send it again.
//! - What is delivered is a fact: it is recorded also where the delivery was cancelled meanwhile.
//! - A bounce or a reply is stored in the same commit, or neither is.
//! - Where gateways share the database, what is no fact counts only as long as the shard is in the
//!   hands it was in when the attempt began: otherwise another gateway goes on with the delivery.

mod apply;

use super::accept::{Acceptance, Decision};
use super::claims::HeldKey;
use super::committer::Verb;
use super::error::StoreError;
use super::sql::Connection;
use super::{Patience, Store};
use crate::events::Topic;
use crate::protocol::{ErrorCode, Timestamp};

pub(super) use apply::{Together, apply};

/// What became of one delivery.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// Its number.
    pub seq: i64,
    /// Its message.
    pub mid: i64,
    /// As the sender wrote it.
    pub recipient: String,
    /// When it came to that.
    pub at: Timestamp,
    /// The shard and the epoch in which it was found, where gateways share the database.
    pub held: Option<(u16, i64)>,
    /// The attempt that was made, if one was.
    pub attempt: Option<AttemptNote>,
    /// The end, or not yet.
    pub fate: Ending,
}

/// One attempt, for the history.
#[derive(Debug, Clone)]
pub struct AttemptNote {
    /// When it began.
    pub made_at: Timestamp,
    /// Milliseconds until the answer.
    pub took: u32,
    /// The address really used.
    pub remote: Option<String>,
}

/// What became of a delivery.
#[derive(Debug, Clone)]
pub enum Ending {
    /// The other side has it.
    Delivered,
    /// It is tried again.
    Deferred {
        /// When.
        due_at: Timestamp,
        /// Why it was not delivered.
        reason: Reason,
        /// How it goes on.
        marks: Marks,
    },
    /// It is given up.
    Failed {
        /// Why.
        reason: Reason,
        /// What became of the notice to its sender.
        bounce: BounceFate,
        /// The idempotency row to free.
        held: Option<HeldKey>,
    },
    /// Its sender wanted it delivered until a time that has passed.
    Expired {
        /// The idempotency row to free.
        held: Option<HeldKey>,
    },
}

/// Why an attempt did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// The code.
    pub code: ErrorCode,
    /// In words, for people.
    pub text: String,
}

/// How a deferred delivery goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Marks {
    /// Out of its lane.
    pub loose: bool,
    /// The destination was at fault: it is tried as soon as that is well again.
    pub destination_fault: bool,
    /// The next attempt needs a fresh identity.
    pub renew: bool,
    /// The sender was told of the delay.
    pub notified: bool,
}

/// What became of the notice of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BounceFate {
    /// Nobody is to be told: the message is a notice itself.
    None,
    /// It was sent.
    Sent,
    /// The sender cannot be believed, or was told too often.
    Suppressed,
}

impl BounceFate {
    /// The word operators see.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Sent => "sent",
            Self::Suppressed => "suppressed",
        }
    }

    pub(super) const fn code(self) -> i64 {
        match self {
            Self::None => 0,
            Self::Sent => 1,
            Self::Suppressed => 2,
        }
    }

    pub(super) const fn from_code(code: i64) -> Self {
        match code {
            1 => Self::Sent,
            2 => Self::Suppressed,
            _ => Self::None,
        }
    }
}

impl Store {
    /// Settles deliveries and stores what that brings forth. Answers what was decided of that.
    ///
    /// # Errors
    /// When the database fails: nothing of it is stored, the deliveries still wait.
    pub async fn settle(
        &self,
        settlements: Vec<Settlement>,
        follow_ups: Vec<Acceptance>,
    ) -> Result<Vec<Decision>, StoreError> {
        let committing = &self.0.committing;
        if follow_ups.is_empty() {
            return committing.settle(settlements).await.map(|()| Vec::new());
        }
        let verb = Settle(settlements);
        let done = committing.commit_bringing(verb, follow_ups, Patience::Long);
        Ok(done.await?.1)
    }
}

/// Settlements of which messages come: all of it counts or nothing does.
struct Settle(Vec<Settlement>);

impl Settlement {
    /// Whether it happened, whoever the delivery belongs to now.
    const fn is_fact(&self) -> bool {
        matches!(self.fate, Ending::Delivered)
    }
}

impl Verb for Settle {
    type Answer = ();

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<()> {
        let settlements: Vec<&Settlement> = self.0.iter().collect();
        apply(tx, &settlements, Together::AllOrNothing, topics).await
    }
}
