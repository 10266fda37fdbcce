//! `/v1/inbox/{address}`: mail of an agent that polls (AMTP 1.0, section 12.2).

use std::time::Duration;

use axum::Json as Answer;
use axum::extract::{Path, State};
use axum::http::Extensions;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Api;
use super::admit::entry;
use super::cursor;
use super::error::ApiError;
use super::extract::{Caller, Gate, Json, Params, invalid_field, span};
use super::view::full_message;
use crate::auth::Presented;
use crate::envelope::Principal;
use crate::events::Topic;
use crate::protocol::{Address, ErrorCode, MessageId, Timestamp};
use crate::store::{InboxItem, InboxPage, InboxQuery, Negative, ReadFilter, Take};

const LONGEST_WAIT: Duration = Duration::from_secs(60);
const LONGEST_LEASE: Duration = Duration::from_secs(12 * 3_600);
const MOST_IDS: usize = 1_000;

#[derive(Serialize)]
pub(super) struct InboxView {
    recipient: String,
    messages: Vec<Box<RawValue>>,
    message_count: usize,
    count: usize,
    has_more: bool,
    next_cursor: Option<String>,
}

/// `GET /v1/inbox/{address}`
pub(super) async fn list(
    State(api): Gate,
    Caller(presented): Caller,
    Path(address): Path<String>,
    extensions: Extensions,
    params: Params,
) -> Result<Answer<InboxView>, ApiError> {
    let (mailbox, owner) = mailbox(&api, presented, &address).await?;
    let wait = params.span("wait", LONGEST_WAIT)?.unwrap_or_default();
    let lease = params.span("lease", LONGEST_LEASE)?;
    let mut query = InboxQuery {
        mailbox,
        limit: params.number("limit", 1..=1000, 100)?,
        offset: params.number("offset", 0..=100_000, 0)?,
        after: params.cursor()?.unwrap_or(0),
        since: params.moment("since")?,
        filter: filter(&params)?,
        now: api.clock.now(),
        take: Take::Read,
    };
    let deadline = api.clock.monotonic() + wait;
    // Registered before the first look, so that no commit falls between look and wait.
    let mut arrivals = api.store.events().subscribe(Topic::Mailbox(mailbox));
    let page = loop {
        query.now = api.clock.now();
        query.take = lease.map_or(Take::Read, |lease| Take::Lease(query.now.plus(lease)));
        let page = api.store.take_mail(query.clone()).await?;
        let left = deadline.saturating_sub(api.clock.monotonic());
        if !page.items.is_empty() || left.is_zero() {
            break page;
        }
        // Who only waits does not count among those who read.
        drop(entry(&extensions));
        tokio::select! {
            _ = api.clock.within(left, arrivals.changed()) => {}
            () = api.draining.cancelled() => break page,
        }
    };
    for item in &page.items {
        api.intake.note_handed_over(&item.message).await;
    }
    view(&owner, page).map(Answer)
}

fn filter(params: &Params) -> Result<ReadFilter, ApiError> {
    match params.text("status") {
        None | Some("all") => Ok(ReadFilter::All),
        Some("unread") => Ok(ReadFilter::Unread),
        Some("read") => Ok(ReadFilter::Read),
        Some(_) => Err(invalid_field("status", "must be unread, read or all")),
    }
}

fn view(owner: &Address, page: InboxPage) -> Result<InboxView, ApiError> {
    let next_cursor = page
        .items
        .last()
        .filter(|_| page.more)
        .map(|item| cursor::write(item.seq));
    let messages = page.items.iter().map(item).collect::<Result<Vec<_>, _>>()?;
    Ok(InboxView {
        recipient: owner.to_string(),
        message_count: messages.len(),
        count: messages.len(),
        messages,
        has_more: page.more,
        next_cursor,
    })
}

/// A message as the inbox shows it.
pub(super) fn item(item: &InboxItem) -> Result<Box<RawValue>, ApiError> {
    let status = if item.read { "\"read\"" } else { "\"unread\"" };
    let cursor = format!("\"{}\"", cursor::write(item.seq));
    full_message(&item.message, &[("status", status), ("cursor", &cursor)])
}

#[derive(Serialize)]
pub(super) struct Acknowledged {
    message_id: String,
    status: &'static str,
    timestamp: Timestamp,
}

