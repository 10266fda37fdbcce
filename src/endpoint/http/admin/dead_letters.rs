//! `/v1/admin/dead-letters`: the kept records of failures, put back or dropped (AMTP 1.0, section 8.2.1).

use axum::Json as Answer;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::steps::{Parties, StepView, all_or_some, parsed, position};
use crate::endpoint::http::cursor;
use crate::endpoint::http::error::ApiError;
use crate::endpoint::http::extract::{Gate, Json, Params, invalid_field};
use crate::endpoint::http::view::full_message;
use crate::protocol::{ErrorCode, Timestamp};
use crate::store::{DeadLetter, DeadLetterFilter, DeadLetters, Position, StoredMessage};

/// Dead letters one request may name.
const MOST_IDS: usize = 500;

#[derive(Serialize)]
pub(crate) struct DeadLetterList {
    dead_letters: Vec<DeadLetterView>,
    next_cursor: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct DeadLetterView {
    id: i64,
    message_id: String,
    sender: String,
    recipient: String,
    destination: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    original_message: Option<Box<RawValue>>,
    failure_reason: FailureView,
    attempts: u32,
    first_attempt: Option<Timestamp>,
    last_attempt: Option<Timestamp>,
    dlq_timestamp: Timestamp,
    bounce: &'static str,
}

#[derive(Serialize)]
struct FailureView {
    code: Option<ErrorCode>,
    text: String,
}

impl DeadLetterView {
    fn of(letter: DeadLetter, message: Option<&StoredMessage>) -> Result<Self, ApiError> {
        Ok(Self {
            id: letter.id,
            message_id: letter.message_id,
            sender: letter.sender,
            recipient: letter.recipient,
            destination: letter.destination,
            original_message: message.map(|it| full_message(it, &[])).transpose()?,
            failure_reason: FailureView {
                code: letter.error_code,
                text: letter.text,
            },
            attempts: letter.attempts,
            first_attempt: letter.first_attempt,
            last_attempt: letter.last_attempt,
            dlq_timestamp: letter.dead_at,
            bounce: letter.bounce.as_str(),
        })
    }
}

/// Which dead letters a request is about.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct DeadLettersForm {
    ids: Option<Vec<i64>>,
    domain: Option<String>,
    sender: Option<String>,
    recipient: Option<String>,
    message_id: Option<String>,
    error_code: Option<String>,
    since: Option<String>,
    all: Option<bool>,
    cursor: Option<String>,
}

impl DeadLettersForm {
    fn field(&self, name: &str) -> Option<&str> {
        let field = match name {
            "domain" => &self.domain,
            "sender" => &self.sender,
            "recipient" => &self.recipient,
            "message_id" => &self.message_id,
            "error_code" => &self.error_code,
            "since" => &self.since,
            _ => return None,
        };
        field.as_deref()
    }

    /// What is meant: numbers, a filter, or all.
    fn selection(&self) -> Result<DeadLetters, ApiError> {
        let filter = filter(|name| self.field(name))?;
        let filtered = filter != DeadLetterFilter::default();
        all_or_some(self.all, filtered || self.ids.is_some())?;
        match &self.ids {
            None => Ok(DeadLetters::Matching(filter)),
            Some(_) if filtered => Err(invalid_field("ids", "do not go with a filter")),
            Some(ids) if ids.len() > MOST_IDS => Err(invalid_field(
                "ids",
                &format!("has more than {MOST_IDS} entries"),
            )),
            Some(ids) => Ok(DeadLetters::Numbered(ids.clone())),
        }
    }
}

fn filter<'a>(field: impl Fn(&str) -> Option<&'a str>) -> Result<DeadLetterFilter, ApiError> {
    let parties = Parties::read(&field)?;
    Ok(DeadLetterFilter {
        error_code: parsed("error_code", field("error_code"), |word| {
            ErrorCode::parse(word).ok_or("is not an error code")
        })?,
        since: parsed("since", field("since"), |text| {
            Timestamp::parse_rfc3339(text)
                .map_err(|_| "must be a time such as 2026-08-14T10:30:00Z")
        })?,
        domain: parties.domain,
        sender: parties.sender,
        recipient: parties.recipient,
        message_id: parties.message_id,
    })
}

/// `GET /v1/admin/dead-letters`
pub(crate) async fn list(
    State(api): Gate,
    params: Params,
) -> Result<Answer<DeadLetterList>, ApiError> {
    let limit = params.number("limit", 1..=1000, 100)?;
    let filter = filter(|name| params.text(name))?;
    let before = params.cursor()?;
    let mut found = api
        .store
        .list_dead_letters(&filter, before, limit + 1)
        .await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let last = found.last().filter(|_| more);
    Ok(Answer(DeadLetterList {
        next_cursor: last.map(|last| cursor::write(last.id)),
        dead_letters: found
            .into_iter()
            .map(|letter| DeadLetterView::of(letter, None))
            .collect::<Result<_, _>>()?,
    }))
}

/// `GET /v1/admin/dead-letters/{id}`
pub(crate) async fn show(
    State(api): Gate,
    Path(id): Path<String>,
) -> Result<Answer<DeadLetterView>, ApiError> {
    let (letter, message) = api
        .store
        .find_dead_letter(number(&id)?)
        .await?
        .ok_or_else(not_found)?;
    DeadLetterView::of(letter, Some(&message)).map(Answer)
}

/// `DELETE /v1/admin/dead-letters/{id}`
pub(crate) async fn remove(
    State(api): Gate,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let which = DeadLetters::Numbered(vec![number(&id)?]);
    let step = api.store.drop_dead_letters(&which, Position::START).await?;
    match step.changed {
        0 => Err(not_found()),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}

/// `POST /v1/admin/dead-letters/replay`
pub(crate) async fn replay(
    State(api): Gate,
    Json(form): Json<DeadLettersForm>,
) -> Result<Answer<StepView>, ApiError> {
    let (which, from) = (form.selection()?, position(form.cursor.as_deref())?);
    let times = (api.clock.now(), api.intake.give_up());
    Ok(Answer(api.store.replay(&which, from, times).await?.into()))
}

/// `POST /v1/admin/dead-letters/drop`
pub(crate) async fn drop_many(
    State(api): Gate,
    Json(form): Json<DeadLettersForm>,
) -> Result<Answer<StepView>, ApiError> {
    let (which, from) = (form.selection()?, position(form.cursor.as_deref())?);
    Ok(Answer(
        api.store.drop_dead_letters(&which, from).await?.into(),
    ))
}

fn number(text: &str) -> Result<i64, ApiError> {
    text.parse().map_err(|_| not_found())
}

fn not_found() -> ApiError {
    ApiError::new(ErrorCode::NotFound)
}
