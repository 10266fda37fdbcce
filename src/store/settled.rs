//! What became of deliveries: rows of the table `settled`.

use super::party_hash;
use super::sql::Value;
use crate::protocol::{Address, DeliveryStatus, ErrorCode, Timestamp};

/// The head of the insert; see [`Settled::row`] for the order.
pub(super) const INSERT: &str = "INSERT INTO settled (mid, recipient, party, state, class, settled_at, \
     delivered_at, acknowledged_at, attempts, error_code, remote)";

/// The states a delivery can end in, as numbers.
pub(super) const DELIVERED: i64 = 0;
pub(super) const FAILED: i64 = 1;
pub(super) const EXPIRED: i64 = 2;
pub(super) const CANCELLED: i64 = 3;

/// Acknowledged mail: kept for a shorter time.
pub(super) const CLASS_ACKNOWLEDGED: i64 = 1;
/// Everything else.
pub(super) const CLASS_ORDINARY: i64 = 0;

/// The word of a stored state.
pub(super) fn status(state: i64) -> DeliveryStatus {
    match state {
        DELIVERED => DeliveryStatus::Delivered,
        EXPIRED => DeliveryStatus::Expired,
        CANCELLED => DeliveryStatus::Cancelled,
        _ => DeliveryStatus::Failed,
    }
}

/// A delivery that ended.
pub(super) struct Settled {
    pub(super) mid: i64,
    pub(super) recipient: String,
    pub(super) party: i64,
    pub(super) state: i64,
    pub(super) settled_at: i64,
    pub(super) delivered_at: Option<i64>,
    pub(super) acknowledged_at: Option<i64>,
    pub(super) attempts: i64,
    pub(super) error_code: Option<String>,
    pub(super) remote: Option<String>,
}

impl Settled {
    /// The values in the order of [`INSERT`].
    pub(super) fn row(self) -> Vec<Value> {
        let class = if self.acknowledged_at.is_some() {
            CLASS_ACKNOWLEDGED
        } else {
            CLASS_ORDINARY
        };
        vec![
            self.mid.into(),
            self.recipient.into(),
            self.party.into(),
            self.state.into(),
            class.into(),
            self.settled_at.into(),
            self.delivered_at.into(),
            self.acknowledged_at.into(),
            self.attempts.into(),
            self.error_code.into(),
            self.remote.into(),
        ]
    }
}

/// A recipient that was refused while others of the message were taken.
pub(super) fn refused(mid: i64, address: &Address, code: ErrorCode, at: Timestamp) -> Vec<Value> {
    Settled {
        mid,
        recipient: address.to_string(),
        party: party_hash(&address.key()),
        state: FAILED,
        settled_at: at.as_millis(),
        delivered_at: None,
        acknowledged_at: None,
        attempts: 0,
        error_code: Some(code.as_str().to_owned()),
        remote: None,
    }
    .row()
}

/// A recipient that is the gateway itself.
pub(super) fn bridged(mid: i64, address: &Address, at: Timestamp) -> Vec<Value> {
    Settled {
        mid,
        recipient: address.to_string(),
        party: party_hash(&address.key()),
        state: DELIVERED,
        settled_at: at.as_millis(),
        delivered_at: Some(at.as_millis()),
        acknowledged_at: None,
        attempts: 0,
        error_code: None,
        remote: None,
    }
    .row()
}