/// `DELETE /v1/inbox/{address}/{message_id}`
pub(super) async fn acknowledge(
    State(api): Gate,
    Caller(presented): Caller,
    Path((address, id)): Path<(String, String)>,
) -> Result<Answer<Acknowledged>, ApiError> {
    let (mailbox, _) = mailbox(&api, presented, &address).await?;
    let Ok(message_id) = MessageId::parse(&id) else {
        return Err(ApiError::new(ErrorCode::NotFound));
    };
    let now = api.clock.now();
    let found = api
        .store
        .acknowledge(mailbox, vec![message_id], now)
        .await?;
    if found != [true] {
        return Err(ApiError::new(ErrorCode::NotFound));
    }
    Ok(Answer(Acknowledged {
        message_id: id,
        status: "acknowledged",
        timestamp: now,
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ids {
    message_ids: Vec<String>,
    #[serde(default)]
    delay: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Bulk {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    acknowledged: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    put_back: Vec<String>,
    not_found: Vec<String>,
    timestamp: Timestamp,
}

/// `POST /v1/inbox/{address}/ack`
pub(super) async fn acknowledge_many(
    State(api): Gate,
    Caller(presented): Caller,
    Path(address): Path<String>,
    Json(ids): Json<Ids>,
) -> Result<Answer<Bulk>, ApiError> {
    let (mailbox, _) = mailbox(&api, presented, &address).await?;
    if ids.delay.is_some() {
        return Err(invalid_field("delay", "only goes with nack"));
    }
    let parsed = parse_ids(&ids.message_ids)?;
    let now = api.clock.now();
    let found = api.store.acknowledge(mailbox, parsed, now).await?;
    let (acknowledged, not_found) = split(ids.message_ids, &found);
    Ok(Answer(Bulk {
        acknowledged,
        put_back: Vec::new(),
        not_found,
        timestamp: now,
    }))
}

/// `POST /v1/inbox/{address}/nack`
pub(super) async fn put_back(
    State(api): Gate,
    Caller(presented): Caller,
    Path(address): Path<String>,
    Json(ids): Json<Ids>,
) -> Result<Answer<Bulk>, ApiError> {
    let (mailbox, _) = mailbox(&api, presented, &address).await?;
    let message_ids = parse_ids(&ids.message_ids)?;
    let delay = match ids.delay.as_deref() {
        None => Duration::ZERO,
        Some(text) => span(text)
            .filter(|delay| *delay <= LONGEST_LEASE)
            .ok_or_else(|| {
                invalid_field("delay", "must be a time span such as 30s, at most 12h")
            })?,
    };
    let now = api.clock.now();
    let found = api
        .store
        .put_back(Negative {
            mailbox,
            message_ids,
            until: now.plus(delay),
        })
        .await?;
    let (put_back, not_found) = split(ids.message_ids, &found);
    Ok(Answer(Bulk {
        acknowledged: Vec::new(),
        put_back,
        not_found,
        timestamp: now,
    }))
}

fn parse_ids(ids: &[String]) -> Result<Vec<MessageId>, ApiError> {
    if ids.is_empty() || ids.len() > MOST_IDS {
        return Err(invalid_field(
            "message_ids",
            &format!("must hold 1 to {MOST_IDS} ids"),
        ));
    }
    ids.iter()
        .enumerate()
        .map(|(at, id)| {
            MessageId::parse(id)
                .map_err(|fault| invalid_field(&format!("message_ids[{at}]"), &fault.to_string()))
        })
        .collect()
}

fn split(ids: Vec<String>, found: &[bool]) -> (Vec<String>, Vec<String>) {
    let (yes, no): (Vec<_>, Vec<_>) = ids.into_iter().zip(found).partition(|(_, found)| **found);
    let names = |pairs: Vec<(String, &bool)>| pairs.into_iter().map(|(id, _)| id).collect();
    (names(yes), names(no))
}

/// The mailbox, if it is the caller's own or that of a group it is in. An unknown mailbox and
/// another's look alike.
pub(super) async fn mailbox(
    api: &Api,
    presented: Presented,
    address: &str,
) -> Result<(i64, Address), ApiError> {
    let (id, own) = match presented {
        Presented::Nothing => return Err(ApiError::new(ErrorCode::AuthenticationFailed)),
        Presented::Principal(Principal::Agent { id, address, .. }) => (id, address),
        _ => return Err(ApiError::new(ErrorCode::AccessDenied)),
    };
    let denied = || ApiError::new(ErrorCode::AccessDenied);
    let asked = Address::parse(address).map_err(|_| denied())?;
    let readable = api.store.readable_mailbox((id, &own), &asked).await?;
    readable.ok_or_else(denied)
}
