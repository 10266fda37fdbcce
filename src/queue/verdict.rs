//! What an attempt means for its delivery: pure.

use std::time::Duration;

use super::backoff::Schedule;
use super::window::After;
use crate::protocol::{ErrorCode, Timestamp};
use crate::store::{Delivery, Marks, Reason};
use crate::transport::{Attempted, Destination, Fault, Outcome, Trouble};

/// What becomes of a delivery after an attempt, or instead of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The other side has it.
    Delivered,
    /// It is tried again.
    Deferred {
        due_at: Timestamp,
        reason: Reason,
        marks: Marks,
    },
    /// It is given up.
    Failed(Reason),
    /// The time its sender gave has passed.
    Expired,
    /// It goes on to another destination, at this moment, which follows from this reason.
    Moved {
        to: Destination,
        at: Timestamp,
        reason: Reason,
    },
}

impl Verdict {
    /// What it means for the lane.
    pub(super) fn after(&self, was_loose: bool) -> After {
        match self {
            Self::Deferred { due_at, marks, .. } if !marks.loose || was_loose => After::Blocked {
                until: *due_at,
                destination_fault: marks.destination_fault,
            },
            // What follows goes after it, or it would overtake it there.
            Self::Moved { at, .. } if !was_loose => After::Blocked {
                until: *at,
                destination_fault: false,
            },
            _ => After::Done,
        }
    }

    /// The word in metrics and logs.
    pub(super) const fn as_str(&self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Deferred { .. } => "deferred",
            Self::Failed(_) => "failed",
            Self::Expired => "expired",
            Self::Moved { .. } => "moved",
        }
    }
}

/// What ends a delivery before an attempt.
pub(super) fn before(
    delivery: &Delivery,
    expires: Option<Timestamp>,
    now: Timestamp,
) -> Option<Verdict> {
    if expires.is_some_and(|expires| expires <= now) {
        return Some(Verdict::Expired);
    }
    (delivery.give_up_at <= now).then(|| {
        Verdict::Failed(Reason {
            code: ErrorCode::RecipientUnavailable,
            text: format!(
                "given up after {} attempts: its time is over",
                delivery.attempts
            ),
        })
    })
}

/// What an attempt made at `now` means; nothing where there was none.
pub(super) fn of(
    delivery: &Delivery,
    attempted: &Attempted,
    now: Timestamp,
    (schedule, chance): (&Schedule, f64),
) -> Option<Verdict> {
    let trouble = match &attempted.outcome {
        Outcome::Delivered { .. } => return Some(Verdict::Delivered),
        Outcome::Failed(trouble) => return Some(Verdict::Failed(reason(trouble))),
        Outcome::Deferred(trouble) => trouble,
        Outcome::Waits => return None,
    };
    let made = delivery.attempts + 1;
    let pause = schedule.pause(made, trouble.retry_after, chance);
    if made >= schedule.attempts || delivery.give_up_at <= now {
        let mut reason = reason(trouble);
        reason.text = format!("given up after {made} attempts: {}", reason.text);
        return Some(Verdict::Failed(reason));
    }
    let destination_fault = trouble.fault == Fault::Destination;
    Some(Verdict::Deferred {
        due_at: now.plus(pause).min(delivery.give_up_at),
        reason: reason(trouble),
        marks: Marks {
            loose: delivery.loose
                || (!destination_fault && Schedule::leaves_lane(made, since_first(delivery, now))),
            // What was asked to come later does so, also when the destination takes others meanwhile.
            destination_fault: destination_fault && trouble.retry_after.is_none(),
            renew: attempted.renew,
            notified: delivery.notified,
        },
    })
}

fn since_first(delivery: &Delivery, now: Timestamp) -> Duration {
    delivery
        .first_attempt
        .map_or(Duration::ZERO, |first| now.since(first))
}

fn reason(trouble: &Trouble) -> Reason {
    Reason {
        code: trouble.code,
        text: trouble.text.clone(),
    }
}
