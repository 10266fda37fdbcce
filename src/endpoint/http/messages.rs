//! `/v1/messages`: submission and relay, status, listing, cancelling (AMTP 1.0, sections 5.2, 12.1).

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use axum::Json as Answer;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::Api;
use super::cursor;
use super::error::ApiError;
use super::extract::{Caller, Came, Gate, Known, MessageBody, Params, invalid_field};
use super::view::{StatusView, full_message};
use crate::auth::Presented;
use crate::envelope::Principal;
use crate::intake::{Arrival, Receipt, Received, Refusal, Signing, Taken, VERIFICATION};
use crate::live::{Asked, Replied, wait_for_reply};
use crate::protocol::{Address, DeliveryStatus, ErrorCode, MessageId, MessageStatus};
use crate::store::{ListQuery, Party, Tracked, party_hash};

/// The longest a caller may wait for a reply.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The answer to an accepted message.
#[derive(Debug, Serialize)]
pub(crate) struct ReceiptView {
    message_id: String,
    status: &'static str,
    recipients: Vec<ReceivedView>,
    /// Only where a message to other domains cannot be signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    signed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply: Option<Box<RawValue>>,
}

#[derive(Debug, Serialize)]
struct ReceivedView {
    address: String,
    status: DeliveryStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<ErrorCode>,
}

impl From<Received> for ReceivedView {
    fn from(received: Received) -> Self {
        Self {
            address: received.address.to_string(),
            status: received.status,
            error_code: received.error_code,
        }
    }
}

impl ReceiptView {
    pub(in crate::endpoint) fn of(receipt: Receipt) -> Self {
        Self {
            message_id: receipt.message_id.as_str().to_owned(),
            status: "accepted",
            recipients: receipt
                .recipients
                .into_iter()
                .map(ReceivedView::from)
                .collect(),
            signed: (receipt.signing == Signing::Impossible).then_some(false),
            reply: None,
        }
    }
}

/// A message as it came in a request.
pub(super) fn arrival(
    came: &Came,
    presented: Presented,
    (raw, verify_by): (Bytes, Duration),
) -> Arrival {
    Arrival {
        raw,
        presented,
        remote: came.remote,
        certificates: came.certificates.clone(),
        request_id: came.request_id.as_str().to_owned(),
        verify_by,
        reads_answers: came.is_amtpd,
        succession: None,
    }
}

/// `POST /v1/messages`
pub(super) async fn post(
    State(api): Gate,
    Caller(presented): Caller,
    mut came: Came,
    params: Params,
    MessageBody(raw): MessageBody,
) -> Result<Response, ApiError> {
    let wait = params.span("wait", LONGEST_WAIT)?.unwrap_or_default();
    let acknowledge = params.number("ack", 0..=1, 0)? == 1;
    let verify_by = api.clock.monotonic() + VERIFICATION;
    let stranger = !matches!(presented, Presented::Principal(_));
    let arrival = arrival(&came, presented, (raw, verify_by));
    let begun = api.intake.begin(arrival, came.entry.take()).await;
    if stranger && is_about_nobody(&begun) {
        Box::pin(slow(&api, came.remote, 1)).await?;
    }
    let taken = begun?;
    let (sender, may_wait) = (taken.sender().clone(), taken.is_believed());
    let receipt = taken.receipt().await?;
    let asked = Asked {
        message_id: receipt.message_id.clone(),
        sender,
        recipients: receipt
            .recipients
            .iter()
            .map(|it| it.address.clone())
            .collect(),
    };
    let mut view = ReceiptView::of(receipt);
    // Who is not believed could read what is meant for the sender it names.
    if wait.is_zero() || !may_wait {
        return Ok((StatusCode::ACCEPTED, Answer(view)).into_response());
    }
    let tools = (&api.store, &api.clock);
    // Boxed: who does not wait shall not carry it about.
    let replied = Box::pin(wait_for_reply(tools, &asked, wait, &api.draining)).await?;
    let Some(replied) = replied else {
        return Ok((StatusCode::ACCEPTED, Answer(view)).into_response());
    };
    if acknowledge {
        Box::pin(acknowledge_reply(&api, &asked, &replied)).await?;
    }
    view.status = "delivered";
    view.reply = Some(full_message(&replied.stored, &[])?);
    Ok((StatusCode::OK, Answer(view)).into_response())
}

/// Whether it was refused because nobody has the address.
pub(super) fn is_about_nobody(begun: &Result<Taken, Refusal>) -> bool {
    matches!(begun, Err(refusal) if refusal.code == ErrorCode::AgentUnknown)
}

/// Who tries addresses one after the other waits.
pub(super) async fn slow(api: &Api, remote: IpAddr, unknown: usize) -> Result<(), ApiError> {
    let Some(unknown) = u32::try_from(unknown).ok().and_then(NonZeroU32::new) else {
        return Ok(());
    };
    let waited = api.guesses.wrong_at_once(remote, unknown).await;
    waited.map_err(|many| ApiError::new(ErrorCode::RateLimitExceeded).retry_after(many.retry_after))
}

/// Takes the reply out of the inbox of a local sender: it was handed over already.
async fn acknowledge_reply(api: &Api, asked: &Asked, replied: &Replied) -> Result<(), ApiError> {
    if !api.names.is_local(asked.sender.domain()) {
        return Ok(());
    }
    if let Some(agent) = api.names.find(&api.store, &asked.sender).await? {
        let ids = vec![replied.stored.message_id.clone()];
        api.store
            .acknowledge(agent.id, ids, api.clock.now())
            .await?;
    }
    Ok(())
}

