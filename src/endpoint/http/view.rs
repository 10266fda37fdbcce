//! Messages and their states as callers see them.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;

use super::error::ApiError;
use crate::protocol::wire::{self, Edit, Replace};
use crate::protocol::{DeliveryStatus, ErrorCode, MessageId, MessageStatus, Timestamp, aggregate};
use crate::store::{RecipientState, StoreError, StoredMessage, Tracked};

/// The status of one message.
#[derive(Debug, Serialize)]
pub(super) struct StatusView {
    message_id: String,
    status: MessageStatus,
    recipients: Vec<RecipientView>,
    attempts: u32,
    next_retry: Option<Timestamp>,
    created_at: Timestamp,
    updated_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivered_at: Option<Timestamp>,
    sender_verification: crate::envelope::Verification,
}

#[derive(Debug, Serialize)]
struct RecipientView {
    address: String,
    status: DeliveryStatus,
    timestamp: Timestamp,
    attempts: u32,
    next_retry: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<ErrorCode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery_mode: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acknowledged: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acknowledged_at: Option<Timestamp>,
}

impl StatusView {
    /// The status of all representations of one message together; nothing of nothing.
    pub(super) fn of(tracked: &[Tracked]) -> Option<Self> {
        let newest = tracked.first()?;
        let created_at = tracked.iter().map(|it| it.message.accepted_at).min()?;
        let states: Vec<&RecipientState> =
            tracked.iter().rev().flat_map(|it| &it.recipients).collect();
        let status = aggregate(states.iter().map(|state| state.status));
        let all_delivered = states
            .iter()
            .all(|state| state.status == DeliveryStatus::Delivered);
        Some(Self {
            message_id: newest.message.message_id.as_str().to_owned(),
            status,
            attempts: states.iter().map(|state| state.attempts).max().unwrap_or(0),
            next_retry: states.iter().filter_map(|state| state.next_retry).min(),
            created_at,
            updated_at: states
                .iter()
                .map(|state| state.acknowledged_at.unwrap_or(state.at).max(state.at))
                .max()
                .unwrap_or(created_at),
            delivered_at: states
                .iter()
                .filter_map(|state| state.delivered_at)
                .max()
                .filter(|_| all_delivered),
            sender_verification: newest.message.notes.verification.clone(),
            recipients: states.into_iter().map(RecipientView::of).collect(),
        })
    }

    /// Its members but the id, as raw JSON, to stand behind those of the message itself. The list
    /// of states is called `recipient_status` there: `recipients` is the sender's own member.
    pub(super) fn members(&self) -> Result<Vec<(String, Box<RawValue>)>, ApiError> {
        let corrupt = |fault: serde_json::Error| StoreError::Corrupt(fault.to_string());
        let text = serde_json::to_string(self).map_err(corrupt)?;
        let members: BTreeMap<String, Box<RawValue>> =
            serde_json::from_str(&text).map_err(corrupt)?;
        Ok(members
            .into_iter()
            .filter(|(name, _)| name != "message_id" && name != "sender_verification")
            .map(|(name, value)| match name.as_str() {
                "recipients" => ("recipient_status".to_owned(), value),
                _ => (name, value),
            })
            .collect())
    }

    /// The one word for the whole message.
    pub(super) fn status(&self) -> MessageStatus {
        self.status
    }
}

impl RecipientView {
    fn of(state: &RecipientState) -> Self {
        // A delivered row of a local agent that came through no attempt lies, or lay, in an inbox.
        let pulled =
            state.party > 0 && state.status == DeliveryStatus::Delivered && state.attempts == 0;
        Self {
            address: state.address.clone(),
            status: state.status,
            timestamp: state.at,
            attempts: state.attempts,
            next_retry: state.next_retry,
            error_code: state.error_code,
            error_message: state.error_code.map(ErrorCode::text),
            delivery_mode: if pulled {
                Some("pull")
            } else if state.party > 0 {
                Some("push")
            } else {
                None
            },
            acknowledged: pulled.then_some(state.acknowledged_at.is_some()),
            acknowledged_at: state.acknowledged_at,
        }
    }
}

/// The full message as its recipient or sender reads it, with members of ours behind its own.
pub(in crate::endpoint) fn full_message(
    stored: &StoredMessage,
    extra: &[(&str, &str)],
) -> Result<Box<RawValue>, ApiError> {
    let message = stored.message()?;
    let key = stored.idempotency_key(&message)?;
    let verification = serde_json::to_string(&stored.notes.verification)
        .map_err(|fault| StoreError::Corrupt(fault.to_string()))?;
    let mut members = vec![("sender_verification", verification.as_str())];
    members.extend_from_slice(extra);
    let timestamp = message.timestamp().unwrap_or(stored.accepted_at);
    // Where it names an id the answered message travelled under, it is shown by that message's own.
    let answers = stored.notes.answers.as_deref().map(MessageId::parse);
    let answers = answers.and_then(Result::ok);
    let replace = Replace {
        extra: &members,
        in_reply_to: answers.as_ref().map_or(Edit::Keep, Edit::Set),
        ..Replace::identity(&stored.message_id, &key, timestamp)
    };
    raw(wire::build(&message, &replace))
}

/// Bytes of ours as a raw member of an answer.
fn raw(bytes: Vec<u8>) -> Result<Box<RawValue>, ApiError> {
    let text = String::from_utf8(bytes).map_err(|fault| StoreError::Corrupt(fault.to_string()))?;
    RawValue::from_string(text).map_err(|fault| StoreError::Corrupt(fault.to_string()).into())
}
