//! Parcels for tests.

use std::sync::Arc;

use bytes::Bytes;

use super::super::{Copy, Parcel};
use crate::envelope::{Notes, Origin, Trust, Verification};
use crate::protocol::{Address, IdempotencyKey, Limits, Message, MessageId, Profile, Timestamp};
use crate::store::{StoredMessage, WireIdentity};

pub(super) const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
pub(super) const ID: &str = "01987654-3210-7654-8765-432198765432";
pub(super) const KEY: &str = "01234567-89ab-4cde-8123-456789abcdef";

/// A message with our sender, [`ID`] and [`KEY`], more members, and copies for all it names.
pub(super) fn parcel(recipients: &[&str], more: &str) -> Parcel {
    let list = serde_json::to_string(recipients).unwrap();
    stored(
        &format!(
            r#"{{"sender":"alice@a.test","recipients":{list},"message_id":"{ID}","idempotency_key":"{KEY}","payload":1{more}}}"#
        ),
        1,
    )
}

/// A parcel with a copy for each recipient of this body.
pub(super) fn stored(body: &str, mid: i64) -> Parcel {
    let body = Bytes::from(body.to_owned());
    let message = Message::parse(body.clone(), Profile::Relay, &Limits::default()).unwrap();
    let id = message.message_id().map_or(ID, |id| id.as_str());
    let stored = StoredMessage {
        mid,
        message_id: MessageId::parse(id).unwrap(),
        sender: message.sender().key(),
        trust: Trust::Local,
        origin: Origin::Submission,
        accepted_at: NOW,
        notes: Notes {
            verification: Verification::authenticated(message.sender().domain()),
            minted_key: Some(KEY.to_owned()),
            request_id: "r".to_owned(),
            remote: None,
            answers: None,
        },
        body,
    };
    let numbered = (mid * 100..).zip(message.recipients());
    let copies = numbered.map(|(seq, address)| copy(seq, address)).collect();
    Parcel {
        stored: Arc::new(stored),
        message,
        copies,
    }
}

pub(super) fn copy(seq: i64, recipient: &Address) -> Copy {
    Copy {
        seq,
        recipient: recipient.clone(),
        attempts: 0,
        first_attempt: None,
        wire: None,
        renew: false,
    }
}

pub(super) fn wire(id: &str, recipients: u32) -> WireIdentity {
    WireIdentity {
        id: MessageId::parse(id).unwrap(),
        key: IdempotencyKey::parse(KEY).unwrap(),
        recipients,
    }
}