/// `GET /v1/messages/{id}/status`
pub(super) async fn status(
    State(api): Gate,
    Known(principal): Known,
    Path(id): Path<String>,
) -> Result<Answer<StatusView>, ApiError> {
    let tracked = find(&api, &principal, &id).await?;
    StatusView::of(&tracked).map(Answer).ok_or_else(not_found)
}

/// `GET /v1/messages/{id}`
pub(super) async fn show(
    State(api): Gate,
    Known(principal): Known,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let tracked = find(&api, &principal, &id).await?;
    let shown = shown(&tracked)?.ok_or_else(not_found)?;
    Ok(Answer(shown).into_response())
}

/// The newest representation with the members of its status behind its own.
fn shown(tracked: &[Tracked]) -> Result<Option<Box<RawValue>>, ApiError> {
    let Some(status) = StatusView::of(tracked) else {
        return Ok(None);
    };
    let members = status.members()?;
    let members: Vec<(&str, &str)> = members
        .iter()
        .map(|(name, value)| (name.as_str(), value.get()))
        .collect();
    full_message(&tracked[0].message, &members).map(Some)
}

/// `DELETE /v1/messages/{id}`
pub(super) async fn cancel(
    State(api): Gate,
    Known(principal): Known,
    Path(id): Path<String>,
) -> Result<Answer<StatusView>, ApiError> {
    let tracked = find(&api, &principal, &id).await?;
    if let Principal::Agent { address, .. } = &principal
        && tracked
            .first()
            .is_none_or(|it| it.message.sender != address.key())
    {
        return Err(ApiError::new(if tracked.is_empty() {
            ErrorCode::NotFound
        } else {
            ErrorCode::AccessDenied
        }));
    }
    if tracked.is_empty() {
        return Err(not_found());
    }
    let mids = tracked.iter().map(|it| it.message.mid).collect();
    if api.store.cancel(mids, api.clock.now()).await? == 0 {
        return Err(ApiError::new(ErrorCode::Conflict)
            .message("Nothing of this message waits any more: every delivery has ended."));
    }
    let tracked = find(&api, &principal, &id).await?;
    StatusView::of(&tracked).map(Answer).ok_or_else(not_found)
}

#[derive(Serialize)]
pub(super) struct ListView {
    messages: Vec<Box<RawValue>>,
    limit: usize,
    offset: usize,
    next_cursor: Option<String>,
}

/// `GET /v1/messages`
pub(super) async fn list(
    State(api): Gate,
    Known(principal): Known,
    params: Params,
) -> Result<Answer<ListView>, ApiError> {
    let limit = params.number("limit", 1..=1000, 100)?;
    let offset = params.number("offset", 0..=100_000, 0)?;
    let wanted = params.text("status").map(Wanted::parse).transpose()?;
    let query = ListQuery {
        party: party(&principal),
        sender: params.address("sender")?.map(|address| address.key()),
        recipient: match params.address("recipient")? {
            Some(address) => Some(recipient_number(&api, &address).await?),
            None => None,
        },
        since: params.moment("since")?,
        before: params.cursor()?,
        limit,
        offset,
    };
    let page = api
        .store
        .list_messages(&query, |tracked| {
            wanted.as_ref().is_none_or(|wanted| wanted.fits(tracked))
        })
        .await?;
    let mut messages = Vec::with_capacity(page.messages.len());
    for tracked in &page.messages {
        messages.extend(shown(std::slice::from_ref(tracked))?);
    }
    Ok(Answer(ListView {
        messages,
        limit,
        offset,
        next_cursor: page.next.map(cursor::write),
    }))
}

/// A filter by state.
enum Wanted {
    Pending,
    Exactly(MessageStatus),
}

impl Wanted {
    fn parse(word: &str) -> Result<Self, ApiError> {
        if word == "pending" {
            return Ok(Self::Pending);
        }
        MessageStatus::parse(word).map(Self::Exactly).map_err(|_| {
            invalid_field(
                "status",
                "must be pending, queued, delivering, retrying, delivered, failed, expired, cancelled, held or partial",
            )
        })
    }

    fn fits(&self, tracked: &Tracked) -> bool {
        let Some(view) = StatusView::of(std::slice::from_ref(tracked)) else {
            return false;
        };
        match self {
            Self::Exactly(status) => view.status() == *status,
            Self::Pending => tracked.recipients.iter().any(|state| {
                matches!(
                    state.status,
                    DeliveryStatus::Queued | DeliveryStatus::Delivering | DeliveryStatus::Retrying
                )
            }),
        }
    }
}

/// The number under which an address stands in the store.
async fn recipient_number(api: &super::Api, address: &Address) -> Result<i64, ApiError> {
    let agent = match api.names.is_local(address.domain()) {
        true => api.names.find(&api.store, address).await?,
        false => None,
    };
    Ok(agent.map_or_else(|| party_hash(&address.key()), |agent| agent.id))
}

async fn find(api: &super::Api, principal: &Principal, id: &str) -> Result<Vec<Tracked>, ApiError> {
    let Ok(id) = MessageId::parse(id) else {
        return Err(not_found());
    };
    Ok(api.store.find_message(&id, &party(principal)).await?)
}

pub(super) fn party(principal: &Principal) -> Party {
    match principal {
        Principal::Staff { .. } => Party::Operator,
        Principal::Agent { id, address, .. } => Party::Agent {
            id: *id,
            key: address.key(),
        },
        Principal::Anonymous => Party::Agent {
            id: 0,
            key: String::new(),
        },
    }
}

fn not_found() -> ApiError {
    ApiError::new(ErrorCode::NotFound)
}
