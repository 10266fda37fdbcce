//! `/v1/admin/deliveries`: what waits in the queue, and the operator's hands on it.

use axum::Json as Answer;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::steps::{Parties, StepView, all_or_some, parsed, position};
use crate::endpoint::http::cursor;
use crate::endpoint::http::error::ApiError;
use crate::endpoint::http::extract::{Gate, Json, Params};
use crate::protocol::{Domain, ErrorCode, Timestamp};
use crate::store::{QueueFilter, QueueState, QueuedDelivery};

#[derive(Serialize)]
pub(crate) struct DeliveryList {
    deliveries: Vec<DeliveryView>,
    next_cursor: Option<String>,
}

#[derive(Serialize)]
struct DeliveryView {
    id: i64,
    message_id: String,
    sender: String,
    recipient: String,
    destination: String,
    state: &'static str,
    attempts: u32,
    next_retry: Option<Timestamp>,
    error_code: Option<ErrorCode>,
    priority: &'static str,
    accepted_at: Timestamp,
    give_up_at: Timestamp,
}

impl From<QueuedDelivery> for DeliveryView {
    fn from(delivery: QueuedDelivery) -> Self {
        Self {
            id: delivery.seq,
            message_id: delivery.message_id,
            sender: delivery.sender,
            recipient: delivery.recipient,
            destination: delivery.destination,
            state: delivery.state.as_str(),
            attempts: delivery.attempts,
            next_retry: delivery.next_retry,
            error_code: delivery.error_code,
            priority: match delivery.priority {
                0 => "low",
                1 => "normal",
                2 => "high",
                _ => "urgent",
            },
            accepted_at: delivery.accepted_at,
            give_up_at: delivery.give_up_at,
        }
    }
}

/// Which deliveries a request is about.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct DeliveriesForm {
    state: Option<String>,
    destination: Option<String>,
    domain: Option<String>,
    sender: Option<String>,
    recipient: Option<String>,
    message_id: Option<String>,
    all: Option<bool>,
    cursor: Option<String>,
}

impl DeliveriesForm {
    fn field(&self, name: &str) -> Option<&str> {
        let field = match name {
            "state" => &self.state,
            "destination" => &self.destination,
            "domain" => &self.domain,
            "sender" => &self.sender,
            "recipient" => &self.recipient,
            "message_id" => &self.message_id,
            _ => return None,
        };
        field.as_deref()
    }

    /// The filter of a change: empty only where everything is meant.
    fn selection(&self) -> Result<QueueFilter, ApiError> {
        let filter = filter(|name| self.field(name))?;
        all_or_some(self.all, filter != QueueFilter::default())?;
        Ok(filter)
    }
}

fn filter<'a>(field: impl Fn(&str) -> Option<&'a str>) -> Result<QueueFilter, ApiError> {
    let parties = Parties::read(&field)?;
    Ok(QueueFilter {
        destination: parsed("destination", field("destination"), destination)?,
        state: parsed("state", field("state"), |word| {
            QueueState::parse(word).ok_or("must be queued, deferred or held")
        })?,
        domain: parties.domain,
        sender: parties.sender,
        recipient: parties.recipient,
        message_id: parties.message_id,
    })
}

/// The form in which destinations are kept.
fn destination(text: &str) -> Result<String, &'static str> {
    let known = match text.split_once(':') {
        Some(("domain", domain)) => Domain::parse(domain)
            .ok()
            .map(|domain| format!("domain:{}", domain.as_str())),
        Some(("agent", number)) => number
            .parse::<u32>()
            .ok()
            .map(|number| format!("agent:{number}")),
        _ => None,
    };
    known.ok_or("must be domain:NAME or agent:NUMBER")
}

/// `GET /v1/admin/deliveries`
pub(crate) async fn list(
    State(api): Gate,
    params: Params,
) -> Result<Answer<DeliveryList>, ApiError> {
    let limit = params.number("limit", 1..=1000, 100)?;
    let filter = filter(|name| params.text(name))?;
    let after = params.cursor()?.unwrap_or(0);
    let mut found = api.store.list_deliveries(&filter, after, limit + 1).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let last = found.last().filter(|_| more);
    Ok(Answer(DeliveryList {
        next_cursor: last.map(|last| cursor::write(last.seq)),
        deliveries: found.into_iter().map(DeliveryView::from).collect(),
    }))
}

/// `POST /v1/admin/deliveries/hold`
pub(crate) async fn hold(
    State(api): Gate,
    Json(form): Json<DeliveriesForm>,
) -> Result<Answer<StepView>, ApiError> {
    let (filter, from) = (form.selection()?, position(form.cursor.as_deref())?);
    Ok(Answer(api.store.hold(&filter, from).await?.into()))
}

/// `POST /v1/admin/deliveries/release`
pub(crate) async fn release(
    State(api): Gate,
    Json(form): Json<DeliveriesForm>,
) -> Result<Answer<StepView>, ApiError> {
    let (filter, from) = (form.selection()?, position(form.cursor.as_deref())?);
    let now = api.clock.now();
    Ok(Answer(api.store.release(&filter, from, now).await?.into()))
}

/// `POST /v1/admin/deliveries/retry`
pub(crate) async fn retry(
    State(api): Gate,
    Json(form): Json<DeliveriesForm>,
) -> Result<Answer<StepView>, ApiError> {
    let (filter, from) = (form.selection()?, position(form.cursor.as_deref())?);
    let now = api.clock.now();
    Ok(Answer(api.store.retry(&filter, from, now).await?.into()))
}
