//! What a parcel looks like on the wire: the identity it travels under, and its bytes.
//!
//! An id and a key belong to the exact set of recipients they were first sent with (AMTP 1.0,
//! section 8.1), because a peer may know a request by its key alone. A peer that says
//! `multi-recipient` knows requests by key and recipient; there an identity serves any set.
//!
//! Some peers take only UUIDs: version 7 as ids, version 4 as keys. What is none never leaves as
//! an identity, and a reference that is none only if its id came from that domain.

use std::sync::Arc;

use bytes::Bytes;

use super::super::{Copy, Parcel};
use crate::protocol::json::{items, string_of};
use crate::protocol::wire::{Edit, Replace, build};
use crate::protocol::{Address, Message, MessageId};
use crate::store::WireIdentity;

/// By what a peer tells whether it has seen a request before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Memory {
    /// By the key alone: an identity belongs to one set of recipients.
    OfSets,
    /// By key and recipient: an identity serves any set.
    OfRecipients,
}

/// One message as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Letter {
    /// The id it travels under.
    pub(super) id: MessageId,
    /// The whole message.
    pub(super) body: Bytes,
    /// The signature in it, as raw JSON.
    pub(super) signature: Option<Arc<str>>,
}

/// What becomes of the ids a message refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct References {
    /// The message it answers: kept or left out.
    pub(super) in_reply_to: Edit<&'static MessageId>,
    /// The workflow it belongs to: kept or left out.
    pub(super) workflow_id: Edit<&'static MessageId>,
}

/// The identity that the copies of a parcel may travel under together; `None` = they need a fresh one.
pub(super) fn known_identity(parcel: &Parcel, memory: Memory) -> Option<WireIdentity> {
    let copies = &parcel.copies;
    if copies.iter().any(|copy| copy.renew) {
        return None;
    }
    let fits_any = memory == Memory::OfRecipients;
    match &copies.first()?.wire {
        Some(wire) => {
            let shared = copies.iter().all(|copy| copy.wire.as_ref() == Some(wire));
            let whole = count(copies) == wire.recipients;
            (shared && (whole || fits_any)).then(|| wire.clone())
        }
        None => {
            let unsent = copies.iter().all(|copy| copy.wire.is_none());
            let usable = unsent && (fits_any || is_everyone(parcel));
            usable.then(|| own_identity(parcel))?
        }
    }
}

/// The message's own id and key, if every peer takes them.
fn own_identity(parcel: &Parcel) -> Option<WireIdentity> {
    let id = parcel.stored.message_id.clone();
    let key = parcel.stored.idempotency_key(&parcel.message).ok()?;
    (id.is_uuid_v7() && key.is_uuid_v4()).then(|| WireIdentity {
        id,
        key,
        recipients: count(&parcel.copies),
    })
}

/// Whether the copies are for all whom the message names in their domain.
fn is_everyone(parcel: &Parcel) -> bool {
    let here = |address: &&Address| {
        let first = parcel.copies.first();
        first.is_some_and(|copy| copy.recipient.domain() == address.domain())
    };
    let named = parcel.message.recipients();
    named
        .iter()
        .filter(here)
        .all(|address| parcel.copies.iter().any(|copy| copy.recipient == *address))
}

pub(super) fn count(copies: &[Copy]) -> u32 {
    u32::try_from(copies.len()).unwrap_or(u32::MAX)
}

/// The bytes of a parcel under an identity, not signed yet; the same for the same arguments.
pub(super) fn write(parcel: &Parcel, wire: &WireIdentity, references: References) -> Letter {
    let message = &parcel.message;
    let addresses: Vec<Address> = parcel
        .copies
        .iter()
        .map(|copy| copy.recipient.clone())
        .collect();
    let timestamp = message.timestamp().unwrap_or(parcel.stored.accepted_at);
    let replace = Replace {
        recipients: (!says(message, &addresses)).then_some(&addresses[..]),
        in_reply_to: references.in_reply_to,
        workflow_id: references.workflow_id,
        // `null` says that there is none, and would stand in the way of one.
        signature: match message.signature() {
            Some(_) => Edit::Keep,
            None => Edit::Omit,
        },
        ..Replace::identity(&wire.id, &wire.key, timestamp)
    };
    Letter {
        id: wire.id.clone(),
        body: build(message, &replace).into(),
        signature: None,
    }
}

/// Whether the received list names exactly these, letter by letter: some peers compare domains byte for byte.
fn says(message: &Message, addresses: &[Address]) -> bool {
    let Some(written) = message.member("recipients").and_then(items) else {
        return false;
    };
    written.map(string_of).eq(addresses
        .iter()
        .map(|address| Some(address.as_str().into())))
}

/// The value of the header `traceparent` that goes with a message, if it has a well-formed one.
pub(super) fn traceparent(message: &Message) -> Option<String> {
    let text = message.header("traceparent").and_then(string_of)?;
    let parts: Vec<&str> = text.split('-').collect();
    let [version, trace, span, flags] = parts[..] else {
        return None;
    };
    let hex = |part: &str, length: usize| {
        let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        part.len() == length && part.bytes().all(digit)
    };
    let is_zero = |part: &str| part.bytes().all(|byte| byte == b'0');
    let sound = hex(version, 2)
        && version != "ff"
        && hex(trace, 32)
        && !is_zero(trace)
        && hex(span, 16)
        && !is_zero(span)
        && hex(flags, 2);
    sound.then(|| text.into_owned())
}

#[cfg(test)]
mod tests;
