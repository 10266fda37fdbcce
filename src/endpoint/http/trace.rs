//! `/v1/messages/{id}/trace`: the way of a message, attempt by attempt.

use std::net::IpAddr;

use axum::Json as Answer;
use axum::extract::{Path, State};
use serde::Serialize;

use super::error::ApiError;
use super::extract::{Gate, Known};
use super::messages::party;
use crate::envelope::Verification;
use crate::protocol::{DeliveryStatus, ErrorCode, MessageId, Timestamp};
use crate::store::{Buried, Entry, Hop, Reply, Trace, Tried};

#[derive(Serialize)]
pub(super) struct TraceView {
    message_id: String,
    sender: String,
    hops: Vec<HopView>,
    replies: Vec<ReplyView>,
}

#[derive(Serialize)]
struct HopView {
    recipient: String,
    accepted: EntryView,
    attempts: Vec<AttemptView>,
    status: DeliveryStatus,
    timestamp: Timestamp,
    attempts_made: u32,
    next_retry: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<ErrorCode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivered_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acknowledged_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote: Option<String>,
    local: bool,
    wire_ids: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letter: Option<BuriedView>,
}

#[derive(Serialize)]
struct EntryView {
    timestamp: Timestamp,
    origin: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote: Option<IpAddr>,
    sender_verification: Verification,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
}

#[derive(Serialize)]
struct AttemptView {
    number: u32,
    timestamp: Timestamp,
    took_ms: u32,
    outcome: &'static str,
    error_code: Option<ErrorCode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote: Option<String>,
}

#[derive(Serialize)]
struct BuriedView {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<i64>,
    dlq_timestamp: Timestamp,
    bounce: &'static str,
}

#[derive(Serialize)]
struct ReplyView {
    message_id: String,
    sender: String,
    timestamp: Timestamp,
}

/// `GET /v1/messages/{id}/trace`
pub(super) async fn show(
    State(api): Gate,
    Known(principal): Known,
    Path(id): Path<String>,
) -> Result<Answer<TraceView>, ApiError> {
    let not_found = || ApiError::new(ErrorCode::NotFound);
    let id = MessageId::parse(&id).map_err(|_| not_found())?;
    let trace = api.store.trace(&id, &party(&principal)).await?;
    TraceView::of(trace).map(Answer).ok_or_else(not_found)
}

impl TraceView {
    fn of(trace: Trace) -> Option<Self> {
        let first = &trace.hops.first()?.accepted;
        Some(Self {
            message_id: first.message_id.clone(),
            sender: first.sender.clone(),
            hops: trace.hops.into_iter().map(HopView::from).collect(),
            replies: trace.replies.into_iter().map(ReplyView::from).collect(),
        })
    }
}

impl From<Hop> for HopView {
    fn from(hop: Hop) -> Self {
        Self {
            recipient: hop.state.address,
            accepted: hop.accepted.into(),
            attempts: hop.attempts.into_iter().map(AttemptView::from).collect(),
            status: hop.state.status,
            timestamp: hop.state.at,
            attempts_made: hop.state.attempts,
            next_retry: hop.state.next_retry,
            error_code: hop.state.error_code,
            delivered_at: hop.state.delivered_at,
            acknowledged_at: hop.state.acknowledged_at,
            remote: hop.remote,
            local: hop.state.party > 0,
            wire_ids: hop.wire_ids,
            dead_letter: hop.dead_letter.map(BuriedView::from),
        }
    }
}

impl From<Entry> for EntryView {
    fn from(entry: Entry) -> Self {
        Self {
            timestamp: entry.at,
            origin: entry.origin.into(),
            remote: entry.remote,
            sender_verification: entry.verification,
            request_id: entry.request_id,
        }
    }
}

impl From<Tried> for AttemptView {
    fn from(tried: Tried) -> Self {
        Self {
            number: tried.number,
            timestamp: tried.at,
            took_ms: tried.took,
            outcome: if tried.last { "failed" } else { "deferred" },
            error_code: tried.error_code,
            text: tried.text,
            remote: tried.remote,
        }
    }
}

impl From<Buried> for BuriedView {
    fn from(buried: Buried) -> Self {
        Self {
            id: buried.id,
            dlq_timestamp: buried.at,
            bounce: buried.bounce.as_str(),
        }
    }
}

impl From<Reply> for ReplyView {
    fn from(reply: Reply) -> Self {
        Self {
            message_id: reply.message_id,
            sender: reply.sender,
            timestamp: reply.accepted_at,
        }
    }
}
